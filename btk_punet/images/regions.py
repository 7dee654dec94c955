"""The sources of an image as regions for DS9 (and CARTA, Aladin, astropy's ``regions``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord

from btk_punet.files import write_file
from btk_punet.images.marks import GRADES, grades, is_flagged, places, radii
from btk_punet.images.world import local_pixel_scale

if TYPE_CHECKING:
    from btk_punet.images.detections import Detections

# Without semicolons, which begin new lines in this format, in comments as well.
_HEAD = (
    "# Region file format: DS9 version 4.1",
    "# Sources by btk-punet detect. Circles have the area of a footprint, squares are sources with",
    f"# flags, colours are p_detect: {', '.join(f'{g.ds9} from {g.lowest:g}' for g in GRADES)}",
    'global width=1 font="helvetica 10 normal roman" select=1 edit=1 move=0 delete=1 include=1',
)


def write_regions(detections: Detections, path: Path) -> None:
    """Write a region file: ICRS where there are world coordinates, else pixels of the image.

    Args:
        detections: What was found.
        path: The file.
    """
    catalog = detections.catalog
    x, y = places(catalog)
    radius = radii(catalog)
    sky = sky_places(detections)
    if sky is None:
        frame = "image"
        # FITS counts pixels from 1.
        where = [f"{a:.3f},{b:.3f}" for a, b in zip(x + 1, y + 1, strict=True)]
        sizes = [f"{r:.2f}" for r in radius]
        sides = [f"{2 * r:.2f}" for r in radius]
    else:
        assert detections.wcs is not None
        frame = "icrs"
        where = [f"{ra:.7f},{dec:.7f}" for ra, dec in zip(sky.ra.deg, sky.dec.deg, strict=True)]
        middle = ((lines.start + lines.stop - 1) / 2 for lines in detections.region[::-1])
        scale = local_pixel_scale(detections.wcs, *middle)
        sizes = [f'{scale * r:.3f}"' for r in radius]
        sides = [f'{2 * scale * r:.3f}"' for r in radius]
    lines = [*_HEAD, frame]
    rows = zip(catalog["id"], where, sizes, sides, grades(catalog["p_detect"]),
               is_flagged(catalog), strict=True)  # fmt: skip
    for number, place, size, side, grade, flagged in rows:
        shape = f"box({place},{side},{side},0)" if flagged else f"circle({place},{size})"
        lines.append(f"{shape} # color={GRADES[grade].ds9} text={{{number}}}")
    write_file(path, ("\n".join(lines) + "\n").encode("ascii"))


def sky_places(detections: Detections) -> SkyCoord | None:
    """Return the places of the sources on the sky, ICRS; None without world coordinates."""
    if detections.wcs is None:
        return None
    x, y = places(detections.catalog)
    if not len(x):
        return SkyCoord(np.zeros(0), np.zeros(0), unit="deg")
    sky = detections.wcs.celestial.pixel_to_world(x, y)
    return sky.icrs if isinstance(sky, SkyCoord) else None
