import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from btk_punet.evaluation.plotting.display import AxesDisplay, PanelsDisplay
from btk_punet.evaluation.plotting.style import chosen_methods

pytestmark = pytest.mark.usefixtures("no_screen")


class OneLine(AxesDisplay):
    """Draws a line of as many points as there are methods."""

    size_inches = (3.0, 2.0)

    def _plot(self, methods):
        (self.line_,) = self.ax_.plot(range(len(chosen_methods(methods, ["a", "b"]))))


class Panels(PanelsDisplay):
    """Draws one panel per method, in a figure as wide as that."""

    def _size_of(self, methods):
        return 2.0 * len(methods), 1.0

    def _plot(self, methods):
        self.axes_ = self.figure_.subplots(1, len(chosen_methods(methods, ["a", "b"])))


def test_axes_of_the_caller_are_drawn_in_without_pyplot():
    ax, figure = Figure().subplots(), Figure()
    one, several = OneLine(), Panels()
    assert one.plot(ax, ["b"]) is one
    assert (one.ax_, one.figure_) == (ax, ax.figure)
    assert len(one.line_.get_xdata()) == 1
    assert several.plot(figure, ["a", "b"]) is several
    assert several.figure_ is figure
    assert len(several.axes_) == 2
    assert plt.get_fignums() == []


def test_new_figures_are_those_of_pyplot_and_have_the_size_of_the_display():
    one, several = OneLine().plot(), Panels().plot(methods=["a", "b"])
    assert plt.get_fignums() == [one.figure_.number, several.figure_.number]
    assert one.figure_.axes == [one.ax_]
    assert one.figure_.get_size_inches().tolist() == [3.0, 2.0]
    assert several.figure_.get_size_inches().tolist() == [4.0, 1.0]


@pytest.mark.parametrize("display", [OneLine(), Panels()])
def test_a_new_figure_is_closed_if_drawing_fails(display):
    with pytest.raises(ValueError, match="methods must be among .*, got .'c'"):
        display.plot(methods=["c"])
    assert plt.get_fignums() == []
