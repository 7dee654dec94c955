import os
import platform
import subprocess
import sys
import time

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
    here = platform.node()
    gone = [f".file.{here}.{ended.pid}.part", f".file.elsewhere.b.{ended.pid}.part"]
    kept = [
        f".file.{here}.{os.getppid()}.part",
        f".f.{here}.{ended.pid}.part",
        # Of another machine, whose processes have numbers of their own.
        f".file.elsewhere.a.{ended.pid}.part",
    ]
    for name in gone + kept:
        (tmp_path / name).write_bytes(b"half")
    days_ago = time.time() - 2 * 86_400
    os.utime(tmp_path / gone[1], (days_ago, days_ago))
    write_file(tmp_path / "file", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *kept}
