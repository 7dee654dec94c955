"""One process at a time in a folder: a lock that ends with the process, however that ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from btk_punet.errors import RunExistsError

# Of every kind of run, so that no two of any kind share a folder. It is hidden, and stays behind
# empty: to remove it would let two processes lock two files of one name.
LOCK_FILE = ".lock"


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold a lock file, which says which process holds it.

    That the file exists is not the lock, which is ``flock``'s and which the system takes from a
    process that is killed: what such a one left is taken over at once. Linux passes ``flock`` on
    to NFS servers (unless mounted with ``local_lock=flock`` or ``nolock``), and to Lustre where it
    is mounted with ``flock``, so that it holds between machines. On a file system without it
    filelock warns, and goes by the existence of the file instead: one left by a killed process is
    then taken over on the same machine only, and must be removed by hand from another.

    Args:
        path: The file; the folders above it are made.

    Raises:
        RunExistsError: if another process, or another call in this one, holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(path, blocking=False).acquire()
    except Timeout as error:
        raise RunExistsError(
            f"'{path.parent}' is in use by {_holder(path)}: wait until that ends or stop it, or "
            "choose another output folder."
        ) from error
    with held as lock:
        if isinstance(lock, SoftFileLock):  # of a file system without flock: it wrote the same
            yield
            return
        path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
        try:
            yield
        finally:
            with suppress(OSError):  # the folder may be gone
                path.write_text("")


def _holder(path: Path) -> str:
    """Return in words who holds a lock."""
    try:
        process, host, *_ = path.read_text(errors="replace").split()
    except (OSError, ValueError):  # released since then, or not written yet
        return "another process"
    return f"process {process} on {host}"
