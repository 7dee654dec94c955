"""``btk-punet selection``."""

import argparse
from pathlib import Path

from btk_punet.cli.options import (
    HelpFormatter,
    add_deblenders,
    add_options,
    add_running,
    given_options,
    incomplete_runs,
    running_arguments,
    shard_done,
    start_workers,
    told_at_the_end,
)
from btk_punet.evaluation.runs.options import Scenes
from btk_punet.evaluation.scoring.rules import Rules


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "selection",
        help="measure with what probability a source is found, by injection",
        description=(
            "Draw scenes, inject a source into each, and write with what probability detectors "
            "find it, by its magnitude, size and distance to the nearest detection: "
            "selection.parquet (one row per injected source), tables (ECSV, CSV, LaTeX) and a "
            "plot. The same command on the same folder continues a run that was stopped."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--output", "-o", type=Path, default=Path("selection"), help="folder")
    add_deblenders(
        parser, "sep, and source-extractor and probaunet where program and preset are installed"
    )
    scenes = parser.add_argument_group("scenes")
    add_options(scenes, Scenes)
    add_options(parser.add_argument_group("counting"), Rules, but=("min_snr",))
    sources = parser.add_argument_group("injected sources")
    sources.add_argument("--min-mag", type=float, default=19.5, help="brightest magnitude")
    sources.add_argument("--max-mag", type=float, default=28.0, help="faintest magnitude")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    scenes, rules = given_options(options, Scenes), given_options(options, Rules)
    start_workers(options, scenes)
    from btk_punet.evaluation.runs.selection import selection_function
    from btk_punet.evaluation.studies.selection.function import selection_tables

    with told_at_the_end():
        table = selection_function(
            options.output,
            options.deblenders,
            min_mag=options.min_mag,
            max_mag=options.max_mag,
            **scenes,
            **rules,
            command=options.command,
            **running_arguments(options),
        )
    if hasattr(options, "shard"):
        return shard_done(options.output, options.shard)
    by_magnitude = selection_tables(table, rules=Rules(**rules))["selection_by_magnitude"]
    print(by_magnitude.to_string(index=False, float_format="{:.3f}".format))
    print(f"\nOne row per injected source: {options.output / 'selection.parquet'}")
    print(f"Tables: {options.output / 'tables'}")
    print(f"Plot: {options.output / 'plots' / 'selection.png'}")
    return incomplete_runs(options.output)
