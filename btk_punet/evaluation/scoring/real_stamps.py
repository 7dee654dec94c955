"""Which stamps of real galaxies hold two objects, by what their own pixels show.

A second object on the stamp of a galaxy is drawn with it, stands in no catalog, and makes a
detector that finds it look wrong.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Sigma of the Gaussian that smoothes a stamp for its peaks [HST pixel of 0.03 arcsec].
SMOOTHING_PIXELS = 1.5
# A peak is as high as this [sigma of the smoothed stamp's border], and rises so far above the
# saddle to any higher one.
LEAST_HEIGHT_SIGMA, LEAST_RISE_SIGMA = 4.0, 3.5
# Two peaks are two objects if they are alone, the fainter has this share of the brighter, and the
# saddle between them is no higher than this share of the fainter. More peaks than two are the
# structure of one galaxy.
LEAST_RATIO, DEEP_SADDLE = 0.5, 2 / 3


@dataclass(frozen=True)
class Peak:
    """A peak of a stamp.

    Attributes:
        x: Column [pixel].
        y: Row [pixel].
        height: Above the background [sigma of the smoothed stamp].
        saddle: Height of the saddle to the next higher peak [sigma]; of the highest, minus
            infinity.
    """

    x: int
    y: int
    height: float
    saddle: float


def stamp_peaks(image: np.ndarray) -> list[Peak]:
    """Return the peaks of a stamp that stand out of the noise, the highest first.

    Args:
        image: ``(H, W)``, in any unit; its border of 4 pixels gives background and noise.

    Returns:
        Peaks of the smoothed stamp that are higher than 4 sigma and rise by 3.5 sigma above the
        saddle to a higher one. (With constant noise there is no second peak in a smooth galaxy.)
    """
    smooth = ndimage.gaussian_filter(np.asarray(image, float), SMOOTHING_PIXELS)
    inner = np.zeros(smooth.shape, bool)
    inner[4:-4, 4:-4] = True
    border = smooth[~inner]
    background = np.median(border)
    sigma = 1.4826 * np.median(np.abs(border - background))
    if not sigma > 0:
        return []
    height = (smooth - background) / sigma
    summits = (height == ndimage.maximum_filter(height, 3)) & (height > LEAST_HEIGHT_SIGMA)
    peaks = []
    for y, x in sorted(np.argwhere(summits).tolist(), key=lambda place: -height[tuple(place)]):
        saddle = _saddle(height, (y, x))
        if height[y, x] - saddle > LEAST_RISE_SIGMA:
            peaks.append(Peak(x, y, float(height[y, x]), saddle))
    return peaks


def holds_two_objects(image: np.ndarray) -> bool:
    """Tell whether a stamp holds two objects: two separate peaks of like height, and no third."""
    peaks = stamp_peaks(image)
    if len(peaks) != 2:
        return False
    bright, faint = peaks
    return faint.height >= LEAST_RATIO * bright.height and (
        faint.saddle <= DEEP_SADDLE * faint.height
    )


def _saddle(height: np.ndarray, start: tuple[int, int]) -> float:
    """Return the lowest point of the highest way from a peak to anything higher."""
    lowest, seen = np.inf, np.zeros(height.shape, bool)
    seen[start] = True
    queue = [(-height[start], start)]
    while queue:
        negative, (y, x) = heapq.heappop(queue)
        lowest = min(lowest, -negative)
        if height[y, x] > height[start]:
            return float(lowest)
        for row in range(max(y - 1, 0), min(y + 2, height.shape[0])):
            for column in range(max(x - 1, 0), min(x + 2, height.shape[1])):
                if not seen[row, column]:
                    seen[row, column] = True
                    heapq.heappush(queue, (-height[row, column], (row, column)))
    return -np.inf
