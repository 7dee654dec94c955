"""How an image is cut into pieces that overlap, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """A piece of an image.

    The cores of all tiles fill the image without overlap; what is found in the core of a tile is
    the tile's. The window is the core with as much around it as the work on the core looks at.

    Attributes:
        number: From 0, row by row.
        core: Rows and columns of the image [pixel].
        window: The same of the window.
    """

    number: int
    core: Box
    window: Box

    @property
    def core_in_window(self) -> Box:
        """Where the core lies in the window."""
        rows, columns = (
            slice(core.start - window.start, core.stop - window.start)
            for core, window in zip(self.core, self.window, strict=True)
        )
        return rows, columns

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the window's first pixel."""
        return self.window[0].start, self.window[1].start

    def within(self, region: Box) -> Tile:
        """Return the tile with a window that ends with a region."""
        rows, columns = (
            slice(max(lines.start, whole.start), min(lines.stop, whole.stop))
            for lines, whole in zip(self.window, region, strict=True)
        )
        return Tile(self.number, self.core, (rows, columns))


def even_size(length: int, largest: int, multiple: int) -> int:
    """Return the side of cores that cut a length into as few and as even parts as can be.

    Args:
        length: Rows or columns of the image.
        largest: Side that a core has at most, but for rounding up.
        multiple: Of what the side is a multiple.
    """
    n_parts = -(-length // largest)
    return -(-length // (n_parts * multiple)) * multiple


def cut(
    region: Box,
    core_shape: tuple[int, int],
    margin: int,
    shape: tuple[int, int],
    multiple: int = 1,
) -> list[Tile]:
    """Cut a region of an image into tiles.

    The cores begin at multiples of their size in the image, not in the region, so that a region is
    cut like the whole image.

    Args:
        region: Rows and columns to cover.
        core_shape: Rows and columns of a core [pixel].
        margin: Pixels of a window around its core. Where the image has no more of them there are
            more on the other side: windows of one shape are what a network is compiled for.
        shape: Of the image; the windows end with it, not with the region.
        multiple: The windows begin at multiples of it, for which those at the end of the image are
            larger by the rest.
    """
    boxes = [
        list(_lines(lines, size, margin, length, multiple))
        for lines, size, length in zip(region, core_shape, shape, strict=True)
    ]
    return [
        Tile(number, (rows[0], columns[0]), (rows[1], columns[1]))
        for number, (rows, columns) in enumerate((r, c) for r in boxes[0] for c in boxes[1])
    ]


def _lines(
    region: slice, core_size: int, margin: int, length: int, multiple: int
) -> Iterator[tuple[slice, slice]]:
    size = min(core_size + 2 * margin, length)
    first = region.start // core_size * core_size
    for start in range(first, region.stop, core_size):
        low = min(max(start - margin, 0), (length - size) // multiple * multiple)
        high = low + size if low + size + multiple <= length else length
        core = slice(max(start, region.start), min(start + core_size, region.stop))
        yield core, slice(low, high)
