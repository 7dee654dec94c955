"""``btk-punet compare``."""

import argparse
from pathlib import Path

from btk_punet.cli.options import (
    HelpFormatter,
    add_deblenders,
    add_options,
    add_running,
    given_options,
    incomplete,
    incomplete_runs,
    running_arguments,
    shard_done,
    start_workers,
    told_at_the_end,
)
from btk_punet.errors import InputError
from btk_punet.evaluation.runs.options import Scenes
from btk_punet.evaluation.scoring.rules import Rules


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compare",
        help="run detectors on blends and write tables, plots and a report",
        description=(
            "Draw blends, run detectors on them, and write efficiency tables (Parquet, ECSV, CSV, "
            "LaTeX), plots and report.html. The same command on the same folder continues a run "
            "that was stopped."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--output", "-o", type=Path, default=Path("comparison"), help="folder")
    add_deblenders(
        parser,
        "sep, and source-extractor and probaunet where program and preset are installed; with "
        "--benchmark, sep at five settings, and probaunet",
    )
    scenes = parser.add_argument_group("scenes")
    scenes.add_argument(
        "--benchmark",
        nargs="+",
        metavar="SET",
        help=(
            "scenes of the benchmark: groups, pairs, fields, real, deep, psf, sky, or all (each in "
            "a folder of its own), in place of the other options of the scenes but --n-blends"
        ),
    )
    scenes.add_argument(
        "--cosmos-dir",
        type=Path,
        help="folder of real galaxies in GalSim's format, for the benchmark set 'real'",
    )
    scenes.add_argument(
        "--real-galaxies",
        type=Path,
        help=(
            "file of real galaxies of which training never saw some (see btk-punet train), for "
            "the benchmark set 'sky'"
        ),
    )
    add_options(scenes, Scenes)
    add_options(parser.add_argument_group("counting"), Rules)
    parser.add_argument(
        "--outcomes",
        action=argparse.BooleanOptionalAction,
        help=(
            "whether to find out what becomes of blends, for which every detector runs again on "
            "each source of a blend alone (default: yes; with --benchmark, no)"
        ),
    )
    parser.add_argument(
        "--no-report",
        dest="report",
        action="store_false",
        help="tables alone, without plots and report.html; the same command without it adds them",
    )
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    scenes, rules = given_options(options, Scenes), given_options(options, Rules)
    start_workers(options, scenes if options.benchmark is None else None)
    # Imported here, so that --help and a mistyped option answer at once.
    from btk_punet.evaluation.runs.benchmark import compare_benchmark
    from btk_punet.evaluation.runs.compare import compare

    common = running_arguments(options) | rules
    common |= {"report": options.report, "command": options.command}
    if options.outcomes is not None:
        common["outcomes"] = options.outcomes
    if options.benchmark is not None:
        n_blends = scenes.pop("n_blends", None)
        if scenes:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in scenes)
            raise InputError(
                f"{names} would be ignored, because the scenes of --benchmark are fixed: leave out "
                "one or the other."
            )
        with told_at_the_end():
            summary = compare_benchmark(
                options.output,
                options.benchmark,
                options.deblenders,
                n_blends=n_blends,
                cosmos_dir=options.cosmos_dir,
                real_galaxies=options.real_galaxies,
                **common,
            )
        if "shard" in common:
            return shard_done(options.output, common["shard"])
        print(summary.to_string(index=False, float_format="{:.3f}".format))
        print(f"\nTables, plots and reports: {options.output}")
        return incomplete_runs(options.output)
    if options.cosmos_dir is not None:
        raise InputError(
            "--cosmos-dir would be ignored: it belongs to --benchmark real; for other scenes of "
            "real galaxies give --catalog cosmos:DIR."
        )
    if options.real_galaxies is not None:
        raise InputError(
            "--real-galaxies would be ignored: it belongs to --benchmark sky; for other scenes of "
            "real galaxies give --catalog cosmos:DIR."
        )
    with told_at_the_end():
        result = compare(options.output, options.deblenders, **scenes, **common)
    if result.run["status"] == "shard":
        return shard_done(options.output, result.run["shard"])
    for note in result.run.get("notes", []):
        print(note)
    print(result)
    where = f"Report: {result.folder / 'report.html'}"
    print("\n" + (where if options.report else f"Tables: {result.folder / 'tables'}"))
    return incomplete(result.missing, result.folder)
