"""Tables as rows of cells: what stands side by side, once in front, or on a table of its own."""

import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.report.grid import Bin, Heading, grids
from btk_punet.evaluation.studies.table import Layout
from tests.evaluation.report.conftest import make_binned, make_split, make_table


def texts(line):
    return [(heading.name, heading.span) for heading in line]


def test_of_nothing():
    assert grids(make_table(data=make_table().data[:0])) == []
    assert grids(make_table(layout=None)) == []


def test_a_row_per_method():
    (grid,) = grids(make_table())
    assert texts(grid.head[0]) == [("Method", 1), ("N", 1), ("Share", 1)]
    (names, cells), (other, nothing) = grid.rows
    assert (names, other) == (["a_1"], ["b<c"])
    assert [cell.value for cell in cells] == [1234, 0.5]
    assert (cells[1].low, cells[1].high) == (0.45, 0.5604)
    assert np.isnan(nothing[1].value)


def test_what_is_the_same_for_all_stands_once():
    (grid,) = grids(make_binned(same_n=True))
    assert texts(grid.head[0]) == [("Magnitude [mag]", 1), ("N", 1), ("a", 1), ("b", 1)]
    assert grid.rows[0][0] == [Bin(22.0, 22.5, 1)]
    assert [[cell.value for cell in cells] for _, cells in grid.rows] == [[4, 0.5, 1], [2, 0.5, 1]]


def test_what_differs_stands_with_each():
    (grid,) = grids(make_binned(same_n=False))
    assert grid.head[0] == [Heading(""), Heading("a", 2), Heading("b", 2)]
    assert [heading.name for heading in grid.head[1]] == ["Magnitude [mag]", *["N", "value"] * 2]
    assert [cell.value for cell in grid.rows[1][1]] == [2, 0.5, 3, 1.0]


def test_bins_are_in_order_and_a_missing_one_is_empty():
    table = make_binned()
    shuffled = table.data.iloc[[3, 0, 1]]
    (grid,) = grids(make_table(data=shuffled, columns=table.columns, layout=table.layout,
                               quantity=table.quantity))  # fmt: skip
    assert [names[0].low for names, _ in grid.rows] == [22.0, 22.5]
    values = [cell.value for cell in grid.rows[0][1]]
    assert values[0] == 4
    assert np.isnan(values[1]) and values[2] == 0.5


def test_a_table_each():
    first, second = grids(make_split())
    assert (first.title, second.title) == ("x", "y")
    assert first.rows[0][0] == ["1"]
    assert [cell.value for cell in second.rows[0][1]] == ["s", 0.5]


def test_columns_that_nothing_describes():
    with pytest.raises(InputError, match=r"'shares' has columns that nothing describes: \['n', "):
        make_table(columns=())


def test_layout_of_columns_that_are_not_there():
    with pytest.raises(InputError, match=r"layout of the table 'shares' names columns.*\['x'\]"):
        make_table(layout=Layout(("method",), ("x",)))


def test_two_rows_for_one_cell():
    with pytest.raises(ValueError, match="several rows for one cell"):
        grids(make_table(layout=Layout(("constant",), ("n",)), shown=make_table().data.assign(
            constant=1), columns=(*make_table().columns, Column("constant", "one"))))  # fmt: skip
