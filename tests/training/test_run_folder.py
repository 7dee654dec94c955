"""The folder of a run: what it refuses, what survives a kill, and when training stalls."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import RunExistsError
from btk_punet.folder_lock import LOCK_FILE
from btk_punet.training.run_folder import SMALLEST_GAIN, TrainingRun


def row(step, **columns):
    return {"step": step, "stamps": 4 * step, "loss": 1 / 3 / step, "val_loss": 1 / step} | columns


def state(step):
    return {"step": np.array(step), "weights/0": np.full((2, 3), step, np.float32)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a" / "run"


@pytest.fixture
def reported(folder, tiny):
    """A run with reports at steps 10 and 20."""
    run = TrainingRun(folder, tiny)
    run.begin()
    for step in (10, 20):
        run.report(row(step), state(step))
    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_run_leaves_no_trace_before_it_begins(folder, tiny):
    run = TrainingRun(folder, tiny)
    assert run.checkpoint is None
    assert len(run.log) == 0
    assert not run.finished
    assert not folder.exists()
    run.begin(precision_used="float32")
    held = json.loads((folder / "training.json").read_text())
    assert held == {"config": tiny.to_dict(), "status": "running", "precision_used": "float32"}
    assert TrainingRun(folder, tiny).checkpoint is None


def test_an_empty_folder_is_a_new_run(folder, tiny):
    folder.mkdir(parents=True)
    TrainingRun(folder, tiny).begin()
    assert (folder / "training.json").is_file()


def test_reports_come_back_to_the_last_bit(reported, folder, tiny):
    again = TrainingRun(folder, tiny)
    pd.testing.assert_frame_equal(again.log, reported.log, check_exact=True)
    assert again.log["loss"].tolist() == [1 / 3 / 10, 1 / 3 / 20]
    assert set(again.checkpoint) == {"step", "weights/0"}
    np.testing.assert_array_equal(again.checkpoint["weights/0"], np.full((2, 3), 20))
    again.report(row(30), state(30))
    assert pd.read_csv(folder / "log.csv")["step"].tolist() == [10, 20, 30]


def test_a_log_ahead_of_the_checkpoint_is_cut(reported, folder, tiny):
    # As a kill between the two files of a report leaves them.
    before = (folder / "checkpoint.npz").read_bytes()
    reported.report(row(30), state(30))
    (folder / "checkpoint.npz").write_bytes(before)
    run = TrainingRun(folder, tiny)
    assert run.log["step"].tolist() == [10, 20]
    run.report(row(30), state(30))
    assert pd.read_csv(folder / "log.csv")["step"].tolist() == [10, 20, 30]


def test_without_a_checkpoint_the_log_begins_anew(reported, folder, tiny):
    (folder / "checkpoint.npz").unlink()
    run = TrainingRun(folder, tiny)
    assert run.checkpoint is None
    assert len(run.log) == 0


def test_half_written_files_of_a_killed_process_are_nobodys(folder, tiny):
    folder.mkdir(parents=True)
    (folder / ".training.json.77.part").write_text('{"conf')
    run = TrainingRun(folder, tiny)
    run.begin()
    run.report(row(10), state(10))
    (folder / ".checkpoint.npz.78.part").write_bytes(b"PK")
    (folder / ".log.csv.78.part").write_bytes(b"step,st")
    again = TrainingRun(folder, tiny)
    assert int(again.checkpoint["step"]) == 10
    assert again.log["step"].tolist() == [10]


def test_another_run_is_kept_and_the_difference_named(reported, folder, tiny):
    before = contents(folder)
    with pytest.raises(RunExistsError, match=r"another training run \(seed: 5 there, 6 now\)"):
        TrainingRun(folder, replace(tiny, seed=6))
    with pytest.raises(RunExistsError, match=r'"channels": \[4, 6\].* there, .*\[8\].* now'):
        TrainingRun(folder, replace(tiny, model={"channels": [8]}))
    assert contents(folder) == before


def test_overwriting_throws_away_the_run_and_nothing_else(reported, folder, tiny):
    (folder / "model").mkdir()
    for name in ("model/config.json", "bank.npz", "losses.png", "notes.txt"):
        (folder / name).write_text("old")
    run = TrainingRun(folder, replace(tiny, seed=6), overwrite=True)
    assert run.checkpoint is None
    assert len(run.log) == 0
    assert (folder / "checkpoint.npz").is_file()  # until the other run begins
    run.begin()
    assert sorted(contents(folder)) == ["notes.txt", "training.json"]
    assert TrainingRun(folder, replace(tiny, seed=6)).description["config"]["seed"] == 6


def test_overwriting_the_same_run_begins_it_anew(reported, folder, tiny):
    run = TrainingRun(folder, tiny, overwrite=True)
    run.begin()
    assert sorted(contents(folder)) == ["training.json"]


def test_going_on_keeps_all(reported, folder, tiny):
    before = contents(folder)
    run = TrainingRun(folder, tiny)
    run.begin()
    assert contents(folder) == before
    assert int(run.checkpoint["step"]) == 20


def test_a_file_in_the_way(tmp_path, tiny):
    (tmp_path / "run").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RunExistsError, match="run' is a file: give the path of a folder"):
            TrainingRun(tmp_path / "run", tiny, overwrite)
    assert (tmp_path / "run").read_text() == "mine"


def test_files_of_somebody_else(tmp_path, tiny):
    (tmp_path / "thesis.tex").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RunExistsError, match="is not empty and holds no training run"):
            TrainingRun(tmp_path, tiny, overwrite)
    assert list(contents(tmp_path)) == ["thesis.tex"]


@pytest.mark.parametrize("content", ["", '{"config": ', "[]", "3", "{}", '{"config": 3}'])
def test_damaged_description(reported, folder, tiny, content):
    (folder / "training.json").write_text(content)
    with pytest.raises(RunExistsError, match="training.json' is not the JSON file of a training"):
        TrainingRun(folder, tiny)


@pytest.mark.parametrize("kept", [0, 3, 200, -10])
def test_cut_checkpoint(reported, folder, tiny, kept):
    path = folder / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunExistsError, match="checkpoint.npz' is damaged .* remove it to train"):
        TrainingRun(folder, tiny)


def test_checkpoint_with_other_content(reported, folder, tiny):
    np.savez(folder / "checkpoint.npz", flux=np.zeros(3))
    with pytest.raises(RunExistsError, match="checkpoint.npz' is damaged"):
        TrainingRun(folder, tiny)


@pytest.mark.parametrize("content", ["", "stamps,loss\n1,2\n", 'step\n"ten\n', "step\nten\n"])
def test_damaged_log(reported, folder, tiny, content):
    (folder / "log.csv").write_text(content)
    with pytest.raises(RunExistsError, match="log.csv' is damaged .* remove it to go on"):
        TrainingRun(folder, tiny)
    (folder / "log.csv").unlink()
    assert int(TrainingRun(folder, tiny).checkpoint["step"]) == 20


def test_finished_needs_the_weights(reported, folder, tiny):
    reported.describe(status="finished")
    assert not TrainingRun(folder, tiny).finished
    (folder / "model").mkdir()
    assert TrainingRun(folder, tiny).finished


@pytest.mark.parametrize(
    ("losses", "patience", "stalls"),
    [
        ([], 1, False),
        ([1.0], 1, False),
        ([1.0, 1.0], 1, True),
        ([1.0, 2.0], 1, True),
        ([1.0, 0.9], 1, False),
        ([1.0, 1.0 - SMALLEST_GAIN / 2], 1, True),
        ([1.0, 1.0, 1.0], 0, False),
        ([1.0, 2.0, 2.0], 3, False),
        ([2.0, 1.0, 1.5, 1.2], 2, True),
        ([2.0, 1.0, 1.5, 0.9], 2, False),
        ([2.0, 1.0, 0.9, 1.5], 2, False),
        ([2.0, 1.0, float("nan"), float("nan")], 2, True),
    ],
)
def test_when_training_stalls(folder, tiny, losses, patience, stalls):
    run = TrainingRun(folder, tiny)
    run.log = pd.DataFrame({"val_loss": losses})
    expected = f"has not fallen for {patience} reports" if stalls else ""
    assert run.stalled(patience).endswith(expected)
    assert bool(run.stalled(patience)) == stalls


def test_a_lock_alone_is_an_empty_folder(folder, tiny):
    folder.mkdir(parents=True)
    (folder / LOCK_FILE).touch()
    TrainingRun(folder, tiny).begin()
    assert (folder / "training.json").is_file()
