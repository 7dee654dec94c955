from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from btk.deblend import DeblendGenerator, SepSingleBand
from btk.metrics.detection import Efficiency, Precision, Recall

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.counting import (
    completeness_table,
    count_matrix,
    efficiency_table,
    purity_table,
)
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    PURITY_BY,
    merged_counts,
)
from btk_punet.evaluation.studies.detection.metrics import (
    Completeness,
    DetectionEfficiency,
    Purity,
)
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import EuclidGroupSampling
from btk_punet.simulation.survey import get_euclid_survey
from tests.evaluation.conftest import (
    bright_scenes,
    deblend_batch,
    detection_table,
    part_of,
    random_scenes,
)
from tests.evaluation.statistics.test_fractions import COLUMNS, counts

METRICS = [Completeness, Purity, DetectionEfficiency]


class TestMetricObjects:
    def test_five_sources(self, five_sources):
        completeness, purity, efficiency = Completeness(), Purity(), DetectionEfficiency()
        assert completeness(*five_sources) == 0.5
        assert purity(*five_sources) == 0.5
        assert efficiency(*five_sources) == 0.5
        assert counts(completeness.aggregate()) == {22.0: (1, 1), 23.5: (1, 0)}
        assert completeness.aggregate().columns.tolist() == COLUMNS
        assert purity.aggregate()["n"].sum() == 6
        assert efficiency.count_matrix().tolist() == [[0, 0, 0], [0, 0, 1]]
        assert efficiency.efficiency_matrix()[:, 2].tolist() == [0, 1]

    @pytest.mark.parametrize("by", COMPLETENESS_BY)
    def test_completeness_by(self, five_sources, five_tables, by):
        metric = Completeness(by=by)
        metric(*five_sources)
        pd.testing.assert_frame_equal(metric.aggregate(), completeness_table(five_tables[0], by))

    @pytest.mark.parametrize("by", PURITY_BY)
    def test_purity_by(self, five_sources, five_tables, by):
        metric = Purity(by=by, edges=[0, 24, 100])
        metric(*five_sources)
        expected = purity_table(five_tables[1], by, [0, 24, 100])
        pd.testing.assert_frame_equal(metric.aggregate(), expected)

    @pytest.mark.parametrize("metric_class", METRICS)
    def test_batches_in_any_order_equal_the_whole(self, metric_class):
        batch, found = random_scenes(7, seed=1)
        whole = metric_class()
        whole(batch, found)
        assert whole.total()["n"].iloc[0] > 5
        parts = [part_of(batch, found, scenes) for scenes in ([0], [1, 2, 3], [4, 5, 6])]
        for order in permutations(parts):
            metric = metric_class()
            for part in order:
                metric(*part)
            pd.testing.assert_frame_equal(metric.aggregate(), whole.aggregate())
            pd.testing.assert_frame_equal(metric.total(), whole.total())
            if metric_class is DetectionEfficiency:
                assert metric.count_matrix().tolist() == whole.count_matrix().tolist()

    def test_counts_are_summed_and_ratios_are_not_averaged(self):
        # 1 of 1 in the first batch, 0 of 3 in the second: 1/4, where BTK's metrics give 1/2.
        metric = Completeness()
        for positions, found in [([(20, 20)], [20]), ([(20, 20), (30, 30), (40, 40)], [])]:
            batch = bright_scenes([positions])
            metric(batch, deblend_batch([detection_table(batch, found, found)]))
        assert metric.values == [1.0, 0.0]
        assert metric.total()["value"].iloc[0] == 0.25
        assert metric.aggregate()["value"].dropna().tolist() == [0.25]

    def test_matching_of_the_user(self, five_sources):
        batch, found = five_sources
        exact = Matcher(radius_arcsec=0.05)(batch.catalog_list, found.catalog_list)
        assert Completeness()(batch, found, exact) == 0
        assert Completeness()(batch, found, matching=exact) == 0
        assert Purity()(batch, found, matching=exact) == 2 / 6  # 2, and 3 on its faint source

    @pytest.mark.parametrize("metric_class", METRICS)
    def test_aggregate_before_any_batch(self, metric_class):
        for table in (metric_class().aggregate, metric_class().total):
            with pytest.raises(ValueError, match="call the metric on a batch first"):
                table()
        with pytest.raises(ValueError, match="Nothing to aggregate"):
            merged_counts([])

    def test_matrix_before_any_batch(self):
        assert DetectionEfficiency().count_matrix().tolist() == [[0]]

    @pytest.mark.parametrize("metric_class", METRICS)
    def test_reset(self, metric_class, five_sources):
        metric = metric_class()
        metric(*five_sources)
        once = metric.aggregate()
        metric.reset()
        with pytest.raises(ValueError, match="call the metric on a batch first"):
            metric.aggregate()
        metric(*five_sources)
        pd.testing.assert_frame_equal(metric.aggregate(), once)

    def test_by_of_another_metric(self):
        with pytest.raises(ValueError, match="by must be one of .*, got 'colour'"):
            Completeness(by="colour")
        with pytest.raises(ValueError, match="by must be one of .*, got 'alone_snr'"):
            Purity(by="alone_snr")

    @pytest.mark.parametrize("metric_class", METRICS)
    def test_edges_are_checked_at_once(self, metric_class):
        with pytest.raises(ValueError, match="edges must be two or more increasing numbers"):
            metric_class(edges=[2, 1])

    def test_magnitude_edges_are_checked_at_once(self):
        with pytest.raises(ValueError, match="edges must be two or more increasing numbers"):
            DetectionEfficiency(magnitude_edges=[24])


class TestExtremeDetectors:
    POSITIONS = ([(20, 20), (40, 40), (10, 50)], [], [(30, 31)])

    def test_perfect(self):
        batch = bright_scenes(self.POSITIONS)
        found = [detection_table(batch, t["x_peak"], t["y_peak"]) for t in batch.catalog_list]
        perfect = batch, deblend_batch(found)
        for metric in (Completeness(), Purity(), DetectionEfficiency()):
            assert metric(*perfect) == 1.0
            assert metric.aggregate()["value"].dropna().unique().tolist() == [1.0]
        assert metric.count_matrix().tolist() == np.diag([1, 1, 0, 1]).tolist()

    def test_one_that_finds_nothing(self):
        batch = bright_scenes(self.POSITIONS)
        nothing = deblend_batch([detection_table(batch, [], [])] * 3)
        assert Completeness()(batch, nothing) == 0.0
        assert DetectionEfficiency()(batch, nothing) == 0.0
        purity = Purity()
        assert np.isnan(purity(batch, nothing))
        assert purity.aggregate()["value"].isna().all()

    def test_one_that_finds_what_is_not_there(self):
        batch = bright_scenes(self.POSITIONS)
        wrong = deblend_batch([detection_table(batch, [55, 58], [10, 15])] * 3)
        assert Completeness()(batch, wrong) == 0.0
        assert Purity()(batch, wrong) == 0.0

    def test_scenes_without_anything(self):
        batch = bright_scenes([[], []])
        nothing = deblend_batch([detection_table(batch, [], [])] * 2)
        for metric in (Completeness(), Purity(), DetectionEfficiency()):
            assert np.isnan(metric(batch, nothing))
            assert metric.aggregate()["n"].sum() == 0
        assert metric.count_matrix().tolist() == [[2]]


class TestBesideBtk:
    def test_where_everything_counts_the_figures_are_those_of_btk(self):
        # Bright sources within bounds. In turn: two of three found, none of one, nothing there
        # but a detection, nothing there and none, one of two.
        batch = bright_scenes(
            [[(10, 10), (20, 20), (30, 30)], [(9, 9)], [], [], [(40, 40), (50, 50)]]
        )
        found = [([10, 20, 50], [11, 20, 5]), ([], []), ([30], [30]), ([], []), ([51], [50])]
        deblended = deblend_batch([detection_table(batch, x, y) for x, y in found])
        matching = Matcher()(batch.catalog_list, deblended.catalog_list)
        of_btk = matching.tp, matching.t, matching.p

        efficiency = DetectionEfficiency()
        efficiency(batch, deblended)
        expected = Efficiency(5)(*of_btk)
        assert expected.tolist() == [[2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
        assert efficiency.count_matrix().tolist() == expected.tolist()
        assert Completeness()(batch, deblended) == Recall(5)(*of_btk) == 3 / 6
        assert Purity()(batch, deblended) == Precision(5)(*of_btk) == 3 / 5

    def test_loop_of_btk(self):
        generator = EuclidGenerator(
            EuclidCatalog.simulate(300, seed=0),
            EuclidGroupSampling(max_mag=24.0),
            get_euclid_survey(1, 0.0),
            batch_size=3,
        )
        deblenders = DeblendGenerator(SepSingleBand(20, use_band=0), generator)
        metrics = Completeness(batch_size=3), Purity(batch_size=3), DetectionEfficiency(3)
        tables = []
        for number in range(2):
            blend_batch, results = next(deblenders)
            for metric in metrics:
                assert 0 < metric(blend_batch, results["SepSingleBand"]) <= 1
            tables.append(batch_tables(blend_batch, results, first_scene=3 * number))
        truth, detections = (pd.concat(parts) for parts in zip(*tables, strict=True))
        completeness, purity, efficiency = metrics
        pd.testing.assert_frame_equal(completeness.aggregate(), completeness_table(truth))
        pd.testing.assert_frame_equal(purity.aggregate(), purity_table(detections))
        pd.testing.assert_frame_equal(efficiency.aggregate(), efficiency_table(truth))
        assert efficiency.count_matrix().tolist() == count_matrix(truth).tolist()
        assert efficiency.count_matrix().sum() == 6
