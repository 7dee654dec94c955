"""Loading TensorFlow without the log that it writes at its start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

# TensorFlow's setting; 3 shows what ends the process, and nothing below.
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def quietly_imported(name: str) -> ModuleType:
    """Import a module that loads TensorFlow, and keep its start-up log off the screen.

    The log tells of processor instructions and absent GPUs, before any setting of TensorFlow's
    holds, and would stand red above the first result of a notebook. What goes wrong is raised as
    ever. With ``TF_CPP_MIN_LOG_LEVEL`` set below 3 the log is shown.

    Args:
        name: Full name of the module.

    Returns:
        The module.
    """
    if os.environ.setdefault(LOG_LEVEL, "3") < "3":
        return import_module(name)
    with _silent_standard_error():
        return import_module(name)


@contextmanager
def _silent_standard_error() -> Iterator[None]:
    # Of the process and not of Python: the log is written by C++.
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
