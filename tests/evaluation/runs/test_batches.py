"""What is there of batches: whole, damaged, of another run, or none of them."""

import json
import shutil

import pandas as pd
import pytest

from btk_punet.evaluation.runs.batches import (
    DamagedBatchError,
    join_batches,
    read_part,
    read_summary,
    strangers,
    write_batch,
)
from btk_punet.evaluation.studies.base import Tidy
from tests.evaluation.runs.conftest import contents, small_run

TIDY = [Tidy("rows", sort_by=("scene",))]


def write(folder, number, scenes, run="this"):
    table = pd.DataFrame({"scene": scenes, "method": "sep"})
    summary = {"run": run, "n_blends": 2, "seconds": {}, "warnings": [], "set_aside": []}
    write_batch(folder, number, {"rows": table}, summary)


def test_no_batches(tmp_path):
    assert join_batches(tmp_path, {}, TIDY, ["sep"]) == ({}, {})
    assert read_summary(tmp_path, 0, "this") is None
    assert strangers(tmp_path, []) == []


def test_batches_come_back_in_order(tmp_path):
    for number in (1, 0):
        write(tmp_path, number, [2 * number + 1, 2 * number])
    summaries = {number: read_summary(tmp_path, number, "this") for number in (1, 0)}
    assert summaries[0]["files"]["rows"]["rows"] == 2
    joined, damaged = join_batches(tmp_path, summaries, TIDY, ["sep"])
    assert damaged == {} and list(joined["rows"]["scene"]) == [0, 1, 2, 3]


def test_strangers(tmp_path):
    write(tmp_path, 0, [0])
    write(tmp_path, 7, [14])
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".mark").touch()
    assert strangers(tmp_path, [0, 1]) == ["000007", "notes.txt"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda own: (own / "summary.json").write_text("{"), "its summary is damaged"),
        (lambda own: (own / "summary.json").write_text("[]"), "its summary is damaged"),
        (lambda own: (own / "rows.parquet").unlink(), "it has lost rows.parquet"),
        (lambda own: write(own.parent, 0, [0], run="other"), "of another run or batch"),
        (lambda own: write(own.parent, 0, [5]) or copied(own, 1), "of another run or batch"),
    ],
)
def test_summaries_that_are_not_believed(harm, message, tmp_path):
    write(tmp_path, 0, [0, 1])
    harm(tmp_path / "000000")
    with pytest.raises(DamagedBatchError, match=message):
        read_summary(tmp_path, 0, "this")


def copied(own, number):
    """Put another batch in the place of this one."""
    write(own.parent, number, [2, 3])
    shutil.rmtree(own)
    shutil.copytree(own.parent / f"{number:06d}", own)


def test_table_that_is_another(tmp_path):
    write(tmp_path, 0, [0, 1])
    summary = read_summary(tmp_path, 0, "this")
    expected = summary["files"]["rows"]
    with pytest.raises(DamagedBatchError, match="rows.parquet has 2 rows, not 3"):
        read_part(tmp_path, 0, "rows", expected | {"rows": 3})
    pd.DataFrame({"scene": [5], "method": "sep"}).to_parquet(tmp_path / "000000/rows.parquet")
    with pytest.raises(DamagedBatchError, match="rows.parquet is another file than was written"):
        read_part(tmp_path, 0, "rows", expected)
    _, damaged = join_batches(tmp_path, {0: summary}, TIDY, ["sep"])
    assert list(damaged) == [0]


def test_run_draws_again_what_is_damaged_and_names_what_is_not_its_own(tmp_path, catalog):
    """A shard keeps its batches: those of a run that was stopped before its end."""
    folder = tmp_path / "run"
    few = {"n_blends": 10, "batch_size": 2}
    whole = small_run(tmp_path / "whole", catalog, **few)
    small_run(tmp_path / "other", catalog, seed=1, shard="1/1", **few)
    small_run(folder, catalog, shard="1/1", **few)
    run = json.loads((folder / "run.json").read_text())
    assert run.pop("shard") == "1/1" and run["status"] == "shard"
    (folder / "run.json").write_text(json.dumps(run | {"status": "running"}))
    batches = folder / "batches"
    (batches / "000000" / "truth.parquet").unlink()
    shutil.rmtree(batches / "000001")
    (batches / "000002" / "truth.parquet").write_bytes(b"half")
    shutil.rmtree(batches / "000003")
    shutil.copytree(tmp_path / "other" / "batches" / "000003", batches / "000003")
    shutil.copytree(batches / "000004", batches / "000005")
    again = small_run(folder, catalog, **few)
    assert again.run["notes"] == [
        "'000005' in 'batches' is none of the batches of this run, and was left aside.",
        "Batch 0 was drawn again: it has lost truth.parquet.",
        "Batch 3 was drawn again: it is of another run or batch.",
        "Batch 2 was drawn again: truth.parquet is another file than was written.",
    ]
    assert contents(folder) == contents(whole.folder)
