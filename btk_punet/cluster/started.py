"""Local workers: started ahead of their use, and taken over by one run from another.

They need several seconds to start, to load TensorFlow and to compile a network. A command starts
them while it loads its own modules, and what makes many runs, as a benchmark of several sets does,
keeps them from one to the next. This module loads nothing of Dask, to be there at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from btk_punet.errors import ClusterError

_ENTRY = "import sys; sys.path[:] = sys.argv[1:]; from btk_punet.cluster.local import main; main()"


class LocalWorkers:
    """Workers of this machine, from now on until they are ended.

    Args:
        njobs: Number of processes.
        memory_limit: Memory of each, such as ``"2GB"``, or None.
        modules: Names of modules that each loads as it starts.
    """

    def __init__(self, njobs: int, memory_limit: str | None = None, modules: Sequence[str] = ()):
        self.njobs = njobs
        self.memory_limit = memory_limit
        self._address = ""
        self._folder = tempfile.mkdtemp(prefix="btk-punet-")
        folders = [os.path.abspath(folder) for folder in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ENTRY, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # what a terminal sends is for the run to deal with
        )
        assert self._process.stdin is not None
        options = {
            "njobs": njobs,
            "memory_limit": memory_limit,
            "modules": list(modules),
            "folder": self._folder,
        }
        self._process.stdin.write(json.dumps(options) + "\n")
        self._process.stdin.flush()

    def address(self) -> str:
        """Return the address of their scheduler, once they are there.

        Raises:
            ClusterError: if they do not start.
        """
        if not self._address:
            assert self._process.stdout is not None
            self._address = self._process.stdout.readline().strip()
        if not self._address:
            raise ClusterError(
                f"The {self.njobs} local workers did not start; what Dask said of it is above. Try "
                "njobs=1 (--jobs 1), which needs no workers."
            )
        return self._address

    def serve(self, njobs: int, memory_limit: str | None) -> bool:
        """Tell whether they are alive, and as limited and at least as many as is asked for."""
        return (
            self.njobs >= njobs
            and self.memory_limit == memory_limit
            and self._process.poll() is None
        )

    def end(self) -> None:
        """End them."""
        assert self._process.stdin is not None and self._process.stdout is not None
        # The end of its input is what the process waits for.
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


_lock = threading.Lock()
# Those that nobody uses, and how many blocks of `workers_stay` are open.
_free: list[LocalWorkers] = []
_n_blocks = 0


@contextmanager
def workers_stay() -> Iterator[None]:
    """Have local workers wait for the next run when one is done, until the end of this block."""
    global _n_blocks
    with _lock:
        _n_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _n_blocks -= 1
            left = [] if _n_blocks else _free[:]
            del _free[: len(left)]
        for workers in left:
            workers.end()


def start_ahead(njobs: int, modules: Sequence[str] = ()) -> None:
    """Start local workers for the next run that asks for such; for a block of `workers_stay`.

    Args:
        njobs: Number of processes.
        modules: Names of modules that each loads as it starts.
    """
    workers = LocalWorkers(njobs, modules=modules)
    with _lock:
        _free.append(workers)


@contextmanager
def local_workers(njobs: int, memory_limit: str | None = None) -> Iterator[str]:
    """Take local workers, or start some; yield the address of their scheduler.

    At the end they wait for the next run, in a block of `workers_stay`, and are ended elsewhere,
    or if the run broke off: some may hang.

    Raises:
        ClusterError: if they do not start.
    """
    with _lock:
        workers = next((some for some in _free if some.serve(njobs, memory_limit)), None)
        if workers is not None:
            _free.remove(workers)
    if workers is None:
        workers = LocalWorkers(njobs, memory_limit)
    whole = False
    try:
        yield workers.address()
        whole = True
    finally:
        with _lock:
            stays = whole and _n_blocks > 0
            if stays:
                _free.append(workers)
        if not stays:
            workers.end()
