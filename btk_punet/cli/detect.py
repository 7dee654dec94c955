"""``btk-punet detect``."""

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btk_punet.cli.options import HelpFormatter, add_options, given_options
from btk_punet.errors import BtkPunetWarning
from btk_punet.images.options import ImageOptions, OutputOptions, SearchOptions

if TYPE_CHECKING:
    from btk_punet.images.detections import Detections


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "detect",
        help="find the galaxies in a FITS image of any size",
        description=(
            "Find the galaxies in a FITS image of any size, and write a catalog, a map of labels, "
            "maps of probabilities, regions for DS9 and a page to look at. The same command on "
            "the same folder resumes a run that was stopped."
        ),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "image",
        metavar="IMAGE.fits[EXT]",
        help="the image, compressed or not, with the name or number of an extension if needed",
    )
    parser.add_argument("--output", "-o", type=Path, default=Path("detections"), help="folder")
    add_options(parser.add_argument_group("image"), ImageOptions)
    add_options(parser.add_argument_group("search"), SearchOptions)
    output = parser.add_argument_group("output")
    add_options(output, OutputOptions, but=("progress",))
    output.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.images.detect import detect

    start = time.perf_counter()
    given: dict[str, Any] = {}
    for kind in (ImageOptions, SearchOptions, OutputOptions):
        given |= given_options(options, kind)
    with _warnings_in_one_line():
        found = detect(options.image, output=options.output, progress=not options.quiet, **given)
    print(_summary(found, time.perf_counter() - start, options.output))
    return 0


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings of this package as its errors are printed; others stay as they are."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None) -> None:
            if issubclass(category, BtkPunetWarning):
                print(f"btk-punet: warning: {message}", file=sys.stderr)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _summary(found: "Detections", seconds: float, output: Path) -> str:
    """Return what is printed of a run: sources, time, notes, flags and where it all is."""
    from btk_punet.deblending.flags import flag_counts

    height, width = (lines.stop - lines.start for lines in found.region)
    number = f"{len(found)} source{'' if len(found) == 1 else 's'}"
    lines = [f"{number} in {height} x {width} pixels, in {seconds:.0f} s.", ""]
    lines += [*found.about.get("notes", []), ""]
    counts = flag_counts(found.catalog["flags"])
    if counts:
        lines.append("Flags, and how many sources bear them:")
        lines += [f"  {flag.name:<20} {n:>7}  {flag.words}" for flag, n in counts.items()]
        lines.append("")
    return "\n".join([*lines, f"Catalog, maps and page: {output / 'index.html'}"])
