"""The signal-to-noise ratio of a source if it were alone, and from which one on it matters."""

import numpy as np

from btk_punet.errors import InputError
from btk_punet.simulation.labels import check_isolated, check_map
from btk_punet.simulation.thresholds import COUNTS_SNR as COUNTS_SNR
from btk_punet.simulation.thresholds import NEIGHBOUR_SNR as NEIGHBOUR_SNR

# Rows and columns of the pixels that hold the light of one source.
Box = tuple[slice, slice]


def alone_snr(isolated: np.ndarray, background: float | np.ndarray) -> np.ndarray:
    """Return the signal-to-noise ratio of each source if it were alone.

    ``sqrt(sum f^2 / (background + f))`` over the pixels, with ``f`` the noiseless flux: that of a
    flux fitted with the true profile.

    Args:
        isolated: Each source alone, noiseless [electron], one scene and band, shape (n, H, W).
            Bands add in quadrature.
        background: Variance without the sources [electron^2], a number or shape (H, W).

    Returns:
        One value per source, shape (n,).

    Raises:
        InputError: for arrays of the wrong shape, or a background that is not above 0.
    """
    isolated, background = check_scene(isolated, background)
    snr = np.zeros(len(isolated))
    for source, box in enumerate(light_boxes(isolated)):
        flux = isolated[source][box].astype(float)
        snr[source] = np.sqrt((flux**2 / (background[box] + np.maximum(flux, 0.0))).sum())
    return snr


def light_boxes(isolated: np.ndarray, margin: int = 0) -> list[Box]:
    """Return the smallest box around each source's flux and a margin; empty without flux."""
    lit = isolated != 0
    boxes = []
    for lines in zip(lit.any(axis=2), lit.any(axis=1), strict=True):
        box = []
        for line in lines:
            (inside,) = np.nonzero(line)
            start, stop = (inside[0] - margin, inside[-1] + 1 + margin) if len(inside) else (0, 0)
            box.append(slice(max(start, 0), min(stop, len(line))))
        boxes.append((box[0], box[1]))
    return boxes


def check_scene(
    isolated: np.ndarray, background: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of a scene and its background as arrays, after checking them."""
    isolated = check_isolated(isolated)
    if not np.isfinite(isolated).all():
        raise InputError("isolated, noiseless images, must hold finite numbers only.")
    background = check_map(background, "background", isolated)
    if not (background > 0).all():
        raise InputError(
            "background, the variance of a pixel without sources, must be above 0 electron^2 "
            "everywhere."
        )
    return isolated, background
