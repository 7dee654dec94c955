from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from btk.deblend import SepSingleBand
from btk.match import Matching
from btk.survey import get_surveys
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from btk_punet import (
    BlendOutcomes,
    EuclidCatalog,
    EuclidGenerator,
    EuclidPairSampling,
    Matcher,
    MeasureGenerator,
    SepDeblender,
    get_euclid_survey,
)
from btk_punet.errors import BatchFailedError, InputError, InputTypeError
from btk_punet.evaluation.quantities import NEIGHBOUR_DISTANCE_EDGES, OF_BLENDS
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.blends.outcomes import (
    OUTCOME_COLOURS,
    OutcomesDisplay,
    combination_totals,
    outcome_table,
    outcome_totals,
)
from btk_punet.evaluation.studies.blends.regions import COMBINATIONS, OUTCOMES
from btk_punet.figures import PALETTE
from tests.evaluation.conftest import blend_batch, bright_scenes, gaussian, source_table
from tests.evaluation.detectors import (
    APART,
    BRIGHT,
    CLOSE,
    FAINT,
    FAINT_ASIDE,
    FAINT_CLOSE,
    THREE,
    FailsAlone,
    Hopeless,
    Peaks,
    Perfect,
    gaussian_scenes,
)

COLUMNS = ["outcome", "lo", "hi", "n", "k", "value", "value_lo", "value_hi"]

# Two blends in the first scene, 0.6 and 0.2 arcsec; none in the third, nothing in the fourth.
SCENES = [
    [*APART, *((x, y + 30, flux) for x, y, flux in CLOSE)],
    FAINT_CLOSE,
    [(30, 30, BRIGHT)],
    [],
    FAINT_ASIDE,
    THREE,
]


def run(metric, batch):
    return metric(batch, metric.deblender(batch))


def counts(table):
    """Return {(outcome, lo): (n, k)} of the bins with blends."""
    return {(row.outcome, row.lo): (row.n, row.k) for row in table.itertuples() if row.n}


class TestTables:
    def test_nothing(self):
        empty = pd.DataFrame({"outcome": [], "combination": [], **{by: [] for by in OF_BLENDS}})
        for by in OF_BLENDS:
            table = outcome_table(empty, by)
            assert table.columns.tolist() == COLUMNS
            assert (table["n"] == 0).all()
            assert table["value"].isna().all()
        assert outcome_totals(empty)["outcome"].tolist() == list(OUTCOMES)
        assert combination_totals(empty)["combination"].tolist() == list(COMBINATIONS)

    def test_bins_hold_their_lower_edge_and_infinity(self):
        regions = pd.DataFrame({"outcome": "merged", "magnitude_difference": [0.5, 1.0, np.inf]})
        table = outcome_table(regions, "magnitude_difference", [0.5, 1.0, np.inf])
        of_merged = table[table["outcome"] == "merged"]
        assert of_merged["n"].tolist() == of_merged["k"].tolist() == [1, 2]
        assert (table.loc[table["outcome"] != "merged", "k"] == 0).all()


class TestBlendOutcomes:
    def test_before_any_batch(self):
        metric = BlendOutcomes(deblender=Perfect())
        for method in (metric.aggregate, metric.total, metric.combinations, metric.regions):
            with pytest.raises(InputError, match="Nothing to aggregate"):
                method()

    @pytest.mark.parametrize("deblender", [Perfect(), Hopeless(), SepDeblender(5)])
    def test_empty_scenes(self, deblender):
        metric = BlendOutcomes(deblender=deblender)
        assert np.isnan(run(metric, bright_scenes([[], []])))
        table = metric.aggregate()
        assert table.columns.tolist() == COLUMNS
        assert (table["n"] == 0).all()
        assert metric.regions().empty
        run(metric, gaussian_scenes([APART]))
        assert metric.regions()["scene"].tolist() == [2]

    def test_perfect_detector(self):
        metric = BlendOutcomes(deblender=Perfect())
        assert run(metric, gaussian_scenes(SCENES)) == 1.0
        assert metric.total()["k"].tolist() == [5, 0, 0, 0, 0, 0]
        table = metric.aggregate()
        some = table[(table["n"] > 0) & (table["outcome"] == "recognized")]
        assert some["lo"].tolist() == [0.0, 0.5]
        assert (some["value"] == 1).all()

    def test_hopeless_detector(self):
        metric = BlendOutcomes(deblender=Hopeless())
        assert run(metric, gaussian_scenes(SCENES)) == 0.0
        assert metric.total()["k"].tolist() == [0, 0, 0, 0, 0, 5]
        combinations = metric.combinations().set_index("combination")
        assert combinations.loc["s = 0, b = 0", "k"] == combinations["k"].sum() == 5
        assert combinations["outcome"].to_dict() == COMBINATIONS

    def test_counted_by_hand(self):
        metric = BlendOutcomes(deblender=Peaks())
        assert run(metric, gaussian_scenes(SCENES)) == 2 / 5
        table = metric.aggregate()
        assert sorted(set(table["lo"])) == list(NEIGHBOUR_DISTANCE_EDGES[:-1])
        none = {
            (outcome, low): k for outcome in OUTCOMES for low, k in [(0.0, (2, 0)), (0.5, (3, 0))]
        }
        assert counts(table) == none | {
            ("recognized", 0.5): (3, 2),
            ("undetected", 0.5): (3, 1),
            ("unrecognized", 0.0): (2, 1),
            ("merged", 0.0): (2, 1),
        }
        row = table[(table["outcome"] == "recognized") & (table["lo"] == 0.5)].iloc[0]
        expected = fractions([3], [2]).iloc[0]
        assert row[expected.index].tolist() == expected.tolist()
        assert metric.total().set_index("outcome")["k"].to_dict() == {
            "recognized": 2, "unrecognized": 1, "shredded": 0,
            "undetected": 1, "merged": 1, "other": 0,
        }  # fmt: skip

    def test_every_blend_is_somewhere(self):
        # Blends of two, of which the brighter is shown three times: of no outcome on the slide.
        batch = gaussian_scenes([FAINT_ASIDE, CLOSE])
        metric = BlendOutcomes(deblender=Peaks(split_above=200, saturated_above=300))
        run(metric, batch)
        combinations = metric.combinations().set_index("combination")["k"]
        assert combinations[combinations > 0].to_dict() == {
            "0 < s < n, b > n": 1,
            "s = n, b = 0": 1,
        }
        assert metric.total().set_index("outcome").loc["other", "k"] == 2

    def test_by_magnitude_difference(self):
        metric = BlendOutcomes(by="magnitude_difference", deblender=Peaks())
        run(metric, gaussian_scenes([APART, FAINT_ASIDE]))
        difference = 2.5 * np.log10(BRIGHT / FAINT)
        assert 1.5 < difference < 2.0
        some = counts(metric.aggregate())
        assert some["recognized", 0.0] == (1, 1)
        assert some["undetected", 1.5] == (1, 1)
        assert len(some) == 2 * len(OUTCOMES)

    def test_by_limit_snr(self):
        metric = BlendOutcomes(by="limit_snr", edges=[0, 5, np.inf], deblender=Peaks())
        run(metric, gaussian_scenes([THREE, FAINT_CLOSE]))
        some = counts(metric.aggregate())
        assert (some["merged", 0.0], some["recognized", 5.0]) == ((1, 1), (1, 1))
        # One pass of the detector serves all three.
        run_again = outcome_table(metric.regions(), "limit_snr", [0, 5, np.inf])
        pd.testing.assert_frame_equal(run_again, metric.aggregate())

    def test_batches_in_any_order(self):
        whole = BlendOutcomes(deblender=Peaks())
        run(whole, gaussian_scenes(SCENES))
        parts = [gaussian_scenes(part) for part in (SCENES[:1], SCENES[1:4], SCENES[4:])]
        for order in permutations(parts):
            merged = BlendOutcomes(deblender=Peaks())
            for part in order:
                run(merged, part)
            pd.testing.assert_frame_equal(merged.aggregate(), whole.aggregate())
            pd.testing.assert_frame_equal(merged.total(), whole.total())
            pd.testing.assert_frame_equal(merged.combinations(), whole.combinations())
        in_order = BlendOutcomes(deblender=Peaks())
        for part in parts:
            run(in_order, part)
        pd.testing.assert_frame_equal(in_order.regions(), whole.regions())
        in_order.reset()
        with pytest.raises(InputError, match="Nothing to aggregate"):
            in_order.regions()

    def test_single_sources(self):
        metric = BlendOutcomes(least_sources=1, deblender=Peaks())
        run(metric, gaussian_scenes(SCENES))
        # It has no neighbour, and is in the last bin.
        assert counts(metric.aggregate())["recognized", 2.0] == (1, 1)

    def test_threshold_of_the_labels(self):
        batch = gaussian_scenes([APART])
        for k, number in [(1.0, 1), (5.0, 0)]:
            metric = BlendOutcomes(k=k, deblender=Peaks())
            run(metric, batch)
            assert len(metric.regions()) == number

    def test_matching_of_the_caller(self):
        # A detection on the pixels of the first region is matched to the second, of one source.
        batch = bright_scenes([[(20, 20), (24, 20), (32, 20)]])
        one = bright_scenes([[(26, 20)]])
        metric = BlendOutcomes(least_sources=1, deblender=Perfect())
        found = Perfect()(one)
        metric(batch, found)
        assert metric.regions()["b"].tolist() == [1, 0]
        metric.reset()
        matching = Matching([np.array([2])], [np.array([0])], np.array([3]), np.array([1]))
        metric(batch, found, matching)
        assert metric.regions()["b"].tolist() == [0, 1]
        metric.reset()
        truth = [source_table([20, 24, 32], [20, 20, 20])]
        metric(batch, found, Matcher()(truth, [source_table([26], [20])]))
        assert metric.regions()["b"].tolist() == [1, 0]

    def test_several_bands(self):
        survey = get_surveys("LSST")
        images = [[gaussian(x, 20, 1e6, 1.5)] * len(survey.available_filters) for x in (20, 26)]
        table = source_table([20, 26], [20, 20], survey=survey)
        batch = blend_batch([table, table[:0]], [images, []], None, survey)
        metric = BlendOutcomes(deblender=Peaks())
        assert run(metric, batch) == 1.0
        # 0.2 arcsec pixels
        assert metric.regions()["neighbour_distance_arcsec"].to_numpy() == pytest.approx([1.2])

    def test_deblender_that_fails_alone(self):
        batch = gaussian_scenes([APART])
        metric = BlendOutcomes(deblender=FailsAlone())
        with pytest.raises(BatchFailedError, match="failed on 2 images of single sources"):
            run(metric, batch)
        assert metric.all_data == []
        # Without a blend there is nothing to draw alone.
        assert np.isnan(metric(gaussian_scenes([[]]), Perfect()(gaussian_scenes([[]]))))

    def test_bad_arguments(self):
        with pytest.raises(TypeError, match="deblender"):
            BlendOutcomes()
        for options, kind, match in [
            ({"deblender": "sep"}, InputTypeError, "instance of btk.deblend.Deblender, got 'sep'"),
            ({"by": "size"}, InputError, "by must be one of .*'limit_snr'.*, got 'size'"),
            ({"edges": [1, 0]}, InputError, "increasing numbers"),
            ({"k": -1}, InputError, "k must be above 0"),
            ({"least_sources": 0}, InputError, "least_sources must be at least 1"),
        ]:
            with pytest.raises(kind, match=match):
                BlendOutcomes(**{"deblender": Perfect(), **options})


@pytest.fixture(scope="module")
def pairs():
    """Return blends of pairs, with noise."""
    generator = EuclidGenerator(
        EuclidCatalog.simulate(500, seed=1),
        EuclidPairSampling(max_separation=1.0, max_mag=24.0, seed=2),
        get_euclid_survey(1, 0.0),
        batch_size=6,
        seed=3,
    )
    return [next(generator) for _ in range(2)]


class TestOnEuclidPairs:
    def test_sep(self, pairs):
        sep = SepDeblender(20)
        metric = BlendOutcomes(deblender=sep)
        for blends, deblended in MeasureGenerator({"SEP": sep}, iter(pairs)):
            metric(blends, deblended["SEP"])
        regions = metric.regions()
        assert len(regions) >= 6
        assert (regions["n"] == 2).all()
        table = metric.aggregate()
        of_bins = table.groupby("lo")
        assert (of_bins["k"].sum() == of_bins["n"].first()).all()
        assert of_bins["n"].first().sum() == len(regions)
        assert regions["s"].mean() > 1.5  # bright galaxies
        # The whole way for one of them, by hand.
        row = regions.iloc[-1]
        batch, scene = pairs[row["scene"] // 6], row["scene"] % 6
        s = 0
        for source in range(2):
            alone = batch.blend_images[scene] - batch.isolated_images[scene, 1 - source]
            single = gaussian_scenes([[]])
            single.blend_images[0] = alone
            found = sep.deblend(0, single).catalog
            true = batch.catalog_list[scene][source]
            on_source = batch.isolated_images[scene, source, 0] > np.sqrt(155.57)
            s += any(
                on_source[round(y), round(x)]
                or np.hypot(x - true["x_peak"], y - true["y_peak"]) < 3
                for x, y in zip(found["x_peak"], found["y_peak"], strict=True)
            )
        assert row["s"] == s

    def test_of_btk(self, pairs):
        deblender = SepSingleBand(20, use_band=0)
        metric = BlendOutcomes(deblender=deblender)
        run(metric, pairs[0])
        total = metric.total()
        assert total["k"].sum() == total["n"][0] > 0


def test_real_galaxies(cosmos_dir):
    from btk_punet.evaluation.runs.benchmark import benchmark_set

    real = benchmark_set("real").generator(cosmos_dir).draw_batch(0, 3)
    metric = BlendOutcomes(least_sources=1, deblender=SepDeblender(50))
    run(metric, real)
    regions = metric.regions()
    assert 3 <= regions["n"].sum() <= sum(len(catalog) for catalog in real.catalog_list)
    assert regions["s"].sum() >= 0.5 * regions["n"].sum()
    assert metric.total()["k"].sum() == len(regions)


def figure():
    return Figure(layout="constrained")


def example(*outcomes_and_distances):
    """Return the table of regions of an outcome at a distance [arcsec]."""
    outcomes, distances = zip(*outcomes_and_distances, strict=True)
    return outcome_table(
        pd.DataFrame({"outcome": outcomes, "neighbour_distance_arcsec": distances})
    )


FEW = example(("recognized", 0.6), ("recognized", 0.7), ("merged", 0.6), ("other", 1.3))
MANY = example(*[(outcome, distance) for outcome in OUTCOMES for distance in (0.1, 0.4, 0.6)])


class TestOutcomesDisplay:
    def test_nothing(self):
        for table in (FEW[:0], FEW.assign(n=0, k=0, value=np.nan)):
            OutcomesDisplay(table).plot(figure()).figure_.canvas.draw()

    def test_no_method(self):
        display = OutcomesDisplay(FEW.assign(method="a")).plot(figure(), [])
        assert display.legend_ is None
        display.figure_.canvas.draw()

    def test_stacked(self, no_screen):
        display = OutcomesDisplay(FEW).plot()
        assert list(display.axes_) == [""]
        # The bins 0.5-0.8, the empty 0.8-1.2, and 1.2-2; none before and after.
        bars = {o: [(b.get_y(), b.get_height()) for b in display.bars_["", o]] for o in OUTCOMES}
        assert np.array(bars["recognized"]) == pytest.approx(np.array([(0, 2 / 3), (0, 0), (0, 0)]))
        assert np.array(bars["merged"])[0] == pytest.approx((2 / 3, 1 / 3))
        assert np.array(bars["other"])[2] == pytest.approx((0, 1))
        labels = [text.get_text() for text in display.axes_[""].get_xticklabels()]
        assert labels == ["0.5–0.8", "0.8–1.2", "1.2–2"]
        assert [text.get_text() for text in display.axes_[""].texts] == ["3", "0", "1"]
        assert [text.get_text() for text in display.legend_.get_texts()] == [*reversed(OUTCOMES)]

    def test_interval_of_the_recognized(self):
        display = OutcomesDisplay(FEW).plot(figure())
        row = FEW[(FEW["outcome"] == "recognized") & (FEW["n"] == 3)].iloc[0]
        (segments,) = display.errorbars_[""].lines[2]
        assert segments.get_segments()[0][:, 1] == pytest.approx([row["value_lo"], row["value_hi"]])

    def test_one_panel_per_method(self):
        table = pd.concat([FEW.assign(method="SEP"), MANY.assign(method="net")])
        display = OutcomesDisplay(table)
        assert display.size_inches[0] > OutcomesDisplay(FEW).size_inches[0]
        assert list(display.plot(figure()).axes_) == ["SEP", "net"]
        # Both have the bins that either has blends in.
        assert len(display.bars_["SEP", "merged"]) == len(display.bars_["net", "merged"]) == 5
        heights = [[bar.get_height() for bar in display.bars_["net", o]] for o in OUTCOMES]
        assert np.sum(heights, axis=0) == pytest.approx([1, 1, 1, 0, 0])
        assert list(display.plot(figure(), ["net"]).axes_) == ["net"]

    def test_colours_are_those_of_outcomes_alone(self):
        display = OutcomesDisplay(MANY).plot(figure())
        colours = {o: to_hex(display.bars_["", o][0].get_facecolor()) for o in OUTCOMES}
        assert colours == {outcome: colour.lower() for outcome, colour in OUTCOME_COLOURS.items()}
        assert len(set(colours.values())) == len(OUTCOMES)
        assert not set(OUTCOME_COLOURS.values()) & set(PALETTE)

    def test_names_are_not_mathtext(self):
        display = OutcomesDisplay(FEW.assign(method="S$_1$")).plot(figure())
        assert display.axes_["S$_1$"].get_title() == r"S\$_1\$"

    def test_bad_arguments(self):
        with pytest.raises(InputError, match="methods must be among"):
            OutcomesDisplay(FEW.assign(method="SEP")).plot(figure(), ["net"])
        with pytest.raises(InputError, match="by must be one of"):
            OutcomesDisplay(FEW, by="size").plot(figure())
