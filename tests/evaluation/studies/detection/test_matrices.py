import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from btk_punet.evaluation.scoring.counting import column_fractions
from btk_punet.evaluation.studies.detection.found import Found
from btk_punet.evaluation.studies.detection.matrices import CountMatrixDisplay, EfficiencyDisplay
from tests.evaluation.conftest import collected, tables_of
from tests.evaluation.plotting.test_fractions import (
    METHODS,
    detection_rows,
    example_tables,
    truth_rows,
)


class TestEfficiencyDisplay:
    def test_cells_are_those_of_the_table(self):
        display = EfficiencyDisplay(example_tables()["efficiency"]).plot(Figure())
        cells = display.meshes_["SEP"].get_array()
        # Magnitudes 22.0 to 24.5 in steps of 0.5, distances 0.3-0.5, 0.5-0.8, 0.8-1.2.
        assert cells.shape == (5, 3)
        assert cells[0, 2] == 1.0 and cells[4, 0] == 0.0
        assert cells.mask.sum() == 13
        assert {text.get_text() for text in display.axes_["SEP"].texts} == {"1.00", "0.00", "1"}

    def test_panels_share_one_colour_bar_and_scale(self):
        display = EfficiencyDisplay(example_tables()["efficiency"]).plot(Figure())
        assert list(display.axes_) == METHODS
        assert {mesh.get_clim() for mesh in display.meshes_.values()} == {(0.0, 1.0)}
        assert len(display.figure_.axes) == len(METHODS) + 1

    def test_bright_is_on_top(self):
        display = EfficiencyDisplay(example_tables()["efficiency"]).plot(Figure())
        ax = display.axes_["SEP"]
        assert ax.get_yticklabels()[0].get_text() == "22.0–22.5"
        assert ax.get_ylim() == (4.5, -0.5)

    def test_without_any_source(self):
        truth = truth_rows("SEP", [False] * 3, counts=False)
        tables = tables_of(Found(), collected(truth, detection_rows("SEP", [], [])))
        EfficiencyDisplay(tables["efficiency"].data).plot(Figure()).figure_.canvas.draw()
        CountMatrixDisplay(tables["count_matrix"].data).plot(Figure()).figure_.canvas.draw()


class TestCountMatrixDisplay:
    def table(self, counts, method="SEP"):
        counts = np.asarray(counts)
        found, true = np.indices(counts.shape)
        return pd.DataFrame(
            {
                "method": method,
                "n_matched": found.ravel(),
                "n_true": true.ravel(),
                "scenes": counts.ravel(),
                "fraction": column_fractions(counts).ravel(),
            }
        )

    def test_cells_are_fractions_of_the_columns(self):
        display = CountMatrixDisplay(self.table([[0, 1, 0], [0, 3, 2], [0, 0, 6]])).plot(Figure())
        cells = display.meshes_["SEP"].get_array()
        np.testing.assert_allclose(cells.filled(-1), [[0.25, -1], [0.75, 0.25], [-1, 0.75]])
        texts = [text.get_text() for text in display.axes_["SEP"].texts]
        assert texts == ["0.25", "1", "0.75", "3", "0.25", "2", "0.75", "6"]

    def test_diagonal_is_outlined(self):
        display = CountMatrixDisplay(self.table([[0, 1, 0], [0, 3, 2], [0, 0, 6]])).plot(Figure())
        assert [patch.get_xy() for patch in display.axes_["SEP"].patches] == [
            (-0.5, 0.5),
            (0.5, 1.5),
        ]

    def test_large_matrix_has_no_numbers(self):
        display = CountMatrixDisplay(self.table(np.eye(30, dtype=int))).plot(Figure())
        assert not display.axes_["SEP"].texts
