"""A scheduler that runs already, workers that join late, and what is left of a killed process."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from btk_punet.cluster.workers import open_workers
from btk_punet.errors import BtkPunetWarning, ClusterError


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def dask(*arguments):
    """Run a command of Dask, quietly."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def scheduler_file(tmp_path):
    path = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(path), "--host", "127.0.0.1", "--port", "0"]
    with dask("distributed.cli.dask_scheduler", *options, "--no-dashboard"):
        wait_for(lambda: path.exists() and path.read_text())
        yield path


def worker(scheduler_file):
    options = ["--scheduler-file", str(scheduler_file), "--nthreads", "1", "--no-dashboard"]
    folder = ["--local-directory", str(scheduler_file.parent)]
    return dask("distributed.cli.dask_worker", *options, *folder, "--host", "127.0.0.1")


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def who(shared, item):
    time.sleep(0.02)
    return os.getpid(), item + shared["shift"]


def endless():
    item = -1
    while True:
        yield (item := item + 1)


def test_workers_that_join_late(scheduler_file):
    with pytest.warns(BtkPunetWarning, match="has no workers yet: the run waits"):
        opened = open_workers(scheduler_file=scheduler_file)
        workers = opened.__enter__()
    try:
        outcomes = workers.run(who, endless(), {"shift": 1})
        seen = set()
        with worker(scheduler_file):
            process, result = next(outcomes).get()
            seen.add(process)
            assert result >= 1
            with worker(scheduler_file):
                deadline = time.monotonic() + 60
                while len(seen) < 2 and time.monotonic() < deadline:
                    outcome = next(outcomes)
                    process, result = outcome.get()
                    assert result == outcome.item + 1
                    seen.add(process)
                outcomes.close()
        assert len(seen) == 2 and os.getpid() not in seen
    finally:
        opened.__exit__(None, None, None)


def test_file_that_is_none(tmp_path):
    (tmp_path / "file").write_text("[]")
    with (
        pytest.raises(ClusterError, match="is not the file of a Dask scheduler .TypeError"),
        open_workers(scheduler_file=tmp_path / "file"),
    ):
        pass


def hang(folder, item):
    (folder / str(item)).touch()
    re.match(r"(a+)+$", "a" * 60 + "b")  # in C, and keeps the interpreter to itself


def test_nothing_outlives_a_killed_process(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from btk_punet.cluster.workers import open_workers\n"
        "from tests.cluster.test_scheduler import hang\n"
        "with open_workers(2) as workers:\n"
        f"    list(workers.run(hang, range(2), Path({str(tmp_path)!r})))"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=environment()) as process:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        everyone = psutil.Process(process.pid).children(recursive=True)
        assert len(everyone) >= 3
        process.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(everyone, timeout=20)[1] == []
