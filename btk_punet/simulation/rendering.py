"""Drawing galaxies fast: each on the smallest stamp that holds its light, in Fourier space.

GalSim gives the Fourier transforms of profile and PSF; the PSF's is computed once for each size
of stamp, and the inverse transform is taken on the stamp alone. GalSim's own ``drawImage`` sizes
its transforms by the PSF and the whole image, which costs many times as much.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import galsim
import numpy as np
import scipy.fft
from scipy.special import gammaincinv

from btk_punet.errors import CatalogError

# Sides of the stamps [pixel]: products of small primes, for the transforms' sake.
STAMP_SIZES = (
    *(24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256),
    *(320, 384, 448, 512, 640, 768, 896, 1024),
)
# A stamp is large enough when nothing at its border is brighter than this [background sigma].
# The light beyond folds back, from up to four sides at once.
BORDER_SIGMA = 0.002
# Fourier modes below this fraction of the PSF's flux are left out. GalSim's default of 1e-3 leaves
# errors of 0.2 sigma in the middle of the brightest stars.
PSF_MODE_THRESHOLD = 1e-5


class Part(Protocol):
    """What a source is made of: anything with flux, a profile and an extent."""

    @property
    def flux(self) -> float:
        """Total flux [electron]."""

    def profile(self) -> galsim.GSObject:
        """Return the GalSim profile around the source's centre, before the PSF."""

    def radius_at(self, surface_brightness: float) -> float:
        """Return how far from the centre [arcsec] it is brighter than electron/arcsec^2."""


class Component(NamedTuple):
    """One part of a source: an elliptical Sersic profile, or a point where ``sersic_n`` is 0."""

    flux: float  # electron
    sersic_n: float = 0.0
    half_light_radius: float = 0.0  # arcsec, circularised
    axis_ratio: float = 1.0
    angle_deg: float = 0.0

    def profile(self) -> galsim.GSObject:
        """Return the GalSim profile, centred, before the PSF."""
        if self.sersic_n == 0:
            # As BTK draws the AGN of CatSim: far narrower than any pixel.
            return galsim.Gaussian(flux=self.flux, sigma=1e-8)
        radius = self.half_light_radius
        profile: galsim.GSObject
        if self.sersic_n == 1:
            profile = galsim.Exponential(half_light_radius=radius, flux=self.flux)
        elif self.sersic_n == 4:
            profile = galsim.DeVaucouleurs(half_light_radius=radius, flux=self.flux)
        else:
            profile = galsim.Sersic(self.sersic_n, half_light_radius=radius, flux=self.flux)
        if self.axis_ratio == 1:
            return profile
        # The matrix of profile.shear(q=..., beta=...), at a fraction of the time: the long axis,
        # at the angle from x, is stretched by q^-1/2, the short one by q^1/2.
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        short, long = math.sqrt(self.axis_ratio), 1 / math.sqrt(self.axis_ratio)
        cross = cos * sin * (long - short)
        matrix = (cos**2 * long + sin**2 * short, cross, cross, sin**2 * long + cos**2 * short)
        return galsim.Transform(profile, jac=matrix)

    def radius_at(self, surface_brightness: float) -> float:
        """Return how far out [arcsec, on the long axis] it is brighter than electron/arcsec^2."""
        if self.sersic_n == 0:
            return 0.0
        n = self.sersic_n
        b = _sersic_b(n)
        central = (
            self.flux
            * b ** (2 * n)
            / (2 * math.pi * n * math.gamma(2 * n) * self.half_light_radius**2)
        )
        if central <= surface_brightness:
            return 0.0
        radius = self.half_light_radius * (math.log(central / surface_brightness) / b) ** n
        return radius / math.sqrt(self.axis_ratio)


def source_components(source: Mapping, flux: float) -> list[Component]:
    """Return the parts of one row of an `EuclidCatalog` or a BTK ``CatsimCatalog``.

    Args:
        source: Row with CatSim's columns; ``sersic_n`` and ``is_star`` may be missing.
        flux: Total flux [electron].

    Returns:
        The parts that have flux; none where the source has none.

    Raises:
        CatalogError: for a part with flux whose semi-axes are not a >= b > 0.
    """
    if source.get("is_star", False):
        return [Component(flux)]
    if source.get("sersic_n", 0.0) > 0:
        return [_elliptical(source, "disk", flux, float(source["sersic_n"]))]
    total = source["fluxnorm_disk"] + source["fluxnorm_bulge"] + source["fluxnorm_agn"]
    if total == 0:
        return []
    parts = []
    for n, part in ((1.0, "disk"), (4.0, "bulge")):
        share = source[f"fluxnorm_{part}"] / total
        if share > 0:
            parts.append(_elliptical(source, part, flux * share, n))
    if source["fluxnorm_agn"] > 0:
        parts.append(Component(flux * source["fluxnorm_agn"] / total))
    return parts


def _elliptical(source: Mapping, part: str, flux: float, sersic_n: float) -> Component:
    """Return the disk or the bulge of a row as a component."""
    a, b = float(source[f"a_{part[0]}"]), float(source[f"b_{part[0]}"])
    if not 0 < b <= a:
        raise CatalogError(
            f"A source with flux in its {part} cannot be drawn: expected half-light semi-axes "
            f"a_{part[0]} >= b_{part[0]} > 0 arcsec, got {a} and {b}."
        )
    return Component(flux, sersic_n, math.sqrt(a * b), b / a, float(source[f"pa_{part}"]))


@lru_cache(maxsize=1024)
def _sersic_b(n: float) -> float:
    """Return b_n: the Sersic law exp(-b_n (r/r_h)^(1/n)) has half its light inside r_h."""
    return float(gammaincinv(2 * n, 0.5))


class StampRenderer:
    """Draws profiles through one PSF and pixel, on stamps as small as their light allows.

    Args:
        psf: The PSF before the pixel.
        pixel_scale_arcsec: Pixel size [arcsec].
        background_sigma: Noise of the background [electron], against which the light that a
            stamp leaves out is judged.
    """

    def __init__(self, psf: galsim.GSObject, pixel_scale_arcsec: float, background_sigma: float):
        self.psf = psf
        self._fine_psf = psf.withGSParams(maxk_threshold=PSF_MODE_THRESHOLD)
        self.pixel_scale_arcsec = pixel_scale_arcsec
        self.border_flux = BORDER_SIGMA * background_sigma
        # Fourier modes beyond the pixel grid's own fold back on it; above this many grids the
        # PSF has none.
        nyquist = np.pi / pixel_scale_arcsec
        self.folds = max(1, int(np.ceil(self._fine_psf.maxk / nyquist)))
        self._transfer: dict[int, np.ndarray] = {}
        self._psf_border = self._measure_psf_border()

    def draw(
        self,
        parts: Sequence[Part],
        x: float,
        y: float,
        image_size: int,
        transform: np.ndarray | None = None,
    ) -> tuple[np.ndarray, slice, slice] | None:
        """Draw a source, as far as it falls on an image.

        Args:
            parts: What the source is made of.
            x: Column of the centre in the image [pixel, 0 is the middle of the first].
            y: Row of the centre.
            image_size: Side of the image [pixel].
            transform: 2 x 2 matrix of a rotation and a shear, applied around the centre.

        Returns:
            The stamp [electron] and the rows and columns of the image that it fills, or None
            where the stamp lies outside of the image.
        """
        stretch = 1.0 if transform is None else float(np.linalg.norm(transform, 2))
        size = self.stamp_size(parts, stretch)
        column, row = math.floor(x + 0.5), math.floor(y + 0.5)
        # Pixel size // 2 of the stamp is the pixel of the image that holds the centre.
        left, bottom = column - size // 2, row - size // 2
        cols = slice(max(left, 0), min(left + size, image_size))
        rows = slice(max(bottom, 0), min(bottom + size, image_size))
        if cols.start >= cols.stop or rows.start >= rows.stop:
            return None
        profiles = [part.profile() for part in parts]
        profile = profiles[0] if len(profiles) == 1 else galsim.Add(profiles)
        if transform is not None:
            profile = galsim.Transform(profile, jac=transform)
        scale = self.pixel_scale_arcsec
        shift = (x - left) * scale, (y - bottom) * scale  # from the stamp's first pixel
        stamp = self._draw_stamp(profile.shift(*shift), size)
        part = stamp[rows.start - bottom : rows.stop - bottom, cols.start - left : cols.stop - left]
        return part, rows, cols

    def stamp_size(self, parts: Sequence[Part], stretch: float = 1.0) -> int:
        """Return the side [pixel] of the smallest stamp that holds the light of a source.

        Args:
            parts: What the source is made of.
            stretch: Factor by which a transformation lengthens it at most.
        """
        limit = self.border_flux / self.pixel_scale_arcsec**2
        radius = stretch * max(part.radius_at(limit) for part in parts)
        flux = sum(part.flux for part in parts)
        for size in STAMP_SIZES:
            wide_enough = 0.5 * size * self.pixel_scale_arcsec >= radius
            if wide_enough and flux * self._psf_border[size] < self.border_flux:
                return size
        return STAMP_SIZES[-1]

    def _draw_stamp(self, profile: galsim.GSObject, size: int) -> np.ndarray:
        """Return the image of a profile whose origin is the middle of the stamp's first pixel."""
        modes = self._fourier_image(size)
        profile._drawKImage(modes)
        drawn = modes.array * self._transfer_function(size)
        # Keeping one sample in `folds` is the same as adding up the folded modes: along the
        # columns before the transform, along the rows after it (half of those modes are absent).
        highest = drawn.shape[1] - 1
        spectrum = np.zeros((self.folds * size, highest + 1), complex)
        spectrum[: highest + 1] = drawn[highest:]
        spectrum[-highest:] = drawn[:highest]
        spectrum = spectrum.reshape(self.folds, size, -1).sum(axis=0)
        columns = scipy.fft.ifft(spectrum, axis=0)
        stamp = scipy.fft.irfft(columns, n=self.folds * size, axis=1)
        return stamp[:, :: self.folds] * self.folds

    def _transfer_function(self, size: int) -> np.ndarray:
        """Return the Fourier transform of PSF and pixel on the modes of a stamp."""
        if size not in self._transfer:
            modes = self._fourier_image(size)
            galsim.Convolve(self._fine_psf, galsim.Pixel(self.pixel_scale_arcsec))._drawKImage(
                modes
            )
            self._transfer[size] = modes.array
        return self._transfer[size]

    def _fourier_image(self, size: int) -> galsim.ImageCD:
        """Return an empty GalSim image of a stamp's modes: those that the PSF lets through.

        Of the columns only 0 and above, which a real image needs.
        """
        step = 2 * math.pi / (size * self.pixel_scale_arcsec)
        highest = min(math.ceil(self._fine_psf.maxk / step), self.folds * size // 2 - 1)
        return galsim.ImageCD(galsim.BoundsI(0, highest, -highest, highest), scale=step)

    def _measure_psf_border(self) -> dict[int, float]:
        """Return the PSF's brightest flux in a pixel at the border of each size of stamp."""
        largest = STAMP_SIZES[-1]
        image = self.psf.drawImage(nx=largest, ny=largest, scale=self.pixel_scale_arcsec).array
        image = np.abs(image)
        borders = {}
        for size in STAMP_SIZES:
            low, high = (largest - size) // 2, (largest + size) // 2
            stamp = image[low:high, low:high]
            borders[size] = max(
                stamp[0].max(), stamp[-1].max(), stamp[:, 0].max(), stamp[:, -1].max()
            )
        return borders


@lru_cache(maxsize=16)
def stamp_renderer(
    psf: galsim.GSObject, pixel_scale_arcsec: float, background_sigma: float
) -> StampRenderer:
    """Return a `StampRenderer`, the same one for the same arguments.

    A process makes each renderer once, and so do the workers of a generator, who get the PSF anew
    with every batch.
    """
    return StampRenderer(psf, pixel_scale_arcsec, background_sigma)
