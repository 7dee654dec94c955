"""The files of a run's batches: written one by one, joined when all are there."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from btk_punet.evaluation.studies.outlines import batch as outlines
from btk_punet.evaluation.studies.probabilities import batch as probabilities
from btk_punet.files import write_json, write_parquet

# The tables that every run has, and by which columns the rows of a method are sorted.
TIDY = {"truth": ("scene", "source"), "detections": ("scene", "detection")}
# Those on blends that there may be besides.
ON_BLENDS = {"regions": ("scene", "region"), **outlines.TABLES}
OPTIONAL = (*ON_BLENDS, *probabilities.TABLES)


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
    folder: Path, methods: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return the tables of all batches, joined, and their summaries.

    Args:
        folder: Folder of the batches.
        methods: Names of the methods, in the order wanted.

    Returns:
        ``truth``, ``detections`` and what there is of `OPTIONAL`, method by method, the scenes of
        each in their order; and the summaries in the order of the batches.
    """
    summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    parts = {
        name: [pd.read_parquet(path) for path in sorted(folder.glob(f"*.{name}.parquet"))]
        for name in [*TIDY, *OPTIONAL]
    }
    order = {method: place for place, method in enumerate(methods)}
    joined = {}
    for name, sort_by in (TIDY | ON_BLENDS).items():
        if not parts[name]:
            continue
        table = pd.concat(parts[name], ignore_index=True)
        table["_order"] = table["method"].map(order)
        table = table.sort_values(["_order", *sort_by]).drop(columns="_order")
        joined[name] = table.reset_index(drop=True)
    return joined | probabilities.joined_probabilities(parts, methods), summaries


def batch_file(folder: Path, number: int, ending: str) -> Path:
    """Return the path of one of the files of a batch."""
    return folder / f"{number:06d}.{ending}"
