"""The process that keeps the local workers: a scheduler, and for each worker a nanny.

It is a process of its own, started by `LocalWorkers`, so that nothing of Dask stands between a run
and its messages, and so that the user's script is not read again by its workers, as processes made
by ``multiprocessing`` would. It ends, and its workers with it, when its standard input is closed:
by the run, or by the system where the run was killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from typing import Any

from btk_punet.cluster.quiet import silence_dask

# Of Dask. A worker that holds much memory shall neither pause nor write files: it is ended at the
# limit, or left alone. Each lost worker is heard of, and may take its own task with it, no other.
CONFIG = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.daemon": False,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    # One that hangs in C code sends no sign of life; `--timeout` is there for that.
    "distributed.scheduler.worker-ttl": None,
    "distributed.admin.large-graph-warning-threshold": "1GB",
    # One thread works: in an arena of its own, an array at the end of a block of 64 MB would be
    # given back to the system each time, whatever `keep_memory` asks for.
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
}


def main() -> None:
    """Start workers, say where the scheduler is, and end with the standard input."""
    import dask

    options: dict[str, Any] = json.loads(sys.stdin.readline())
    # A terminal sends Ctrl-C to all; the run decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dask.config.set(CONFIG)
    # What is left of a worker that was ended is removed, and nobody needs to know.
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
    from distributed import LocalCluster

    silence_dask()
    folder = options["folder"]
    # From here on: who starts workers ahead may find that it needs none.
    threading.Thread(target=_end_with_input, args=(folder,), daemon=True).start()
    cluster = LocalCluster(
        n_workers=options["njobs"],
        threads_per_worker=1,
        host="127.0.0.1",
        # Not the port that all of them want, which may be taken; there are no pages to see.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        worker_dashboard_address=None,
        memory_limit=options["memory_limit"] or 0,
        local_directory=folder,
        silence_logs=logging.CRITICAL + 1,
        preload=["btk_punet.cluster.worker_start"],
        env={
            "BTK_PUNET_LOCAL_WORKERS": str(options["njobs"]),
            "BTK_PUNET_LOCAL_MODULES": " ".join(options["modules"]),
        },
    )
    with contextlib.suppress(BrokenPipeError):  # of a run that has ended meanwhile
        print(cluster.scheduler_address, flush=True)
    threading.Event().wait()


def _end_with_input(folder: str) -> None:
    """Wait for the end of the standard input, and end workers and this process at once.

    What they still do, nobody waits for. Closing them in Dask's way takes seconds, and a worker
    that hangs in C code hears of nothing.
    """
    sys.stdin.read()
    for worker in multiprocessing.active_children():
        worker.kill()
    # For a run that was killed; any other one removes what is left of it.
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
