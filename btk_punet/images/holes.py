"""Small holes in an image, filled for the network with what the pixels around them say.

The network was trained with masks, but not with single pixels, and what it says of masked pixels
was no part of its loss. Left to it, scattered pixels make it see sources in the noise around them,
and sources whose centre lies under a dead column are lost (``benchmarks/masked_images.py``).
"""

import numpy as np
from scipy import ndimage

# A hole is filled where so many of the eight pixels around it can be used: those of dead columns
# and of tracks one or two pixels wide, but not the inside of a disc.
LEAST_NEIGHBOURS = 3
# Their mean is believed as far as it lies above its own noise times this: a mean of noise makes
# faint sources of its noise.
SIGNIFICANT = 3.0
_WEIGHTS = np.array([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]])


def fill_holes(
    electrons: np.ndarray, variance: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fill masked pixels that have enough usable ones around them.

    With ``m`` the weighted mean of the usable neighbours and ``s`` its noise, the pixel gets
    ``m * max(0, 1 - (SIGNIFICANT * s / m)^2)``: nearly the mean in the light of a source, and 0,
    the sky, where there is none.

    Args:
        electrons: Light, its background subtracted [electron], ``(h, w)``.
        variance: Of the background [electron^2], ``(h, w)``.
        usable: Which pixels have a value, bool ``(h, w)``.

    Returns:
        The light, float32, and which pixels now have a value; the arrays given are not changed.
    """
    if usable.all():
        return electrons, usable

    def around(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return ndimage.correlate(np.where(usable, values, 0.0), weights, mode="constant")

    one = np.ones(usable.shape)
    n_neighbours = around(one, (_WEIGHTS > 0).astype(float))
    hole = ~usable & (n_neighbours > LEAST_NEIGHBOURS - 0.5)
    weight = np.where(hole, around(one, _WEIGHTS), 1.0)
    mean = around(electrons, _WEIGHTS) / weight
    noise_squared = around(variance, _WEIGHTS**2) / weight**2
    excess = np.maximum(mean**2 - SIGNIFICANT**2 * noise_squared, 0.0)
    value = np.divide(excess, mean, out=np.zeros_like(mean), where=mean != 0)
    return np.where(hole, value, electrons).astype(np.float32), usable | hole
