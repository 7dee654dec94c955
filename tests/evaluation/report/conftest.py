"""Tables of a few rows, laid out in each of the ways that there are."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.quantities import METHOD, OF_SOURCES, WILSON, Column
from btk_punet.evaluation.studies.table import Layout, Table, all_described, fraction_columns

_NUMBERS = all_described(
    (
        Column("n", "number of sources", heading="N", format=",d"),
        Column("value", "share", heading="Share", format=".2f", interval=WILSON),
    )
)
FRACTION = fraction_columns("number of trials", "number of them that succeed", "fraction")


def make_table(rows=((1234, 0.5, 0.45, 0.5604), (7, np.nan, np.nan, np.nan)), **changes):
    """Return a table of one row per method; each row is n, value and its interval."""
    data = pd.DataFrame(rows, columns=["n", "value", "value_lo", "value_hi"])
    data.insert(0, "method", ["a_1", "b<c", "d"][: len(data)])
    given = {
        "name": "shares",
        "title": "Shares & more",
        "data": data,
        "columns": _NUMBERS,
        "layout": Layout(("method",), ("n", "value")),
        "how_to_read": "Higher is better.",
    }
    return Table(**(given | changes))


def make_binned(same_n=True):
    """Return a table of two bins of a magnitude and two methods."""
    data = pd.DataFrame(
        {
            "method": ["a", "a", "b", "b"],
            "lo": [22.0, 22.5, 22.0, 22.5],
            "hi": [22.5, np.inf, 22.5, np.inf],
            "n": [4, 2, 4, 2 if same_n else 3],
            "k": [2, 1, 4, 2],
            "value": [0.5, 0.5, 1.0, 1.0],
            "value_lo": [0.3, 0.2, 0.8, 0.6],
            "value_hi": [0.7, 0.8, 1.0, 1.0],
        }
    )
    return Table(
        "binned",
        "By magnitude",
        data,
        FRACTION,
        Layout(("lo", "hi"), ("n", "value"), across=("method",), shared=("n",)),
        quantity=OF_SOURCES["magnitude"],
    )


def make_split():
    """Return a table with one page table per method, and texts in its cells."""
    data = pd.DataFrame(
        {"method": ["x", "y"], "found": [1, 1], "what": ["r_1", "s"], "gain": [-0.25, 0.5]}
    )
    columns = (
        METHOD,
        Column("found", "number found", heading="Found", format="d"),
        Column("what", "what it is", heading="What"),
        Column("gain", "gain", heading="Gain", format="+.2f"),
    )
    layout = Layout(("found",), ("what", "gain"), split="method")
    return Table("split", "Split", data, columns, layout, caption="Gains below 100%.")


@pytest.fixture
def tables():
    """One table of each layout."""
    return [make_table(), make_binned(), make_split()]
