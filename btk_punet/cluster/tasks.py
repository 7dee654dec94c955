"""A function called for an item: what comes of it, in any process."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from btk_punet.errors import ClusterError

Item = TypeVar("Item")

# Of what is shared by all items, and an item.
Function = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Failure:
    """Why there is no result.

    Attributes:
        message: Kind of the error and its text, in a line.
        traceback: Where it was raised, as Python prints it; empty where a worker was lost.
        error: The error itself, None where a worker was lost or the error cannot be sent.
        tries: How often it was tried.
        lost: Whether workers were lost, and no error was raised.
    """

    message: str
    traceback: str = ""
    error: BaseException | None = None
    tries: int = 1
    lost: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return the failure of an error that was caught."""
        message = f"{type(error).__name__}: {error}"
        return cls(message, "".join(traceback.format_exception(error)), error)

    def sendable(self) -> Failure:
        """Return the failure without its error if that cannot be sent to another process."""
        try:
            pickle.loads(pickle.dumps(self.error))
        except Exception:  # whatever a library's error does
            return replace(self, error=None)
        return self


@dataclass(frozen=True)
class Outcome(Generic[Item]):
    """What came of an item.

    Attributes:
        item: The item.
        result: What the function returned.
        failure: Why it returned nothing, None if it did.
    """

    item: Item
    result: Any = None
    failure: Failure | None = None

    def tried(self, tries: int) -> Outcome[Item]:
        """Return the outcome after so many tries."""
        if self.failure is None:
            return self
        return replace(self, failure=replace(self.failure, tries=tries))

    def get(self) -> Any:
        """Return the result.

        Raises:
            ClusterError: if there is none, because workers were lost over it.
            Exception: the error that the function raised.
        """
        if self.failure is None:
            return self.result
        if self.failure.error is not None:
            raise self.failure.error
        raise ClusterError(
            f"{self.item!r} has no result after {self.failure.tries} tries: {self.failure.message}"
        )


def do(function: Function, shared: Any, item: Any) -> Outcome:
    """Call a function once; what it raises is part of the outcome."""
    try:
        return Outcome(item, function(shared, item))
    except Exception as error:  # whatever users' code does
        return Outcome(item, failure=Failure.of(error))
