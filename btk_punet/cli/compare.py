"""``btk-punet compare``."""

import argparse
from pathlib import Path

from btk_punet.cli.options import (
    HelpFormatter,
    add_deblenders,
    add_running,
    add_scenes,
    running_arguments,
    scene_arguments,
)


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
        metavar="SET",
        help=(
            "scenes of the benchmark: groups, pairs, fields, real, deep, psf, or all (each in a "
            "folder of its own); the other options of the scenes are then not used"
        ),
    )
    scenes.add_argument(
        "--cosmos-dir",
        type=Path,
        help="folder of real galaxies in GalSim's format, for the benchmark set 'real'",
    )
    scenes.add_argument("--n-blends", "-n", type=int, help="number of blends (default: 1000)")
    add_scenes(scenes)
    parser.add_argument("--batch-size", type=int, default=50, help="blends in a batch")
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
    # Imported here, so that --help and a mistyped option answer at once.
    from btk_punet.evaluation.benchmark import compare_benchmark
    from btk_punet.evaluation.compare import compare

    common = running_arguments(options) | {"report": options.report}
    if options.outcomes is not None:
        common["outcomes"] = options.outcomes
    if options.benchmark is not None:
        summary = compare_benchmark(
            options.output,
            options.benchmark,
            options.deblenders,
            n_blends=options.n_blends,
            cosmos_dir=options.cosmos_dir,
            **common,
        )
        print(summary.to_string(index=False, float_format="{:.3f}".format))
        print(f"\nTables, plots and reports: {options.output}")
        return 0
    result = compare(
        options.output,
        options.deblenders,
        **scene_arguments(options),
        n_blends=1000 if options.n_blends is None else options.n_blends,
        batch_size=options.batch_size,
        **common,
    )
    for note in result.run.get("notes", []):
        print(note)
    print(result)
    where = f"Report: {result.folder / 'report.html'}"
    print("\n" + (where if options.report else f"Tables: {result.folder / 'tables'}"))
    return 0
