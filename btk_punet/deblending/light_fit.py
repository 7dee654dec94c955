"""The fit of all sources of some images at once: second-order steps, with priors and covariance.

Sources whose light overlaps make a group, and all seven parameters of all of its sources are
solved for together (Gauss-Newton with the Fisher matrix of Poisson noise, weights renewed from the
model at every step). What other groups shine onto its pixels is taken off as they are modelled at
that step. Groups that have arrived are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.deblending.light_prior import LightPrior
from btk_punet.deblending.light_profiles import (
    FLUX,
    G1,
    G2,
    INDEX_RANGE,
    LOG_INDEX,
    LOG_RADIUS,
    N_PARAMETERS,
    X,
    Y,
    patch_model,
)

# Sides of the patches [pixel].
PATCH_SIZES = (24, 32, 48, 64, 96, 128, 192)
# A patch reaches to where an exponential profile falls below this [background sigma], and these
# pixels further for the PSF.
_EDGE_SIGMA, _PSF_REACH_PIXELS = 0.1, 4.0
# The PSF's wings fold back into the patch: about this share of the flux at 32 pixels, less as 1
# over the side in larger ones; spread evenly, they are kept below the fraction of a sigma.
_WINGS_AT_32, _WINGS_SIGMA = 0.03, 0.1
# Sources of a group that are solved for together, at most: beyond, the weakest links are cut.
MAX_GROUP = 24
MAX_STEPS = 15
# Of a group that has arrived: how far the optimum still is, in sigma squared over all parameters.
_ARRIVED = 0.01
# Longest step in each parameter, in flux as a share of it; a longer one is shortened as a whole.
_LONGEST_STEP = np.array([0.8, 1.0, 1.0, 0.7, 0.3, 0.3, 0.5])
_LARGEST_G = 0.9
_RADIUS_RANGE_PIXELS = (0.05, 100.0)
# Flux does not fall below this share of its error as a point source's.
_LEAST_FLUX_SIGMA = 0.3


@dataclass(frozen=True)
class Scenes:
    """Images of one band, as the fit sees them.

    Attributes:
        images: Electrons without background, ``(b, H, W)``.
        usable: Which pixels have a value, bool ``(b, H, W)``.
        background: Variance of a pixel without sources [electron^2].
        psf: The PSF.
        psf_with_pixel: Whether the PSF holds the pixel already.
        pixel_scale_arcsec: Pixel size [arcsec].
    """

    images: np.ndarray
    usable: np.ndarray
    background: float
    psf: galsim.GSObject
    psf_with_pixel: bool
    pixel_scale_arcsec: float


@dataclass(frozen=True)
class LightFit:
    """What a fit found of ``m`` sources.

    Attributes:
        parameters: In the order of `light_profiles`, ``(m, 7)``.
        covariance: Of each source's parameters, those of its neighbours unknown too,
            ``(m, 7, 7)``.
        converged: Whether the fit of the source's group arrived, bool ``(m,)``.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    converged: np.ndarray


def fit_sources(
    scenes: Scenes, image: np.ndarray, start: np.ndarray, prior: LightPrior
) -> LightFit:
    """Fit all sources of some images.

    Args:
        scenes: The images.
        image: Number of the image of each source, ``(m,)``.
        start: Where the search begins, ``(m, 7)``.
        prior: What is known of sources before the data.
    """
    return _Fit(scenes, image, start, prior).run()


class _Fit:
    """One fit: what stays between its steps."""

    def __init__(
        self, scenes: Scenes, image: np.ndarray, start: np.ndarray, prior: LightPrior
    ) -> None:
        self.scenes, self.image, self.prior = scenes, np.asarray(image, int), prior
        self.parameters = np.array(start, float)
        self.start = self.parameters.copy()
        self.sigma = float(np.sqrt(scenes.background))
        n = len(self.parameters)
        self.covariance = np.tile(np.eye(N_PARAMETERS), (n, 1, 1))
        self.converged = np.zeros(n, bool)
        self.group = _groups(self.image, self.parameters, self._reach())
        self.canvas = Canvas(scenes)
        self.patch = np.zeros(n, int)
        self.column, self.row = (
            np.floor(self.start[:, axis] + 0.5).astype(int) for axis in (X, Y)
        )
        self._decrement = np.full(n, np.inf)  # of each source's group, at the step before
        self._damping = np.ones(n)
        self._drawn: list[np.ndarray | None] = [None] * n

    def run(self) -> LightFit:
        active = np.arange(len(self.parameters))
        for _ in range(MAX_STEPS):
            if not len(active):
                break
            self._step(active)
            active = active[~self.converged[active]]
        return LightFit(self.parameters, self.covariance, self.converged)

    def _reach(self) -> np.ndarray:
        """Return how far from its centre each source shines [pixel]."""
        radius = np.exp(self.parameters[:, LOG_RADIUS])
        peak = np.maximum(self.parameters[:, FLUX], 1) * 0.45 / radius**2
        scale_length = radius / 1.678
        beyond = np.log(np.maximum(peak / (_EDGE_SIGMA * self.sigma), 1.0))
        return scale_length * beyond + _PSF_REACH_PIXELS

    def _choose_patches(self, active: np.ndarray) -> None:
        """Give each source a patch that holds its light; patches only grow."""
        sizes = np.array(PATCH_SIZES)
        wanted = 2 * self._reach()[active]
        wings = _WINGS_AT_32 * 32 * self.parameters[active, FLUX] / (_WINGS_SIGMA * self.sigma)
        wanted = np.maximum(wanted, np.cbrt(np.maximum(wings, 0)))
        chosen = sizes[np.minimum(np.searchsorted(sizes, wanted), len(sizes) - 1)]
        self.patch[active] = np.maximum(self.patch[active], chosen)

    def _step(self, active: np.ndarray) -> None:
        self._choose_patches(active)
        slopes = self._draw(active)
        fisher, gradient = self._equations(active, slopes)
        by_group = np.argsort(self.group[active], kind="stable")
        _, first, sizes = np.unique(
            self.group[active][by_group], return_index=True, return_counts=True
        )
        for size in np.unique(sizes):
            members = by_group[first[sizes == size][:, None] + np.arange(size)]  # (groups, size)
            self._solve(active[members], members, fisher, gradient)

    def _draw(self, active: np.ndarray) -> list[np.ndarray]:
        """Return each active source's derivatives, and put the sources on the canvas."""
        slopes: list[np.ndarray] = [np.empty(0)] * len(active)
        for size in np.unique(self.patch[active]):
            (own,) = np.nonzero(self.patch[active] == size)
            which = active[own]
            found = self._patch_model(size).derivatives(
                self.parameters[which], self.column[which], self.row[which]
            )
            for place, source, slope in zip(own, which, found, strict=True):
                slopes[place] = slope
                self._remove(source)
                image = slope[FLUX] * self.parameters[source, FLUX]
                self.canvas.add(self._box(source, size), image)
                self._drawn[source] = image
        return slopes

    def _remove(self, source: int) -> None:
        drawn = self._drawn[source]
        if drawn is not None:
            self.canvas.add(self._box(source, len(drawn)), -drawn)

    def _patch_model(self, size: int):
        scenes = self.scenes
        return patch_model(
            scenes.psf, scenes.pixel_scale_arcsec, int(size), scenes.psf_with_pixel
        )

    def _box(self, source: int, size: int) -> tuple[int, slice, slice]:
        """Return image, rows and columns of the canvas of a source's patch."""
        return self.canvas.box(self.image[source], self.column[source], self.row[source], size)

    def _equations(
        self, active: np.ndarray, slopes: list[np.ndarray]
    ) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray]:
        """Return the blocks of the Fisher matrix by pairs of places, and the gradients."""
        boxes = [self._box(source, slope.shape[-1]) for source, slope in zip(active, slopes)]
        blocks: dict[tuple[int, int], np.ndarray] = {}
        gradient = np.zeros((len(active), N_PARAMETERS))
        weighted: list[np.ndarray] = []
        for place, (box, slope) in enumerate(zip(boxes, slopes, strict=True)):
            weight, residual = self.canvas.weight_and_residual(box)
            weighted.append(slope * weight)
            flat = weighted[place].reshape(N_PARAMETERS, -1)
            blocks[place, place] = flat @ slope.reshape(N_PARAMETERS, -1).T
            gradient[place] = flat @ residual.ravel()
        groups = self.group[active]
        order = np.argsort(groups, kind="stable")
        for at, one in enumerate(order):
            for other in order[at + 1 :]:
                if groups[other] != groups[one]:
                    break
                parts = _shared(boxes[one], boxes[other])
                if parts is not None:
                    a = weighted[one][:, *parts[0]].reshape(N_PARAMETERS, -1)
                    b = slopes[other][:, *parts[1]].reshape(N_PARAMETERS, -1)
                    blocks[one, other] = a @ b.T
        return blocks, gradient

    def _solve(
        self,
        sources: np.ndarray,
        places: np.ndarray,
        blocks: dict[tuple[int, int], np.ndarray],
        gradient: np.ndarray,
    ) -> None:
        """Step the sources of groups of one size.

        Args:
            sources: ``(groups, size)``.
            places: Where they are among the active ones, ``(groups, size)``.
            blocks: From `_equations`.
            gradient: The same.
        """
        n_groups, size = sources.shape
        matrix = np.zeros((n_groups, size, N_PARAMETERS, size, N_PARAMETERS))
        for number, members in enumerate(places):
            for i, one in enumerate(members):
                for j, other in enumerate(members):
                    block = blocks.get((one, other))
                    if block is not None:
                        matrix[number, i, :, j] = block
                        if i != j:
                            matrix[number, j, :, i] = block.T
        pull, stiffness = self.prior.equations(self.parameters[sources], self.start[sources])
        own = np.arange(size)
        matrix[:, own, :, own] += np.moveaxis(stiffness, 1, 0)
        n = size * N_PARAMETERS
        right = (gradient[places] + pull).reshape(n_groups, n)
        # In units that make the diagonal 1, for the sake of the rounding.
        matrix = matrix.reshape(n_groups, n, n)
        scale = 1 / np.sqrt(np.maximum(np.einsum("gii->gi", matrix), 1e-30))
        inverse = np.linalg.pinv(
            matrix * scale[:, :, None] * scale[:, None, :], rcond=1e-10, hermitian=True
        )
        inverse *= scale[:, :, None] * scale[:, None, :]
        step = np.einsum("gij,gj->gi", inverse, right)
        decrement = np.einsum("gi,gi->g", step, right)
        blocks_of = inverse.reshape(n_groups, size, N_PARAMETERS, size, N_PARAMETERS)
        self.covariance[sources] = np.moveaxis(blocks_of[:, own, :, own], 0, 1)

        # Farther from the optimum than before: the step was too long.
        worse = decrement > self._decrement[sources[:, 0]]
        damping = self._damping[sources[:, 0]]
        damping = np.where(worse, 0.5 * damping, np.minimum(1.0, 1.5 * damping))
        self._decrement[sources], self._damping[sources] = decrement[:, None], damping[:, None]
        step = step.reshape(n_groups, size, N_PARAMETERS) * damping[:, None, None]
        self.converged[sources] = (decrement < _ARRIVED)[:, None]
        flux_error = np.sqrt(self.covariance[sources, FLUX, FLUX])
        self.parameters[sources] = self._moved(self.parameters[sources], step, flux_error)

    def _moved(
        self, parameters: np.ndarray, step: np.ndarray, flux_error: np.ndarray
    ) -> np.ndarray:
        """Return parameters after a step, within their bounds."""
        longest = np.broadcast_to(_LONGEST_STEP, step.shape).copy()
        flux = parameters[..., FLUX]
        longest[..., FLUX] = np.maximum(longest[..., FLUX] * np.abs(flux), 2 * flux_error)
        excess = (np.abs(step) / longest).max(axis=-1, keepdims=True)
        moved = parameters + step / np.maximum(excess, 1.0)
        moved[..., FLUX] = np.maximum(moved[..., FLUX], _LEAST_FLUX_SIGMA * 3 * self.sigma)
        ellipticity = np.hypot(moved[..., G1], moved[..., G2])
        shrink = np.minimum(1.0, _LARGEST_G / np.maximum(ellipticity, 1e-9))
        moved[..., G1] *= shrink
        moved[..., G2] *= shrink
        moved[..., LOG_RADIUS] = moved[..., LOG_RADIUS].clip(*np.log(_RADIUS_RANGE_PIXELS))
        moved[..., LOG_INDEX] = moved[..., LOG_INDEX].clip(*np.log(INDEX_RANGE))
        return moved


class Canvas:
    """Data and model of images, with a margin without weight, so that every patch fits."""

    MARGIN = PATCH_SIZES[-1] // 2 + 1

    def __init__(self, scenes: Scenes) -> None:
        margin = ((0, 0), (self.MARGIN, self.MARGIN), (self.MARGIN, self.MARGIN))
        usable = scenes.usable
        data = np.where(usable, scenes.images, 0.0).astype(np.float32)
        self.data = np.pad(data, margin)
        self.usable = np.pad(usable.astype(np.float32), margin)
        self.model = np.zeros(self.data.shape, np.float32)
        self.background = np.float32(scenes.background)

    def box(self, image: int, column: int, row: int, size: int) -> tuple[int, slice, slice]:
        """Return image, rows and columns of the patch whose pixel ``size // 2`` is a given one."""
        left = np.clip(column, 0, self.data.shape[2] - 2 * self.MARGIN) + self.MARGIN - size // 2
        bottom = np.clip(row, 0, self.data.shape[1] - 2 * self.MARGIN) + self.MARGIN - size // 2
        return image, slice(bottom, bottom + size), slice(left, left + size)

    def add(self, box: tuple[int, slice, slice], patch: np.ndarray) -> None:
        """Add a patch to the model."""
        self.model[box] += patch

    def weight_and_residual(
        self, box: tuple[int, slice, slice]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return inverse variances and data less model of a patch."""
        model = self.model[box]
        weight = self.usable[box] / (self.background + np.maximum(model, 0))
        return weight, self.data[box] - model


def _shared(
    one: tuple[int, slice, slice], other: tuple[int, slice, slice]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the part that two patches share, in the pixels of each; None where there is none."""
    rows, columns = (
        (max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(one[1:], other[1:], strict=True)
    )
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return None
    first, second = (
        (
            slice(rows[0] - box[1].start, rows[1] - box[1].start),
            slice(columns[0] - box[2].start, columns[1] - box[2].start),
        )
        for box in (one, other)
    )
    return first, second


def _groups(image: np.ndarray, parameters: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the number of each source's group: those whose light overlaps, cut where too many."""
    group = np.full(len(image), -1)
    n_groups, factor = 0, 0.7
    left = np.arange(len(image))
    while len(left):
        number = _linked(image[left], parameters[left], factor * reach[left])
        small = np.bincount(number)[number] <= MAX_GROUP
        _, own = np.unique(number[small], return_inverse=True)
        group[left[small]] = n_groups + own
        n_groups += own.max(initial=-1) + 1
        left, factor = left[~small], 0.7 * factor
    return group


def _linked(image: np.ndarray, parameters: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return numbers of the groups that hang together by circles that overlap."""
    n = len(image)
    # Images are set far apart from each other.
    apart = 1e6
    places = np.stack([parameters[:, X], parameters[:, Y] + apart * image], axis=1)
    pairs = KDTree(places).query_pairs(2 * reach.max(initial=0), output_type="ndarray")
    distance = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    pairs = pairs[distance < reach[pairs].sum(axis=1)]
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(n, n))
    return connected_components(graph, directed=False)[1]
