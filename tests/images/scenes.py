"""Images for the tests of this folder: small, made, with known content."""

from pathlib import Path

import numpy as np
from astropy.io import fits


def noise(shape: tuple[int, ...] = (64, 64), sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    """Gaussian noise about 0."""
    return np.random.default_rng(seed).normal(0.0, sigma, shape)


def with_value(value: float, *where: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Noise with one other value."""
    image = noise(shape)
    image[where] = value
    return image


def celestial_header(scale_arcsec: float = 0.1, **more: object) -> fits.Header:
    """A header with a tangential projection about RA 150, Dec 2."""
    degrees = scale_arcsec / 3600
    return fits.Header(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRPIX1": 32.5,
            "CRPIX2": 32.5,
            "CRVAL1": 150.0,
            "CRVAL2": 2.0,
            "CD1_1": -degrees,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": degrees,
            **more,
        }
    )


def write(folder: Path, *hdus: object, name: str = "image.fits") -> str:
    """Write HDUs into a file; arrays become the primary HDU first, then images."""
    made = [
        hdu
        if not isinstance(hdu, np.ndarray)
        else (fits.ImageHDU(hdu) if k else fits.PrimaryHDU(hdu))
        for k, hdu in enumerate(hdus)
    ]
    path = folder / name
    fits.HDUList(made).writeto(path, overwrite=True)
    return str(path)
