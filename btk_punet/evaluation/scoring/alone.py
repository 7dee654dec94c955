"""Each source of a blend alone, in the same noise: how it is drawn, and whether it is detected."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender

from btk_punet.deblending.base import catalog_positions
from btk_punet.deblending.calling import call_method
from btk_punet.errors import BatchFailedError, InputTypeError, MethodError
from btk_punet.evaluation.scoring.regions import SceneRegions

# A deblender is handed images of at most so many pixels at once (64 MiB of float64), which bounds
# the memory that crowded fields take.
MOST_PIXELS = 2**23


def alone_batches(
    blend_batch: BlendBatch, scenes: np.ndarray, sources: np.ndarray
) -> Iterator[tuple[slice, BlendBatch]]:
    """Draw single sources in the noise of their blends: each blend minus its other sources.

    Args:
        blend_batch: The scenes.
        scenes: Number of the scene of each source that is wanted, shape (m,).
        sources: Number of the source in its scene.

    Yields:
        Which of the m these are, and their images as a batch of blends of one source each, with
        the source's row of the catalog. One batch, or several if the images are many and large.
    """
    size = max(MOST_PIXELS // max(blend_batch.blend_images[0].size, 1), 1)
    for start in range(0, len(scenes), size):
        part = slice(start, min(start + size, len(scenes)))
        of_part, own = scenes[part], sources[part]
        used, which = np.unique(of_part, return_inverse=True)
        noise = blend_batch.blend_images[used] - np.stack(
            [blend_batch.isolated_images[scene].sum(axis=0) for scene in used]
        )
        isolated = blend_batch.isolated_images[of_part, own]
        yield (
            part,
            BlendBatch(
                batch_size=len(own),
                max_n_sources=1,
                stamp_size=blend_batch.stamp_size,
                survey=blend_batch.survey,
                blend_images=noise[which] + isolated,
                isolated_images=isolated[:, None],
                catalog_list=[
                    blend_batch.catalog_list[scene][source : source + 1]
                    for scene, source in zip(of_part, own, strict=True)
                ],
                psf=blend_batch.psf,
            ),
        )


def check_deblender(deblender: Deblender) -> None:
    """Raise InputTypeError unless this is a deblender."""
    if not isinstance(deblender, Deblender):
        raise InputTypeError(
            f"deblender must be an instance of btk.deblend.Deblender, got {deblender!r}; for "
            "example SepDeblender(20)."
        )


def found_alone(
    blend_batch: BlendBatch,
    regions: Sequence[SceneRegions],
    scenes: np.ndarray,
    sources: np.ndarray,
    deblenders: Mapping[str, Deblender],
    radius_pixels: float,
) -> dict[str, np.ndarray]:
    """Tell which sources each method detects when they are drawn alone.

    Args:
        blend_batch: The scenes.
        regions: The regions of each.
        scenes: Number of the scene of each source that is wanted, shape (m,).
        sources: Number of the source in its scene.
        deblenders: The deblender of each method, by its name.
        radius_pixels: Matching radius.

    Returns:
        Booleans of shape (m,) for each method.

    Raises:
        BatchFailedError: if a deblender fails.
        MethodError: if it changes the images, or returns what cannot be used.
    """
    found = {method: np.zeros(len(scenes), bool) for method in deblenders}
    for part, alone in alone_batches(blend_batch, scenes, sources):
        for method, deblender in deblenders.items():
            catalogs = _run_alone(method, deblender, alone)
            positions = [catalog_positions(catalog, alone.wcs) for catalog in catalogs]
            found[method][part] = [
                regions[scene].detects(source, x, y, radius_pixels)
                for scene, source, (x, y) in zip(
                    scenes[part], sources[part], positions, strict=True
                )
            ]
    return found


def _run_alone(method: str, deblender: Deblender, alone: BlendBatch) -> list[Table]:
    """Return the catalogs of a deblender."""
    try:
        return call_method(deblender, alone, method).catalog_list
    except MethodError:
        raise
    except Exception as error:
        raise BatchFailedError(
            f"{deblender!r} failed on {alone.batch_size} images of single sources, which are "
            f"blends minus their other sources: {type(error).__name__}: {error} -- set it so that "
            "it returns a catalog for such images too (of length 0, if need be)."
        ) from error
