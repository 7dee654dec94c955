"""Two passes over the tiles of an image, in any number of processes, and their joining."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from scipy.spatial import KDTree
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from btk_punet.cluster.base import Workers
from btk_punet.cluster.workers import open_workers
from btk_punet.deblending.conditions import unlike_training
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.files import read_arrays, whole_file
from btk_punet.images.detections import Detections, magnitude_columns
from btk_punet.images.joining import Joined, join
from btk_punet.images.maps import MAPS, MapStore, TileMaps, find_maps
from btk_punet.images.objects import MARGIN_PIXELS, TileObjects, find_objects
from btk_punet.images.saturation import SaturatedStars
from btk_punet.images.sky import sky_columns
from btk_punet.images.sky_image import SkyImage
from btk_punet.images.tiles import Box, Tile, cut, even_size

# Side of the part of a tile that is its own, at most [pixel].
TILE_PIXELS = 640
# Around it the network sees this much at most: what lies further away, within its reach, moves a
# probability by less than 0.001 (measured on `euclid-vis`, which reaches 96 pixels).
MAP_MARGIN_PIXELS = 64
# Brighter or larger sources than these were not in the training.
BRIGHTEST_MAGNITUDE, LARGEST_RADIUS_ARCSEC = 17.0, 3.0
# The candidates of a tile alone and those of the joined maps are the same but at its border.
_SAME_CANDIDATE_PIXELS = 0.7


class TileWork:
    """What is done with each tile of an image, in this process or another.

    Args:
        image: The image.
        deblender: Holds the network and the choices.
        folder: Where the parts are.
        region: Rows and columns that are searched.
    """

    def __init__(
        self, image: SkyImage, deblender: ProbaUNetDeblender, folder: Path, region: Box
    ) -> None:
        self.image, self.deblender, self.folder = image, deblender, folder
        self.maps = MapStore(folder, region, dict(MAPS))
        self.labels = MapStore(folder, region, {"labels": np.int32})
        network = deblender.network
        rows, columns = (even_size(n, TILE_PIXELS, network.stride) for n in image.shape)
        size = rows, columns
        margin = min(network.reach, -(-MAP_MARGIN_PIXELS // network.stride) * network.stride)
        self.map_tiles = cut(region, size, margin, image.shape, network.stride)
        # There are maps of the region alone.
        self.object_tiles = [
            tile.within(region) for tile in cut(region, size, MARGIN_PIXELS, image.shape)
        ]

    def map_file(self, tile: Tile) -> Path:
        """Return the file that says that the maps of a tile are written."""
        return self.folder / f"maps-{tile.number:05d}.npz"

    def object_file(self, tile: Tile) -> Path:
        """Return the file of the sources of a tile."""
        return self.folder / f"objects-{tile.number:05d}.npz"

    def find_maps(self, tile: Tile) -> TileMaps:
        """Return the maps of a tile."""
        return find_maps(tile, self.image.tile(*tile.window), self.deblender)

    def keep_maps(self, tile: Tile, found: TileMaps) -> None:
        """Write the maps of a tile."""
        found.save(tile, self.maps, self.map_file(tile))

    def find_objects(self, tile: Tile, saturated: SaturatedStars) -> TileObjects:
        """Return the sources of a tile."""
        return find_objects(tile, self.image, self.deblender, self.maps, saturated)

    def keep_objects(self, tile: Tile, found: TileObjects) -> None:
        """Write the sources of a tile."""
        found.save(self.object_file(tile))


def search(
    image: SkyImage,
    deblender: ProbaUNetDeblender,
    folder: Path,
    region: Box,
    about: dict[str, Any],
    place: dict[str, Any],
    progress: bool,
    keeps_alive: Any = None,
) -> Detections:
    """Search an image, with what a run before has left in the folder.

    Args:
        image: The image.
        deblender: Holds the network and the choices.
        folder: Where the parts and the maps are.
        region: Rows and columns to search.
        about: What is said of the run.
        place: Where the tiles are searched, as the arguments of `open_workers`.
        progress: Whether to show a progress bar.
        keeps_alive: What the maps of the result need to be there.
    """
    work = TileWork(image, deblender, folder, region)
    work.maps.create()
    work.labels.create()
    place = place | {"njobs": min(place["njobs"], len(work.map_tiles))}
    with open_workers(**place) as workers:
        run = partial(_run, workers, work)
        with tqdm(total=len(work.map_tiles), desc="maps", unit="tile", disable=not progress) as bar:
            find, keep = TileWork.find_maps, TileWork.keep_maps
            for _ in run(find, keep, work.map_tiles, work.map_file):
                bar.update()
        records = [read_arrays(work.map_file(tile)) for tile in work.map_tiles]
        row, column = np.concatenate([record["saturated"] for record in records]).T
        saturated = SaturatedStars.of_pixels(row, column, image)
        tiles, n_sources = work.object_tiles, 0
        with tqdm(total=len(tiles), desc="sources", unit="tile", disable=not progress) as bar:
            keep_objects, path = TileWork.keep_objects, work.object_file
            for found in run(TileWork.find_objects, keep_objects, tiles, path, saturated):
                n_sources += 0 if found is None else len(found.catalog)
                bar.set_postfix(found=n_sources, refresh=False)
                bar.update()
    parts = [TileObjects.load(work.object_file(tile)) for tile in work.object_tiles]
    joined = join(work.object_tiles, parts, work.labels)
    return Detections(
        catalog=_catalog(joined.catalog, image, deblender),
        labels=work.labels.whole("labels"),
        probability={name: work.maps.whole(name) for name in MAPS},
        candidates=joined.candidates,
        wcs=image.wcs,
        region=region,
        shape=image.shape,
        overlaps=joined.overlaps,
        sample_masses=_sample_masses(joined, records),
        about=about,
        _keeps_alive=keeps_alive,
    )


def _run(
    workers: Workers,
    work: TileWork,
    find: Callable[..., Any],
    keep: Callable[..., None],
    tiles: list[Tile],
    path: Callable[[Tile], Path],
    *arguments: Any,
) -> Iterator[Any]:
    """Find something in each tile, and keep it; yield it, or None where it was there before.

    Workers only read, and this process writes all files: two machines that write into one page of
    a file, as of the maps of neighbouring tiles, would lose what the other wrote.
    """
    todo = [tile for tile in tiles if not path(tile).is_file()]
    yield from [None] * (len(tiles) - len(todo))
    if not todo:
        return
    shared = (work if workers.in_this_process else _OnDisk.write(work), find, arguments)
    # What fails once fails again; a lost worker may have been lost to something else.
    for outcome in workers.run(_find, todo, shared, tries=1):
        found = outcome.get()
        keep(work, outcome.item, found)
        yield found


def _find(shared: tuple[TileWork | _OnDisk, Callable[..., Any], tuple], tile: Tile) -> Any:
    """Find something in a tile, in any process."""
    work, find, arguments = shared
    with threadpool_limits(1):
        return find(work.work if isinstance(work, _OnDisk) else work, tile, *arguments)


class _OnDisk:
    """The work on its way to workers: through a file, of whose arrays they map what they need.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def write(cls, work: TileWork) -> _OnDisk:
        """Write the work into its folder."""
        path = work.folder.resolve() / "work.joblib"
        with whole_file(path) as part:
            joblib.dump(work, part)
        return cls(path)

    @cached_property
    def work(self) -> TileWork:
        """The work, read when it is first needed."""
        return joblib.load(self.path, mmap_mode="r")


def _sample_masses(joined: Joined, records: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Return the samples of each candidate: those of the nearest that its tile had alone."""
    x, y, masses = (
        np.concatenate([record[name] for record in records]) for name in ("x", "y", "masses")
    )
    result = np.tile(np.float16(1), (len(joined.candidates), masses.shape[1]))
    if len(x) and len(result):
        own = np.stack([joined.candidates["x_network"], joined.candidates["y_network"]], axis=1)
        tree = KDTree(np.stack([x, y], axis=1))
        distance, nearest = tree.query(own, distance_upper_bound=_SAME_CANDIDATE_PIXELS)
        known = np.isfinite(distance)
        result[known] = masses[nearest[known]]
    joined.candidates.remove_columns(["x_network", "y_network"])
    return result


def _catalog(joined: Table, image: SkyImage, deblender: ProbaUNetDeblender) -> QTable:
    """Return the catalog with units, sky coordinates and the flags of the image as a whole."""
    catalog = QTable(joined)
    flags = np.asarray(catalog["flags"])
    psfs = {image.band: image.psf}
    if unlike_training(image.pixel_scale_arcsec, psfs, deblender.recipe):
        flags |= int(DetectionFlag.PSF_UNLIKE_TRAINING)
    if image.noise_estimated:
        flags |= int(DetectionFlag.NOISE_ESTIMATED)
    large = np.asarray(catalog["half_light_radius"]) > LARGEST_RADIUS_ARCSEC
    for name in magnitude_columns(catalog):
        large |= np.asarray(catalog[name]) < BRIGHTEST_MAGNITUDE
    flags[large] |= int(DetectionFlag.BEYOND_TRAINING)
    catalog["flags"] = flags

    unit = u.electron
    if not image.gain_known:
        # Electrons were a matter of convenience: fluxes are in the unit of the image.
        unit = u.Unit(image.unit, parse_strict="silent") if image.unit else u.dimensionless_unscaled
        for name in ("flux", "flux_err", "flux_iso"):
            catalog[name] = np.asarray(catalog[name]) / image.electrons_per_unit
    units = {"flux": unit, "flux_err": unit, "flux_iso": unit, "half_light_radius": u.arcsec}
    units |= dict.fromkeys(("x_peak", "y_peak", "x_err", "y_err"), u.pix)
    for name in catalog.colnames:
        if name.startswith("mag_err_"):
            units[name] = u.mag
        elif name.startswith("mag_"):
            units[name] = u.ABmag
    for name, own in units.items():
        catalog[name] = np.asarray(catalog[name], float) * own
    if image.wcs is not None:
        columns = (np.asarray(catalog[n].value) for n in ("x_peak", "y_peak", "x_err", "y_err"))
        for index, (name, values) in enumerate(sky_columns(image.wcs, *columns).items()):
            catalog.add_column(values, name=name, index=1 + index)
    return catalog
