"""Curves and sheet of predictions: axes, limits and what they show."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.figures import write_figure
from btk_punet.training.display import PredictionDisplay, TrainingDisplay

matplotlib.use("Agg")


@pytest.fixture
def log():
    steps = np.arange(1, 5)
    names = (
        "loss", "val_loss", "class", "val_class", "centre", "val_centre", "kl", "kl_largest",
        "learning_rate", "stamps_per_second",
    )  # fmt: skip
    return pd.DataFrame({name: 1.0 / steps for name in names} | {"stamps": 1e6 * steps})


@pytest.fixture
def sheet():
    """Three stamps whose maps are all different constants."""
    shape = (3, 8, 9)
    images, centres = np.zeros(shape), np.zeros(shape)
    images[0, 2, 3], images[1, 4, 4] = 100.0, np.nan
    centres[0, 2, 3] = centres[2, 1, 1] = centres[2, 5, 6] = 1
    maps = [np.full(shape, value) for value in (1, 1.5, 0.25, 2, 0.09)]
    return PredictionDisplay(images, maps[0], centres, *maps[1:])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_an_empty_log():
    with pytest.raises(InputError, match="no row yet: wait for the first report"):
        TrainingDisplay(pd.DataFrame())


def test_curves(log, tmp_path):
    display = TrainingDisplay(log)
    assert display.plot() is display
    axes = display.figure_.axes
    assert len(axes) == 6
    assert [len(ax.lines) for ax in axes] == [2, 2, 2, 2, 1, 1]
    assert [ax.get_yscale() for ax in axes] == ["log"] * 5 + ["linear"]
    for ax in axes:
        for line in ax.lines:
            np.testing.assert_allclose(line.get_xdata(), log["stamps"])
            np.testing.assert_allclose(line.get_ydata(), 1 / np.arange(1, 5))
    display.figure_.canvas.draw()
    assert "2 M" in [label.get_text() for label in axes[-1].get_xticklabels()]
    write_figure(display.plot, display.size_inches, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 10_000


def test_curves_of_one_row_and_of_zeros(log):
    TrainingDisplay(log[:1]).plot().figure_.canvas.draw()
    log["kl"] = 0.0  # cannot stand on a logarithmic axis
    display = TrainingDisplay(log).plot()
    display.figure_.canvas.draw()
    assert np.isnan(display.figure_.axes[3].lines[0].get_ydata()).all()


def test_sheet(sheet, tmp_path):
    assert sheet.plot() is sheet
    axes = np.reshape(sheet.figure_.axes, (3, 6))
    assert [ax.get_title() for ax in axes[0]] == [
        "image", "true class", "mean class", "class variance", "one sample", "centres"
    ]  # fmt: skip
    for row in axes:
        shown = [ax.images[0] for ax in row]
        values = [float(image.get_array().max()) for image in shown[1:]]
        assert values == pytest.approx([1, 1.5, 0.25, 2, 0.3])
        assert [image.get_clim() for image in shown[1:]] == [
            (0, 2), (0, 2), (0, 0.5), (0, 2), (0, 1)
        ]  # fmt: skip
    # Both centres of the third stamp, on its image and on its map of centres.
    for ax in (axes[2, 0], axes[2, 5]):
        x, y = ax.lines[0].get_data()
        assert sorted(zip(x, y, strict=True)) == [(1, 1), (6, 5)]
    assert axes[1, 0].images[0].get_array().mask[4, 4]
    write_figure(sheet.plot, sheet.size_inches, tmp_path / "predictions.png")
    assert (tmp_path / "predictions.png").stat().st_size > 10_000


def test_a_stamp_without_any_usable_pixel():
    blank = np.zeros((1, 8, 8))
    images = np.full((1, 8, 8), np.nan)
    PredictionDisplay(images, blank, blank, blank, blank, blank, blank).plot()


class Halves:
    """Stands for a network: class 2 in the second half of the samples, else 0."""

    told_density = True

    def sample(self, images, n_samples, seed, mask, density_ratio):
        np.testing.assert_array_equal(density_ratio, [1.0, 2.0, 3.0])
        shape = (n_samples, *images.shape[:3])
        classes = np.zeros((*shape, 3))
        classes[: n_samples // 2, ..., 0] = classes[n_samples // 2 :, ..., 2] = 1
        centre = np.arange(n_samples)[:, None, None, None] * np.ones(shape) / n_samples
        return {"class": classes, "centre": centre}


def test_sheet_of_a_network():
    rng = np.random.default_rng(0)
    stamps = {
        "image": rng.standard_normal((5, 8, 8, 1)).astype(np.float32),
        "class": np.ones((5, 8, 8), np.uint8),
        "centre": np.zeros((5, 8, 8), np.uint8),
        "mask": rng.random((5, 8, 8)) < 0.8,
        "psf": np.zeros(5, int),
        "density_ratio": np.arange(1.0, 6.0),
    }
    display = PredictionDisplay.from_network(Halves(), stamps, n=3, n_samples=4)
    assert (display.mean == 1).all() and display.mean.shape == (3, 8, 8)
    assert (display.variance == 1).all()
    assert (display.sample == 0).all()
    assert (display.centre_probability == 1.5 / 4).all()
    np.testing.assert_array_equal(np.isnan(display.images), ~stamps["mask"][:3])
    display.plot()
