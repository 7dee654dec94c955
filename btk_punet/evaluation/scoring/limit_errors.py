"""How well place and flux of a source can be known at best, among neighbours that are not known."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.limit import (
    FISHER_CUTOFF,
    N_TEMPLATES,
    fisher_matrix,
    overlapping_groups,
    source_templates,
)
from btk_punet.simulation.snr import check_scene, light_boxes

# Central difference of sixth order. That of `limit_snr`, of second order, loses a fifth of the
# gradient of an image as sharp as Euclid's, and the place would seem as much harder to know.
_DIFFERENCE = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
_MARGIN = len(_DIFFERENCE) // 2
# Of a source's own templates, those that are fitted: flux and place.
_OWN = 3


class LimitErrors(NamedTuple):
    """The smallest standard deviations that an unbiased measurement can have.

    Attributes:
        x: Of the column of the centre [pixel], ``(n,)``.
        y: Of the row of the centre [pixel], ``(n,)``.
        flux: Of the flux, as a share of it, ``(n,)``.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray


def limit_errors(
    isolated: np.ndarray, x: np.ndarray, y: np.ndarray, background: float | np.ndarray
) -> LimitErrors:
    """Return how well place and flux of each source can be known (Cramer-Rao limits).

    Of the source itself the profile is known, and flux and place are fitted; of every other source
    flux, place, size and ellipticity are fitted too. With ``F`` the Fisher matrix of these
    templates, the variances are those of ``F^-1``.

    Args:
        isolated: Each source alone, noiseless [electron], one scene and band, shape (n, H, W).
        x: Column of each centre [pixel], shape (n,).
        y: Row of each centre [pixel], shape (n,).
        background: Variance without the sources [electron^2], a number or shape (H, W).

    Returns:
        Standard deviations; infinite where the source has no flux on the image, or where a value
        cannot be told from what the other sources do.

    Raises:
        InputError: for arrays of the wrong shape, or a background that is not above 0.
    """
    isolated, background = check_scene(isolated, background)
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != (len(isolated),) or y.shape != x.shape:
        raise InputError(
            f"x and y must have one value for each of the {len(isolated)} sources, got the shapes "
            f"{x.shape} and {y.shape}."
        )
    boxes = light_boxes(isolated, margin=_MARGIN)
    total = np.zeros(isolated.shape[1:])
    for image, box in zip(isolated, boxes, strict=True):
        total[box] += image[box]
    weight = 1.0 / np.sqrt(background + np.maximum(total, 0.0))
    lit = np.array([source for source, (rows, _) in enumerate(boxes) if rows.stop > 0], int)
    fisher = fisher_matrix(
        [
            weight[boxes[source]]
            * _templates(isolated[source][boxes[source]], x[source], y[source], *boxes[source])
            for source in lit
        ],
        [boxes[source] for source in lit],
    )
    errors = np.full((len(isolated), _OWN), np.inf)
    for group in overlapping_groups(fisher):
        n = len(group)
        matrix = fisher[group][:, :, group].reshape(n * N_TEMPLATES, n * N_TEMPLATES)
        for own, source in enumerate(lit[group]):
            first = own * N_TEMPLATES
            used = np.delete(np.arange(len(matrix)), np.arange(first + _OWN, first + N_TEMPLATES))
            errors[source] = _own_errors(matrix[np.ix_(used, used)], first)
    return LimitErrors(errors[:, 1], errors[:, 2], errors[:, 0])


def _own_errors(matrix: np.ndarray, first: int) -> np.ndarray:
    """Return the standard deviations of three templates with all others unknown."""
    own = np.arange(first, first + _OWN)
    others = np.delete(np.arange(len(matrix)), own)
    scale = np.sqrt(np.diag(matrix))
    usable = others[scale[others] > 0]
    unit = matrix / np.where(scale > 0, scale[:, None] * scale, 1)
    shared = unit[np.ix_(own, usable)]
    inverse = np.linalg.pinv(unit[np.ix_(usable, usable)], FISHER_CUTOFF, hermitian=True)
    remaining = unit[np.ix_(own, own)] - shared @ inverse @ shared.T
    values, vectors = np.linalg.eigh(remaining)
    known = values > FISHER_CUTOFF
    variance = np.where(
        (np.abs(vectors[:, ~known]) > 1e-6).any(axis=1),
        np.inf,
        (vectors[:, known] ** 2 / values[known]).sum(axis=1),
    )
    return np.sqrt(variance) / np.where(scale[own] > 0, scale[own], np.nan)


def _templates(image: np.ndarray, x: float, y: float, rows: slice, cols: slice) -> np.ndarray:
    """Return a source's image and how it changes with place, size and shape, ``(6, h, w)``."""
    image = image.astype(float)
    gradient_y, gradient_x = (
        ndimage.correlate1d(image, _DIFFERENCE, axis, mode="nearest") for axis in (0, 1)
    )
    return source_templates(image, gradient_y, gradient_x, x, y, rows, cols)
