"""Inject a source into each of some images, and tell whether a detector finds it.

The images may be simulated or real, and what is in them need not be known: what the detector finds
there without the source are its neighbours.

An injected source counts where all places at which a detection could be matched to it are in
bounds: at least the matching radius and 2 pixels from the border. Nearer to it, part of those
places may lie outside of the image, where nothing is ever detected, and the source would be
counted as lost for no fault of the detector.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from tqdm.auto import tqdm

from btk_punet.deblending.base import catalog_positions
from btk_punet.deblending.calling import call_method
from btk_punet.errors import InputError, InputTypeError
from btk_punet.evaluation.scoring.alone import check_deblender
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.scoring.scenes import (
    EDGE_PIXELS,
    nearest_distance,
    scene_truth,
)
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import pixel_scale_arcsec, reference_band


def inject(blend_batch: BlendBatch, sources: BlendBatch) -> BlendBatch:
    """Add the images of a batch of sources to those of another batch.

    Args:
        blend_batch: Images of any kind; their catalogs are not used.
        sources: As many images of the same survey and size, without background noise (of a
            generator with ``add_noise="galaxy"``).

    Returns:
        The images with the sources, and the truth of these alone.

    Raises:
        InputError: if the two differ in survey, number or size of the images.
    """
    shapes = blend_batch.blend_images.shape, sources.blend_images.shape
    surveys = blend_batch.survey.name, sources.survey.name
    if shapes[0] != shapes[1] or surveys[0] != surveys[1]:
        raise InputError(
            f"Expected sources for images of {surveys[0]} of the shape {shapes[0]}, got "
            f"{surveys[1]} and {shapes[1]}: draw them with the same survey, stamp_size and number."
        )
    return BlendBatch(
        batch_size=sources.batch_size,
        max_n_sources=sources.max_n_sources,
        stamp_size=sources.stamp_size,
        survey=blend_batch.survey,
        blend_images=blend_batch.blend_images + sources.blend_images,
        isolated_images=sources.isolated_images,
        catalog_list=sources.catalog_list,
        psf=blend_batch.psf,
    )


def selection_table(
    deblender: Deblender,
    blend_batches: Iterable[BlendBatch],
    generator: SceneGenerator,
    radius_arcsec: float = 0.3,
    progress: bool = True,
) -> pd.DataFrame:
    """Inject one source into each image, and tell whether it is found.

    The detections with the sources are matched to the injected source and to the detections
    without it, one to one (see `Matcher`): a source on top of a neighbour is found if there are
    two detections afterwards, or if the only one is nearer to it.

    Args:
        deblender: The detector.
        blend_batches: Batches of images, from a generator or of your own (see `image_batch`); the
            same images may come again and again, for other sources to be injected.
        generator: Draws the sources to inject, one or none per image, on the images' survey and
            stamp size, with ``add_noise="galaxy"``; best with `EuclidInjectionSampling` (another
            sampling function needs another seed than the images have: with theirs, each source
            would fall where one of the image is). Its batch ``i`` goes to the i-th batch of
            images.
        radius_arcsec: Matching radius [arcsec].
        progress: Whether to show a progress bar.

    Returns:
        One row per injected source, the columns of the truth table of `batch_tables` but
        ``limit_snr`` and ``blendedness``, with ``neighbour_distance_arcsec`` to the nearest
        detection without it, ``counts`` where it is in bounds with the matching radius to
        spare, however faint, ``matched`` where it is found, and ``p_detect`` of its detection
        (NaN where there is none). So `selection_tables` of it gives the probability to be found,
        in bins of one quantity or two, and `SelectionDisplay` draws it.

    Raises:
        InputError: if the generator draws other images, more than one source in one, or
            background noise; for a matching radius that leaves no place where a source counts.
        InputTypeError: for something else than a deblender and a `SceneGenerator`.
    """
    check_deblender(deblender)
    if not isinstance(generator, SceneGenerator):
        raise InputTypeError(
            f"generator must be a SceneGenerator such as EuclidGenerator, got {generator!r}."
        )
    if generator.add_noise not in ("galaxy", "none"):
        raise InputError(
            "The images that sources are injected into have their noise: draw the sources with "
            f'add_noise="galaxy", got {generator.add_noise!r}.'
        )
    tables, first = [], 0
    for number, images in enumerate(tqdm(blend_batches, unit="batch", disable=not progress)):
        sources = generator.draw_batch(number, images.batch_size)
        tables.append(batch_selection(deblender, images, sources, first, radius_arcsec))
        first += images.batch_size
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def batch_selection(
    deblender: Deblender,
    images: BlendBatch,
    sources: BlendBatch,
    first_scene: int = 0,
    radius_arcsec: float = 0.3,
) -> pd.DataFrame:
    """Inject one source, or none, into each image of a batch, and tell whether it is found.

    Args:
        deblender: The detector.
        images: The images.
        sources: As for `inject`.
        first_scene: Number of the first image.
        radius_arcsec: Matching radius [arcsec].

    Returns:
        The columns of `selection_table`.

    Raises:
        InputError: as `inject`; if there is more than one source for an image, or no place on the
            images is the matching radius away from their border.
        MethodError: if the detector changes the images, or returns what cannot be used.
    """
    with_sources = inject(images, sources)
    matcher = Matcher(radius_arcsec, pixel_scale_arcsec(images.survey))
    margin = EDGE_PIXELS + radius_arcsec / matcher.pixel_scale_arcsec
    last = images.image_size - 1
    if 2 * margin > last:
        raise InputError(
            f"A matching radius of {radius_arcsec} arcsec leaves no place on images of "
            f"{images.image_size} pixels where an injected source counts: expected at most "
            f"{(last / 2 - EDGE_PIXELS) * matcher.pixel_scale_arcsec:g} arcsec."
        )
    before, after = (call_method(deblender, batch).catalog_list for batch in (images, with_sources))
    tables = []
    for scene in range(images.batch_size):
        truth = scene_truth(with_sources, scene, reference_band(images.survey), False)
        if len(truth) > 1:
            raise InputError(
                f"Expected one source at most to inject into an image, got {len(truth)}: give "
                "the generator a sampling function of one source (max_number=1)."
            )
        own, found = (
            catalog_positions(catalogs[scene], images.wcs) for catalogs in (before, after)
        )
        rows = _found(truth, own, found, after[scene], matcher)
        inside = rows[["x", "y"]].ge(margin) & rows[["x", "y"]].le(last - margin)
        rows["counts"] = inside.all(axis=1)
        rows.insert(0, "scene", first_scene + scene)
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def _found(truth, own, found, catalog, matcher: Matcher) -> pd.DataFrame:
    """Return the row of an injected source, if there is one, with what became of it.

    Args:
        truth: Its row of `scene_truth`.
        own: Columns and rows of the detections without it.
        found: Columns and rows of those with it.
        catalog: The catalog of those with it.
        matcher: Does the matching.
    """
    rows = truth.drop(columns=["limit_snr", "blendedness"])
    if rows.empty:
        return rows.assign(matched=False, p_detect=np.nan).astype({"matched": bool})
    x, y = (np.append(truth[name].to_numpy(), own[i]) for i, name in enumerate("xy"))
    source, detection = matcher.match_positions(x, y, *found)
    (own_place,) = np.nonzero(source == 0)
    p_detect = np.nan
    if len(own_place) and "p_detect" in catalog.colnames:
        p_detect = float(catalog["p_detect"][detection[own_place[0]]])
    distance = nearest_distance(x, y, np.arange(len(x)) > 0)[0]
    return rows.assign(
        neighbour_distance_arcsec=distance * matcher.pixel_scale_arcsec,
        matched=len(own_place) > 0,
        p_detect=p_detect,
    )
