import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.maps import scene_class_map
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.probabilities.blend_identification import (
    BLENDINATOR,
    BLENDINATOR_PERCENT,
    FLAG_THRESHOLDS,
    BlendIdentification,
    BlendIdentificationDisplay,
    batch_blend_identification,
    blend_objects,
    flag_table,
    missed_blends,
)
from tests.evaluation.conftest import SIZE, bright_scenes, deblend_batch

COLUMNS = ["quantity", "threshold", "n", "k", "value", "value_lo", "value_hi"]


def said(batch, class_means):
    """Return what a detector hands back that says these maps of class_mean."""
    found = deblend_batch([batch.catalog_list[0][:0]] * batch.batch_size)
    found.extra_data = [{"class_mean": class_mean} for class_mean in class_means]
    return found


def patches(*parts):
    """Return a map from (x, y, value): a square of 3 x 3 pixels of this value around each place."""
    image = np.zeros((SIZE, SIZE), np.float32)
    for x, y, value in parts:
        image[y - 1 : y + 2, x - 1 : x + 2] = value
    return image


def counts(table):
    """Return {(quantity, threshold): (n, k)}."""
    return {(row.quantity, row.threshold): (row.n, row.k) for row in table.itertuples()}


# Sources are squares of 5 x 5 pixels. Scene 0: a pair that shares 3 x 5 pixels, around (21, 20);
# one that shares a single pixel, (42, 42); one source alone, at (10, 50). Scene 1: a pair that
# shares 3 x 5 pixels, around (31, 30). Scene 2: nothing.
POSITIONS = [
    [(20, 20), (22, 20), (40, 40), (44, 44), (10, 50)],
    [(30, 30), (32, 30)],
    [],
]
# What is made of them: the true blend of scene 0 at 1.75, its false one at 1.5, the single source
# at 1.25, a spurious object at 0.5 and one that falls short of an object at 0.25; nothing of the
# blend of scene 1; a spurious blend in scene 2 at 2.
SAID = [
    patches((21, 20, 1.75), (42, 42, 1.5), (10, 50, 1.25), (55, 10, 0.5), (30, 55, 0.25)),
    patches(),
    patches((31, 30, 2.0)),
]


class TestBlendObjects:
    def test_nothing(self):
        largest, blended = blend_objects(np.zeros((8, 8)), np.zeros((8, 8), int))
        assert (largest.shape, blended.shape) == ((0,), (0,))
        assert blended.dtype == bool

    def test_level_of_an_object(self):
        class_mean = np.zeros((8, 8))
        class_mean[1, 1], class_mean[5, 5] = 0.5, 0.49
        assert blend_objects(class_mean, np.zeros((8, 8), int))[0].tolist() == [0.5]

    def test_corners_connect(self):
        class_mean = np.diag([0.5, 1.0, 1.5, 0.0, 2.0])
        largest, _ = blend_objects(class_mean, np.zeros((5, 5), int))
        assert largest.tolist() == [1.5, 2.0]

    @pytest.mark.parametrize(("number", "blended"), [(2, False), (3, True)])
    def test_three_pixels_anywhere_in_the_object(self, number, blended):
        class_mean, true_class = np.zeros((2, 5, 9))
        class_mean[2] = 1.0
        true_class[2, : 2 * number : 2] = 2
        true_class[4] = 2  # of no object
        true_class[0] = 1
        assert blend_objects(class_mean, true_class.astype(int))[1].tolist() == [blended]


class TestMissedBlends:
    def test_nothing(self):
        assert missed_blends(np.zeros((8, 8)), np.zeros((8, 8), int)).shape == (0,)

    def test_no_blend_is_missed_without_one(self):
        assert missed_blends(np.ones((8, 8)), np.ones((8, 8), int)).shape == (0,)

    @pytest.mark.parametrize(("shared", "missed"), [(0, True), (2, True), (3, False)])
    def test_pixels_that_an_object_holds(self, shared, missed):
        class_mean, true_class = np.zeros((2, 8, 8))
        true_class[2, 1:7] = 2
        class_mean[2, :shared] = class_mean[2, 1 : 1 + shared] = 1.0
        true_class[6, 6] = 2  # too small to be a blend
        assert missed_blends(class_mean, true_class.astype(int)).tolist() == [missed]

    def test_two_objects_that_hold_two_each(self):
        class_mean, true_class = np.zeros((2, 8, 8))
        true_class[2, 1:7] = 2
        class_mean[2, [1, 2, 5, 6]] = 1.0
        assert missed_blends(class_mean, true_class.astype(int)).tolist() == [True]


class TestBlendIdentification:
    def test_before_any_batch(self):
        with pytest.raises(InputError, match="Nothing to aggregate"):
            BlendIdentification().aggregate()

    def test_empty_scene(self):
        batch = bright_scenes([[]])
        metric = BlendIdentification()
        assert np.isnan(metric(batch, said(batch, [patches()])))
        table = metric.aggregate()
        assert table.columns.tolist() == COLUMNS
        assert (table["n"] == 0).all()
        assert table["value"].isna().all()
        assert metric.missed()["n"].tolist() == [0]

    def test_default_thresholds(self):
        assert (FLAG_THRESHOLDS[0], FLAG_THRESHOLDS[-1], len(FLAG_THRESHOLDS)) == (1.0, 2.0, 21)
        assert 1.15 in FLAG_THRESHOLDS

    def test_counted_by_hand(self):
        batch = bright_scenes(POSITIONS)
        metric = BlendIdentification(edges=[1.0, 1.25, 1.5, 1.75, 2.0])
        # Five objects; above 1.5 are one true blend and a spurious one: four are right.
        assert metric(batch, said(batch, SAID)) == pytest.approx(4 / 5)
        assert counts(metric.aggregate()) == {
            ("purity", 1.0): (4, 1),
            ("purity", 1.25): (3, 1),
            ("purity", 1.5): (2, 1),
            ("purity", 1.75): (1, 0),
            ("purity", 2.0): (0, 0),
            ("completeness", 1.0): (1, 1),
            ("completeness", 1.25): (1, 1),
            ("completeness", 1.5): (1, 1),
            ("completeness", 1.75): (1, 0),
            ("completeness", 2.0): (1, 0),
        }
        missed = metric.missed().iloc[0]
        assert (missed["n"], missed["k"]) == (2, 1)

    def test_batch_by_batch(self):
        whole, parts = BlendIdentification(), BlendIdentification()
        batch = bright_scenes(POSITIONS)
        whole(batch, said(batch, SAID))
        for positions, class_mean in zip(POSITIONS, SAID, strict=True):
            part = bright_scenes([positions])
            parts(part, said(part, [class_mean]))
        pd.testing.assert_frame_equal(whole.aggregate(), parts.aggregate())
        pd.testing.assert_frame_equal(whole.missed(), parts.missed())

    def test_the_truth_itself(self):
        batch = bright_scenes(POSITIONS)
        metric = BlendIdentification()
        maps = [scene_class_map(batch, scene).astype(float) for scene in range(3)]
        # The pair that shares one pixel is flagged and not a blend of three pixels.
        metric(batch, said(batch, [np.where(maps[0] == 2, 2.0, maps[0]), *maps[1:]]))
        table = metric.aggregate().set_index(["quantity", "threshold"])
        below_two = table[table.index.get_level_values("threshold") < 2]
        assert (below_two.loc["completeness", "value"] == 1.0).all()
        assert (below_two.loc["purity", "n"] == 3).all()
        assert (below_two.loc["purity", "k"] == 2).all()
        assert metric.missed()["k"].tolist() == [0]

    def test_equal_to_the_threshold_is_not_flagged(self):
        batch = bright_scenes(POSITIONS[1:2])
        # In single precision 1.1 is above 1.1.
        class_mean = np.full((SIZE, SIZE), np.float32(1.1))
        metric = BlendIdentification(edges=[1.05, 1.1])
        metric(batch, said(batch, [class_mean]))
        assert metric.aggregate()["k"].tolist() == [1, 0, 1, 0]

    def test_output_without_class_mean(self):
        batch = bright_scenes(POSITIONS)
        found = deblend_batch([batch.catalog_list[0][:0]] * 3)
        with pytest.raises(InputError, match="extra_data of 3 scenes, got none"):
            BlendIdentification()(batch, found)
        found.extra_data = [{"centre_probability": 0}] * 3
        with pytest.raises(InputError, match=r"hold 'class_mean', got \['centre_probability'\]"):
            BlendIdentification()(batch, found)
        found.extra_data = [{"class_mean": np.zeros((8, 8))}] * 3
        with pytest.raises(InputError, match=r"shape \(64, 64\), got \(8, 8\)"):
            BlendIdentification()(batch, found)

    def test_bad_arguments(self):
        with pytest.raises(InputError, match="increasing numbers"):
            BlendIdentification(edges=[2.0, 1.0])
        with pytest.raises(InputError, match="k must be above 0"):
            BlendIdentification(k=0)


def test_counts_of_a_batch_and_their_table():
    batch = bright_scenes(POSITIONS)
    plain = deblend_batch([batch.catalog_list[0][:0]] * 3)
    assert batch_blend_identification(batch, {"plain": plain}) is None
    counted = batch_blend_identification(batch, {"plain": plain, "maps": said(batch, SAID)})
    assert len(counted) == 2 * len(FLAG_THRESHOLDS) + 1 and set(counted["method"]) == {"maps"}
    # Two true blends, of which one has no object on it.
    missed = counted.loc[counted["quantity"] == "missed", ["n", "k"]]
    assert missed.to_numpy().tolist() == [[2, 1]]
    table = flag_table(counted)
    assert table.data is counted
    shown = table.page.set_index("threshold")
    assert len(shown) == len(FLAG_THRESHOLDS)
    assert shown.loc[1.0, ["purity", "completeness"]].tolist() == [1 / 4, 1]


def curves(n, right, n_blends):
    """Return what `BlendIdentification` gives, for (flagged, of them right) at two thresholds."""
    table = pd.concat([fractions(n, right), fractions([n_blends] * len(n), right)])
    table.insert(0, "threshold", np.tile([1.0, 1.5], 2))
    table.insert(0, "quantity", np.repeat(["purity", "completeness"], 2))
    return table.reset_index(drop=True)


def legend_texts(display):
    return [text.get_text() for text in display.legend_.get_texts()]


@pytest.mark.usefixtures("no_screen")
class TestBlendIdentificationDisplay:
    def test_blendinator_alone(self):
        display = BlendIdentificationDisplay({}).plot()
        points = 100 * display.blendinator_.get_xydata()
        np.testing.assert_allclose(points, BLENDINATOR_PERCENT)
        assert legend_texts(display) == [BLENDINATOR]

    def test_empty_table(self):
        empty = BlendIdentification()._count(np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))
        display = BlendIdentificationDisplay({"net": empty["table"]}).plot(Figure().subplots())
        assert np.isnan(display.curves_["net"].get_xydata()).all()
        display.figure_.canvas.draw()

    def test_points(self):
        tables = {"A": curves([10, 4], [6, 4], 8), "B": curves([5, 0], [5, 0], 8)}
        display = BlendIdentificationDisplay(tables).plot(Figure().subplots())
        assert display.curves_["A"].get_xydata().tolist() == [[0.6, 0.75], [1.0, 0.5]]
        np.testing.assert_array_equal(
            display.curves_["B"].get_xydata(), [[1.0, 0.625], [np.nan, 0.0]]
        )
        assert legend_texts(display) == ["A", "B", BLENDINATOR]
        display.plot(Figure().subplots(), methods=["B"])
        assert list(display.curves_) == ["B"]
        with pytest.raises(InputError, match=r"among \['A', 'B'\], got \['C'\]"):
            display.plot(Figure().subplots(), methods=["C"])
