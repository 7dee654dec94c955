"""The page of a run of `detect`: what was found, what was assumed, and how to read the files.

One HTML file that needs nothing else.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from jinja2 import Environment, PackageLoader

from btk_punet.deblending.flags import flag_counts, flag_names
from btk_punet.figures import DOTS_PER_INCH
from btk_punet.files import write_file
from btk_punet.images.folder import (
    CANDIDATES_FILE,
    CATALOG_FILE,
    LABELS_FILE,
    OVERVIEW_FILE,
    PAGE_FILE,
    PARQUET_FILE,
    PROBABILITY_FILE,
    REGIONS_FILE,
    RUN_FILE,
    SAMPLES,
)
from btk_punet.images.marks import GRADES, grades

if TYPE_CHECKING:
    from btk_punet.images.detections import Detections

# Of the picture on the page, so that its text is about as large as the page's.
_PIXELS_PER_INCH = 110
# Rows of the catalog that are shown.
FIRST_ROWS = 20
# Decimals of columns; those of others are chosen by their size.
_DECIMALS = {
    "RA": 6, "DEC": 6, "RA_err": 3, "DEC_err": 3, "x_peak": 2, "y_peak": 2, "x_err": 2, "y_err": 2,
    "p_detect": 3, "p_blend": 3, "half_light_radius": 3, "e1": 3, "e2": 3,
}  # fmt: skip
# What each file is, and how it is read.
_FILES = {
    CATALOG_FILE: ("the catalog, one row per source", 'QTable.read("{}", hdu="CATALOG")'),
    PARQUET_FILE: ("the same for pandas and Spark", 'pandas.read_parquet("{}")'),
    LABELS_FILE: ("id of the source of each pixel, with the WCS", 'fits.getdata("{}")'),
    f"{LABELS_FILE}[OVERLAPS]": (
        "pixels that belong to further sources as well",
        f'QTable.read("{LABELS_FILE}", hdu="OVERLAPS")',
    ),
    PROBABILITY_FILE: (
        "maps: background, isolated, blended, class_mean, class_variance, centre",
        'fits.getdata("{}", "CENTRE")',
    ),
    CANDIDATES_FILE: (
        "all candidates down to a probability of 0.02, with the network's samples",
        'QTable.read("{}", hdu="CANDIDATES")',
    ),
    REGIONS_FILE: ("the sources for DS9", "ds9 IMAGE.fits -regions {}"),
    OVERVIEW_FILE: ("the picture above", ""),
    RUN_FILE: ("the choices, versions and notes of the run", 'json.load(open("{}"))'),
}


def write_page(detections: Detections, folder: Path) -> None:
    """Write ``index.html``.

    Args:
        detections: What was found.
        folder: The folder of the results, with the overview.
    """
    environment = Environment(
        loader=PackageLoader("btk_punet.images", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture = (folder / OVERVIEW_FILE).read_bytes()
    # Where PNG has its size; with it the page does not jump while it is laid out.
    width, height = struct.unpack(">II", picture[16:24])
    about = detections.about
    names = sorted(path.name for path in (folder / SAMPLES).glob("catalog_*.fits"))
    page = environment.get_template("page.html.jinja").render(
        title=about.get("name") or "Sources of an image",
        lead=_size(detections),
        picture=base64.b64encode(picture).decode(),
        width=round(width * _PIXELS_PER_INCH / DOTS_PER_INCH),
        height=round(height * _PIXELS_PER_INCH / DOTS_PER_INCH),
        caption=_caption(detections),
        numbers=list(_numbers(detections)),
        notes=about.get("notes", []),
        flags=[
            (flag.name, f"{number:,}", f"{number / len(detections):.1%}", flag.words)
            for flag, number in flag_counts(detections.catalog["flags"]).items()
        ],
        head=list(_head(detections)),
        rows=list(_rows(detections)),
        n_sources=len(detections),
        files=[(name, what, how.format(name)) for name, (what, how) in _FILES.items()],
        samples=[f"{SAMPLES}/{name}" for name in names],
        choices=[*about.get("choices", {}).items(), *about.get("versions", {}).items()],
    )
    write_file(folder / PAGE_FILE, page.encode())


def _size(detections: Detections) -> str:
    rows, columns = detections.region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    number = f"{len(detections):,} source{'' if len(detections) == 1 else 's'}"
    text = f"{number} in {height:,} × {width:,} pixels"
    if (height, width) != detections.shape:
        text += (
            f" (rows {rows.start} to {rows.stop - 1}, columns {columns.start} to "
            f"{columns.stop - 1} of {detections.shape[0]:,} × {detections.shape[1]:,})"
        )
    return text


def _caption(detections: Detections) -> str:
    behind = (
        "The image in units of its noise, on an arcsinh scale."
        if detections.image is not None
        else "The probability that a pixel belongs to a source."
    )
    return (
        f"{behind} Circles are sources, squares are sources with flags of their own; below are the "
        "places with most sources."
    )


def _numbers(detections: Detections) -> Iterator[tuple[str, str]]:
    """Yield what there is to say in numbers."""
    catalog = detections.catalog
    number = len(catalog)
    yield "Sources", f"{number:,}"
    p = np.asarray(catalog["p_detect"], float)
    yield "of which are expected to be true", f"{p.sum():,.1f} (the sum of p_detect)"
    of_grade = np.bincount(grades(p), minlength=len(GRADES))
    counts = zip(GRADES, of_grade, strict=True)
    yield "by probability", "; ".join(f"{n:,} with {grade.label}" for grade, n in counts)
    yield "Candidates down to a probability of 0.02", f"{len(detections.candidates):,}"
    scale = detections.about.get("pixel_scale_arcsec")
    if scale:
        height, width = (lines.stop - lines.start for lines in detections.region)
        area = height * width * (scale / 60) ** 2
        yield "Area", f"{area:.4g} arcmin² (pixels of {scale:.4g} arcsec)"
        yield "Density", f"{number / area:.3g} sources per arcmin²"
    if not number:
        return
    _, sizes = np.unique(np.asarray(catalog["blend_id"]), return_counts=True)
    yield (
        "Sources whose footprint touches another's",
        f"{sizes[sizes > 1].sum() / number:.1%} (largest group: {sizes.max()})",
    )
    for name in catalog.colnames:
        if name.startswith("mag_") and not name.startswith("mag_err_"):
            magnitudes = np.asarray(catalog[name].value, float)
            magnitudes = magnitudes[np.isfinite(magnitudes)]
            if len(magnitudes):
                low, middle, high = np.quantile(magnitudes, [0, 0.5, 1])
                yield name, f"{low:.2f} to {high:.2f}, median {middle:.2f}"


def _head(detections: Detections) -> Iterator[tuple[str, str]]:
    catalog = detections.catalog
    for name in catalog.colnames:
        unit = catalog[name].unit
        text = "" if unit in (None, u.dimensionless_unscaled) else f"[{unit}]"
        yield name, "[mag]" if unit == u.ABmag else text


def _rows(detections: Detections) -> Iterator[list[str]]:
    catalog = detections.catalog[:FIRST_ROWS]
    for row in range(len(catalog)):
        yield [_cell(name, catalog[name][row]) for name in catalog.colnames]


def _cell(name: str, value: Any) -> str:
    if name == "flags":
        return ", ".join(flag_names(value)) or "–"
    value = getattr(value, "value", value)
    if isinstance(value, int | np.integer):
        return str(value)
    if not np.isfinite(value):
        return "–"
    decimals = _DECIMALS.get(name, 3 if name.startswith("mag_") else None)
    if decimals is None:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    else:
        text = f"{value:.{decimals}f}"
    return text.replace("-", "−")
