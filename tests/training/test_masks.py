"""Masks: how much they leave, and what they hold."""

import numpy as np
import pytest

from btk_punet.training.masks import GARBAGE, draw_mask


@pytest.mark.parametrize("size", [8, 33, 64])
def test_a_mask_leaves_three_quarters(size):
    rng = np.random.default_rng(0)
    for _ in range(100):
        usable, garbage = draw_mask(size, rng)
        assert usable.mean() >= 0.75
        assert garbage.shape == ((~usable).sum(),)
        assert (np.isnan(garbage) | np.isin(garbage, np.array(GARBAGE, np.float32))).all()
