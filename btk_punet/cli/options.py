"""Options that several commands share, and what they are called in Python."""

import argparse
import os
from typing import Any

from btk_punet.deblending.registry import DEBLENDERS


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the defaults of options in their help, but for those that have none to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # A flag takes no value, so that it has no default that could be given.
        if action.default is None or action.nargs == 0:
            return action.help
        return super()._get_help_string(action)


def add_deblenders(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the option that names the detectors.

    Args:
        parser: Where to add it.
        default: What is run without it.
    """
    parser.add_argument(
        "--deblenders",
        "-d",
        nargs="+",
        metavar="NAME[:KEY=VALUE,...]",
        help=(
            f"{', '.join(DEBLENDERS)}, or MODULE:CLASS for a class of your own (a subclass of "
            "btk.deblend.Deblender, installed or in this folder, as in my_package.detectors:Mine); "
            "with settings, as in sep:thresh=1.5,minarea=3 or my_module:Mine:depth=2 or "
            "probaunet:weights=FOLDER,threshold=0.3,density_ratio=0.5,galaxies=structured "
            "(weights: a preset's name, or a folder, ./FOLDER if it has a preset's name; "
            "density_ratio: how many times as dense sources lie as in its training; galaxies: "
            f"smooth, or structured as real ones are) (default: {default})"
        ),
    )


def add_scenes(group) -> None:
    """Add the options that say which scenes are drawn."""
    group.add_argument(
        "--sampling", default="groups", choices=["groups", "pairs", "fields"], help="placing"
    )
    group.add_argument(
        "--catalog",
        default="simulate",
        help="simulate, cosmos:DIR (real HST galaxies), or the path of a CatSim-like table",
    )
    group.add_argument("--survey", default="euclid", help="euclid, or one of BTK's surveys")
    group.add_argument("--n-exposures", type=int, default=4, help="exposures of euclid")
    group.add_argument("--read-noise", type=float, default=4.4, help="electron, of euclid")
    group.add_argument("--psf", type=float, default=0.16, help="FWHM of euclid's PSF [arcsec]")
    group.add_argument("--seed", type=int, default=0, help="of catalog, scenes and noise")


def scene_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_scenes` read, as arguments of `compare`."""
    names = ("sampling", "catalog", "survey", "n_exposures", "read_noise", "psf", "seed")
    return {name: getattr(options, name) for name in names}


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a run is run."""
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--overwrite", action="store_true", help="discard another run in the output folder"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def running_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_running` read, as arguments of `compare`."""
    return {
        "njobs": options.jobs,
        "overwrite": options.overwrite,
        "progress": not options.quiet,
    }
