"""Plots of a training run: its losses, and what the network makes of held-out stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from btk_punet.errors import InputError
from btk_punet.figures import PALETTE, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

    from btk_punet.model.proba_unet import ProbaUNet

# Title of a panel -> the columns of the log that it shows, with the name of each.
_PANELS = {
    "Loss (negative evidence lower bound)": {"loss": "training", "val_loss": "held out"},
    # The one latent is the truth's or, by the shares of the configuration, the prior's; the mean
    # map is over samples of the prior.
    "Class cross-entropy": {"class": "training, one latent", "val_class": "held out, mean map"},
    "Centre cross-entropy": {"centre": "training, one latent", "val_centre": "held out, mean map"},
    "KL divergence": {"kl": "nats a pixel", "kl_largest": "largest dimension, nats a cell"},
    "Learning rate": {"learning_rate": ""},
    "Stamps a second": {"stamps_per_second": ""},
}
_COLUMNS = ("image", "true class", "mean class", "class variance", "one sample", "centres")


class TrainingDisplay:
    """Curves of a training run against the stamps seen.

    Args:
        log: The run's ``log.csv``.

    Raises:
        InputError: if the log is empty.
    """

    size_inches = (12.0, 6.5)

    def __init__(self, log: pd.DataFrame):
        if len(log) == 0:
            raise InputError("the log of the training has no row yet: wait for the first report")
        self.log = log

    def plot(self, figure: Figure | SubFigure | None = None) -> TrainingDisplay:
        """Draw the curves, in a new figure if none is given; return the display itself."""
        # Here and not above: only drawing needs matplotlib.
        from matplotlib.ticker import EngFormatter

        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        axes = self.figure_.subplots(2, 3, sharex=True)
        for ax, (title, columns) in zip(axes.flat, _PANELS.items(), strict=True):
            for (column, label), colour in zip(columns.items(), PALETTE, strict=False):
                values = self.log[column].where(self.log[column] > 0)
                ax.plot(self.log["stamps"], values, color=colour, label=label, linewidth=1.3)
            if title != "Stamps a second":
                ax.set_yscale("log")
            if any(columns.values()):
                ax.legend(fontsize=8, frameon=False)
            ax.set_title(title, fontsize=10)
            ax.grid(alpha=0.3, which="both", linewidth=0.5)
        for ax in axes[-1]:
            ax.set_xlabel("stamps seen")
            ax.locator_params(axis="x", nbins=5)
            ax.xaxis.set_major_formatter(EngFormatter())  # 1.2 M
        return self


class PredictionDisplay:
    """Stamps beside what a network makes of them, a row each.

    Args:
        images: In units of the noise, shape (n, H, W).
        classes: True classes, shape (n, H, W).
        centres: True centres, 1 where there is one, shape (n, H, W).
        mean: Mean over samples of the class of each sample, shape (n, H, W).
        variance: Variance of the same.
        sample: Class of one sample, shape (n, H, W).
        centre_probability: Mean over samples, shape (n, H, W).
    """

    def __init__(self, images, classes, centres, mean, variance, sample, centre_probability):
        self.images, self.classes, self.centres = images, classes, centres
        self.mean, self.variance, self.sample = mean, variance, sample
        self.centre_probability = centre_probability
        self.size_inches = (12.0, 2.1 * len(images) + 0.4)

    @classmethod
    def from_network(
        cls, network: ProbaUNet, stamps: dict[str, np.ndarray], n: int = 8, n_samples: int = 16
    ) -> PredictionDisplay:
        """Return the display of the first ``n`` of some stamps.

        Args:
            network: The model.
            stamps: What `StampComposer.batch` gives.
            n: Number of stamps.
            n_samples: Samples of each.
        """
        some = {name: stamps[name][:n] for name in ("image", "class", "centre", "mask")}
        told = stamps["density_ratio"][:n] if network.told_density else None
        maps = network.sample(some["image"], n_samples, 0, some["mask"], told)
        chosen = maps["class"].argmax(axis=-1)
        return cls(
            np.where(some["mask"], some["image"][..., 0], np.nan),
            some["class"],
            some["centre"],
            chosen.mean(axis=0),
            chosen.var(axis=0),
            chosen[0],
            maps["centre"].mean(axis=0),
        )

    def plot(self, figure: Figure | SubFigure | None = None) -> PredictionDisplay:
        """Draw the sheet, in a new figure if none is given; return the display itself."""
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        axes = self.figure_.subplots(len(self.images), len(_COLUMNS), squeeze=False)
        for ax, title in zip(axes[0], _COLUMNS, strict=True):
            ax.set_title(title, fontsize=10)
        for i, row in enumerate(axes):
            image = np.ma.masked_invalid(self.images[i])
            brightest = max(float(np.ma.filled(np.arcsinh(image / 3).max(), 0)), np.arcsinh(5.0))
            row[0].imshow(
                np.arcsinh(image / 3), "gray_r", origin="lower", vmin=-0.6, vmax=brightest
            )
            for ax, maps, top in zip(
                row[1:5],
                (self.classes, self.mean, self.variance, self.sample),
                (2, 2, 0.5, 2),
                strict=True,
            ):
                ax.imshow(maps[i], "viridis", origin="lower", vmin=0, vmax=top)
            row[5].imshow(
                np.sqrt(self.centre_probability[i]), "gray_r", origin="lower", vmin=0, vmax=1
            )
            y, x = np.nonzero(self.centres[i])
            for ax in (row[0], row[5]):
                ax.plot(x, y, "o", color=PALETTE[1], markersize=7, fillstyle="none", alpha=0.8)
            for ax in row:
                ax.set(xticks=[], yticks=[])
        return self
