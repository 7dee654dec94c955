"""World coordinates of an image: whether its WCS can be used, its pixel size, right ascensions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from btk_punet.errors import InputError, InputTypeError
from btk_punet.images.photometry import number

# A pixel size that the caller gives may differ from that of the WCS by this share.
_SCALE_TOLERANCE = 0.01
# A matrix that makes larger pixels, or narrower ones, is broken.
_LARGEST_PIXEL_ARCSEC, _LEAST_SQUARE = 3600.0, 0.05
# Pixels of Euclid VIS [arcsec], which the network's presets are made for.
EUCLID_PIXEL_ARCSEC = 0.1


def given_wcs(wcs: Any, shape: tuple[int, int]) -> WCS:
    """Return a WCS that the caller gave, if it can be used.

    Args:
        wcs: An astropy ``WCS`` or a header.
        shape: Rows and columns of the image.

    Raises:
        InputTypeError: if it is something else.
        InputError: if it has no celestial coordinates, or is not one of this image.
    """
    if isinstance(wcs, fits.Header):
        made, why_not = header_wcs(wcs)
        if made is None:
            raise InputError(f"wcs must hold celestial coordinates: {why_not}.")
        return made
    if not isinstance(wcs, WCS):
        raise InputTypeError(
            f"wcs must be an astropy.wcs.WCS or a FITS header, got {type(wcs).__name__}."
        )
    made, why_not = _usable(wcs)
    if made is None:
        raise InputError(f"wcs must hold celestial coordinates: {why_not}.")
    if wcs.pixel_shape is not None and tuple(wcs.pixel_shape[:2]) != shape[::-1]:
        raise InputError(
            f"wcs must be that of the image of {shape[1]} columns and {shape[0]} rows, and is one "
            f"of {wcs.pixel_shape[0]} columns and {wcs.pixel_shape[1]} rows."
        )
    return made


def header_wcs(header: fits.Header, hdus: fits.HDUList | None = None) -> tuple[WCS | None, str]:
    """Return the celestial WCS of a header, or None and why there is none that can be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keywords that were repaired
            wcs = WCS(_rewritten(header), fobj=hdus)
    except Exception as error:  # of wcslib, in several kinds
        return None, f"astropy cannot read it ({type(error).__name__}: {_first_line(error)})"
    return _usable(wcs)


def _rewritten(header: fits.Header) -> fits.Header:
    """Return a header with its values written anew: broken text can crash wcslib, in C."""
    rewritten = fits.Header()
    for card in header.cards:
        if card.keyword not in ("", "COMMENT", "HISTORY", "END"):
            rewritten.append(fits.Card(card.rawkeyword, card.rawvalue), end=True)
    return rewritten


def _usable(wcs: WCS) -> tuple[WCS | None, str]:
    """Return a WCS of two celestial axes that gives finite coordinates, or None and why not."""
    if not wcs.has_celestial:
        kinds = [kind for kind in wcs.wcs.ctype if kind]
        return None, f"it has no celestial axes (CTYPE {', '.join(kinds) or 'missing'})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if wcs.naxis > 2:
                wcs = wcs.celestial
            if wcs.wcs.lng != 0:
                return None, "its first axis is not the longitude"
            across, along, area = _pixel_sides(wcs, *(wcs.wcs.crpix - 1))
    except Exception as error:  # a singular matrix, for instance
        return None, f"it gives no coordinates ({type(error).__name__}: {_first_line(error)})"
    # wcslib puts 1 or 1e108 in place of what is missing or NaN in the matrix, and says nothing.
    sides = f"{across:.3g} x {along:.3g} arcsec"
    if not (0 < max(across, along) < _LARGEST_PIXEL_ARCSEC):
        return None, f"its pixels would be of {sides} (see its CD or PC matrix)"
    if area < _LEAST_SQUARE * max(across, along) ** 2:
        return None, f"its pixels would be of {sides} and not near square (see its CD or PC matrix)"
    return wcs, ""


def local_pixel_scale(wcs: WCS, x: float, y: float) -> float:
    """Return the side of a square with the area of a pixel at a place [arcsec], distortion too."""
    return math.sqrt(_pixel_sides(wcs, x, y)[2])


def _pixel_sides(wcs: WCS, x: float, y: float) -> tuple[float, float, float]:
    """Return the sides of a pixel at a place [arcsec], and its area."""
    columns, rows = x + 0.5 * np.array([-1, 1, 0, 0]), y + 0.5 * np.array([0, 0, -1, 1])
    lon, lat = (np.radians(angle) for angle in wcs.pixel_to_world_values(columns, rows))
    places = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    across, along = places[:, 1] - places[:, 0], places[:, 3] - places[:, 2]
    lengths = [np.linalg.norm(v) for v in (across, along, np.cross(across, along))]
    arcsec = math.degrees(1) * 3600
    return (
        float(lengths[0] * arcsec),
        float(lengths[1] * arcsec),
        float(lengths[2] * arcsec**2),
    )


def pixel_scale(
    wcs: WCS | None, given: float | None, shape: tuple[int, int], known: float | None
) -> tuple[float, str]:
    """Return the pixel size [arcsec], and a sentence if it was assumed.

    Args:
        wcs: Of the image, at whose centre it is taken.
        given: By the caller.
        shape: Rows and columns.
        known: What else says it, such as a survey; None if nothing does.

    Raises:
        InputError: if the given one is not positive, or is not that of the WCS.
        InputTypeError: if it is no number.
    """
    if given is not None:
        given = number("pixel_scale_arcsec", given, "arcsec")
        if given <= 0:
            raise InputError(f"pixel_scale_arcsec must be above 0, got {given:g}.")
    if wcs is not None:
        scale = local_pixel_scale(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(
                "The WCS gives no coordinates at the centre of the image. Is it that of this "
                "image? Mend the header, or pass the image as an array with pixel_scale_arcsec."
            )
        if given is not None and abs(given / scale - 1) > _SCALE_TOLERANCE:
            raise InputError(
                f"pixel_scale_arcsec is {given:g}, and the WCS says {scale:.4g} arcsec. Leave out "
                "the one that is wrong."
            )
        return scale, ""
    if given is not None:
        return given, ""
    if known is not None:
        return known, ""
    return EUCLID_PIXEL_ARCSEC, (
        f"The pixel size is not known: {EUCLID_PIXEL_ARCSEC} arcsec was assumed, that of Euclid "
        "VIS. Give pixel_scale_arcsec."
    )


def ra_dec(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascension and declination of places in an image [degree].

    Equatorial coordinates are given as they are in the header's system (ICRS, FK5); others, such
    as galactic ones, as ICRS.

    Args:
        wcs: Of the image.
        x: Columns, 0-based, of any shape.
        y: Rows.
    """
    lon, lat = (np.asarray(angle, float) for angle in wcs.pixel_to_world_values(x, y))
    if wcs.wcs.lngtyp.strip() == "RA":
        return lon % 360.0, lat
    sky = wcs.pixel_to_world(x, y)
    if not isinstance(sky, SkyCoord):
        return lon % 360.0, lat
    return np.asarray(sky.icrs.ra.deg), np.asarray(sky.icrs.dec.deg)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else ""
