"""Do a posterior's samples differ where the image leaves doubt, and agree where it does not?"""

from __future__ import annotations

import numpy as np
import pandas as pd

# Sources that are just above the information limit, among neighbours that overlap them ...
LIMIT_SNR = (5.0, 8.0)
# ... and those that leave no doubt: overlapped by none, and brighter than this.
BRIGHT_SNR = 20.0
KINDS = ("blended, at the limit", "isolated, bright")


class PosteriorSpread:
    """Variance over samples of a pixel's class, inside the footprints of two kinds of sources.

    *Blended, at the limit*: ``5 <= limit_snr < 8``, and another source covers a pixel of the
    footprint. *Isolated, bright*: ``alone_snr > 20``, and none does. Of both, the sources that
    count. A posterior that has collapsed on one answer has no variance in either.
    """

    def __init__(self) -> None:
        self._n_sources = np.zeros(len(KINDS), int)
        self._n_pixels = np.zeros(len(KINDS), int)
        self._sum = np.zeros(len(KINDS))

    def add(self, class_variance: np.ndarray, covered: np.ndarray, truth: pd.DataFrame) -> None:
        """Count one more scene.

        Args:
            class_variance: Population variance over samples of each sample's most probable class,
                shape (H, W).
            covered: Footprint of each source, booleans, shape (n, H, W).
            truth: What `scene_truth` says of each source, n rows.
        """
        overlapped = (covered & (covered.sum(axis=0) > 1)).any(axis=(1, 2))
        alone, limit = truth["alone_snr"].to_numpy(), truth["limit_snr"].to_numpy()
        low, high = LIMIT_SNR
        counts = truth["counts"].to_numpy(bool)
        kinds = (
            counts & overlapped & (limit >= low) & (limit < high),
            counts & ~overlapped & (alone > BRIGHT_SNR),
        )
        for kind, chosen in enumerate(kinds):
            footprints = covered[chosen]
            self._n_sources[kind] += footprints.any(axis=(1, 2)).sum()
            self._n_pixels[kind] += footprints.sum()
            self._sum[kind] += (footprints.sum(axis=0) * class_variance).sum()

    def table(self) -> pd.DataFrame:
        """Return one row per kind: ``n_sources``, ``n_pixels`` and mean ``variance`` of a pixel."""
        variance = np.full(len(KINDS), np.nan)
        np.divide(self._sum, self._n_pixels, out=variance, where=self._n_pixels > 0)
        return pd.DataFrame(
            {"n_sources": self._n_sources, "n_pixels": self._n_pixels, "variance": variance},
            index=pd.Index(KINDS, name="sources"),
        )

    def ratio(self) -> float:
        """Return how much larger the variance is in blends; NaN where there is none to divide by.

        Infinity where the samples agree in every pixel of the isolated sources, but not in blends.
        """
        blended, isolated = self.table()["variance"]
        if isolated == 0:
            return float("inf") if blended > 0 else float("nan")
        return float(blended / isolated)
