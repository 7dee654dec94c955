"""What processes that work side by side may take of the machine."""

import os


def share_cores(n_processes: int) -> None:
    """Have TensorFlow, once it is loaded in this process, use its share of cores and memory."""
    n_threads = max((os.cpu_count() or 1) // n_processes, 1)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(n_threads))
    # Else the first process takes all memory of a graphics card.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
