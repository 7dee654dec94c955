"""``btk-punet selection``."""

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
    scenes.add_argument(
        "--n-blends", "-n", type=int, default=1000, help="number of scenes and injected sources"
    )
    add_scenes(scenes)
    sources = parser.add_argument_group("injected sources")
    sources.add_argument("--min-mag", type=float, default=19.5, help="brightest magnitude")
    sources.add_argument("--max-mag", type=float, default=28.0, help="faintest magnitude")
    parser.add_argument("--batch-size", type=int, default=50, help="scenes in a batch")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.evaluation.selection import selection_tables
    from btk_punet.evaluation.selection_run import selection_function

    table = selection_function(
        options.output,
        options.deblenders,
        min_mag=options.min_mag,
        max_mag=options.max_mag,
        n_blends=options.n_blends,
        batch_size=options.batch_size,
        **scene_arguments(options),
        **running_arguments(options),
    )
    by_magnitude = selection_tables(table)["selection_by_magnitude"]
    print(by_magnitude.to_string(index=False, float_format="{:.3f}".format))
    print(f"\nOne row per injected source: {options.output / 'selection.parquet'}")
    print(f"Tables: {options.output / 'tables'}")
    print(f"Plot: {options.output / 'plots' / 'selection.png'}")
    return 0
