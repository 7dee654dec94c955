"""Results come in the order of their items, none of which is far ahead of the others."""

import time

import pytest

from btk_punet.cluster.base import ThisProcess
from btk_punet.cluster.ordered import AHEAD, in_order
from btk_punet.cluster.workers import open_workers


def slow_first(shared, item):
    time.sleep(shared if item == 0 else 0)
    if item == 3:
        raise ValueError("three")
    return 10 * item


def kind_of_workers(shared, item):
    with open_workers(2) as workers:
        return type(workers).__name__


def numbers(taken, n):
    for item in range(n):
        taken.append(item)
        yield item


def test_nothing(two_workers):
    assert list(in_order(two_workers, slow_first, [], 0)) == []
    assert list(in_order(ThisProcess(), slow_first, [], 0)) == []


def test_in_order_though_the_first_is_the_last(two_workers):
    taken = []
    outcomes = in_order(two_workers, slow_first, numbers(taken, 3 * AHEAD), 1.0)
    assert next(outcomes).get() == 0
    assert len(taken) <= AHEAD + 1
    rest = list(outcomes)
    assert [outcome.item for outcome in rest] == list(range(1, 3 * AHEAD))
    with pytest.raises(ValueError, match="three"):
        rest[2].get()
    assert rest[2].failure.tries == 1
    assert rest[-1].get() == 10 * (3 * AHEAD - 1)


def test_items_are_taken_one_by_one_in_this_process():
    taken = []
    outcomes = in_order(ThisProcess(), slow_first, numbers(taken, 9), 0)
    assert next(outcomes).get() == 0 and taken == [0]


def test_no_cluster_within_a_cluster(two_workers):
    (outcome,) = two_workers.run(kind_of_workers, [1])
    assert outcome.get() == "ThisProcess"
