"""``btk-punet uniformity``."""

import argparse
from pathlib import Path

from btk_punet.cli.options import (
    HelpFormatter,
    add_deblenders,
    add_running,
    incomplete_runs,
    running_arguments,
    shard_done,
    start_workers,
    told_at_the_end,
)
from btk_punet.errors import InputError

_SHOWN = [
    "quantity", "value", "method", "completeness", "ceiling", "lost_with_information",
    "lost_by_method", "purity",
]  # fmt: skip


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "uniformity",
        help="measure detectors as PSF, depth, sky residual and density vary",
        description=(
            "Run detectors under varied conditions, one quantity at a time, all else as in the "
            "Euclid Wide Survey, and write completeness, purity and what was lost with the "
            "information (uniformity.csv, uniformity.png), and a comparison for each condition. "
            "The same command on the same folder continues a run that was stopped."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--output", "-o", type=Path, default=Path("uniformity"), help="folder")
    add_deblenders(
        parser, "sep, and source-extractor and probaunet where program and preset are installed"
    )
    parser.add_argument(
        "--conditions",
        nargs="+",
        metavar="QUANTITY[=VALUE,...]",
        help=(
            "what to vary, as in n_exposures or n_exposures=1,4: psf_fwhm_arcsec (PSF's FWHM), "
            "n_exposures, sky_residual_sigma (sky left over in all pixels, below 0 if too much "
            "was subtracted, in standard deviations of a pixel's background), density_per_arcmin2 "
            "(sources in fields) (default: all)"
        ),
    )
    parser.add_argument(
        "--n-blends",
        "-n",
        type=int,
        default=1000,
        help="groups under each condition; of fields a sixteenth",
    )
    parser.add_argument("--seed", type=int, default=0, help="of catalog, scenes and noise")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    start_workers(options)
    from btk_punet.evaluation.runs.uniformity import uniformity

    conditions = None if options.conditions is None else _conditions(options.conditions)
    with told_at_the_end():
        table = uniformity(
            options.output,
            options.deblenders,
            conditions,
            n_blends=options.n_blends,
            seed=options.seed,
            command=options.command,
            **running_arguments(options),
        )
    if hasattr(options, "shard"):
        return shard_done(options.output, options.shard)
    print(table[_SHOWN].to_string(index=False, float_format="{:.3f}".format))
    print(f"\nTable: {options.output / 'uniformity.csv'}")
    print(f"Plot: {options.output / 'uniformity.png'}")
    return incomplete_runs(options.output)


def _conditions(texts: list[str]) -> dict[str, tuple[float, ...]]:
    """Return quantities and their values from texts like ``n_exposures=1,4`` or ``n_exposures``.

    Raises:
        InputError: for values that are no numbers, or an unknown quantity without values.
    """
    from btk_punet.evaluation.runs.uniformity import default_conditions

    known, conditions = default_conditions(), {}
    for text in texts:
        name, given, values = text.partition("=")
        if name not in known:
            raise InputError(f"Unknown condition {name!r}: expected some of {list(known)}.")
        try:
            numbers = tuple(float(value) for value in values.split(","))
        except ValueError as error:
            if given:
                raise InputError(
                    f"Expected numbers in {text!r}, as in '{name}={known[name][0]:g},"
                    f"{known[name][1]:g}'."
                ) from error
            numbers = known[name]
        conditions[name] = numbers
    return conditions
