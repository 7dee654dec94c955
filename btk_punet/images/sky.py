"""From pixels to right ascension and declination, with errors."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from btk_punet.images.world import ra_dec


def sky_columns(
    wcs: WCS,
    x: np.ndarray,
    y: np.ndarray,
    x_err: np.ndarray | None = None,
    y_err: np.ndarray | None = None,
) -> dict[str, u.Quantity]:
    """Return the sky coordinates of pixel positions, all distortions of the header included.

    Args:
        wcs: Celestial world coordinates of an image.
        x: Columns [pixel], 0-based.
        y: Rows.
        x_err: Errors of the columns; without them none are returned.
        y_err: Errors of the rows.

    Returns:
        ``RA`` and ``DEC`` [deg, in the header's system if that is equatorial, else ICRS] and, given
        errors, ``RA_err`` and ``DEC_err`` [arcsec on the sky].
    """
    ra, dec = _sky(wcs, x, y)
    columns = {"RA": ra * u.deg, "DEC": dec * u.deg}
    if x_err is not None and y_err is not None:
        # How a step of a pixel moves on the sky, at each source: distortions differ.
        squares = {"RA_err": np.zeros(len(ra)), "DEC_err": np.zeros(len(ra))}
        for error, step in ((x_err, (0.5, 0.0)), (y_err, (0.0, 0.5))):
            ends = [_sky(wcs, x + sign * step[0], y + sign * step[1]) for sign in (1, -1)]
            east = (ends[0][0] - ends[1][0] + 180) % 360 - 180
            squares["RA_err"] += (error * east * np.cos(np.radians(dec))) ** 2
            squares["DEC_err"] += (error * (ends[0][1] - ends[1][1])) ** 2
        columns |= {name: (3600 * np.sqrt(square)) * u.arcsec for name, square in squares.items()}
    return columns


def _sky(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(x):
        return np.zeros(0), np.zeros(0)
    return ra_dec(wcs.celestial, np.asarray(x, float), np.asarray(y, float))
