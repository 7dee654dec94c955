"""The engine of every run: batches from seeds of their own, written one by one, joined at the end.

A run is a folder. One that was stopped resumes where it stopped, and ends with the same tables, bit
for bit, whatever the number of processes, and whichever of them were lost on the way.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
from btk.deblend import Deblender
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from btk_punet.cluster.base import TRIES, Workers
from btk_punet.cluster.tasks import Outcome
from btk_punet.cluster.workers import open_workers
from btk_punet.errors import BatchFailedError, ClusterError, IncompleteRunWarning
from btk_punet.evaluation.report.parquet import write_parquet
from btk_punet.evaluation.runs.batches import (
    DamagedBatchError,
    batch_folder,
    forget_batch,
    join_batches,
    read_summary,
    strangers,
    warning_notes,
    write_batch,
)
from btk_punet.evaluation.runs.ended import Marks
from btk_punet.evaluation.runs.options import Running
from btk_punet.evaluation.runs.set_aside import (
    SetAside,
    in_words,
    missing_batches,
    missing_scenes,
    write_failures,
)
from btk_punet.evaluation.runs.task import BatchEndedError, BatchTask
from btk_punet.evaluation.studies.base import Tidy
from btk_punet.files import write_file, write_json

BATCHES = "batches"
# Hidden among the batches: what says to a worker that it sees the folder of this run, and to a run
# that its batches are those of shards, which tried everything as often as need be.
MARK = ".mark"
MERGED = ".merged"
# How long another machine may take to see what this one wrote [s].
SHARED_S = 20
# How often damaged batches are drawn again before the disk is to blame.
ROUNDS = 3
# So many failures are told while a run goes on; all are in its folder.
MOST_TOLD = 5

# Of a batch: its tables by their names.
Work: TypeAlias = Callable[[BatchTask], Mapping[str, pd.DataFrame]]
# Number and size of a batch.
Batch: TypeAlias = tuple[int, int]


@dataclass
class Job:
    """What every batch of a run needs, sent to each worker once.

    Attributes:
        folder: Folder of the batches.
        run: Hash of the run.
        mark: What `MARK` in the folder holds.
        work: What is done for each batch.
        methods: Deblenders by name.
        timeout: Most seconds of a method for a batch, or None.
        fail_fast: Whether the first failure ends the run.
        in_this_process: Whether the process is that of the run.
        warm: Names of the methods that are loaded and compiled in this process.
        checked: Whether it was checked that the folder is the same here.
    """

    folder: Path
    run: str
    mark: str
    work: Work
    methods: dict[str, Deblender]
    timeout: float | None
    fail_fast: bool
    in_this_process: bool
    warm: set[str] = field(default_factory=set)
    checked: bool = False

    def check_folder(self) -> None:
        """Check, once in a process, that it sees the folder of the run.

        Raises:
            ClusterError: if it does not.
        """
        deadline = time.monotonic() + SHARED_S
        while not self.checked:
            try:
                self.checked = (self.folder / MARK).read_text() == self.mark
            except OSError:
                pass
            if not self.checked:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"A worker on {platform.node()} does not see the folder of the run, "
                        f"'{self.folder}': put the output where all workers see it at the same "
                        "path, on a shared file system."
                    )
                time.sleep(0.5)


def run_all(
    output: Path,
    run: dict[str, Any],
    work: Work,
    methods: dict[str, Deblender],
    tidy: Sequence[Tidy],
    batch_size: int,
    running: Running,
) -> dict[str, pd.DataFrame]:
    """Run the batches that are not in the folder yet; join them and write the tidy tables.

    Args:
        output: Folder of the run, which `open_run` has opened.
        run: What is in ``run.json``; gets the files, times and notes of the batches, and under
            ``incomplete`` the batches that each method is missing on, if any.
        work: What is done for each batch.
        methods: Deblenders by name.
        tidy: The tables that ``work`` may return.
        batch_size: Scenes in a batch.
        running: How the run is run.

    Returns:
        The tidy tables of which there is any part. Of a shard none: its batches stay in the folder.

    Raises:
        BatchFailedError: if nothing is left of any batch; if something fails on a batch, and the
            first failure is to end the run. The batches before are kept.
        ClusterError: if there are no workers, or they cannot do the work.
    """
    folder, n_blends = output / BATCHES, run["n_blends"]
    folder.mkdir(exist_ok=True)
    sizes = {
        number: min(batch_size, n_blends - first)
        for number, first in enumerate(range(0, n_blends, batch_size))
    }
    numbers = running.of_shard(list(sizes))
    job = Job(
        folder, run_hash(run), uuid.uuid4().hex, work, methods, running.timeout, running.fail_fast,
        not running.needs_workers(),
    )  # fmt: skip
    write_file(folder / MARK, job.mark.encode())
    notes = [
        f"'{name}' in '{folder.name}' is none of the batches of this run, and was left aside."
        for name in strangers(folder, list(sizes))
    ]
    again = not (folder / MERGED).exists()
    for _ in range(ROUNDS):
        todo = _todo(job, {number: sizes[number] for number in numbers}, again, notes)
        done = sum(sizes[number] for number in numbers) - sum(size for _, size in todo)
        if todo:
            _draw(job, todo, done, running)
        again = False
        summaries = {number: _summary(job, number) for number in numbers}
        if running.shard is not None:
            _write_set_aside(output, run, summaries, methods)
            return {}
        joined, damaged = join_batches(folder, summaries, tidy, list(methods))
        if not damaged:
            break
        for number, why in damaged.items():
            notes.append(_drawn_again(number, why))
            forget_batch(folder, number)
    else:
        raise BatchFailedError(
            f"Batch {min(damaged)} was drawn {ROUNDS} times, and each time its files were another "
            f"as soon as they were written ({damaged[min(damaged)]}): check the disk of '{folder}'."
        )
    failures = _write_set_aside(output, run, summaries, methods)
    if not joined:
        first = f" {failures[0]} -- {_remedy(failures[0])}" if failures else ""
        raise BatchFailedError(f"Every method failed on every batch.{first}")
    columns = {table.name: table.columns for table in tidy}
    for name, table in joined.items():
        write_parquet(table, output / f"{name}.parquet", columns[name])
    run["files"] = [f"{name}.parquet" for name in joined]
    run["timing_ms_per_blend"] = _times(run, list(summaries.values()), batch_size)
    told = {w for summary in summaries.values() for w in summary["warnings"]}
    run["notes"] = [*run["notes"], *notes, *sorted(told)]
    return joined


def finish(output: Path, run: dict[str, Any]) -> None:
    """Say in ``run.json`` that a run is finished, after everything else, and tidy its folder.

    The batches of one that is incomplete stay, so that the same command tries only those again on
    which something is missing.
    """
    run["status"] = "finished" if run.get("shard") is None else "shard"
    write_json(run, output / "run.json")
    if run["status"] == "finished":
        # From here on what the shards set aside is tried again as that of any other run.
        (output / BATCHES / MERGED).unlink(missing_ok=True)
        if not run.get("incomplete"):
            shutil.rmtree(output / BATCHES, ignore_errors=True)


def run_hash(run: Mapping[str, Any]) -> str:
    """Return a hash of what decides on the batches of a run.

    That is not ``outcomes``: a run that was begun with them may resume without.
    """
    parameters = {k: v for k, v in run["parameters"].items() if k != "outcomes"}
    content = json.dumps([parameters, run["methods"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def run_batch(job: Job, batch: Batch) -> list[SetAside]:
    """Do the work of a batch and write its tables; return what was set aside of it.

    Raises:
        BatchFailedError: if something fails, and the first failure is to end the run.
        ClusterError: if this process does not see the folder of the run.
    """
    job.check_folder()
    number, size = batch
    own = None if job.in_this_process else batch_folder(job.folder, number)
    marks = Marks(own, job.timeout)
    tables: Mapping[str, pd.DataFrame] = {}
    for tried in range(1, TRIES + 1):
        task = BatchTask(number, size, job.methods, job.warm, marks, job.fail_fast)
        try:
            # One thread each: the matrices are small, and the last digits of a sum may depend on
            # the number of threads.
            with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                tables = job.work(task)
            failures = task.failures
            break
        except Exception as error:  # whatever the code of users raises
            failure = SetAside(
                number, None, task.running, f"{type(error).__name__}: {error}",
                "".join(traceback.format_exception(error)), tried,
            )  # fmt: skip
            if job.fail_fast:
                raise BatchFailedError(f"{failure} -- {_remedy(failure)}") from error
            failures = [failure]
            if isinstance(error, BatchEndedError):
                break
    summary = {
        "run": job.run,
        "n_blends": size,
        "seconds": task.seconds,
        "warnings": warning_notes(caught),
        "set_aside": [asdict(failure) for failure in failures],
    }
    failed = missing_batches(failures, list(job.methods))
    left = [name for name in job.methods if name not in failed]
    kept = {name: table[table["method"].isin(left)] for name, table in tables.items() if left}
    write_batch(job.folder, number, kept, summary)
    marks.clear()
    return failures


def _remedy(failure: SetAside) -> str:
    return (
        f"Draw it again with generator.draw_batch({failure.batch}). The batches that were done are "
        "kept: once this is mended, the same command resumes from there."
    )


def _todo(job: Job, sizes: Mapping[int, int], again: bool, notes: list[str]) -> list[Batch]:
    """Return the batches that are to be done, and remove what is there of them.

    Args:
        job: The job.
        sizes: Of the batches by number.
        again: Whether those are tried again of which something was set aside.
        notes: Gets a sentence on each that is damaged.
    """
    todo = []
    for number, size in sizes.items():
        try:
            summary = read_summary(job.folder, number, job.run)
            if summary is not None and summary["n_blends"] != size:
                raise DamagedBatchError("it has another number of scenes")
        except DamagedBatchError as error:
            notes.append(_drawn_again(number, str(error)))
            summary = None
        if summary is None or (again and summary["set_aside"]):
            forget_batch(job.folder, number)
            todo.append((number, size))
    return todo


def _drawn_again(number: int, why: str) -> str:
    return f"Batch {number} was drawn again: {why}."


def _summary(job: Job, number: int) -> dict[str, Any]:
    """Return the summary of a batch that was done a moment ago."""
    try:
        summary = read_summary(job.folder, number, job.run)
    except DamagedBatchError as error:
        raise BatchFailedError(
            f"Batch {number} is damaged ({error}), though it was just written: check the disk of "
            f"'{job.folder}', and run the same command again."
        ) from error
    if summary is None:
        raise BatchFailedError(
            f"Batch {number} is not there, though it was just written: let no other process use "
            f"'{job.folder}', and run the same command again."
        )
    return summary


def _draw(job: Job, todo: Sequence[Batch], done: int, running: Running) -> None:
    """Do batches, whatever becomes of them."""
    sizes = dict(todo)
    # Each method and step may cost a batch as many workers as a batch is tried.
    losses = TRIES * (2 * len(job.methods) + 10)
    n_failed = 0
    with (
        _workers(len(todo), running) as workers,
        tqdm(
            total=done + sum(sizes.values()), initial=done, unit="blend",
            disable=not running.progress,
        ) as bar,
    ):  # fmt: skip
        for outcome in workers.run(run_batch, todo, job, tries=1, losses=losses):
            failures = _failures(job, outcome, running.fail_fast)
            bar.update(sizes[outcome.item[0]])
            for failure in failures:
                n_failed += 1
                if running.progress and n_failed <= MOST_TOLD:
                    more = "; further ones are in failures.json" * (n_failed == MOST_TOLD)
                    tqdm.write(f"{failure}{more}", file=sys.stderr)


@contextmanager
def _workers(n_tasks: int, running: Running) -> Iterator[Workers]:
    with open_workers(
        running.njobs if running.is_connected() else min(running.njobs, n_tasks),
        running.scheduler,
        running.scheduler_file,
        running.memory_limit,
        separate=running.needs_workers(),
    ) as workers:
        yield workers


def _failures(job: Job, outcome: Outcome[Batch], fail_fast: bool) -> list[SetAside]:
    """Return what was set aside of a batch; write down that all of it was if workers were lost."""
    if outcome.failure is None or not outcome.failure.lost:
        return outcome.get()
    number, size = outcome.item
    failure = SetAside(number, None, "a worker", outcome.failure.message, "", outcome.failure.tries)
    if fail_fast:
        raise BatchFailedError(f"{failure} -- {_remedy(failure)}")
    summary = {
        "run": job.run,
        "n_blends": size,
        "seconds": {},
        "warnings": [],
        "set_aside": [asdict(failure)],
    }
    write_batch(job.folder, number, {}, summary)
    return [failure]


def _write_set_aside(
    output: Path,
    run: dict[str, Any],
    summaries: Mapping[int, Mapping[str, Any]],
    methods: Mapping[str, Deblender],
) -> list[SetAside]:
    """Write what was set aside, and note in the run which methods miss which batches."""
    failures = [
        SetAside(**failure) for summary in summaries.values() for failure in summary["set_aside"]
    ]
    write_failures(output, failures, run["parameters"]["seed"])
    if missing := missing_batches(failures, list(methods)):
        run["incomplete"] = missing
    return failures


def _times(
    run: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]], batch_size: int
) -> dict[str, float]:
    """Return the milliseconds of each part per blend that has it."""
    total: dict[str, float] = {}
    for summary in summaries:
        for name, seconds in summary["seconds"].items():
            total[name] = total.get(name, 0.0) + seconds
    missing = missing_scenes(run.get("incomplete", {}), run["n_blends"], batch_size)
    return {
        name: round(1e3 * seconds / max(run["n_blends"] - len(missing.get(name, ())), 1), 3)
        for name, seconds in total.items()
    }


def warn_of_missing(output: Path, run: Mapping[str, Any]) -> None:
    """Warn, where a function of a run was called, of what is missing from it.

    Args:
        output: Folder of the run.
        run: What is in its ``run.json``.
    """
    if missing := missing_in_words(run):
        warnings.warn(
            f"The run in '{output}' is incomplete: {' '.join(missing)} Its failures.json says why; "
            "the same call tries again.",
            IncompleteRunWarning,
            stacklevel=3,
        )


def missing_in_words(run: Mapping[str, Any]) -> list[str]:
    """Return what is missing from a run, from its ``run.json``, a sentence for each method."""
    if not run.get("incomplete"):
        return []
    return in_words(run["incomplete"], run["n_blends"], run["parameters"]["batch_size"])
