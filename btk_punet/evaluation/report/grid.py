"""A table as it stands on a page: rows of cells below a head, the same for every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.style import bin_label, decimals_of
from btk_punet.evaluation.quantities import CEILING, Column
from btk_punet.evaluation.studies.table import Layout, Table

_EDGES = {"lo": "hi", "magnitude_lo": "magnitude_hi"}


class Bin(NamedTuple):
    """A bin that names a row or a column, with the number of decimals to write it with."""

    low: float
    high: float
    decimals: int | None


class Cell(NamedTuple):
    """A value, what it is of, and the ends of its interval (NaN without one)."""

    value: Any
    column: Column
    low: float = np.nan
    high: float = np.nan


class Heading(NamedTuple):
    """A text, or a bin, above so many columns; ``plain`` if it is a name out of the data."""

    name: Any
    span: int = 1


@dataclass(frozen=True)
class Grid:
    """One table of a page.

    Attributes:
        title: What sets it apart from the others of the same `Table`; empty if it is the only one.
        head: Lines of the head, each as wide as the rows.
        rows: Names of the row, and its cells.
        n_names: Number of columns of names.
    """

    title: str
    head: list[list[Heading]]
    rows: list[tuple[list[Any], list[Cell]]]
    n_names: int


def grids(table: Table) -> list[Grid]:
    """Return the page tables of a table: one, or one for each value of the column to split by."""
    layout = table.layout
    if layout is None or table.page.empty:
        return []
    if not layout.split:
        return [_grid("", table, layout, table.page)]
    parts = table.page.groupby(layout.split, sort=False)
    return [_grid(str(name), table, layout, rows) for name, rows in parts]


def _grid(title: str, table: Table, layout: Layout, data: pd.DataFrame) -> Grid:
    names = _without_upper_edges(layout.rows)
    row_keys = list(dict.fromkeys(data[list(layout.rows)].itertuples(index=False, name=None)))
    across = (
        list(dict.fromkeys(data[list(layout.across)].itertuples(index=False, name=None)))
        if layout.across
        else [()]
    )
    # Bins in their order; all else as it comes.
    if names and names[0] in _EDGES:
        row_keys.sort()
    if layout.across and layout.across[0] in _EDGES:
        across.sort()
    keys = [*layout.rows, *layout.across]
    if data.duplicated(keys).any():
        raise ValueError(f"The table {table.name!r} has several rows for one cell, by {keys}.")
    by_key = {key: row for row, key in enumerate(data[keys].itertuples(index=False, name=None))}
    # Arrays, since a DataFrame takes its time for each single value.
    values = {name: data[name].to_numpy() for name in data}

    shared = [name for name in layout.shared if _same(data, layout, name)]
    own = [name for name in layout.cells if name not in shared]
    rows = []
    for row in row_keys:
        line: list[Cell] = []
        for name in shared:
            there = next(by_key[(*row, *a)] for a in across if (*row, *a) in by_key)
            line.append(_cell(table, values, there, name))
        for column in across:
            index = by_key.get((*row, *column))
            line += [_cell(table, values, index, name) for name in own]
        rows.append((_names(table, values, layout.rows, row), line))
    first: list[Heading] = [Heading(table.column[name].head) for name in names]
    first += [Heading(table.column[name].head) for name in shared]
    if not layout.across:
        head = [[*first, *(Heading(table.column[name].head) for name in own)]]
    else:
        groups = [_names(table, values, layout.across, key)[0] for key in across]
        groups = [g.capitalize() if g == CEILING else g for g in groups]
        if len(own) == 1:
            head = [[*first, *map(Heading, groups)]]
        else:
            head = [
                [Heading("")] * len(first) + [Heading(group, len(own)) for group in groups],
                first + [Heading(table.column[name].head) for name in own] * len(groups),
            ]
    return Grid(title, head, rows, len(names))


def _without_upper_edges(names: Sequence[str]) -> list[str]:
    upper = {_EDGES[name] for name in names if name in _EDGES}
    return [name for name in names if name not in upper]


def _names(
    table: Table, values: Mapping[str, np.ndarray], columns: Sequence[str], key: Sequence[Any]
) -> list[Any]:
    """Return what names a row or a group of columns: texts and bins."""
    given = dict(zip(columns, key, strict=True))
    named: list[Any] = []
    for name in _without_upper_edges(columns):
        if name in _EDGES:
            even = name == "magnitude_lo" or (table.quantity is not None and table.quantity.even)
            edges = np.stack([values[name], values[_EDGES[name]]], axis=1).astype(float).ravel()
            named.append(
                Bin(given[name], given[_EDGES[name]], decimals_of(edges) if even else None)
            )
        elif table.column[name].format:
            named.append(format(given[name], table.column[name].format))
        else:
            named.append(str(given[name]))
    return named


def _same(data: pd.DataFrame, layout: Layout, name: str) -> bool:
    """Tell whether a column is the same for all that stands side by side in each row."""
    return bool((data.groupby(list(layout.rows))[name].nunique(dropna=False) == 1).all())


def _cell(table: Table, values: Mapping[str, np.ndarray], row: int | None, name: str) -> Cell:
    column = table.column[name]
    if row is None:
        return Cell(np.nan, column)
    if not column.interval:
        return Cell(values[name][row], column)
    low, high = (float(values[f"{name}_{end}"][row]) for end in ("lo", "hi"))
    return Cell(values[name][row], column, low, high)


def bin_text(name: Any) -> str:
    """Return how a name is written in plain text."""
    return bin_label(*name) if isinstance(name, Bin) else str(name)


def is_nothing(value: Any) -> bool:
    """Tell whether there is no value."""
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
