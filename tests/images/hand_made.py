"""Detections made by hand: four sources at known places in a field of 160 x 200 pixels."""

import dataclasses

import galsim
import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.images.detections import Detections
from btk_punet.images.maps import MAPS
from btk_punet.images.sky import sky_columns
from btk_punet.images.sky_image import open_image

SHAPE = (160, 200)
X, Y = np.array([50.0, 54.0, 120.5, 199.0]), np.array([40.0, 42.0, 100.25, 3.0])
P = np.array([0.99, 0.95, 0.8, 0.55])
FLAGS = np.array([0, int(DetectionFlag.BAD_PIXEL), int(DetectionFlag.NOISE_ESTIMATED), 5])


def world(frame="RA---TAN", angle_deg=0.0):
    """Pixels of 0.1 arcsec, north turned by an angle from up to the left; radesys ICRS."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = frame, frame.replace("RA--", "DEC-").replace("GLON", "GLAT")
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = 100.5, 80.5
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    wcs.wcs.cd = np.array([[-c, -s], [-s, c]]) @ np.diag([0.1, 0.1]) / 3600
    return wcs


def sky_image(bad=np.s_[0:0], **options):
    """The field: noise of 2, a bright pixel at each source, and pixels that are NaN."""
    pixels = np.random.default_rng(1).normal(0, 2, SHAPE)
    pixels[np.round(Y).astype(int), np.round(X).astype(int)] += 200
    pixels[bad] = np.nan
    options = {"psf": galsim.Gaussian(fwhm=0.2), "background": None, "rms": 2.0} | options
    return open_image(pixels, wcs=world(), gain=1.0, zeropoint=25.0, **options)


def detections(n=4, wcs="default", region=None, image=None):
    """The first n of the sources; labels are squares of 5 pixels, the second hides by the first."""
    wcs = world() if isinstance(wcs, str) else wcs
    region = region or (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    x, y = X[:n], Y[:n]
    labels, hidden = np.zeros(SHAPE, np.int32), []
    for number in range(n, 0, -1):
        row, column = int(round(Y[number - 1])), int(round(X[number - 1]))
        labels[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = number
    if n > 1:
        hidden = [(2, row, 52) for row in (40, 41, 42)]
    own = {"RA": [], "DEC": [], "RA_err": [], "DEC_err": []}
    if wcs is not None:
        own = sky_columns(wcs, x, y, 0.1 * np.ones(n), 0.2 * np.ones(n))
    catalog = QTable({"id": np.arange(1, n + 1, dtype=np.int32)})
    for name, values in own.items():
        if wcs is not None:
            catalog[name] = values
    values = {"x_peak": x, "y_peak": y, "x_err": 0.1 * np.ones(n), "y_err": 0.2 * np.ones(n)}
    for name, column in values.items():
        catalog[name] = column * u.pix
    catalog["p_detect"], catalog["p_blend"] = P[:n], np.zeros(n)
    flux = 100.0 * np.arange(1, n + 1)
    catalog["flux"], catalog["flux_err"] = flux * u.electron, 3 * np.ones(n) * u.electron
    catalog["mag_IE"] = (25 - 2.5 * np.log10(flux)) * u.ABmag
    catalog["mag_err_IE"] = 0.1 * np.ones(n) * u.mag
    catalog["flux_iso"] = flux * u.electron
    catalog["half_light_radius"] = 0.2 * np.ones(n) * u.arcsec
    catalog["n_pixels"] = np.full(n, 25)
    catalog["blend_id"] = np.array([0, 0, 1, 2])[:n]
    catalog["flags"] = FLAGS[:n]
    candidates = Table({"x": x, "y": y, "x_err": 0.1 * np.ones(n), "y_err": 0.2 * np.ones(n)})
    candidates["p_detect"], candidates["id"] = P[:n], np.arange(1, n + 1, dtype=np.int32)
    background = np.where(labels > 0, 0.1, 0.9)
    overlaps = Table(np.array(hidden, np.int32).reshape(-1, 3), names=("id", "row", "column"))
    return Detections(
        catalog=catalog,
        labels=labels[region],
        probability={name: background[region].astype(np.float32) for name in MAPS},
        candidates=candidates,
        wcs=wcs,
        region=region,
        shape=SHAPE,
        overlaps=overlaps,
        sample_masses=np.ones((n, 4), np.float16),
        about={
            "kind": "detect",
            "name": "field.fits",
            "shape": list(SHAPE),
            "region": [[lines.start, lines.stop] for lines in region],
            "pixel_scale_arcsec": 0.1,
            "choices": {"seed": 0},
            "versions": {},
            "notes": ["The noise & the sky were <given>."],
        },
        image=image,
    )


def without_wcs(**options):
    return dataclasses.replace(detections(wcs=None), **options)
