"""The noise of many stamps at once, and what a subtraction of the sky leaves over."""

import numpy as np

# Sky residuals: level and slopes are normal with this many sigma; some stamps have large ones.
RESIDUAL_SIGMA, LARGE_RESIDUAL_SIGMA, LARGE_RESIDUAL_SHARE = 0.03, 0.15, 0.05


def add_noise(
    flux: np.ndarray,
    exposures: np.ndarray,
    read_variance: np.ndarray,
    sky_electrons: float,
    rng: np.random.Generator,
) -> None:
    """Add photon and read noise [electron] to images of shape (b, H, W), in place.

    The photons are Poisson's, of sky and sources together: 156 of the sky at the least. Of
    such a number mean, variance (to 4e-4) and skewness are those of a normal one with the
    first term of the Cornish-Fisher expansion, at a tenth of the cost of `rng.poisson`.
    """
    exposures, read_variance = exposures[:, None, None], read_variance[:, None, None]
    photons = flux + exposures * np.float32(sky_electrons)
    variance = photons + exposures * read_variance
    noise = rng.standard_normal(flux.shape, np.float32)
    # The skewness of the sum over 6, times sigma: Poisson's third moment is its mean.
    noise_skew = (noise**2 - 1) * (photons / (6 * variance))
    flux += noise * np.sqrt(variance) + noise_skew


def add_sky_residuals(flux: np.ndarray, rng: np.random.Generator) -> None:
    """Add a level and two slopes to each image, in place; shape (b, H, H), in units of sigma."""
    batch_size, size = flux.shape[:2]
    # The slopes have the level's own rms.
    ramp = (np.arange(size) - (size - 1) / 2) / np.std(np.arange(size))
    planes = np.stack(
        [np.ones((size, size)), np.tile(ramp, (size, 1)), np.tile(ramp[:, None], size)]
    ).astype(np.float32)
    large = rng.random(batch_size) < LARGE_RESIDUAL_SHARE
    strength = np.where(large, LARGE_RESIDUAL_SIGMA, RESIDUAL_SIGMA)[:, None]
    residual = (strength * rng.standard_normal((batch_size, 3))).astype(np.float32)
    flux += np.tensordot(residual, planes, axes=1)
