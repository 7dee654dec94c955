import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.studies.blends.display import OUTCOME_COLOURS, OutcomesDisplay
from btk_punet.evaluation.studies.blends.outcomes import outcome_table
from btk_punet.evaluation.studies.blends.regions import OUTCOMES
from btk_punet.figures import PALETTE

pytestmark = pytest.mark.usefixtures("no_screen")


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

    def test_stacked(self):
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

    def test_a_panel_a_method(self):
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

    def test_bad_arguments(self):
        with pytest.raises(InputError, match="methods must be among"):
            OutcomesDisplay(FEW.assign(method="SEP")).plot(figure(), ["net"])
        with pytest.raises(InputError, match="by must be one of"):
            OutcomesDisplay(FEW, by="size").plot(figure())
