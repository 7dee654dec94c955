"""One batch of a run: its steps, and which methods it goes on with when one of them fails."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from btk.blend_batch import BlendBatch
from btk.deblend import Deblender

from btk_punet.cluster.base import TRIES
from btk_punet.deblending.base import warm_up
from btk_punet.evaluation.runs.ended import Marks
from btk_punet.evaluation.runs.set_aside import SetAside

T = TypeVar("T")

# How many times the time-out a method may take to be loaded and compiled, and a study that runs it
# again on each source of a batch.
LONGER = 20


class BatchEndedError(RuntimeError):
    """A batch that is not tried again, since the processes that tried it were ended."""


class BatchTask:
    """What is done with a batch.

    A method that fails is left out of the batch from there on; the others see nothing of it.

    Args:
        number: Number of the batch.
        size: Its scenes.
        methods: Deblenders by name.
        warm: Names of those that are loaded and compiled in this process.
        marks: Of the earlier tries.
        fail_fast: Whether the first failure is raised.

    Attributes:
        failures: The methods that were left out.
        seconds: Time of the parts that are timed.
        running: What is running, for the message if it fails.
    """

    def __init__(
        self,
        number: int,
        size: int,
        methods: Mapping[str, Deblender],
        warm: set[str] | None = None,
        marks: Marks | None = None,
        fail_fast: bool = False,
    ):
        self.number = number
        self.size = size
        self.failures: list[SetAside] = []
        self.seconds: dict[str, float] = {}
        self.running = "the generator"
        self._methods = methods
        self._warm = set() if warm is None else warm
        self._marks = Marks(None) if marks is None else marks
        self._fail_fast = fail_fast

    @property
    def methods(self) -> dict[str, Deblender]:
        """The methods that have not failed, by name."""
        failed = {failure.method for failure in self.failures}
        return {name: method for name, method in self._methods.items() if name not in failed}

    @contextmanager
    def step(self, running: str, timed: str | None = None) -> Iterator[None]:
        """Do something that the whole batch needs.

        Args:
            running: What it is.
            timed: What its time is called; it is not taken if None.

        Raises:
            BatchEndedError: if processes that did it were ended too often.
        """
        self.running = running
        if why := self._marks.why_not(running):
            raise BatchEndedError(why[0])
        start = time.perf_counter()
        with self._marks.of(running):
            yield
        if timed is not None:
            self._took(timed, start)

    def each(
        self, function: Callable[[str, Deblender], T], blend_batch: BlendBatch
    ) -> dict[str, T]:
        """Call a function for each method, once it is loaded and compiled, and take the time.

        Args:
            function: Called with name and method.
            blend_batch: What the methods are warmed up with.

        Returns:
            What it returned, by the names of the methods that did not fail.
        """
        found = {}
        for name in self.methods:
            self.running = name
            if self._ended(name, name):
                continue
            for tried in range(1, TRIES + 1):
                try:
                    found[name] = self._called(name, function, blend_batch)
                    break
                except Exception as error:  # whatever a user's method raises
                    if self._fail_fast:
                        raise
                    if tried == TRIES:
                        self._set_aside(name, name, error, tried)
        return found

    def together(
        self, running: str, function: Callable[[list[str]], T], runs_methods: bool = False
    ) -> T | None:
        """Call a function that takes all methods at once.

        If it fails it is called for each of them alone, to find out whose fault it is; then for all
        others together.

        Args:
            running: What it does.
            function: Called with the names of the methods.
            runs_methods: Whether it runs the methods again, so that it may hang.

        Returns:
            What it returns for the methods that are left; None without any.

        Raises:
            Exception: what it raises for all of them, if it does for none of them alone.
        """
        longer = LONGER if runs_methods else 0
        names, failed = list(self.methods), None
        if not names:
            return None
        self.running = running
        if not self._marks.n_ended(running):
            try:
                with self._marks.of(running, longer * len(names)):
                    return function(names)
            except Exception as error:  # of a method that is run again, or a user's study
                if self._fail_fast:
                    raise
                failed = error
        for name in names:
            alone = f"{running} of {name}"
            if self._ended(name, running, alone):
                continue
            try:
                with self._marks.of(alone, longer):
                    result = function([name])
            except Exception as error:  # as above
                self._set_aside(name, running, error, 2)
        left = list(self.methods)
        if len(names) == len(left) and failed is not None:
            raise failed
        if len(left) == 1:
            return result
        if not left:
            return None
        if self._marks.n_ended(running) >= TRIES:
            raise BatchEndedError("the processes that did it for all methods at once were ended")
        with self._marks.of(running):
            return function(left)

    def _called(
        self, name: str, function: Callable[[str, Deblender], T], blend_batch: BlendBatch
    ) -> T:
        method = self._methods[name]
        if name not in self._warm:
            with self._marks.of(name, LONGER):
                warm_up(method, blend_batch)
            self._warm.add(name)
        start = time.perf_counter()
        with self._marks.of(name, 1):
            result = function(name, method)
        self._took(name, start)
        return result

    def _took(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _ended(self, name: str, running: str, part: str | None = None) -> bool:
        """Tell whether a method is not tried again, and set it aside."""
        why = self._marks.why_not(running if part is None else part)
        if why is None:
            return False
        if self._fail_fast:
            raise BatchEndedError(why[0])
        self.failures.append(SetAside(self.number, name, running, *why))
        return True

    def _set_aside(self, name: str, running: str, error: Exception, tries: int) -> None:
        trace = "".join(traceback.format_exception(error))
        what = f"{type(error).__name__}: {error}"
        self.failures.append(SetAside(self.number, name, running, what, trace, tries))
