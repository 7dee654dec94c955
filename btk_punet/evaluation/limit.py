"""How well a source could be seen at best: alone in the image, and among unknown neighbours."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from btk_punet.errors import InputError
from btk_punet.simulation.labels import check_isolated

# Smallest eigenvalue of the normalised Fisher matrix, relative to the largest, that is inverted:
# what is below cannot be told from rounding.
FISHER_CUTOFF = 1e-9


def alone_snr(isolated: np.ndarray, background: float | np.ndarray) -> np.ndarray:
    """Return the signal-to-noise ratio of each source if it were alone.

    ``sqrt(sum f^2 / (background + f))`` over the pixels, with ``f`` the noiseless flux: that of a
    flux fitted with the true profile.

    Args:
        isolated: Each source alone, noiseless [electron], one scene and band, shape (n, H, W).
            Bands add in quadrature.
        background: Variance without the sources [electron^2], a number or shape (H, W).

    Returns:
        One value a source, shape (n,).

    Raises:
        InputError: for arrays of the wrong shape, or a background that is not above 0.
    """
    isolated, background = _check(isolated, background)
    variance = background + np.maximum(isolated, 0.0)
    return np.sqrt((isolated**2 / variance).sum(axis=(1, 2)))


def limit_snr(
    isolated: np.ndarray, x: np.ndarray, y: np.ndarray, background: float | np.ndarray
) -> np.ndarray:
    """Return with what signal-to-noise ratio each source can be told to be there at all.

    The information limit: the profile of the source is known and its flux is fitted, while flux,
    position, size and ellipticity of every other source are fitted too. With ``F`` the Fisher
    matrix of the source's image (i) and of six templates for each other source (r), it is
    ``sqrt(F_ii - F_ir F_rr^+ F_ri)``. No detector that knows less can do better; one that finds
    every source above 5 and no other would reach the information ceiling.

    Args:
        isolated: Each source alone, noiseless [electron], one scene and band, shape (n, H, W).
            Bands add in quadrature.
        x: Column of each centre [pixel], shape (n,).
        y: Row of each centre [pixel], shape (n,).
        background: Variance without the sources [electron^2], a number or shape (H, W).

    Returns:
        One value a source, shape (n,); at most `alone_snr` without the others' photon noise, and
        0 where the source has no flux on the image.

    Raises:
        InputError: for arrays of the wrong shape, or a background that is not above 0.
    """
    isolated, background = _check(isolated, background)
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != (len(isolated),) or y.shape != x.shape:
        raise InputError(
            f"x and y must have one value for each of the {len(isolated)} sources, got the shapes "
            f"{x.shape} and {y.shape}."
        )
    limits = np.zeros(len(isolated))
    if len(isolated) == 0:
        return limits
    weight = 1.0 / np.sqrt(background + np.maximum(isolated.sum(axis=0), 0.0))
    for group in _overlapping_groups(isolated):
        rows, cols = _bounding_box(isolated[group])
        templates = _templates(isolated[group][:, rows, cols], x[group], y[group], rows, cols)
        weighted = (templates * weight[rows, cols]).reshape(len(group) * 6, -1)
        limits[group] = _limits_of_group(weighted @ weighted.T)
    return limits


def _limits_of_group(fisher: np.ndarray) -> np.ndarray:
    """Return the limits of sources that overlap, from the Fisher matrix of all their templates."""
    n_sources = len(fisher) // 6
    limits = np.zeros(n_sources)
    for source in range(n_sources):
        own = 6 * source
        signal = fisher[own, own]
        if signal <= 0:
            continue
        others = np.delete(np.arange(len(fisher)), np.s_[own : own + 6])
        scale = np.sqrt(np.diag(fisher)[others])
        others, scale = others[scale > 0], scale[scale > 0]
        if len(others):
            normalised = fisher[np.ix_(others, others)] / np.outer(scale, scale)
            shared = fisher[others, own] / scale
            inverse = np.linalg.pinv(normalised, rcond=FISHER_CUTOFF, hermitian=True)
            signal -= shared @ inverse @ shared
        limits[source] = np.sqrt(max(signal, 0.0))
    return limits


def _templates(
    isolated: np.ndarray, x: np.ndarray, y: np.ndarray, rows: slice, cols: slice
) -> np.ndarray:
    """Return the six templates of each source, shape (n, 6, h, w), its own image first.

    To first order they change the flux, the position (2), the size and the ellipticity (2).
    """
    gradient_y, gradient_x = np.gradient(isolated, axis=(1, 2))
    dx = np.arange(cols.start, cols.stop) - x[:, None, None]
    dy = np.arange(rows.start, rows.stop)[:, None] - y[:, None, None]
    return np.stack(
        [
            isolated,
            gradient_x,
            gradient_y,
            dx * gradient_x + dy * gradient_y,
            dx * gradient_x - dy * gradient_y,
            dx * gradient_y + dy * gradient_x,
        ],
        axis=1,
    )


def _overlapping_groups(isolated: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the sources of each connected group; sources without flux are in none.

    Two sources overlap where both have flux, or where the gradient of one reaches the other.
    """
    touched = isolated != 0
    reached = touched.copy()
    reached[:, 1:] |= touched[:, :-1]
    reached[:, :-1] |= touched[:, 1:]
    reached[:, :, 1:] |= touched[:, :, :-1]
    reached[:, :, :-1] |= touched[:, :, 1:]
    flat = reached.reshape(len(isolated), -1).astype(np.float32)
    first, second = np.nonzero(flat @ flat.T)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(isolated),) * 2)
    _, group_of = connected_components(graph, directed=False)
    lit = touched.any(axis=(1, 2))
    groups = (np.flatnonzero((group_of == group) & lit) for group in np.unique(group_of[lit]))
    return list(groups)


def _bounding_box(isolated: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns, two at least, that hold all flux and its gradients."""
    lit = (isolated != 0).any(axis=0)
    slices = []
    for axis, length in enumerate(lit.shape):
        (lines,) = np.nonzero(lit.any(axis=1 - axis))
        start, stop = max(lines[0] - 1, 0), min(lines[-1] + 2, length)
        slices.append(slice(max(min(start, stop - 2), 0), max(stop, 2)))
    return slices[0], slices[1]


def _check(isolated: np.ndarray, background: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    isolated = check_isolated(isolated).astype(float)
    background = np.broadcast_to(np.asarray(background, float), isolated.shape[1:])
    if not (background > 0).all():
        raise InputError(
            "background, the variance of a pixel without sources, must be above 0 electron^2 "
            "everywhere."
        )
    return isolated, background
