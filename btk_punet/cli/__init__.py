"""The command ``btk-punet``: a module for each of its commands.

None of them imports at its top what computes, so that --help and a mistyped option answer at once.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from btk_punet import __version__
from btk_punet.cli import calibrate, compare, detect, evaluate, selection, train, uniformity
from btk_punet.errors import BtkPunetError

_COMMANDS = (compare, detect, uniformity, selection, train, evaluate, calibrate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    options.command = shlex.join(["btk-punet", *given])
    # For deblenders of one's own; last, so that no file of this folder hides a package.
    if "" not in sys.path:
        sys.path.append("")
    try:
        return options.run(options)
    except (BtkPunetError, OSError) as error:
        print(f"btk-punet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("btk-punet: stopped; the same command resumes from here.", file=sys.stderr)
        return 130


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
