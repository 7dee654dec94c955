"""The bit flags that deblenders write into the `flags` column of their catalogs."""

from __future__ import annotations

import enum
import inspect

import numpy as np
import numpy.typing as npt

from btk_punet.errors import InputError


class DetectionFlag(enum.IntFlag):
    """What may be wrong with a detection; 0 means nothing is known to be.

    Test a column with ``catalog["flags"] & DetectionFlag.EDGE != 0``. Each flag has ``words``, a
    sentence that says what it means:
    """

    words: str  #: What the flag means, a sentence.

    def __new__(cls, value: int, words: str = "") -> DetectionFlag:
        """Make a flag with its words."""
        flag = int.__new__(cls, value)
        flag._value_ = value
        flag.words = flag.__doc__ = words
        return flag

    TRUNCATED = (
        1,
        "The image held more detections than max_n_sources; this is one of those kept.",
    )

    BAD_PIXEL = 2, "The footprint covers or touches (8 neighbours) a pixel without a usable value."

    EDGE = 4, "The footprint touches the border of the image, so part of the source may be outside."

    FIT_FAILED = (
        8,
        "No model could be fitted: the place is that of the peak, and the flux no total flux.",
    )

    SATURATED = 16, "The footprint covers or touches saturated pixels or their bleed trail."

    NOISE_ESTIMATED = 32, "The noise was estimated from the image itself, since none was given."

    PSF_UNLIKE_TRAINING = (
        64,
        "Pixel or PSF are unlike the training's: the probability is not calibrated here.",
    )

    BEYOND_TRAINING = 128, "Brighter or larger than what the network was trained on."

    COSMIC_RAY = 256, "The footprint covers or touches pixels that a cosmic ray hit."


# What documentation shows of the members are their values alone.
DetectionFlag.__doc__ = "\n".join(
    [
        inspect.getdoc(DetectionFlag) or "",
        "",
        *(f"- ``{flag.name}`` ({int(flag)}): {flag.words}" for flag in DetectionFlag),
    ]
)


def flag_names(flags: int) -> list[str]:
    """Return the names of the bits of a value of the `flags` column.

    A bit that no `DetectionFlag` has comes as its value, such as ``"1024"``.

    Raises:
        InputError: if the value is negative.
    """
    value = int(flags)
    if value < 0:
        raise InputError(f"flags must be 0 or above, got {value}. They are bits of DetectionFlag.")
    bits = [1 << k for k in range(value.bit_length()) if value >> k & 1]
    known = {int(flag): flag.name or "" for flag in DetectionFlag}
    return [known.get(bit, str(bit)) for bit in bits]


def flag_counts(flags: npt.ArrayLike) -> dict[DetectionFlag, int]:
    """Return how many detections bear each flag, those that none bears left out.

    Args:
        flags: The `flags` column of a catalog.
    """
    values = np.asarray(flags, int)
    counts = {flag: int(np.count_nonzero(values & int(flag))) for flag in DetectionFlag}
    return {flag: number for flag, number in counts.items() if number}
