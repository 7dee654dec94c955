"""From maps to objects: detections with probabilities, footprints, and the number of sources.

The centre map spreads the probability of each source over the pixels where its centre may be, so
a detection's probability is the mass around a peak of the map, not the peak's height.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage
from scipy.stats import poisson

from btk_punet.deblending.columns import Columns
from btk_punet.deblending.footprints import Footprints

# Peaks are those of the centre map smoothed by a Gaussian of this sigma [pixel].
SMOOTHING_PIXELS = 1.0
# The mass within this radius of a peak [pixel] belongs to it: a little less than the 3 pixels
# within which a detection can be matched.
RADIUS_PIXELS = 2.6
# Probabilities below this are none [of a pixel; of a candidate].
LEAST_PIXEL, LEAST_CANDIDATE = 1e-4, 0.005
# Passes over what is left of the mass when the peaks of the pass before have had theirs.
MAX_PASSES = 4
# Variance of a place that is known to a pixel [pixel^2].
PIXEL_VARIANCE = 1 / 12

_EIGHT_CONNECTED = np.ones((3, 3), int)
# The same in each image of a batch, and no connection from image to image.
_WITHIN_IMAGE = np.stack([0 * _EIGHT_CONNECTED, _EIGHT_CONNECTED, 0 * _EIGHT_CONNECTED])


@dataclass(frozen=True)
class Candidates(Columns):
    """Where sources may be, in all images of a batch; sorted by image, then by probability.

    Attributes:
        image: Number of the image, ``(m,)``.
        x: Column of the expected place [pixel], ``(m,)``.
        y: Row [pixel].
        x_variance: Variance of the column [pixel^2].
        y_variance: Variance of the row.
        mass: Probability that there is a source, 0-1, before calibration.
    """

    image: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_variance: np.ndarray
    y_variance: np.ndarray
    mass: np.ndarray

    def of(self, image: int) -> Candidates:
        """Return the candidates of one image."""
        return self.take(slice(*np.searchsorted(self.image, [image, image + 1])))

    @classmethod
    def joined(cls, parts: list[Candidates]) -> Candidates:
        """Return the candidates of several lists as one."""
        columns = (field.name for field in fields(cls))
        return cls(*(np.concatenate([getattr(part, c) for part in parts]) for c in columns))


def find_candidates(
    centre_probability: np.ndarray,
    smoothing_pixels: float = SMOOTHING_PIXELS,
    radius_pixels: float = RADIUS_PIXELS,
) -> Candidates:
    """Gather the mass of centre maps into candidates.

    Each peak of the smoothed map takes the mass within the radius, up to 1: each pixel goes to
    its nearest peak, the nearest pixels first. What is left (a second source too near for a peak
    of its own, or mass far from any peak) is searched again.

    Args:
        centre_probability: ``(b, H, W)``.
        smoothing_pixels: Sigma of the Gaussian that smoothes the map for its peaks.
        radius_pixels: How far a peak's mass reaches.
    """
    left = np.asarray(centre_probability, np.float64).copy()
    left[left < LEAST_PIXEL] = 0
    nothing = np.zeros(0)
    found = [Candidates(nothing.astype(int), nothing, nothing, nothing, nothing, nothing)]
    for _ in range(MAX_PASSES):
        smooth = ndimage.gaussian_filter(left, smoothing_pixels, axes=(1, 2), mode="constant")
        peaks = _peaks(smooth, LEAST_CANDIDATE / (4 * np.pi * max(smoothing_pixels, 0.5) ** 2))
        if not len(peaks):
            break
        pixels, owner = _owned_pixels(peaks, left.shape, radius_pixels)
        taken = _up_to_one(left[tuple(pixels.T)], owner)
        left[tuple(pixels.T)] -= taken
        found.append(_moments(peaks[:, 0], pixels, owner, taken))
    joined = Candidates.joined(found)
    joined = joined.take(joined.mass >= LEAST_CANDIDATE)
    return joined.take(np.lexsort((-joined.mass, joined.image)))


def nearest_pixels(
    x: np.ndarray, y: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the pixel of an image that is nearest to each place."""
    row, column = (
        np.clip(np.floor(place + 0.5).astype(int), 0, length - 1)
        for place, length in zip((y, x), shape, strict=True)
    )
    return row, column


def sample_masses(candidates: Candidates, centre_samples: np.ndarray) -> np.ndarray:
    """Return how much of each candidate each sample of an image holds, up to 1.

    Args:
        candidates: Of one image.
        centre_samples: The centre map of each sample, ``(n, H, W)``.

    Returns:
        Shape ``(m, n)``: the mass within the radius of each candidate, each pixel of it with the
        nearest. The mean over samples is the candidate's mass but for what several passes of
        `find_candidates` took from the same pixels.
    """
    _, height, width = centre_samples.shape
    row, column = nearest_pixels(candidates.x, candidates.y, (height, width))
    peaks = np.stack([np.zeros(len(row), int), row, column], axis=1)
    pixels, owner = _owned_pixels(peaks, (1, height, width), RADIUS_PIXELS)
    inside = centre_samples[:, pixels[:, 1], pixels[:, 2]]
    masses = [np.bincount(owner, one, len(candidates)) for one in inside]
    return np.minimum(np.stack(masses, axis=1), 1) if masses else np.zeros((len(candidates), 0))


def _peaks(smooth: np.ndarray, floor: float) -> np.ndarray:
    """Return image, row and column of the peaks of maps, ``(m, 3)``, the highest first."""
    is_peak = (smooth > floor) & (smooth == ndimage.maximum_filter(smooth, (1, 3, 3)))
    # Equal neighbours, as where a source is between two pixels, are one peak.
    plateau, _ = ndimage.label(is_peak, _WITHIN_IMAGE)
    _, first = np.unique(plateau[is_peak], return_index=True)
    peaks = np.argwhere(is_peak)[first]
    return peaks[np.argsort(-smooth[tuple(peaks.T)], kind="stable")]


def _owned_pixels(
    peaks: np.ndarray, shape: tuple[int, ...], radius_pixels: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give each pixel near a peak to its nearest peak, of equally near ones to the first.

    Returns:
        Image, row and column of the pixels, ``(p, 3)``, and the number of the peak that owns each,
        ``(p,)``; sorted by peak, then by distance.
    """
    reach = int(radius_pixels)
    around = np.mgrid[0:1, -reach : reach + 1, -reach : reach + 1].reshape(3, -1).T
    distance = np.hypot(around[:, 1], around[:, 2])
    around, distance = around[distance < radius_pixels], distance[distance < radius_pixels]
    pixels = (peaks[:, None] + around).reshape(-1, 3)
    owner = np.repeat(np.arange(len(peaks)), len(around))
    distance = np.tile(distance, len(peaks))
    inside = ((pixels >= 0) & (pixels < shape)).all(axis=1)
    pixels, owner, distance = pixels[inside], owner[inside], distance[inside]
    order = np.lexsort((owner, distance))
    _, nearest = np.unique(np.ravel_multi_index(pixels[order].T, shape), return_index=True)
    kept = order[nearest]
    kept = kept[np.lexsort((distance[kept], owner[kept]))]
    return pixels[kept], owner[kept]


def _up_to_one(mass: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Return how much of each mass its owner takes, in their order, until it has 1."""
    total = np.cumsum(mass)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    before = np.repeat(total[starts] - mass[starts], np.diff(np.append(starts, len(owner))))
    had = total - mass - before
    return np.clip(1 - had, 0, mass)


def _moments(
    image: np.ndarray, pixels: np.ndarray, owner: np.ndarray, taken: np.ndarray
) -> Candidates:
    """Return the candidates of peaks, each with the mass of the pixels that it owns."""

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, values, len(image))

    whole = total(taken)
    some = np.maximum(whole, 1e-12)
    places, variances = [], []
    for axis in (2, 1):
        place = total(taken * pixels[:, axis]) / some
        places.append(place)
        spread = total(taken * (pixels[:, axis] - place[owner]) ** 2) / some
        variances.append(spread + PIXEL_VARIANCE)
    # Those that are sure are equally sure: else their order would be that of rounding errors.
    mass = np.where(whole < 1 - 1e-9, whole, 1.0)
    return Candidates(image, places[0], places[1], variances[0], variances[1], mass)


def count_posterior(
    mass: np.ndarray, expected_counts: np.ndarray, n_largest: int, unseen: float = 0.0
) -> np.ndarray:
    """Return the probabilities that an image holds 0, 1, ... sources.

    Within a sample the candidates are taken as independent, each with its mass scaled to what
    the sample expects; the samples are averaged.

    Args:
        mass: Calibrated probability of each candidate of the image, ``(m,)``.
        expected_counts: How many sources each sample expects, ``(n_samples,)``.
        n_largest: Largest number; its probability is that of so many or more.
        unseen: How many sources without a candidate are expected; their number is Poisson's.

    Returns:
        ``(n_largest + 1,)``, of sum 1.
    """
    mean = expected_counts.mean()
    scale = expected_counts / mean if mean > 0 else np.ones_like(expected_counts)
    probability = np.clip(mass[:, None] * scale, 0, 1)  # (m, n_samples)
    counts = np.zeros((n_largest + 1, len(scale)))
    counts[:-1] = poisson.pmf(np.arange(n_largest), unseen)[:, None]
    counts[-1] = poisson.sf(n_largest - 1, unseen)
    for p in probability:
        up = counts * p
        counts -= up
        counts[1:] += up[:-1]
        counts[-1] += up[-1]
    return counts.mean(axis=1)


def footprints(
    x: np.ndarray, y: np.ndarray, class_probability: np.ndarray, passes: int = 4
) -> Footprints:
    """Share the pixels of an image's class map among its detections.

    Each connected region of pixels that are probably not background goes to the detections in it:
    a pixel of one source to the nearest, a pixel of several to the nearest two and to all whose
    ellipse holds it. Near is in units of each detection's ellipse, which has the second moments
    of its pixels, found by iteration. A detection outside of all regions has its own pixel, and
    each is the nearest to its own pixel, of several in one pixel the first.

    Args:
        x: Columns [pixel], ``(n,)``.
        y: Rows.
        class_probability: ``(3, H, W)``.
        passes: Number of iterations.

    Returns:
        The footprints; pixels of overlaps belong to every source that covers them.
    """
    height, width = class_probability.shape[1:]
    n, x, y = len(x), np.asarray(x), np.asarray(y)
    row, column = nearest_pixels(x, y, (height, width))
    covered = class_probability[0] < 0.5
    covered[row, column] = True
    region, _ = ndimage.label(covered, _EIGHT_CONNECTED)
    own_region = region[row, column]
    boxes = ndimage.find_objects(region)
    nothing = np.zeros(0, int)
    found = [(nothing, nothing, nothing, nothing.astype(bool))]
    # Region by region, so that a large field needs no array of all detections by all pixels.
    for number in np.unique(own_region):
        own = np.flatnonzero(own_region == number)
        box = boxes[number - 1]
        rows, columns = np.nonzero(region[box] == number)
        rows, columns = rows + box[0].start, columns + box[1].start
        several = class_probability[2, rows, columns] > class_probability[1, rows, columns]
        belongs, nearest = _belongs(columns - x[own, None], rows - y[own, None], several, passes)
        centre = np.searchsorted(rows * width + columns, row[own] * width + column[own])
        every = np.arange(len(own))
        belongs[every, centre] = True
        nearest[centre[::-1]] = every[::-1]  # of several in a pixel the first has the last word
        source, pixel = np.nonzero(belongs)
        found.append((own[source], rows[pixel], columns[pixel], nearest[pixel] == source))
    owner, rows, columns, is_nearest = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(owner, kind="stable")
    return Footprints(
        owner[order], rows[order], columns[order], is_nearest[order], n, (height, width)
    )


def _belongs(
    dx: np.ndarray, dy: np.ndarray, several: np.ndarray, passes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels of a region belong to which of its detections, and which is nearest.

    Args:
        dx: Column of each pixel from each detection [pixel], ``(n, pixels)``.
        dy: The same of the row.
        several: Whether a pixel is of several sources, ``(pixels,)``.
        passes: Number of iterations.

    Returns:
        Bool ``(n, pixels)``, and the number of the nearest detection, ``(pixels,)``.
    """
    if len(dx) == 1:
        return np.ones(dx.shape, bool), np.zeros(dx.shape[1], int)
    pairs = np.stack([dx * dx, dx * dy, dy * dy])
    moments = np.tile(np.array([[4.0], [0.0], [4.0]]), len(dx))  # xx, xy, yy of each
    for _ in range(passes):
        share = _shares(*_nearest_two(_distances(pairs, moments)), several, len(dx))
        total = share.sum(axis=1) + 1e-9
        moments = (share * pairs).sum(axis=2) / total
        moments[[0, 2]] += 0.5
    # Inside of an ellipse that is evenly filled the squared distance is below 4.
    inside = _squared(pairs, moments) < 4
    first, second = _nearest_two(_distances(pairs, moments))
    return (_shares(first, second, several, len(dx)) > 0) | (several & inside), first


def _squared(pairs: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return the squared distance [sigma^2] of each pixel from each detection."""
    xx, xy, yy = moments[..., None]
    return (yy * pairs[0] - 2 * xy * pairs[1] + xx * pairs[2]) / (xx * yy - xy**2)


def _distances(pairs: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return minus twice the log of each detection's Gaussian at each pixel."""
    xx, xy, yy = moments[..., None]
    return _squared(pairs, moments) + np.log(xx * yy - xy**2)


def _nearest_two(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the nearest and the second nearest detection of each pixel."""
    first = distance.argmin(axis=0)
    rest = distance.copy()
    rest[first, np.arange(distance.shape[1])] = np.inf
    return first, rest.argmin(axis=0)


def _shares(
    first: np.ndarray, second: np.ndarray, several: np.ndarray, n_detections: int
) -> np.ndarray:
    """Return each detection's share of each pixel: 1 of the nearest, or half of the nearest two."""
    share = np.zeros((n_detections, len(first)))
    every = np.arange(len(first))
    share[first, every] = np.where(several, 0.5, 1)
    share[second, every] = np.where(several, 0.5, 0)
    return share
