"""Workers of a Dask scheduler: started here, or found running."""

from __future__ import annotations

import contextlib
import json
import pkgutil
import queue
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import Client, Future
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from btk_punet import __version__
from btk_punet.cluster.base import TRIES, Workers
from btk_punet.cluster.quiet import quiet_dask
from btk_punet.cluster.received import NotLoadedError, NotSentError, Parcel, do_in_worker
from btk_punet.cluster.started import local_workers
from btk_punet.cluster.tasks import Failure, Function, Item, Outcome
from btk_punet.errors import BtkPunetWarning, ClusterError

# How long a scheduler may take to answer, and local workers to start [s].
PATIENCE_S = 60
# How often the number of workers is asked for [s].
COUNT_EVERY_S = 2.0
# Items in flight for each thread of the workers: the next one waits there when one is done.
IN_FLIGHT = 2


@contextmanager
def start_local(njobs: int, memory_limit: str | None) -> Iterator[Client]:
    """Start workers of this machine, or take those that wait; yield a client of theirs.

    Raises:
        ClusterError: if they do not start.
    """
    with local_workers(njobs, memory_limit) as address, _client(address) as client:
        yield client


@contextmanager
def connect(scheduler: str | None, scheduler_file: str | Path | None) -> Iterator[Client]:
    """Connect to a scheduler that runs already, and yield a client of it.

    Raises:
        ClusterError: if it does not answer, or its workers have no btk_punet, or another version.
    """
    address = scheduler
    if scheduler_file is not None:
        try:
            address = json.loads(Path(scheduler_file).read_text())["address"]
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"'{scheduler_file}' is not the file of a Dask scheduler "
                f"({type(error).__name__}: {error}): expected that of 'dask scheduler "
                "--scheduler-file FILE'."
            ) from error
    with _client(str(address)) as client:
        _check_versions(client)
        yield client


@contextmanager
def _client(address: str) -> Iterator[Client]:
    with quiet_dask():
        try:
            client = Client(
                address, timeout=f"{PATIENCE_S}s", set_as_default=False, name="btk-punet"
            )
        except (OSError, ValueError, ImportError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {address!r} within {PATIENCE_S} seconds "
                f"({type(error).__name__}: {error}): expected an address such as "
                "'tcp://host:8786', of a scheduler that runs and that this machine reaches."
            ) from error
        with client:
            yield client


def _check_versions(client: Client) -> None:
    """Check that all workers that are there have this version of btk_punet."""
    found = client.run(pkgutil.resolve_name, "btk_punet:__version__", on_error="return")
    if not found:
        warnings.warn(
            "The Dask scheduler has no workers yet: the run waits until some join.",
            BtkPunetWarning,
            stacklevel=2,
        )
    for worker, version in found.items():
        if version != __version__:
            there = version
            if isinstance(version, BaseException):
                there = f"none ({type(version).__name__}: {version})"
            raise ClusterError(
                f"The worker {worker} must have btk_punet {__version__}, as this process has, got "
                f"{there}: install the same version where the workers are started."
            )


class DaskWorkers(Workers):
    """The workers of a scheduler.

    Args:
        client: A client of it.
    """

    def __init__(self, client: Client):
        self._client = client
        self._counted = (-COUNT_EVERY_S, 1)

    def run(
        self,
        function: Function,
        items: Iterable[Item],
        shared: Any = None,
        tries: int = TRIES,
        losses: int = TRIES,
    ) -> Iterator[Outcome[Item]]:
        """Call the function for each item, in any order."""
        key = f"btk-punet-{uuid.uuid4().hex}"
        parcel = Parcel(key, cloudpickle.dumps((function, shared)))
        self._client.register_plugin(parcel)
        try:
            yield from self._run(parcel, items, tries, losses)
        finally:
            if self._client.status == "running":
                # A worker that hangs does not answer, and shall not keep who stops the run.
                with contextlib.suppress(TimeoutError):
                    self._client.sync(
                        self._client._unregister_worker_plugin, name=key, callback_timeout=2
                    )

    def _run(
        self, parcel: Parcel, items: Iterable[Item], tries: int, losses: int
    ) -> Iterator[Outcome[Item]]:
        todo = iter(items)
        done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        # With how many errors and lost workers an item has come to so far.
        flying: dict[Future, tuple[Item, int, int]] = {}

        def send(item: Item, n_errors: int = 0, n_lost: int = 0) -> None:
            # Each try is a task of its own, of which Dask remembers nothing.
            key = f"{parcel.key}-{uuid.uuid4().hex}"
            future = self._client.submit(do_in_worker, parcel.key, item, pure=False, key=key)
            flying[future] = (item, n_errors, n_lost)
            future.add_done_callback(done.put)

        try:
            exhausted = False
            while flying or not exhausted:
                while not exhausted and len(flying) < IN_FLIGHT * self._n_threads() + 1:
                    try:
                        send(next(todo))
                    except StopIteration:
                        exhausted = True
                if not flying:
                    return
                future = done.get()
                item, n_errors, n_lost = flying.pop(future)
                outcome = self._outcome(future, parcel, item)
                if outcome is None:
                    send(item, n_errors, n_lost)
                    continue
                if outcome.failure is not None:
                    n_lost += outcome.failure.lost
                    n_errors += not outcome.failure.lost
                    if n_errors < tries and n_lost < losses:
                        send(item, n_errors, n_lost)
                        continue
                yield outcome.tried(n_errors + n_lost)
        finally:
            if self._client.status == "running":
                self._client.cancel(list(flying), force=True)

    def _outcome(self, future: Future, parcel: Parcel, item: Item) -> Outcome[Item] | None:
        """Return what came of a task, None where it is no fault of the task that nothing did."""
        try:
            return future.result()
        except KilledWorker as error:
            worker = getattr(error.last_worker, "address", "")
            return Outcome(item, failure=Failure(f"the worker {worker} was lost", lost=True))
        except NotLoadedError as error:
            raise ClusterError(
                f"A worker cannot load what it was sent: {error}. Install the same there as here; "
                "local workers need what is defined in a module that they can import."
            ) from error
        except (FutureCancelledError, NotSentError) as error:
            self._reconnected(parcel, error)
            return None

    def _reconnected(self, parcel: Parcel, cause: Exception) -> None:
        """Wait for a scheduler that was started anew, and send it what all items share.

        Raises:
            ClusterError: if none comes.
        """
        deadline = time.monotonic() + PATIENCE_S
        while self._client.status == "connecting" and time.monotonic() < deadline:
            time.sleep(0.2)
        if self._client.status != "running":
            raise ClusterError(
                f"The connection to the Dask scheduler was lost ({cause}), and none answered "
                f"within {PATIENCE_S} seconds. What was done is kept: once a scheduler runs again, "
                "the same command resumes from there."
            ) from cause
        self._client.register_plugin(parcel)

    def _n_threads(self) -> int:
        """Return how many threads the workers have, as counted lately; at least 1."""
        counted, number = self._counted
        if time.monotonic() - counted >= COUNT_EVERY_S:
            if self._client.status == "running":
                number = max(sum(self._client.nthreads().values()), 1)
            self._counted = (time.monotonic(), number)
        return number
