"""The first pass over an image: the network's maps, tile by tile, in files of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from btk_punet.deblending import instances
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.posterior import PosteriorMaps
from btk_punet.files import write_arrays
from btk_punet.images.holes import fill_holes
from btk_punet.images.tiles import Box, Tile

if TYPE_CHECKING:
    from btk_punet.images.sky_image import ImageTile

# Probabilities and moments, which half precision holds to 0.0005; the masses of the centre map are
# added up, and get single precision.
MAPS = {
    "background": np.float16,
    "isolated": np.float16,
    "blended": np.float16,
    "class_mean": np.float16,
    "class_variance": np.float16,
    "centre": np.float32,
}


class MapStore:
    """Maps of a region of an image, in one file each, of which a process maps what it works on.

    Args:
        folder: Where the files are.
        region: Rows and columns of the image that they cover.
        names: Of the maps, with their types.
    """

    def __init__(self, folder: Path, region: Box, names: dict[str, type]) -> None:
        self.folder, self.region, self.names = folder, region, names

    def create(self) -> None:
        """Make files of zeros where there are none, and in place of links."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shape = tuple(lines.stop - lines.start for lines in self.region)
        for name, dtype in self.names.items():
            path = self.path(name)
            usable = path.is_file() and not path.is_symlink()
            if not usable or np.load(path, mmap_mode="r").shape != shape:
                path.unlink(missing_ok=True)
                np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
                _allocate(path)

    def path(self, name: str) -> Path:
        """Return the file of a map."""
        return self.folder / f"{name}.npy"

    def write(self, box: Box, **maps: np.ndarray) -> None:
        """Write rows and columns of the image into the maps, onto the disk."""
        for name, values in maps.items():
            array = np.load(self.path(name), mmap_mode="r+")
            array[self._inside(box)] = values
            array.flush()

    def read(self, name: str, box: Box) -> np.ndarray:
        """Return rows and columns of the image of a map, as an array of their own."""
        return np.array(np.load(self.path(name), mmap_mode="r")[self._inside(box)])

    def whole(self, name: str) -> np.ndarray:
        """Return a map as it lies on the disk, read only."""
        return np.load(self.path(name), mmap_mode="r")

    def _inside(self, box: Box) -> Box:
        rows, columns = (
            slice(lines.start - first.start, lines.stop - first.start)
            for lines, first in zip(box, self.region, strict=True)
        )
        return rows, columns


def _allocate(path: Path) -> None:
    """Give a file its room on the disk: where that is full, writing to a mapped hole would kill."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@dataclass(frozen=True)
class TileMaps:
    """What the network finds in a tile.

    Attributes:
        maps: The maps of its core, by name.
        record: What is kept besides: which pixels are saturated, and how much of the mass of each
            candidate each sample holds, from which catalogs of samples are drawn. Those of all
            pixels would be too much to keep.
    """

    maps: dict[str, np.ndarray]
    record: dict[str, np.ndarray]

    def save(self, tile: Tile, store: MapStore, path: Path) -> None:
        """Write them, the record last: that it is there says that the tile is done."""
        store.write(tile.core, **self.maps)
        write_arrays(path, **self.record)


def find_maps(tile: Tile, pixels: ImageTile, deblender: ProbaUNetDeblender) -> TileMaps:
    """Run the network on a window.

    Args:
        tile: The tile.
        pixels: The image in the tile's window.
        deblender: Holds the network, and the choices of its samples.
    """
    network = deblender.network
    # It looks one pixel further, for which the window, of whole cells, has room.
    electrons, usable = fill_holes(pixels.electrons, pixels.variance, pixels.usable)
    images = electrons / np.sqrt(pixels.variance)
    samples = np.empty((deblender.n_samples, 1, *images.shape), np.float32)
    maps = PosteriorMaps.from_network(
        network,
        images[None, ..., None],
        deblender.n_samples,
        deblender.seed,
        usable[None],
        deblender.fixed_density_ratio if network.told_density else None,
        deblender.orientations,
        tile.origin,
        samples,
    )
    core = tile.core_in_window
    background, isolated, blended = maps.class_probability[0]
    centre = maps.centre_probability[0]
    found = {
        "background": background,
        "isolated": isolated,
        "blended": blended,
        "class_mean": maps.class_mean[0],
        "class_variance": maps.class_variance[0],
        "centre": centre,
    }
    candidates = instances.find_candidates(centre[None])
    rows, columns = core
    own = np.flatnonzero(
        (candidates.x >= columns.start - 1)
        & (candidates.x < columns.stop + 1)
        & (candidates.y >= rows.start - 1)
        & (candidates.y < rows.stop + 1)
    )
    masses = instances.sample_masses(candidates, samples[:, 0])
    top, left = tile.origin
    saturated = np.argwhere(pixels.flags[core] & DetectionFlag.SATURATED != 0)
    return TileMaps(
        {name: found[name][core].astype(dtype) for name, dtype in MAPS.items()},
        {
            "x": candidates.x[own] + left,
            "y": candidates.y[own] + top,
            "masses": masses[own].astype(np.float16),
            "saturated": saturated + [tile.core[0].start, tile.core[1].start],
        },
    )
