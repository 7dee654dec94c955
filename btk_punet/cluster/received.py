"""What a worker process of Dask was sent, and how it does a task with it."""

from __future__ import annotations

import os
import pickle
import threading
from typing import Any

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from btk_punet import __version__
from btk_punet.cluster.tasks import Function, Outcome, do
from btk_punet.cores import keep_memory, share_cores

# By key: what was sent, and once a task has come, the same loaded.
_SENT: dict[str, Parcel] = {}
_LOADED: dict[str, tuple[Function, Any]] = {}
# Threads of a process take turns: TensorFlow, warnings and the limits of threads are the process's.
_TURN = threading.Lock()


class Parcel(WorkerPlugin):
    """Function and shared things, on their way to each worker, a late or restarted one too.

    Args:
        key: Of this call.
        content: Both of them, pickled.
        version: Of btk_punet there.
    """

    def __init__(self, key: str, content: bytes, version: str = __version__):
        self.key = self.name = key
        self.content = content
        self.version = version

    def setup(self, worker: object) -> None:
        """Keep what was sent."""
        _SENT[self.key] = self

    def teardown(self, worker: object) -> None:
        """Forget it."""
        _SENT.pop(self.key, None)
        _LOADED.pop(self.key, None)

    def load(self) -> tuple[Function, Any]:
        """Return function and shared things.

        Raises:
            ImportError: if this worker has another version of btk_punet.
        """
        if self.version != __version__:
            raise ImportError(f"btk_punet {__version__} is installed, expected {self.version}")
        return pickle.loads(self.content)


class NotLoadedError(RuntimeError):
    """A worker could not load what it was sent; the message says why."""


class NotSentError(RuntimeError):
    """A worker has not been sent anything: its scheduler was started anew."""


def do_in_worker(key: str, item: Any) -> Outcome:
    """Do a task.

    Raises:
        NotLoadedError: if function or shared things cannot be loaded here.
        NotSentError: if they were not sent.
    """
    with _TURN:
        if key not in _LOADED:
            if key not in _SENT:
                raise NotSentError
            n_threads = get_worker().state.nthreads
            share_cores(max((os.cpu_count() or 1) // n_threads, 1))
            keep_memory()
            try:
                _LOADED[key] = _SENT[key].load()
            except Exception as error:
                raise NotLoadedError(f"{type(error).__name__}: {error}") from error
        outcome = do(*_LOADED[key], item)
        if outcome.failure is not None:
            return Outcome(item, failure=outcome.failure.sendable())
        return outcome
