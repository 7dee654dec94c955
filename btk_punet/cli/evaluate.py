"""``btk-punet evaluate``."""

import argparse
from pathlib import Path

from btk_punet.cli.options import HelpFormatter


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure how good a network's class and centre maps are",
        description=(
            "Draw a set of the benchmark, let a network map it, and print and write the "
            "classification report, confusion matrix, calibration, log loss and the spread of the "
            "samples (CSV, PNG and evaluation.json)."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run, resumes=False)
    parser.add_argument(
        "--model", "-m", default="euclid-vis", help="folder of a network, or a preset's name"
    )
    parser.add_argument("--output", "-o", type=Path, default=Path("evaluation"), help="folder")
    parser.add_argument(
        "--scenes",
        default="groups",
        metavar="SET",
        help="set of the benchmark: groups, pairs, fields, real, deep or psf",
    )
    parser.add_argument(
        "--cosmos-dir",
        type=Path,
        help="folder of real galaxies in GalSim's format, for the set 'real'",
    )
    parser.add_argument(
        "--n-blends",
        "-n",
        type=int,
        help="number of scenes (default: all of the set, which is also the most)",
    )
    parser.add_argument("--n-samples", type=int, default=16, help="samples of each image")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument(
        "--overwrite", action="store_true", help="overwrite another evaluation in the output folder"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.evaluation.runs.evaluate import evaluate

    evaluation = evaluate(
        options.model,
        options.output,
        options.scenes,
        n_blends=options.n_blends,
        n_samples=options.n_samples,
        seed=options.seed,
        cosmos_dir=options.cosmos_dir,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print(evaluation)
    print(f"\nTables and plots: {options.output}")
    return 0
