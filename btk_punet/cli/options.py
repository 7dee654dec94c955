"""Options that several commands share: the fields of the runs' own options, with their words."""

import argparse
import dataclasses
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from btk_punet.cluster.started import start_ahead
from btk_punet.deblending.registry import DEBLENDERS
from btk_punet.errors import IncompleteRunWarning
from btk_punet.evaluation.runs.options import Running, Scenes


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
            "probaunet:weights=FOLDER,threshold=0.3,density_ratio=0.5 "
            "(weights: a preset's name, or a folder, ./FOLDER if it has a preset's name; "
            "density_ratio: how many times as dense sources lie as in the sky, or, for a network "
            "that is not told it, as in its training; auto to estimate it; galaxies: smooth, real "
            f"or unknown, without it what the scenes say) (default: {default})"
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


def add_running(parser: argparse.ArgumentParser, but: Iterable[str] = ()) -> None:
    """Add the options that say how a run is run.

    Args:
        parser: Where to add them.
        but: Names of those that the command does not have.
    """
    group = parser.add_argument_group("running")
    add_options(group, Running, but=("njobs", "progress", *but))
    group.add_argument(
        "--jobs",
        "-j",
        type=int,
        metavar="N",
        help=f"number of processes of this machine (default: its cores, {os.cpu_count() or 1})",
    )
    group.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def running_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_running` read, as arguments of `compare`."""
    given = given_options(options, Running)
    connected = given.get("scheduler") is not None or given.get("scheduler_file") is not None
    if options.jobs is not None:
        given["njobs"] = options.jobs
    elif not connected:
        given["njobs"] = os.cpu_count() or 1
    return given | {"progress": not options.quiet}


def start_workers(options: argparse.Namespace, scenes: Mapping[str, Any] | None = None) -> None:
    """Start the local workers of a new run, while this process loads what the run needs.

    Args:
        options: Those of the command.
        scenes: Those of `Scenes` that were given, for a single run: more workers than it has
            batches would have nothing to do.
    """
    given = running_arguments(options)
    njobs = given.get("njobs", 1)
    if scenes is not None:
        n_blends = scenes.get("n_blends", Scenes.n_blends)
        batch_size = max(scenes.get("batch_size", Scenes.batch_size), 1)
        njobs = min(njobs, math.ceil(n_blends / batch_size))
    # Of a run that is there already, little may be left to do; a limit is not checked yet.
    if njobs < 2 or "memory_limit" in given or any(options.output.glob("*")):
        return
    names = options.deblenders or ["probaunet"]
    modules = ["btk_punet.evaluation.runs.compare"]
    if any(name.startswith("probaunet") for name in names):
        modules.append("btk_punet.model.proba_unet")
    start_ahead(njobs, modules=modules)


@contextmanager
def told_at_the_end() -> Iterator[None]:
    """Leave out the warnings that something is missing from a run: `incomplete` says it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteRunWarning)
        yield


# Exit status of a run that is done, and from which something is missing.
INCOMPLETE = 3


def incomplete(missing: Sequence[str], folder: Path) -> int:
    """Say what is missing from a run that is done; return the exit status.

    Args:
        missing: What is missing, in sentences.
        folder: Folder of the run.
    """
    if not missing:
        return 0
    for sentence in missing:
        print(f"btk-punet: {sentence}", file=sys.stderr)
    print(
        f"btk-punet: {folder / 'failures.json'} says why; the same command tries again.",
        file=sys.stderr,
    )
    return INCOMPLETE


def incomplete_runs(folder: Path) -> int:
    """Say what is missing from any of the runs in a folder; return the exit status."""
    from btk_punet.evaluation.runs.engine import missing_in_words
    from btk_punet.evaluation.runs.folder import read_run

    status = 0
    for path in sorted(folder.rglob("run.json")):
        status = max(status, incomplete(missing_in_words(read_run(path.parent) or {}), path.parent))
    return status


def shard_done(folder: Path, shard: str) -> int:
    """Say that a shard is done; return the exit status."""
    print(f"Shard {shard} is done: {folder}. Put all of them together with btk-punet merge.")
    return incomplete_runs(folder)
