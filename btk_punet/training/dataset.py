"""Stamps of blends composed as training runs: new scenes, noise and masks at every step.

Needs NumPy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from btk_punet.errors import InputError
from btk_punet.simulation.density import even_weights
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.training.bank import GalaxyBank
from btk_punet.training.masks import draw_mask
from btk_punet.training.noise import add_noise, add_sky_residuals
from btk_punet.training.places import (
    BRIGHT_PAIR_SEPARATION_ARCSEC,
    field_places,
    group_places,
    middle_place,
    pair_places,
    places_around,
    sky_places,
    touching_places,
)

# Shares of the kinds of scenes. Those like the sky are the most common, so that what a network
# takes for granted is the sky's; the others teach it to tell apart what stands close.
SCENE_MIX = {
    "sky": 0.28,
    "field": 0.08,
    "group": 0.20,
    "bright_group": 0.16,
    "pair": 0.12,
    "bright_pair": 0.06,
    "touching_pair": 0.04,
    "bright_neighbour": 0.06,
}
# So many of a kind stand on 64 x 64 pixels, on average (Poisson's, and at least one on a stamp).
MEAN_ON_STAMP = {
    "group": 1.5,
    "bright_group": 0.8,
    "pair": 2.0,
    "bright_pair": 1.0,
    "touching_pair": 0.5,
    "bright_neighbour": 0.5,
}
# Groups and pairs are of galaxies within the benchmark's magnitudes, with counts a little flatter
# than the sky's (0.30 instead of 0.374 dex/mag), so that bright neighbours are not rare; in bright
# groups each half magnitude is as likely, and what lies on a galaxy with many lumps is common. Half
# of them stand in a field of the sky's own sources.
GROUP_MAGNITUDES, GROUP_TILT_DEX_PER_MAG = (19.5, 25.3), -0.074
FIELD_BEHIND_SHARE = 0.5
# On a stamp of the sky's field one source is brighter than it would be by chance: of the bank's
# own counts. What surrounds it is as in the sky.
PRIMARY_MAGNITUDES = (17.0, 25.3)
# Bright galaxies are as many in each half magnitude.
BRIGHT_MAGNITUDES = (17.0, 23.0)

# What is told of a scene's density is right to this [natural log], and nothing in some scenes.
TOLD_ERROR, UNTOLD_SHARE = 0.25, 0.1

SINGLE_EXPOSURE_SHARE = 0.35  # the other numbers of exposures are as likely among themselves
NO_READ_NOISE_SHARE = 0.4


@dataclass(frozen=True)
class Scene:
    """What is on a stamp.

    Attributes:
        galaxies: Rows of the bank, shape (n,), all of one PSF.
        left: Column of the image on which the first one of each source's stamp falls, shape (n,).
        bottom: The same for the rows.
        n_exposures: Number of exposures.
        read_noise: Read noise of one exposure [electron].
        orientation: 0 to 7: bit 0 swaps the axes, then bits 1 and 2 flip columns and rows.
        density_ratio: Expected density of sources around a source, over the sky's (see `places`).
    """

    galaxies: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    n_exposures: int
    read_noise: float
    orientation: int
    density_ratio: float = 1.0


class StampComposer:
    """Composes batches of stamps from a bank of galaxies, each batch from a seed of its own.

    Args:
        bank: The galaxies.
        size: Side of a stamp [pixel].
        seed: Seed; a batch depends on it and on its step alone.
        mix: Shares of the kinds of `SCENE_MIX`.
        max_exposures: Most exposures of 565 s.
        masked_share: Share of the stamps with masked pixels.
        noise: Whether to add noise and sky residuals.
        offsets: Whether to return the sub-pixel places of the centres.

    Raises:
        InputError: for a size below 8, shares outside 0-1, or a bank without a source between the
            magnitudes of groups.
    """

    def __init__(
        self,
        bank: GalaxyBank,
        size: int = 64,
        seed: int = 0,
        mix: Mapping[str, float] = SCENE_MIX,
        max_exposures: int = 6,
        masked_share: float = 0.3,
        noise: bool = True,
        offsets: bool = False,
    ):
        shares = np.array([mix.get(name, 0.0) for name in SCENE_MIX])
        if size < 8 or max_exposures < 1 or not 0 <= masked_share <= 1:
            raise InputError(
                "Expected a size of at least 8 pixels, max_exposures of at least 1 and a "
                f"masked_share in 0-1; got {size}, {max_exposures} and {masked_share}."
            )
        if set(mix) - set(SCENE_MIX) or (shares < 0).any() or not shares.sum() > 0:
            raise InputError(f"mix must hold shares of {list(SCENE_MIX)}, got {dict(mix)}.")
        self.bank, self.size, self.seed = bank, size, seed
        self.max_exposures, self.masked_share = max_exposures, masked_share
        self.noise, self.offsets = noise, offsets
        self._mix = np.cumsum(shares / shares.sum())
        self._unit_snr2 = {
            read_noise: bank.unit_snr2(bank.sky_electrons + read_noise**2)
            for read_noise in {0.0, bank.read_noise_electrons}
        }
        magnitude, weight = bank.catalog["magnitude"], bank.catalog["weight"]
        bright = (magnitude >= GROUP_MAGNITUDES[0]) & (magnitude < GROUP_MAGNITUDES[1])
        drawn = np.ones(len(bank)) / len(bank)  # as likely as they were drawn
        primary = (magnitude >= PRIMARY_MAGNITUDES[0]) & (magnitude < PRIMARY_MAGNITUDES[1])
        tilted = weight * 10.0 ** (GROUP_TILT_DEX_PER_MAG * (magnitude - GROUP_MAGNITUDES[1]))
        # A PSF with galaxies too few to choose from (in a small bank) is left out.
        self._psfs = [psf for psf in range(256) if (bright & (bank.catalog["psf"] == psf)).any()]
        if not self._psfs:
            raise InputError(
                f"The bank has no source with {GROUP_MAGNITUDES[0]} <= I_E < "
                f"{GROUP_MAGNITUDES[1]}: draw a larger one."
            )
        weights = {"field": weight, "group": tilted * bright, "primary": drawn * primary}
        weights["bright_group"] = even_weights(magnitude, *GROUP_MAGNITUDES)
        weights["bright"] = even_weights(magnitude, *BRIGHT_MAGNITUDES)
        self._choosers = {
            (name, psf): self._chooser(psf, of_name, weights["group"])
            for name, of_name in weights.items()
            for psf in self._psfs
        }

    def batch(self, step: int, batch_size: int) -> dict[str, np.ndarray]:
        """Return the batch of a step, whatever was drawn before.

        Args:
            step: Number of the step.
            batch_size: Number of stamps.

        Returns:
            ``image`` (b, H, W, 1) float32, in units of the background's sigma, garbage where
            masked; ``class`` (b, H, W) uint8: 0, 1 or 2 for none, one or more sources above one
            sigma of the background; ``centre`` (b, H, W) uint8: 1 in the pixel of the centre of
            every source with ``alone_snr`` above 2; ``mask`` (b, H, W) bool, True where the
            image can be used (class and centre are right everywhere); ``sigma`` (b,) float32, of
            the background [electron]; ``density_ratio`` (b,) float32, what is told of the scene's
            density (see `places`), NaN for nothing; ``n_exposures`` (b,), ``psf`` (b,; -1 without
            sources) and ``n_centres`` (b,; two may share a pixel) int; and, if asked for,
            ``offset`` (b, H, W, 2) float32: x and y of the centre from the middle of its pixel
            [pixel], 0 elsewhere (the strongest source's, of several).

        Raises:
            InputError: for a negative step or an empty batch.
        """
        if batch_size < 1 or step < 0:
            raise InputError(
                f"Expected a step of 0 or more and a batch_size of at least 1, got {step} and "
                f"{batch_size}."
            )
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(step,)))
        shape = (batch_size, self.size, self.size)
        batch: dict[str, np.ndarray] = {
            "image": np.zeros((*shape, 1), np.float32),
            "class": np.zeros(shape, np.uint8),
            "centre": np.zeros(shape, np.uint8),
            "mask": np.ones(shape, bool),
        }
        if self.offsets:
            batch["offset"] = np.zeros((*shape, 2), np.float32)
        flux = batch["image"][..., 0]
        scenes = [self.draw_scene(rng) for _ in range(batch_size)]
        centres = []
        for index, scene in enumerate(scenes):
            flux[index], count, (x, y, snr) = self.compose(scene)
            np.minimum(count, 2, out=batch["class"][index])
            found = np.flatnonzero(self._inside(x, y) & (snr > NEIGHBOUR_SNR))
            found = found[np.argsort(snr[found])]
            column, row = _pixel(x[found]), _pixel(y[found])
            batch["centre"][index, row, column] = 1
            if self.offsets:
                batch["offset"][index, row, column, 0] = x[found] - column
                batch["offset"][index, row, column, 1] = y[found] - row
            centres.append(len(found))
        exposures = np.array([scene.n_exposures for scene in scenes], np.float32)
        read_variance = np.array([scene.read_noise**2 for scene in scenes], np.float32)
        sigma = np.sqrt(exposures * (self.bank.sky_electrons + read_variance)).astype(np.float32)
        if self.noise:
            add_noise(flux, exposures, read_variance, self.bank.sky_electrons, rng)
        flux /= sigma[:, None, None]
        if self.noise:
            add_sky_residuals(flux, rng)
        for index in np.flatnonzero(rng.random(batch_size) < self.masked_share):
            usable, garbage = draw_mask(self.size, rng)
            batch["mask"][index] = usable
            flux[index][~usable] = garbage
        told = np.array([scene.density_ratio for scene in scenes])
        told *= np.exp(rng.normal(0.0, TOLD_ERROR, batch_size))
        told[rng.random(batch_size) < UNTOLD_SHARE] = np.nan
        psf = [self.bank.catalog["psf"][s.galaxies[0]] if len(s.galaxies) else -1 for s in scenes]
        batch |= {
            "sigma": sigma,
            "n_exposures": exposures.astype(int),
            "density_ratio": told.astype(np.float32),
            "psf": np.array(psf, int),
            "n_centres": np.array(centres),
        }
        return batch

    def draw_scene(self, rng: np.random.Generator) -> Scene:
        """Return a random scene of one of the kinds."""
        psf = self._psfs[rng.integers(len(self._psfs))]
        kind = list(SCENE_MIX)[int(np.searchsorted(self._mix, rng.random(), side="right"))]
        parts, ratio = self._parts(kind, psf, rng)
        galaxies, places = [part for part, _ in parts], [place for _, place in parts]
        chosen = np.concatenate(galaxies) if galaxies else np.zeros(0, int)
        place = np.concatenate(places) if places else np.zeros((0, 2))
        single = rng.random() < SINGLE_EXPOSURE_SHARE or self.max_exposures == 1
        sources = self.bank.catalog[chosen]
        return Scene(
            chosen,
            _pixel(place[:, 0] - sources["x"]),
            _pixel(place[:, 1] - sources["y"]),
            1 if single else int(rng.integers(2, self.max_exposures + 1)),
            0.0 if rng.random() < NO_READ_NOISE_SHARE else self.bank.read_noise_electrons,
            int(rng.integers(8)),
            ratio,
        )

    def _parts(
        self, kind: str, psf: int, rng: np.random.Generator
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], float]:
        """Return rows of the bank with the places where they stand, and the density ratio."""
        size = self.size

        def some(name: str, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self._choose((name, psf), len(place), rng), place

        if kind == "sky":
            place, ratio = sky_places(size, rng)
            return [some("field", place), some("primary", middle_place(size, rng))], ratio
        if kind == "field":
            place, ratio = field_places(size, rng)
            return [some("field", place)], ratio
        parts, ratios = [], []
        for _ in range(max(int(rng.poisson(MEAN_ON_STAMP[kind] * (size / 64) ** 2)), 1)):
            if kind in ("group", "bright_group"):
                place, ratio = group_places(size, rng)
                parts.append(some(kind, place))
            elif kind == "pair":
                place, ratio = pair_places(size, rng)
                parts.append(some("group", place))
            elif kind == "bright_pair":
                place, ratio = pair_places(size, rng, BRIGHT_PAIR_SEPARATION_ARCSEC)
                parts.append(some("bright", place))
            elif kind == "touching_pair":
                pair = self._choose(("bright", psf), 2, rng)
                radii = self.bank.catalog["half_light_radius_arcsec"][pair]
                place, ratio = touching_places(size, float(radii.sum()), rng)
                parts.append((pair, place))
            else:
                place, ratio = places_around(size, rng)
                parts += [some("bright", place[:1]), some("group", place[1:])]
            ratios.append(ratio)
        ratio = float(np.mean(ratios))
        if rng.random() < FIELD_BEHIND_SHARE:
            place, behind = sky_places(size, rng)
            parts.append(some("field", place))
            ratio += behind
        return parts, ratio

    def compose(
        self, scene: Scene
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the noiseless image of a scene, and its truth.

        Returns:
            The image [electron], float32, shape (H, W); how many sources cover each pixel, uint8,
            shape (H, W); and x, y [pixel] and ``alone_snr`` of each source, shape (n,) each.
        """
        size, sources = self.size, self.bank.catalog[scene.galaxies]
        flux, count = np.zeros((size, size), np.float32), np.zeros((size, size), np.uint8)
        background = scene.n_exposures * (self.bank.sky_electrons + scene.read_noise**2)
        threshold, seconds = background**0.5, self.bank.exposure_seconds * scene.n_exposures
        snr = np.sqrt(scene.n_exposures * self._unit_snr2[scene.read_noise][scene.galaxies])
        for number, (galaxy, left, bottom, height, width) in enumerate(
            zip(
                *(column.tolist() for column in (scene.galaxies, scene.left, scene.bottom)),
                *(sources[name].tolist() for name in ("height", "width")),
                strict=True,
            )
        ):
            low_x, high_x = max(left, 0), min(left + width, size)
            low_y, high_y = max(bottom, 0), min(bottom + height, size)
            if low_x >= high_x or low_y >= high_y:
                snr[number] = 0.0
                continue
            stamp = self.bank.stamp(galaxy)
            stamp = stamp[low_y - bottom : high_y - bottom, low_x - left : high_x - left]
            light = stamp.astype(np.float32)
            light *= seconds
            flux[low_y:high_y, low_x:high_x] += light
            count[low_y:high_y, low_x:high_x] += light > threshold
            if light.size < height * width:  # the rest of it is off the image
                snr[number] = np.sqrt((light**2 / (background + light)).sum())
        x, y = scene.left + sources["x"], scene.bottom + sources["y"]
        if scene.orientation & 1:
            flux, count, x, y = flux.T, count.T, y, x
        if scene.orientation & 2:
            flux, count, x = flux[:, ::-1], count[:, ::-1], size - 1 - x
        if scene.orientation & 4:
            flux, count, y = flux[::-1], count[::-1], size - 1 - y
        return flux, count, (x, y, snr)

    def _chooser(
        self, psf: int, weight: np.ndarray, instead: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the bank in one PSF, and their summed weights up to 1.

        Where none has a weight (a small bank may lack the brightest), the second weights hold.
        """
        here = self.bank.catalog["psf"] == psf
        weight = weight if (weight[here] > 0).any() else instead
        (rows,) = np.nonzero(here & (weight > 0))
        cumulative = np.cumsum(weight[rows])
        return rows, cumulative / cumulative[-1]

    def _choose(self, name: tuple[str, int], number: int, rng: np.random.Generator) -> np.ndarray:
        rows, cumulative = self._choosers[name]
        return rows[np.searchsorted(cumulative, rng.random(number), side="right")]

    def _inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return whether each point [pixel] lies in a pixel of the image."""
        column, row = _pixel(x), _pixel(y)
        return (np.minimum(column, row) >= 0) & (np.maximum(column, row) < self.size)


def _pixel(place: np.ndarray) -> np.ndarray:
    """Return the number of the pixel that holds a place on an axis."""
    return np.floor(place + 0.5).astype(int)
