import os
import subprocess
import sys

import pytest

from btk_punet.files import write_file


def test_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "file"
    write_file(path, b"old")
    with pytest.raises(TypeError):
        write_file(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_what_a_killed_write_left_is_removed_by_the_next(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = tmp_path / f".file.{ended.pid}.part"
    running, other = tmp_path / f".file.{os.getppid()}.part", tmp_path / f".f.{ended.pid}.part"
    for part in (left, running, other):
        part.write_bytes(b"half")
    write_file(tmp_path / "file", b"whole")
    assert not left.exists()
    assert running.exists() and other.exists()
