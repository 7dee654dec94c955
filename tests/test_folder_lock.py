"""A lock that is held, left by a killed process, or never there."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from filelock import SoftFileLock

from btk_punet.errors import RunExistsError
from btk_punet.folder_lock import locked

HOLD = """
import sys, time
from btk_punet.folder_lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""
# The child outlives the parent, which is killed, and must not keep its lock. It says when it has
# begun: until then it still has the parent's open file.
HOLD_AND_FORK = """
import os, sys, time
from btk_punet.folder_lock import locked
with locked(sys.argv[1]):
    if not os.fork():
        print("held", flush=True)
    time.sleep(600)
"""


def holder(script, path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", script, path],
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def test_an_empty_folder_gets_a_file_that_says_by_whom(tmp_path):
    with locked(tmp_path / "a" / "lock"):
        assert (tmp_path / "a" / "lock").read_text().split()[0] == str(os.getpid())
    assert (tmp_path / "a" / "lock").read_text() == ""
    assert os.listdir(tmp_path / "a") == ["lock"]


def test_released_by_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock"):
        pass


def test_held_by_this_process(tmp_path):
    with locked(tmp_path / "lock"):
        message = f"'{tmp_path}' is in use by process {os.getpid()} on "
        with pytest.raises(RunExistsError, match=message), locked(tmp_path / "lock"):
            pass
        with pytest.raises(RunExistsError), locked(tmp_path / "lock"):  # no try is the last
            pass


@pytest.mark.parametrize("script", [HOLD, HOLD_AND_FORK])
def test_held_by_another_process_until_that_is_killed(tmp_path, script):
    with holder(script, tmp_path / "lock") as other:
        try:
            assert other.stdout.readline() == b"held\n"
            message = f"in use by process {other.pid} on .*: wait until that ends or stop it"
            with pytest.raises(RunExistsError, match=message), locked(tmp_path / "lock"):
                pass
            other.send_signal(signal.SIGKILL)
            other.wait()
            with locked(tmp_path / "lock"):
                assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(other.pid, signal.SIGKILL)  # what it forked


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="lock"), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_system_without_flock_goes_by_the_file(tmp_path, monkeypatch):
    """What filelock falls back to there says by whom in the same way."""
    monkeypatch.setattr("btk_punet.folder_lock.FileLock", SoftFileLock)
    with locked(tmp_path / "lock"):
        message = f"in use by process {os.getpid()} on "
        with pytest.raises(RunExistsError, match=message), locked(tmp_path / "lock"):
            pass
    assert os.listdir(tmp_path) == []
