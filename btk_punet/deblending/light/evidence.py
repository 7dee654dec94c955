"""What the pixels say of candidates: how it is found in a fit (see `Evidence`).

The network judges a candidate by what such images mostly show. The fit of light asks these pixels:
how many sigma the light of one source has that no neighbour could give, and how far the fit went
from where the network put it.
"""

from __future__ import annotations

import numpy as np

from btk_punet.deblending.light.canvas import Canvas
from btk_punet.deblending.light.fit import SourceFit, unit_diagonal
from btk_punet.deblending.light.profiles import FLUX, N_PARAMETERS, X, Y

# By what share of their light sources are taken to differ from their profiles, pixel by pixel: what
# no smooth profile follows in bright galaxies looks like another source too.
STRUCTURE = 0.4
# How far from a candidate the fit has to follow the pixels [pixel].
EXCESS_PIXELS = 8


def structure_of(weighted: np.ndarray, others: np.ndarray, alone: float) -> float:
    """Return the variance that the structure of other sources adds to a gain, over the noise's.

    Args:
        weighted: Image of a source, times the pixels' weights.
        others: What the other sources shine there [electron].
        alone: The information on the source's flux, if nothing else were unknown.
    """
    each = STRUCTURE * np.maximum(weighted * np.asarray(others, float), 0)
    return float((each**2).sum()) / alone


def fitted_evidence(fit: SourceFit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gain, share and move of each source of a fit that has run, ``(m,)`` each."""
    parameters = fit.parameters
    share = np.ones(len(parameters))
    for group in fit.groups:
        if len(group.members) > 1 and not group.is_broken:
            share[group.members] = _shares(group.matrix)
    gain = np.zeros(len(parameters))
    for source, image in fit.patches():
        box = fit.box(source, len(image))
        weight, _ = fit.canvas.weight_and_residual(box)
        # In units of the source's own light.
        weighted = weight * image
        alone = max(float((weighted * image).sum()), 1e-30)
        structure = structure_of(weighted, fit.canvas.model[box] - image, alone)
        gain[source] = np.sqrt(share[source] * alone / (1 + structure))
    return gain, share, np.hypot(*(parameters[:, [X, Y]] - fit.start[:, [X, Y]]).T)


def chi_squared_excess(
    canvas: Canvas, image: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Return by how much chi squared around places is larger than the number of usable pixels.

    Args:
        canvas: Data and model.
        image: Number of the image of each place, ``(m,)``.
        x: Column [pixel].
        y: Row.
    """
    size = 2 * EXCESS_PIXELS + 1
    line = np.arange(size) - EXCESS_PIXELS
    disc = np.hypot(line, line[:, None]) <= EXCESS_PIXELS
    excess = np.zeros(len(x))
    column, row = (np.floor(place + 0.5).astype(int) for place in (x, y))
    for number, place in enumerate(zip(image, column, row, strict=True)):
        weight, residual = canvas.weight_and_residual(canvas.box(*place, size))
        chi = np.sqrt(weight, dtype=float) * residual  # of which the square is still finite
        excess[number] = (disc * (chi**2 - (weight > 0))).sum()
    return excess


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Return what the other sources of a group leave of the information on each one's flux."""
    n = len(matrix) // N_PARAMETERS
    shares = np.ones(n)
    for one in range(n):
        own = slice(one * N_PARAMETERS, (one + 1) * N_PARAMETERS)
        others = np.delete(np.arange(len(matrix)), own)
        unit, scale = unit_diagonal(matrix[np.ix_(others, others)])
        common = scale * matrix[own.start + FLUX, others]
        information = matrix[own.start + FLUX, own.start + FLUX]
        shares[one] = 1 - common @ np.linalg.solve(unit, common) / max(information, 1e-30)
    return np.clip(shares, 0, 1)
