import time
import warnings

import numpy as np
import pytest
from astropy.table import Table
from btk.match import Matching, PixelHungarianMatcher
from btk.metrics.detection import Efficiency, Precision, Recall

from btk_punet.evaluation.scoring import matching
from btk_punet.evaluation.scoring.matching import Matcher, lone_pairs, pair_groups


def catalog(*positions, **columns):
    x, y = np.array(positions, float).reshape(-1, 2).T
    return Table({"x_peak": x, "y_peak": y, **columns})


def match(true, found, **kwargs):
    """Return the pairs (source, detection) of positions (x, y) [pixel]."""
    true, found = (np.array(p, float).reshape(-1, 2) for p in (true, found))
    sources, detections = Matcher(**kwargs).match_positions(*true.T, *found.T)
    return list(zip(sources.tolist(), detections.tolist(), strict=True))


def best_by_trying_all(true, found, radius):
    """Return the most pairs that there can be, and the least total distance among those."""
    distance = np.hypot(*(true[:, None] - found[None]).transpose(2, 0, 1))

    def best(source, free):
        if source == len(true):
            return 0, 0.0
        options = [best(source + 1, free)]
        for detection in free:
            if distance[source, detection] < radius:
                pairs, total = best(source + 1, free - {detection})
                options.append((pairs + 1, total + distance[source, detection]))
        return max(options, key=lambda option: (option[0], -option[1]))

    return best(0, frozenset(range(len(found))))


class TestPositions:
    @pytest.mark.parametrize(
        ("true", "found"), [([], []), ([(1, 2)], []), ([], [(1, 2)]), ([(1, 2)], [(40, 40)])]
    )
    def test_nothing_to_pair(self, true, found):
        assert match(true, found) == []

    def test_one_pair(self):
        assert match([(10, 10)], [(30, 30), (11, 10)]) == [(0, 1)]

    def test_closer_than_the_radius_not_as_far(self):
        assert match([(10, 10)], [(13, 10)]) == []  # 0.3 arcsec
        assert match([(10, 10)], [(10, 7)]) == []
        assert match([(10, 10)], [(12.999999, 10)]) == [(0, 0)]

    def test_same_place(self):
        assert match([(10, 10)], [(10, 10)]) == [(0, 0)]

    def test_a_detection_serves_one_source(self):
        assert match([(10, 10), (11, 10)], [(10.9, 10)]) == [(1, 0)]

    def test_a_source_takes_one_detection(self):
        assert match([(10, 10)], [(11, 10), (10.5, 10)]) == [(0, 1)]

    def test_more_pairs_come_before_shorter_ones(self):
        # Source 1 takes the farther detection, so that source 0 has one too.
        assert match([(10, 10), (12, 10)], [(12, 10), (14.5, 10)]) == [(0, 0), (1, 1)]

    def test_more_pairs_however_long_the_chain(self):
        # Only a shift of the whole chain by one pairs all.
        true = [(2.9 * k, 0) for k in range(50)]
        found = [(2.9 * k + 2.8, 0) for k in range(50)]
        assert match(true, found) == [(k, k) for k in range(50)]

    def test_among_as_many_pairs_the_shortest(self):
        assert match([(10, 10), (12, 10)], [(12.1, 10), (10.1, 10)]) == [(0, 1), (1, 0)]

    def test_order_of_the_truth(self):
        rng = np.random.default_rng(0)
        true = rng.uniform(0, 500, (200, 2))
        order = rng.permutation(200)
        pairs = match(true, true[order])
        assert [source for source, _ in pairs] == list(range(200))
        assert [order[detection] for _, detection in pairs] == list(range(200))

    @pytest.mark.parametrize("seed", range(400))
    def test_best_of_all_ways_to_pair(self, seed):
        rng = np.random.default_rng(seed)
        n_true, n_found = rng.integers(1, 7, 2)
        size = rng.uniform(2, 20)
        true, found = rng.uniform(0, size, (n_true, 2)), rng.uniform(0, size, (n_found, 2))
        pairs = match(true, found)
        sources, detections = np.array(pairs, int).reshape(-1, 2).T
        assert len(set(sources)) == len(set(detections)) == len(pairs)
        distance = np.hypot(*(true[sources] - found[detections]).T)
        assert (distance < 3).all()
        n_best, least = best_by_trying_all(true, found, 3.0)
        assert len(pairs) == n_best
        assert distance.sum() == pytest.approx(least)

    @pytest.mark.parametrize("seed", range(5))
    def test_a_tree_finds_the_same_pairs(self, seed, monkeypatch):
        true, found = np.random.default_rng(seed).uniform(0, 30, (2, 40, 2))
        pairs = match(true, found)
        monkeypatch.setattr(matching, "FEW_PAIRS", 0)
        assert len(pairs) > 5 and match(true, found) == pairs

    def test_large_scenes_are_fast(self):
        rng = np.random.default_rng(0)
        true = rng.uniform(0, 1000, (5000, 2))
        found = rng.permutation(true) + rng.normal(0, 1, (5000, 2))
        start = time.perf_counter()
        pairs = match(true, found)
        assert time.perf_counter() - start < 10  # 0.05 s on one core
        assert len(pairs) > 4900


class TestSettings:
    def test_radius(self):
        assert match([(10, 10)], [(15, 10)]) == []
        assert match([(10, 10)], [(15, 10)], radius_arcsec=0.6) == [(0, 0)]

    def test_pixel_scale(self):
        assert match([(10, 10)], [(12, 10)]) == [(0, 0)]
        assert match([(10, 10)], [(12, 10)], pixel_scale_arcsec=0.2) == []

    @pytest.mark.parametrize("name", ["radius_arcsec", "pixel_scale_arcsec"])
    @pytest.mark.parametrize("value", [0, -0.3, np.nan])
    def test_must_be_above_zero(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be above 0 arcsec, got {value}"):
            Matcher(**{name: value})

    def test_positions_must_be_finite(self):
        with pytest.raises(ValueError, match="Every detection must have a finite position"):
            match([(1, 1)], [(1, 1), (np.nan, 1)])
        with pytest.raises(ValueError, match="Every source must have a finite position"):
            match([(np.inf, 1)], [(1, 1)])


class TestCatalogs:
    def test_no_scene_has_anything(self):
        matching = Matcher()([catalog(), catalog()], [catalog(), catalog()])
        assert isinstance(matching, Matching)
        assert [len(rows) for rows in matching.true_matches] == [0, 0]

    def test_btk_loses_a_pair_that_is_kept_here(self):
        # Both detections are 2.9 pixels from a source of their own. BTK prefers a total distance
        # of 0 + 4.1 to 2.9 + 2.9, and then cuts the pair at 4.1.
        truth, found = [catalog((10, 10), (12.9, 10))], [catalog((12.9, 10), (12.9, 12.9))]
        assert PixelHungarianMatcher(pixel_max_sep=3.0)(truth, found).tp.tolist() == [1]
        assert Matcher()(truth, found).tp.tolist() == [2]

    def test_sources_too_faint_are_left_out(self):
        truth = catalog((10, 10), (20, 20), (30, 30), alone_snr=[2.0, 2.001, 50])
        sources, detections = Matcher().match_catalogs(truth, catalog((30, 30), (10, 10), (20, 20)))
        assert sources.tolist() == [1, 2]
        assert detections.tolist() == [2, 0]

    def test_a_faint_source_takes_no_detection_from_a_bright_one(self):
        truth = catalog((10, 10), (12, 10), alone_snr=[1.0, 9.0])
        sources, detections = Matcher().match_catalogs(truth, catalog((10, 10)))
        assert (sources.tolist(), detections.tolist()) == ([1], [0])

    def test_only_faint_sources(self):
        matching = Matcher()([catalog((10, 10), alone_snr=[1.0])], [catalog((10, 10))])
        assert matching.tp.tolist() == [0]
        assert matching.n_true.tolist() == [1]

    def test_masked_columns(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            truth = Table(catalog((10, 10)), masked=True)
            assert Matcher()([truth], [catalog((10, 10))]).tp.tolist() == [1]

    def test_btk_metrics_take_the_result(self):
        # Scene 0: two of three sources found, by two of four detections. Scene 1: none of one.
        # Scene 2: no source, two detections. Scene 3: two of two.
        truth = [
            catalog((10, 10), (20, 20), (30, 30)),
            catalog((5, 5)),
            catalog(),
            catalog((1, 1), (8, 8)),
        ]
        found = [
            catalog((10, 11), (20, 21), (50, 50), (10, 9)),
            catalog(),
            catalog((3, 3), (9, 9)),
            catalog((1, 1), (8, 8)),
        ]
        matching = Matcher()(truth, found)
        counts = matching.tp, matching.t, matching.p
        assert Recall(4)(*counts) == 4 / 6
        assert Precision(4)(*counts) == 4 / 8
        assert Efficiency(4)(*counts).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
        assert [len(table) for table in matching.match_true_catalogs(truth)] == [2, 0, 0, 2]
        assert matching.match_pred_catalogs(found)[0]["y_peak"].tolist() in ([11, 21], [9, 21])


def test_gains_of_nothing():
    none = np.zeros(0)
    assert Matcher().gains(none, none, none, none).shape == (0,)
    assert Matcher().gains(none, none, [1.0], [2.0]).tolist() == [False]
    assert Matcher().gains([1.0], [2.0], none, none).tolist() == []


@pytest.mark.parametrize(
    ("truth", "found", "gains"),
    [
        ([10], [10, 10.1], [True, False]),  # the nearer one comes too late
        ([10], [10.8, 10.0], [True, False]),
        ([10, 14], [12, 12], [True, True]),
        # The first reaches both, and leaves the left one to the second.
        ([10, 14], [11.5, 8, 13], [True, True, False]),
        ([10, 20], [30, 10, 20, 20.5], [False, True, True, False]),
    ],
)
def test_gains_counted_by_hand(truth, found, gains):
    result = Matcher().gains(truth, np.zeros(len(truth)), found, np.zeros(len(found)))
    assert result.tolist() == gains


@pytest.mark.parametrize("seed", range(20))
def test_gains_add_up_to_the_pairs_at_any_threshold(seed):
    rng = np.random.default_rng(seed)
    true_x, true_y, x, y = (rng.uniform(0, 14, n) for n in (9, 9, 13, 13))
    gains = Matcher().gains(true_x, true_y, x, y)
    for kept in range(len(x) + 1):
        pairs, _ = Matcher().match_positions(true_x, true_y, x[:kept], y[:kept])
        assert gains[:kept].sum() == len(pairs)


def test_pairs_without_rivals():
    i, j = np.array([0, 1, 1, 2, 3]), np.array([4, 0, 1, 2, 2])
    assert lone_pairs(i, j).tolist() == [True, False, False, False, False]
    assert lone_pairs(i[:0], j[:0]).tolist() == []


def test_groups_of_pairs():
    assert pair_groups(np.zeros(0, int), np.zeros(0, int)) == []
    # 0-5, 0-6 and 3-6 hang together; 1-2 and 4-2 do; 2-0 stands alone, as a source 2 is no
    # detection 2.
    i, j = np.array([0, 0, 1, 2, 3, 4]), np.array([5, 6, 2, 0, 6, 2])
    assert [group.tolist() for group in pair_groups(i, j)] == [[0, 1, 4], [2, 5], [3]]
