"""Varied conditions: what is drawn under each, and the table and plot of all."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.runs import uniformity as module
from btk_punet.evaluation.runs.uniformity import UniformityDisplay, uniformity


@pytest.mark.parametrize("conditions", [{}, {"colour": [1]}, {"n_exposures": []}])
def test_no_conditions(conditions, tmp_path):
    with pytest.raises(InputError, match=r"give values to some of \['psf_fwhm_arcsec'"):
        uniformity(tmp_path, "sep", conditions)


def test_a_value_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="n_exposures must be a whole number, got 1.5"):
        uniformity(tmp_path, "sep", {"n_exposures": [1, 1.5]})
    with pytest.raises(InputError, match="psf_fwhm_arcsec must be a finite number, got nan"):
        uniformity(tmp_path, "sep", {"psf_fwhm_arcsec": [np.nan]})
    assert list(tmp_path.iterdir()) == []


def test_what_each_condition_changes(catalog):
    def survey(quantity, value):
        (only,) = module._generator(catalog, quantity, value, 0).surveys.values()
        return only

    assert survey("n_exposures", 6.0).n_exposures == 6
    assert survey("psf_fwhm_arcsec", 0.2).n_exposures == 4
    fields = module._generator(catalog, "density_per_arcmin2", 60.0, 0)
    assert fields.sampling_function.mean_number == pytest.approx(60 * (25.6 / 60) ** 2)
    level, none = (
        module._generator(catalog, "sky_residual_sigma", value, 0).draw_batch(0, 1).blend_images
        for value in (0.2, 0.0)
    )
    sigma = np.sqrt(4 * (155.57 + 4.4**2))
    np.testing.assert_allclose(level - none, 0.2 * sigma, rtol=1e-3)


def test_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CATALOG_GALAXIES", 2000)
    conditions = {"n_exposures": [1, 4], "sky_residual_sigma": [0.1]}
    table = uniformity(tmp_path, ["sep"], conditions, n_blends=12, progress=False)
    assert table["quantity"].tolist() == ["n_exposures", "n_exposures", "sky_residual_sigma"]
    assert table["value"].tolist() == [1, 4, 0.1]
    shallow, deep = table["ceiling"][:2]
    assert shallow < deep
    lost = table["lost_with_information"] + table["lost_by_method"]
    np.testing.assert_allclose(table["completeness"] + lost, 1)
    np.testing.assert_allclose(table["lost_with_information"], 1 - table["ceiling"])
    saved = pd.read_csv(tmp_path / "uniformity.csv")
    pd.testing.assert_frame_equal(saved, table, check_dtype=False)
    assert (tmp_path / "uniformity.png").read_bytes().startswith(b"\x89PNG")
    # Again, it is read from the runs.
    again = uniformity(tmp_path, ["sep"], conditions, n_blends=12, progress=False)
    pd.testing.assert_frame_equal(again, table)


class TestDisplay:
    columns = ("completeness", "completeness_lo", "completeness_hi", "purity", "purity_lo")

    def table(self):
        rows = [
            (quantity, value, method, c, c - 0.1, c + 0.1, 0.9, 0.8, 1.0, 0.95)
            for quantity, value in [("n_exposures", 4.0), ("n_exposures", 1.0), ("new", 3.0)]
            for method, c in [("a", 0.5), ("b", 0.7)]
        ]
        names = ["quantity", "value", "method", *self.columns, "purity_hi", "ceiling"]
        return pd.DataFrame(rows, columns=names)

    def test_nothing(self):
        display = UniformityDisplay(self.table()[:0]).plot(Figure())
        assert display.legend_ is None and display.axes_ == {}

    def test_panels(self):
        display = UniformityDisplay(self.table()).plot(Figure())
        assert list(display.axes_) == [
            *(("completeness", "n_exposures"), ("completeness", "new")),
            *(("purity", "n_exposures"), ("purity", "new")),
        ]
        line = display.errorbars_["b", "completeness", "n_exposures"].lines[0]
        np.testing.assert_array_equal(line.get_xdata(), [1, 4])  # in order
        np.testing.assert_array_equal(line.get_ydata(), [0.7, 0.7])
        names = [text.get_text() for text in display.legend_.get_texts()]
        assert names == ["a", "b", "information ceiling", "lost with the information"]

    @pytest.mark.parametrize("n_quantities", [1, 2])
    def test_legend_is_not_cut_off(self, n_quantities):
        table = self.table().replace({"method": {"a": "SExtractor", "b": "ProbaUNet"}})
        names = ["n_exposures", "new"][:n_quantities]
        display = UniformityDisplay(table[table["quantity"].isin(names)])
        display.plot(Figure(figsize=display.size_inches, layout="constrained"))
        display.figure_.canvas.draw()
        legend, figure = display.legend_.get_window_extent(), display.figure_.bbox
        assert figure.x0 <= legend.x0 and legend.x1 <= figure.x1
        assert figure.y0 <= legend.y0 and legend.y1 <= figure.y1

    def test_one_method_alone_in_its_own_colour(self):
        both, alone = (
            UniformityDisplay(self.table()).plot(Figure(), methods) for methods in (None, ["b"])
        )
        key = ("b", "purity", "new")
        assert alone.errorbars_[key].lines[0].get_color() == (
            both.errorbars_[key].lines[0].get_color()
        )
        assert ("a", "purity", "new") not in alone.errorbars_
        with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['c'\]"):
            UniformityDisplay(self.table()).plot(Figure(), ["c"])
