"""Local workers that are started ahead, and that one run takes over from another."""

import os
import sys

import psutil
import pytest

from btk_punet.cluster.started import LocalWorkers, local_workers, start_ahead, workers_stay
from btk_punet.cluster.workers import open_workers


def process_and_module(name, item):
    return os.getpid(), name in sys.modules


def processes(workers, module="json"):
    outcomes = [outcome.get() for outcome in workers.run(process_and_module, range(20), module)]
    assert {loaded for _, loaded in outcomes} == {True}
    return {process for process, _ in outcomes}


@pytest.fixture
def started():
    """Give the processes that a test started, and that are alive."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: set(psutil.Process().children(recursive=True)) - before


def are_gone(some):
    return not psutil.wait_procs(some, timeout=20)[1]


def test_nothing(started):
    with workers_stay():
        pass
    assert not started()


def test_runs_take_workers_over_that_were_started_ahead(started):
    with workers_stay():
        start_ahead(2, modules=["colorsys"])
        with open_workers(2) as workers:
            first = processes(workers, "colorsys")
            # They are in use: another run gets workers of its own.
            with open_workers(1, memory_limit="4GB") as others:
                assert not processes(others) & first
        with workers_stay(), open_workers(1, separate=True) as fewer:
            assert processes(fewer) <= first
        everyone = started()
        assert first <= {process.pid for process in everyone}
    assert are_gone(everyone)


def test_workers_of_a_run_that_broke_off_are_ended(started):
    with workers_stay():
        with pytest.raises(ValueError, match="three"), local_workers(1):
            everyone = started()
            raise ValueError("three")
        assert len(everyone) >= 2 and are_gone(everyone)


def test_workers_that_nobody_needs_are_ended_as_they_start(started, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    workers = LocalWorkers(2)
    assert workers.serve(1, None) and not workers.serve(3, None) and not workers.serve(2, "1GB")
    everyone = started()
    workers.end()
    assert everyone and are_gone(everyone) and not list(tmp_path.iterdir())
    assert not workers.serve(1, None)
