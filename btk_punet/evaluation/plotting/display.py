"""What a display is: it holds numbers that are computed already, and draws them when asked.

The manner is scikit-learn's: ``plot`` draws and returns the display, whose ``figure_`` and ``ax_``
(or ``axes_``) are ordinary matplotlib objects that a paper's author can restyle. Matplotlib is
loaded when something is drawn, its settings are left as they are, and a method has the same colour
and marker in every plot of a comparison.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from btk_punet.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from typing_extensions import Self


class Display(ABC):
    """Base of all displays.

    Attributes:
        size_inches: Width and height of a new figure.
    """

    size_inches: Any

    @abstractmethod
    def draw(self, figure: Figure) -> None:
        """Draw in an empty figure."""

    def _size_of(self, methods: Sequence[str] | None) -> tuple[float, float]:
        """Return width and height of a new figure for these methods [inch]."""
        return self.size_inches


class AxesDisplay(Display):
    """A display of one pair of axes, ``plot(ax=None)``."""

    figure_: Any
    ax_: Any

    def plot(self, ax: Axes | None = None, methods: Sequence[str] | None = None) -> Self:
        """Draw in axes, or in those of a new figure.

        Args:
            ax: Axes to draw in; those of a new figure if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method, or a quantity to draw or to bin by, that is not known.
        """
        if ax is None:
            with shown_figure(self._size_of(methods)) as figure:
                # Not the subclass's, which may have more options.
                return AxesDisplay.plot(self, figure.add_subplot(), methods)
        self.ax_, self.figure_ = ax, ax.figure
        self._plot(methods)
        return self

    @abstractmethod
    def _plot(self, methods: Sequence[str] | None) -> None:
        """Draw in ``ax_``, which `plot` has set."""

    def draw(self, figure: Figure) -> None:
        """Draw in an empty figure."""
        self.plot(figure.subplots())


class PanelsDisplay(Display):
    """A display of several panels, ``plot(figure=None)``."""

    figure_: Any

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> Self:
        """Draw in a figure, or in a new one.

        Args:
            figure: Empty figure, or part of one, to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method, or a quantity to draw or to bin by, that is not known.
        """
        if figure is None:
            with shown_figure(self._size_of(methods)) as new:
                # Not the subclass's, which may have more options.
                return PanelsDisplay.plot(self, new, methods)
        self.figure_ = figure
        self._plot(methods)
        return self

    @abstractmethod
    def _plot(self, methods: Sequence[str] | None) -> None:
        """Draw in ``figure_``, which `plot` has set."""

    def draw(self, figure: Figure) -> None:
        """Draw in an empty figure."""
        self.plot(figure)


@contextmanager
def shown_figure(size_inches: tuple[float, float]) -> Iterator[Figure]:
    """Make an empty figure of pyplot's; if drawing in it fails, close it, so that none is shown."""
    figure = new_figure(size_inches)
    try:
        yield figure
    except BaseException:
        import matplotlib.pyplot as plt

        plt.close(figure)
        raise
