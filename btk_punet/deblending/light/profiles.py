"""Images of galaxies and what changes them: disks with bulges, seen through a PSF, by patches.

The disk is a Sersic profile of any index, the bulge one of index 4 with half of the disk's radius
and its shape. Their Fourier transforms come from a table that FFTLog fills (Hamilton 2000), are
multiplied by that of PSF and pixel (GalSim's), and go back to pixels on a patch around the
source, modes above the pixels' own folded. The derivatives go the same way, so that they are those
of the image that a detector sees, undersampled as it is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import galsim
import numpy as np
import scipy.fft
from scipy.special import gammaincinv

from btk_punet.simulation.catalog import composite_half_light_radius

# Parameters of a source, in this order everywhere: flux [electron], place [pixel], logarithm of
# the half-light radius [pixel] (of the circle with the ellipse's area), ellipticity as GalSim's g
# ((1 - q) / (1 + q) along the long axis), logarithm of the Sersic index of the disk, share of the
# light in the bulge.
FLUX, X, Y, LOG_RADIUS, G1, G2, LOG_INDEX, BULGE = range(8)
N_PARAMETERS = 8

# The bulge: its Sersic index, its half-light radius over the disk's, and what its share is kept to.
BULGE_INDEX, BULGE_RADIUS = 4.0, 0.5
BULGE_RANGE = (0.0, 0.9)
_N_SHARES = 46

# Sersic indices of the table, evenly in the logarithm, and what is kept to.
INDEX_RANGE = (0.45, 5.0)
_N_INDICES = 28
_TABLE_MARGIN = 2  # nodes beyond the range, for the interpolation
# Wave numbers of the table [1 / half-light radius]: below, all transforms are 1; above, only
# profiles far larger than any image have light.
_WAVE_RANGE, _N_WAVES = (1e-3, 1e3), 640
# Fourier modes below this fraction of the PSF's flux are left out.
_PSF_MODE_THRESHOLD = 1e-3


@lru_cache(maxsize=1)
def sersic_table() -> SersicTable:
    """Return the table of transforms, made once (20 ms)."""
    return SersicTable()


class SersicTable:
    """Fourier transforms of circular Sersic profiles of flux 1 and half-light radius 1.

    Attributes:
        log_first: Logarithm of the smallest wave number.
        log_step: Step of the logarithm of the wave number.
        log_index: Logarithm of the Sersic index of each node, ``(nodes,)``.
        values: Transform and its derivative by the logarithm of the wave number,
            ``(nodes, waves, 2)``.
        bulge: The same of the bulge of a disk of half-light radius 1, ``(waves, 2)``.
    """

    def __init__(self) -> None:
        low, high = np.log(INDEX_RANGE)
        self.node_step = (high - low) / (_N_INDICES - 1)
        nodes = np.arange(-_TABLE_MARGIN, _N_INDICES + _TABLE_MARGIN)
        self.log_index = low + self.node_step * nodes
        self.log_first = math.log(_WAVE_RANGE[0])
        self.log_step = math.log(_WAVE_RANGE[1] / _WAVE_RANGE[0]) / (_N_WAVES - 1)
        self.values = np.array([self._transform(math.exp(node)) for node in self.log_index])
        self._shares = np.linspace(*BULGE_RANGE, _N_SHARES)
        radius = composite_half_light_radius(self._shares, np.full(_N_SHARES, BULGE_RADIUS))
        self._log_composite = np.log(radius)
        self._composite_slope = np.gradient(self._log_composite, self._shares, edge_order=2)
        # By whole steps of the table, at the wave numbers of the disk's radius.
        bulge = self._transform(BULGE_INDEX)
        shift = -round(math.log(BULGE_RADIUS) / self.log_step)
        self.bulge = np.concatenate([np.repeat([[1.0, 0.0]], shift, axis=0), bulge[:-shift]])

    def log_composite(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logarithm of the half-light radius over the disk's, and its derivative.

        By the share of the bulge; for an exponential disk, and nearly for others.
        """
        return (
            np.interp(share, self._shares, self._log_composite),
            np.interp(share, self._shares, self._composite_slope),
        )

    def _transform(self, index: float) -> np.ndarray:
        """Return the transform of one index and its derivative, ``(waves, 2)``."""
        # Over many more decades than the table, so that the periodic ends of FFTLog are empty.
        beyond = 2048
        places = np.arange(-beyond, _N_WAVES + beyond) - (_N_WAVES - 1) / 2
        radius = np.exp(places * self.log_step)
        light = radius * np.exp(-gammaincinv(2 * index, 0.5) * radius ** (1 / index))
        # fht gives the integral of light(r) J0(k r) k dr, at k = 1 / r.
        transform = scipy.fft.fht(light, self.log_step, mu=0) / radius
        transform = transform / np.trapezoid(light * radius, dx=self.log_step)
        slope = np.gradient(transform, self.log_step, edge_order=2)
        return np.stack([transform, slope], axis=-1)[beyond : beyond + _N_WAVES]

    def of_profiles(self, log_index: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return transforms of disks with bulges, at wave numbers of the disk's radius.

        Args:
            log_index: Logarithm of the disk's Sersic index, ``(n,)``.
            share: Of the light in the bulge, ``(n,)``.

        Returns:
            Transform, its derivative by the logarithm of the wave number, by that of the index, and
            by the share where the radius of the whole stays; float32 ``(n, waves, 4)``.
        """
        disk = self.of_indices(log_index)
        share = np.asarray(share, np.float32)[:, None]
        bulge = self.bulge.astype(np.float32)
        _, slope = self.log_composite(share)
        found = np.empty((*disk.shape[:2], 4), np.float32)
        for part in (0, 1):
            found[..., part] = (1 - share) * disk[..., part] + share * bulge[:, part]
        found[..., 2] = (1 - share) * disk[..., 2]
        found[..., 3] = bulge[:, 0] - disk[..., 0] - slope * found[..., 1]
        return found

    def of_indices(self, log_index: np.ndarray) -> np.ndarray:
        """Return transforms of some indices, by cubic interpolation between those of the table.

        Args:
            log_index: Logarithm of the Sersic index, ``(n,)``.

        Returns:
            Transform, its derivative by the logarithm of the wave number, and that by the
            logarithm of the index; float32 ``(n, waves, 3)``.
        """
        place = (np.asarray(log_index) - self.log_index[0]) / self.node_step
        node = np.clip(np.floor(place).astype(int), 1, len(self.log_index) - 3)
        t = place - node
        # Catmull-Rom: through the nodes, with a continuous derivative.
        weights = 0.5 * np.stack(
            [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
        )
        slopes = 0.5 * np.stack(
            [-1 + 4 * t - 3 * t**2, -10 * t + 9 * t**2, 1 + 8 * t - 9 * t**2, 3 * t**2 - 2 * t]
        )
        near = self.values[node[:, None] + np.arange(-1, 3)]  # (n, 4, waves, 2)
        found = np.empty((len(place), _N_WAVES, 3), np.float32)
        found[..., :2] = np.einsum("an,nawc->nwc", weights, near)
        found[..., 2] = np.einsum("an,naw->nw", slopes / self.node_step, near[..., 0])
        return found


class PatchModel:
    """Draws sources and their derivatives on square patches of one size.

    Args:
        psf: The PSF before the pixel, any GalSim object; or one with the pixel, see below.
        pixel_scale_arcsec: Pixel size [arcsec].
        size: Side of the patch [pixel], even.
        with_pixel: Whether ``psf`` holds the pixel already.
    """

    def __init__(
        self,
        psf: galsim.GSObject,
        pixel_scale_arcsec: float,
        size: int,
        with_pixel: bool = False,
    ) -> None:
        self.size = size
        psf = psf.withGSParams(maxk_threshold=_PSF_MODE_THRESHOLD)
        step = 2 * math.pi / size  # radians a pixel
        # No more than three times what the pixels hold: a PSF sharper than that is a spike.
        highest = min(math.ceil(psf.maxk * pixel_scale_arcsec / step), 3 * size // 2)
        self._highest = max(highest, size // 2)
        modes = galsim.ImageCD(
            galsim.BoundsI(0, self._highest, -self._highest, self._highest),
            scale=step / pixel_scale_arcsec,
        )
        whole = psf if with_pixel else galsim.Convolve(psf, galsim.Pixel(pixel_scale_arcsec))
        whole.drawKImage(modes, recenter=False)
        self._transfer = modes.array.astype(np.complex64)
        self._kx = (step * np.arange(self._highest + 1)).astype(np.float32)
        self._ky = (step * np.arange(-self._highest, self._highest + 1)).astype(np.float32)
        kx, ky = self._kx, self._ky[:, None]
        wave2 = np.maximum(kx**2 + ky**2, 1e-12)
        self._log_wave = (0.5 * np.log(wave2)).astype(np.float32)
        self._cos2 = ((kx**2 - ky**2) / wave2).astype(np.float32)
        self._sin2 = (2 * kx * ky / wave2).astype(np.float32)

    def images(self, parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return images of sources.

        Args:
            parameters: ``(n, 8)``.
            x: Column of each patch's pixel ``size // 2`` in the image [pixel], ``(n,)``.
            y: Row of the same.

        Returns:
            Electrons, float32 ``(n, size, size)``.
        """
        transform, *_ = self._transforms(parameters)
        modes = transform * self._phased(parameters, x, y)
        return self._to_pixels(modes[:, None])[:, 0] * _column(parameters[:, FLUX], 3)

    def derivatives(self, parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the derivatives of images by the parameters of their sources.

        That by the flux is the image of flux 1. Args as for `images`.

        Returns:
            float32 ``(n, 8, size, size)``.
        """
        transform, by_wave, by_index, by_bulge, by_g1, by_g2 = self._transforms(parameters)
        carrier = self._phased(parameters, x, y)
        modes = np.empty((len(parameters), N_PARAMETERS, *carrier.shape[1:]), np.complex64)
        np.multiply(transform, carrier, out=modes[:, FLUX])
        np.multiply(modes[:, FLUX], -1j * self._kx, out=modes[:, X])
        np.multiply(modes[:, FLUX], -1j * self._ky[:, None], out=modes[:, Y])
        np.multiply(by_wave, carrier, out=modes[:, LOG_RADIUS])
        np.multiply(modes[:, LOG_RADIUS], by_g1, out=modes[:, G1])
        np.multiply(modes[:, LOG_RADIUS], by_g2, out=modes[:, G2])
        np.multiply(by_index, carrier, out=modes[:, LOG_INDEX])
        np.multiply(by_bulge, carrier, out=modes[:, BULGE])
        pixels = self._to_pixels(modes)
        pixels[:, X:] *= _column(parameters[:, FLUX], 4)
        return pixels

    def _transforms(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Return what `derivatives` needs of the profiles, each ``(n, modes of y, modes of x)``."""
        table = sersic_table()
        g1, g2 = (_column(parameters[:, axis], 3) for axis in (G1, G2))
        rest = 1 - g1**2 - g2**2
        stretch = 1 + g1**2 + g2**2 + 2 * (g1 * self._cos2 + g2 * self._sin2)
        composite, _ = table.log_composite(parameters[:, BULGE])
        log_radius = _column(parameters[:, LOG_RADIUS] - composite, 3)
        scale = log_radius - 0.5 * np.log(rest) - table.log_first
        place = (self._log_wave + scale + 0.5 * np.log(stretch)) / np.float32(table.log_step)
        nearest = np.clip(np.rint(place), 0, _N_WAVES - 1)
        beside = (np.clip(place, 0, _N_WAVES - 1) - nearest) * np.float32(table.log_step)
        rows = nearest.astype(np.int32)
        rows += (np.arange(len(parameters), dtype=np.int32) * _N_WAVES)[:, None, None]
        tables = table.of_profiles(parameters[:, LOG_INDEX], parameters[:, BULGE])
        found = tables.reshape(-1, 4).take(rows, axis=0)
        by_wave, by_index, by_bulge = (found[..., part] for part in (1, 2, 3))
        transform = found[..., 0] + beside * by_wave
        by_g1 = (g1 + self._cos2) / stretch + g1 / rest
        by_g2 = (g2 + self._sin2) / stretch + g2 / rest
        return [transform, by_wave, by_index, by_bulge, by_g1, by_g2]

    def _phased(self, parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the transfer function of PSF and pixel, moved to each source's place."""
        half = self.size // 2
        dx, dy = parameters[:, X] - x + half, parameters[:, Y] - y + half
        along_x = np.exp(-1j * dx[:, None] * self._kx).astype(np.complex64)
        along_y = np.exp(-1j * dy[:, None] * self._ky).astype(np.complex64)
        return self._transfer * (along_y[:, :, None] * along_x[:, None, :])

    def _to_pixels(self, modes: np.ndarray) -> np.ndarray:
        """Return images from their modes ``(n, m, modes of y, modes of x >= 0)``."""
        size, half = self.size, self.size // 2
        rows = np.zeros((*modes.shape[:2], size, modes.shape[3]), np.complex64)
        # Modes of y from -highest on, folded: in blocks that begin at a multiple of the size.
        start = -self._highest
        while start <= self._highest:
            first = start % size
            stop = min(start + size - first, self._highest + 1)
            block = modes[:, :, start + self._highest : stop + self._highest]
            rows[:, :, first : first + stop - start] += block
            start = stop
        folded = rows[..., : half + 1].copy()
        # Modes of x beyond the half that a real image needs are those of the other sign, below.
        mirror = -np.arange(size) % size
        for order in range(1, self._highest // size + 2):
            for column in range(half + 1):
                above, below = order * size + column, order * size - column
                if above <= self._highest:
                    folded[..., column] += rows[..., above]
                if half <= below <= self._highest:
                    folded[..., column] += np.conj(rows[..., mirror, below])
        return scipy.fft.irfft2(folded, s=(size, size), axes=(-2, -1))


def _column(values: np.ndarray, n_axes: int) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, *(1,) * (n_axes - 1))


@lru_cache(maxsize=64)
def patch_model(
    psf: galsim.GSObject, pixel_scale_arcsec: float, size: int, with_pixel: bool
) -> PatchModel:
    """Return a `PatchModel`, made only once for the same arguments."""
    return PatchModel(psf, pixel_scale_arcsec, size, with_pixel)


def as_profile(psf: Any, pixel_scale_arcsec: float) -> tuple[galsim.GSObject, bool]:
    """Return a PSF as a GalSim object, and whether it holds the pixel: pixels do."""
    if isinstance(psf, galsim.GSObject):
        return psf, False
    pixels = psf.array if isinstance(psf, galsim.Image) else np.asarray(psf)
    image = galsim.Image(pixels.astype(float), scale=pixel_scale_arcsec)
    return galsim.InterpolatedImage(image, x_interpolant="lanczos15", normalization="flux"), True
