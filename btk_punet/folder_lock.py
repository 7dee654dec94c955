"""One process at a time in a folder: a lock that ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from btk_punet.errors import RunExistsError


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold a lock file, and remove it at the end.

    The file says which process holds the lock. That it exists is not the lock, which the system
    takes from a process that is killed: the file that such a one left is taken over.

    Args:
        path: The file; it and the folders above it are made.

    Raises:
        RunExistsError: if another process holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Return the descriptor of the file, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 1000).decode(errors="replace").strip()
            os.close(descriptor)
            raise RunExistsError(
                f"'{path.parent}' is in use by {holder or 'another process'}: wait until that "
                "ends or stop it, or choose another output folder."
            ) from error
        except OSError:  # a file system without locks: it must do without
            return descriptor
        # Another process may have removed the file between the two calls.
        try:
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
