"""Workers of a run: this process, local ones, or those of a scheduler that runs already."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from btk_punet.cluster.base import ThisProcess, Workers
from btk_punet.errors import InputError


@contextmanager
def open_workers(
    njobs: int = 1,
    scheduler: str | None = None,
    scheduler_file: str | Path | None = None,
    memory_limit: str | None = None,
    separate: bool = False,
) -> Iterator[Workers]:
    """Open workers, and close them at the end.

    In a worker of Dask it is that worker alone, whatever is asked for: what it does, as drawing
    the scenes of a generator with ``njobs``, is one of many tasks already.

    Args:
        njobs: Processes of this machine, each with one thread and its share of the cores. One is
            this process.
        scheduler: Address of a Dask scheduler that runs already, such as ``"tcp://host:8786"``,
            in place of processes of this machine.
        scheduler_file: The file that such a scheduler wrote, in place of its address.
        memory_limit: Memory of each process of this machine, such as ``"2GB"``: one that takes
            more is ended, and another started.
        separate: Whether even one process must not be this one, so that it may be ended.

    Raises:
        InputError: for choices that do not go together, or a memory limit that is none.
        ClusterError: if the scheduler does not answer, or its workers have no btk_punet, or
            another version.
    """
    check_place(njobs, scheduler, scheduler_file, memory_limit)
    connected = scheduler is not None or scheduler_file is not None
    alone = not connected and njobs == 1 and not separate and memory_limit is None
    if alone or _in_worker():
        yield ThisProcess()
        return
    # Here, since most runs need no Dask, which takes a second to load.
    from btk_punet.cluster.dask_workers import DaskWorkers, connect, start_local

    if connected:
        with connect(scheduler, scheduler_file) as client:
            yield DaskWorkers(client)
    else:
        with start_local(njobs, memory_limit) as client:
            yield DaskWorkers(client)


def _in_worker() -> bool:
    """Tell whether this is a task of a worker of Dask."""
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:  # there is none
        return False
    return True


def check_place(
    njobs: int, scheduler: str | None, scheduler_file: str | Path | None, memory_limit: str | None
) -> None:
    """Raise InputError for choices of `open_workers` that do not go together."""
    connected = scheduler is not None or scheduler_file is not None
    if scheduler is not None and scheduler_file is not None:
        raise InputError(
            "scheduler and scheduler_file are two ways to say the same: give one of them."
        )
    if connected and njobs != 1:
        raise InputError(
            f"njobs={njobs} would be ignored, because the scheduler has workers of its own: leave "
            "out either njobs (--jobs) or the scheduler."
        )
    if connected and memory_limit is not None:
        raise InputError(
            "memory_limit would be ignored, because the scheduler has workers of its own: give it "
            "where these are started, as in 'dask worker --memory-limit 2GB'."
        )
    if scheduler_file is not None and not Path(scheduler_file).is_file():
        raise InputError(
            f"The scheduler file '{scheduler_file}' is not there: start the scheduler with 'dask "
            "scheduler --scheduler-file FILE', and give the same FILE."
        )
    if memory_limit is not None:
        check_memory_limit(memory_limit)


def check_memory_limit(memory_limit: str) -> None:
    """Raise InputError unless it is a number of bytes with a unit, such as ``"2GB"``."""
    from dask.utils import parse_bytes

    try:
        n_bytes = parse_bytes(memory_limit)
    except (ValueError, AttributeError, TypeError):
        n_bytes = 0
    if n_bytes < 1:
        raise InputError(f"memory_limit must be like '2GB' or '500MiB', got {memory_limit!r}.")
