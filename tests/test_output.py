"""Where a run may write: links are followed at the start, and not after."""

import os

import pytest

from btk_punet.errors import InputError, InputTypeError, RunExistsError
from btk_punet.output import output_folder


def test_nothing_is_made(tmp_path):
    assert output_folder(tmp_path / "a" / "b") == (tmp_path / "a" / "b").resolve()
    assert os.listdir(tmp_path) == []


def test_another_working_directory_moves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = output_folder("run")
    monkeypatch.chdir("/")
    assert folder == (tmp_path / "run").resolve()


@pytest.mark.parametrize("output", [3, "", b"", ["a"], None])
def test_no_path(output):
    with pytest.raises(InputTypeError, match="save_path must be the path of a folder, got"):
        output_folder(output, name="save_path")


def test_null_byte():
    with pytest.raises(InputError, match="no path that can be used"):
        output_folder("a\0b")


def test_file_or_in_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/run"):
        with pytest.raises(RunExistsError, match="file' is a file: give the path of a folder"):
            output_folder(tmp_path / name)


def test_links(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    assert output_folder(tmp_path / "run" / "a") == (tmp_path / "disk" / "a").resolve()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"lost' is a link to '.*nowhere', which does not"):
        output_folder(tmp_path / "lost")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(InputError, match="round"):
        output_folder(tmp_path / "round")


def test_links_that_lead_out_of_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tables").symlink_to(tmp_path)
    output_folder(tmp_path / "run", ("batches",))
    with pytest.raises(InputError, match="tables' is a symbolic link, through which nothing"):
        output_folder(tmp_path / "run", ("batches", "tables"))


def test_folder_that_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="cannot be written in.*'") as error:
        output_folder(tmp_path / "run")
    assert error.value.filename == str(tmp_path.resolve())
