"""Figures in one manner: colours, figures for a notebook, and files that do not change by date."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btk_punet.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150

# Okabe and Ito (2008), told apart with any colour vision; without its yellow, too pale for lines
# on white, and its black, which is the ceiling's.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def write_figure(draw: Callable[[Figure], Any], size: tuple[float, float], path: Path) -> None:
    """Write what a function draws; the format is that of the file's name."""
    import matplotlib.style
    from matplotlib.figure import Figure

    # Dates and versions would make the bytes differ from day to day.
    undated: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        ".svg": {"Date": None, "Creator": None},
    }
    content = io.BytesIO()
    with matplotlib.style.context("default"):
        # Journals want fonts that are embedded as TrueType.
        matplotlib.rcParams["pdf.fonttype"] = 42
        matplotlib.rcParams["svg.hashsalt"] = "btk_punet"
        # Not through pyplot, which would keep the figure and could show it.
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(
            content, format=path.suffix[1:], dpi=DOTS_PER_INCH, metadata=undated.get(path.suffix)
        )
    write_file(path, content.getvalue())


def new_figure(size_inches: tuple[float, float]) -> Figure:
    """Return an empty figure of pyplot's, which a notebook shows."""
    # Through pyplot, because a plot without axes of the caller's is one that is to be looked at.
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size_inches, layout="constrained")


def new_axes(size_inches: tuple[float, float]) -> Axes:
    """Return the only axes of a new figure of pyplot's."""
    return new_figure(size_inches).add_subplot()
