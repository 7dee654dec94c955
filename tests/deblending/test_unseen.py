"""How many sources leave no candidate."""

import numpy as np
import pytest

from btk_punet.deblending.unseen import UnseenSources
from btk_punet.errors import InputError


def test_none_by_default():
    assert UnseenSources()(10_000, 1.0, 1.0) == 0


def test_by_hand():
    unseen = UnseenSources(1e-3, np.log(0.5), np.log(3))
    assert unseen(2000, 0, 0) == pytest.approx(2)
    assert unseen(2000, 1, 0) == pytest.approx(1)
    assert unseen(2000, 1, 1) == pytest.approx(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_pixel": -1e-6}, "per_pixel as a finite number of at least 0, got -1e-06"),
        ({"per_pixel": "few"}, "per_pixel as a finite number, got 'few'"),
        ({"depth": np.inf}, "depth as a finite number, got inf"),
        ({"density": None}, "density as a finite number, got None"),
    ],
)
def test_numbers_that_are_none(options, message):
    with pytest.raises(InputError, match=message):
        UnseenSources(**options)


def test_fit_recovers_the_rate():
    rng = np.random.default_rng(4)
    depth, density = rng.integers(0, 2, (2, 4000))
    n_pixels = rng.choice([4096, 65536], 4000)
    true = UnseenSources(1e-5, -1.0, -0.5)
    expected = [true(*row) for row in zip(n_pixels, depth, density, strict=True)]
    found = UnseenSources.fit(rng.poisson(expected), n_pixels, depth, density, np.ones(4000))
    # About 1000 sources in all, of which a tenth or so are deep and dense.
    assert found.per_pixel == pytest.approx(1e-5, rel=0.15)
    assert found.depth == pytest.approx(-1, abs=0.25)
    assert found.density == pytest.approx(-0.5, abs=0.25)


def test_without_an_unseen_source_the_rate_is_small():
    depth = np.arange(100) % 2
    found = UnseenSources.fit(np.zeros(100), np.full(100, 4096), depth, np.zeros(100), np.ones(100))
    # At most half of one in all images.
    assert 0 < found.per_pixel < 0.5 / (100 * 4096)
    assert np.isfinite([found.depth, found.density]).all()


def test_a_weight_counts_like_as_many_images():
    number, weight = np.array([0, 1, 3, 2]), np.array([1, 4, 2, 1])
    depth, density = np.array([0.0, 0.5, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    columns = number, np.full(4, 1000), depth, density
    weighted = UnseenSources.fit(*columns, weight)
    repeated = UnseenSources.fit(*(np.repeat(column, weight) for column in columns), np.ones(8))
    for name, value in vars(weighted).items():
        assert value == pytest.approx(getattr(repeated, name))
