import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.counts import (
    count_transform,
    largest_gap,
    most_probable_counts,
    posteriors_of,
    true_counts,
)


def random_posteriors(n, seed, max_n_sources=8):
    return np.random.default_rng(seed).dirichlet(np.full(max_n_sources + 1, 0.7), n)


def drawn(posteriors, seed):
    """Draw a count from each posterior."""
    u = np.random.default_rng(seed).random(len(posteriors))
    return (u[:, None] > posteriors.cumsum(axis=1)[:, :-1]).sum(axis=1)


class TestTrueCounts:
    def test_no_source(self):
        truth = pd.DataFrame(columns=["scene", "x", "y", "alone_snr"], dtype=float)
        assert true_counts(truth, 64, 3).tolist() == [0, 0, 0]
        assert true_counts(truth, 64, 0).tolist() == []

    def test_counted_by_hand(self):
        truth = pd.DataFrame(
            [
                (0, 0.0, 63.0, 9.0),
                (0, -0.5, 63.49, 2.1),  # still in the first and last pixel
                (0, 10.0, 10.0, 2.0),  # too faint
                (2, -0.51, 10.0, 9.0),  # outside
                (2, 10.0, 63.5, 9.0),  # outside
                (2, 1.0, 1.0, 9.0),
            ],
            columns=["scene", "x", "y", "alone_snr"],
        )
        assert true_counts(truth, 64, 4).tolist() == [2, 0, 1, 0]

    def test_too_few_scenes(self):
        truth = pd.DataFrame({"scene": [5], "x": [1.0], "y": [1.0], "alone_snr": [9.0]})
        with pytest.raises(InputError, match="numbered from 0 to 4, got 5"):
            true_counts(truth, 64, 5)


class TestCountTransform:
    def test_nothing(self):
        assert count_transform(np.zeros((0, 4)), np.zeros(0, int)).shape == (0,)

    def test_between_the_sums_of_the_posterior(self):
        posteriors = np.tile([0.1, 0.2, 0.3, 0.4], (1000, 1))
        for k, low, high in [(0, 0.0, 0.1), (1, 0.1, 0.3), (2, 0.3, 0.6), (3, 0.6, 1.0)]:
            values = count_transform(posteriors, np.full(1000, k))
            assert low <= values.min() < low + 0.01
            assert high - 0.01 < values.max() <= high

    def test_a_sure_posterior_that_is_right(self):
        values = count_transform(np.tile([0, 1.0, 0], (2000, 1)), np.ones(2000, int))
        assert kstest(values, "uniform").pvalue > 0.01

    def test_counts_that_the_posterior_excludes(self):
        posterior = [[0, 1.0, 0]] * 3
        assert count_transform(posterior, [0, 2, 7]).tolist() == [0.0, 1.0, 1.0]

    def test_counts_drawn_from_the_posteriors(self):
        posteriors = random_posteriors(20_000, seed=1)
        values = count_transform(posteriors, drawn(posteriors, seed=2))
        assert largest_gap(values) < 1.36 / np.sqrt(20_000)
        assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(2000, rel=0.08)

    def test_counts_that_are_not_drawn_from_the_posteriors(self):
        posteriors = random_posteriors(20_000, seed=1)
        counts = drawn(posteriors, seed=2)
        one_more = count_transform(posteriors, np.minimum(counts + 1, 8))
        assert largest_gap(one_more) > 0.1
        narrow = posteriors**3 / (posteriors**3).sum(axis=1, keepdims=True)
        ends = np.histogram(count_transform(narrow, counts), 10, (0, 1))[0][[0, -1]]
        assert (ends > 2500).all()

    def test_seed(self):
        posteriors = random_posteriors(5, seed=1)
        one, same, other = (count_transform(posteriors, np.ones(5), seed) for seed in (0, 0, 1))
        assert (one == same).all()
        assert (one != other).all()

    @pytest.mark.parametrize(("posteriors", "counts"), [([0.5, 0.5], [1]), ([[1.0]], [0, 0])])
    def test_shapes_that_do_not_fit(self, posteriors, counts):
        with pytest.raises(InputError, match=r"shape \(n, max_n_sources \+ 1\)"):
            count_transform(posteriors, counts)

    @pytest.mark.parametrize("posterior", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]])
    def test_no_posterior(self, posterior):
        with pytest.raises(InputError, match="probabilities that sum to 1"):
            count_transform([posterior], [0])

    @pytest.mark.parametrize("count", [-1, 0.5, np.nan])
    def test_no_count(self, count):
        with pytest.raises(InputError, match="whole numbers, 0 or more"):
            count_transform([[0.5, 0.5]], [count])


class TestLargestGap:
    def test_nothing(self):
        assert np.isnan(largest_gap([]))

    @pytest.mark.parametrize(
        ("values", "gap"), [([0.5], 0.5), ([0.0], 1.0), ([1.0], 1.0), ([0.25, 0.75], 0.25)]
    )
    def test_by_hand(self, values, gap):
        assert largest_gap(values) == gap

    def test_is_that_of_kolmogorov_and_smirnov(self):
        values = np.random.default_rng(3).beta(0.8, 1.3, 200)
        assert largest_gap(values) == pytest.approx(kstest(values, "uniform").statistic)


class TestMostProbableCounts:
    def test_nothing(self):
        said, right = most_probable_counts(np.zeros((0, 3)), np.zeros(0, int))
        assert said.shape == right.shape == (0,)

    def test_counted_by_hand(self):
        posteriors = [[0.2, 0.7, 0.1], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]]
        said, right = most_probable_counts(posteriors, np.array([1, 1, 2, 5]))
        assert said.tolist() == [0.7, 0.4, 0.8, 0.8]
        # Of equals the smallest; the last probability is that of so many, or more.
        assert right.tolist() == [True, False, True, True]

    def test_rounding(self):
        said, _ = most_probable_counts(np.array([[0.0, 1.00000012]]), np.array([1]))
        assert said.tolist() == [1.0]


def test_posteriors_of_the_numbers_that_a_method_allows():
    counts = pd.DataFrame({"true_count": [0, 1], "p_0": [0.5, 0.2], "p_1": [0.5, 0.8]})
    counts["p_2"] = np.nan
    assert posteriors_of(counts).tolist() == [[0.5, 0.5], [0.2, 0.8]]
