"""LaTeX of tables: numbers with their intervals, bins, names, and the ``tabular`` around them."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from btk_punet.evaluation.plotting.style import bin_label

INTERVALS = "The intervals are 68\\% Wilson intervals."
NOTHING = "--"


class Part(NamedTuple):
    """One LaTeX table: the method that it is of, what it shows, and its ``tabular``."""

    title: str
    caption: str
    tabular: list[str]


def escape_latex(text: str) -> str:
    r"""Return a text with LaTeX's special characters escaped: ``a_1`` becomes ``a\_1``."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    return re.sub(
        r"[\\~^<>|&%$#_{}]", lambda found: special.get(found[0], "\\" + found[0]), str(text)
    )


def latex_value(value: float, low: float, high: float, decimals: int | None = None) -> str:
    """Return ``$0.85^{+0.01}_{-0.02}$``, or ``--`` for NaN.

    Args:
        value: The value.
        low: Lower end of its interval.
        high: Upper end.
        decimals: Number of decimals; 2, or 3 where both errors would then be 0.00, if None.
    """
    if np.isnan(value):
        return NOTHING
    above, below = max(high - value, 0.0), max(value - low, 0.0)
    if decimals is None:
        decimals = 2 if max(above, below) >= 0.005 else 3
    return f"${value:.{decimals}f}^{{+{above:.{decimals}f}}}_{{-{below:.{decimals}f}}}$"


def latex_bin(low: float, high: float, decimals: int | None = None) -> str:
    r"""Return how LaTeX writes a bin: ``22.0--22.5``, ``$>2$`` or ``flux $\le 0$``."""
    text = bin_label(low, high, decimals).replace("–", "--")
    if "≤" in text:
        return r"flux $\le 0$"
    return f"${text.replace(' ', '')}$" if text[0] in "<>" else text


def latex_number(value: float, decimals: int = 3) -> str:
    """Return how LaTeX writes a number without an interval; NaN as `NOTHING`."""
    return NOTHING if np.isnan(value) else f"{value:.{decimals}f}"


def tabular(
    layout: str, head: Iterable[Sequence[str]], body: Iterable[Sequence[object]]
) -> list[str]:
    """Return the lines of a ``tabular``."""
    return [
        rf"\begin{{tabular}}{{{layout}}}",
        r"\hline",
        *(" & ".join(row) + r" \\" for row in head),
        r"\hline",
        *(" & ".join(map(str, row)) + r" \\" for row in body),
        r"\hline",
        r"\end{tabular}",
    ]


def plain_cell(value: object) -> str:
    """Return how LaTeX writes any value of a table."""
    if not isinstance(value, float | np.floating):
        return escape_latex(str(value))
    if np.isnan(value):
        return NOTHING
    if np.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return rf"${mantissa}\times10^{{{int(exponent)}}}$" if exponent else f"${mantissa}$"
