"""What processes that work side by side may take of the machine."""

import ctypes
import os
import sys

# Of mallopt, <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# More than the largest array of a batch; glibc allows no more than 32 MiB for the second.
_KEPT_BYTES, _LARGEST_KEPT_BYTES = 256 * 2**20, 32 * 2**20


def share_cores(n_processes: int) -> None:
    """Have TensorFlow, once it is loaded in this process, use its share of cores and memory."""
    n_threads = max((os.cpu_count() or 1) // n_processes, 1)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(n_threads))
    # Else the first process takes all memory of a graphics card.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def keep_memory() -> None:
    """Have the C library keep freed memory for the next array, as it does by itself elsewhere.

    Dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536, which gives memory back to the system
    at nearly every array that is freed: SEP then takes six times as long, drawing twice.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # it is glibc's
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
