"""The second pass over an image: from the maps to the sources of each tile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from scipy import ndimage

from btk_punet.deblending import instances
from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.catalog import (
    MAGNITUDES_PER_LOG,
    FootprintsOfImages,
    detection_catalog,
    position_errors,
)
from btk_punet.deblending.deblender import LEAST_CANDIDATE, ProbaUNetDeblender
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.judged import JudgedCandidates
from btk_punet.deblending.light.scenes import SceneLight
from btk_punet.files import read_arrays, write_arrays
from btk_punet.images.maps import MapStore
from btk_punet.images.saturation import SaturatedStars
from btk_punet.images.tiles import Tile
from btk_punet.simulation.labels import CLASS_NAMES

if TYPE_CHECKING:
    from btk_punet.images.sky_image import SkyImage

# Pixels around the core of a tile that its sources are looked for in: their footprints end there.
MARGIN_PIXELS = 64
# Sources this far around the core share the light with those inside [pixel].
LIGHT_MARGIN_PIXELS = 40
# A candidate has a usable pixel within so many rows and columns of it: what the network says of
# wide masks is said of no data, and it was not trained to say anything there [pixel].
UNSEEN_PIXELS = 3
_EIGHT_CONNECTED = np.ones((3, 3), bool)


@dataclass(frozen=True)
class TileObjects:
    """What was found in a tile. Sources have numbers from 0: its own first, then others.

    Others have their centre in another tile, and part of their footprint in this one.

    Attributes:
        catalog: Its own sources, columns as `detection_catalog` gives them, in pixels of the whole
            image, and ``x_network``, ``y_network``, their places before the fit; ``blend_id`` is
            that in the window.
        others: ``x``, ``y`` [pixel] before the fit and ``blend_id`` of the others, ``(m, 3)``.
        candidates: Its own candidates down to a probability of 0.02: ``x``, ``y``, ``x_err``,
            ``y_err``, ``p_detect``, ``row`` (that in the catalog, -1 for none) and the places
            before the fit, ``(c, 8)``.
        labels: Number of the source of each pixel of the core, int32; -1 for none.
        overlaps: Source, row and column (of the whole image) of the pixels of the core that a
            source covers and that bear the label of another, int32 ``(p, 3)``.
    """

    catalog: Table
    others: np.ndarray
    candidates: np.ndarray
    labels: np.ndarray
    overlaps: np.ndarray

    def save(self, path: Path) -> None:
        """Write it as one file."""
        table = self.catalog
        columns = {f"catalog_{name}": np.asarray(table[name]) for name in table.columns}
        write_arrays(
            path,
            others=self.others,
            candidates=self.candidates,
            labels=self.labels,
            overlaps=self.overlaps,
            **columns,
        )

    @classmethod
    def load(cls, path: Path) -> TileObjects:
        """Read what `save` wrote."""
        arrays = read_arrays(path)
        columns = {
            name.removeprefix("catalog_"): arrays.pop(name)
            for name in list(arrays)
            if name.startswith("catalog_")
        }
        return cls(catalog=Table(columns), **arrays)


def find_objects(
    tile: Tile,
    image: SkyImage,
    deblender: ProbaUNetDeblender,
    store: MapStore,
    saturated: SaturatedStars,
) -> TileObjects:
    """Find the sources whose centres lie in the core of a tile.

    Args:
        tile: The tile; its window has `MARGIN_PIXELS` around the core, inside of the region.
        image: The image.
        deblender: Holds the calibration, and the choices of the user.
        store: The maps of the first pass.
        saturated: The saturated stars of the image, each of which is one source.
    """
    pixels = image.tile(*tile.window)
    centre = store.read("centre", tile.window)
    classes = np.stack([store.read(name, tile.window) for name in CLASS_NAMES]).astype(np.float32)
    top, left = tile.origin
    candidates = instances.find_candidates(centre[None])
    variance = pixels.variance[None] if image.gain_known else None
    told = deblender.fixed_density_ratio
    normalised = (pixels.electrons / np.sqrt(pixels.variance))[None]
    candidates = deblender.calibrated(candidates, told, normalised, variance)
    candidates, star = saturated.merged(candidates, pixels.electrons, tile.window)
    kept = (star >= 0) | _is_seen(candidates, pixels.usable)
    candidates, star = candidates.take(kept), star[kept]
    rows, columns = tile.core_in_window
    conditions = BandConditions(
        image.psf,
        image.psf_with_pixel,
        image.pixel_scale_arcsec,
        pixels.variance[None],
        image.unit_magnitude,
    )
    electrons, usable = pixels.electrons[None], pixels.usable[None]
    footprints = FootprintsOfImages(classes[None], electrons, usable, conditions)
    judged = None
    if deblender.light:
        # What lies further out is judged by other tiles.
        around = LIGHT_MARGIN_PIXELS
        box = (
            slice(rows.start - around, rows.stop + around),
            slice(columns.start - around, columns.stop + around),
        )
        least = min(LEAST_CANDIDATE, deblender.threshold)
        (asked,) = np.nonzero((candidates.mass >= least) & _inside(candidates, *box))
        judged = JudgedCandidates.by(
            SceneLight(electrons[:, None], usable, [conditions], 0),
            candidates,
            asked,
            footprints.first_flux(candidates),
            deblender.recipe.evidence,
            deblender.surroundings(candidates, told, normalised, variance),
            classes[None],
            deblender.told_real,
            # What is saturated is a star, whatever profile fits what is left of it.
            settled=star >= 0,
        )
        candidates, star = judged.candidates, star[judged.before]
    (chosen,) = np.nonzero(candidates.mass >= deblender.threshold)
    is_own = _inside(candidates.take(chosen), rows, columns)
    chosen = chosen[np.argsort(~is_own, kind="stable")]  # its own first
    found, n_own = candidates.take(chosen), int(is_own.sum())

    prints, light = footprints.of(0, found)
    fitted = None
    if judged is not None:
        fitted, _ = judged.measure(chosen[:n_own], deblender.recipe.light)
    own = slice(n_own)
    catalog = detection_catalog(
        found.take(own),
        light.take(own),
        fitted,
        deblender.recipe,
        image.band,
        image.unit_magnitude,
        None,
    )
    _set_stars(catalog, saturated, star[chosen[:n_own]], image)
    for flag in (DetectionFlag.SATURATED, DetectionFlag.COSMIC_RAY):
        near = ndimage.binary_dilation(pixels.flags & flag != 0, _EIGHT_CONNECTED)
        touching = np.unique(prints.owner[near[prints.row, prints.column]])
        catalog["flags"][touching[touching < n_own]] |= int(flag)
    catalog["x_peak"] += left
    catalog["y_peak"] += top
    # By which other tiles know them.
    catalog["x_network"], catalog["y_network"] = found.x[:n_own] + left, found.y[:n_own] + top

    labels = prints.labels()[rows, columns] - 1
    in_core = _in_box(prints.row, prints.column, rows, columns)
    owner, row, column = prints.owner[in_core], prints.row[in_core], prints.column[in_core]
    hidden = labels[row - rows.start, column - columns.start] != owner
    overlaps = np.stack([owner, row + top, column + left], axis=1)[hidden]
    return TileObjects(
        catalog,
        np.stack([found.x + left, found.y + top, light.blend_id], axis=1)[n_own:],
        _candidates(candidates, chosen[:n_own], tile, deblender, catalog),
        labels.astype(np.int32),
        overlaps.astype(np.int32),
    )


def _is_seen(found: Candidates, usable: np.ndarray) -> np.ndarray:
    """Return which candidates have a pixel near them that can be used."""
    near = ndimage.binary_dilation(usable, _EIGHT_CONNECTED, UNSEEN_PIXELS)
    return near[instances.nearest_pixels(found.x, found.y, usable.shape)]


def _inside(found: Candidates, rows: slice, columns: slice) -> np.ndarray:
    """Return which candidates have the pixel of their centre in a box."""
    return _in_box(np.floor(found.y + 0.5), np.floor(found.x + 0.5), rows, columns)


def _in_box(row: np.ndarray, column: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    return (
        (row >= rows.start)
        & (row < rows.stop)
        & (column >= columns.start)
        & (column < columns.stop)
    )


def _set_stars(
    catalog: Table, saturated: SaturatedStars, star: np.ndarray, image: SkyImage
) -> None:
    """Give saturated stars the flux that is measured around what is saturated."""
    rows = np.flatnonzero(star >= 0)
    rows = rows[saturated.flux[star[rows]] > 0]
    flux, error = saturated.flux[star[rows]], saturated.flux_err[star[rows]]
    catalog["flux"][rows], catalog["flux_err"][rows] = flux, error
    catalog[f"mag_{image.band}"][rows] = image.unit_magnitude - 2.5 * np.log10(flux)
    catalog[f"mag_err_{image.band}"][rows] = MAGNITUDES_PER_LOG * error / flux
    for name in ("half_light_radius", "e1", "e2"):
        catalog[name][rows] = np.nan
    catalog["flags"][rows] &= ~int(DetectionFlag.FIT_FAILED)


def _candidates(
    candidates: Candidates,
    chosen: np.ndarray,
    tile: Tile,
    deblender: ProbaUNetDeblender,
    catalog: Table,
) -> np.ndarray:
    """Return the candidates of the core, those of the catalog with its places and errors.

    Args:
        candidates: Of the window.
        chosen: Which of them the rows of the catalog are.
        tile: The tile.
        deblender: Holds the calibration.
        catalog: The sources of the core, in pixels of the image.
    """
    top, left = tile.origin
    row = np.full(len(candidates), -1)
    row[chosen] = np.arange(len(chosen))
    kept = _inside(candidates, *tile.core_in_window) & (candidates.mass >= LEAST_CANDIDATE)
    some, row = candidates.take(np.flatnonzero(kept)), row[kept]
    x_err, y_err = position_errors(some, deblender.recipe)
    table = np.stack([some.x + left, some.y + top, x_err, y_err, some.mass, row], axis=1)
    table = np.concatenate([table, table[:, :2]], axis=1)
    in_catalog = row >= 0
    for column, name in enumerate(("x_peak", "y_peak", "x_err", "y_err")):
        table[in_catalog, column] = np.asarray(catalog[name])[row[in_catalog]]
    return table
