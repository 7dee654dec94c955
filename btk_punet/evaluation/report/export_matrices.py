"""The matrices of a comparison in LaTeX: efficiency, and numbers of sources found and true."""

from collections.abc import Callable

import pandas as pd

from btk_punet.evaluation.plotting.style import decimals_of, methods_of
from btk_punet.evaluation.report.old_latex import (
    INTERVALS,
    Part,
    escape_latex,
    latex_bin,
    latex_value,
    tabular,
)
from btk_punet.evaluation.studies.detection.matrices import MAX_ANNOTATED


def efficiency_parts(table: pd.DataFrame) -> list[Part]:
    """Return a table a method, and one of the numbers of sources, the same for all methods."""
    some = table[table["n"] > 0]
    if some.empty:
        some = table
    magnitudes = sorted(set(zip(some["magnitude_lo"], some["magnitude_hi"], strict=True)))
    distances = sorted(set(zip(some["lo"], some["hi"], strict=True)))
    decimals = decimals_of(edge for edges in magnitudes for edge in edges)
    head = [["Magnitude", *(latex_bin(*edges) for edges in distances)]]
    where = "by magnitude (rows) and distance to the nearest neighbour in arcsec (columns)."

    def part(method: str, title: str, caption: str, text: Callable[[pd.Series], str]) -> Part:
        cells = table[table["method"] == method].set_index(["magnitude_lo", "lo"])
        body = [
            [latex_bin(low, high, decimals), *(text(cells.loc[(low, x)]) for x, _ in distances)]
            for low, high in magnitudes
        ]
        return Part(title, caption, tabular("l" + "r" * len(distances), head, body))

    caption = f"Completeness (recall) {where} {INTERVALS}"
    methods = methods_of(table)
    parts = [
        part(
            method, f"{escape_latex(method)}. ", caption,
            lambda cell: latex_value(cell["value"], cell["value_lo"], cell["value_hi"]),
        )
        for method in methods
    ]  # fmt: skip
    numbers = f"Number of true sources {where}"
    return [*parts, *(part(m, "", numbers, lambda cell: f"{cell['n']:.0f}") for m in methods[:1])]


def count_matrix_parts(table: pd.DataFrame) -> list[Part]:
    """Return a table a method; none of matrices too wide for a page."""
    some = table[table["scenes"] > 0]
    if some.empty or some["n_true"].max() - some["n_true"].min() >= MAX_ANNOTATED:
        return []
    true = range(some["n_true"].min(), some["n_true"].max() + 1)
    found = range(some["n_matched"].min(), some["n_matched"].max() + 1)
    caption = "Number of scenes by the number of true sources (columns) and of those found (rows)."
    parts = []
    for method in methods_of(table):
        rows = table[table["method"] == method]
        counts = rows.pivot(index="n_matched", columns="n_true", values="scenes")
        counts = counts.reindex(index=found, columns=true).fillna(0).astype(int)
        body = [[k, *counts.loc[k]] for k in found]
        matrix = tabular("r" * (len(true) + 1), [["", *map(str, true)]], body)
        parts.append(Part(f"{escape_latex(method)}. ", caption, matrix))
    return parts
