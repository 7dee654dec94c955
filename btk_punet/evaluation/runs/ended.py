"""In what a worker process ended: a mark before each call, and a watchdog for calls that hang.

A process that is killed, runs out of memory or hangs in C code cannot say so. So it notes what it
is about to do, and whoever tries the batch again reads what became of it.
"""

from __future__ import annotations

import faulthandler
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from btk_punet.cluster.base import TRIES
from btk_punet.files import write_json

_NOW = "now.json"
_HUNG = "hung.txt"
_ENDED = "ended.json"


class Marks:
    """What the tries of a batch were doing when their processes ended.

    Args:
        folder: Folder of the batch; None where the batch is done in the process of the run, which
            nobody outlives: then there are no marks.
        timeout: After how many seconds the process ends that does nothing else but one thing; None
            for never.
    """

    def __init__(self, folder: Path | None, timeout: float | None = None):
        self._folder = folder
        self._timeout = timeout
        # By part: for each process that ended in it after how long a time-out, and where it was.
        self._ended: dict[str, list[tuple[float | None, str]]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._read(folder)

    def _read(self, folder: Path) -> None:
        """Note what the last try was doing, if it did not come to an end."""
        try:
            self._ended = json.loads((folder / _ENDED).read_bytes())
        except (OSError, ValueError):  # there was none, or it was ended in the writing of it
            self._ended = {}
        hung = folder / _HUNG
        try:
            part, limit = json.loads((folder / _NOW).read_bytes())
        except (OSError, ValueError):  # it came to an end, or was ended before it began
            return
        trace = hung.read_text(errors="replace") if hung.is_file() else ""
        self._ended.setdefault(part, []).append((limit if trace else None, _own_thread(trace)))
        write_json(self._ended, folder / _ENDED)
        (folder / _NOW).unlink(missing_ok=True)
        hung.unlink(missing_ok=True)

    def n_ended(self, part: str) -> int:
        """Return how many processes ended in a part."""
        return len(self._ended.get(part, ()))

    def why_not(self, part: str) -> tuple[str, str, int] | None:
        """Return why a part is not tried again, None if it is.

        Returns:
            What happened, where (as far as known), and how often.
        """
        ended = self._ended.get(part, [])
        for limit, trace in ended:
            if limit is not None:
                return f"it took longer than {limit:g} seconds", trace, len(ended)
        if len(ended) >= TRIES:
            return (
                f"the process that ran it was ended {len(ended)} times, as for lack of memory",
                "",
                len(ended),
            )
        return None

    @contextmanager
    def of(self, part: str, times: float = 0) -> Iterator[None]:
        """Mark what is being done, and end the process if it takes too long.

        Args:
            part: What is being done.
            times: How many times the time-out it may take; 0 for as long as it likes.
        """
        if self._folder is None:
            yield
            return
        limit = self._timeout * times if self._timeout is not None and times else None
        (self._folder / _NOW).write_text(json.dumps([part, limit]), encoding="utf-8")
        if limit is None:
            yield
            return
        with (self._folder / _HUNG).open("w") as file:
            # Of C, so that it also ends a call that keeps the interpreter to itself.
            faulthandler.dump_traceback_later(limit, exit=True, file=file)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()

    def clear(self) -> None:
        """Forget it all: the batch is done."""
        if self._folder is not None:
            for name in (_NOW, _HUNG, _ENDED):
                (self._folder / name).unlink(missing_ok=True)


def _own_thread(trace: str) -> str:
    """Return the part of a dump of all threads that is about the task."""
    return next((part for part in trace.split("\n\n") if "do_in_worker" in part), trace)
