"""Which pixels belong to which source, pixel by pixel: what a whole image's sources take to hold.

An array of all sources by all pixels is mostly empty, and fills the memory for a large image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from btk_punet.errors import InputError


@dataclass(frozen=True)
class Footprints:
    """The pixels of the sources of one image; a pixel may belong to several.

    Attributes:
        owner: Number of the source of each entry, ``(p,)``, sorted.
        row: Row of its pixel; of each source sorted by row, then by column.
        column: Column.
        is_nearest: Whether the source is the one to which the pixel is nearest, by the measure
            of `instances.footprints`, bool ``(p,)``; of each pixel one entry at most is.
        n: Number of sources.
        shape: Height and width of the image.

    Raises:
        InputError: The owners are not sorted, or source or pixel is out of range.
    """

    owner: np.ndarray
    row: np.ndarray
    column: np.ndarray
    is_nearest: np.ndarray
    n: int
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        for name, values, stop in (
            ("owner", self.owner, self.n),
            ("row", self.row, self.shape[0]),
            ("column", self.column, self.shape[1]),
        ):
            if len(values) != len(self.is_nearest):
                raise InputError(
                    f"Footprints need columns of one length, got {len(values)} of {name} and "
                    f"{len(self.is_nearest)} of is_nearest."
                )
            if len(values) and not 0 <= values.min() <= values.max() < stop:
                raise InputError(
                    f"{name} must lie from 0 to {stop - 1}, got {values.min()} to {values.max()}."
                )
        if (np.diff(self.owner) < 0).any():
            raise InputError("The entries of footprints must be sorted by owner.")

    def __len__(self) -> int:
        return self.n

    def n_pixels(self) -> np.ndarray:
        """Return the number of pixels of each source, ``(n,)``."""
        return np.bincount(self.owner, minlength=self.n)

    def n_owners(self) -> np.ndarray:
        """Return the number of sources of each pixel, ``(H, W)``."""
        height, width = self.shape
        pixel = self.row * width + self.column
        return np.bincount(pixel, minlength=height * width).reshape(self.shape)

    def labels(self) -> np.ndarray:
        """Return the nearest source of each pixel, counted from 1; 0 where there is none.

        Each source has at least the pixel of its centre, but of those that share that one the
        first alone is sure of it.

        Returns:
            int32 ``(H, W)``.
        """
        labels = np.zeros(self.shape, np.int32)
        nearest = self.is_nearest
        labels[self.row[nearest], self.column[nearest]] = self.owner[nearest] + 1
        return labels

    def dense(self, n_largest: int | None = None) -> np.ndarray:
        """Return the footprints as an array that fills up with empty ones.

        Args:
            n_largest: Number of footprints in the array; by default that of the sources.

        Returns:
            Bool ``(n_largest, H, W)``.

        Raises:
            InputError: There are more sources.
        """
        n_largest = self.n if n_largest is None else n_largest
        if n_largest < self.n:
            raise InputError(f"An array of {n_largest} footprints cannot hold {self.n} sources.")
        dense = np.zeros((n_largest, *self.shape), bool)
        dense[self.owner, self.row, self.column] = True
        return dense

    def take(self, sources: np.ndarray) -> Footprints:
        """Return some of the sources, numbered anew in the order given.

        A pixel that is nearest to one left out stays without a label.

        Args:
            sources: Their numbers, each once, ``(m,)``.
        """
        sources = np.asarray(sources, int)
        new = np.full(self.n, -1)
        new[sources] = np.arange(len(sources))
        owner = new[self.owner]
        kept = np.flatnonzero(owner >= 0)
        kept = kept[np.argsort(owner[kept], kind="stable")]
        return Footprints(
            owner[kept],
            self.row[kept],
            self.column[kept],
            self.is_nearest[kept],
            len(sources),
            self.shape,
        )
