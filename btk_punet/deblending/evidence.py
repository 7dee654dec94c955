"""What the pixels say of candidates: how much worse they would be described without each one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from btk_punet.deblending.columns import Columns

# A smaller share is as good as none, and has no logarithm to speak of.
LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class Evidence(Columns):
    """What the pixels say of ``m`` candidates.

    Attributes:
        is_fitted: Whether it is one of the sources that were fitted, bool ``(m,)``; the others were
            tested against the fit of these.
        gain: By how much the pixels are better described with it [sigma], the light that its
            neighbours could give and their structure taken off.
        share: Share of its light that no neighbour could give.
        move: How far the fit is from the network's place [pixel]; 0 of those tested.
        excess: By how much chi squared of the pixels within 8 pixels is larger than their
            number, and than the square of the gain of one that was tested; 0 at least. It shows
            light that the fit does not follow: the structure of galaxies, or further sources.
    """

    is_fitted: np.ndarray
    gain: np.ndarray
    share: np.ndarray
    move: np.ndarray
    excess: np.ndarray
