"""``btk-punet calibrate``."""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from btk_punet.cli.options import HelpFormatter
from btk_punet.errors import InputError


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        help="fit the probabilities of a network's detections",
        description=(
            "Draw Euclid-like scenes, let a network find the sources in them, and calibrate its "
            "probabilities and position errors on them. The result is written next to the "
            "weights (detection.json, or detection_structured.json), where ProbaUNetDeblender "
            "finds it, when all scenes are done. Networks for other surveys are refused."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--model", "-m", required=True, help="folder of a trained network")
    parser.add_argument("--n-blends", "-n", type=int, default=3000, help="number of scenes")
    parser.add_argument(
        "--galaxies",
        choices=("smooth", "structured"),
        default="smooth",
        help="galaxies of the scenes: smooth profiles, or profiles with clumps, arms and patches",
    )
    parser.add_argument("--n-samples", type=int, default=16, help="samples of each image")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.evaluation.runs.calibrate import fit_recipe
    from btk_punet.files import write_file
    from btk_punet.model.weights import CONFIG_FILE, WEIGHTS_FILE, weights_folder

    folder = weights_folder(options.model)
    check_drawable(folder)
    print(f"Scenes of Euclid's VIS band with {options.galaxies} galaxies.", flush=True)
    # Elsewhere first: a fit that is stopped must leave the calibration that is there.
    with TemporaryDirectory() as work:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copy(folder / name, work)
        recipe = fit_recipe(
            Path(work),
            options.n_blends,
            n_samples=options.n_samples,
            galaxies=options.galaxies,
            progress=not options.quiet,
        )
        for path in Path(work).glob("detection*.json"):
            write_file(folder / path.name, path.read_bytes())
    print(recipe)
    return 0


def check_drawable(folder: Path) -> None:
    """Raise where the scenes of the calibration would not be those that a network was made for.

    Args:
        folder: Folder of the network; the choices of its training lie there or one above.

    Raises:
        InputError: for a network of several bands, of another survey, or one that is told the
            density of sources.
    """
    from btk_punet.files import read_json
    from btk_punet.model.weights import CONFIG_FILE
    from btk_punet.training.config import TRAINING_FILE, TrainingConfig

    network = read_json(folder / CONFIG_FILE)
    n_bands = network.get("n_bands", 1)
    if n_bands != 1:
        raise InputError(
            f"'{folder}' is a network of {n_bands} bands, and the scenes of the "
            "calibration are of Euclid's VIS band alone: its probabilities stay as they are"
        )
    for place in (folder, folder.parent):
        if (place / TRAINING_FILE).is_file():
            survey = TrainingConfig.from_file(place / TRAINING_FILE).survey
            if survey != "euclid":
                raise InputError(
                    f"'{folder}' was trained on blends of {survey}, and the scenes of the "
                    "calibration are Euclid's: its probabilities stay as they are"
                )
            break
    if network.get("told_density", False):
        raise InputError(
            f"'{folder}' is told how dense sources lie, and the scenes of the calibration do not "
            "say it yet: its probabilities stay as they are"
        )
