"""Sources that were not called, whose light must not be given to their neighbours.

A candidate of small probability may yet be a source, and its light is then taken for that of those
around it. What the fit of the others leaves in the pixels says more of it than the network alone:
how much better they would be described with one source more (a score test), which is evidence (see
`Evidence`). Where it then is probable, the source is fitted with the others; else what it would
change is taken off in proportion, and widens their errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from btk_punet.deblending.evidence import LEAST_SHARE
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.canvas import PATCH_SIZES, shared_part
from btk_punet.deblending.light.evidence import structure_of
from btk_punet.deblending.light.fit import LightFit, SourceFit, unit_diagonal
from btk_punet.deblending.light.prior import LightPrior
from btk_punet.deblending.light.profiles import FLUX, LOG_RADIUS, N_PARAMETERS, X, Y

# Half-light radius of a hidden source to be tested [pixel]; what is faint is about as small.
_RADIUS_PIXELS = 2.0
# Sources that are taken to feel a hidden one, at most: the nearest.
_MOST_NEIGHBOURS = 8
# A hidden source changes no flux by more than this share, and no place by more [pixel]: beyond,
# the linear estimate says little.
_MOST_OF_FLUX, _MOST_PIXELS = 0.7, 0.5
# Two hidden sources are not fitted nearer to each other than this [pixel].
_SPOT_PIXELS = 3.0
# Parameters of which the changes are told.
CHANGED = (FLUX, X, Y)


@dataclass(frozen=True)
class Hidden:
    """What a fit says of ``k`` candidates that were not called.

    Attributes:
        gain: By how much the pixels would be better described with it [sigma], see `Evidence`.
        share: Share of its light that no other source could give.
        flux: How much [electron]; 0 or less where there is less light than the fit has there.
        neighbours: For each the fitted sources that would feel it, arrays of their numbers.
        changes: By how much their `CHANGED` are too large for the hidden light, each
            ``(neighbours, 3)``.
    """

    gain: np.ndarray
    share: np.ndarray
    flux: np.ndarray
    neighbours: list[np.ndarray]
    changes: list[np.ndarray]

    def apart(
        self, doubtful: Candidates, probability: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Return the numbers of those to be fitted: not two on the same spot, but the likelier.

        Args:
            doubtful: The candidates.
            probability: That light is hidden there, ``(k,)``.
            wanted: Which of them might be fitted, where there is light, bool ``(k,)``.
        """
        chosen: list[int] = []
        for one in np.argsort(-probability, kind="stable"):
            if not wanted[one] or self.flux[one] <= 0:
                continue
            near = doubtful.image[chosen] == doubtful.image[one]
            distance = np.hypot(
                doubtful.x[chosen] - doubtful.x[one], doubtful.y[chosen] - doubtful.y[one]
            )
            if not (near & (distance < _SPOT_PIXELS)).any():
                chosen.append(int(one))
        return np.array(chosen, int)

    def renumbered(self, number: np.ndarray) -> Hidden:
        """Return the same with other numbers of the sources, -1 for those that are gone."""
        neighbours, changes = [], []
        for members, change in zip(self.neighbours, self.changes, strict=True):
            there = number[members] >= 0
            neighbours.append(number[members][there])
            changes.append(change[there])
        return replace(self, neighbours=neighbours, changes=changes)

    def joined(self, other: Hidden) -> Hidden:
        """Return what is said of these candidates and of others."""
        return Hidden(
            np.concatenate([self.gain, other.gain]),
            np.concatenate([self.share, other.share]),
            np.concatenate([self.flux, other.flux]),
            self.neighbours + other.neighbours,
            self.changes + other.changes,
        )

    def expected(
        self, which: np.ndarray, probability: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what some of the candidates are expected to change, and its variance.

        Args:
            which: Numbers of the candidates.
            probability: That light is hidden there, of all, ``(k,)``.
            parameters: Of the fitted sources, ``(m, 8)``.

        Returns:
            What to take off flux, column and row, and the variance for not knowing whether the
            candidates are there, ``(m, 3)`` each.
        """
        off, variance = np.zeros((2, len(parameters), len(CHANGED)))
        for number in which:
            members, p = self.neighbours[number], probability[number]
            most = np.full((len(members), len(CHANGED)), _MOST_PIXELS)
            most[:, 0] = _MOST_OF_FLUX * parameters[members, FLUX]
            change = np.clip(self.changes[number], -most, most)
            off[members] += p * change
            variance[members] += p * (1 - p) * change**2
        return off, variance


def judge(fit: SourceFit, doubtful: Candidates) -> Hidden:
    """Return what the pixels say of candidates, by a fit of the other sources that has run."""
    near = [
        _neighbours(fit, *place)
        for place in zip(doubtful.image, doubtful.x, doubtful.y, strict=True)
    ]
    felt = _Felt.by(fit, np.unique(np.concatenate([*near, np.zeros(0, int)])))
    size = PATCH_SIZES[1]
    column, row = (np.floor(place + 0.5).astype(int) for place in (doubtful.x, doubtful.y))
    source = np.zeros((len(doubtful), N_PARAMETERS))
    source[:, FLUX], source[:, X], source[:, Y] = 1.0, doubtful.x, doubtful.y
    source[:, LOG_RADIUS] = np.log(_RADIUS_PIXELS)
    templates = fit.patch_model(size).images(source, column, row)
    gain, share, flux = np.zeros((3, len(doubtful)))
    changes = []
    for number, (members, template) in enumerate(zip(near, templates, strict=True)):
        box = fit.canvas.box(doubtful.image[number], column[number], row[number], size)
        weight, residual = fit.canvas.weight_and_residual(box)
        weighted = weight * template
        alone = max(float((weighted * template).sum()), 1e-30)
        score = float((weighted * residual).sum())
        change, taken = felt.change(fit, members, weighted, box)
        share[number] = max((alone - taken) / alone, LEAST_SHARE)
        flux[number] = score / (share[number] * alone)
        structure = structure_of(weighted, fit.canvas.model[box], alone)
        gain[number] = score / np.sqrt(share[number] * alone * (1 + structure))
        changes.append(change[:, CHANGED] * max(flux[number], 0))
    return Hidden(gain, share, flux, near, changes)


@dataclass(frozen=True)
class _Felt:
    """The fitted sources near some candidate: what each of them could give of its light.

    Attributes:
        slopes: Of each source's image in its parameters, by its number.
        stiffness: What the prior adds to its matrix of second derivatives.
    """

    slopes: dict[int, np.ndarray]
    stiffness: dict[int, np.ndarray]

    @classmethod
    def by(cls, fit: SourceFit, numbers: np.ndarray) -> _Felt:
        """Return those of these numbers."""
        prior = fit.prior.take(numbers)
        stiffness = prior.equations(fit.parameters[numbers], fit.start[numbers])[2]
        return cls(
            dict(zip(numbers, fit.draw(numbers), strict=True)),
            dict(zip(numbers, stiffness, strict=True)),
        )

    def change(
        self, fit: SourceFit, members: np.ndarray, weighted: np.ndarray, box: tuple
    ) -> tuple[np.ndarray, float]:
        """Return how sources would change if a unit of hidden light were not theirs.

        Args:
            fit: That of the sources.
            members: Their numbers.
            weighted: Image of the hidden source, times the pixels' weights.
            box: Where it lies.

        Returns:
            By how much their parameters are too large, ``(members, 8)``, and how much of the
            hidden source's information that takes.
        """
        if not len(members):
            return np.zeros((0, N_PARAMETERS)), 0.0
        slopes = [self.slopes[member] for member in members]
        boxes = [
            fit.box(member, one.shape[-1]) for member, one in zip(members, slopes, strict=True)
        ]
        matrix, _ = fit.equations(boxes, slopes)
        common = np.zeros((len(members), N_PARAMETERS))
        for one, (slope, its_box) in enumerate(zip(slopes, boxes, strict=True)):
            part = slice(one * N_PARAMETERS, (one + 1) * N_PARAMETERS)
            matrix[part, part] += self.stiffness[members[one]]
            shared = shared_part(box, its_box)
            if shared is not None:
                here, there = shared
                flat = slope[:, there[0], there[1]].reshape(N_PARAMETERS, -1)
                common[one] = flat @ weighted[here].ravel()
        unit, scale = unit_diagonal(matrix)
        change = (scale * np.linalg.solve(unit, scale * common.ravel())).reshape(common.shape)
        return change, float((change * common).sum())


def fit_with(
    fit: SourceFit, found: LightFit, image: np.ndarray, start: np.ndarray, prior: LightPrior
) -> tuple[LightFit, np.ndarray]:
    """Fit hidden sources with the others.

    Args:
        fit: Of the other sources, which has run; afterwards of all.
        found: What it found, ``m`` sources.
        image: Number of the image of each hidden source, ``(k,)``.
        start: Where the search for it begins, ``(k, 8)``.
        prior: Of the hidden sources.

    Returns:
        The fit of all, hidden ones last. Where a group does not arrive with them, it is what it was
        without. And whether each hidden source is in it, ``(k,)``.
    """
    is_fitted = np.ones(len(image), bool)
    if not len(image):
        return found, is_fitted
    m = len(found.parameters)
    parameters, covariance = found.parameters.copy(), found.covariance.copy()
    old = list(zip(found.groups, found.flux_covariance, strict=True))
    fit.add(image, start, prior)
    after = fit.run()
    groups = []
    for members, of_fluxes in zip(after.groups, after.flux_covariance, strict=True):
        if members[-1] < m or after.converged[members].all():
            groups.append((members, of_fluxes))
            continue
        own, new = members[members < m], members[members >= m]
        is_fitted[new - m] = False
        after.parameters[own], after.covariance[own] = parameters[own], covariance[own]
        after.converged[own] = found.converged[own]
        groups += [one for one in old if np.isin(one[0], own).any()]
        groups += [(new[i : i + 1], np.eye(1)) for i in range(len(new))]
    together = [members for members, _ in groups]
    of_all = [of_fluxes for _, of_fluxes in groups]
    return replace(after, groups=together, flux_covariance=of_all), is_fitted


def _neighbours(fit: SourceFit, image: int, x: float, y: float) -> np.ndarray:
    """Return the sources whose light reaches a place, the nearest first."""
    distance = np.hypot(fit.parameters[:, X] - x, fit.parameters[:, Y] - y)
    (near,) = np.nonzero((fit.image == image) & (distance < fit.reach() + fit.psf_reach))
    return near[np.argsort(distance[near], kind="stable")][:_MOST_NEIGHBOURS]
