"""The fit of all sources of some images at once: second-order steps, with priors and covariance.

Sources whose light overlaps make a group, and all eight parameters of all of its sources are
solved for together (Gauss-Newton with the Fisher matrix of Poisson noise, weights renewed from the
model at every step). What other groups shine onto its pixels is taken off as they are modelled at
that step. Groups that have arrived are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from btk_punet.deblending.light.canvas import PATCH_SIZES, Box, Canvas, Scenes, shared_part
from btk_punet.deblending.light.groups import MAX_GROUP, overlapping_groups
from btk_punet.deblending.light.prior import LightPrior
from btk_punet.deblending.light.profiles import (
    BULGE,
    BULGE_RANGE,
    FLUX,
    G1,
    G2,
    INDEX_RANGE,
    LOG_INDEX,
    LOG_RADIUS,
    N_PARAMETERS,
    PatchModel,
    X,
    Y,
    patch_model,
)

# A patch reaches to where an exponential profile falls below this [background sigma], in the first
# steps and in the last ones: the wings of a bulge lie further out, and what of them is folded back
# into the patch is missing in the flux. It reaches further by so many sigma of the Gaussian that
# peaks as the PSF does.
_EDGES_SIGMA, _PSF_REACH_SIGMA = (0.2, 0.01), 5.0
# The PSF's wings fold back into the patch: about this share of the flux at 32 pixels, less as 1
# over the side in larger ones; spread evenly, they are kept below the fraction of a sigma.
_WINGS_AT_32, _WINGS_SIGMA = 0.03, 0.1
MAX_STEPS = 30
# Sources that are drawn at once.
_CHUNK = 32
_FLUX_STEPS = 3
# Of a group that has arrived: how far the optimum still is, in sigma squared over all parameters.
_ARRIVED = 0.1
# The same, of the first steps, and how many of them there are.
_FIRST_ARRIVED, _FIRST_STEPS = 4.0, 5
# The same, of a fit that is good enough.
_NEAR = 0.5
# Rounding of the loss, of which a step may make more.
_LOSS_SLACK = 0.02
# What a step brought over what it promised: above the first it may be longer, below the second it
# was too long.
_GOOD_RATIO, _BAD_RATIO = 0.7, 0.3
# Damping at which a step is next to nothing.
_MOST_DAMPING = 100.0
# Share of a diagonal that keeps a matrix without information from being singular.
_RIDGE = 1e-6
# How far a centre may move along each axis [pixel].
MAX_SHIFT_PIXELS = 2.0
# Longest step in each parameter, in flux as a share of it; a longer one is shortened as a whole.
_LONGEST_STEP = np.array([0.8, 1.0, 1.0, 0.7, 0.3, 0.3, 0.5, 0.3])
_LARGEST_G = 0.9
_RADIUS_RANGE_PIXELS = (0.05, 100.0)
# Flux does not fall below this [background sigma], far below what is detected.
_LEAST_FLUX_SIGMA = 1.0


@dataclass(frozen=True)
class LightFit:
    """What a fit found of ``m`` sources.

    Attributes:
        parameters: In the order of `profiles`, ``(m, 8)``.
        covariance: Of each source's parameters, those of its neighbours unknown too,
            ``(m, 8, 8)``.
        converged: Whether the fit of the source's group arrived, bool ``(m,)``.
        groups: The sources of each group, arrays of their numbers.
        flux_covariance: Of the fluxes of each group, ``(n, n)``.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    converged: np.ndarray
    groups: list[np.ndarray]
    flux_covariance: list[np.ndarray]


class _Group:
    """Sources that are solved for together, and where their search stands.

    Attributes:
        members: Numbers of the sources, ``(n,)``.
        parameters: The best so far, ``(n, 8)``.
        loss: Minus the logarithm of the posterior there.
        matrix: Its second derivatives there, ``(8 n, 8 n)``.
        right: Minus its first derivatives, ``(8 n,)``.
        flux_covariance: Of the fluxes, ``(n, n)``.
        damping: Of the next step, by Levenberg and Marquardt.
        gain: By how much the last step lowered the loss.
        promised: By how much the next one should.
        is_broken: Whether the numbers left what floats hold; then the search is over.
        decrement: How far the optimum is, in sigma squared.
    """

    def __init__(self, members: np.ndarray) -> None:
        self.members = members
        self.parameters = self.matrix = self.right = np.empty(0)
        self.flux_covariance = np.zeros((len(members), len(members)))
        self.loss = self.decrement = np.inf
        self.damping = 0.0
        self.gain = self.promised = np.inf
        self.is_broken = False

    def has_arrived(self, enough: float = _ARRIVED) -> bool:
        """Return whether further steps would bring no more than enough, in sigma squared."""
        if self.is_broken:
            return True
        whole_step = self.damping < 0.05
        return self.decrement < enough or (whole_step and abs(self.gain) < enough)


class SourceFit:
    """The fit of all sources of some images: what stays between its steps.

    Args:
        scenes: The images.
        image: Number of the image of each source, ``(m,)``.
        start: Where the search begins, ``(m, 8)``.
        prior: What is known of sources before the data.
    """

    def __init__(
        self, scenes: Scenes, image: np.ndarray, start: np.ndarray, prior: LightPrior
    ) -> None:
        self.scenes, self.prior = scenes, prior
        self.canvas = Canvas(scenes)
        self._edge = _EDGES_SIGMA[0]
        self._models: dict[int, PatchModel] = {}
        self._place(np.asarray(image, int), np.array(start, float))
        n = len(self.parameters)
        self.covariance = np.tile(np.eye(N_PARAMETERS), (n, 1, 1))
        self.patch = np.zeros(n, int)
        self._drawn: list[np.ndarray | None] = [None] * n
        self.groups = [self._group(members) for members in self._overlapping()]

    def _place(self, image: np.ndarray, start: np.ndarray) -> None:
        """Put sources where their search begins."""
        self.image, self.start = image, start
        self.column, self.row = (np.floor(self.start[:, a] + 0.5).astype(int) for a in (X, Y))
        # Of the background, where each source is, ``(m,)``.
        self.sigma = self.scenes.sigma(self.image, self.column, self.row)
        self.lowest, self.highest = self._bounds()
        self.parameters = self._within_bounds(start)

    def _group(self, members: np.ndarray) -> _Group:
        """Return a group whose search begins where its sources are."""
        group = _Group(members)
        group.parameters = self.parameters[members].copy()
        return group

    def _overlapping(self) -> list[np.ndarray]:
        """Return the sources of each group."""
        group = overlapping_groups(self.image, self.parameters, self.reach())
        order = np.argsort(group, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
        return [members for members in groups if len(members)]

    def add(self, image: np.ndarray, start: np.ndarray, prior: LightPrior) -> None:
        """Add sources to those that are fitted, which go on from where they are.

        Args:
            image: Number of the image of each new source, ``(k,)``.
            start: Where the search of each begins, ``(k, 8)``.
            prior: Of the new sources.
        """
        found, n_before, n_new = self.parameters, len(self.parameters), len(image)
        self.prior = self.prior.joined(prior)
        self._place(np.concatenate([self.image, image]), np.concatenate([self.start, start]))
        self.parameters[:n_before] = found
        free = np.tile(np.eye(N_PARAMETERS), (n_new, 1, 1))
        self.covariance = np.concatenate([self.covariance, free])
        self.patch = np.concatenate([self.patch, np.zeros(n_new, int)])
        self._drawn += [None] * n_new
        self._edge = _EDGES_SIGMA[0]
        reach = self.reach()
        for source in range(n_before, n_before + n_new):
            distance = np.hypot(*(self.parameters[:, [X, Y]] - self.parameters[source, [X, Y]]).T)
            near = (self.image == self.image[source]) & (distance < reach + reach[source])
            joined = [group for group in self.groups if near[group.members].any()]
            joined.sort(key=lambda group: distance[group.members].min())
            while len(joined) > 1 and sum(len(group.members) for group in joined) >= MAX_GROUP:
                joined.pop()
            together = np.concatenate([*(group.members for group in joined), [source]])
            self.groups = [group for group in self.groups if group not in joined]
            self.groups.append(self._group(np.sort(together).astype(int)))

    def remove(self, sources: np.ndarray) -> np.ndarray:
        """Take sources out of the fit; the others of their groups go on from where they are.

        Args:
            sources: Numbers of the sources, ``(k,)``.

        Returns:
            The number of each source from now on, -1 of those that are gone, ``(m,)``.
        """
        for source, drawn in zip(sources, (self._drawn[s] for s in sources), strict=True):
            if drawn is not None:
                self.canvas.add(self.box(source, len(drawn)), -drawn)
        stays = np.ones(len(self.parameters), bool)
        stays[sources] = False
        (kept,) = np.nonzero(stays)
        number = np.where(stays, np.cumsum(stays) - 1, -1)
        found = self.parameters[kept]
        self.prior = self.prior.take(kept)
        self._place(self.image[kept], self.start[kept])
        self.parameters = found
        self.covariance, self.patch = self.covariance[kept], self.patch[kept]
        self._drawn = [self._drawn[source] for source in kept]
        groups = []
        for group in self.groups:
            members = number[group.members]
            group.members = members
            if (members < 0).any():
                group = self._group(members[members >= 0])
            if len(group.members):
                groups.append(group)
        self.groups = groups
        return number

    def restart(self, sources: np.ndarray, prior: LightPrior) -> None:
        """Send sources and those of their groups back to the start, under another prior.

        Args:
            sources: Numbers of the sources, ``(k,)``.
            prior: Of all sources.
        """
        self.prior = prior
        for number, group in enumerate(self.groups):
            if np.isin(group.members, sources).any():
                self.parameters[group.members] = self._within_bounds(
                    self.start[group.members], group.members
                )
                self.groups[number] = self._group(group.members)

    def run(self) -> LightFit:
        """Fit all parameters, of those groups that have not arrived."""
        active = [group for group in self.groups if not group.has_arrived()]
        with np.errstate(over="ignore", invalid="ignore"):  # which is seen at each step
            # First on patches that hold most of the light, then for the last steps on larger ones.
            for self._edge, enough, most_steps in zip(
                _EDGES_SIGMA, (_FIRST_ARRIVED, _ARRIVED), (_FIRST_STEPS, MAX_STEPS), strict=True
            ):
                going = active
                for _ in range(most_steps):
                    if not going:
                        break
                    self._step(going)
                    going = [group for group in going if not group.has_arrived(enough)]
        converged = np.zeros(len(self.parameters), bool)
        for group in self.groups:
            if not group.decrement < _ARRIVED and not group.is_broken:
                self.parameters[group.members] = group.parameters
            good = group.has_arrived() or group.decrement < _NEAR
            converged[group.members] = good and not group.is_broken
        groups = [group.members for group in self.groups]
        fluxes = [group.flux_covariance for group in self.groups]
        return LightFit(self.parameters, self.covariance, converged, groups, fluxes)

    def run_fluxes(self) -> np.ndarray:
        """Return the fluxes ``(m,)`` that fit best if all else stays as it is at the start."""
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(_FLUX_STEPS):
                groups = [group for group in self.groups if not group.is_broken]
                if groups:
                    self._step(groups, free=[FLUX])
        return self.parameters[:, FLUX]

    def images(self) -> Iterator[tuple[int, Box, np.ndarray]]:
        """Yield each source's number, its patch's place in the image and its image.

        Of a patch, what lies inside of the image.
        """
        for source, patch in self.patches():
            place, inside = self.canvas.inside(self.box(source, len(patch)))
            yield source, place, patch[inside]

    def patches(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each source's number and its image on its patch (see `box`)."""
        self._choose_patches(np.arange(len(self.patch)))
        for size, which in self._chunks(np.arange(len(self.patch))):
            found = self.patch_model(size).images(
                self.parameters[which], self.column[which], self.row[which]
            )
            for source, image in zip(which, found, strict=True):
                yield int(source), image

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest value of each parameter, ``(m, 8)``."""
        lowest, highest = (np.full(self.start.shape, end) for end in (-np.inf, np.inf))
        lowest[:, FLUX] = _LEAST_FLUX_SIGMA * self.sigma
        for axis in (X, Y):
            lowest[:, axis] = self.start[:, axis] - MAX_SHIFT_PIXELS
            highest[:, axis] = self.start[:, axis] + MAX_SHIFT_PIXELS
        lowest[:, LOG_RADIUS], highest[:, LOG_RADIUS] = np.log(_RADIUS_RANGE_PIXELS)
        lowest[:, LOG_INDEX], highest[:, LOG_INDEX] = np.log(INDEX_RANGE)
        lowest[:, BULGE], highest[:, BULGE] = BULGE_RANGE
        return lowest, highest

    @cached_property
    def psf_reach(self) -> float:
        """How far the PSF shines [pixel]."""
        size = PATCH_SIZES[1]
        star = np.array(
            [[1.0, size // 2, size // 2, *np.log(_RADIUS_RANGE_PIXELS[:1]), 0, 0, 0, 0]]
        )
        place = np.full(1, size // 2)
        peak = self.patch_model(size).images(star, place, place).max()
        return _PSF_REACH_SIGMA / np.sqrt(2 * np.pi * peak)

    def reach(self) -> np.ndarray:
        """Return how far from its centre each source shines [pixel]."""
        radius = np.exp(self.parameters[:, LOG_RADIUS])
        peak = self.parameters[:, FLUX] * 0.45 / radius**2  # of an exponential profile
        scale_length = radius / 1.678
        beyond = np.log(np.maximum(peak / (self._edge * self.sigma), 1.0))
        return scale_length * beyond + self.psf_reach

    def _choose_patches(self, active: np.ndarray) -> None:
        """Give each source a patch that holds its light; patches only grow."""
        sizes = np.array(PATCH_SIZES)
        flux, sigma = self.parameters[active, FLUX], self.sigma[active]
        wings = _WINGS_AT_32 * 32 * flux / (_WINGS_SIGMA * sigma)
        # What is folded back must not reach the image, beyond which nothing is asked.
        height, width = self.scenes.images.shape[1:]
        column, row = self.column[active], self.row[active]
        edge = np.max([column, width - column, row, height - row], axis=0, initial=0)
        reach = self.reach()[active]
        wanted = np.maximum(reach + np.minimum(reach, edge), np.cbrt(wings))
        wanted = np.minimum(wanted, sizes[-1])
        chosen = sizes[np.searchsorted(sizes, wanted)]
        self.patch[active] = np.maximum(self.patch[active], chosen)

    def _step(self, groups: list[_Group], free: list[int] | None = None) -> None:
        """Draw the sources where the step before led, and step on from there if that is better."""
        active = np.concatenate([group.members for group in groups])
        before = self.patch.copy()
        self._choose_patches(active)
        slopes = self.draw(active)
        boxes = [
            self.box(source, slope.shape[-1]) for source, slope in zip(active, slopes, strict=True)
        ]
        equations = self.prior.take(active).equations(self.parameters[active], self.start[active])
        grown = self.patch != before
        first = 0
        for group in groups:
            own = slice(first, first + len(group.members))
            first = own.stop
            loss = self.canvas.loss(boxes[own]) + equations[0][own].sum()
            # Another patch is another model; and where no step helps, the neighbours moved.
            if grown[group.members].any() or group.damping > _MOST_DAMPING:
                group.loss = np.inf
            group.gain = group.loss - loss
            ratio = group.gain / max(group.promised, _LOSS_SLACK) if group.gain < np.inf else 1.0
            if ratio > _GOOD_RATIO:
                group.damping = group.damping / 4 if group.damping > 0.02 else 0.0
            elif ratio < _BAD_RATIO and abs(group.gain) > _LOSS_SLACK:
                group.damping = max(3 * group.damping, 0.05)
            if group.gain > -_LOSS_SLACK:
                group.loss = loss
                group.parameters = self.parameters[group.members].copy()
                group.matrix, group.right = self.equations(boxes[own], slopes[own])
                for number, stiffness in enumerate(equations[2][own]):
                    one = slice(number * N_PARAMETERS, (number + 1) * N_PARAMETERS)
                    group.matrix[one, one] += stiffness
                group.right += equations[1][own].ravel()
            else:
                self.parameters[group.members] = group.parameters
            if not (np.isfinite(group.loss) and np.isfinite(group.matrix).all()):
                group.is_broken = True
                self.parameters[group.members] = self.start[group.members]
        groups = [group for group in groups if not group.is_broken]
        sizes = np.array([len(group.members) for group in groups], int)
        for size in np.unique(sizes):
            self._solve([groups[i] for i in np.flatnonzero(sizes == size)], free)

    def draw(self, active: np.ndarray) -> list[np.ndarray]:
        """Return each active source's derivatives, and put the sources on the canvas."""
        slopes: list[np.ndarray] = [np.empty(0)] * len(active)
        for size, own in self._chunks(active):
            which = active[own]
            found = self.patch_model(size).derivatives(
                self.parameters[which], self.column[which], self.row[which]
            )
            for place, source, slope in zip(own, which, found, strict=True):
                slopes[place] = slope
                drawn = self._drawn[source]
                if drawn is not None:
                    self.canvas.add(self.box(source, len(drawn)), -drawn)
                self._drawn[source] = slope[FLUX] * np.float32(self.parameters[source, FLUX])
                self.canvas.add(self.box(source, size), self._drawn[source])
        return slopes

    def _chunks(self, sources: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield sizes of patches, and the places of some sources that have them.

        Not of all: their Fourier modes would fill the memory for a large field.
        """
        for size in np.unique(self.patch[sources]):
            (own,) = np.nonzero(self.patch[sources] == size)
            for first in range(0, len(own), _CHUNK):
                yield int(size), own[first : first + _CHUNK]

    def patch_model(self, size: int) -> PatchModel:
        """Return what draws sources on patches of a size."""
        # Here too: to look a PSF up that is another, equal object takes milliseconds.
        if size not in self._models:
            scenes = self.scenes
            self._models[size] = patch_model(
                scenes.psf, scenes.pixel_scale_arcsec, int(size), scenes.psf_with_pixel
            )
        return self._models[size]

    def box(self, source: int, size: int) -> Box:
        """Return where a source's patch of a size lies."""
        return self.canvas.box(self.image[source], self.column[source], self.row[source], size)

    def equations(
        self, boxes: list[Box], slopes: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the Fisher matrix of a group and the gradient of its likelihood."""
        n = len(boxes)
        matrix = np.zeros((n, N_PARAMETERS, n, N_PARAMETERS))
        gradient = np.zeros((n, N_PARAMETERS))
        for one, (box, slope) in enumerate(zip(boxes, slopes, strict=True)):
            weight, residual = self.canvas.weight_and_residual(box)
            weighted = slope * weight
            flat = weighted.reshape(N_PARAMETERS, -1)
            matrix[one, :, one] = flat @ slope.reshape(N_PARAMETERS, -1).T
            gradient[one] = flat @ residual.ravel()
            for other in range(one):
                shared = shared_part(box, boxes[other])
                if shared is not None:
                    own, its = shared
                    a = weighted[:, own[0], own[1]].reshape(N_PARAMETERS, -1)
                    b = slopes[other][:, its[0], its[1]].reshape(N_PARAMETERS, -1)
                    matrix[one, :, other] = a @ b.T
                    matrix[other, :, one] = matrix[one, :, other].T
        return matrix.reshape(n * N_PARAMETERS, -1), gradient.ravel()

    def _solve(self, groups: list[_Group], free: list[int] | None) -> None:
        """Step the sources of groups of one size."""
        members = np.array([group.members for group in groups])  # (groups, size)
        n_groups, size = members.shape
        matrix = np.array([group.matrix for group in groups])
        right = np.array([group.right for group in groups])
        here = self.parameters[members].reshape(right.shape)
        lowest, highest = (b[members].reshape(right.shape) for b in (self.lowest, self.highest))
        # At a bound, and drawn beyond: such a parameter stays.
        fixed = ((here <= lowest) & (right < 0)) | ((here >= highest) & (right > 0))
        if free is not None:
            fixed |= ~np.isin(np.arange(right.shape[1]) % N_PARAMETERS, free)
        unit, scale = unit_diagonal(matrix, fixed)
        step_right = right * scale
        damping = np.array([group.damping for group in groups])
        damped = unit + damping[:, None, None] * np.eye(right.shape[1])
        step = np.linalg.solve(damped, step_right[..., None])[..., 0]
        inverse = np.linalg.inv(unit)
        decrement = np.einsum("gi,gij,gj->g", step_right, inverse, step_right)
        if free is None:
            own = np.arange(size)
            of_sources = inverse * scale[:, :, None] * scale[:, None, :]
            of_sources = of_sources.reshape(n_groups, size, N_PARAMETERS, size, N_PARAMETERS)
            self.covariance[members] = np.moveaxis(of_sources[:, own, :, own], 0, 1)
            fluxes = inverse[:, FLUX::N_PARAMETERS, FLUX::N_PARAMETERS]
            fluxes = (
                fluxes * scale[:, FLUX::N_PARAMETERS, None] * scale[:, None, FLUX::N_PARAMETERS]
            )
            for group, value, flux in zip(groups, decrement, fluxes, strict=True):
                group.decrement, group.flux_covariance = value, flux
        step = (step * scale).reshape(n_groups, size, N_PARAMETERS)
        moved = self._moved(members, step, bounded=free is None)
        taken = (moved - self.parameters[members]).reshape(right.shape)
        promised = np.einsum("gi,gi->g", taken, right)
        promised -= 0.5 * np.einsum("gi,gij,gj->g", taken, matrix, taken)
        for group, value in zip(groups, promised, strict=True):
            group.promised = value
        self.parameters[members] = moved

    def _moved(self, members: np.ndarray, step: np.ndarray, bounded: bool) -> np.ndarray:
        """Return the parameters of sources after a step that is not too long."""
        parameters = self.parameters[members]
        if bounded:
            longest = np.broadcast_to(_LONGEST_STEP, step.shape).copy()
            error = np.sqrt(self.covariance[members, FLUX, FLUX])
            flux = parameters[..., FLUX]
            longest[..., FLUX] = np.maximum(longest[..., FLUX] * flux, 3 * error)
            step = step / np.maximum((np.abs(step) / longest).max(axis=(1, 2), keepdims=True), 1.0)
        return self._within_bounds(parameters + step, members)

    def _within_bounds(
        self, parameters: np.ndarray, members: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        parameters = np.clip(parameters, self.lowest[members], self.highest[members])
        length = np.hypot(parameters[..., G1], parameters[..., G2])
        shrink = np.minimum(1.0, _LARGEST_G / np.maximum(length, 1e-9))
        parameters[..., G1] *= shrink
        parameters[..., G2] *= shrink
        return parameters


def unit_diagonal(
    matrix: np.ndarray, fixed: np.ndarray | bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return symmetric matrices in units that make their diagonal 1, for the sake of the rounding.

    Args:
        matrix: ``(..., n, n)``; some of the unknowns may be hard to tell apart.
        fixed: Which unknowns stay as they are, ``(..., n)``.

    Returns:
        The matrices, ``(..., n, n)``, their diagonal a little above 1, and the units, ``(..., n)``:
        0 of what stays.
    """
    diagonal = np.einsum("...ii->...i", matrix)
    scale = np.where(fixed, 0.0, 1 / np.sqrt(np.maximum(diagonal, 1e-30)))
    unit = matrix * scale[..., :, None] * scale[..., None, :]
    np.einsum("...ii->...i", unit)[...] = 1.0 + _RIDGE
    return unit, scale
