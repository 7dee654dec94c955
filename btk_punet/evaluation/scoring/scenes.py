"""The tidy tables of one scene: what is true of its sources, what its detections measure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import sep
from astropy.table import Table
from btk.blend_batch import BlendBatch
from scipy.spatial import KDTree

from btk_punet.deblending.base import catalog_positions, unwrapped_arcsec
from btk_punet.errors import CatalogError
from btk_punet.evaluation.scoring.limit import limit_snr
from btk_punet.simulation.catalog import half_light_radius_arcsec
from btk_punet.simulation.labels import clean_real_galaxies
from btk_punet.simulation.snr import COUNTS_SNR, NEIGHBOUR_SNR, alone_snr
from btk_punet.simulation.survey import background_variance, magnitude, pixel_scale_arcsec

# Sources and detections this close to the border of the image [pixel] do not count.
EDGE_PIXELS = 2
# The magnitude of a detection, the same for every method, is taken in this aperture.
APERTURE_RADIUS_ARCSEC = 0.5

# Up to so many points the distances of all pairs are faster than a tree.
FEW_POINTS = 100

# The columns of a scene: an array by the name of each, without the time that a DataFrame takes.
Columns = dict[str, np.ndarray]

_CATSIM_SIZES = ("a_d", "b_d", "a_b", "b_b", "fluxnorm_disk", "fluxnorm_bulge")


def split_scenes(
    table: pd.DataFrame, names: Sequence[str], first_scene: int, n_scenes: int
) -> list[Columns]:
    """Return some columns of the rows of each scene, of a table in the order of the scenes."""
    ends = np.searchsorted(table["scene"].to_numpy(), first_scene + np.arange(1, n_scenes))
    split = {name: np.split(table[name].to_numpy(), ends) for name in names}
    return [{name: split[name][scene] for name in names} for scene in range(n_scenes)]


def join_scenes(scenes: Sequence[Columns]) -> Columns:
    """Return the columns of all scenes, one after another; none without scenes."""
    names = scenes[0] if scenes else {}
    return {name: np.concatenate([columns[name] for columns in scenes]) for name in names}


def scene_truth(
    blend_batch: BlendBatch,
    scene: int,
    band: int = 0,
    with_limit: bool = True,
    min_snr: float = COUNTS_SNR,
) -> pd.DataFrame:
    """Return what is true of each source of a scene, whatever the method.

    Args and columns are those of `batch_tables`.
    """
    return pd.DataFrame(truth_columns(blend_batch, scene, band, with_limit, min_snr))


def truth_columns(
    blend_batch: BlendBatch,
    scene: int,
    band: int = 0,
    with_limit: bool = True,
    min_snr: float = COUNTS_SNR,
) -> Columns:
    """Return the columns of `scene_truth`."""
    catalog = blend_batch.catalog_list[scene]
    survey = blend_batch.survey
    n_sources = len(catalog)
    x = np.asarray(catalog["x_peak"], float)
    y = np.asarray(catalog["y_peak"], float)

    alone, limit = np.zeros(n_sources), np.zeros(n_sources)
    clean = []
    for index, name in enumerate(survey.available_filters):
        background = background_variance(survey, survey.get_filter(name))
        images = clean_isolated(blend_batch, scene, index)
        alone += alone_snr(images, background) ** 2
        if with_limit:
            limit += limit_snr(images, x, y, background) ** 2
        clean.append(images)
    alone, limit = np.sqrt(alone), np.sqrt(limit)

    in_bounds = _in_bounds(x, y, blend_batch.image_size)
    filter_name = survey.available_filters[band]
    return {
        "source": np.arange(n_sources),
        "x": x,
        "y": y,
        "ra": np.asarray(catalog["ra"], float),
        "dec": np.asarray(catalog["dec"], float),
        "magnitude": true_magnitudes(catalog, survey.name, filter_name),
        "size_arcsec": _true_sizes(catalog),
        "is_star": (
            np.asarray(catalog["is_star"], bool)
            if "is_star" in catalog.colnames
            else np.zeros(n_sources, bool)
        ),
        "alone_snr": alone,
        "limit_snr": limit if with_limit else np.full(n_sources, np.nan),
        "blendedness": _blendedness(clean[band]),
        "neighbour_distance_arcsec": nearest_distance(x, y, alone > NEIGHBOUR_SNR)
        * pixel_scale_arcsec(survey),
        "in_bounds": in_bounds,
        "counts": in_bounds & (alone > min_snr),
    }


def clean_isolated(blend_batch: BlendBatch, scene: int, band: int) -> np.ndarray:
    """Return the images of the sources of a scene, each alone, without noise of their own.

    Real galaxies, whose images hold noise, are cut to the connected parts at their centres (see
    `clean_real_galaxies`).

    Args:
        blend_batch: The scenes.
        scene: Number of the scene in the batch.
        band: Index of the band.

    Returns:
        Images [electron], shape (n, H, W).
    """
    catalog, survey = blend_batch.catalog_list[scene], blend_batch.survey
    images = blend_batch.isolated_images[scene, : len(catalog), band]
    if not is_real(catalog):
        return images
    background = background_variance(survey, survey.get_filter(survey.available_filters[band]))
    x, y = (np.asarray(catalog[name], float) for name in ("x_peak", "y_peak"))
    return clean_real_galaxies(images, x, y, np.sqrt(background))


def scene_detections(
    blend_batch: BlendBatch, catalog: Table, scene: int, band: int = 0
) -> pd.DataFrame:
    """Return the detections of one method in a scene, with what is measured the same for all.

    Columns are those of `batch_tables`.
    """
    return pd.DataFrame(detection_columns(blend_batch, catalog, scene, band))


def detection_columns(
    blend_batch: BlendBatch, catalog: Table, scene: int, band: int = 0
) -> Columns:
    """Return the columns of `scene_detections`."""
    x, y = catalog_positions(catalog, blend_batch.wcs)
    ra, dec = unwrapped_arcsec(catalog["ra"]), np.asarray(catalog["dec"], float)
    names = set(catalog.colnames).intersection(("x_err", "y_err", "p_detect", "flags"))
    stated = {name: np.asarray(catalog[name]) for name in names}
    places = {"x": x, "y": y, "ra": ra, "dec": dec}
    return measured_columns(blend_batch, scene, band, stated | places)


def measured_columns(
    blend_batch: BlendBatch,
    scene: int,
    band: int,
    stated: Mapping[str, np.ndarray],
) -> Columns:
    """Return the columns of `scene_detections` of places in a scene.

    Args:
        blend_batch: The scenes.
        scene: Number of the scene in the batch.
        band: Index of the band.
        stated: ``x``, ``y`` [pixel], ``ra``, ``dec`` [arcsec], and those of ``x_err``, ``y_err``,
            ``p_detect`` and ``flags`` that there are; shape (m,) each.
    """
    survey = blend_batch.survey
    x, y = stated["x"], stated["y"]
    flux = aperture_flux(blend_batch.blend_images[scene, band], x, y, pixel_scale_arcsec(survey))
    unknown = np.full(len(x), np.nan)
    return {
        "detection": np.arange(len(x)),
        **{name: stated[name] for name in ("x", "y", "ra", "dec")},
        "aperture_flux": flux,
        "magnitude": magnitude(flux, survey.get_filter(survey.available_filters[band])),
        "neighbour_distance_arcsec": nearest_distance(x, y, np.ones(len(x), bool))
        * pixel_scale_arcsec(survey),
        "in_bounds": _in_bounds(x, y, blend_batch.image_size),
        **{
            name: np.asarray(stated.get(name, unknown), float)
            for name in ("x_err", "y_err", "p_detect")
        },
        "flags": np.asarray(stated.get("flags", np.zeros(len(x))), int),
    }


def is_real(catalog: Table) -> bool:
    """Tell whether the sources are real galaxies (of GalSim's catalogs), drawn with their noise."""
    return "GAL_FILENAME" in catalog.colnames


def true_magnitudes(catalog: Table, survey_name: str, filter_name: str) -> np.ndarray:
    """Return the true AB magnitudes of a BTK catalog in one filter.

    CatSim-like catalogs hold ``<filter>_ab``; BTK's COSMOS catalogs ``<survey>_<filter>`` or
    ``MAG``.

    Raises:
        CatalogError: if the catalog has none of these columns.
    """
    names = (f"{filter_name}_ab", f"{survey_name}_{filter_name}", "MAG")
    for name in names:
        if name in catalog.colnames:
            return np.asarray(catalog[name], float)
    raise CatalogError(
        f"The true catalog has no magnitude: expected a column {' or '.join(names)}, got "
        f"{catalog.colnames}."
    )


def nearest_distance(x: np.ndarray, y: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return the distance from each point to the nearest other one that is in use.

    Args:
        x: Columns of the points, shape (n,).
        y: Rows of the points.
        use: Which of them may be neighbours, booleans of shape (n,).

    Returns:
        Distances in the unit of ``x``, infinite where there is no neighbour.
    """
    (used,) = np.nonzero(use)
    if len(used) == 0:
        return np.full(len(x), np.inf)
    if len(x) <= FEW_POINTS:
        square = (x[:, None] - x[used]) ** 2 + (y[:, None] - y[used]) ** 2
        square[used, np.arange(len(used))] = np.inf
        return np.sqrt(square.min(axis=1))
    points = np.stack([x, y], axis=1)
    # Of the nearest two, one is the point itself if that is in use, or else a twin at the very
    # same place: in both cases the other one gives the distance.
    near, which = KDTree(points[used]).query(points, k=2)
    itself = np.append(used, -1)[which[:, 0]] == np.arange(len(x))
    return np.where(itself, near[:, 1], near[:, 0])


def aperture_flux(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, pixel_scale_arcsec: float
) -> np.ndarray:
    """Return the flux [electron] within 0.5 arcsec of each position; unusable pixels count as 0."""
    if len(x) == 0:
        return np.zeros(0)
    image = np.ascontiguousarray(np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0), float)
    flux, _, _ = sep.sum_circle(image, x, y, APERTURE_RADIUS_ARCSEC / pixel_scale_arcsec)
    return flux


def _in_bounds(x: np.ndarray, y: np.ndarray, image_size: int) -> np.ndarray:
    low, high = EDGE_PIXELS, image_size - 1 - EDGE_PIXELS
    return (x >= low) & (x <= high) & (y >= low) & (y <= high)


def _true_sizes(catalog: Table) -> np.ndarray:
    if all(name in catalog.colnames for name in _CATSIM_SIZES):
        return half_light_radius_arcsec(catalog)
    return np.full(len(catalog), np.nan)


def _blendedness(isolated: np.ndarray) -> np.ndarray:
    """Return BTK's ``get_blendedness`` of images of shape (n, H, W), without its large copies."""
    own = np.einsum("nyx,nyx->n", isolated, isolated)
    blended = np.einsum("nyx,yx->n", isolated, isolated.sum(axis=0))
    return 1.0 - np.divide(own, blended, out=np.ones_like(own), where=own != 0)
