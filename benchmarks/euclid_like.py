"""Deep images of the sky made Euclid-like; `real_fields.py` and its words say what for."""

import math
from dataclasses import dataclass
from pathlib import Path

import galsim
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from btk_punet.simulation.survey import EUCLID_MIRROR_METRES, EUCLID_WAVELENGTH_NM

ORIGINAL_SCALE, SCALE = 0.04, 0.1  # pixels [arcsec]; 0.3% smaller in the HDF-N, which is ignored
RATIO = 2.5  # pixels of the original in one of Euclid's
# The drops that NIRCam's pixels were shrunk to in drizzling: pixfrac 0.75 of 0.0307 arcsec.
UDS_DROP_ARCSEC = 0.75 * 0.0307
# No star lies in the piece of the HDF-N: the width of WFPC2's PSF with its pixel of 0.1 arcsec.
HDFN_PSF_FWHM = 0.14
# AB magnitude of one unit: 10 nJy; one count a second in F814W (PHOTFLAM 2.46e-18, pivot 801 nm).
UDS_ZEROPOINT, HDFN_ZEROPOINT = 28.90, 22.09
LARGEST_AMPLIFICATION = 2.0
FILES = (
    "uds_f115w_sci.fits", "uds_f115w_wht.fits", "uds_f115w_psf.fits", "uds_lw_seg.fits",
    "hdfn_f814w_sci.fits",
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """An image as it was taken.

    Attributes:
        name: Of the field.
        image: Its pixels of 0.04 arcsec, ``(H, W)``.
        weight: Inverse variance, or None.
        zeropoint: AB magnitude of one unit.
        psf: Its PSF, pixel included.
        wcs: World coordinates.
        segmentation: The one that others made, or None.
    """

    name: str
    image: np.ndarray
    weight: np.ndarray | None
    zeropoint: float
    psf: galsim.GSObject
    wcs: WCS
    segmentation: np.ndarray | None


def read_fields(folder: Path) -> list[Field]:
    """Return the fields of a folder."""

    def read(name: str) -> np.ndarray:
        return fits.getdata(folder / name).astype(float)

    header = fits.getheader(folder / "uds_f115w_psf.fits")
    nircam = galsim.InterpolatedImage(
        galsim.Image(read("uds_f115w_psf.fits")[0]), scale=header["FOV"] / header["FOVPIXEL"],
        flux=1.0,
    )  # fmt: skip
    drizzled = galsim.Convolve(nircam, galsim.Pixel(UDS_DROP_ARCSEC), galsim.Pixel(ORIGINAL_SCALE))
    return [
        Field(
            "UDS F115W", read("uds_f115w_sci.fits"), read("uds_f115w_wht.fits"), UDS_ZEROPOINT,
            drizzled, WCS(fits.getheader(folder / "uds_f115w_sci.fits")),
            read("uds_lw_seg.fits").astype(int),
        ),
        Field(
            "HDF-N F814W", read("hdfn_f814w_sci.fits"), None, HDFN_ZEROPOINT,
            galsim.Gaussian(fwhm=HDFN_PSF_FWHM),
            WCS(fits.getheader(folder / "hdfn_f814w_sci.fits")), None,
        ),
    ]  # fmt: skip


def euclid_like(
    image: np.ndarray, psf: galsim.GSObject, target: galsim.GSObject
) -> tuple[np.ndarray, float]:
    """Return an image as seen through another PSF with pixels of 0.1 arcsec, and the largest ratio.

    Args:
        image: Pixels of 0.04 arcsec, ``(H, W)``.
        psf: Its PSF, pixel included.
        target: The PSF that it shall have, before the pixel of 0.1 arcsec.

    Returns:
        The light of each new pixel, whose centres lie at 1, 3.5, 6 ... of the old ones; and the
        most that any frequency was amplified by.
    """
    height, width = image.shape
    size = max(height, width) + 200
    top, left = (size - height) // 2, (size - width) // 2
    # Mirrored beyond the edge, as the transform takes opposite edges for neighbours.
    around = ((top, size - height - top), (left, size - width - left))
    spectrum = np.fft.fftshift(np.fft.fft2(np.pad(image, around, mode="symmetric")))
    step = 2 * np.pi / (size * ORIGINAL_SCALE)
    new, old = (
        form.drawKImage(nx=size, ny=size, scale=step).array
        for form in (galsim.Convolve(target, galsim.Pixel(SCALE)), psf)
    )
    frequency = (np.arange(size) - size // 2) * step / (2 * np.pi)  # per arcsec
    limit = EUCLID_MIRROR_METRES / (EUCLID_WAVELENGTH_NM * 1e-9) / (180 / np.pi * 3600)
    inside = np.hypot(frequency[:, None], frequency) < limit
    ratio = np.divide(new, old, out=np.zeros_like(new), where=inside)
    amplification = float(np.abs(ratio).max())
    if amplification > LARGEST_AMPLIFICATION:
        raise ValueError(
            f"Expected an image that is sharper than the target, but noise would be amplified "
            f"{amplification:.1f} times. Choose a wider target."
        )
    # Twice as fine, for pixels at every half of the old ones.
    fine = np.zeros((2 * size, 2 * size), complex)
    half = slice(size - size // 2, size - size // 2 + size)
    fine[half, half] = spectrum * ratio
    light = np.fft.ifft2(np.fft.ifftshift(fine)).real * 4 * RATIO**2
    counts = [math.floor((n - 0.5 - RATIO / 2 - 1) / RATIO) + 1 for n in (height, width)]
    rows, columns = (
        2 * (start + 1) + 5 * np.arange(n) for start, n in zip((top, left), counts, strict=True)
    )
    return light[np.ix_(rows, columns)], amplification


def self_check(fwhm: float = 0.17) -> None:
    """Raise unless a Gaussian comes out as the Gaussian that it should, with all of its light."""
    galaxy = galsim.Gaussian(sigma=0.3, flux=1000.0).shear(g1=0.3).shift(0.413, -0.227)
    psf, target = galsim.Gaussian(fwhm=0.1), galsim.Gaussian(fwhm=fwhm)
    pixel = galsim.Pixel(ORIGINAL_SCALE)
    size = 300
    original = galsim.Convolve(galaxy, psf, pixel).drawImage(
        nx=size, ny=size, scale=ORIGINAL_SCALE, method="no_pixel", dtype=float
    )
    made, _ = euclid_like(original.array, galsim.Convolve(psf, pixel), target)
    height, width = made.shape
    # From the middle of the old pixels to that of the new ones [arcsec].
    middle = (np.array([height, width]) - 1) / 2 * RATIO + 1 - (size - 1) / 2
    moved = galaxy.shift(*(-middle[::-1] * ORIGINAL_SCALE))
    right = galsim.Convolve(moved, target).drawImage(nx=width, ny=height, scale=SCALE, dtype=float)
    error = float(np.abs(made - right.array).max() / right.array.max())
    lost = float(abs(made.sum() / 1000.0 - 1))
    if error > 1e-3 or lost > 1e-3:
        raise RuntimeError(
            f"A Gaussian made Euclid-like is wrong by {error:.1e} of its peak, and {lost:.1e} of "
            "its light is lost; both must be below 1e-3."
        )
    print(f"self-check: a Gaussian is right to {error:.0e} of its peak, {lost:.0e} of its light")


def degraded_wcs(wcs: WCS, shape: tuple[int, int]) -> WCS:
    """Return the world coordinates of the new pixels."""
    new = wcs.deepcopy()
    new.pixel_shape = shape[::-1]
    new.wcs.crpix = (np.asarray(wcs.wcs.crpix) - 2) / RATIO + 1
    new.wcs.cd = np.asarray(wcs.wcs.cd) * RATIO
    return new


def original_pixels(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the original's pixel at the middle of each new pixel."""
    row, column = (np.round(RATIO * v + 1).astype(int) for v in np.indices(shape))
    return row, column
