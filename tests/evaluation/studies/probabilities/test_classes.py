import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.pixels import CLASS_NAMES, PixelScores
from btk_punet.evaluation.statistics.reliability import Reliability
from btk_punet.evaluation.studies.probabilities.classes import (
    ClassReliabilityDisplay,
    class_probabilities,
    class_uncertainty,
    lit_pixels,
    merged_class_probabilities,
    merged_class_uncertainty,
)
from btk_punet.figures import PALETTE
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.sayers import N_BLENDED, N_ISOLATED, PAIR_AND_ONE, SWAPPED, maps, saying


def pixels_of(positions, **options):
    batch = bright_scenes(positions)
    return lit_pixels(batch, saying(batch, extra_data=maps(batch, **options)))


def random_pixels(rng, n_scenes):
    """Return pixels of random probabilities, a row of numbers that has no short sums."""
    batch = bright_scenes([PAIR_AND_ONE] * n_scenes)
    p = rng.dirichlet((1, 1, 1), (n_scenes, 64, 64)).astype(np.float32)
    p /= p.sum(axis=-1, keepdims=True)
    variance = rng.uniform(0, 1, (n_scenes, 64, 64)).astype(np.float32)
    extra = [
        {"class_probability": np.moveaxis(one, -1, 0), "class_variance": v}
        for one, v in zip(p, variance, strict=True)
    ]
    return batch, p, lit_pixels(batch, saying(batch, extra_data=extra))


def test_nothing_but_background():
    pixels = {"m": pixels_of([[], []])}
    table = class_probabilities(pixels)
    assert len(table) == 30 and (table[["n", "k"]] == 0).all().all()
    uncertainty = class_uncertainty(pixels)
    assert len(uncertainty) == 0
    assert uncertainty["level"].dtype == float and uncertainty["n"].dtype == int


def test_perfect():
    pixels = {"m": pixels_of([PAIR_AND_ONE], variance_of_wrong=0.75)}
    table = class_probabilities(pixels).query("n > 0").set_index(["class", "lo"])
    assert table["n"].to_dict() == {
        ("background", 0.0): N_ISOLATED + N_BLENDED,
        ("isolated", 0.0): N_BLENDED,
        ("isolated", 0.9): N_ISOLATED,
        ("blended", 0.0): N_ISOLATED,
        ("blended", 0.9): N_BLENDED,
    }
    assert table["k"].tolist() == [0, 0, N_ISOLATED, 0, N_BLENDED]
    assert table["sum_probability"].tolist() == [0, 0, N_ISOLATED, 0, N_BLENDED]
    assert (table["sum_squared_error"] == 0).all()
    uncertainty = class_uncertainty(pixels)
    assert uncertainty["predictor"].tolist() == ["class_variance", "class_probability"]
    assert uncertainty["level"].tolist() == [0.25, 0.0]
    assert uncertainty[["n", "k"]].to_numpy().tolist() == [[60, 0]] * 2


def test_hopeless():
    pixels = {"m": pixels_of([PAIR_AND_ONE], said=SWAPPED)}
    table = class_probabilities(pixels).query("n > 0").set_index(["class", "lo"])
    assert table.loc["isolated", "k"].tolist() == [N_ISOLATED, 0]
    assert table.loc["blended", "sum_squared_error"].tolist() == [N_BLENDED, N_ISOLATED]
    uncertainty = class_uncertainty(pixels)
    # Without a variance only the probability foretells.
    assert uncertainty["predictor"].tolist() == ["class_probability"]
    assert uncertainty[["n", "k"]].to_numpy().tolist() == [[60, 60]]


@pytest.mark.parametrize("n_samples", [2, 8, 16, 32])
def test_variances_over_samples_are_told_apart(n_samples):
    """Multiples of 1 / n^2, in single precision."""
    rng = np.random.default_rng(n_samples)
    variance = rng.integers(0, 3, (n_samples, 64, 64)).var(axis=0)
    batch = bright_scenes([PAIR_AND_ONE])
    extra = maps(batch)
    extra[0]["class_probability"][:] = 1 / 3
    extra[0]["class_variance"] = variance.astype(np.float32)
    uncertainty = class_uncertainty({"m": lit_pixels(batch, saying(batch, extra_data=extra))})
    levels = uncertainty.query("predictor == 'class_variance'")
    expected, n = np.unique(variance.round(9), return_counts=True)
    np.testing.assert_allclose(levels["level"], expected, rtol=0, atol=1e-8)
    assert levels["n"].tolist() == n.tolist()


def test_the_same_as_the_scores_of_pixels():
    batch, p, pixels = random_pixels(np.random.default_rng(3), 2)
    scores = PixelScores()
    true = np.zeros(p.shape[:3], int)
    true[:, 18:23, 18:25] = 1
    true[:, 18:23, 20:23] = 2
    true[:, 43:48, 43:48] = 1
    scores.add(p, true)
    table = class_probabilities({"m": pixels})
    for name, rows in table.groupby("class"):
        expected = scores.reliability[name].table()
        assert rows["n"].tolist() == expected["n"].tolist()
        assert rows["k"].tolist() == expected["k"].tolist()
        mean = (rows["sum_probability"] / rows["n"]).to_numpy()
        np.testing.assert_allclose(mean, expected["mean_probability"], atol=1e-7)
        brier = rows["sum_squared_error"].sum() / rows["n"].sum()
        assert brier == pytest.approx(scores.reliability[name].brier_score(), abs=1e-7)


def test_batches_add_up_exactly_in_any_order():
    rng = np.random.default_rng(4)
    parts = [{"m": random_pixels(rng, n)[2]} for n in (1, 3, 2)]
    for count, merged in [
        (class_probabilities, merged_class_probabilities),
        (class_uncertainty, merged_class_uncertainty),
    ]:
        tables = [count(part) for part in parts]
        first = merged(tables)
        assert first["n"].sum() == sum(table["n"].sum() for table in tables) > 1000
        # To the last bit, and whatever was merged before.
        pd.testing.assert_frame_equal(merged(tables[::-1]), first, check_exact=True)
        stepwise = merged([tables[2], merged([tables[0], tables[1]])])
        pd.testing.assert_frame_equal(stepwise, first, check_exact=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_probability": np.zeros((64, 64, 3))}, r"\(3, 64, 64\), got \(64, 64, 3\)"),
        ({"class_probability": np.full((3, 64, 64), np.nan)}, "add up to 1"),
        ({"class_variance": np.zeros((3, 64, 64))}, r"class_variance of scene 0 .* \(64, 64\)"),
        ({"class_variance": np.full((64, 64), 1.5)}, "from 0 to 1, got values from 1.5"),
    ],
)
def test_maps_that_do_not_fit(change, message):
    batch = bright_scenes([PAIR_AND_ONE])
    extra = [maps(batch)[0] | change]
    with pytest.raises(InputError, match=message):
        lit_pixels(batch, saying(batch, extra_data=extra))


def test_no_maps():
    batch = bright_scenes([PAIR_AND_ONE])
    with pytest.raises(InputError, match="extra_data of 1 scenes, got none"):
        lit_pixels(batch, saying(batch))
    with pytest.raises(InputError, match="must hold 'class_probability'"):
        lit_pixels(batch, saying(batch, extra_data=[{}]))


def reliability_table(methods=("a", "b"), n=50):
    rng = np.random.default_rng(1)
    parts = []
    for method in methods:
        for name in CLASS_NAMES:
            reliability = Reliability()
            p = rng.uniform(0, 1, n)
            reliability.add(p, rng.random(n) < p)
            parts.append(reliability.table().assign(**{"method": method, "class": name}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.usefixtures("no_screen")
class TestClassReliabilityDisplay:
    @pytest.mark.parametrize("table", [reliability_table()[:0], reliability_table(n=0)])
    def test_nothing(self, table):
        display = ClassReliabilityDisplay(table).plot(Figure(layout="constrained"))
        display.figure_.canvas.draw()
        assert list(display.axes_) == list(dict.fromkeys(table["class"]))

    def test_a_panel_a_class(self):
        table = reliability_table()
        display = ClassReliabilityDisplay(table).plot(Figure(layout="constrained"))
        display.figure_.canvas.draw()
        assert [ax.get_title() for ax in display.axes_.values()] == [
            "Background",
            "Isolated",
            "Blended",
        ]
        rows = table[(table["class"] == "isolated") & (table["method"] == "b") & (table["n"] > 0)]
        points = display.displays_["isolated"].errorbars_["b"].lines[0].get_xydata()
        np.testing.assert_allclose(points, rows[["mean_probability", "value"]])

    def test_colours_are_those_of_the_run(self):
        display = ClassReliabilityDisplay(reliability_table(), everyone=["SEP", "a", "b"])
        display.plot(methods=["b"])
        lines = display.displays_["blended"].errorbars_
        assert list(lines) == ["b"]
        assert lines["b"].lines[0].get_color() == PALETTE[2]
        with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['SEP'\]"):
            display.plot(methods=["SEP"])
