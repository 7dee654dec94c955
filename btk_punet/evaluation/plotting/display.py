"""What a display is: it holds numbers that are computed already, and draws them when asked.

The manner is scikit-learn's: ``plot`` draws and returns the display, whose ``figure_`` and ``ax_``
(or ``axes_``) are ordinary matplotlib objects that a paper's author can restyle. Matplotlib is
loaded when something is drawn, its settings are left as they are, and a method has the same colour
and marker in every plot of a comparison.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Display(ABC):
    """Base of all displays.

    Attributes:
        size_inches: Width and height of a new figure.
    """

    size_inches: Any

    @abstractmethod
    def draw(self, figure: Figure) -> None:
        """Draw in an empty figure."""


class AxesDisplay(Display):
    """A display of one pair of axes, ``plot(ax=None)``."""

    @abstractmethod
    def plot(self, ax: Any = None, methods: Any = None) -> Any:
        """Draw in axes, or in those of a new figure."""

    def draw(self, figure: Figure) -> None:
        """Draw in an empty figure."""
        self.plot(figure.subplots())


class PanelsDisplay(Display):
    """A display of several panels, ``plot(figure=None)``."""

    @abstractmethod
    def plot(self, figure: Any = None, methods: Any = None) -> Any:
        """Draw in a figure, or in a new one."""

    def draw(self, figure: Figure) -> None:
        """Draw in an empty figure."""
        self.plot(figure)
