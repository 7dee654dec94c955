"""Plots of blends: the image, its true sources, and what each method found in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import (
    chosen_methods,
    method_colours,
    method_markers,
    methods_of,
    plain_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Self


class SceneDisplay(AxesDisplay):
    """A blend, its true sources, and what each method found in it.

    The image is shown as ``arcsinh(image / (3 sigma))``, bright sources dark. A circle, of the
    matching radius, is a true source that counts: in full where all methods drawn found it,
    dashed where some did, dotted where none did. Dots are sources that do not count (too faint,
    or at the edge). The coloured markers are detections.

    Args:
        image: Blend image of one band, shape (H, W).
        truth: Rows of the scene of the truth table, all methods.
        detections: Rows of the scene of the detection table, all methods.
        sigma: Noise of the background, in the unit of `image`.
        methods: Names of all methods of the comparison, which settle the colours; those of
            `truth` if None.
        radius_pixels: Matching radius [pixel].

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        image_: The image drawn.
        sources_: The circles, by source number.
        detections_: Markers of each method, by its name.
    """

    def __init__(
        self,
        image: np.ndarray,
        truth: pd.DataFrame,
        detections: pd.DataFrame,
        sigma: float,
        methods: Sequence[str] | None = None,
        radius_pixels: float = 3.0,
    ):
        self.image = image
        self.truth = truth
        self.detections = detections
        self.sigma = sigma
        self.methods = methods
        self.radius_pixels = radius_pixels

    @classmethod
    def from_tables(
        cls,
        image: np.ndarray,
        truth: pd.DataFrame,
        detections: pd.DataFrame,
        sigma: float,
        scene: int,
        radius_pixels: float = 3.0,
    ) -> SceneDisplay:
        """Make the display of one scene from whole tables; arguments are those of the class."""
        return cls(
            image,
            truth[truth["scene"] == scene],
            detections[detections["scene"] == scene],
            sigma,
            methods_of(truth),
            radius_pixels,
        )

    def plot(
        self,
        ax: Axes | None = None,
        methods: Sequence[str] | None = None,
        legend: bool = True,
    ) -> Self:
        """Draw the scene, as `AxesDisplay.plot` does.

        Args:
            ax: Axes to draw in; those of a new figure if None.
            methods: Names of the methods to draw; all if None.
            legend: Whether to explain the symbols below the image.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known.
        """
        super().plot(ax, methods)
        if legend:
            self.ax_.legend(
                handles=self.legend_handles(list(self.detections_)), loc="upper center",
                bbox_to_anchor=(0.5, 0), borderaxespad=4.5, **SCENE_LEGEND,
            )  # fmt: skip
        return self

    def _plot(self, methods: Sequence[str] | None) -> None:
        from matplotlib.patches import Circle

        everyone = list(methods_of(self.truth) if self.methods is None else self.methods)
        drawn = chosen_methods(methods, everyone)
        colours, markers = method_colours(everyone), _scene_markers(everyone)
        stretched = np.arcsinh(np.ma.masked_invalid(self.image) / (3 * self.sigma))
        # From below the noise to the brightest pixel, or to 15 sigma where all are faint; no
        # pixel is quite black, so that circles can be seen on each.
        brightest = max(float(np.ma.filled(stretched.max(), 0.0)), np.arcsinh(5.0))
        self.image_ = self.ax_.imshow(
            stretched, cmap="gray_r", origin="lower", vmin=-0.6, vmax=1.4 * brightest
        )
        self.sources_: dict[int, Any] = {}
        for number, rows in self.truth[self.truth["method"].isin(drawn)].groupby("source"):
            place = float(rows["x"].iloc[0]), float(rows["y"].iloc[0])
            if rows["counts"].iloc[0]:
                style = _CIRCLES[_found_by(rows["matched"].to_numpy(bool))]
                circle = Circle(place, self.radius_pixels, fill=False, edgecolor="black", **style)
                self.sources_[int(number)] = self.ax_.add_patch(circle)
            else:
                self.ax_.plot(*place, ".", color="black", markersize=3)
        self.detections_: dict[str, Any] = {}
        for name in drawn:
            rows = self.detections[self.detections["method"] == name]
            (self.detections_[name],) = self.ax_.plot(
                rows["x"].to_numpy(float), rows["y"].to_numpy(float),
                linestyle="none", color=colours[name], **markers[name],
            )  # fmt: skip
        height, width = np.shape(self.image)
        self.ax_.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
        self.ax_.set(xlabel="x [pixel]", ylabel="y [pixel]")

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure [inch]: large enough to tell markers apart."""
        height, width = np.shape(self.image)
        scale = np.clip(width / 30, 5.5, 9.0) / width
        return float(width * scale), float(height * scale + 0.5)

    def legend_handles(self, drawn: Sequence[str]) -> list[Any]:
        """Return what explains the symbols, for a legend of these methods."""
        from matplotlib.lines import Line2D

        everyone = list(methods_of(self.truth) if self.methods is None else self.methods)
        colours, markers = method_colours(everyone), _scene_markers(everyone)
        names = (
            {"all": "source found", "none": "source missed"}
            if len(drawn) == 1
            else {"all": "found by all", "some": "found by some", "none": "found by none"}
        )
        handles = [
            Line2D([], [], color="black", label=label, **_CIRCLES[key])
            for key, label in names.items()
        ]
        handles.append(
            Line2D([], [], color="black", marker=".", markersize=3, linestyle="none",
                   label="does not count")
        )  # fmt: skip
        return handles + [
            Line2D([], [], linestyle="none", color=colours[n], label=plain_label(n), **markers[n])
            for n in drawn
        ]


_CIRCLES: dict[str, dict[str, Any]] = {
    "all": {"linestyle": "-", "linewidth": 1.0},
    "some": {"linestyle": "--", "linewidth": 1.2},
    "none": {"linestyle": ":", "linewidth": 1.6},
}

SCENE_LEGEND: dict[str, Any] = {"ncols": 4, "fontsize": "small", "frameon": False}


def _found_by(matched: np.ndarray) -> str:
    if matched.all():
        return "all"
    return "some" if matched.any() else "none"


def _scene_markers(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return open markers that grow from method to method, so that they can lie on each other."""
    return {
        name: {"marker": marker, "markersize": 4 + 2 * (i % 4), "fillstyle": "none",
               "markeredgewidth": 1.3}
        for i, (name, marker) in enumerate(method_markers(methods).items())
    }  # fmt: skip
