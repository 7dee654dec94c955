"""An image of the sky as the network takes it: electrons, noise and masks, piece by piece."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import warnings
from typing import Any

import galsim
import numpy as np
from astropy.wcs import WCS

from btk_punet.deblending.base import LARGEST_PIXEL_ELECTRONS, usable_pixels
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError
from btk_punet.images.background import LEAST_PIXELS, Meshes, measure_meshes, mesh_size
from btk_punet.images.cosmic_rays import find_cosmic_rays, require_astroscrappy
from btk_punet.images.formats import ImageSource, image_source, pixels_like
from btk_punet.images.masks import (
    MOST_SATURATED,
    PixelMasks,
    PixelSet,
    is_coarse,
    is_usable,
    saturated_pixels,
    usual_value,
)
from btk_punet.images.noise_maps import NoiseMap
from btk_punet.images.photometry import header_number, number, photometry
from btk_punet.images.pixels import ConstantPixels, EitherPixels, Pixels
from btk_punet.images.psf import choose_psf
from btk_punet.images.world import given_wcs, pixel_scale, ra_dec

# The noise that an image without a gain is given [electron]: so much that the photon noise of its
# sources, which is not known, does not matter beside it.
_NOISE_WITHOUT_GAIN = 1e6
# The noise that was given is doubted where the image's own differs by more than this factor.
_NOISE_TOLERANCE = 3.0
# Beyond these, single precision cannot hold the variance [electron^2].
_VARIANCE_RANGE = (1e-30, 1e30)


@dataclasses.dataclass(frozen=True)
class ImageTile:
    """A piece of an image.

    Attributes:
        electrons: Light, its background subtracted; 0 where a pixel is not usable; float32
            ``(h, w)``.
        variance: Of the background alone [electron^2], above 0 everywhere; float32 ``(h, w)``.
        usable: Which pixels have a value, bool ``(h, w)``.
        flags: What is wrong with each pixel, bits of `DetectionFlag`, int32 ``(h, w)``: BAD_PIXEL
            where it is not usable, EDGE at the border of the image and where there are no data,
            SATURATED, COSMIC_RAY, and NOISE_ESTIMATED everywhere if it is so.
    """

    electrons: np.ndarray
    variance: np.ndarray
    usable: np.ndarray
    flags: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SkyImage:
    """An image of the sky, read piece by piece; made by `open_image`.

    Attributes:
        shape: Rows and columns.
        wcs: Celestial world coordinates, or None.
        pixel_scale_arcsec: Pixel size at the centre [arcsec].
        psf: The PSF, of flux 1.
        psf_with_pixel: Whether the PSF holds the pixel already.
        unit_magnitude: AB magnitude of 1 electron; NaN where no zero point is known.
        electrons_per_unit: Electrons of one unit of the image. Without a known gain, a number so
            large that the photon noise of the sources does not matter.
        gain_known: Whether ``electrons_per_unit`` is a gain, and electrons are electrons.
        unit: Unit of the image as it was given; empty if it is not known.
        band: The band.
        noise_estimated: Whether the noise was estimated from the image itself.
        notes: What was assumed or estimated, in sentences.
    """

    shape: tuple[int, int]
    wcs: WCS | None
    pixel_scale_arcsec: float
    psf: galsim.GSObject
    psf_with_pixel: bool
    unit_magnitude: float
    electrons_per_unit: float
    gain_known: bool
    unit: str
    band: str
    noise_estimated: bool
    notes: tuple[str, ...]
    _masks: PixelMasks = dataclasses.field(repr=False)
    _meshes: Meshes | None = dataclasses.field(repr=False)
    _subtract_meshes: bool = dataclasses.field(repr=False)
    _usual_variance: float = dataclasses.field(repr=False)
    _contents: str = dataclasses.field(repr=False)

    def tile(self, rows: slice, columns: slice) -> ImageTile:
        """Return a piece of the image; a pixel is the same in every piece that holds it.

        Args:
            rows: Slice of rows within the image, of step 1.
            columns: Slice of columns.

        Raises:
            InputError: if they are empty or reach beyond the image.
        """
        rows, columns = (
            _within(rows, self.shape[0], "rows"),
            _within(columns, self.shape[1], "columns"),
        )
        values, flags = self._masks.read(rows, columns)
        background = self._background(rows, columns)
        with np.errstate(over="ignore", invalid="ignore"):
            electrons = (values - background) * self.electrons_per_unit
        usable = is_usable(flags) & usable_pixels(electrons)
        variance = self._variance(rows, columns)
        low, high = _VARIANCE_RANGE
        known = (variance > low) & (variance < high)
        if self._masks.noise is not None:
            usable &= known
        flags[~usable] |= int(DetectionFlag.BAD_PIXEL)
        if self.noise_estimated:
            flags |= int(DetectionFlag.NOISE_ESTIMATED)
        return ImageTile(
            np.where(usable, electrons, 0).astype(np.float32),
            np.where(known, variance, self._usual_variance).astype(np.float32),
            usable,
            flags,
        )

    def background(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the background that `tile` subtracts [electron], float64 ``(h, w)``."""
        rows = _within(rows, self.shape[0], "rows")
        columns = _within(columns, self.shape[1], "columns")
        return self._background(rows, columns) * self.electrons_per_unit

    def ra_dec(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return right ascension and declination of places [degree].

        Equatorial coordinates are those of the header's own system, others are turned to ICRS.

        Args:
            x: Columns, 0-based, pixel centres at integers.
            y: Rows.

        Raises:
            InputError: if the image has no world coordinates.
        """
        if self.wcs is None:
            raise InputError("The image has no world coordinates. Give wcs to open_image.")
        return ra_dec(self.wcs, x, y)

    def fingerprint(self) -> str:
        """Return a hash of contents and choices: the same image read the same way has the same."""
        wcs = "" if self.wcs is None else self.wcs.to_header_string(relax=True)
        psf = self.psf.drawImage(
            nx=65, ny=65, scale=self.pixel_scale_arcsec / 2, method="no_pixel", dtype=float
        )
        told = (
            self._contents,
            self.shape,
            self.pixel_scale_arcsec,
            self.psf_with_pixel,
            self.unit_magnitude,
            self.electrons_per_unit,
            self.band,
            self._subtract_meshes,
            wcs,
        )
        digest = hashlib.blake2b(repr(told).encode(), digest_size=16)
        digest.update(psf.array.tobytes())
        return digest.hexdigest()

    def _background(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the background [unit of the image]."""
        if self._masks.background is not None:
            return self._masks.background.read(rows, columns)
        if self._subtract_meshes and self._meshes is not None:
            return self._meshes.at(self._meshes.background, rows, columns)
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start))

    def _variance(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the variance [electron^2], NaN where there is none."""
        if self._masks.noise is not None:
            variance = self._masks.noise.variance(rows, columns)
        else:
            assert self._meshes is not None  # or open_image had refused the image
            variance = self._meshes.at(self._meshes.rms, rows, columns) ** 2
        return variance * self.electrons_per_unit**2


def open_image(
    image: Any,
    *,
    rms: Any = None,
    weight: Any = None,
    mask: Any = None,
    wcs: Any = None,
    psf: Any = None,
    zeropoint: float | None = None,
    gain: float | None = None,
    saturate: float | None = None,
    pixel_scale_arcsec: float | None = None,
    background: Any = "estimate",
    cosmic_rays: bool = False,
) -> SkyImage:
    """Open an image of the sky of any size.

    Pixels that are NaN, infinite or beyond 1e25, of weight 0, masked, saturated or without data
    are not usable. Of the image itself one pass is made, or two; it is not held in memory.

    Args:
        image: An array, ``NDData``, HDU, the path of a FITS image (``field.fits[SCI]`` or
            ``field.fits[1]`` of several; compressed or not), or a BTK ``BlendBatch`` of one image
            and one band, which brings noise, PSF and zero point.
        rms: Noise of the background, without that of the sources [unit of the image]: a number, an
            array ``(H, W)``, or the path of a FITS image. 0, NaN and below mark unusable pixels.
        weight: Its inverse square instead; 0, NaN and below mark unusable pixels. Without either,
            the noise is that of the image (an ``NDData``'s uncertainty), or it is estimated.
        mask: What is not 0 is not usable; an array, or a path.
        wcs: World coordinates, in place of the header's: an astropy ``WCS`` or a header.
        psf: FWHM [arcsec], a galsim object, an array of pixels or the path of a FITS image of it;
            that of Euclid if None.
        zeropoint: AB magnitude of one unit of the image; by the header if None.
        gain: Electrons of one unit of the image; by the header if None. If neither says it, the
            photon noise of the sources is neglected.
        saturate: Value from which on a pixel is saturated [unit of the image, sky included]; the
            header's SATURATE if None.
        pixel_scale_arcsec: Pixel size [arcsec], where there are no world coordinates; else 0.1.
        background: ``"estimate"`` measures it on meshes and subtracts it, whether the noise is
            given or not (as SExtractor does); None leaves the image as it is, which is right for
            one whose sky is subtracted already; a number, array or path is subtracted. A BlendBatch
            has no sky, so of it nothing is estimated.
        cosmic_rays: Whether to look for cosmic rays, by astroscrappy (L.A.Cosmic).

    Raises:
        InputError: An argument cannot be used, or the image has no usable pixel.
        InputTypeError: An argument has the wrong type.
        MissingProgramError: astroscrappy is asked for and not installed.
    """
    if not isinstance(cosmic_rays, bool):
        raise InputTypeError(f"cosmic_rays must be True or False, got {cosmic_rays!r}.")
    if cosmic_rays:
        require_astroscrappy()  # before the work, not after it
    source = image_source(image)
    shape = source.pixels.shape
    notes = source.notes
    if wcs is not None:
        source.wcs = given_wcs(wcs, shape)
    scale, note = pixel_scale(source.wcs, pixel_scale_arcsec, shape, source.pixel_scale_arcsec)
    notes += [note] if note else []
    worth = photometry(
        source.header,
        source.unit,
        gain,
        source.zeropoint if zeropoint is None else zeropoint,
        scale,
    )
    notes += worth.notes
    profile, with_pixel, note = choose_psf(source.psf if psf is None else psf, scale)
    notes += [note] if note else []
    masks = _masks(source, rms, weight, mask, background)
    masks = _with_saturation(masks, source, saturate, notes)

    digest = hashlib.blake2b(digest_size=16)

    def see(*arrays: np.ndarray) -> None:
        for array in arrays:
            digest.update(array.tobytes())

    found = measure_meshes(masks, mesh_size(scale), see)
    _check_usable(found.n_usable, masks)
    subtract = isinstance(background, str) and background == "estimate" and source.has_sky
    meshes = found.meshes
    noise_estimated = masks.noise is None
    if noise_estimated:
        if meshes is None:
            raise InputError(_no_noise(found.n_usable))
        usual_rms = float(np.median(meshes.rms))
        notes.append(
            "No noise was given: it was estimated from the image, on meshes of about "
            f"{mesh_size(scale)} pixels (median {usual_rms:.4g} a pixel, in the image's unit)."
        )
    else:
        usual_rms = found.given_rms
        _compare_noise(meshes, usual_rms, notes)
    if subtract and meshes is None:
        notes.append("The image is too small, or has no noise, to estimate a background: none was.")
    elif subtract and meshes is not None:
        notes.append(
            "The background was estimated on meshes and subtracted: median "
            f"{np.median(meshes.background):.4g} in the image's unit, "
            f"{np.median(meshes.background) / usual_rms:.2f} of the noise of a pixel."
        )
    per_unit = worth.electrons_per_unit or _NOISE_WITHOUT_GAIN / usual_rms
    usual_variance = (per_unit * usual_rms) ** 2
    low, high = _VARIANCE_RANGE
    if not low < usual_variance < high:
        raise InputError(
            f"The noise of a pixel is {per_unit * usual_rms:.3g} electrons, which no image has. "
            "Check gain, and rms or weight."
        )
    if not found.faintest * per_unit < LARGEST_PIXEL_ELECTRONS:
        raise InputError(
            f"All values of the image are beyond {LARGEST_PIXEL_ELECTRONS / per_unit:.3g}, more "
            f"than 1e19 times its noise of {usual_rms:.3g}. Check gain, and rms or weight."
            if worth.electrons_per_unit is None
            else f"All values of the image are beyond {LARGEST_PIXEL_ELECTRONS:g} electrons. Check "
            "gain."
        )
    notes += _counted(found.flag_counts, shape)
    opened = SkyImage(
        shape=shape,
        wcs=source.wcs,
        pixel_scale_arcsec=scale,
        psf=profile,
        psf_with_pixel=with_pixel,
        unit_magnitude=worth.zeropoint + 2.5 * math.log10(per_unit),
        electrons_per_unit=per_unit,
        gain_known=worth.electrons_per_unit is not None,
        unit=worth.unit,
        band=source.band,
        noise_estimated=noise_estimated,
        notes=tuple(notes),
        _masks=masks,
        _meshes=meshes,
        _subtract_meshes=subtract,
        _usual_variance=usual_variance,
        _contents=digest.hexdigest(),
    )
    return _without_cosmic_rays(opened) if cosmic_rays else opened


def _without_cosmic_rays(image: SkyImage) -> SkyImage:
    """Return an image whose cosmic rays are masked."""
    hit = find_cosmic_rays(image)
    share = len(hit) / (image.shape[0] * image.shape[1])
    return dataclasses.replace(
        image,
        notes=(*image.notes, f"{len(hit)} pixels ({share:.2%}) were hit by cosmic rays."),
        _masks=dataclasses.replace(image._masks, cosmic_rays=hit),
        _contents=image._contents + hashlib.blake2b(hit.index.tobytes()).hexdigest(),
    )


def _masks(source: ImageSource, rms: Any, weight: Any, mask: Any, background: Any) -> PixelMasks:
    """Return the masks of an image without what is still to be looked for."""
    shape = source.pixels.shape
    if rms is not None and weight is not None:
        raise InputError("Give rms or weight, not both: each is the noise.")
    noise = source.noise
    if rms is not None or weight is not None:
        name, given = ("rms", rms) if weight is None else ("weight", weight)
        pixels = pixels_like(given, name, shape)
        if isinstance(pixels, ConstantPixels) and not pixels.value > 0:
            raise InputError(f"{name} must be above 0, got {pixels.value:g}.")
        noise = NoiseMap("rms" if name == "rms" else "weight", pixels)
    masked = source.mask
    if mask is not None:
        given_mask = pixels_like(mask, "mask", shape)
        masked = given_mask if masked is None else EitherPixels(masked, given_mask)
    sky: Pixels | None = None
    if isinstance(background, bool):
        raise InputTypeError(
            f"background must be 'estimate', None, a number, an array or a path, got {background}."
        )
    if background is not None and not (isinstance(background, str) and background == "estimate"):
        sky = pixels_like(background, "background", shape)
    return PixelMasks(source.pixels, masked, noise, sky, find_no_data=not is_coarse(source.pixels))


def _with_saturation(
    masks: PixelMasks, source: ImageSource, saturate: float | None, notes: list[str]
) -> PixelMasks:
    """Return the masks with the saturated pixels."""
    if saturate is not None:
        level, whose = number("saturate", saturate), "saturate"
    else:
        found = header_number(source.header, "SATURATE")
        if found is None:
            return masks
        level, whose = found[1], "the header's SATURATE"
    sky = usual_value(source.pixels)
    trouble = f"is {level:g}, and a usual value of the image is {sky:g}"
    pixels, share = PixelSet(np.zeros(0), source.pixels.shape), 0.0
    if level > sky:
        pixels, share = saturated_pixels(source.pixels, level, sky)
        trouble = f"is {level:g}, and {share:.0%} of the pixels or more reach it"
    if not level > sky or share > MOST_SATURATED:
        if saturate is not None:
            raise InputError(
                f"saturate must be above the light of nearly all pixels; it {trouble}. It is in "
                "the unit of the image, sky included."
            )
        text = f"{whose} {trouble}: it was not used. Give saturate in the unit of the image."
        warnings.warn(text, BtkPunetWarning, stacklevel=4)
        notes.append(text[0].upper() + text[1:])
        return masks
    if not len(pixels):
        notes.append(f"No pixel is saturated: none reaches {whose} ({level:g}).")
    return dataclasses.replace(masks, saturated=pixels)


def _check_usable(n_usable: int, masks: PixelMasks) -> None:
    """Raise InputError, with the reason, for an image without a usable pixel."""
    if n_usable:
        return
    everything = slice(0, masks.pixels.shape[0]), slice(0, min(masks.pixels.shape[1], 2**16))
    values = masks.pixels.read(slice(0, min(masks.pixels.shape[0], 64)), everything[1])
    if not usable_pixels(values).any():
        why = f"its values are not finite, or beyond {LARGEST_PIXEL_ELECTRONS:g}"
    elif values.min() == values.max():
        why = f"its pixels have one and the same value ({values.min():g})"
    else:
        why = "mask, rms or weight leave none"
    raise InputError(f"The image has no usable pixel: {why}. Check image, mask and rms or weight.")


def _no_noise(n_usable: int) -> str:
    if n_usable < LEAST_PIXELS:
        return (
            f"The image has {n_usable} usable pixels, and at least {LEAST_PIXELS} are needed to "
            "estimate the noise. Give rms."
        )
    return (
        "The noise of the image cannot be estimated: nearly all of its pixels have the same value. "
        "Give rms, or an image with its noise."
    )


def _compare_noise(meshes: Meshes | None, given_rms: float, notes: list[str]) -> None:
    """Warn if the image's own noise is far from the one that was given."""
    if meshes is None:
        return
    ratio = float(np.median(meshes.rms)) / given_rms
    if 1 / _NOISE_TOLERANCE < ratio < _NOISE_TOLERANCE:
        return
    text = (
        f"The noise in the image is {ratio:.3g} times the one that was given. A weight must be the "
        "inverse variance in the image's unit, and no relative weight or exposure time. Check rms "
        "or weight, or leave it out."
    )
    warnings.warn(text, BtkPunetWarning, stacklevel=3)
    notes.append(text)


def _counted(flag_counts: dict[int, int], shape: tuple[int, int]) -> list[str]:
    """Return sentences about how many pixels are not usable, and why."""
    total = shape[0] * shape[1]
    words = {
        DetectionFlag.BAD_PIXEL: "are not usable",
        DetectionFlag.SATURATED: "are saturated, with bleed trails and a margin",
    }
    return [
        f"{flag_counts[int(flag)]} pixels ({flag_counts[int(flag)] / total:.2%}) {text}."
        for flag, text in words.items()
        if flag_counts[int(flag)]
    ]


def _within(piece: slice, length: int, name: str) -> slice:
    """Return a slice with start and stop, if it is one of step 1 within a length."""
    if not isinstance(piece, slice):
        raise InputTypeError(f"{name} must be a slice, got {type(piece).__name__}.")
    start, stop, step = piece.indices(length)
    inside = (piece.start or 0) >= 0 and (piece.stop is None or piece.stop <= length)
    if step != 1 or stop <= start or not inside:
        raise InputError(
            f"{name} must be a slice within 0 to {length} that is not empty, got {piece!r}."
        )
    return slice(start, stop)
