"""Deblenders in the processes of a run: sent to each once, and warmed up before they are timed."""

import os
import pickle
import uuid
import warnings
from typing import Any

from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from joblib import wrap_non_picklable_objects

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.scarlet2 import Scarlet2Deblender

# What a process has been sent, by its key: that of one run at a time.
_RECEIVED: dict[str, tuple[dict[str, Deblender], set[str]]] = {}


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
                _share_cores(self._n_processes)
                _RECEIVED.clear()
                _RECEIVED[self._key] = (pickle.loads(self._content), set())
            self._methods, self._warm = _RECEIVED[self._key]
        return self._methods

    def warm_up(self, name: str, blend_batch: BlendBatch) -> None:
        """Run what is compiled on a batch, once in each process: that takes seconds."""
        method = self.get()[name]
        compiled = isinstance(method, ProbaUNetDeblender | Scarlet2Deblender)
        if compiled and name not in self._warm:
            if isinstance(method, ProbaUNetDeblender):
                with warnings.catch_warnings():
                    # TensorFlow's own, when it is loaded, say nothing of the scenes.
                    warnings.simplefilter("ignore")
                    _ = method.network
            method(blend_batch)
            self._warm.add(name)


def _share_cores(n_processes: int) -> None:
    """Have TensorFlow, once it is loaded in this process, use its share of cores and memory."""
    n_threads = max((os.cpu_count() or 1) // n_processes, 1)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(n_threads))
    # Else the first process takes all memory of a graphics card.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
