"""Images of real galaxies from a file of the user's, made ready to be drawn among simulated ones.

A file holds galaxies cut out along their outlines. Two things of such an image are not the
galaxy's: the edge, beyond which nothing is left, and the noise inside, which would be structure
when a faint image is drawn bright. The first is carried on by an exponential, the second smoothed
away where it is seen.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from btk_punet.errors import CatalogError, InputError
from btk_punet.simulation.rendering import Part
from btk_punet.training.parts import LightGrid, centred

# One object in so many is held out of training: see `is_held_out`.
OBJECTS_PER_HELD_OUT = 5
# What real galaxies are there for: see `part_of`.
PARTS = ("training", "calibration", "benchmark")
# Light is smoothed until each pixel of it is this many sigma above the noise.
CLEAN_SNR = 8.0
SMOOTHING_PIXELS = (0.0, 0.7, 1.4, 2.8, 5.6)
# Length of the exponential beyond the outline, in half-light radii of what lies inside. (That of a
# disk is 0.6, but isophotes near an outline are too flat: noise decided where it runs.)
TAIL_RANGE, TAIL_LENGTHS = (0.15, 0.4), 8.0
# A galaxy stands for one that is so much larger at most.
MIN_SIZE_RATIO = 0.7
# Shrunken pixels are added up while they stay below this size, a third of Euclid's.
FINEST_PIXEL_ARCSEC = 0.033

_COLUMNS = ("set", "name", "pixel_scale_arcsec", "half_light_radius_arcsec", "snr")


@dataclass(frozen=True, eq=False)
class RealGalaxy:
    """An image of a real galaxy, without noise and without an edge.

    Attributes:
        object_name: Which galaxy it is, ``"set/name"``: several images may be of one.
        light: Share of the light in each pixel, ``(n, n)``; it sums to 1.
        pixel_scale_arcsec: Size of a pixel [arcsec].
        half_light_radius_arcsec: Radius of the circle around the centroid that holds half of the
            light.
    """

    object_name: str
    light: np.ndarray
    pixel_scale_arcsec: float
    half_light_radius_arcsec: float

    @property
    def held_out(self) -> bool:
        """Whether the galaxy is kept out of training."""
        return is_held_out(self.object_name)


def is_held_out(object_name: str) -> bool:
    """Tell whether a real galaxy is kept out of training, to measure on: one in five is.

    The rule is fixed by the name alone, so that all images of an object, in whichever file, fall
    on the same side: the CRC-32 of the name is a multiple of 5.

    Args:
        object_name: ``"set/name"``, as in `RealGalaxy.object_name`.
    """
    return zlib.crc32(object_name.encode()) % OBJECTS_PER_HELD_OUT == 0


def part_of(object_name: str) -> str:
    """Return what a real galaxy is there for: one of `PARTS`.

    Those that are held out of training (see `is_held_out`) are one half to calibrate on and one
    half to measure on, so that no figure is measured on what was calibrated on. The rule is fixed
    by the name, too: the CRC-32 of the name, divided by 10, is odd or even.

    Args:
        object_name: ``"set/name"``, as in `RealGalaxy.object_name`.
    """
    if not is_held_out(object_name):
        return "training"
    odd = zlib.crc32(object_name.encode()) // (2 * OBJECTS_PER_HELD_OUT) % 2
    return "calibration" if odd else "benchmark"


def read_real_galaxies(
    path: str | Path, held_out: bool | None = None, part: str | None = None
) -> list[RealGalaxy]:
    """Read real galaxies, and make them ready to be drawn.

    Args:
        path: ``.npz`` file with the images ``image_000``, ``image_001``, ... (float, 2-D, 0
            outside of each galaxy's outline) and, for each of them, ``set``, ``name``,
            ``pixel_scale_arcsec``, ``half_light_radius_arcsec`` and ``snr`` (signal to noise of
            the whole image, NaN where it is not known).
        held_out: Only those that are kept out of training, or only the others; all if None.
        part: Only those of one of `PARTS` (see `part_of`); all if None.

    Returns:
        One entry an image, in the file's order.

    Raises:
        InputError: for an unknown part.
        CatalogError: if there is no such file, it holds something else, or no galaxy is left.
    """
    if part is not None and part not in PARTS:
        raise InputError(f"part must be None or one of {list(PARTS)}, got {part!r}.")
    if not Path(path).is_file():
        raise CatalogError(f"The file of real galaxies '{path}' does not exist.")
    try:
        # Opened here, because NumPy leaves a file that it cannot read open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in _COLUMNS}
            images = [arrays[f"image_{i:03d}"] for i in range(len(columns["name"]))]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CatalogError(
            f"'{path}' is not a file of real galaxies ({error}): expected an .npz file with "
            f"image_000, image_001, ... and the columns {', '.join(_COLUMNS)}."
        ) from error
    galaxies = []
    for i, image in enumerate(images):
        name = f"{columns['set'][i]}/{columns['name'][i]}"
        if held_out is not None and is_held_out(name) != held_out:
            continue
        if part is not None and part_of(name) != part:
            continue
        scale = float(columns["pixel_scale_arcsec"][i])
        if image.ndim != 2 or not np.isfinite(image).all() or not image.sum() > 0 < scale:
            raise CatalogError(
                f"Image {i} ({name}) of '{path}' cannot be drawn: expected a 2-D image of finite "
                "numbers with light in it, and a pixel scale above 0 arcsec."
            )
        galaxies.append(prepared(name, image, scale, float(columns["snr"][i])))
    if not galaxies:
        raise CatalogError(f"'{path}' holds no real galaxy that can be used here.")
    return galaxies


def prepared(
    object_name: str, image: np.ndarray, pixel_scale_arcsec: float, snr: float = math.nan
) -> RealGalaxy:
    """Return an image of a galaxy without its noise and its edge, square about its centroid.

    Args:
        object_name: ``"set/name"``.
        image: ``(H, W)``, 0 outside of the galaxy's outline, any unit.
        pixel_scale_arcsec: Size of a pixel [arcsec].
        snr: Signal to noise of the whole image; where it is NaN, the noise is taken from the
            scatter of the outermost pixels.
    """
    image = np.asarray(image, float)
    inside = _outline(image)
    if np.isfinite(snr):
        sigma = image.sum() / snr / math.sqrt(inside.sum())
    else:
        sigma = _noise_at_rim(image, inside)
    image = np.maximum(_without_noise(image, inside, sigma), 0.0)
    radius = half_light_radius(image)
    length = _tail_length(image, inside, radius)
    light = _with_tail(_padded(image, length), _padded(inside, length), length)
    light /= light.sum()
    return RealGalaxy(
        object_name,
        light.astype(np.float32),
        pixel_scale_arcsec,
        half_light_radius(light) * pixel_scale_arcsec,
    )


def half_light_radius(image: np.ndarray) -> float:
    """Return the radius [pixel] of the circle around the centroid that holds half of the light."""
    distance = np.hypot(*_from_centroid(image)).ravel()
    order = np.argsort(distance)
    within = np.cumsum(image.ravel()[order])
    return float(np.interp(0.5 * within[-1], within, distance[order]))


def _from_centroid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(image.shape)
    total = image.sum()
    return columns - (columns * image).sum() / total, rows - (rows * image).sum() / total


def _outline(image: np.ndarray) -> np.ndarray:
    """Return the pixels of the galaxy: the largest piece, without stray pixels and holes."""
    lit = np.pad(image != 0, 2)  # so that closing does not stop at the border
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(lit))[2:-2, 2:-2]
    opened = ndimage.binary_opening(closed)
    pieces, number = ndimage.label(opened if opened.any() else closed)
    sizes = ndimage.sum_labels(np.ones(image.shape), pieces, np.arange(1, number + 1))
    return pieces == 1 + int(np.argmax(sizes))


def _noise_at_rim(image: np.ndarray, inside: np.ndarray) -> float:
    """Return the scatter of the pixels next to the outline, where most of it is noise."""
    rim = inside & (ndimage.distance_transform_edt(inside) <= 3)
    residual = (image - _smoothed(image, inside, 1.4))[rim]
    return 1.4826 * float(np.median(np.abs(residual - np.median(residual))))


def _without_noise(image: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth an image just so much, pixel by pixel, that its light stands above the noise."""
    clean = np.zeros_like(image)
    left = inside.copy()
    for smoothing in SMOOTHING_PIXELS:
        smooth, noise = image, sigma
        if smoothing > 0:
            smooth = _smoothed(image, inside, smoothing)
            noise = sigma / (2 * math.sqrt(math.pi) * smoothing)
        done = left & ((smooth > CLEAN_SNR * noise) | (smoothing == SMOOTHING_PIXELS[-1]))
        clean[done] = smooth[done]
        left &= ~done
    # From one smoothing to the next there are steps, as small as the noise.
    return np.where(clean > 3 * CLEAN_SNR * sigma, clean, _smoothed(clean, inside, 0.7)) * inside


def _smoothed(image: np.ndarray, inside: np.ndarray, sigma_pixels: float) -> np.ndarray:
    """Smooth an image by a Gaussian that sees the pixels inside only."""
    weight = ndimage.gaussian_filter(inside.astype(float), sigma_pixels, mode="constant")
    light = ndimage.gaussian_filter(image * inside, sigma_pixels, mode="constant")
    return light / np.maximum(weight, 1e-6)


def _tail_length(image: np.ndarray, inside: np.ndarray, radius: float) -> float:
    """Return the scale length [pixel] of the outer isophotes, fitted to the outer half."""
    rim = ndimage.distance_transform_edt(inside)
    near = inside & (rim <= max(0.5 * radius, 3.0))
    depth = np.arange(1, int(rim[near].max()) + 1)
    mean = np.array([image[near & (rim > d - 1) & (rim <= d)].mean() for d in depth])
    usable = mean > 0
    length = math.inf
    if usable.sum() >= 2:
        slope = np.polyfit(depth[usable], np.log(mean[usable]), 1)[0]
        length = 1 / slope if slope > 0 else math.inf
    return float(np.clip(length, TAIL_RANGE[0] * radius, TAIL_RANGE[1] * radius))


def _padded(image: np.ndarray, length: float) -> np.ndarray:
    """Return the image in the middle of a square with room for the tail."""
    side = max(image.shape) + 2 * math.ceil(TAIL_LENGTHS * length)
    low = [(side - n) // 2 for n in image.shape]
    pad = [(before, side - n - before) for before, n in zip(low, image.shape, strict=True)]
    return np.pad(image, pad)


def _with_tail(image: np.ndarray, inside: np.ndarray, length: float) -> np.ndarray:
    """Carry the light on beyond the outline: what its edge holds, falling exponentially.

    Each pixel outside starts from the nearest one inside, smoothed, so that there is no step; far
    out the edges of all sides blend into each other.
    """
    smooth = _smoothed(image, inside, max(0.5 * length, 1.0))
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    tail = smooth[tuple(nearest)] * np.exp(-distance / length)
    blurred = ndimage.gaussian_filter(np.where(inside, smooth, tail), 0.5 * length)
    share = 1 - np.exp(-distance / length)
    return np.where(inside, image, (1 - share) * tail + share * np.minimum(blurred, smooth.max()))


def real_parts(
    galaxies: Sequence[RealGalaxy], radius_arcsec: float, flux: float, rng: np.random.Generator
) -> list[Part] | None:
    """Return a real galaxy as a source: chosen by its size, shrunk, turned and mirrored.

    Each object that is large enough is as likely. None is enlarged: a galaxy may be up to 30%
    smaller than was asked for, and then keeps its size.

    Args:
        galaxies: To choose from.
        radius_arcsec: Half-light radius that is asked for.
        flux: Total flux [electron].
        rng: Random stream.

    Returns:
        Its one part, the centroid of its light in the source's centre; None where all galaxies
        are too small.
    """
    large = [g for g in galaxies if g.half_light_radius_arcsec >= MIN_SIZE_RATIO * radius_arcsec]
    if not large:
        return None
    objects = sorted({galaxy.object_name for galaxy in large})
    name = objects[int(rng.integers(len(objects)))]
    images = [galaxy for galaxy in large if galaxy.object_name == name]
    galaxy = images[int(rng.integers(len(images)))]
    scale = galaxy.pixel_scale_arcsec * min(radius_arcsec / galaxy.half_light_radius_arcsec, 1.0)
    light = galaxy.light
    binning = int(FINEST_PIXEL_ARCSEC / scale)
    if binning > 1:
        light, scale = _binned(light, binning), scale * binning
    angle, mirror = rng.uniform(0.0, 2 * math.pi), rng.choice([-1.0, 1.0])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    cell = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    return centred([LightGrid(flux, light, cell, 0.0, 0.0)])


def _binned(light: np.ndarray, factor: int) -> np.ndarray:
    """Add up ``factor x factor`` pixels."""
    side = -(-len(light) // factor)
    light = np.pad(light, (0, side * factor - len(light)))
    return light.reshape(side, factor, side, factor).sum(axis=(1, 3))
