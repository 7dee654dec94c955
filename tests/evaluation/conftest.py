"""Hand-made scenes: arrays and tables in, BTK batches out, nothing drawn by GalSim."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.survey import get_surveys

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.base import Collected

BACKGROUND = 155.57  # variance of a pixel in BTK's Euclid_VIS [electron^2]
SIZE = 64


def gaussian(x, y, flux, sigma, shape=(SIZE, SIZE), cut=np.inf):
    """Return a noiseless round Gaussian, sampled at pixel centres and cut off at a radius."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    radius2 = (col - x) ** 2 + (row - y) ** 2
    image = flux / (2 * np.pi * sigma**2) * np.exp(-radius2 / (2 * sigma**2))
    return np.where(radius2 <= cut**2, image, 0.0)


def square(x, y, flux_per_pixel, size=SIZE):
    """Return a square of 5 x 5 pixels of the same flux around a pixel; the image may cut it."""
    image = np.zeros((size, size))
    image[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = flux_per_pixel
    return image


def flux_per_pixel_of_snr(snr, n_pixels=25):
    """Return the p for which ``n_pixels`` of flux p have ``snr**2 = n p**2 / (background + p)``."""
    root = np.sqrt(snr**4 + 4 * n_pixels * snr**2 * BACKGROUND)
    return (snr**2 + root) / (2 * n_pixels)


def source_table(x, y, magnitude=None, survey=None):
    """Return a true catalog as BTK makes it, with the magnitude in every filter of the survey."""
    survey = survey or get_surveys("Euclid_VIS")
    x, y = np.asarray(x, float), np.asarray(y, float)
    magnitude = np.full(len(x), 22.0) if magnitude is None else np.asarray(magnitude, float)
    middle = (SIZE - 1) / 2
    scale = survey.pixel_scale.to_value("arcsec")
    table = Table({"ra": (x - middle) * scale, "dec": (y - middle) * scale})
    table["x_peak"], table["y_peak"] = x, y
    for name in survey.available_filters:
        table[f"{name}_ab"] = magnitude
    return table


def blend_batch(catalogs, isolated, images=None, survey=None):
    """Return a batch of scenes.

    Args:
        catalogs: True catalog of each scene.
        isolated: Images of each scene's sources, each of shape (n, H, W) or (n, bands, H, W).
        images: Blends, shape (batch, H, W); by default the sum of the isolated images.
        survey: BTK's Euclid_VIS by default.
    """
    survey = survey or get_surveys("Euclid_VIS")
    n_bands = len(survey.available_filters)
    max_n_sources = max(1, *(len(catalog) for catalog in catalogs))
    all_isolated = np.zeros((len(catalogs), max_n_sources, n_bands, SIZE, SIZE))
    for scene, images_of_scene in enumerate(isolated):
        if len(images_of_scene):
            array = np.asarray(images_of_scene)
            array = array[:, None] if array.ndim == 3 else array
            all_isolated[scene, : len(array)] = array
    return BlendBatch(
        batch_size=len(catalogs),
        max_n_sources=max_n_sources,
        # Half a pixel more, because BTK cuts and int(8.2 / 0.1) is 81.
        stamp_size=(SIZE + 0.5) * survey.pixel_scale.to_value("arcsec"),
        survey=survey,
        blend_images=all_isolated.sum(axis=1) if images is None else np.asarray(images)[:, None],
        isolated_images=all_isolated,
        catalog_list=list(catalogs),
        psf=[survey.get_filter(name).psf for name in survey.available_filters],
    )


def deblend_batch(catalogs, max_n_sources=50):
    """Return what a detector that gives catalogs only hands back."""
    return DeblendBatch(len(catalogs), max_n_sources, list(catalogs), n_bands=1, image_size=SIZE)


def detection_table(batch, x, y, **columns):
    """Return detections as BTK's SEP makes them: negative ra is wrapped at 360 degrees."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    ra, dec = batch.wcs.pixel_to_world_values(x, y) if len(x) else (x, y)
    return Table({"ra": 3600 * ra, "dec": 3600 * dec, "x_peak": x, "y_peak": y, **columns})


def bright_scenes(positions):
    """Return a batch of bright sources, 5 x 5 squares, from a list of (x, y) for each scene."""
    flux = flux_per_pixel_of_snr(50)
    return blend_batch(
        [source_table([x for x, _ in scene], [y for _, y in scene]) for scene in positions],
        [[square(x, y, flux) for x, y in scene] for scene in positions],
    )


def random_scenes(n_scenes, seed, min_number=0):
    """Return a batch of random Gaussians, bright and faint, and detections near some of them."""
    rng = np.random.default_rng(seed)
    catalogs, isolated, found = [], [], []
    for _ in range(n_scenes):
        number = rng.integers(min_number, 6)
        x, y = rng.uniform(0, SIZE - 1, (2, number))
        flux = 10 ** rng.uniform(1.8, 4.5, number)
        catalogs.append(source_table(x, y, 30.0 - 2.5 * np.log10(flux)))
        isolated.append([gaussian(*xyf, 1.5) for xyf in zip(x, y, flux, strict=True)])
        seen = rng.random(number) < 0.6
        offset = rng.normal(0, 1, (2, seen.sum()))
        spurious = rng.uniform(0, SIZE - 1, (2, rng.integers(0, 3)))
        found.append(np.concatenate([np.stack([x[seen], y[seen]]) + offset, spurious], axis=1))
    batch = blend_batch(catalogs, isolated)
    return batch, deblend_batch([detection_table(batch, *positions) for positions in found])


def part_of(batch, deblended, scenes):
    """Return some scenes of a batch, and of what was found in it, as batches of their own."""
    scenes = list(scenes)
    return (
        BlendBatch(
            batch_size=len(scenes),
            max_n_sources=batch.max_n_sources,
            stamp_size=batch.stamp_size,
            survey=batch.survey,
            blend_images=batch.blend_images[scenes],
            isolated_images=batch.isolated_images[scenes],
            catalog_list=[batch.catalog_list[scene] for scene in scenes],
            psf=batch.psf,
        ),
        deblend_batch([deblended.catalog_list[scene] for scene in scenes]),
    )


def limit_by_brute_force(isolated, x, y, background):
    """Return `limit_snr` straight from its definition: all pixels, no groups, no shortcuts."""
    isolated = np.asarray(isolated, float)
    row, col = np.mgrid[: isolated.shape[1], : isolated.shape[2]]
    weight = 1 / np.ravel(background + isolated.sum(axis=0))
    templates = []
    for image, x_source, y_source in zip(isolated, x, y, strict=True):
        gy, gx = np.gradient(image)
        dx, dy = col - x_source, row - y_source
        six = [image, gx, gy, dx * gx + dy * gy, dx * gx - dy * gy, dx * gy + dy * gx]
        templates.append(np.array(six).reshape(6, -1))
    limits = []
    for own, (flux, *_) in enumerate(templates):
        others = [t for other, six in enumerate(templates) if other != own for t in six if t.any()]
        information = flux @ (weight * flux)
        if others:
            r = np.array(others)
            fisher = (r * weight) @ r.T
            norm = np.sqrt(np.diag(fisher))
            inverse = np.linalg.pinv(fisher / np.outer(norm, norm), rcond=1e-9, hermitian=True)
            shared = (r * weight) @ flux / norm
            information -= shared @ inverse @ shared
        limits.append(np.sqrt(max(information, 0.0)))
    return np.array(limits)


@pytest.fixture
def no_screen():
    """Let pyplot draw without a screen, and close its figures after the test."""
    with matplotlib.rc_context():
        matplotlib.use("agg")
        yield
        plt.close("all")


def collected(truth, detections, methods=None, n_scenes=1, **tidy):
    """Return a run from its tidy tables; its methods are those of the tables if None."""
    if methods is None:
        methods = list(dict.fromkeys([*truth["method"], *detections["method"]]))
    tidy |= {"truth": truth, "detections": detections}
    return Collected(methods, n_scenes, tidy)


def tables_of(study, run):
    """Return the tables of a study by name."""
    return {table.name: table for table in study.tables(run)}


# The scene that is counted by hand. Pixels are 0.1 arcsec; every source is a 5 x 5 square.
#
#   source  x   y   alone SNR  I_E    what it is            nearest source with SNR > 2
#   0       20  20  50         22.2   bright, of a pair     1, at 4 pixels
#   1       24  20  12         23.7   its fainter partner   0, at 4 pixels
#   2       40  40  3          25.1   too faint to count    1, at (16, 20) = 25.612 pixels
#   3       40  50  1.5        25.4   too faint to match    2, at 10 pixels
#   4       1   30  25         23.2   cut by the border     0, at (19, 10) = 21.471 pixels
#
#   detection  x   y   what it is                  nearest other detection
#   0          20  21  source 0, 1 pixel off       1, at (2, 1) = 2.236 pixels
#   1          18  20  source 0 a second time      0
#   2          40  40  source 2                    3, at 10 pixels
#   3          40  50  on source 3: spurious       2
#   4          2   30  source 4, just in bounds    1, at (16, 10) = 18.868 pixels
#   5          62  10  spurious, out of bounds     2, at (22, 30) = 37.202 pixels
#   6          61  60  spurious, on a negative     3, at (21, 10) = 23.259 pixels
#                      pixel, just in bounds
#
# So two sources count and one is found; six detections count and three are matched.
FIVE_X, FIVE_Y = [20, 24, 40, 40, 1], [20, 20, 40, 50, 30]
FIVE_SNR = [50.0, 12.0, 3.0, 1.5, 25.0]
FIVE_PIXELS = [25, 25, 25, 25, 20]
FIVE_MAGNITUDE = [22.2, 23.7, 25.1, 25.4, 23.2]
FOUND_X, FOUND_Y = [20, 18, 40, 40, 2, 62, 61], [21, 20, 40, 50, 30, 10, 60]


@pytest.fixture
def five_fluxes():
    """Flux per pixel of the five sources [electron]."""
    return [flux_per_pixel_of_snr(*of) for of in zip(FIVE_SNR, FIVE_PIXELS, strict=True)]


@pytest.fixture
def five_sources(five_fluxes):
    """Return the batch of the scene counted by hand, and its detections."""
    isolated = [square(*xyf) for xyf in zip(FIVE_X, FIVE_Y, five_fluxes, strict=True)]
    image = np.sum(isolated, axis=0)
    image[60, 61] = -10.0
    batch = blend_batch([source_table(FIVE_X, FIVE_Y, FIVE_MAGNITUDE)], [isolated], [image])
    return batch, deblend_batch([detection_table(batch, FOUND_X, FOUND_Y)])


@pytest.fixture
def five_tables(five_sources):
    """Return truth and detections of the scene counted by hand."""
    batch, found = five_sources
    return batch_tables(batch, {"hand": found})
