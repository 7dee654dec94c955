"""Dask's messages, which are for its developers: a run says itself what was lost, and why."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_SILENT = logging.CRITICAL + 1


@contextmanager
def quiet_dask() -> Iterator[None]:
    """Silence the messages of Dask inside, which must have been imported."""
    before = {name: logging.getLogger(name).level for name in _loggers()}
    silence_dask()
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def silence_dask() -> None:
    """Silence the messages of Dask, which must have been imported, in this process."""
    for name in _loggers():
        logging.getLogger(name).setLevel(_SILENT)


def _loggers() -> list[str]:
    # Each has a level and an output of its own.
    names = list(logging.root.manager.loggerDict)
    return ["distributed", *(name for name in names if name.startswith("distributed."))]
