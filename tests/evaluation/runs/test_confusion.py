import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from btk_punet.evaluation.runs.confusion import ConfusionDisplay
from btk_punet.evaluation.statistics.pixels import CLASS_NAMES, PixelScores

pytestmark = pytest.mark.usefixtures("no_screen")


def matrix(pairs):
    """Return the confusion matrix of (true, predicted) pixels."""
    scores = PixelScores()
    true, predicted = np.array(pairs, int).reshape(-1, 2).T
    scores.add(np.eye(3)[predicted][None, None], true[None, None])
    return scores.confusion_matrix()


def test_nothing():
    display = ConfusionDisplay(matrix([])).plot(Figure().subplots())
    assert display.mesh_.get_array().mask.all()
    assert len(display.ax_.texts) == 0
    display.figure_.canvas.draw()


def test_cells_are_fractions_of_the_true_class():
    display = ConfusionDisplay(matrix([(0, 0), (0, 0), (0, 0), (0, 2), (1, 2)])).plot(
        Figure().subplots()
    )
    shares = display.mesh_.get_array()
    np.testing.assert_allclose(shares[:2], [[0.75, 0, 0.25], [0, 0, 1]])
    assert shares.mask[2].all()
    written = {(text.xy, text.get_text()) for text in display.ax_.texts}
    assert {((2, 0), "0.250"), ((2, 0), "1"), ((0, 0), "3"), ((2, 1), "1.000")} <= written
    # The first true class is on top, and each name stands at its own row and column.
    assert display.ax_.yaxis_inverted()
    for labels in (display.ax_.get_xticklabels(), display.ax_.get_yticklabels()):
        assert [label.get_text() for label in labels] == list(CLASS_NAMES)


def test_new_figure():
    display = ConfusionDisplay(matrix([(0, 0), (1, 1), (2, 1)])).plot()
    assert plt.get_fignums() == [display.figure_.number]
    display.figure_.canvas.draw()
