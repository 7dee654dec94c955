"""Where a run writes: its folder, found once and for all at the start."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from btk_punet.errors import InputError, InputTypeError, RunExistsError


def output_folder(output: Any, own: Sequence[str] = (), name: str = "output") -> Path:
    """Return the folder for the results, if they can be written there; nothing is made.

    The path is absolute, so that it stays the same if a detector or a generator changes the
    working directory. The folder, and those above it, may be links, as to a larger disk: they are
    followed here, once and for all. Inside of it no link is followed.

    Args:
        output: What the caller gave.
        own: Names of the folders that the run makes in it.
        name: Of the argument, for errors.

    Raises:
        InputTypeError: if it is no path.
        RunExistsError: if it is a file, or lies in one.
        InputError: if it is a link that leads nowhere, or one of its own folders is a link.
        OSError: if it cannot be written in.
    """
    if not isinstance(output, str | os.PathLike) or not os.fspath(output):
        raise InputTypeError(f"{name} must be the path of a folder, got {output!r}.")
    given = Path(output)
    try:
        folder = given.resolve()
        dangling = given.is_symlink() and not given.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a null byte
        raise InputError(f"{name} '{given}' is no path that can be used: {error}.") from error
    if dangling:
        raise InputError(f"{name} '{given}' is a link to '{folder}', which does not exist.")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise RunExistsError(f"'{there}' is a file: give the path of a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "The output folder cannot be written in", str(there))
    for part in own:
        if (folder / part).is_symlink():
            raise InputError(
                f"'{folder / part}' is a symbolic link, through which nothing is written. Remove "
                "it, or choose another output folder."
            )
    return folder
