import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.counting import completeness_total, purity_total
from btk_punet.evaluation.studies.equal_purity import margins as module
from btk_punet.evaluation.studies.equal_purity.margins import (
    completeness_at_purity,
    equal_purity_margins,
)
from btk_punet.evaluation.studies.equal_purity.sweep import (
    purity_completeness_curve,
    sweep_purity,
)
from tests.evaluation.conftest import bright_scenes, deblend_batch, detection_table, random_scenes

COLUMNS = [
    "method",
    "purity",
    "threshold",
    "reached",
    "n",
    "completeness_other",
    "completeness",
    "margin",
    "margin_lo",
    "margin_hi",
    "margin_lo_95",
    "margin_hi_95",
    "reached_share",
]
INTERVALS = ["margin_lo", "margin_hi", "margin_lo_95", "margin_hi_95"]


def curve(threshold, purity, completeness):
    return pd.DataFrame({"threshold": threshold, "purity": purity, "completeness": completeness})


def detector_tables(positions, **found):
    """Return truth and detections of detectors on bright scenes.

    Args:
        positions: (x, y) of the sources of each scene.
        found: Of each detector, (x, y) or (x, y, p_detect) of its detections in each scene.
    """
    batch = bright_scenes(positions)
    outputs = {}
    for name, scenes in found.items():
        tables = []
        for scene in scenes:
            x, y, p_detect = np.array([(*of, 1.0)[:3] for of in scene]).reshape(-1, 3).T
            tables.append(detection_table(batch, x, y, p_detect=p_detect))
        outputs[name] = deblend_batch(tables)
    truth, detections = batch_tables(batch, outputs, with_limit=False)
    return truth, detections


def split(truth, detections, own="ours"):
    """Return truth and detections of the others, and the candidates of one's own."""
    candidates = detections[detections["method"] == own]
    return (
        truth[truth["method"] != own],
        detections[detections["method"] != own],
        candidates.reset_index(drop=True),
    )


# Three scenes with one source each, and what two detectors make of them, counted by hand:
#
#   scene   source   other                ours: p_detect
#   0       (20, 20) found, 1 spurious    found: 0.9; spurious: 0.6
#   1       (40, 40) found                found: 0.8
#   2       (30, 20) nothing              found: 0.4; spurious: 0.3
#
# The other has a purity of 2/3 and a completeness of 2/3. Ours has, at 0.3, 3/5 and 1; at 0.4, 3/4
# and 1; so it gets to 2/3 between them, at 0.3 + 0.1 * (2/3 - 3/5) / (3/4 - 3/5) = 0.3444.
THREE = [[(20, 20)], [(40, 40)], [(30, 20)]]
OTHER = [[(20, 20), (50, 50)], [(40, 40)], []]
OURS = [[(20, 20, 0.9), (50, 10, 0.6)], [(40, 41, 0.8)], [(30, 20, 0.4), (10, 10, 0.3)]]


class TestCompletenessAtPurity:
    def test_no_purity(self):
        assert len(completeness_at_purity(curve([0.5], [0.9], [0.5]), [])) == 0

    def test_between_thresholds(self):
        table = completeness_at_purity(
            curve([0.2, 0.4, 0.8], [0.5, 0.7, 1.0], [0.9, 0.8, 0.2]), [0.5, 0.55, 0.7, 0.9]
        )
        np.testing.assert_allclose(table["threshold"], [0.2, 0.25, 0.4, 0.4 + 0.4 * 2 / 3])
        np.testing.assert_allclose(table["completeness"], [0.9, 0.875, 0.8, 0.8 - 0.6 * 2 / 3])
        assert table["reached"].all()
        assert (table["highest_purity"] == 1.0).all()

    def test_never_so_pure(self):
        row = completeness_at_purity(curve([0.2, 0.4], [0.5, 0.7], [0.9, 0.8]), 0.71).iloc[0]
        assert not row["reached"]
        assert np.isnan(row["completeness"])
        assert np.isnan(row["threshold"])
        assert row["highest_purity"] == 0.7

    def test_purer_from_the_start(self):
        row = completeness_at_purity(curve([0.2, 0.4], [0.5, 0.7], [0.9, 0.8]), 0.3).iloc[0]
        assert (row["threshold"], row["completeness"]) == (0.2, 0.9)

    def test_purity_that_falls_again(self):
        # The first time that it is reached is where most is found.
        row = completeness_at_purity(
            curve([0.1, 0.2, 0.3, 0.4], [0.5, 0.7, 0.6, 0.8], [0.9, 0.8, 0.7, 0.6]), 0.65
        ).iloc[0]
        assert row["completeness"] == pytest.approx(0.825)

    def test_thresholds_that_leave_nothing(self):
        table = completeness_at_purity(
            curve([0.2, 0.4, 0.6], [0.5, 0.7, np.nan], [0.9, 0.8, 0.0]), [0.7, 0.8]
        )
        assert table["completeness"].tolist() == pytest.approx([0.8, np.nan], nan_ok=True)

    def test_no_detection_at_all(self):
        row = completeness_at_purity(curve([0.02], [np.nan], [0.0]), 0.5).iloc[0]
        assert not row["reached"]


class TestEqualPurityMargins:
    def test_nothing_found_by_either(self):
        truth, detections = detector_tables(THREE, other=[[], [], []])
        candidates = detections.assign(p_detect=1.0)
        table = equal_purity_margins(truth, detections, candidates, n_bootstrap=3)
        assert table.columns.tolist() == COLUMNS
        row = table.iloc[0]
        assert (row["completeness_other"], row["reached"], row["reached_share"]) == (0.0, False, 0)
        assert row[["purity", "threshold", "margin", *INTERVALS]].isna().all()

    def test_a_sweep_that_is_known_is_the_same(self):
        tables = split(*detector_tables(THREE, other=OTHER, ours=OURS))
        sweep = sweep_purity(tables[0], tables[2])
        pd.testing.assert_frame_equal(
            equal_purity_margins(*tables, n_bootstrap=5, sweep=sweep),
            equal_purity_margins(*tables, n_bootstrap=5),
        )

    def test_counted_by_hand(self):
        tables = split(*detector_tables(THREE, other=OTHER, ours=OURS))
        row = equal_purity_margins(*tables, n_bootstrap=10).iloc[0]
        assert (row["method"], row["n"], row["reached"]) == ("other", 3, True)
        assert row["purity"] == pytest.approx(2 / 3)
        assert row["threshold"] == pytest.approx(0.3 + 0.1 * 4 / 9)
        assert row["completeness_other"] == pytest.approx(2 / 3)
        assert row["completeness"] == 1.0
        assert row["margin"] == pytest.approx(1 / 3)

    def test_bins_use_the_threshold_of_the_whole_set(self):
        # Two close pairs and two single sources. The other finds one of each pair, both single
        # ones, and nothing spurious: purity 1. Ours finds all pairs with 0.9, one single source
        # with 0.8, and is wrong at 0.7; it would be pure in the bin of the pairs at any threshold.
        positions = [[(20, 20), (24, 20)], [(40, 40), (44, 40)], [(20, 40)], [(40, 20)]]
        other = [[(20, 20)], [(44, 40)], [(20, 40)], [(40, 20)]]
        ours = [
            [(20, 20, 0.9), (24, 20, 0.9)],
            [(40, 40, 0.9), (44, 40, 0.6)],
            [(20, 40, 0.8), (50, 50, 0.7)],
            [],
        ]
        tables = split(*detector_tables(positions, other=other, ours=ours))
        table = equal_purity_margins(*tables, "neighbour_distance_arcsec", n_bootstrap=5)
        assert table["hi"].tolist() == [0.3, 0.5, 0.8, 1.2, 2.0, np.inf]
        assert table["n"].tolist() == [0, 4, 0, 0, 0, 2]
        some = table[table["n"] > 0]
        # At a purity of 1 the last pair's partner, with 0.6, is lost.
        assert some["threshold"].tolist() == [0.8, 0.8]
        assert some["completeness"].tolist() == [0.75, 0.5]
        assert some["completeness_other"].tolist() == [0.5, 1.0]
        assert some["margin"].tolist() == [0.25, -0.5]
        empty = table[table["n"] == 0]
        assert empty[["completeness", "margin", *INTERVALS]].isna().all(axis=None)

        whole = equal_purity_margins(*tables, n_bootstrap=5).iloc[0]
        assert whole["completeness"] == pytest.approx(some["completeness"] @ some["n"] / 6)
        edges = equal_purity_margins(
            *tables, "neighbour_distance_arcsec", [0.0, np.inf], n_bootstrap=5
        )
        pd.testing.assert_series_equal(edges.loc[0, COLUMNS], whole[COLUMNS])

    def test_perfect_detector(self):
        truth, detections = detector_tables(THREE, other=OTHER)
        perfect = truth.assign(p_detect=1.0, method="perfect")
        row = equal_purity_margins(truth, detections, perfect, n_bootstrap=200).iloc[0]
        assert (row["completeness"], row["threshold"]) == (1.0, 1.0)
        assert row["margin"] == pytest.approx(1 / 3)
        assert row["margin_hi"] > row["margin"] > row["margin_lo"]
        # One draw in 27 is three times scene 2, where the other has no purity to be compared at.
        assert row["reached_share"] == pytest.approx(26 / 27, abs=0.05)

    def test_a_detector_against_itself(self):
        batch, found = random_scenes(20, seed=1)
        truth, detections = batch_tables(batch, {"SEP": found}, with_limit=False)
        candidates = detections.assign(p_detect=0.7, method="ours")
        table = equal_purity_margins(truth, detections, candidates, "magnitude", [15, 22, 30])
        assert table["margin"].tolist() == [0.0, 0.0]
        assert (table[INTERVALS] == 0.0).all(axis=None)
        assert (table["threshold"] == 0.7).all()

    def test_never_so_pure(self):
        ours = [[(20, 20, 0.5), (50, 50, 0.5)], [(40, 40, 0.5)], []]
        tables = split(*detector_tables(THREE, other=[[(20, 20)], [], []], ours=ours))
        row = equal_purity_margins(*tables, n_bootstrap=50).iloc[0]
        assert not row["reached"]
        assert row["purity"] == 1.0
        assert row[["threshold", "completeness", "margin"]].isna().all()
        # Scene 0 spoils ours, and without it in the draw the other has no purity.
        assert row["reached_share"] == 0.0

    def test_draws_are_matched_in_purity_anew(self):
        """Draws that are really made: tables of the drawn scenes, one after another."""
        batch, found = random_scenes(10, seed=2)
        _, more = random_scenes(10, seed=12)
        rng = np.random.default_rng(3)
        own = [table.copy() for table in found.catalog_list]
        own = [table[rng.random(len(table)) < 0.8] for table in own]
        for table in own:
            table["p_detect"] = rng.uniform(0.02, 1, len(table))
        truth, detections = batch_tables(
            batch, {"A": found, "B": more, "ours": deblend_batch(own)}, with_limit=False
        )
        truth, detections, candidates = split(truth, detections)
        thresholds = np.linspace(0.02, 0.9, 12)
        table = equal_purity_margins(
            truth, detections, candidates, thresholds=thresholds, n_bootstrap=8, seed=4
        )
        assert table["method"].tolist() == ["A", "B"]
        scenes = np.unique(np.concatenate([truth["scene"], detections["scene"]]))
        drawn = np.random.default_rng(4).multinomial(
            len(scenes), [1 / len(scenes)] * len(scenes), 8
        )

        def repeated(rows, times):
            parts = [
                rows[rows["scene"] == scene].assign(scene=100 * copy + scene)
                for scene, number in zip(scenes, times, strict=True)
                for copy in range(number)
            ]
            return pd.concat(parts, ignore_index=True)

        for row in table.itertuples():
            of_truth = truth[truth["method"] == row.method]
            of_found = detections[detections["method"] == row.method]
            margins = []
            for times in [np.ones(len(scenes), int), *drawn]:
                some_truth = repeated(of_truth, times)
                sweep = purity_completeness_curve(
                    some_truth, repeated(candidates, times), thresholds
                )
                purity = purity_total(repeated(of_found, times)).loc[0, "value"]
                ours = completeness_at_purity(sweep, purity).loc[0, "completeness"]
                margins.append(ours - completeness_total(some_truth).loc[0, "value"])
            assert row.margin == pytest.approx(margins[0], nan_ok=True)
            ends = np.nanpercentile(margins[1:], [15.865, 84.135, 2.5, 97.5])
            assert [getattr(row, name) for name in INTERVALS] == pytest.approx(ends.tolist())
            assert row.reached_share == np.mean(~np.isnan(margins[1:]))
            assert row.reached_share > 0

    def test_draws_in_blocks_are_those_at_once(self, monkeypatch):
        batch, found = random_scenes(9, seed=11)
        truth, detections = batch_tables(batch, {"SEP": found}, with_limit=False)
        candidates = detections.drop(columns="method")
        candidates["p_detect"] = np.random.default_rng(1).uniform(0.02, 1, len(candidates))
        tables = truth, detections, candidates
        at_once = equal_purity_margins(*tables, "magnitude", n_bootstrap=10)
        for weights in (1, 30):  # a draw, three draws at a time
            monkeypatch.setattr(module, "DRAWN_AT_ONCE", weights)
            in_blocks = equal_purity_margins(*tables, "magnitude", n_bootstrap=10)
            pd.testing.assert_frame_equal(in_blocks, at_once, check_exact=True)

    def test_width_of_the_interval(self):
        # One source a scene, found by both, by ours only, by the other only or by neither, and
        # never anything spurious: the margin is a mean of independent +1, 0, -1.
        n_scenes = 600
        rng = np.random.default_rng(5)
        by_ours, by_other = rng.random((2, n_scenes)) < np.array([[0.8], [0.5]])
        one = {"source": 0, "x": 10.0, "y": 10.0, "alone_snr": 20.0, "counts": True}
        truth = pd.DataFrame({"scene": np.arange(n_scenes), "method": "other", **one})
        truth["matched"] = by_other
        found = truth.assign(in_bounds=True, p_detect=0.9)
        candidates = found[by_ours].drop(columns="method")
        row = equal_purity_margins(truth, found[by_other], candidates, n_bootstrap=4000).iloc[0]
        difference = by_ours.astype(float) - by_other
        assert row["margin"] == pytest.approx(difference.mean())
        sigma = difference.std() / np.sqrt(n_scenes)
        assert row["margin_hi"] - row["margin_lo"] == pytest.approx(2 * sigma, rel=0.05)
        assert row["margin_hi_95"] - row["margin_lo_95"] == pytest.approx(3.92 * sigma, rel=0.05)

    def test_galaxies_in_place_of_scenes(self):
        # Each galaxy in ten scenes, with the same fate in all of them: ten times the variance.
        n_galaxies, times = 200, 10
        rng = np.random.default_rng(6)
        of_each = rng.random((2, n_galaxies)) < np.array([[0.8], [0.5]])
        by_ours, by_other = np.repeat(of_each, times, axis=1)
        one = {"source": 0, "x": 10.0, "y": 10.0, "alone_snr": 20.0, "counts": True}
        truth = pd.DataFrame({"scene": np.arange(n_galaxies * times), "method": "other", **one})
        truth["object"] = np.repeat(np.arange(n_galaxies), times) - 3
        truth["matched"] = by_other
        found = truth.assign(in_bounds=True, p_detect=0.9)
        tables = truth, found[by_other], found[by_ours].drop(columns="method")
        widths = []
        for unit in ("scene", "object"):
            row = equal_purity_margins(*tables, n_bootstrap=4000, unit=unit).iloc[0]
            difference = by_ours.astype(float) - by_other
            assert row["margin"] == pytest.approx(difference.mean())
            widths.append(row["margin_hi"] - row["margin_lo"])
        assert widths[1] / widths[0] == pytest.approx(np.sqrt(times), rel=0.05)
        with pytest.raises(InputError, match=r"truth must have the columns .*'object'"):
            equal_purity_margins(truth.drop(columns="object"), *tables[1:], unit="object")

    def test_same_seed_same_intervals(self):
        batch, found = random_scenes(20, seed=1)
        truth, detections = batch_tables(batch, {"SEP": found}, with_limit=False)
        candidates = truth.assign(p_detect=1.0)
        one, same, other = (
            equal_purity_margins(
                truth, detections, candidates, methods=["SEP"], n_bootstrap=50, seed=seed
            )
            for seed in (0, 0, 1)
        )
        pd.testing.assert_frame_equal(one, same)
        assert one.loc[0, "margin"] == other.loc[0, "margin"]
        assert (one[INTERVALS] != other[INTERVALS]).any(axis=None)

    def test_own_rows_are_not_compared_with(self):
        tables = detector_tables(THREE, other=OTHER, ours=OURS)
        candidates = split(*tables)[2]
        table = equal_purity_margins(*tables, candidates, n_bootstrap=2)
        assert table["method"].tolist() == ["other"]

    def test_unknown_method(self):
        tables = split(*detector_tables(THREE, other=OTHER, ours=OURS))
        with pytest.raises(InputError, match=r"truth table, \['other'\], got \['SEP'\]"):
            equal_purity_margins(*tables, methods=["SEP"])
        with pytest.raises(InputError, match=r"truth table, \['other'\], got \[\]"):
            equal_purity_margins(*tables, methods=[])

    def test_bad_bins(self):
        tables = split(*detector_tables(THREE, other=OTHER, ours=OURS))
        with pytest.raises(InputError, match="by must be None or one of .*got 'colour'"):
            equal_purity_margins(*tables, "colour")
        with pytest.raises(InputError, match="give by as well"):
            equal_purity_margins(*tables, edges=[0, 1])
        with pytest.raises(InputError, match="two or more increasing numbers"):
            equal_purity_margins(*tables, "magnitude", [22, 20])

    @pytest.mark.parametrize("number", [0, -1, 2.0, "10"])
    def test_bad_number_of_draws(self, number):
        tables = split(*detector_tables(THREE, other=OTHER, ours=OURS))
        with pytest.raises(InputError, match="n_bootstrap must be a whole number of 1 or more"):
            equal_purity_margins(*tables, n_bootstrap=number)

    def test_missing_column(self):
        truth, detections, candidates = split(*detector_tables(THREE, other=OTHER, ours=OURS))
        with pytest.raises(InputError, match=r"detections must have.*\['matched'\] are missing"):
            equal_purity_margins(truth, detections.drop(columns="matched"), candidates)

    def test_methods_of_other_scenes(self):
        truth, detections, candidates = split(*detector_tables(THREE, A=OTHER, B=OTHER, ours=OURS))
        truth = truth[(truth["method"] == "A") | (truth["scene"] > 0)]
        with pytest.raises(InputError, match="'B' and 'A' have different sources in truth"):
            equal_purity_margins(truth, detections, candidates)
