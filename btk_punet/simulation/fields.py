"""Images of the sky of any size, drawn source by source: no stamp of each is kept."""

from __future__ import annotations

import math

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from btk.survey import Survey

from btk_punet.errors import InputError
from btk_punet.simulation.catalog import EuclidCatalog, galaxies_per_arcmin2
from btk_punet.simulation.rendering import source_components, stamp_renderer
from btk_punet.simulation.survey import (
    background_variance,
    flux_electrons,
    get_euclid_survey,
    pixel_scale_arcsec,
    reference_band,
)

# Sources this far outside of the image [pixel] still light it.
MARGIN_PIXELS = 64


def draw_field(
    shape: tuple[int, int],
    catalog: EuclidCatalog | None = None,
    survey: Survey | None = None,
    density_per_arcmin2: float | None = None,
    faintest: float = 26.5,
    seed: int = 0,
    centre_deg: tuple[float, float] = (150.0, 2.0),
) -> tuple[np.ndarray, Table, WCS]:
    """Draw a field of galaxies at random places, as an image of a survey.

    Memory is that of the image, whatever the number of sources (BTK's blends hold an image of each
    source). Its noise is Poisson's of sky and sources, and the read noise of the survey.

    Args:
        shape: Rows and columns [pixel].
        catalog: The galaxies; 30,000 simulated ones of the seed if None.
        survey: The survey, of whose reference band the image is; Euclid's Wide stack of four
            exposures if None.
        density_per_arcmin2: Sources to the faintest magnitude; the sky's if None.
        faintest: Faintest magnitude.
        seed: Seed of places, galaxies and noise.
        centre_deg: Right ascension and declination of the middle of the image [deg].

    Returns:
        The image [electron], float32 ``(H, W)``, with the sky subtracted; the sources, with the
        columns of the catalog and ``x``, ``y`` [pixel, 0-based], ``ra``, ``dec`` [deg] and
        ``flux`` [electron]; and the world coordinates, a gnomonic projection with north up.

    Raises:
        InputError: if the shape is none, or no source of the catalog is bright enough.
    """
    height, width = (int(n) for n in shape)
    if min(height, width) < 1:
        raise InputError(f"Expected a shape of at least one row and column, got {shape}.")
    catalog = catalog or EuclidCatalog.simulate(30_000, seed)
    survey = survey or get_euclid_survey(4)
    band = survey.get_filter(survey.available_filters[reference_band(survey)])
    scale = pixel_scale_arcsec(survey)
    if density_per_arcmin2 is None:
        density_per_arcmin2 = galaxies_per_arcmin2(faintest)
    rng = np.random.default_rng(seed)
    magnitude = np.asarray(catalog.table[f"{band.name}_ab"])
    (rows,) = np.nonzero(magnitude < faintest)
    if not len(rows):
        raise InputError(f"No source of the catalog is brighter than {faintest} mag: raise it.")
    area = (height + 2 * MARGIN_PIXELS) * (width + 2 * MARGIN_PIXELS) * (scale / 60) ** 2
    number = rng.poisson(density_per_arcmin2 * area)
    truth = catalog.table[rng.choice(rows, number)]
    truth["x"] = rng.uniform(-MARGIN_PIXELS - 0.5, width + MARGIN_PIXELS - 0.5, number)
    truth["y"] = rng.uniform(-MARGIN_PIXELS - 0.5, height + MARGIN_PIXELS - 0.5, number)
    truth["flux"] = flux_electrons(np.asarray(truth[f"{band.name}_ab"]), band)

    variance = background_variance(survey, band)
    psf = band.psf(survey, band) if callable(band.psf) else band.psf
    renderer = stamp_renderer(psf, scale, math.sqrt(variance))
    image = np.zeros((height, width), np.float32)
    larger = max(height, width)
    for row in truth:
        source = dict(zip(truth.colnames, row, strict=True))
        parts = source_components(source, float(source["flux"]))
        drawn = renderer.draw(parts, source["x"], source["y"], larger) if parts else None
        if drawn is not None:
            # The renderer takes images to be square.
            pixels, lines, columns = drawn
            target = image[lines, columns]
            target += pixels[: target.shape[0], : target.shape[1]]
    for line in image:  # row by row, so that no second image is held
        mean = np.maximum(line, 0) + variance
        line += rng.poisson(mean) - mean
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = centre_deg
    wcs.wcs.crpix = (width + 1) / 2, (height + 1) / 2
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    wcs.array_shape = height, width
    truth["ra"], truth["dec"] = wcs.all_pix2world(truth["x"], truth["y"], 0)
    return image, truth, wcs
