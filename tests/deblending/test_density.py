"""How dense sources lie, from what a detector makes of a batch: closed forms and places by hand."""

import numpy as np
import pytest
from scipy.optimize import brentq

from btk_punet.deblending.density import (
    LARGEST_RATIO,
    PRIOR_PAIRS,
    bright_candidates,
    estimate_density_ratio,
    expected_pairs,
)
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.recipe import reweighted
from btk_punet.simulation.density import SKY_NEIGHBOURS
from tests.deblending.conftest import gaussian, make_batch


def candidates(places, mass):
    """Candidates at (image, x, y)."""
    image, x, y = np.asarray(places, float).reshape(-1, 3).T
    ones = np.ones(len(image))
    return Candidates(image.astype(int), x, y, ones, ones, mass * ones)


def test_nothing_is_the_sky():
    assert expected_pairs(candidates([], 1.0), 64, 0.1) == (0.0, 0.0)
    assert estimate_density_ratio(lambda ratio: (0.0, 0.0)) == 1.0


def test_pairs_by_hand():
    # Two near each other, a third 3 arcsec away, and one at the same place of another image.
    places = [(0, 50, 50), (0, 60, 50), (0, 50, 80), (1, 50, 50)]
    pairs, sources = expected_pairs(candidates(places, 1.0), 101, 0.1)
    assert pairs == pytest.approx(1.0) and sources == pytest.approx(4.0)
    pairs, sources = expected_pairs(candidates(places, 0.5), 101, 0.1)
    assert pairs == pytest.approx(0.25) and sources == pytest.approx(2.0)
    # Another pixel: all three are neighbours, but each image stands alone.
    assert expected_pairs(candidates(places, 1.0), 201, 0.05)[0] == pytest.approx(3.0)


def test_what_lies_beyond_the_border_is_not_seen():
    places = [(0, 50, 50), (0, -0.5, 50), (0, -0.5, 100.5)]
    for place, share in zip(places, (1.0, 0.5, 0.25), strict=True):
        assert expected_pairs(candidates([place], 1.0), 101, 0.1)[1] == pytest.approx(
            share, abs=0.02
        )


@pytest.mark.parametrize("n_pairs", [1, 10, 1000])
def test_of_sure_sources_it_is_the_mean_of_a_gamma_law(n_pairs):
    expected = (PRIOR_PAIRS + n_pairs) / (PRIOR_PAIRS + SKY_NEIGHBOURS * n_pairs)
    found = estimate_density_ratio(lambda ratio: (n_pairs, 2 * n_pairs))
    assert found == pytest.approx(expected)


def test_few_sources_say_little_and_the_sky_has_none_left():
    few, many = (estimate_density_ratio(lambda ratio, n=n: (0.0, n)) for n in (2.0, 200.0))
    assert 0.8 < few < 1 and many == pytest.approx(1 / (1 + 0.5 * SKY_NEIGHBOURS * 200))
    assert estimate_density_ratio(lambda ratio: (1e9, 2.0)) == LARGEST_RATIO


@pytest.mark.parametrize("p", [0.3, 0.5, 0.9])
def test_the_fixed_point_of_doubtful_pairs(p):
    """A sure source in each of 500 images, and beside it another one in doubt."""
    n = 500

    def expected(ratio):
        doubtful = float(reweighted(np.array(p), ratio / 6.0))
        return n * doubtful, n * (1 + doubtful)

    def moved(log_ratio):
        pairs, sources = expected(np.exp(log_ratio))
        by_the_sky = SKY_NEIGHBOURS * sources / 2
        return np.log((PRIOR_PAIRS + pairs) / (PRIOR_PAIRS + by_the_sky)) - log_ratio

    found = estimate_density_ratio(expected)
    assert np.log(found) == pytest.approx(brentq(moved, -2.9, 4), abs=0.15)


def test_bright_and_faint():
    # 1000 electrons are I_E = 25.3 in one exposure; a hundredth is 5 magnitudes fainter.
    images = np.array([gaussian(30, 30, 2000), gaussian(30, 30, 20)])
    batch = make_batch(images)
    found = candidates([(0, 30, 30), (0, 5, 5), (1, 30, 30)], 0.7)
    kept = bright_candidates(batch, batch.blend_images, found)
    np.testing.assert_array_equal([kept.image, kept.x], [[0], [30]])
    assert len(bright_candidates(batch, batch.blend_images, found.take(slice(0, 0)))) == 0
