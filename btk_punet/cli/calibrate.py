"""``btk-punet calibrate``."""

import argparse
from pathlib import Path

from btk_punet.cli.options import HelpFormatter


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        help="fit the probabilities of a network's detections",
        description=(
            "Draw Euclid-like scenes, let a network find the sources in them, and calibrate its "
            "probabilities and position errors on them. The result is written next to the "
            "weights (detection.json), where ProbaUNetDeblender finds it, when all scenes are "
            "done. Networks for other surveys are refused."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run, resumes=False)
    parser.add_argument("--model", "-m", required=True, help="folder of a trained network")
    parser.add_argument("--n-blends", "-n", type=int, default=3000, help="number of scenes")
    parser.add_argument(
        "--real-galaxies",
        type=Path,
        help=(
            "file of real galaxies, for a network that is told how dense sources lie: those that "
            "are kept out of training to calibrate on are drawn as the bright galaxies of the sky "
            "and of some groups, and, for what the fit of light says, those of the training too"
        ),
    )
    parser.add_argument("--n-samples", type=int, default=16, help="samples of each image")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.evaluation.runs.calibrate import fit_recipe

    print("Scenes of Euclid's VIS band.", flush=True)
    recipe = fit_recipe(
        options.model,
        options.n_blends,
        n_samples=options.n_samples,
        real_galaxies=options.real_galaxies,
        progress=not options.quiet,
    )
    print(recipe)
    return 0
