"""Results in the order of their items, from workers that finish in any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from btk_punet.cluster.base import Workers
from btk_punet.cluster.tasks import Function, Item, Outcome

# How many items may be taken before the one whose outcome is yielded next.
AHEAD = 16


def in_order(
    workers: Workers, function: Function, items: Iterable[Item], shared: Any = None
) -> Iterator[Outcome[Item]]:
    """Call ``function(shared, item)`` for each item, as `Workers.run` does, each once.

    Items are taken as results are asked for, and no more than `AHEAD` ahead of them: where one
    takes very long, the others wait for it.

    Args:
        workers: The workers.
        function: As for `Workers.run`.
        items: What it is called for.
        shared: What it needs besides.

    Yields:
        An outcome for each item, in their order.
    """
    todo = enumerate(items)
    waiting: dict[int, Outcome[tuple[int, Item]]] = {}
    taken = done = 0
    exhausted = False

    def allowed() -> Iterator[tuple[int, Item]]:
        nonlocal taken, exhausted
        while taken - done < AHEAD:
            try:
                numbered = next(todo)
            except StopIteration:
                exhausted = True
                return
            taken += 1
            yield numbered

    while not exhausted:
        for outcome in workers.run(_call, allowed(), (function, shared), tries=1):
            waiting[outcome.item[0]] = outcome
            while done in waiting:
                first = waiting.pop(done)
                done += 1
                yield Outcome(first.item[1], first.result, first.failure)


def _call(shared: tuple[Function, Any], numbered: tuple[int, Any]) -> Any:
    function, of_all = shared
    return function(of_all, numbered[1])
