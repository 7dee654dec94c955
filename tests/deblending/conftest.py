"""Hand-made blend batches: arrays in, `BlendBatch` out, no drawing and no catalogs of galaxies."""

import os

import btk.survey
import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import BlendBatch

from btk_punet.deblending.source_extractor import SourceExtractorDeblender

SIGMA = np.sqrt(155.57)  # electrons; the sky of one Euclid exposure, as in BTK's Euclid_VIS
PIXEL_SCALE_ARCSEC = 0.1

# On a user's machine the tests of the program are skipped where it is missing, in CI they fail.
needs_source_extractor = pytest.mark.skipif(
    not SourceExtractorDeblender.is_available() and not os.environ.get("CI"),
    reason="the program source-extractor is not installed",
)


def make_batch(images, survey=None, max_n_sources=10):
    """Wrap images `(n, H, W)`, or `(n, bands, H, W)`, in a batch."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[:, None]
    n, bands, size, _ = images.shape
    survey = survey or btk.survey.get_surveys("Euclid_VIS")
    return BlendBatch(
        batch_size=n,
        max_n_sources=max_n_sources,
        # Half a pixel more, because BTK cuts and int(8.2 / 0.1) is 81.
        stamp_size=(size + 0.5) * survey.pixel_scale.to_value("arcsec"),
        survey=survey,
        blend_images=images,
        isolated_images=np.zeros((n, max_n_sources, bands, size, size), dtype=np.float32),
        catalog_list=[Table({"ra": [0.0], "dec": [0.0]}) for _ in range(n)],
        psf=[survey.get_filter(band).psf for band in survey.available_filters],
    )


def gaussian(x, y, flux, size=64, fwhm=4.0, axis_ratio=1.0):
    """Return a noiseless Gaussian at a pixel position, longer along x."""
    s = fwhm / 2.3548
    row, column = np.mgrid[:size, :size]
    radius2 = axis_ratio * (column - x) ** 2 + (row - y) ** 2 / axis_ratio
    return flux / (2 * np.pi * s**2) * np.exp(-radius2 / (2 * s**2))


def add_noise(image, rng):
    """Draw photons and sky as BTK does, and subtract the sky."""
    return (rng.poisson(image + SIGMA**2) - SIGMA**2).astype(np.float32)


def random_scenes(n, seed, size=64):
    """Return noisy groups `(n, size, size)` of one to six galaxies, bright and faint."""
    rng = np.random.default_rng(seed)
    scenes = []
    for _ in range(n):
        image = np.zeros((size, size))
        for _ in range(rng.integers(1, 7)):
            x, y = rng.uniform(0.25 * size, 0.75 * size, 2)
            flux, fwhm = 10 ** rng.uniform(2.8, 4.8), rng.uniform(2.5, 8)
            image += gaussian(x, y, flux, size, fwhm, rng.uniform(0.4, 1))
        scenes.append(add_noise(image, rng))
    return np.array(scenes)
