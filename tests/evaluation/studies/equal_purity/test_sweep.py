import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.candidates import LOWEST_THRESHOLD
from btk_punet.evaluation.scoring.counting import completeness_total, purity_total
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.studies.equal_purity.sweep import (
    default_thresholds,
    purity_completeness_curve,
    sum_by_unit,
)
from tests.evaluation.conftest import bright_scenes, deblend_batch, random_scenes

COLUMNS = [
    "threshold",
    "n_detections",
    "n_matched_detections",
    "purity",
    "purity_lo",
    "purity_hi",
    "n_truth",
    "n_found",
    "completeness",
    "completeness_lo",
    "completeness_hi",
]


def source_rows(rows):
    """Return a truth table from (scene, x, y, alone_snr, counts)."""
    return pd.DataFrame(rows, columns=["scene", "x", "y", "alone_snr", "counts"])


def candidate_rows(rows):
    """Return candidates from (scene, x, y, p_detect, in_bounds)."""
    return pd.DataFrame(rows, columns=["scene", "x", "y", "p_detect", "in_bounds"])


def at_threshold(batch, found, threshold):
    """Return the deblended batch with what is at or above a threshold."""
    return deblend_batch([table[table["p_detect"] >= threshold] for table in found.catalog_list])


def with_random_p(found, seed):
    """Give every detection a ``p_detect``; some of them the same."""
    rng = np.random.default_rng(seed)
    for table in found.catalog_list:
        table["p_detect"] = rng.uniform(0.02, 1, len(table)).round(2)
    return found


# Two scenes, counted by hand. One pixel is 0.1 arcsec, so that pairs are closer than 3 pixels.
#
#   scene  source  x   alone_snr             candidates: x, p_detect
#   7      0       10  50, counts            10, 0.9 (hits 0); 11, 0.5 (second of 0)
#   7      1       14  9, counts             12, 0.3 (reaches 0 and 1)
#   7      2       30  3, does not count     30, 0.7 (hits 2)
#   9      3       10  50, counts            1, 0.9, out of bounds; 40, 0.3 (spurious)
#   9      4       50  1, cannot be matched  50, 0.5 (spurious)
#
# At 0.9: one detection, matched; 1 of 3 found. At 0.7: also that of source 2, 2 of 2 matched. At
# 0.5: the second one of source 0 and that on source 4 are wrong, 2 of 4. At 0.3: the candidate at
# 12 is matched to source 1, and that at 40 to nothing, 3 of 6 and 2 of 3 found.
HAND_TRUTH = source_rows(
    [
        (7, 10, 5, 50, True),
        (7, 14, 5, 9, True),
        (7, 30, 5, 3, False),
        (9, 10, 5, 50, True),
        (9, 50, 5, 1, False),
    ]
)
HAND_CANDIDATES = candidate_rows(
    [
        (9, 1, 5, 0.9, False),
        (7, 10, 5, 0.9, True),
        (7, 11, 5, 0.5, True),
        (7, 12, 5, 0.3, True),
        (7, 30, 5, 0.7, True),
        (9, 40, 5, 0.3, True),
        (9, 50, 5, 0.5, True),
    ]
)


class TestPurityCompletenessCurve:
    def test_of_nothing(self):
        curve = purity_completeness_curve(source_rows([]), candidate_rows([]))
        assert curve.columns.tolist() == COLUMNS
        assert curve["threshold"].tolist() == [LOWEST_THRESHOLD]
        assert curve[["n_detections", "n_truth"]].to_numpy().tolist() == [[0, 0]]
        assert curve[["purity", "completeness"]].isna().all(axis=None)

    def test_without_candidates(self):
        curve = purity_completeness_curve(HAND_TRUTH, candidate_rows([]))
        assert curve["completeness"].tolist() == [0.0]
        assert curve["purity"].isna().all()

    def test_without_sources(self):
        curve = purity_completeness_curve(source_rows([]), HAND_CANDIDATES, [0.5])
        assert curve["purity"].tolist() == [0.0]
        assert curve["completeness"].isna().all()

    def test_counted_by_hand(self):
        curve = purity_completeness_curve(HAND_TRUTH, HAND_CANDIDATES)
        assert curve["threshold"].tolist() == [0.3, 0.5, 0.7, 0.9]
        assert curve["n_detections"].tolist() == [6, 4, 2, 1]
        assert curve["n_matched_detections"].tolist() == [3, 2, 2, 1]
        assert curve["n_truth"].tolist() == [3, 3, 3, 3]
        assert curve["n_found"].tolist() == [2, 1, 1, 1]

    def test_matches_anew(self):
        # The better candidate of the fainter source reaches the brighter one, too: with it alone
        # the brighter one is found, with both each has its own.
        truth = source_rows([(0, 10, 5, 50, True), (0, 12, 5, 3, False)])
        candidates = candidate_rows([(0, 10.9, 5, 0.9, True), (0, 9, 5, 0.5, True)])
        curve = purity_completeness_curve(truth, candidates)
        assert curve["n_found"].tolist() == [1, 1]
        assert curve["n_matched_detections"].tolist() == [2, 1]
        # Off by one, and the first one stays with the fainter source: nothing is found above.
        candidates.loc[0, "x"] = 11.1
        assert purity_completeness_curve(truth, candidates)["n_found"].tolist() == [1, 0]

    def test_perfect_detector(self):
        batch = bright_scenes([[(20, 20), (24, 21)], [(40, 30)], []])
        truth, _ = batch_tables(batch, {"any": deblend_batch(batch.catalog_list)})
        candidates = truth.assign(p_detect=1.0)
        curve = purity_completeness_curve(truth, candidates)
        assert curve["threshold"].tolist() == [1.0]
        assert (curve.loc[0, "purity"], curve.loc[0, "completeness"]) == (1.0, 1.0)
        assert (curve.loc[0, "n_detections"], curve.loc[0, "n_truth"]) == (3, 3)

    @pytest.mark.parametrize("radius_arcsec", [0.3, 0.8])
    def test_is_what_the_tables_give_at_each_threshold(self, radius_arcsec):
        batch, found = random_scenes(12, seed=3)
        found = with_random_p(found, seed=4)
        tables = batch_tables(batch, {"all": found}, with_limit=False)
        thresholds = np.linspace(0.02, 1, 15)
        curve = purity_completeness_curve(*tables, thresholds, radius_arcsec)
        for row in curve.itertuples():
            truth, detections = batch_tables(
                batch,
                {"kept": at_threshold(batch, found, row.threshold)},
                radius_arcsec=radius_arcsec,
                with_limit=False,
            )
            completeness, purity = completeness_total(truth), purity_total(detections)
            assert (row.n_truth, row.n_found) == (*completeness[["n", "k"]].iloc[0],)
            assert (row.n_detections, row.n_matched_detections) == (*purity[["n", "k"]].iloc[0],)
            assert row.purity_lo == pytest.approx(purity.loc[0, "value_lo"], nan_ok=True)

    def test_candidates_of_one_source_drop_out(self):
        # The nearest one has the source as long as it is there, then the next nearest that is: at
        # 0.5 that is the one of 0.6, which lies out of bounds. The one of 0.5 never has it.
        truth = pd.DataFrame(
            {"scene": [0], "x": [20.0], "y": [20.0], "alone_snr": [9.0], "counts": [True]}
        )
        candidates = pd.DataFrame(
            {"scene": 0, "x": [22.0, 20.5, 21.0], "y": 20.0, "p_detect": [0.5, 0.3, 0.6]}
        ).assign(in_bounds=[True, True, False])
        curve = purity_completeness_curve(truth, candidates, [0.2, 0.3, 0.4, 0.6, 0.7])
        assert curve["n_detections"].tolist() == [2, 2, 1, 0, 0]
        assert curve["n_matched_detections"].tolist() == [1, 1, 0, 0, 0]
        assert curve["n_found"].tolist() == [1, 1, 1, 1, 0]

    def test_crowded_scenes_with_ties(self):
        # Sources and candidates on a coarse grid: many pairs are equally far apart.
        rng = np.random.default_rng(5)
        rows = rng.integers(0, 6, (80, 2)) * 1.5
        scene = np.repeat(np.arange(5), 16)
        truth = pd.DataFrame({"scene": scene, "x": rows[:, 0], "y": rows[:, 1]})
        truth["alone_snr"] = rng.uniform(0, 12, 80)
        truth["counts"] = truth["alone_snr"] > 5
        candidates = truth.sample(80, random_state=1)[["scene", "x", "y"]].reset_index(drop=True)
        candidates["x"] += rng.choice([-1.5, 0.0, 1.5], 80)
        candidates["p_detect"] = rng.uniform(0.02, 1, 80)
        candidates["in_bounds"] = candidates["x"] > 1
        curve = purity_completeness_curve(truth, candidates)
        assert len(curve) == 80
        # Scene by scene, whole, with the matcher itself.
        for row in curve.itertuples():
            n_found = n_matched = 0
            for number in range(5):
                sources = truth[(truth["scene"] == number) & (truth["alone_snr"] > 2)]
                kept = candidates[candidates["scene"] == number]
                kept = kept[kept["p_detect"] >= row.threshold]
                i, j = Matcher().match_positions(sources["x"], sources["y"], kept["x"], kept["y"])
                n_found += sources["counts"].to_numpy()[i].sum()
                n_matched += kept["in_bounds"].to_numpy()[j].sum()
            assert (row.n_found, row.n_matched_detections) == (n_found, n_matched)

    def test_order_of_rows_does_not_matter(self):
        batch, found = random_scenes(6, seed=8)
        truth, detections = batch_tables(batch, {"all": with_random_p(found, 9)}, with_limit=False)
        curve = purity_completeness_curve(truth, detections)
        shuffled = purity_completeness_curve(
            truth.sample(frac=1, random_state=0), detections.sample(frac=1, random_state=1)
        )
        pd.testing.assert_frame_equal(curve, shuffled)

    def test_missing_column(self):
        with pytest.raises(InputError, match=r"candidates must have.*\['in_bounds'\] are missing"):
            purity_completeness_curve(HAND_TRUTH, HAND_CANDIDATES.drop(columns="in_bounds"))
        with pytest.raises(InputError, match=r"truth must have.*\['alone_snr'\] are missing"):
            purity_completeness_curve(HAND_TRUTH.drop(columns="alone_snr"), HAND_CANDIDATES)

    def test_several_methods(self):
        truth = pd.concat([HAND_TRUTH.assign(method=name) for name in ("A", "B")])
        with pytest.raises(InputError, match=r"rows of one method, got those of \['A', 'B'\]"):
            purity_completeness_curve(truth, HAND_CANDIDATES)

    @pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
    def test_bad_probability(self, value):
        candidates = HAND_CANDIDATES.assign(p_detect=value)
        with pytest.raises(InputError, match="Every p_detect must be between 0 and 1"):
            purity_completeness_curve(HAND_TRUTH, candidates)
        with pytest.raises(InputError, match="Every threshold must be between 0 and 1"):
            purity_completeness_curve(HAND_TRUTH, HAND_CANDIDATES, [value])

    @pytest.mark.parametrize("thresholds", [[], [0.5, 0.5], [0.6, 0.5]])
    def test_bad_thresholds(self, thresholds):
        with pytest.raises(InputError, match="one or more increasing numbers"):
            purity_completeness_curve(HAND_TRUTH, HAND_CANDIDATES, thresholds)


class TestDefaultThresholds:
    def test_nothing(self):
        assert default_thresholds([]).tolist() == [LOWEST_THRESHOLD]
        assert default_thresholds([0.01]).tolist() == [LOWEST_THRESHOLD]

    def test_few_values_are_all_taken(self):
        assert default_thresholds([0.9, 0.01, 0.3, 0.9, 0.02]).tolist() == [0.02, 0.3, 0.9]

    def test_many_values_are_thinned_out_evenly(self):
        # Half of the candidates between 0.99 and 1: half of the thresholds, too.
        values = np.concatenate([np.linspace(0.02, 0.98, 5000), np.linspace(0.99, 1, 5000)])
        thresholds = default_thresholds(values, 100)
        assert len(thresholds) == 100
        assert (thresholds[0], thresholds[-1]) == (0.02, 1.0)
        assert (thresholds >= 0.99).sum() == 50
        assert np.isin(thresholds, values).all()


class TestSumByScene:
    def test_no_rows(self):
        nothing = sum_by_unit(csr_array((0, 2)), np.zeros(0, int), np.array([1, 4]))
        assert nothing.toarray().tolist() == [[0, 0], [0, 0]]

    def test_counted_by_hand(self):
        values = csr_array([[1.0, 0], [1, 1], [1, 1]])
        sums = sum_by_unit(values, np.array([4, 1, 4]), np.array([1, 2, 4]))
        assert sums.toarray().tolist() == [[1, 1], [0, 0], [2, 1]]
