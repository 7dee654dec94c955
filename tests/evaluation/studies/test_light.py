"""Places and fluxes beside their limits: counted by hand, and right by construction."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.studies.light import LIGHT, LightDisplay, batch_light, light_table
from tests.evaluation.conftest import BACKGROUND
from tests.evaluation.detectors import APART, BRIGHT, Hopeless, Perfect, gaussian_scenes

# Two sources with a flux, one off by 10% and one too small by half, one without a flux.
ROWS = pd.DataFrame(
    {
        "magnitude": [22.1, 22.3, 24.0],
        "dx": [0.2, -0.1, 0.0],
        "dy": [0.0, 0.1, 0.3],
        "limit_x": 0.1,
        "limit_y": 0.1,
        "true_flux": [1000.0, 400.0, 100.0],
        "flux": [1100.0, 200.0, np.nan],
        "flux_err": [120.0, 50.0, np.nan],
        "limit_flux": [0.05, 0.1, 0.2],
    }
)


class WithFlux(Perfect):
    """Knows the places, and fluxes of 1000 electrons with an error of 10."""

    def deblend(self, ii, blend_batch):
        example = super().deblend(ii, blend_batch)
        n = len(example.catalog)
        example.catalog["flux"], example.catalog["flux_err"] = np.full((2, n), [[1000.0], [10.0]])
        return example


def test_nothing():
    row = light_table(ROWS[:0]).iloc[0]
    assert (row["pairs"], row["fluxes"], row["n"]) == (0, 0, 0)
    assert row[["place_over_limit", "mean_off", "bias", "flux_over_limit", "value"]].isna().all()
    batch = gaussian_scenes([[], []])
    assert batch_light(MatchedBatch.match(batch, {"none": Hopeless()(batch)})).empty


def test_by_hand():
    row = light_table(ROWS).iloc[0]
    assert (row["pairs"], row["fluxes"]) == (3, 2)
    assert row["mean_off"] == pytest.approx((0.1 + 0.5) / 2)
    assert row["bias"] == pytest.approx((0.1 - 0.5) / 2)
    assert row["outliers"] == 0.5  # a half is 0.753 mag
    # Of 2 and 5 limits, at 0.6827 of the way.
    assert row["flux_over_limit"] == pytest.approx(2 + 0.6827 * 3)
    # Of 0, 0, 1, 1, 2, 3 limits, at 3.4135 steps.
    assert row["place_over_limit"] == pytest.approx(1 + 0.4135)
    assert (row["n"], row["k"], row["value"]) == (2, 1, 0.5)


def test_in_bins():
    bright, faint = light_table(ROWS, "magnitude", [22, 23, 25]).to_dict("records")
    assert (bright["pairs"], faint["pairs"], faint["fluxes"]) == (2, 1, 0)
    assert np.isnan(faint["mean_off"])


def test_limits_of_a_round_gaussian_alone():
    # In flat noise, of a Gaussian of s pixels: sigma_x = s sqrt(8 pi v) s / F, and
    # sigma_F = sqrt(4 pi v) s; the flux is faint beside the background.
    flux, s = 600.0, 1.5
    batch = gaussian_scenes([[(32, 32, flux)]])
    rows = batch_light(MatchedBatch.match(batch, {"m": WithFlux()(batch)}))
    assert list(rows.columns) == [column.name for column in LIGHT.columns]
    peak_variance = BACKGROUND + flux / (2 * np.pi * s**2)
    for variance, sign in ((BACKGROUND, 1), (peak_variance, -1)):
        assert sign * rows["limit_flux"][0] > sign * s * np.sqrt(4 * np.pi * variance) / flux
        assert sign * rows["limit_x"][0] > sign * s**2 * np.sqrt(8 * np.pi * variance) / flux
    assert (rows["flux"][0], rows["flux_err"][0]) == (1000, 10)


def test_faint_and_missed_sources_are_left_out():
    batch = gaussian_scenes([APART, [(32, 32, 20.0)]])
    found = {"all": Perfect()(batch), "none": Hopeless()(batch)}
    rows = batch_light(MatchedBatch.match(batch, found, first_scene=5))
    assert rows[["scene", "method", "source"]].to_numpy().tolist() == [[5, "all", 0], [5, "all", 1]]
    assert rows["flux"].isna().all()
    assert (rows["true_flux"] > 0).all() and BRIGHT > 0


def test_plot():
    parts = [light_table(ROWS, "magnitude", [22, 23, 25]).assign(method=m) for m in ("a", "b$")]
    display = LightDisplay(pd.concat(parts), "magnitude").plot(Figure(layout="constrained"))
    assert [text.get_text() for text in display.legend_.get_texts()] == ["a", r"b\$"]
    assert len(display.axes_) == 4
