"""Which pixel belongs to how many sources, from the noiseless image of each one alone."""

import numpy as np

from btk_punet.errors import InputError

# What the classes 0, 1, 2 of `class_map` are called.
CLASS_NAMES = ("background", "isolated", "blended")
_EIGHT_CONNECTED = np.ones((3, 3), int)


def overlap_count(
    isolated: np.ndarray,
    sigma: float | np.ndarray,
    k: float = 1.0,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> np.ndarray:
    """Return how many sources cover each pixel: those of `covered_pixels`.

    Args and errors are those of `covered_pixels`.

    Returns:
        Number of sources in each pixel, int, shape (H, W).
    """
    return covered_pixels(isolated, sigma, k, x, y).sum(axis=0)


def covered_pixels(
    isolated: np.ndarray,
    sigma: float | np.ndarray,
    k: float = 1.0,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> np.ndarray:
    """Return which pixels belong to each source.

    A pixel belongs to a source where its noiseless flux exceeds ``k`` sigma of the background.

    Args:
        isolated: Each source alone [electron], one scene and band, shape (n, H, W).
        sigma: Noise of the background [electron], a number or shape (H, W).
        k: Threshold in units of ``sigma``.
        x: Column of each centre [pixel], shape (n,). Given for real galaxies, whose images hold
            noise: only the connected part that holds the centre then belongs to the source.
        y: Row of each centre [pixel], shape (n,).

    Returns:
        Booleans, shape (n, H, W).

    Raises:
        InputError: for arrays of the wrong shape, or ``x`` without ``y``.
    """
    isolated = check_isolated(isolated)
    if (x is None) != (y is None):
        raise InputError("x and y hold the centres together: give both or neither.")
    covered = isolated > k * check_map(sigma, "sigma", isolated)
    if x is not None and y is not None:
        for mask, column, row in zip(covered, x, y, strict=True):
            mask &= connected_part(mask, column, row)
    return covered


def class_map(
    isolated: np.ndarray,
    sigma: float | np.ndarray,
    k: float = 1.0,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> np.ndarray:
    """Return the class of each pixel: 0 background, 1 one source, 2 two sources or more.

    Args and errors are those of `overlap_count`.

    Returns:
        Class of each pixel, uint8, shape (H, W).
    """
    return np.minimum(overlap_count(isolated, sigma, k, x, y), 2).astype(np.uint8)


def clean_real_galaxies(
    isolated: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: float | np.ndarray
) -> np.ndarray:
    """Return images of real galaxies without the noise that they carry.

    What is kept of each is the connected part above half a sigma of the background that holds
    its centre; the rest is set to 0.

    Args:
        isolated: Each source alone [electron], shape (n, H, W).
        x: Column of each centre [pixel], shape (n,).
        y: Row of each centre [pixel], shape (n,).
        sigma: Noise of the background [electron], a number or shape (H, W).

    Returns:
        Cleaned copy of ``isolated``.
    """
    isolated = check_isolated(isolated)
    kept = [
        np.where(connected_part(image > 0.5 * np.asarray(sigma), column, row), image, 0.0)
        for image, column, row in zip(isolated, x, y, strict=True)
    ]
    return np.array(kept).reshape(isolated.shape)


def connected_part(mask: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return the 8-connected part of a mask that holds a point, empty if the point is outside.

    Args:
        mask: Booleans, shape (H, W).
        x: Column of the point [pixel].
        y: Row of the point [pixel].
    """
    column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    height, width = mask.shape
    if not (0 <= column < width and 0 <= row < height and mask[row, column]):
        return np.zeros_like(mask)
    # Here and not above: a machine that only trains has labels of smooth galaxies, by NumPy alone.
    from scipy import ndimage

    regions, _ = ndimage.label(mask, structure=_EIGHT_CONNECTED)
    return regions == regions[row, column]


def check_map(values: float | np.ndarray, name: str, isolated: np.ndarray) -> np.ndarray:
    """Return a number or a map as an array of shape (H, W), after checking that it fits."""
    values = np.asarray(values, float)
    if values.ndim != 0 and values.shape != isolated.shape[1:]:
        raise InputError(
            f"{name} must be a number or have the shape {isolated.shape[1:]} of the images, got "
            f"{values.shape}."
        )
    return np.broadcast_to(values, isolated.shape[1:])


def check_isolated(isolated: np.ndarray) -> np.ndarray:
    """Return ``isolated`` as an array, after checking that its shape is (n, H, W)."""
    isolated = np.asarray(isolated)
    if isolated.ndim != 3:
        raise InputError(
            "isolated must have the shape (n, H, W), one scene and one band; got "
            f"{isolated.shape}. For a BlendBatch: blend_batch.isolated_images[scene][:n, band]."
        )
    return isolated
