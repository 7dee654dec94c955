"""What a local worker does as it starts, before any task."""

import ctypes
import importlib
import os
import signal
import sys

from btk_punet.cluster.quiet import silence_dask
from btk_punet.cores import share_cores

_PR_SET_PDEATHSIG = 1  # of Linux, <sys/prctl.h>


def dask_setup(worker: object) -> None:
    """Take a share of the cores, end with the process that started this one, and load modules."""
    share_cores(int(os.environ.get("BTK_PUNET_LOCAL_WORKERS", "1")))
    silence_dask()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # Dask's own way is a thread, which does not run while C code holds the interpreter.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for name in os.environ.get("BTK_PUNET_LOCAL_MODULES", "").split():
        importlib.import_module(name)
