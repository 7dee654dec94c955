"""Options that several commands share: the fields of the runs' own options, with their words."""

import argparse
import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from btk_punet.deblending.registry import DEBLENDERS


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the defaults of options in their help, but for those that have none to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # A flag takes no value, so that it has no default that could be given.
        if action.default in (None, argparse.SUPPRESS) or action.nargs == 0:
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
            "density_ratio: how many times as dense sources lie as in the sky, or, for a network "
            "that is not told it, as in its training; auto to estimate it; galaxies: "
            f"smooth, or structured as real ones are) (default: {default})"
        ),
    )


def add_options(group: Any, kind: type, but: Iterable[str] = ()) -> None:
    """Add an option for each field of a class of options, with its words.

    An option that is not given has no value at all, so that `given_options` can tell.

    Args:
        group: Parser or group of options to add to.
        kind: The class, such as `Scenes`.
        but: Names of fields without an option.
    """
    for spec in dataclasses.fields(kind):
        if spec.name in but:
            continue
        arguments = dict(spec.metadata)
        words = arguments.pop("words").replace("`", "")
        words = words.partition("; in Python also")[0]
        flags = arguments.pop("flags", (f"--{spec.name.replace('_', '-')}",))
        if isinstance(spec.default, bool):
            words += " (default: yes)" if spec.default else ""
        elif spec.default is not None:
            words += f" (default: {spec.default})"
        group.add_argument(
            *flags, dest=spec.name, default=argparse.SUPPRESS, help=words, **arguments
        )


def given_options(options: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Return what was given of the options of a class, by their names in Python."""
    names = [spec.name for spec in dataclasses.fields(kind)]
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


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
