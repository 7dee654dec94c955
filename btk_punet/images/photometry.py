"""What one unit of an image is worth: electrons, and AB magnitudes.

Conventions, where the caller does not say otherwise:

- Zero points are the AB magnitude of *one unit of the image as it is stored*: no exposure time is
  applied to them. (So is SExtractor's MAG_ZEROPOINT.) PHOTFLAM alone is that of one unit a
  second, as the Space Telescope Science Institute defines it.
- A gain is the number of electrons that one unit of the image stands for. That of a header is one
  for counts; in an image of counts or electrons a second, the exposure time multiplies it.
"""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import astropy.units as u

from btk_punet.errors import InputError, InputTypeError

_GAIN_KEYS = ("GAIN", "EGAIN", "ATODGAIN", "CCDGAIN")
_TIME_KEYS = ("EXPTIME", "XPOSURE", "TEXPTIME", "EXPOSURE")
_ZEROPOINT_KEYS = (
    "MAGZERO",
    "MAGZPT",
    "MAGZP",
    "MAGZEROP",
    "ZEROPOINT",
    "ABMAGZP",
    "ABZP",
    "PHOTZP",
    "ZPAB",
)
_ELECTRONS = r"electrons?|e-|e"
_COUNTS = r"adus?|dn|counts?|cts?"
_PLAIN_UNIT = re.compile(
    rf"^(?:(?P<electron>{_ELECTRONS})|(?P<count>{_COUNTS}))"
    r"(?P<rate>\s*/\s*s(?:ec(?:onds?)?)?|\s*s(?:ec)?\^?-1)?$",
    re.IGNORECASE,
)
# Zero points that differ by more than this contradict each other [mag].
_ZEROPOINT_TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Photometry:
    """What one unit of an image is worth.

    Attributes:
        unit: The unit, as it was given; empty if it was not.
        electrons_per_unit: Electrons of one unit; None where that is not known.
        zeropoint: AB magnitude of one unit; NaN where that is not known.
        notes: What was taken from where.
    """

    unit: str
    electrons_per_unit: float | None
    zeropoint: float
    notes: tuple[str, ...]


def photometry(
    header: Mapping[str, Any],
    unit: str,
    gain: float | None,
    zeropoint: float | None,
    pixel_scale_arcsec: float,
) -> Photometry:
    """Return what one unit of an image is worth.

    Args:
        header: Its header, or what there is of one.
        unit: Its unit; empty if it is not known.
        gain: Electrons of one unit, in place of the header's.
        zeropoint: AB magnitude of one unit, in place of the header's.
        pixel_scale_arcsec: Pixel size [arcsec], for surface brightness.

    Raises:
        InputError: if the gain is not positive, the zero point not finite, or the image one of
            magnitudes.
        InputTypeError: if they are no numbers.
    """
    notes: list[str] = []
    electrons = _electrons(header, unit, gain, notes)
    return Photometry(
        unit,
        electrons,
        _zeropoint(header, unit, zeropoint, pixel_scale_arcsec, notes),
        tuple(notes),
    )


def number(name: str, value: Any, unit: str | None = None) -> float:
    """Return a number that the caller gave.

    Args:
        name: Its name, as the errors say it.
        value: The number.
        unit: To which a Quantity is converted; without one, none is taken.

    Raises:
        InputTypeError: if it is no number.
        InputError: if it is not finite, or a Quantity of another kind.
    """
    if isinstance(value, u.Quantity) and unit is not None:
        try:
            value = value.to_value(unit)
        except u.UnitConversionError as error:
            raise InputError(f"{name} must be in {unit} or the like, got {value}.") from error
    if isinstance(value, bool | str | u.Quantity) or not hasattr(value, "__float__"):
        raise InputTypeError(f"{name} must be a number, got {value!r} ({type(value).__name__}).")
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"{name} must be one number, got {value!r}.") from error
    if not math.isfinite(result):
        raise InputError(f"{name} must be finite, got {value!r}. Leave it out if it is not known.")
    return result


def header_number(header: Mapping[str, Any], *keys: str) -> tuple[str, float] | None:
    """Return the first of some keywords that is a finite number above 0, and that number.

    0 and below stand for "not known" in headers.
    """
    for key in keys:
        value = header.get(key)
        if isinstance(value, bool):
            continue
        try:
            result = float(value)  # type: ignore[arg-type]  # whatever it is
        except (TypeError, ValueError):
            continue
        if 0 < result < math.inf:
            return key, result
    return None


def _electrons(
    header: Mapping[str, Any], unit: str, gain: float | None, notes: list[str]
) -> float | None:
    if gain is not None:
        value = number("gain", gain)
        if value <= 0:
            raise InputError(
                f"gain must be above 0 electrons per unit of the image, got {value:g}. Leave it "
                "out if it is not known."
            )
        return value
    plain = _PLAIN_UNIT.match(unit.strip())
    per_unit: float | None = None
    if plain and plain["electron"]:
        per_unit = 1.0
    elif plain or not unit.strip():
        found = header_number(header, *_GAIN_KEYS)
        if found is not None:
            per_unit = found[1]
            notes.append(
                f"The header's {found[0]} of {found[1]:g} was taken for the electrons of one unit "
                f"of the image{'' if unit.strip() else ', whose unit the header does not say'}."
            )
    if per_unit is not None and plain and plain["rate"]:
        time = header_number(header, *_TIME_KEYS)
        if time is None:
            per_unit = None
        else:
            per_unit *= time[1]
            notes.append(
                f"The image counts {unit}: the header's {time[0]} of {time[1]:g} s makes one unit "
                f"{per_unit:g} electrons."
            )
    if per_unit is None:
        notes.append(
            "How many electrons one unit of the image stands for is not known: the photon noise "
            "of the sources is neglected, errors of bright sources are too small, and "
            "probabilities are those of an image of two exposures of Euclid's. Give gain."
        )
    return per_unit


def _zeropoint(
    header: Mapping[str, Any],
    unit: str,
    zeropoint: float | None,
    pixel_scale_arcsec: float,
    notes: list[str],
) -> float:
    if zeropoint is not None:
        return number("zeropoint", zeropoint)
    found: list[tuple[str, float]] = []
    keyword = header_number(header, *_ZEROPOINT_KEYS)
    if keyword is not None:
        found.append((f"the header's {keyword[0]}", keyword[1]))
    of_unit = _unit_magnitude(unit, pixel_scale_arcsec)
    if of_unit is not None:
        found.append((f"the unit {unit}", of_unit))
    sensitivity, pivot = (header_number(header, key) for key in ("PHOTFLAM", "PHOTPLAM"))
    if sensitivity and pivot:
        value = -2.5 * math.log10(sensitivity[1]) - 5 * math.log10(pivot[1]) - 2.408
        plain, time = _PLAIN_UNIT.match(unit.strip()), header_number(header, *_TIME_KEYS)
        source = "the header's PHOTFLAM and PHOTPLAM"
        if plain and not plain["rate"] and time is not None:
            value += 2.5 * math.log10(time[1])
            source += f" and {time[0]}"
        found.append((source, value))
    if not found:
        notes.append(
            "No zero point is known: there are no magnitudes. Give zeropoint, the AB magnitude of "
            "one unit of the image."
        )
        return math.nan
    source, value = found[0]
    notes.append(f"One unit of the image is AB magnitude {value:.4f}, by {source}.")
    notes += [
        f"But by {other} it is {differs:.4f}: check which is right, and give zeropoint."
        for other, differs in found[1:]
        if abs(differs - value) > _ZEROPOINT_TOLERANCE
    ]
    return value


def _unit_magnitude(text: str, pixel_scale_arcsec: float) -> float | None:
    """Return the AB magnitude of a unit that is a flux density; None for others."""
    if not text.strip() or _PLAIN_UNIT.match(text.strip()):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about several slashes
            unit = u.Unit(text, parse_strict="raise")
    except (ValueError, TypeError):
        return None
    if "mag" in str(unit):
        raise InputError(
            f"The image must be linear in the light, and its unit is {text!r}. Convert it to a "
            "flux."
        )
    for factor in (u.dimensionless_unscaled, (pixel_scale_arcsec * u.arcsec) ** 2):
        flux = 1 * unit * factor
        if flux.unit.is_equivalent(u.Jy) and flux.value > 0:
            return float(-2.5 * math.log10(flux.to_value(u.Jy)) + 8.9)
    return None
