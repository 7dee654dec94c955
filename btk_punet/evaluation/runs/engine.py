"""The engine of every run: batches from seeds of their own, written one by one, joined at the end.

A run is a folder. One that was stopped resumes where it stopped, and ends with the same tables, bit
for bit, whatever the number of processes.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from btk.deblend import Deblender
from threadpoolctl import threadpool_limits

from btk_punet.errors import BatchFailedError
from btk_punet.evaluation.report.parquet import write_parquet
from btk_punet.evaluation.runs.batches import join_batches, warning_notes, write_batch
from btk_punet.evaluation.runs.workers import SharedMethods, run_batches
from btk_punet.evaluation.studies.base import Tidy
from btk_punet.files import write_json

BATCHES = "batches"


class Clock:
    """What a batch is doing, and how long its parts took.

    Attributes:
        running: What is running, for the message if it fails.
        seconds: Time of the parts that are timed.
    """

    def __init__(self) -> None:
        self.running = "the generator"
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str, running: str | None = None) -> Iterator[None]:
        """Measure the time of a part."""
        self.running = name if running is None else running
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


# Of a batch: methods, clock, number and size in; tables by their names out.
Work = Callable[[SharedMethods, Clock, int, int], Mapping[str, pd.DataFrame]]


def run_all(
    output: Path,
    run: dict[str, Any],
    work: Work,
    methods: dict[str, Deblender],
    tidy: Sequence[Tidy],
    batch_size: int,
    njobs: int,
    progress: bool,
) -> dict[str, pd.DataFrame]:
    """Run the batches that are not in the folder yet; join them and write the tidy tables.

    Args:
        output: Folder of the run, which `open_run` has opened.
        run: What is in ``run.json``; gets the files, times and notes of the batches.
        work: What is done for each batch.
        methods: Deblenders by name.
        tidy: The tables that ``work`` may return.
        batch_size: Scenes in a batch.
        njobs: Processes.
        progress: Whether to show a progress bar.

    Returns:
        The tidy tables of which there is any part.

    Raises:
        BatchFailedError: if something fails on a batch. The batches before are kept.
    """
    folder = output / BATCHES
    job = partial(_run_batch, folder, work)
    run_batches(job, methods, folder, run["n_blends"], batch_size, njobs, progress)
    joined, summaries = join_batches(folder, tidy, list(methods))
    columns = {table.name: table.columns for table in tidy}
    for name, table in joined.items():
        write_parquet(table, output / f"{name}.parquet", columns[name])
    run["files"] = [f"{name}.parquet" for name in joined]
    total: dict[str, float] = {}
    for summary in summaries:
        for name, seconds in summary["seconds"].items():
            total[name] = total.get(name, 0.0) + seconds
    run["timing_ms_per_blend"] = {
        name: round(1e3 * seconds / run["n_blends"], 3) for name, seconds in total.items()
    }
    run["notes"] = run["notes"] + sorted({w for summary in summaries for w in summary["warnings"]})
    return joined


def finish(output: Path, run: dict[str, Any]) -> None:
    """Say in ``run.json`` that a run is finished, after everything else, and tidy its folder."""
    run["status"] = "finished"
    write_json(run, output / "run.json")
    shutil.rmtree(output / BATCHES, ignore_errors=True)


def _run_batch(folder: Path, work: Work, shared: SharedMethods, number: int, size: int) -> int:
    """Do the work of a batch and write its tables; return its number."""
    clock = Clock()
    try:
        # One thread each: the matrices are small, and the last digits of a sum may depend on the
        # number of threads.
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tables = work(shared, clock, number, size)
    except Exception as error:
        raise BatchFailedError(
            f"Batch {number} failed in {clock.running}: {type(error).__name__}: {error} -- Draw it "
            f"again with generator.draw_batch({number}). The batches that were done are kept: once "
            "this is mended, the same command resumes from there."
        ) from error
    summary = {"n_blends": size, "seconds": clock.seconds, "warnings": warning_notes(caught)}
    write_batch(folder, number, tables, summary)
    return number
