"""The command ``btk-punet``: a module for each of its commands.

None of them imports at its top what computes, so that --help and a mistyped option answer at once.
"""

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from btk_punet import __version__
from btk_punet.cli import (
    calibrate,
    compare,
    detect,
    evaluate,
    merge,
    selection,
    train,
    uniformity,
)
from btk_punet.cluster.started import workers_stay
from btk_punet.errors import BtkPunetError

_COMMANDS = (compare, detect, uniformity, selection, merge, train, evaluate, calibrate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    # For deblenders of one's own; last, so that no file of this folder hides a package.
    if "" not in sys.path:
        sys.path.append("")
    before = _exit_on_sigterm()
    try:
        with workers_stay():
            return options.run(options)
    except (BtkPunetError, OSError) as error:
        print(f"btk-punet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"btk-punet: stopped; {_next(options)}", file=sys.stderr)
        return 130
    except Terminated:
        print(f"btk-punet: terminated; {_next(options)}", file=sys.stderr)
        return 143
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command, its function ``run`` and itself as ``command``."""
    options = _parser().parse_args(arguments)
    options.command = shlex.join(["btk-punet", *arguments])
    return options


def _next(options: argparse.Namespace) -> str:
    """Return what the same command does after an interruption."""
    if getattr(options, "resumes", True):
        return "the same command resumes from here."
    return "nothing was written, and the same command begins anew."


class Terminated(BaseException):
    """The process got SIGTERM, as from a batch system whose time is up: it ends as with Ctrl-C."""


def _exit_on_sigterm() -> Any:
    """Have SIGTERM raise; return what it did before, None where that cannot be changed."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def terminate(number: int, frame: object) -> None:
        # Once: what is tidied up shall not be stopped by a second one.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    return signal.signal(signal.SIGTERM, terminate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="btk-punet",
        description="Detectors of blended galaxies on Euclid-like images, through BTK.",
    )
    parser.add_argument("--version", action="version", version=f"btk-punet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
