"""Where sources stand on a stamp."""

import numpy as np

from btk_punet.training.places import (
    FIELD_DENSITY_PER_ARCMIN2,
    FIELD_MARGIN_PIXELS,
    field_places,
    group_places,
    pair_places,
)


def test_fields_are_as_dense_as_said():
    rng = np.random.default_rng(0)
    size, side = 256, (256 + 2 * FIELD_MARGIN_PIXELS) * 0.1 / 60  # [arcmin]
    densities = [len(field_places(size, rng)) / side**2 for _ in range(200)]
    low, high = FIELD_DENSITY_PER_ARCMIN2
    mean = (high - low) / np.log(high / low)  # of a density that is uniform in its logarithm
    assert abs(np.mean(densities) - mean) < 4 * np.std(densities) / np.sqrt(200)


def test_groups_and_pairs_keep_together():
    rng = np.random.default_rng(0)
    groups = [group_places(64, rng) for _ in range(300)]
    assert {len(group) for group in groups} == set(range(1, 11))
    assert max(np.ptp(group, axis=0).max() for group in groups) <= 50
    pairs = [pair_places(64, rng) for _ in range(300)]
    apart = [np.hypot(*(one - other)) for one, other in pairs]
    assert 1.0 <= min(apart) < 1.5 and 14.5 < max(apart) <= 15.0
