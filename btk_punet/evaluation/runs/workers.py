"""The processes of a run: each gets the deblenders once, and warms them up before timing them."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from joblib import wrap_non_picklable_objects
from tqdm.auto import tqdm

from btk_punet.cores import share_cores
from btk_punet.deblending.base import warm_up
from btk_punet.evaluation.runs.batches import batch_file

# What a process has been sent, by its key: that of one run at a time.
_RECEIVED: dict[str, tuple[dict[str, Deblender], set[str]]] = {}


def run_batches(
    job: Callable[[SharedMethods, int, int], int],
    methods: dict[str, Deblender],
    folder: Path,
    n_scenes: int,
    batch_size: int,
    njobs: int,
    progress: bool,
) -> None:
    """Run those batches of a run that are not in its folder yet.

    Args:
        job: Called with the methods, the number and the size of a batch; it writes the batch (see
            `write_batch`) and returns its number.
        methods: Deblenders by their names.
        folder: Folder of the batches.
        n_scenes: Number of scenes of the run.
        batch_size: Scenes in a batch, but for the last.
        njobs: Processes.
        progress: Whether to show a progress bar.
    """
    folder.mkdir(exist_ok=True)
    sizes = {
        number: min(batch_size, n_scenes - first)
        for number, first in enumerate(range(0, n_scenes, batch_size))
    }
    todo = [number for number in sizes if not batch_file(folder, number, "json").exists()]
    n_processes = min(njobs, max(len(todo), 1))
    shared = SharedMethods(methods, n_processes)
    parallel = joblib.Parallel(n_jobs=n_processes, return_as="generator_unordered")
    done = n_scenes - sum(sizes[number] for number in todo)
    with tqdm(total=n_scenes, initial=done, unit="blend", disable=not progress) as bar:
        for number in parallel(joblib.delayed(job)(shared, n, sizes[n]) for n in todo):
            bar.update(sizes[number])


class SharedMethods:
    """The methods of a run, for any number of processes.

    Joblib sends the arguments of a task with every task. A network that came along each time would
    be loaded and compiled for each batch; so a process keeps the methods that it got first.

    Args:
        methods: Deblenders by their names.
        n_processes: How many processes share the machine.
    """

    def __init__(self, methods: dict[str, Deblender], n_processes: int = 1):
        self._methods: dict[str, Deblender] | None = methods
        self._warm: set[str] = set()
        self._n_processes = n_processes
        self._key = uuid.uuid4().hex
        self._content = b""

    def __getstate__(self) -> dict[str, Any]:
        """Send the methods as bytes, which a process that has them need not read."""
        if not self._content:
            wrapped = wrap_non_picklable_objects(self._methods, keep_wrapper=False)
            self._content = pickle.dumps(wrapped)
        return self.__dict__ | {"_methods": None, "_warm": set()}

    def get(self) -> dict[str, Deblender]:
        """Return the methods, the same objects for all batches of a process."""
        if self._methods is None:
            if self._key not in _RECEIVED:
                share_cores(self._n_processes)
                _RECEIVED.clear()
                _RECEIVED[self._key] = (pickle.loads(self._content), set())
            self._methods, self._warm = _RECEIVED[self._key]
        return self._methods

    def warm_up(self, name: str, blend_batch: BlendBatch) -> None:
        """Have a method load and compile what it needs, once in each process."""
        method = self.get()[name]
        if name not in self._warm:
            warm_up(method, blend_batch)
            self._warm.add(name)
