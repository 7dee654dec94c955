"""How well a source could be seen at best among neighbours of which nothing is known."""

import numpy as np

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.matching import pair_groups
from btk_punet.simulation.snr import Box, check_scene, light_boxes

# Smallest eigenvalue of the normalised Fisher matrix, relative to the largest, that is inverted:
# what is below cannot be told from rounding.
FISHER_CUTOFF = 1e-9
# A matrix with a condition number below this has no eigenvalue near the cutoff.
WELL_CONDITIONED = 1e8
# Templates of one source: its image, two gradients, and three mixtures of these.
N_TEMPLATES = 6


def limit_snr(
    isolated: np.ndarray, x: np.ndarray, y: np.ndarray, background: float | np.ndarray
) -> np.ndarray:
    """Return with what signal-to-noise ratio each source can be told to be there at all.

    The information limit: the profile of the source is known and its flux is fitted, while flux,
    position, size and ellipticity of every other source are fitted too. With ``F`` the Fisher
    matrix of the source's image (i) and of six templates for each other source (r), it is
    ``sqrt(F_ii - F_ir F_rr^+ F_ri)``. Finding every source above 5, and no other, is the
    information ceiling. It is a yardstick and not a strict bound: of two sources that cannot be
    told apart neither is above 5, and yet one detection matches one of them.

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
        InputError: for arrays of the wrong shape, an image of fewer than 2 x 2 pixels (it has no
            gradients), or a background that is not above 0.
    """
    isolated, background = check_scene(isolated, background)
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != (len(isolated),) or y.shape != x.shape:
        raise InputError(
            f"x and y must have one value for each of the {len(isolated)} sources, got the shapes "
            f"{x.shape} and {y.shape}."
        )
    height, width = isolated.shape[1:]
    if min(height, width) < 2:
        raise InputError(f"Gradients need images of 2 x 2 pixels at least, got {height} x {width}.")
    # The gradients reach one pixel beyond the flux, and look at one more.
    boxes = light_boxes(isolated, margin=2)
    total = np.zeros((height, width))
    for image, box in zip(isolated, boxes, strict=True):
        total[box] += image[box]
    weight = 1.0 / np.sqrt(background + np.maximum(total, 0.0))
    lit = np.array([source for source, (rows, _) in enumerate(boxes) if rows.stop > 0], int)
    templates = []
    for source in lit:
        image = isolated[source][boxes[source]].astype(float)
        gradient_y, gradient_x = np.gradient(image)  # of second order
        six = source_templates(image, gradient_y, gradient_x, x[source], y[source], *boxes[source])
        templates.append(weight[boxes[source]] * six)
    fisher = fisher_matrix(templates, [boxes[source] for source in lit])
    limits = np.zeros(len(isolated))
    for group in overlapping_groups(fisher):
        of_group = fisher[group][:, :, group].reshape((len(group) * N_TEMPLATES,) * 2)
        limits[lit[group]] = _limits_of_group(of_group)
    return limits


def _limits_of_group(fisher: np.ndarray) -> np.ndarray:
    """Return the limits of sources that overlap, from the Fisher matrix of all their templates."""
    limits = np.zeros(len(fisher) // N_TEMPLATES)
    scale = np.sqrt(np.diag(fisher))
    (used,) = np.nonzero(scale > 0)
    scale = scale[used]
    normalised = fisher[np.ix_(used, used)] / np.outer(scale, scale)
    source, kind = np.divmod(used, N_TEMPLATES)
    inverse = _safe_inverse(normalised)
    for own in np.flatnonzero(kind == 0):
        same = source == source[own]
        if inverse is not None:
            (changes,) = np.nonzero(same & (kind > 0))
            remaining = _remaining_from_inverse(inverse, own, changes)
        else:
            (others,) = np.nonzero(~same)
            remaining = _remaining_after_cut(normalised, own, others)
        limits[source[own]] = scale[own] * np.sqrt(max(remaining, 0.0))
    return limits


def _safe_inverse(normalised: np.ndarray) -> np.ndarray | None:
    """Return the inverse of the whole matrix, or None where an eigenvalue is near the cutoff.

    The eigenvalues of a part of a matrix lie between the smallest and largest of the whole: where
    the whole has none near the cutoff, no source's part has, and one inverse serves them all.
    """
    try:
        inverse = np.linalg.inv(normalised)
    except np.linalg.LinAlgError:
        return None
    # At least the ratio of the largest eigenvalue to the smallest.
    condition = np.linalg.norm(normalised) * np.linalg.norm(inverse)
    return inverse if condition < WELL_CONDITIONED else None


def _remaining_after_cut(normalised: np.ndarray, own: int, others: np.ndarray) -> float:
    """Return the share of the information on template ``own`` that ``others`` do not take."""
    shared = normalised[others, own]
    inverse = np.linalg.pinv(normalised[np.ix_(others, others)], FISHER_CUTOFF, hermitian=True)
    return 1.0 - shared @ inverse @ shared


def _remaining_from_inverse(inverse: np.ndarray, own: int, changes: np.ndarray) -> float:
    """Return the same from the inverse of the whole matrix.

    That holds the ``changes`` of the source itself (its position and shape) too, which are known
    and have to be taken out: the inverse of a matrix without some rows and columns is a Schur
    complement of its inverse.
    """
    coupled = inverse[changes, own]
    known = coupled @ np.linalg.solve(inverse[np.ix_(changes, changes)], coupled)
    return 1.0 / (inverse[own, own] - known)


def source_templates(
    image: np.ndarray,
    gradient_y: np.ndarray,
    gradient_x: np.ndarray,
    x: float,
    y: float,
    rows: slice,
    cols: slice,
) -> np.ndarray:
    """Return the six templates of a source, shape (6, h, w), its own image first.

    To first order they change the flux, the position (2), the size and the ellipticity (2).

    Args:
        image: The source alone, in its box, shape (h, w).
        gradient_y: Its gradient along the rows.
        gradient_x: Its gradient along the columns.
        x: Column of its centre in the whole image [pixel].
        y: Row of its centre.
        rows: Rows of the box.
        cols: Columns of the box.
    """
    dx = np.arange(cols.start, cols.stop) - x
    dy = np.arange(rows.start, rows.stop)[:, None] - y
    return np.stack(
        [
            image,
            gradient_x,
            gradient_y,
            dx * gradient_x + dy * gradient_y,
            dx * gradient_x - dy * gradient_y,
            dx * gradient_y + dy * gradient_x,
        ]
    )


def fisher_matrix(templates: list[np.ndarray], boxes: list[Box]) -> np.ndarray:
    """Return the products of all templates, over the pixels that their boxes share.

    Args:
        templates: Those of each source, over the noise, shape (6, h, w).
        boxes: Where each source's lie in the image.

    Returns:
        Array of shape (n, 6, n, 6).
    """
    n_sources = len(templates)
    fisher = np.zeros((n_sources, N_TEMPLATES, n_sources, N_TEMPLATES))
    for first in range(n_sources):
        for second in range(first, n_sources):
            parts = []
            for a, b in ((first, second), (second, first)):
                inside = [
                    slice(max(p.start, q.start) - p.start, max(min(p.stop, q.stop) - p.start, 0))
                    for p, q in zip(boxes[a], boxes[b], strict=True)
                ]
                parts.append(templates[a][:, inside[0], inside[1]].reshape(N_TEMPLATES, -1))
            if parts[0].size:
                product = parts[0] @ parts[1].T
                fisher[first, :, second] = product
                fisher[second, :, first] = product.T
    return fisher


def overlapping_groups(fisher: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the sources of each group that hangs together by shared pixels."""
    linked = (fisher != 0).any(axis=(1, 3)) | np.eye(len(fisher), dtype=bool)
    i, j = np.nonzero(linked)
    return [np.unique(i[group]) for group in pair_groups(i, j)]
