"""The options of `detect`: how an image is read, and how it is searched."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from btk_punet.options import option, shared_option

if TYPE_CHECKING:
    from pathlib import Path

_SECTION = re.compile(r"^\[?(?P<columns>[\d*:]+),(?P<rows>[\d*:]+)\]?$")


def number_or_path(text: str) -> float | str:
    """Return what a word of the command line means: a number, else the path of a file."""
    try:
        return float(text)
    except ValueError:
        return text


def background_word(text: str) -> float | str | None:
    """Return what a word of the command line means as a background."""
    return None if text.lower() == "none" else number_or_path(text)


def image_section(text: str) -> tuple[slice, slice]:
    """Return the slices of rows and columns that a section of an image means.

    Args:
        text: As IRAF and CFITSIO have it: ``[x1:x2,y1:y2]``, columns first, counted from 1, both
            ends included, ``*`` for all; the brackets may be left out.

    Raises:
        ArgumentTypeError: if it is none.
    """
    found = _SECTION.match(text.replace(" ", ""))
    try:
        if found is None:
            raise ValueError
        return _slice(found["rows"]), _slice(found["columns"])
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected first and last column, first and last row, counted from 1, as in "
            f"201:700,1:500 or *,1:500; got '{text}'"
        ) from error


def _slice(text: str) -> slice:
    if text == "*":
        return slice(None)
    first, last = (int(part) for part in text.split(":"))
    if not 1 <= first <= last:
        raise ValueError
    return slice(first - 1, last)


@dataclass(frozen=True)
class ImageOptions:
    """How an image is read."""

    rms: Any = option(
        None,
        "noise of the background, without that of the sources [unit of the image]: a number, or "
        "the path of a FITS image; estimated from the image where neither it nor ``weight`` is "
        "given; in Python also an array",
        type=number_or_path,
        metavar="NUMBER|FILE",
    )
    weight: Any = option(
        None,
        "its inverse square instead; 0 marks pixels that are not usable",
        type=number_or_path,
        metavar="NUMBER|FILE",
    )
    mask: Any = option(
        None,
        "FITS image that is not 0 where a pixel is not usable; in Python also an array",
        metavar="FILE",
    )
    psf: Any = option(
        None,
        "FWHM [arcsec] before the pixel, or the path of a FITS image of the PSF; Euclid's if it is "
        "not given; in Python also a galsim object or an array of pixels",
        metavar="FWHM|FILE",
    )
    zeropoint: float | None = option(
        None,
        "AB magnitude of one unit of the image; the header's if it is not given",
        type=float,
        metavar="MAG",
    )
    gain: float | None = option(
        None,
        "electrons of one unit of the image; the header's if it is not given",
        type=float,
        metavar="ELECTRONS",
    )
    saturate: float | None = option(
        None,
        "value from which on a pixel is saturated [unit of the image, sky included]; the header's "
        "SATURATE if it is not given",
        type=float,
        metavar="VALUE",
    )
    pixel_scale_arcsec: float | None = option(
        None,
        "pixel size [arcsec] of an image without world coordinates",
        type=float,
        metavar="ARCSEC",
        flags=("--pixel-scale",),
    )
    background: Any = option(
        "estimate",
        "``estimate`` measures the sky and subtracts it; ``none`` is for an image whose sky is "
        "subtracted; a number or a FITS image is subtracted; in Python also None, as ``none``, "
        "and an array",
        type=background_word,
        metavar="estimate|none|NUMBER|FILE",
    )
    cosmic_rays: bool = option(
        False,
        "whether to look for cosmic rays, by astroscrappy, and mask them",
        action="store_true",
    )


@dataclass(frozen=True)
class SearchOptions:
    """How an image is searched."""

    weights: str | Path = option(
        "euclid-vis",
        "name of a preset, or folder of a trained network of one band",
        metavar="NAME|FOLDER",
    )
    n_samples: int = option(16, "number of samples of the network's posterior", type=int)
    threshold: float = option(0.5, "smallest ``p_detect`` of a source of the catalog", type=float)
    seed: int = option(0, "seed of the samples", type=int)
    density_ratio: float | None = option(
        None,
        "how many times as dense as in the sky sources are expected to lie, the sky's density "
        "without it (see `ProbaUNetDeblender`)",
        type=float,
    )
    orientations: int = option(
        1,
        "in how many orientations each tile goes through the network, whose mean is taken: 1, 2, 4 "
        "or 8",
        type=int,
    )
    light: bool = option(
        True,
        "whether to fit places, total fluxes, sizes and shapes",
        action=argparse.BooleanOptionalAction,
    )
    galaxies: str = option(
        "real",
        "what is told of the galaxies: ``real``, as the sky's, ``smooth``, as those of most "
        "simulations, or ``unknown`` (see `ProbaUNetDeblender`)",
        choices=("real", "smooth", "unknown"),
    )
    region: tuple[slice, slice] | None = option(
        None,
        "part of the image to search; pixels are counted from the corner of the whole image all "
        "the same. On the command line an image section, as IRAF and CFITSIO have it: columns "
        "x1:x2, then rows y1:y2, counted from 1, both ends included, * for all, as in "
        "201:700,1:500; in Python also slices of rows and of columns, counted from 0, as "
        "``numpy.s_[0:500, 200:700]``",
        type=image_section,
        metavar="X1:X2,Y1:Y2",
    )


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and how the work is done."""

    samples: int = option(
        0,
        "number of catalogs drawn from the posterior to write as well (``samples/``)",
        type=int,
        metavar="N",
    )
    jobs: int = option(
        1,
        "number of processes, each with a network of its own; one alone uses all cores in part of "
        "its work; no figure depends on it",
        type=int,
        flags=("--jobs", "-j"),
    )
    scheduler: str | None = shared_option(
        "scheduler",
        "; its workers must see the image and the output folder under the same paths (unpack a "
        "compressed image first)",
    )
    scheduler_file: str | Path | None = shared_option("scheduler_file")
    overwrite: bool = shared_option("overwrite")
    progress: bool = shared_option("progress")
