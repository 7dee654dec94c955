"""Files written whole or not at all: whatever stops a run, a reader never sees half of one."""

from __future__ import annotations

import glob
import io
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btk_punet.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# A half-written file of another machine that has not changed for so long [s] is nobody's: no file
# takes a day, and clocks differ by less.
ABANDONED_S = 86_400


def write_file(path: str | Path, content: bytes) -> None:
    """Write a file, and the folders above it; what killed writes of it left there is removed."""
    with whole_file(path) as part:
        part.write_bytes(content)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield the path of a new file, which takes the place of another once it is written.

    If anything fails the file is removed, and the other stays as it was. A symbolic link of that
    name is replaced, not followed.

    Args:
        path: The file; the folders above it are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of this process, since two may write the same file at once, also of two machines.
    host = platform.node()
    part = path.with_name(f".{path.name}.{host}.{os.getpid()}.part")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        writer = left.name.removeprefix(f".{path.name}.").removesuffix(".part")
        if _is_abandoned(left, *writer.rpartition(".")[::2], host):
            left.unlink(missing_ok=True)
    try:
        part.unlink(missing_ok=True)
        # Made anew, so that nobody's link of that name is written through.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(content: dict, path: str | Path) -> None:
    """Write a JSON file."""
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays that `write_arrays` wrote, by name."""
    with np.load(path) as content:
        return {name: content[name] for name in content.files}


def write_arrays(path: str | Path, **arrays: Any) -> None:
    """Write arrays as an ``.npz`` file."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_file(path, content.getvalue())


def read_json(path: str | Path) -> dict:
    """Return the object of a JSON file.

    Raises:
        InputError: if the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{path}' cannot be read as JSON ({type(error).__name__}: {error}). Write it again, "
            "or take it from where it came."
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"'{path}' holds a {type(content).__name__}, expected a JSON object: {{...}}."
        )
    return content


def write_parquet(table: pd.DataFrame, path: str | Path) -> None:
    """Write a Parquet file."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    write_file(path, content.getvalue())


def _is_abandoned(left: Path, its_host: str, process: str, host: str) -> bool:
    """Tell whether nobody writes a file any more.

    Args:
        left: The file.
        its_host: Name of the machine of the process that made it.
        process: Number of that process.
        host: Name of this machine, which knows of no processes but its own.
    """
    if its_host == host and process.isdecimal() and not _is_running(int(process)):
        return True
    try:
        return time.time() - left.lstat().st_mtime > ABANDONED_S
    except OSError:  # its writer is done
        return False


def _is_running(process: int) -> bool:
    """Tell whether a process of this machine is running."""
    try:
        os.kill(process, 0)  # which sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
