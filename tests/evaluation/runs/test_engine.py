"""A run that fails, is stopped or killed resumes, and ends with the same tables."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pandas as pd
import pytest

from btk_punet import EuclidGroupSampling, SepDeblender
from btk_punet.cli import main
from btk_punet.errors import BatchFailedError
from btk_punet.evaluation.studies.blends.study import Blends
from btk_punet.evaluation.studies.detection.result import Result
from tests.evaluation.oracle import Oracle
from tests.evaluation.runs.conftest import FailsOnce, contents, small_run, with_unet


def test_same_tables_whatever_the_number_of_jobs(run, tmp_path, catalog, tiny_weights):
    methods = with_unet(tiny_weights)
    again = small_run(tmp_path / "run", catalog, methods, outcomes=True, njobs=2)
    assert contents(again.folder) == contents(run.folder)


def test_figures_do_not_depend_on_the_batch_size(plain, tmp_path, catalog):
    again = small_run(tmp_path / "run", catalog, batch_size=4)
    assert list(again.collected.tidy) == list(plain.collected.tidy)
    for name, table in plain.collected.tidy.items():
        pd.testing.assert_frame_equal(again.collected.tidy[name], table)


def test_failing_deblender_is_named_and_nothing_is_lost(tmp_path, catalog):
    trigger, folder = tmp_path / "fail", tmp_path / "run"
    trigger.touch()

    def call(where=folder):
        methods = {"mine": FailsOnce(trigger), "oracle": Oracle((0.9, 0.6, 0.3))}
        return small_run(where, catalog, methods, fail_fast=True)

    with pytest.raises(
        BatchFailedError, match=r"Batch 2 failed in mine: ZeroDivisionError: broken -- Draw it"
    ):
        call()
    kept = folder / "batches"
    done = sorted(path.parent.name for path in kept.glob("*/summary.json"))
    assert done == ["000000", "000001"]
    assert len(list(kept.glob("*/candidates.parquet"))) == 2
    (kept / "000002").mkdir()
    (kept / "000002" / "candidates.parquet").write_bytes(b"half")
    # A batch that is done is not run again: what its summary says is believed.
    path = kept / "000001" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "warnings": ["believed"]}))
    trigger.unlink()
    result = call()
    assert set(result.truth["scene"]) == set(range(6))
    assert result.run["notes"] == ["believed"]
    assert not kept.exists()
    assert contents(folder) == contents(call(tmp_path / "whole").folder)


def test_killed_run_resumes_and_ends_with_the_same_tables(tmp_path):
    """A real kill -9 of the real command, in the middle of its work."""
    options = ["compare", "-d", "sep", "-n", "20", "--batch-size", "2", "--quiet", "--no-report"]
    options += ["--jobs", "1", "-o"]
    killed = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", "btk_punet.cli", *options, killed],
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while len(list(killed.glob("batches/*/summary.json"))) < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(list(killed.glob("batches/*/summary.json"))) < 10
    # A kill in the middle of writing leaves half a file, which must not be taken for a result.
    half = killed / "batches" / "000009"
    half.mkdir(exist_ok=True)
    (half / ".truth.parquet.99.part").write_bytes(b"half")
    (half / "truth.parquet").write_bytes(b"half")

    whole = tmp_path / "whole"
    assert main([*options, str(killed)]) == main([*options, str(whole)]) == 0
    assert contents(killed) == contents(whole)


class Warns(SepDeblender):
    """Warns authors and readers, and is short of room."""

    def batch_call(self, blend_batch, njobs=1):
        warnings.warn("For authors.", DeprecationWarning, stacklevel=2)
        warnings.warn("For readers.", UserWarning, stacklevel=2)
        return super().batch_call(blend_batch)


def test_warnings_of_deblenders_are_kept_as_notes(tmp_path, catalog):
    result = small_run(tmp_path / "run", catalog, {"one": Warns(1)}, n_blends=4, studies=[])
    *full, readers = sorted(result.run["notes"])
    assert full and all("more detections than max_n_sources=1" in note for note in full)
    # What one library warns another of is no note.
    assert readers == "UserWarning: For readers."
    assert (result.detections["flags"] == 1).any()


class SlowAlone(SepDeblender):
    """Takes a quarter of an hour for images of single sources, by its own clock, and warns."""

    seconds = 0.0

    def batch_call(self, blend_batch, njobs=1):
        if blend_batch.max_n_sources == 1:
            type(self).seconds += 1000
            warnings.warn("A single source.", stacklevel=2)
        return super().batch_call(blend_batch, njobs)


class FailsAlone(SepDeblender):
    """Fails on images of single sources."""

    def batch_call(self, blend_batch, njobs=1):
        if blend_batch.max_n_sources == 1:
            raise ZeroDivisionError("alone")
        return super().batch_call(blend_batch, njobs)


class TestMethodsThatAreRunAgain:
    crowded = {"n_blends": 2, "sampling": EuclidGroupSampling(min_number=4)}

    def test_times_and_notes_are_without_them(self, tmp_path, catalog, monkeypatch):
        clock = time.perf_counter
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + SlowAlone.seconds)
        methods = {"slow": SlowAlone(20)}
        result = small_run(tmp_path / "run", catalog, methods, outcomes=True, **self.crowded)
        assert SlowAlone.seconds >= 1000
        assert result.run["timing_ms_per_blend"]["slow"] < 1e5
        assert result.run["notes"] == []

    @pytest.mark.parametrize("studies", [None, "named"])
    def test_failure_says_how_to_do_without(self, studies, tmp_path, catalog):
        fails = {"mine": FailsAlone(20)}
        asked = self.crowded | {"studies": None if studies is None else [Result, Blends]}
        with pytest.raises(
            BatchFailedError, match=r"in the study 'blends' \(with outcomes=False or --no-outcomes"
        ):
            small_run(tmp_path / "run", catalog, fails, outcomes=True, fail_fast=True, **asked)
        result = small_run(tmp_path / "run", catalog, fails, outcomes=False, **asked)
        assert "regions" not in result.collected.tidy
        assert len(set(result.truth["scene"])) == 2
