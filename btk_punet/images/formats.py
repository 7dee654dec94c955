"""The kinds of things that an image may come as, each turned into an `ImageSource`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.nddata import (
    InverseVariance,
    NDData,
    NDUncertainty,
    StdDevUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from btk.blend_batch import BlendBatch, MultiResolutionBlendBatch

from btk_punet.errors import InputError, InputTypeError
from btk_punet.images.fits_images import read_fits
from btk_punet.images.noise_maps import NoiseMap
from btk_punet.images.photometry import number
from btk_punet.images.pixels import ArrayPixels, ConstantPixels, Pixels, array_pixels
from btk_punet.images.world import given_wcs, header_wcs
from btk_punet.simulation.survey import background_variance, pixel_scale_arcsec

_EUCLID_BAND = "IE"
_BAND_KEYS = ("FILTER", "BAND")


@dataclasses.dataclass
class ImageSource:
    """An image with what is known about it from itself.

    Attributes:
        pixels: Its values.
        header: Its header, or other keywords; empty if there are none.
        unit: Unit of its values; empty if it is not known.
        wcs: Its celestial world coordinates.
        mask: 0 where a pixel is good.
        noise: Noise of each pixel.
        psf: Its PSF, in any way that `choose_psf` takes.
        band: Its band.
        pixel_scale_arcsec: Pixel size, where something else than the WCS says it.
        zeropoint: AB magnitude of one unit, where something else than the header says it.
        has_sky: Whether there may be a sky to subtract.
        notes: What there is to say about it.
    """

    pixels: Pixels
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unit: str = ""
    wcs: WCS | None = None
    mask: Pixels | None = None
    noise: NoiseMap | None = None
    psf: Any = None
    band: str = _EUCLID_BAND
    pixel_scale_arcsec: float | None = None
    zeropoint: float | None = None
    has_sky: bool = True
    notes: list[str] = dataclasses.field(default_factory=list)


def image_source(image: Any) -> ImageSource:
    """Return an image of any kind.

    Args:
        image: An array, a masked array, a Quantity, an ``NDData``, an HDU, the path of a FITS file,
            or a BTK ``BlendBatch`` of one image and one band.

    Raises:
        InputError: if it cannot be read, or is not one image.
        InputTypeError: if it is something else.
    """
    if isinstance(image, str | Path):
        return _of_file(image)
    if isinstance(image, NDData):
        return _of_nddata(image)
    if isinstance(image, BlendBatch):
        return _of_batch(image)
    if isinstance(image, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        if image.data is None:
            raise InputError(f"The HDU {image.name!r} holds no image. Pass one with pixels.")
        source = ImageSource(array_pixels(image.data, "image"))
        return _with_header(source, image.header, *header_wcs(image.header))
    if image is None or isinstance(
        image, bytes | Mapping | fits.HDUList | MultiResolutionBlendBatch | fits.BinTableHDU
    ):
        advice = {
            fits.HDUList: " Pass one of its images, such as hdus['SCI'].",
            MultiResolutionBlendBatch: " Pass the batch of one survey.",
        }.get(type(image), "")
        raise InputTypeError(
            "image must be an array, an NDData, the path of a FITS file, or a BlendBatch; got "
            f"{type(image).__name__}.{advice}"
        )
    source = ImageSource(ConstantPixels(0.0, (1, 1)))
    if isinstance(image, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(image)
        source.pixels = array_pixels(image.data, "image")
        source.mask = ArrayPixels(mask) if mask.any() else None
        return source
    if isinstance(image, u.Quantity):
        source.unit = str(image.unit)
        image = image.value
    source.pixels = array_pixels(image, "image")
    return source


def pixels_like(values: Any, name: str, shape: tuple[int, int]) -> Pixels:
    """Return the pixels of what belongs to an image: one number, an array, or a FITS file.

    Raises:
        InputError: if it has another shape than the image, or cannot be read.
        InputTypeError: if it is something else.
    """
    pixels: Pixels
    if isinstance(values, str | Path):
        pixels = read_fits(values, name).pixels
    else:
        if isinstance(values, NDData | fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
            values = values.data
        if isinstance(values, u.Quantity):
            raise InputTypeError(
                f"{name} must be plain numbers in the image's unit, got a Quantity in "
                f"{values.unit}. Pass {name}.to_value(unit of the image)."
            )
        if isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(float), np.nan)
        if not isinstance(values, list | tuple) and np.ndim(values) == 0:
            return ConstantPixels(number(name, values), shape)
        pixels = array_pixels(values, name)
    if pixels.shape != shape:
        turned = " It seems to be transposed." if pixels.shape == shape[::-1] else ""
        raise InputError(
            f"{name} must have the image's shape {shape}, got {pixels.shape}.{turned} Cut it as "
            "the image was cut."
        )
    return pixels


def _of_file(path: str | Path) -> ImageSource:
    read = read_fits(path)
    source = _with_header(ImageSource(read.pixels), read.header, read.wcs, read.why_no_wcs)
    source.notes += [read.note] if read.note else []
    return source


def _with_header(
    source: ImageSource, header: Mapping[str, Any], wcs: WCS | None, why_no_wcs: str
) -> ImageSource:
    """Return a source with unit, band and world coordinates of its header."""
    source.header = header
    source.unit = str(header.get("BUNIT") or "").strip()
    source.band = _band(header)
    source.wcs = wcs
    if wcs is None:
        source.notes.append(f"There are no world coordinates in the header: {why_no_wcs}.")
    return source


def _of_nddata(image: NDData) -> ImageSource:
    source = ImageSource(array_pixels(image.data, "image"))
    meta = image.meta if isinstance(image.meta, Mapping) else {}
    source.header = {str(key).upper(): meta[key] for key in meta}
    source.unit = str(image.unit or source.header.get("BUNIT", "") or "").strip()
    source.band = _band(source.header)
    if image.wcs is not None:
        wcs = getattr(image.wcs, "low_level_wcs", image.wcs)
        source.wcs = given_wcs(wcs, source.pixels.shape)
    elif isinstance(meta, fits.Header):
        source.wcs, _ = header_wcs(meta)
    if image.mask is not None and np.any(image.mask):
        shape = source.pixels.shape
        mask = image.mask if np.ndim(image.mask) else np.full(shape, bool(image.mask))
        source.mask = pixels_like(mask, "mask", shape)
    if image.uncertainty is not None:
        source.noise = _noise_of(image.uncertainty, image, source)
    psf = getattr(image, "psf", None)
    if psf is not None:
        source.psf = psf
    return source


def _noise_of(uncertainty: NDUncertainty, image: NDData, source: ImageSource) -> NoiseMap | None:
    """Return the noise that an NDData brings."""
    kinds = {StdDevUncertainty: "rms", VarianceUncertainty: "variance", InverseVariance: "weight"}
    kind = kinds.get(type(uncertainty))
    if kind is None:
        source.notes.append(
            f"The image's uncertainty is {type(uncertainty).__name__}, of which nothing is known: "
            "it was not used."
        )
        return None
    values = uncertainty.array
    power = {"rms": 1, "variance": 2, "weight": -2}[kind]
    if uncertainty.unit is not None and image.unit is not None:
        values = (values * uncertainty.unit).to_value(image.unit**power)
    return NoiseMap(kind, pixels_like(values, "uncertainty", source.pixels.shape))  # type: ignore[arg-type]


def _of_batch(batch: BlendBatch) -> ImageSource:
    bands = list(batch.survey.available_filters)
    images = np.asarray(batch.blend_images)
    if images.shape[:2] != (1, 1):
        raise InputError(
            f"image must be one image of one band, got a BlendBatch of {images.shape[0]} images "
            f"and {images.shape[1]} bands ({', '.join(bands)}). Pass batches to a deblender, or "
            "one of blend_images here."
        )
    band = batch.survey.get_filter(bands[0])
    time = float(band.full_exposure_time.to_value("s"))
    shape = images.shape[2:]
    return ImageSource(
        ArrayPixels(images[0, 0]),
        unit="electron",
        wcs=batch.wcs,
        noise=NoiseMap("variance", ConstantPixels(background_variance(batch.survey, band), shape)),
        psf=batch.psf[0],
        band=bands[0],
        pixel_scale_arcsec=pixel_scale_arcsec(batch.survey),
        zeropoint=float(band.zeropoint.to_value("mag") + 2.5 * np.log10(time)),
        has_sky=False,
    )


def _band(header: Mapping[str, Any]) -> str:
    """Return the band that a header names, as a part of the names of columns."""
    for key in _BAND_KEYS:
        name = re.sub(r"[^0-9A-Za-z]+", "_", str(header.get(key) or "")).strip("_")
        if name:
            return _EUCLID_BAND if name.upper() in ("VIS", "I_E", "IE") else name
    return _EUCLID_BAND
