"""Workers of this machine that stay until this process ends."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache

from btk_punet.cluster.base import Workers
from btk_punet.cluster.workers import open_workers


@cache
def kept_workers(njobs: int) -> Workers:
    """Return workers of this machine, the same ones at each call.

    They are for work of a second or less that is asked for again and again, as the scenes of a
    batch are: to start processes takes several seconds.

    Args:
        njobs: Processes, each with one thread.

    Raises:
        ClusterError: if they do not start.
    """
    stack = ExitStack()
    workers = stack.enter_context(open_workers(njobs))
    atexit.register(stack.close)
    return workers
