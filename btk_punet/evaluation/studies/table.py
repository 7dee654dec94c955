"""Tables that carry their meaning: what each column holds, and how the table is laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import METHOD, WILSON, Column, Quantity


@dataclass(frozen=True)
class Layout:
    """How a table stands on a page, in a report as in a paper.

    Attributes:
        rows: Columns whose values name a row. ``("lo", "hi")`` are the edges of a bin.
        cells: Columns that are shown.
        across: Columns whose values stand side by side, each with its own cells; none if empty.
        shared: Those of ``cells`` that stand once in front, where they are the same for all that
            stands side by side (the number of sources, say).
        split: Column of whose values each has a page table of its own; none if empty.
        report_only: Those of ``cells`` that LaTeX leaves out: times, which differ from run to run.
        in_report: Whether the report shows it.
        in_latex: Whether it is written as LaTeX.
        long: Whether the report folds it away, to be opened with a click.
    """

    rows: tuple[str, ...]
    cells: tuple[str, ...]
    across: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    split: str = ""
    report_only: tuple[str, ...] = ()
    in_report: bool = True
    in_latex: bool = True
    long: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a study, with all that any format needs to write it.

    Attributes:
        name: Of its files, and its key among the tables of a run.
        title: Above it in the report. Tables and figures of one title stand together.
        data: The numbers.
        columns: What each column of ``data`` (and of ``shown``) holds, in any order.
        layout: How it stands on a page; None for one that is written as a file only, such as a
            curve of many points.
        how_to_read: A sentence or two above it in the report.
        caption: Of the LaTeX table, plain text.
        quantity: What ``lo`` and ``hi`` are the edges of, if it is binned.
        shown: What stands on the page, if that is not ``data``: fewer rows, or columns besides.

    Raises:
        InputError: if a column is not described, or the layout names one that is not there.
    """

    name: str
    title: str
    data: pd.DataFrame
    columns: tuple[Column, ...]
    layout: Layout | None = None
    how_to_read: str = ""
    caption: str = ""
    quantity: Quantity | None = None
    shown: pd.DataFrame | None = None
    column: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        """Check that what is in the table is described."""
        described = {METHOD.name: METHOD} | {c.name: c for c in self.columns}
        if self.quantity is not None:
            described = {c.name: c for c in self.quantity.columns()} | described
        object.__setattr__(self, "column", described)
        for data in (self.data, self.page):
            unknown = [name for name in data.columns if name not in described]
            if unknown:
                raise InputError(
                    f"The table {self.name!r} has columns that nothing describes: {unknown}. Give "
                    "a Column for each."
                )
        if self.layout is not None:
            layout = self.layout
            named = (*layout.rows, *layout.cells, *layout.across, *filter(None, [layout.split]))
            missing = [name for name in named if name not in self.page.columns]
            if missing:
                raise InputError(
                    f"The layout of the table {self.name!r} names columns that it lacks: "
                    f"{missing}. It has {list(self.page.columns)}."
                )

    @property
    def page(self) -> pd.DataFrame:
        """What stands on the page."""
        return self.data if self.shown is None else self.shown


def all_described(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return columns with the ends of their intervals."""
    return tuple(part for column in columns for part in column.with_ends())


def fraction_columns(
    trials: str, successes: str, fraction: str, heading: str = "", trials_heading: str = "N"
) -> tuple[Column, ...]:
    """Return what the columns of `fractions` hold: ``n``, ``k``, ``value`` and its interval.

    Args:
        trials: What ``n`` is.
        successes: What ``k`` is.
        fraction: What ``value`` = k / n is.
        heading: Of ``value``.
        trials_heading: Of ``n``.
    """
    return all_described(
        (
            Column("n", trials, heading=trials_heading, format=",d"),
            Column("k", successes),
            Column(
                "value", f"{fraction}, k / n; NaN where n is 0",
                heading=heading, format=".2f", interval=WILSON,
            ),
        )
    )  # fmt: skip


def rows_of_methods(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each method of a table, by its name: what `stacked` has joined."""
    return {
        method: rows.drop(columns="method").reset_index(drop=True)
        for method, rows in table.groupby("method", sort=False)
    }


def stacked(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of several methods as one, with the method's name as the first column."""
    for method, table in parts.items():
        table.insert(0, "method", method)
    return pd.concat(parts.values(), ignore_index=True)


def trimmed(table: pd.DataFrame, number: str = "n") -> pd.DataFrame:
    """Return a table without the bins at either end in which no method has entries."""
    some = table.loc[table[number] > 0, "lo"]
    if some.empty:
        return table
    inside = (table["lo"] >= some.min()) & (table["lo"] <= some.max())
    return table[inside].reset_index(drop=True)
