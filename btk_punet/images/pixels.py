"""Where the values of pixels come from: an array, a file, one number for all; read piece by piece.

A source has a ``shape`` and a method ``read(rows, columns)`` that gives float64 ``(h, w)``. It
holds no open file, so it can be sent to another process, and reading a piece of a large file
leaves nothing of it in memory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from btk_punet.errors import InputError, InputTypeError


class Pixels(Protocol):
    """Values of the pixels of an image."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the values of a piece, float64 ``(h, w)``; NaN where there is none."""


@dataclasses.dataclass(frozen=True)
class ArrayPixels:
    """An array in memory, of any type of real numbers and any memory layout.

    Attributes:
        array: ``(H, W)``.
    """

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.array.shape
        return height, width

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the values of a piece, float64 ``(h, w)``."""
        with np.errstate(over="ignore"):  # of numbers beyond double precision, which are masked
            return np.array(self.array[rows, columns], dtype=np.float64, order="C")


@dataclasses.dataclass(frozen=True)
class FilePixels:
    """Values that lie in a file as they would in memory, as those of FITS do.

    Attributes:
        path: The file.
        offset: Where the first value begins [byte].
        size: Rows and columns.
        dtype: Type of the values in the file.
        scale: Factor of the values (FITS: BSCALE).
        zero: What is added to them (FITS: BZERO).
        blank: The whole number that stands for no value (FITS: BLANK).
        owner: What keeps the file there, if it is a temporary one.
    """

    path: Path
    offset: int
    size: tuple[int, int]
    dtype: np.dtype
    scale: float = 1.0
    zero: float = 0.0
    blank: int | None = None
    owner: Any = dataclasses.field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the owner of a temporary file where it is: it removes it at its own end."""
        return self.__dict__ | {"owner": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state."""
        self.__dict__.update(state)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.size

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the values of a piece, float64 ``(h, w)``.

        Raises:
            InputError: if the file is no longer there, or has become shorter.
        """
        try:
            # Mapped anew each time: pages of a mapping that is kept would count as memory.
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.size)
        except (OSError, ValueError) as error:
            raise InputError(
                f"'{self.path}' can no longer be read ({error}). Leave it as it is until the run "
                "is done."
            ) from error
        values = np.array(mapped[rows, columns])
        missing = None if self.blank is None else values == self.blank
        scale, zero = self.scale, self.zero
        if values.dtype.itemsize == 8 and (scale, zero) == (1, 2**63):
            # Unsigned numbers as FITS stores them; adding the zero would round them.
            values, zero = values.astype(np.int64).view(np.uint64) ^ np.uint64(2**63), 0
        with np.errstate(over="ignore", invalid="ignore"):
            result = values.astype(np.float64)
            if (scale, zero) != (1, 0):
                result = result * scale + zero
        if missing is not None:
            result[missing] = np.nan
        return result


@dataclasses.dataclass(frozen=True)
class ConstantPixels:
    """One value for every pixel.

    Attributes:
        value: The value.
        size: Rows and columns.
    """

    value: float
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.size

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the values of a piece, float64 ``(h, w)``."""
        height, width = self.size
        return np.full((len(range(height)[rows]), len(range(width)[columns])), self.value)


@dataclasses.dataclass(frozen=True)
class EitherPixels:
    """1 where either of two sources is not 0, as of two masks.

    Attributes:
        one: A source.
        other: Another of the same shape.
    """

    one: Pixels
    other: Pixels

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.one.shape

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the values of a piece, float64 ``(h, w)``."""
        either = (self.one.read(rows, columns) != 0) | (self.other.read(rows, columns) != 0)
        return either.astype(float)


def array_pixels(values: Any, name: str) -> ArrayPixels:
    """Return the pixels of an array.

    Args:
        values: What can be taken for an array of real numbers ``(H, W)``.
        name: What it is, as the errors say it: "image", "rms", ...

    Raises:
        InputTypeError: if it is no array of real numbers.
        InputError: if it has not two axes, or no pixel.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # whatever the conversion of a foreign class raises
        raise InputTypeError(
            f"{name} must be an array of numbers of shape (H, W), got {type(values).__name__}, "
            f"of which NumPy makes none ({type(error).__name__}: {error})."
        ) from error
    kinds = "iufb" if name == "mask" else "iuf"
    if array.dtype.kind not in kinds:
        advice = {
            "b": " A mask is given as mask=.",
            "c": " Give its real part or its modulus.",
        }.get(array.dtype.kind, "")
        raise InputTypeError(
            f"{name} must be an array of real numbers of shape (H, W), got "
            f"{type(values).__name__} with values of type {array.dtype}.{advice}"
        )
    if array.ndim != 2:
        advice = f" Pass one plane of it, such as {name}[0]." if array.ndim > 2 else ""
        raise InputError(f"{name} must have the shape (H, W), got {array.shape}.{advice}")
    if array.size == 0:
        raise InputError(f"{name} must have at least one pixel, got the shape {array.shape}.")
    return ArrayPixels(array)


def strips(shape: tuple[int, int], most_pixels: int = 2**21) -> Iterator[slice]:
    """Yield slices of rows that cover an image, each of at most so many pixels (or one row)."""
    height, width = shape
    step = max(1, most_pixels // width)
    for k in range(math.ceil(height / step)):
        yield slice(k * step, min(height, (k + 1) * step))
