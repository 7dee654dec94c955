"""Parquet files: pandas reads the same table, astropy its units and descriptions."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.report.parquet import write_parquet

COLUMNS = (
    Column("x", "column of the centre", "pixel"),
    Column("method", "name of the method"),
    Column("absent", "of a column that the table does not have"),
)
TABLE = pd.DataFrame(
    {
        "scene": [0, 1, 1],
        "method": ["SEP", "ProbaUNet", "a $b$ é"],
        "x": [1.5, np.nan, -np.inf],
        "counts": [True, False, True],
    }
)


@pytest.mark.parametrize("table", [TABLE[:0], TABLE], ids=["empty", "three rows"])
def test_pandas_reads_the_same_table(table, tmp_path):
    write_parquet(table, tmp_path / "table.parquet", COLUMNS)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)


@pytest.mark.parametrize("table", [TABLE[:0], TABLE], ids=["empty", "three rows"])
def test_astropy_reads_units_and_descriptions(table, tmp_path):
    write_parquet(table, tmp_path / "table.parquet", COLUMNS)
    read = Table.read(tmp_path / "table.parquet")
    assert read.colnames == list(table.columns)
    assert (str(read["x"].unit), read["x"].description) == ("pix", "column of the centre")
    assert read["scene"].unit is None
    assert read["counts"].dtype == bool
    assert list(read["method"]) == list(table["method"])


def test_it_goes_on_to_fits(tmp_path):
    write_parquet(TABLE.replace("a $b$ é", "ascii"), tmp_path / "table.parquet", COLUMNS)
    Table.read(tmp_path / "table.parquet").write(tmp_path / "table.fits")
    read = Table.read(tmp_path / "table.fits")
    assert list(read["method"]) == ["SEP", "ProbaUNet", "ascii"]
    assert str(read["x"].unit) == "pix"
