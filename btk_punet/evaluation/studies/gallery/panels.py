"""Plots of single scenes in full: image, truth, detections, and the maps of the methods."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.display import PanelsDisplay, shown_figure
from btk_punet.evaluation.plotting.style import plain_label
from btk_punet.evaluation.studies.gallery.scene import SCENE_LEGEND, SceneDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from typing_extensions import Self

# ColorBrewer's, told apart with any colour vision and in grey; none is the colour of a method.
CLASS_COLOURS = "BuPu"
VARIANCE_COLOURS = "Greys"
# That of a pixel torn between two neighbouring classes.
HIGHEST_VARIANCE = 0.25
CLASS_TICKS = {0: "0: none", 1: "1: one", 2: "2: more"}

# Sizes around the panels [inch]. They are placed by hand: a layout that measures all text takes
# several times as long as drawing it.
_LEFT, _GAP, _BAR, _CLASS_LABELS, _VARIANCE_LABELS = 0.5, 0.12, 0.1, 0.75, 0.5
_ABOVE, _LINE, _BELOW, _LEGEND = 0.5, 0.2, 0.3, 0.5


class ClassMaps(NamedTuple):
    """Mean and variance, over samples, of the class that a method gives each pixel; (H, W)."""

    mean: np.ndarray
    variance: np.ndarray


class CaseDisplay(PanelsDisplay):
    """A scene in a row of panels: image with detections, true classes, and maps of the methods.

    The class of a pixel is 0, 1 or 2: no source covers it, one does, or several.

    Args:
        scene: The image with the true sources and the detections.
        true_classes: Class of each pixel, of `class_map`, shape (H, W).
        maps: Class maps of the methods that give them, by their names.
        title: What is said above the row.

    Attributes:
        figure_: The figure, or part of one, drawn in.
        axes_: Axes of the panels, by their titles.
        images_: The maps drawn, by the title of the panel.
        colorbars_: The colour bars, by ``"class"`` and ``"variance"``.
    """

    def __init__(
        self,
        scene: SceneDisplay,
        true_classes: np.ndarray,
        maps: Mapping[str, ClassMaps] | None = None,
        title: str = "",
    ):
        self.scene = scene
        self.true_classes = true_classes
        self.maps = dict(maps or {})
        self.title = title

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure [inch]: large fields have larger panels."""
        return self._width, self.row_inches + _LEGEND

    @property
    def row_inches(self) -> float:
        """Height of the panels with their title, without a legend [inch]."""
        # Each line of the title needs its own room.
        above = _ABOVE + _LINE * (1 + self._title_lines().count("\n"))
        return above + self._panel_inches + _BELOW

    @property
    def _width(self) -> float:
        right = self._left_of(len(self._panels())) + self._panel_inches + _BAR
        return right + (_GAP + _VARIANCE_LABELS if self.maps else _CLASS_LABELS)

    def _title_lines(self) -> str:
        return textwrap.fill(self.title, int(12 * self._width))

    @property
    def _panel_inches(self) -> float:
        return float(np.clip(max(np.shape(self.scene.image)) / 45, 2.6, 5.0))

    def _left_of(self, number: int) -> float:
        """Return where the panel of this number, that of the image being 0, begins [inch]."""
        # The bar of the classes stands behind the second panel.
        bar = _BAR + _CLASS_LABELS if number > 1 else 0.0
        return _LEFT + number * (self._panel_inches + _GAP) + bar

    def _panels(self) -> list[tuple[str, np.ndarray, str, float]]:
        """Return title, values, colours and highest value of each panel but the first."""
        panels = [("true classes", self.true_classes, CLASS_COLOURS, 2.0)]
        for name, maps in self.maps.items():
            panels.append((f"{name}:\nclass mean", maps.mean, CLASS_COLOURS, 2.0))
            panels.append(
                (f"{name}:\nclass variance", maps.variance, VARIANCE_COLOURS, HIGHEST_VARIANCE)
            )
        return panels

    def _axes(self, left: float, width: float) -> Axes:
        """Add axes beside the others; left edge and width are in inches."""
        whole_width, whole_height = self._width, self.row_inches
        height = self._panel_inches / whole_height
        return self.figure_.add_axes(
            (left / whole_width, _BELOW / whole_height, width / whole_width, height)
        )

    def plot(
        self,
        figure: Figure | SubFigure | None = None,
        methods: Sequence[str] | None = None,
        legend: bool = True,
    ) -> Self:
        """Draw the panels.

        Args:
            figure: Empty figure, or part of one, to draw in; a new one if None.
            methods: Names of the methods whose detections are drawn; all if None.
            legend: Whether to explain the symbols below.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known.
        """
        if figure is None:
            size = self.size_inches if legend else (self._width, self.row_inches)
            with shown_figure(size) as new:
                return self.plot(new, methods, legend)
        if not legend:
            return super().plot(figure, methods)
        super().plot(figure.add_subfigure(figure.add_gridspec()[0]), methods)
        draw_legend(figure, self.scene)
        return self

    def _plot(self, methods: Sequence[str] | None) -> None:
        panels = self._panels()
        first, *others = (
            self._axes(self._left_of(number), self._panel_inches)
            for number in range(1 + len(panels))
        )
        self.scene.plot(first, methods, legend=False)
        first.set_title("image and detections", fontsize="medium")
        self.axes_: dict[str, Axes] = {"image and detections": first}
        self.images_: dict[str, Any] = {}
        for ax, (title, values, colours, highest) in zip(others, panels, strict=True):
            self.axes_[title] = ax
            self.images_[title] = ax.imshow(
                values, cmap=colours, origin="lower", vmin=0, vmax=highest
            )
            ax.set_title(plain_label(title), fontsize="medium")
            ax.tick_params(labelleft=False)
        for ax in self.axes_.values():
            ax.tick_params(labelsize="small")
            ax.set(xlabel="", ylabel="")
        first.set_ylabel("[pixel]", fontsize="small", labelpad=0)
        self._draw_bars()
        if self.title:
            title = plain_label(self._title_lines())
            self.figure_.text(0.01, 0.99, title, va="top", weight="bold")

    def _draw_bars(self) -> None:
        """Draw a colour bar of the classes, and one of the variances where there are any."""
        first, *others = self.images_.values()
        right = self._left_of(1) + self._panel_inches + _GAP / 2
        bar = self.figure_.colorbar(first, cax=self._axes(right, _BAR))
        bar.set_ticks(list(CLASS_TICKS), labels=list(CLASS_TICKS.values()), fontsize="small")
        self.colorbars_ = {"class": bar}
        if others:
            right = self._left_of(len(self.images_)) + self._panel_inches + _GAP / 2
            bar = self.figure_.colorbar(others[-1], cax=self._axes(right, _BAR), extend="max")
            bar.ax.tick_params(labelsize="small")
            self.colorbars_["variance"] = bar


class CasesDisplay(PanelsDisplay):
    """Scenes below each other, one row of panels each, with one legend.

    Args:
        cases: The scenes, one or more.

    Attributes:
        figure_: The figure drawn in.
        legend_: The legend.
        cases: The displays of the rows, with what each has drawn.

    Raises:
        InputError: without a scene.
    """

    def __init__(self, cases: Sequence[CaseDisplay]):
        if not cases:
            raise InputError("CasesDisplay needs one scene or more, got none.")
        self.cases = list(cases)

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all scenes [inch]."""
        width = max(case.size_inches[0] for case in self.cases)
        return width, sum(case.row_inches for case in self.cases) + _LEGEND

    def _plot(self, methods: Sequence[str] | None) -> None:
        rows = self.figure_.subfigures(len(self.cases), 1, squeeze=False)[:, 0]
        for case, row in zip(self.cases, rows, strict=True):
            case.plot(row, methods, legend=False)
        self.legend_ = draw_legend(self.figure_, self.cases[0].scene)


def draw_legend(figure: Figure | SubFigure, scene: SceneDisplay) -> Any:
    """Explain the symbols of a scene that is drawn, below everything else."""
    return figure.legend(
        handles=scene.legend_handles(list(scene.detections_)),
        loc="outside lower center",
        **SCENE_LEGEND,
    )
