"""A function called for many items, in this process and in real workers that are killed."""

import os
import pickle
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from btk_punet.cluster.workers import open_workers
from btk_punet.errors import ClusterError, InputError


class Loads:
    """Counts how often it is loaded in a process."""

    n_loaded = 0

    def __setstate__(self, state):
        type(self).n_loaded += 1

    def __getstate__(self):
        return {"something": 1}


class CannotBeSentError(Exception):
    def __init__(self, one, two):
        super().__init__("cannot be sent")


def work(shared, item):
    if item == 3:
        raise ValueError("three")
    if item == 4:
        raise CannotBeSentError(1, 2)
    return item * shared


def die_of_one(folder, item):
    """Die over the item 1, once if the folder holds nothing yet, and over 2 always."""
    mark = folder / f"died-{item}"
    if item == 2 or (item == 1 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def loaded_and_cores(shared, item):
    return type(shared).n_loaded, os.getpid(), os.environ["TF_NUM_INTRAOP_THREADS"]


def pages_of_an_array(shared, item):
    """Return how many pages of memory the system has to hand out for most arrays, at least."""
    pages = []
    for _ in range(20):
        # Of this thread alone: Dask's others need memory too.
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        np.ones(250_000)  # of more, NumPy asks for huge pages
        pages.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
    # Where another thread takes a piece of what an array left, the next one has to lie elsewhere.
    return np.median(pages)


def items_taken(taken):
    for item in range(1000):
        taken.append(item)
        yield item


def by_item(outcomes):
    return {outcome.item: outcome for outcome in outcomes}


def test_one_job_is_this_process_and_loads_no_dask():
    code = (
        "import sys; from btk_punet.cluster.workers import open_workers\n"
        "with open_workers(1) as workers: print(list(workers.run(max, [2], 1))[0].get())\n"
        "print('dask' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


@pytest.mark.parametrize("njobs", [1, 2])
def test_outcomes(njobs, request):
    def check(workers):
        assert list(workers.run(work, [], 7)) == []
        found = by_item(workers.run(work, range(6), 7))
        assert [found[item].get() for item in (0, 1, 2, 5)] == [0, 7, 14, 35]
        assert found[3].failure.tries == 3
        assert found[3].failure.message == "ValueError: three"
        assert "in work" in found[3].failure.traceback
        with pytest.raises(ValueError, match="three"):
            found[3].get()
        assert found[4].failure.message == "CannotBeSentError: cannot be sent"
        with pytest.raises((ClusterError, CannotBeSentError), match="cannot be sent"):
            found[4].get()

    if njobs == 2:
        check(request.getfixturevalue("two_workers"))
    else:
        with open_workers(1) as workers:
            check(workers)


def test_what_is_shared_is_loaded_once_in_each_worker(two_workers):
    found = [outcome.get() for outcome in two_workers.run(loaded_and_cores, range(20), Loads())]
    assert {n for n, _, _ in found} == {1}
    assert os.getpid() not in {process for _, process, _ in found}
    assert {cores for _, _, cores in found} == {str(max((os.cpu_count() or 1) // 2, 1))}


def test_items_are_taken_as_they_are_needed(two_workers):
    taken = []
    outcomes = two_workers.run(max, items_taken(taken), 0)
    next(outcomes)
    assert len(taken) < 20
    outcomes.close()


def test_functions_of_scripts_can_be_sent(two_workers):
    shift = 5
    assert next(two_workers.run(lambda shared, item: shared + item + shift, [1], 2)).get() == 8


def test_lost_workers(tmp_path):
    with open_workers(2) as workers:
        found = by_item(workers.run(die_of_one, range(8), tmp_path))
    assert [item for item, outcome in found.items() if outcome.failure] == [2]
    assert "was lost" in found[2].failure.message and found[2].failure.tries == 3
    with pytest.raises(ClusterError, match="2 has no result after 3 tries: the worker .* lost"):
        found[2].get()
    assert (tmp_path / "died-1").exists()


def test_what_a_worker_cannot_load(two_workers):
    class Module:
        def __reduce__(self):
            return (pickle.loads, (b"cno_such_module\nthing\n.",))

    with pytest.raises(ClusterError, match="cannot load what it was sent: ModuleNotFoundError"):
        list(two_workers.run(max, [1], Module()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheduler": "tcp://a:1", "scheduler_file": "f"}, "two ways to say the same"),
        ({"scheduler": "tcp://a:1", "njobs": 2}, "njobs=2 would be ignored"),
        ({"scheduler": "tcp://a:1", "memory_limit": "2GB"}, "memory_limit would be ignored"),
        ({"scheduler_file": "nowhere.json"}, "'nowhere.json' is not there: start the scheduler"),
        ({"memory_limit": "much"}, "memory_limit must be like '2GB' or '500MiB', got 'much'"),
    ],
)
def test_bad_choices(change, message):
    with pytest.raises(InputError, match=message), open_workers(**change):
        pass


def test_scheduler_that_does_not_answer(monkeypatch):
    from btk_punet.cluster import dask_workers

    monkeypatch.setattr(dask_workers, "PATIENCE_S", 1)
    with (
        pytest.raises(ClusterError, match="No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        open_workers(scheduler="tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_workers_keep_freed_memory(two_workers):
    # An array has 489 pages; with Dask's setting, or in an arena of a thread, each is new.
    outcomes = list(two_workers.run(pages_of_an_array, range(8)))
    assert [outcome.get() for outcome in outcomes] == [0] * 8
