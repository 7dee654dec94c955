"""Tables in LaTeX, for papers: a ``table`` that needs no package."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from btk_punet.evaluation.plotting.style import bin_label
from btk_punet.evaluation.report.grid import Bin, Cell, Grid, Heading, grids, is_nothing
from btk_punet.evaluation.studies.table import Table

NOTHING = "--"
# Tables that are wider do not fit on a page.
MOST_COLUMNS = 14


def latex_table(table: Table) -> str:
    """Return a table as LaTeX, one ``table`` below another where it is split.

    Empty for one that is not written so, or is too wide for a page.
    """
    layout = table.layout
    if layout is None or not layout.in_latex:
        return ""
    if layout.report_only:
        cells = tuple(name for name in layout.cells if name not in layout.report_only)
        table = replace(table, layout=replace(layout, cells=cells))
    parts = [grid for grid in grids(table) if _width(grid) <= MOST_COLUMNS]
    texts = []
    for number, grid in enumerate(parts, 1):
        label = table.name if len(parts) == 1 else f"{table.name}:{number}"
        title = f"{escape_latex(grid.title)}. " if grid.title else ""
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{title}{_caption(table, grid)}}}",
            rf"\label{{tab:{label}}}",
            # Close columns, and rows high enough for errors above and below.
            r"\setlength{\tabcolsep}{4pt}",
            r"\renewcommand{\arraystretch}{1.2}",
            *_tabular(grid),
            r"\end{table}",
        ]
        texts.append("\n".join(lines) + "\n")
    return "\n".join(texts)


def escape_latex(text: str) -> str:
    r"""Return a text with LaTeX's special characters escaped: ``a_1`` becomes ``a\_1``."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": "$<$", ">": "$>$", "|": r"\textbar{}", "≤": r"$\le$", "−": "$-$", "–": "--"}
    return re.sub(
        r"[\\~^<>|&%$#_{}≤−–]", lambda found: special.get(found[0], "\\" + found[0]), str(text)
    )


def _caption(table: Table, grid: Grid) -> str:
    text = table.caption or f"{table.title}."
    kinds = {cell.column.interval for _, cells in grid.rows for cell in cells} - {""}
    if kinds:
        text += f" The intervals are {' and '.join(f'{kind}s' for kind in sorted(kinds))}."
    return escape_latex(text)


def _width(grid: Grid) -> int:
    return sum(heading.span for heading in grid.head[-1])


def _tabular(grid: Grid) -> list[str]:
    n_cells = _width(grid) - grid.n_names
    head = [" & ".join(_heading(heading) for heading in line) + r" \\" for line in grid.head]
    body = [
        " & ".join([*map(_name, names), *map(_value, cells)]) + r" \\" for names, cells in grid.rows
    ]
    return [
        rf"\begin{{tabular}}{{{'l' * grid.n_names}{'r' * n_cells}}}",
        r"\hline",
        *head,
        r"\hline",
        *body,
        r"\hline",
        r"\end{tabular}",
    ]


def _heading(heading: Heading) -> str:
    text = _name(heading.name)
    return text if heading.span == 1 else rf"\multicolumn{{{heading.span}}}{{c}}{{{text}}}"


def _name(name: Any) -> str:
    if not isinstance(name, Bin):
        return escape_latex(name)
    text = bin_label(*name).replace("–", "--")
    if "≤" in text:
        return r"flux $\le 0$"
    return f"${text.replace(' ', '')}$" if text[0] in "<>" else text


def _value(cell: Cell) -> str:
    """Return ``$0.85^{+0.01}_{-0.02}$``, a number, a text, or ``--`` for nothing."""
    value, column, low, high = cell
    if is_nothing(value):
        return NOTHING
    if not column.format:
        return escape_latex(value)
    text = format(value, column.format)
    if np.isnan(low) or np.isnan(high):
        number = text.replace(",", "")
        return f"${number}$" if number[0] in "+-" else escape_latex(number)
    above, below = max(high - value, 0.0), max(value - low, 0.0)
    # Errors of 0.00 would say nothing.
    spec = column.format
    if spec.endswith("2f") and max(above, below) < 0.005:
        spec = spec.replace("2f", "3f")
    size = spec.lstrip("+")
    return f"${format(value, spec)}^{{+{format(above, size)}}}_{{-{format(below, size)}}}$"
