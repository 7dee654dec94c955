"""Tables as text files for programs: ECSV with units and descriptions, and CSV."""

from __future__ import annotations

import io

import numpy as np
from astropy.table import Table as AstropyTable

from btk_punet.evaluation.studies.table import Table


def astropy_table(table: Table) -> AstropyTable:
    """Return the numbers of a table with units, descriptions and its name in ``meta``."""
    result = AstropyTable(meta={"name": table.name})
    for name in table.data.columns:
        values = table.data[name].to_numpy()
        is_number = values.dtype.kind in "biuf"
        result[name] = values if is_number else np.array([str(v) for v in values], dtype=str)
        result[name].unit = table.column[name].unit or None
        result[name].description = table.column[name].description
    return result


def ecsv(table: Table) -> str:
    """Return a table as ECSV: every column in full precision, with unit and description."""
    return _written(astropy_table(table), "ascii.ecsv")


def csv(table: Table) -> str:
    """Return a table as CSV: every column in full precision."""
    return _written(astropy_table(table), "ascii.csv")


def _written(table: AstropyTable, kind: str) -> str:
    stream = io.StringIO()
    table.write(stream, format=kind)
    return stream.getvalue().replace("\r\n", "\n")
