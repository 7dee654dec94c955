"""Parquet files with the unit and description of each column, for pandas and astropy alike.

astropy keeps what it knows of a table as YAML in the metadata of the file; so does this, so that
``astropy.table.Table.read`` brings units and descriptions, which go on to FITS and VOTable.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table, meta

from btk_punet.evaluation.quantities import Column
from btk_punet.files import write_file

_ASTROPY_KEY = b"table_meta_yaml"


def write_parquet(table: pd.DataFrame, path: str | Path, columns: Sequence[Column] = ()) -> None:
    """Write a Parquet file.

    Args:
        table: The table.
        path: The file.
        columns: What its columns hold; those that are not named have no unit or description.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    known = {column.name: column for column in columns}
    # Without rows: only what is said of the columns is taken from it.
    described = Table()
    for name in table.columns:
        values = table[name].to_numpy()
        is_text = values.dtype.kind not in "biuf"
        described[name] = np.zeros(0, "U1" if is_text else values.dtype)
        if name in known:
            described[name].unit = known[name].unit or None
            described[name].description = known[name].description
    header = "\n".join(meta.get_yaml_from_table(described)).encode()
    metadata = {**(arrow.schema.metadata or {}), _ASTROPY_KEY: header}
    fields = []
    for field in arrow.schema:
        if pa.types.is_large_string(field.type):  # pandas 3's, which astropy 6 does not read
            longest = table[field.name].str.len().max() if len(table) else 1
            metadata[f"table::len::{field.name}".encode()] = str(max(int(longest), 1)).encode()
            field = field.with_type(pa.string())
        fields.append(field)
    arrow = arrow.cast(pa.schema(fields, metadata))
    content = io.BytesIO()
    pq.write_table(arrow, content)
    write_file(path, content.getvalue())
