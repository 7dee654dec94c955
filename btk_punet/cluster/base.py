"""What workers of every kind can do; and the kind that needs nothing: this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from btk_punet.cluster.tasks import Function, Item, Outcome, do

# How often an item is tried, and how many workers it may cost.
TRIES = 3


class Workers(ABC):
    """What `open_workers` opens.

    Attributes:
        in_this_process: Whether the function is called in this process.
    """

    in_this_process = False

    @abstractmethod
    def run(
        self,
        function: Function,
        items: Iterable[Item],
        shared: Any = None,
        tries: int = TRIES,
        losses: int = TRIES,
    ) -> Iterator[Outcome[Item]]:
        """Call ``function(shared, item)`` for each item.

        Items are sent one by one, a few more than there are workers, so that there may be millions;
        what is shared is sent once to each worker process, a late or restarted one too, and loaded
        there at its first item. Results should be small: they come back to this process. An item
        may be done twice, where its worker is lost before the result has come back.

        Args:
            function: Called in the workers; it must not depend on their current folder.
            items: What it is called for.
            shared: What it needs besides, such as a network.
            tries: How often an item is tried that raises an error.
            losses: How many workers an item may cost.

        Yields:
            An outcome for each item, as they come. What failed is an outcome as well.

        Raises:
            ClusterError: if the workers cannot load the function or what is shared, or the
                scheduler is gone.
        """


class ThisProcess(Workers):
    """One worker: this process."""

    in_this_process = True

    def run(
        self,
        function: Function,
        items: Iterable[Item],
        shared: Any = None,
        tries: int = TRIES,
        losses: int = TRIES,
    ) -> Iterator[Outcome[Item]]:
        """Call the function for each item, in their order."""
        for item in items:
            outcome = do(function, shared, item)
            for tried in range(2, tries + 1):
                if outcome.failure is None:
                    break
                outcome = do(function, shared, item).tried(tried)
            yield outcome
