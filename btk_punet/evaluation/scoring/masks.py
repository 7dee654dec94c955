"""Outlines of sources: how much two of them share, and what there would be without deblending."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from btk_punet.errors import InputError

_EIGHT_CONNECTED = np.ones((3, 3), int)


class Undeblended(NamedTuple):
    """What each source of a scene would have got if nothing had been deblended; shape (n,) each.

    Attributes:
        x: Column of the region's centroid [pixel]; infinite for a source on no region.
        y: Row of the region's centroid [pixel].
        iou: Intersection over union of the region and the source's footprint; 0 on no region.
        deblended: Whether the region holds another mask than that of the source's match, so that
            the detector did take something apart there.
    """

    x: np.ndarray
    y: np.ndarray
    iou: np.ndarray
    deblended: np.ndarray


def overlapped(masks: np.ndarray) -> np.ndarray:
    """Return which masks share a pixel with another one of them.

    Args:
        masks: Booleans, shape (n, H, W).

    Returns:
        Booleans, shape (n,).
    """
    return (masks & (masks.sum(axis=0) > 1)).any(axis=(1, 2))


def shared_pixels(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how many pixels each mask shares with each of others.

    Args:
        masks: Booleans, shape (n, H, W).
        others: Booleans, shape (m, H, W).

    Returns:
        Numbers of pixels, int, shape (n, m).

    Raises:
        InputError: for arrays of the wrong shape.
    """
    masks, others = _check_masks(masks), _check_masks(others)
    if masks.shape[1:] != others.shape[1:]:
        raise InputError(
            "Masks that are compared must be of the same image, got images of "
            f"{masks.shape[1:]} and {others.shape[1:]} pixels."
        )
    both = masks.any(axis=0) & others.any(axis=0)
    # Products of floats are fast, and exact for counts below 2**24.
    return (masks[:, both].astype(np.float32) @ others[:, both].astype(np.float32).T).astype(int)


def mask_iou(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each mask and each of others; 0 where both are empty.

    Args and errors are those of `shared_pixels`.

    Returns:
        Numbers from 0 to 1, shape (n, m).
    """
    shared = shared_pixels(masks, others)
    sizes, other_sizes = (np.sum(of, axis=(1, 2), dtype=int) for of in (masks, others))
    union = sizes[:, None] + other_sizes[None, :] - shared
    return np.divide(shared, union, out=np.zeros(union.shape), where=union > 0)


def undeblended(
    masks: np.ndarray, footprints: np.ndarray, detection: np.ndarray, image: np.ndarray
) -> Undeblended:
    """Return what each source of a scene would have got if nothing had been deblended.

    All masks together are then one object for each 8-connected region that they cover. A source
    belongs to the region that shares the most pixels with its true footprint, to none if no
    region shares any. The region's position is the centroid of its light (negative pixels, and
    those without a usable value, count as 0), or of its pixels where there is no light.

    Args:
        masks: All masks of the detector, booleans of shape (m, H, W).
        footprints: True footprints of sources, booleans of shape (n, H, W).
        detection: Index of each source's match among the masks, shape (n,).
        image: The blend [electron], shape (H, W).
    """
    numbers, n_regions = ndimage.label(_check_masks(masks).any(axis=0), structure=_EIGHT_CONNECTED)
    regions = numbers == np.arange(n_regions + 1)[:, None, None]
    regions[0] = False  # the background stands for "no region"
    region = shared_pixels(footprints, regions).argmax(axis=1)
    touches = shared_pixels(masks, regions) > 0
    x, y = _centroids(numbers, n_regions, image)
    return Undeblended(
        x[region],
        y[region],
        mask_iou(footprints, regions)[np.arange(len(region)), region],
        touches.sum(axis=0)[region] > touches[detection, region],
    )


def _centroids(
    numbers: np.ndarray, n_regions: int, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row of the light of each region; infinite for number 0, the background."""
    light = np.maximum(np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0), 0.0).ravel()
    flat = numbers.ravel()
    dark = np.bincount(flat, light, n_regions + 1) == 0
    light = np.where(dark[flat], 1.0, light)
    total = np.bincount(flat, light, n_regions + 1)
    row, column = np.indices(numbers.shape).reshape(2, -1)
    centroids = np.full((2, n_regions + 1), np.inf)
    for centroid, place in zip(centroids, (column, row), strict=True):
        centroid[1:] = np.bincount(flat, light * place, n_regions + 1)[1:] / total[1:]
    return centroids[0], centroids[1]


def _check_masks(masks: np.ndarray) -> np.ndarray:
    masks = np.asarray(masks)
    if masks.ndim != 3 or masks.dtype != bool:
        raise InputError(
            "Masks must be booleans of shape (n, H, W), one scene; got "
            f"{masks.dtype} of shape {masks.shape}. Of a DeblendBatch: "
            "deblend_batch.segmentation[scene]."
        )
    return masks
