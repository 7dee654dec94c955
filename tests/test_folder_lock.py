"""A lock that is held, left by a killed process, or never there."""

import os
import signal
import subprocess
import sys

import pytest

from btk_punet.errors import RunExistsError
from btk_punet.folder_lock import locked

HOLD = """
import sys, time
from btk_punet.folder_lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_an_empty_folder_is_empty_again(tmp_path):
    with locked(tmp_path / "a" / "lock"):
        assert f"process {os.getpid()} on " in (tmp_path / "a" / "lock").read_text()
    assert list((tmp_path / "a").iterdir()) == []


def test_released_by_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock"):
        pass


def test_held_by_another_process_until_that_is_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout.readline() == b"held\n"
        message = f"in use by process {other.pid} on .*: wait until that ends or stop it"
        with pytest.raises(RunExistsError, match=message), locked(tmp_path / "lock"):
            pass
        other.send_signal(signal.SIGKILL)
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock"):
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text()
    assert not (tmp_path / "lock").exists()
