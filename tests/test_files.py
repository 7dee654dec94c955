import pytest

from btk_punet.files import write_file


def test_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "file"
    write_file(path, b"old")
    with pytest.raises(TypeError):
        write_file(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
