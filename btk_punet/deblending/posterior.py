"""What the samples of a `ProbaUNet` say together: probabilities, means, variances, counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from btk_punet.model.proba_unet import ProbaUNet


@dataclass(frozen=True)
class PosteriorMaps:
    """Summaries of the samples of ``b`` images.

    Attributes:
        class_probability: Mean over samples of the probability of background, isolated and
            blended, ``(b, 3, H, W)``.
        class_mean: Mean over samples of each sample's most probable class, ``(b, H, W)``.
        class_variance: Population variance of the same, ``(b, H, W)``.
        centre_probability: Mean over samples of the probability that the pixel holds a source's
            centre, ``(b, H, W)``.
        expected_counts: Sum over the pixels of each sample's centre probability: how many sources
            the sample expects, ``(n_samples, b)``.
    """

    class_probability: np.ndarray
    class_mean: np.ndarray
    class_variance: np.ndarray
    centre_probability: np.ndarray
    expected_counts: np.ndarray

    @classmethod
    def from_network(
        cls,
        network: ProbaUNet,
        images: np.ndarray,
        n_samples: int,
        seed: int = 0,
        mask: np.ndarray | None = None,
        density_ratio: float | None = None,
        orientations: int = 1,
        origin: tuple[int, int] | None = None,
        centre_samples: np.ndarray | None = None,
    ) -> PosteriorMaps:
        """Draw samples and sum them up as they come.

        Args:
            network: The model.
            images: ``(b, H, W, bands)``, divided by the noise.
            n_samples: Number of samples.
            seed: Seed of the samples.
            mask: ``(b, H, W)`` bool, True where a pixel is usable, or None.
            density_ratio: What a network with ``told_density`` is told; None for nothing.
            orientations: In how many orientations an image goes through the network.
            origin: Row and column of the first pixel in a larger image; None if there is none.
            centre_samples: Array that is filled with the centre map of each sample,
                ``(n_samples, b, H, W)``; None keeps none.
        """
        shape = np.shape(images)[:3]
        probability = np.zeros((3, *shape), np.float32)
        isolated, blended, centre = (np.zeros(shape, np.float32) for _ in range(3))
        counts = np.zeros((n_samples, shape[0]))
        for some, few, sums in network.iter_sums(
            images, n_samples, seed, mask, density_ratio, orientations, origin
        ):
            probability[:, few] += sums["class"]
            isolated[few] += sums["most"][0]
            blended[few] += sums["most"][1]
            centre[few] += sums["centre"]
            counts[some, few] = sums["counts"]
            if centre_samples is not None:
                centre_samples[some, few] = sums["centre_samples"]
        mean = (isolated + 2 * blended) / n_samples
        squares = isolated + 4 * blended
        return cls(
            np.moveaxis(probability, 0, 1) / n_samples,
            mean,
            np.maximum(squares / n_samples - mean**2, 0),
            centre / n_samples,
            counts,
        )
