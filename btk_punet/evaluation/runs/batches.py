"""The files of a run's batches: written one by one, joined when all are there and whole.

A batch has a folder of its own, named by its number. Its summary is written last, with the number
of rows and the hash of each table: a batch counts only as far as its files agree with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from btk_punet.evaluation.studies.base import Tidy
from btk_punet.files import write_file, write_json

SUMMARY = "summary.json"


class DamagedBatchError(Exception):
    """What is there of a batch is not whole, or not of this run; the message says why."""


def batch_folder(folder: Path, number: int) -> Path:
    """Return the folder of a batch."""
    return folder / f"{number:06d}"


def write_batch(
    folder: Path, number: int, tables: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]
) -> None:
    """Write the tables of a batch, and its summary.

    Args:
        folder: Folder of the batches.
        number: Number of the batch.
        tables: Its tables by name.
        summary: What else is to be known of it; see `read_summary`.
    """
    own = batch_folder(folder, number)
    files = {}
    for name, table in tables.items():
        content = io.BytesIO()
        table.to_parquet(content, index=False)
        write_file(own / f"{name}.parquet", content.getvalue())
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        files[name] = {"rows": len(table), "sha256": digest}
    # Written last: it says that the batch is done.
    write_json({"batch": number, "files": files, **summary}, own / SUMMARY)


def read_summary(folder: Path, number: int, run: str) -> dict[str, Any] | None:
    """Return the summary of a batch: None where none is there, so that it is not done yet.

    Args:
        folder: Folder of the batches.
        number: Number of the batch.
        run: Hash of the run that it must be of.

    Returns:
        ``run``, ``batch``, ``n_blends``, ``files`` (``rows`` and ``sha256`` by name), ``seconds``,
        ``warnings`` and ``set_aside``.

    Raises:
        DamagedBatchError: if it cannot be read, or is that of another batch or run.
    """
    path = batch_folder(folder, number) / SUMMARY
    try:
        summary = json.loads(path.read_bytes())
        there = summary["run"], summary["batch"]
        parts = [(part["rows"], part["sha256"]) for part in summary["files"].values()]
        _ = parts, *(summary[name] for name in ("n_blends", "seconds", "warnings", "set_aside"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedBatchError(f"its summary is damaged ({type(error).__name__})") from error
    if there != (run, number):
        raise DamagedBatchError("it is of another run or batch")
    lost = [name for name in summary["files"] if not (path.parent / f"{name}.parquet").is_file()]
    if lost:
        raise DamagedBatchError(f"it has lost {lost[0]}.parquet")
    return summary


def read_part(folder: Path, number: int, name: str, expected: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table of a batch.

    Args:
        folder: Folder of the batches.
        number: Number of the batch.
        name: Name of the table.
        expected: ``rows`` and ``sha256``, from its summary.

    Raises:
        DamagedBatchError: if the file is not there, or another than was written.
    """
    try:
        content = (batch_folder(folder, number) / f"{name}.parquet").read_bytes()
    except OSError as error:
        raise DamagedBatchError(f"it has lost {name}.parquet") from error
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise DamagedBatchError(f"{name}.parquet is another file than was written")
    table = pq.read_table(io.BytesIO(content)).to_pandas()
    if len(table) != expected["rows"]:
        raise DamagedBatchError(f"{name}.parquet has {len(table)} rows, not {expected['rows']}")
    return table


def forget_batch(folder: Path, number: int) -> None:
    """Remove what is there of a batch."""
    shutil.rmtree(batch_folder(folder, number), ignore_errors=True)


def strangers(folder: Path, numbers: Sequence[int]) -> list[str]:
    """Return the names of what is in the folder of the batches and is none of them."""
    known = {batch_folder(folder, number).name for number in numbers}
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in known and not path.name.startswith(".")
    )


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
    folder: Path,
    summaries: Mapping[int, Mapping[str, Any]],
    tidy: Sequence[Tidy],
    methods: Sequence[str],
) -> tuple[dict[str, pd.DataFrame], dict[int, str]]:
    """Return the tables of all batches, joined in the order of their numbers.

    Args:
        folder: Folder of the batches.
        summaries: That of each batch by its number.
        tidy: The tables that there may be.
        methods: Names of the methods, in the order wanted.

    Returns:
        Those tables of which there is any part, and by number why a batch is damaged, where one is.
    """
    joined, damaged = {}, {}
    for table in tidy:
        parts = []
        for number, summary in sorted(summaries.items()):
            if table.name not in summary["files"]:
                continue
            try:
                parts.append(read_part(folder, number, table.name, summary["files"][table.name]))
            except DamagedBatchError as error:
                damaged[number] = str(error)
        if parts and not damaged:
            joined[table.name] = table.joined(parts, methods)
    return joined, damaged
