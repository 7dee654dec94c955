from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from btk.blend_batch import DeblendBatch
from btk.deblend import PeakLocalMax, SepSingleBand

from btk_punet.deblending.sep import SepDeblender
from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.maps import source_footprints
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.statistics.average_precision import IOU_THRESHOLDS
from btk_punet.evaluation.statistics.fractions import COMPLETENESS_BY, fractions
from btk_punet.evaluation.studies.outlines.scores import SegmentationReport
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import EuclidGroupSampling
from btk_punet.simulation.survey import get_euclid_survey
from tests.evaluation.conftest import (
    SIZE,
    blend_batch,
    bright_scenes,
    detection_table,
    flux_per_pixel_of_snr,
    part_of,
    source_table,
    square,
)

MEANS = ["lo", "hi", "n", "value", "error", "value_lo", "value_hi"]
TABLES = (
    "aggregate",
    "total",
    "class_report",
    "confusion_matrix",
    "blended_region",
    "average_precision",
    "purity_completeness",
    "worse_than_undeblended",
)


def box(left, right, low, high):
    """Return a rectangle of pixels, its last column and row included."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[low : high + 1, left : right + 1] = True
    return mask


def outlined(batch, *scenes, p_detect=True):
    """Return detections from (x, y, p_detect, mask) for each scene."""
    tables, segmentation = [], np.zeros((len(scenes), 30, SIZE, SIZE), bool)
    for number, scene in enumerate(scenes):
        x, y, p = np.array([row[:3] for row in scene], float).reshape(-1, 3).T
        tables.append(detection_table(batch, x, y, **({"p_detect": p} if p_detect else {})))
        for row, detection in enumerate(scene):
            segmentation[number, row] = detection[3]
    return DeblendBatch(
        len(scenes), 30, tables, n_bands=1, image_size=SIZE, segmentation=segmentation
    )


def part(batch, found, scenes):
    """Return some scenes of a batch, and of what was found in it."""
    blends, deblended = part_of(batch, found, scenes)
    segmentation = found.segmentation[list(scenes)]
    return blends, DeblendBatch(
        len(scenes), 30, deblended.catalog_list, 1, SIZE, segmentation=segmentation
    )


def numbers(table):
    """Return {quantity: (n, k)}."""
    return {row.quantity: (row.n, row.k) for row in table.itertuples()}


# Sources are squares of 5 x 5 pixels: a pair that shares 3 x 5 pixels, and one alone.
PAIR_AND_ONE = [(20, 20), (22, 20), (40, 40)]
# On the first of the pair, four of its five columns: IoU 20/25. On the second one, a square that
# is a column off: 20/30. The third exactly, and something that is not there.
FOUND = [
    (20, 20, 0.9, box(18, 21, 18, 22)),
    (10, 50, 0.8, box(8, 12, 48, 52)),
    (22, 20, 0.7, box(21, 25, 18, 22)),
    (40, 40, 0.6, box(38, 42, 38, 42)),
]
# The area below the curve, from (purity, steps of completeness) read off it: with the second of
# the pair, without it, and with the third source alone.
WITH, WITHOUT, ALONE = (34 + 67 * 3 / 4) / 101, (34 + 33 * 2 / 4) / 101, 34 * (1 / 4) / 101


@pytest.fixture
def by_hand():
    """The batch and the detections above."""
    batch = bright_scenes([PAIR_AND_ONE])
    return batch, outlined(batch, FOUND)


class TestNothing:
    def test_before_any_batch(self):
        metric = SegmentationReport()
        for name in (*TABLES, "mean_average_precision"):
            with pytest.raises(InputError, match="Nothing to aggregate: call the metric on a"):
                getattr(metric, name)()

    @pytest.mark.parametrize("p_detect", [True, False])
    def test_no_sources_and_no_detections(self, p_detect):
        batch = bright_scenes([[], []])
        metric = SegmentationReport()
        assert np.isnan(metric(batch, outlined(batch, [], [], p_detect=p_detect)))
        assert metric.aggregate().columns.tolist() == MEANS
        assert (metric.aggregate()["n"] == 0).all()
        assert metric.total()["value"].isna().all()
        assert metric.class_report()["support"].tolist() == [2 * SIZE**2, 0, 0]
        assert metric.blended_region()[["n", "k"]].to_numpy().tolist() == [[0, 0]]
        assert metric.blended_region()["value"].isna().all()
        assert np.isnan(metric.mean_average_precision())
        assert len(metric.purity_completeness()) == 0
        assert set(numbers(metric.worse_than_undeblended()).values()) == {(0, 0)}

    def test_sources_and_no_detections(self):
        batch = bright_scenes([PAIR_AND_ONE])
        metric = SegmentationReport()
        assert np.isnan(metric(batch, outlined(batch, [])))
        assert metric.class_report()["recall"].tolist() == [1, 0, 0]
        assert metric.blended_region()["value"].tolist() == [0]
        assert metric.mean_average_precision() == 0
        assert metric.average_precision()["completeness"].tolist() == [0] * 10
        assert numbers(metric.worse_than_undeblended()) == {
            "unmatched": (2, 2),
            "placed_worse": (0, 0),
            "outlined_worse": (0, 0),
        }

    def test_detections_and_no_sources(self):
        batch = bright_scenes([[]])
        metric = SegmentationReport()
        assert np.isnan(metric(batch, outlined(batch, FOUND)))
        assert metric.average_precision()["purity"].tolist() == [0] * 10
        assert np.isnan(metric.mean_average_precision())
        assert metric.class_report()["precision"].tolist()[1:] == [0, 0]


class TestByHand:
    def test_iou_of_matched_sources(self, by_hand):
        metric = SegmentationReport(by="neighbour_distance_arcsec")
        three = np.array([20 / 25, 20 / 30, 1])
        assert metric(*by_hand) == pytest.approx(three.mean())
        some = metric.aggregate().query("n > 0")
        assert some[["lo", "hi", "n"]].to_numpy().tolist() == [[0, 0.3, 2], [2, np.inf, 1]]
        assert some["value"].tolist() == pytest.approx([three[:2].mean(), 1])
        error = three[:2].std(ddof=1) / np.sqrt(2)
        assert some["error"].tolist() == pytest.approx([error, np.nan], nan_ok=True)
        total = metric.total().iloc[0]
        assert total["n"] == 3
        assert total["error"] == pytest.approx(three.std(ddof=1) / np.sqrt(3))

    @pytest.mark.parametrize("by", COMPLETENESS_BY)
    def test_by(self, by_hand, by):
        metric = SegmentationReport(by=by)
        metric(*by_hand)
        assert metric.aggregate()["n"].sum() == (0 if by == "size_arcsec" else 3)

    def test_classes(self, by_hand):
        metric = SegmentationReport()
        metric(*by_hand)
        # Two outlines cover column 21 of the pair, where two sources cover 20 to 22.
        assert metric.blended_region().to_numpy().tolist() == [[15, 5, 1 / 3]]
        matrix = metric.confusion_matrix()
        assert matrix.to_numpy().tolist() == [[SIZE**2 - 60 - 30, 30, 0], [0, 45, 0], [0, 10, 5]]
        report = metric.class_report()
        assert report.loc["blended"].tolist() == [1, 5 / 15, 10 / 20, 5 / 15, 15]
        assert report.loc["isolated", "precision"] == 45 / 85

    def test_average_precision(self, by_hand):
        metric = SegmentationReport()
        metric(*by_hand)
        table = metric.average_precision()
        assert table["iou_threshold"].tolist() == list(IOU_THRESHOLDS)
        assert table["n_truth"].tolist() == [3] * 10
        assert table["n_detections"].tolist() == [4] * 10
        assert table["n_matched"].tolist() == [3] * 4 + [2] * 3 + [1] * 3
        expected = [WITH] * 4 + [WITHOUT] * 3 + [ALONE] * 3
        assert table["average_precision"].tolist() == pytest.approx(expected)
        assert metric.mean_average_precision() == pytest.approx(np.mean(expected))
        curve = metric.purity_completeness().query("iou_threshold == 0.5")
        assert curve["p_detect"].tolist() == [0.9, 0.8, 0.7, 0.6]
        assert curve["purity"].tolist() == [1, 1 / 2, 2 / 3, 3 / 4]
        assert curve["completeness"].tolist() == [1 / 3, 1 / 3, 2 / 3, 1]

    def test_without_probability(self, by_hand):
        batch, found = by_hand
        metric = SegmentationReport()
        metric(batch, outlined(batch, FOUND, p_detect=False))
        curve = metric.purity_completeness()
        assert curve["iou_threshold"].tolist() == list(IOU_THRESHOLDS)
        assert curve["purity"].tolist() == [3 / 4] * 4 + [2 / 4] * 3 + [1 / 4] * 3
        assert curve["completeness"].tolist() == [1] * 4 + [2 / 3] * 3 + [1 / 3] * 3
        assert metric.average_precision()["average_precision"].isna().all()
        assert np.isnan(metric.mean_average_precision())
        ranked = SegmentationReport()
        ranked(batch, found)
        pd.testing.assert_frame_equal(metric.aggregate(), ranked.aggregate())

    def test_matching_of_the_user(self, by_hand):
        batch, found = by_hand
        found.catalog_list[0]["x_peak"][0] += 0.6
        exact = Matcher(radius_arcsec=0.05)(batch.catalog_list, found.catalog_list)
        metric = SegmentationReport()
        assert metric(batch, found, exact) == pytest.approx((20 / 30 + 1) / 2)
        assert metric.average_precision()["n_matched"].iloc[0] == 3


class TestWhatCounts:
    def test_what_is_neither_right_nor_wrong(self):
        # One that counts, one with a signal-to-noise ratio of 4.9, one out of bounds.
        places, flux = [(20, 20), (40, 40), (1, 30)], [flux_per_pixel_of_snr(s) for s in (50, 4.9)]
        isolated = [square(*xy, f) for xy, f in zip(places, [*flux, flux[0]], strict=True)]
        batch = blend_batch([source_table([20, 40, 1], [20, 40, 30])], [isolated])
        found = outlined(
            batch,
            [
                (20, 20, 0.9, isolated[0] > 0),
                (40, 40, 0.8, isolated[1] > 0),
                (1, 30, 0.7, isolated[2] > 0),
                (62, 10, 0.6, box(60, 63, 8, 12)),  # spurious, and out of bounds
                (50, 10, 0.5, box(48, 52, 8, 12)),  # spurious
            ],
        )
        metric = SegmentationReport()
        assert metric(batch, found) == 1
        table = metric.average_precision()
        assert (table[["n_truth", "n_matched", "n_detections"]] == [1, 1, 2]).all(axis=None)
        assert metric.mean_average_precision() == 1
        assert metric.total()["n"].tolist() == [1]

    def test_source_that_nowhere_exceeds_the_noise(self):
        faint = np.where(box(20, 39, 20, 39), 10.0, 0.0)
        batch = blend_batch([source_table([29.5], [29.5])], [[faint]])
        metric = SegmentationReport()
        assert np.isnan(metric(batch, outlined(batch, [(29.5, 29.5, 0.9, faint > 0)])))
        assert metric.average_precision()["n_truth"].tolist() == [0] * 10
        lower = SegmentationReport(k=0.5)
        assert lower(batch, outlined(batch, [(29.5, 29.5, 0.9, faint > 0)])) == 1

    def test_threshold_of_the_footprint(self, by_hand):
        metric = SegmentationReport(k=1e6)
        assert np.isnan(metric(*by_hand))
        assert metric.class_report()["support"].tolist() == [SIZE**2, 0, 0]


class TestWorse:
    def of(self, *found, positions=PAIR_AND_ONE):
        batch = bright_scenes([positions])
        metric = SegmentationReport()
        metric(batch, outlined(batch, found))
        return metric.worse_than_undeblended()

    FIRST = (20, 20, 0.9, box(18, 22, 18, 22))

    def test_intervals(self):
        table = self.of(self.FIRST)
        assert table.columns.tolist() == ["quantity", "n", "k", "value", "value_lo", "value_hi"]
        expected = fractions([2, 1, 1], [1, 0, 0])
        pd.testing.assert_frame_equal(table[expected.columns], expected)

    def test_not_deblended(self):
        table = numbers(self.of((22.5, 20, 0.9, box(18, 24, 18, 22))))
        assert table == {"unmatched": (2, 1), "placed_worse": (1, 0), "outlined_worse": (1, 0)}

    def test_sources_that_do_not_overlap(self):
        found = [(30, 30, 0.9, box(28, 28, 28, 32)), (35, 30, 0.9, box(29, 35, 28, 32))]
        table = numbers(self.of(*found, positions=[(30, 30), (35, 30)]))
        assert set(table.values()) == {(0, 0)}

    def test_match_without_an_outline(self):
        table = numbers(self.of(self.FIRST, (22, 20, 0.9, box(1, 0, 0, 0))))
        assert table == {"unmatched": (2, 0), "placed_worse": (2, 0), "outlined_worse": (2, 1)}

    def test_no_outline_at_all(self):
        none = box(1, 0, 0, 0)
        table = numbers(self.of((20, 20, 0.9, none), (24, 20, 0.9, none)))
        assert table == {"unmatched": (2, 0), "placed_worse": (2, 0), "outlined_worse": (2, 0)}


class TestExtremeDetectors:
    POSITIONS = (PAIR_AND_ONE, [], [(30, 31), (33, 33), (31, 35)])

    @pytest.mark.parametrize("p_detect", [True, False])
    def test_perfect(self, p_detect):
        batch = bright_scenes(self.POSITIONS)
        scenes = [
            [
                (x, y, 0.9, mask)
                for (x, y), mask in zip(positions, source_footprints(batch, i, 0), strict=True)
            ]
            for i, positions in enumerate(self.POSITIONS)
        ]
        metric = SegmentationReport()
        assert metric(batch, outlined(batch, *scenes, p_detect=p_detect)) == 1
        assert metric.total()[["n", "value", "error"]].to_numpy().tolist() == [[6, 1, 0]]
        assert (metric.class_report().drop(columns="support") == 1).all(axis=None)
        assert metric.blended_region()["value"].tolist() == [1]
        table = metric.average_precision()
        assert (table[["purity", "completeness"]] == 1).all(axis=None)
        expected = 1 if p_detect else np.nan
        assert metric.mean_average_precision() == pytest.approx(expected, nan_ok=True)
        worse = numbers(metric.worse_than_undeblended())
        assert worse == {"unmatched": (5, 0), "placed_worse": (5, 0), "outlined_worse": (5, 0)}

    def test_right_places_and_wrong_outlines(self):
        batch = bright_scenes(self.POSITIONS)
        wrong = box(50, 60, 2, 6)
        scenes = [[(x, y, 0.9, wrong) for x, y in positions] for positions in self.POSITIONS]
        metric = SegmentationReport()
        assert metric(batch, outlined(batch, *scenes)) == 0
        assert metric.total()["n"].tolist() == [6]
        assert metric.class_report().loc[["isolated", "blended"], "iou"].tolist() == [0, 0]
        assert metric.blended_region()["value"].tolist() == [0]
        assert metric.mean_average_precision() == 0
        assert (metric.average_precision()[["purity", "completeness"]] == 0).all(axis=None)

    def test_wrong_places_and_wrong_outlines(self):
        batch = bright_scenes(self.POSITIONS)
        metric = SegmentationReport()
        wrong = [[(55, 4, 0.9, box(50, 60, 2, 6))]] * 3
        assert np.isnan(metric(batch, outlined(batch, *wrong)))
        assert metric.mean_average_precision() == 0
        assert numbers(metric.worse_than_undeblended())["unmatched"] == (5, 5)


@pytest.mark.parametrize("p_detect", [True, False])
def test_batches_in_any_order_equal_the_whole(p_detect):
    # Crowded scenes of none to four sources, most of them found, a little off.
    rng = np.random.default_rng(3)
    places = [rng.integers(20, 32, (number, 2)).tolist() for number in (4, 0, 3, 4, 1, 4, 2, 4)]
    batch = bright_scenes(places)
    scenes = []
    for positions in places:
        scene = []
        for x, y in positions:
            if rng.random() < 0.8:
                dx, dy = rng.integers(-1, 2, 2)
                mask = box(x - 2 + dx, x + 2 + dx, y - 2, y + 2 + dy)
                scene.append((x + dx, y + dy, rng.integers(0, 10) / 10, mask))
        scenes.append(scene)
    found = outlined(batch, *scenes, p_detect=p_detect)
    whole = SegmentationReport()
    whole(batch, found)
    assert whole.total()["n"].iloc[0] > 5
    assert whole.average_precision()["n_matched"].iloc[0] > 2
    assert 0 < whole.blended_region()["k"].iloc[0] < whole.blended_region()["n"].iloc[0]
    assert whole.worse_than_undeblended()["n"].min() > 0
    for order in permutations([part(batch, found, s) for s in ([0], [1, 2, 3], [4, 5, 6, 7])]):
        metric = SegmentationReport()
        for blends, deblended in order:
            metric(blends, deblended)
        for name in TABLES:
            pd.testing.assert_frame_equal(getattr(metric, name)(), getattr(whole, name)())


@pytest.fixture(scope="module")
def drawn():
    """A batch of groups, as BTK's loop draws it."""
    generator = EuclidGenerator(
        EuclidCatalog.simulate(300, seed=0),
        EuclidGroupSampling(max_mag=23.5),
        get_euclid_survey(1, 0.0),
        batch_size=6,
    )
    return next(generator)


class TestDeblenders:
    @pytest.mark.parametrize("deblender", [SepDeblender(30), SepSingleBand(30, use_band=0)])
    def test_with_outlines_and_without_probability(self, drawn, deblender):
        metric = SegmentationReport(by="limit_snr")
        assert 0.3 < metric(drawn, deblender(drawn)) < 0.95
        some = metric.aggregate().query("n > 1")
        assert (some["error"] > 0).all()
        assert len(metric.purity_completeness()) == 10
        table = metric.average_precision()
        assert table["average_precision"].isna().all()
        assert table["completeness"].is_monotonic_decreasing
        assert table["completeness"].iloc[0] > 0.2
        # Outlines that never overlap say nothing of the blended region.
        assert metric.blended_region()["k"].tolist() == [0]
        assert metric.blended_region()["n"].iloc[0] > 20
        assert metric.worse_than_undeblended()["n"].min() > 0

    def test_without_outlines(self, drawn):
        found = PeakLocalMax(30, 155.57, use_band=0)(drawn)
        with pytest.raises(
            InputError, match=r"must have a segmentation, bool .*, got None: .*SepDeblender"
        ):
            SegmentationReport()(drawn, found)

    def test_outlines_of_another_batch(self, drawn):
        batch = bright_scenes([[], []])
        found = SepDeblender(30)(drawn)
        expected = r"shape \(2, 30, 64, 64\) of the batch of blends, got \(6, 30,"
        with pytest.raises(InputError, match=expected):
            SegmentationReport()(batch, found)


def test_bad_arguments():
    with pytest.raises(InputError, match="edges must be two or more increasing numbers"):
        SegmentationReport(edges=[2, 1])
    with pytest.raises(InputError, match="by must be one of .*, got 'colour'"):
        SegmentationReport(by="colour")
    with pytest.raises(InputError, match="k must be above 0 sigma, got 0"):
        SegmentationReport(k=0)


def test_reset(by_hand):
    metric = SegmentationReport()
    metric(*by_hand)
    metric.reset()
    with pytest.raises(InputError, match="Nothing to aggregate"):
        metric.class_report()
