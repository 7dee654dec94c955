"""The files of a run's batches: written one by one, joined when all are there."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from btk_punet.evaluation.studies.base import Tidy
from btk_punet.files import write_json, write_parquet


def write_batch(
    folder: Path, number: int, tables: Mapping[str, pd.DataFrame], summary: dict
) -> None:
    """Write the tables of a batch, and what it took."""
    for name, table in tables.items():
        write_parquet(table, batch_file(folder, number, f"{name}.parquet"))
    # Written last: it says that the batch is done.
    write_json(summary, batch_file(folder, number, "json"))


def warning_notes(caught: Iterable[warnings.WarningMessage]) -> list[str]:
    """Return the warnings of a batch as notes for who reads the run.

    What one library warns the author of another of is left out.
    """
    return sorted(
        {
            f"{warning.category.__name__}: {warning.message}"
            for warning in caught
            if not issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning)
        }
    )


def join_batches(
    folder: Path, tidy: Sequence[Tidy], methods: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return the tables of all batches, joined, and their summaries.

    Args:
        folder: Folder of the batches.
        tidy: The tables that there may be.
        methods: Names of the methods, in the order wanted.

    Returns:
        Those tables of which there is any part, and the summaries in the order of the batches.
    """
    summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    joined = {}
    for table in tidy:
        parts = [pd.read_parquet(path) for path in sorted(folder.glob(f"*.{table.name}.parquet"))]
        if parts:
            joined[table.name] = table.joined(parts, methods)
    return joined, summaries


def batch_file(folder: Path, number: int, ending: str) -> Path:
    """Return the path of one of the files of a batch."""
    return folder / f"{number:06d}.{ending}"
