import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.equal_purity.curves import PurityCompletenessDisplay
from btk_punet.evaluation.studies.equal_purity.sweep import purity_completeness_curve
from btk_punet.figures import PALETTE

pytestmark = pytest.mark.usefixtures("no_screen")


def axes():
    return Figure().subplots()


def example_curve(n_candidates=40, seed=0):
    """A scene of ten sources in a row, half of them found, and candidates of nothing."""
    rng = np.random.default_rng(seed)
    truth = pd.DataFrame({"scene": 0, "x": 10.0 * np.arange(10), "y": 0.0})
    truth = truth.assign(alone_snr=20.0, counts=True)
    candidates = pd.DataFrame({"scene": 0, "x": 10.0 * np.arange(n_candidates), "y": 0.0})
    candidates["p_detect"] = np.where(candidates["x"] < 95, 0.5, 0.0) + rng.uniform(
        0.02, 0.5, n_candidates
    )
    return purity_completeness_curve(truth, candidates.assign(in_bounds=True))


def headline(ceiling=0.9, **figures):
    """Return a table of methods from (n found, k matched, n true, k found)."""
    rows = []
    for method, (n, k, n_true, k_found) in figures.items():
        row = {"method": method.replace("_", " "), "ceiling": ceiling}
        for quantity, number in [("purity", (n, k)), ("completeness", (n_true, k_found))]:
            table = fractions(*([value] for value in number)).iloc[0]
            row |= {quantity: table["value"]}
            row |= {f"{quantity}_{end}": table[f"value_{end}"] for end in ("lo", "hi")}
        rows.append(row)
    return pd.DataFrame(rows)


def legend_texts(display):
    return [text.get_text() for text in display.legend_.get_texts()]


class TestPurityCompletenessDisplay:
    def test_nothing(self):
        display = PurityCompletenessDisplay({}).plot(axes())
        assert display.legend_ is None
        assert display.ceiling_ is None
        display.figure_.canvas.draw()

    def test_without_any_detection(self):
        curve = example_curve(0)
        display = PurityCompletenessDisplay({"net": curve}, headline(SEP=(0, 0, 10, 0)))
        display.plot(axes()).figure_.canvas.draw()
        assert np.isnan(display.errorbars_["SEP"].lines[0].get_xydata()[0, 0])

    def test_curve_and_points(self):
        curve = example_curve()
        table = headline(SEP=(20, 18, 10, 6), SExtractor=(8, 8, 10, 5))
        display = PurityCompletenessDisplay({"net": curve}, table).plot()
        np.testing.assert_array_equal(
            display.curves_["net"].get_xydata(), curve[["purity", "completeness"]]
        )
        bars = display.errorbars_["SEP"]
        assert bars.lines[0].get_xydata().tolist() == [[0.9, 0.6]]
        ends = [part.get_segments()[0] for part in bars.lines[2]]
        np.testing.assert_allclose(
            ends[0][:, 0], table.loc[0, ["purity_lo", "purity_hi"]].astype(float)
        )
        np.testing.assert_allclose(
            ends[1][:, 1], table.loc[0, ["completeness_lo", "completeness_hi"]].to_numpy(float)
        )
        assert display.ceiling_.get_ydata() == [0.9, 0.9]
        assert legend_texts(display) == ["SEP", "SExtractor", "net", CEILING]
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Purity", "Completeness")

    def test_unknown_ceiling_is_not_drawn(self):
        display = PurityCompletenessDisplay({}, headline(np.nan, SEP=(20, 18, 10, 6))).plot(axes())
        assert display.ceiling_ is None

    def test_colours_are_those_of_the_other_plots(self):
        table = headline(SEP=(20, 18, 10, 6), net=(20, 19, 10, 9))
        display = PurityCompletenessDisplay({"net": example_curve()}, table).plot(axes())
        assert to_hex(display.errorbars_["SEP"].lines[0].get_color()).upper() == PALETTE[0]
        assert to_hex(display.errorbars_["net"].lines[0].get_color()).upper() == PALETTE[1]
        assert to_hex(display.curves_["net"].get_color()).upper() == PALETTE[1]
        assert legend_texts(display).count("net") == 1

    def test_chosen_methods_keep_their_colours(self):
        table = headline(SEP=(20, 18, 10, 6), SExtractor=(8, 8, 10, 5))
        display = PurityCompletenessDisplay({"net": example_curve()}, table)
        display.plot(axes(), methods=["SExtractor"])
        assert list(display.errorbars_) == ["SExtractor"]
        assert display.curves_ == {}
        assert to_hex(display.errorbars_["SExtractor"].lines[0].get_color()).upper() == PALETTE[1]
        with pytest.raises(InputError, match=r"got \['SCARLET'\]"):
            display.plot(axes(), methods=["SCARLET"])
