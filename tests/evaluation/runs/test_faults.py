"""Methods that fail on some batches, and workers that are killed: the others' figures are right."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from btk_punet import (
    Comparison,
    SepDeblender,
    compare,
    compare_benchmark,
    selection_function,
    uniformity,
)
from btk_punet.cli import main
from btk_punet.errors import BatchFailedError, IncompleteRunWarning
from btk_punet.evaluation.runs.options import Scenes
from btk_punet.evaluation.studies.base import Study
from btk_punet.evaluation.studies.detection.found import Found
from btk_punet.evaluation.studies.detection.result import Result
from btk_punet.evaluation.studies.equal_purity.study import EqualPurity
from tests.evaluation.oracle import Oracle
from tests.evaluation.runs.conftest import contents, small_run
from tests.evaluation.runs.faulty import Faulty, Picky

STUDIES = [Result, Found, EqualPurity]
N_BLENDS, BATCH_SIZE = 16, 2


def sound():
    return {"oracle": Oracle((0.9, 0.6, 0.3), spurious=0.7), "sep": SepDeblender(20)}


@pytest.fixture(scope="module")
def sums(catalog):
    """Sum of the image of each scene, by which a detector knows it."""
    generator = Scenes(catalog=catalog, batch_size=N_BLENDS).generator()
    return [float(image.sum()) for image in generator.draw_batch(0, N_BLENDS).blend_images]


def run(folder, catalog, methods, **options):
    settings = {"n_blends": N_BLENDS, "batch_size": BATCH_SIZE, "studies": STUDIES} | options
    return small_run(folder, catalog, methods, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, catalog):
    return run(tmp_path_factory.mktemp("faults") / "whole", catalog, sound())


def same_for(methods, one, other):
    """Check that some methods have the same rows in two runs, in all tables that have methods."""
    for name, table in one.collected.tidy.items():
        for method in methods:
            rows = (t[t["method"] == method].reset_index(drop=True) for t in
                    (table, other.collected.tidy[name]))  # fmt: skip
            pd.testing.assert_frame_equal(*rows)
    for name in ("headline", "completeness_by_magnitude", "ceiling_share"):
        rows = (t[t["method"].isin(methods)].reset_index(drop=True) for t in
                (one.tables[name], other.tables[name]))  # fmt: skip
        pd.testing.assert_frame_equal(*rows)


def test_methods_that_raise_and_hang(tmp_path, catalog, sums, whole):
    trigger, folder = tmp_path / "trigger", tmp_path / "run"
    trigger.touch()
    faulty = {
        "raises": Faulty("raises", sums[::7], trigger),
        "hangs": Faulty("hangs", sums[2:3], trigger),
    }
    how = {"njobs": 2, "timeout": 4}
    with pytest.warns(IncompleteRunWarning, match="incomplete: raises is missing on 3 of 8 batch"):
        found = run(folder, catalog, faulty | sound(), report=True, **how)
    assert found.run["status"] == "finished"
    assert found.run["incomplete"] == {"raises": [0, 3, 7], "hangs": [1]}
    assert found.missing[0] == "raises is missing on 3 of 8 batches (6 of 16 scenes)."
    page = (folder / "report.html").read_text()
    assert all(sentence in page for sentence in found.missing)
    same_for(sound(), whole, found)
    assert set(found.truth.query("method == 'raises'")["scene"]) <= {
        2,
        3,
        4,
        5,
        8,
        9,
        10,
        11,
        12,
        13,
    }
    # Compared are the scenes that both have.
    margins = found.tables["equal_purity"].set_index("method")
    truth = found.truth.query("method == 'sep' and counts")
    assert margins.loc["sep", "n"] == len(truth)
    assert margins.loc["hangs", "n"] == len(truth.query("scene not in (2, 3)"))

    failures = json.loads((folder / "failures.json").read_text())["failures"]
    by_method = {failure["method"]: failure for failure in failures}
    assert by_method["raises"]["error"] == "ZeroDivisionError: of this scene"
    assert by_method["raises"]["tries"] == 3 and "in raises" in by_method["raises"]["traceback"]
    assert by_method["hangs"]["error"] == "it took longer than 4 seconds"
    assert "in hangs" in by_method["hangs"]["traceback"]
    assert {failure["seed"] for failure in failures} == {0}
    loaded = Comparison.load(folder, STUDIES)
    assert loaded.missing == found.missing

    # Called again, it tries again what was set aside, and nothing else.
    summary = folder / "batches" / "000004" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "warnings": ["believed"]}))
    trigger.unlink()
    again = run(folder, catalog, faulty | sound(), report=False)
    assert again.missing == [] and "incomplete" not in again.run
    assert not (folder / "failures.json").exists() and not (folder / "batches").exists()
    assert not (folder / "report.html").exists()
    assert again.run["notes"] == ["believed"]
    same_for(sound(), whole, again)
    assert set(again.truth.query("method == 'hangs'")["scene"]) == set(whole.truth["scene"])


def test_method_that_eats_memory(tmp_path, catalog, sums, whole):
    folder, trigger = tmp_path / "run", tmp_path / "trigger"
    trigger.touch()
    methods = {"eats": Faulty("eats", sums[4:5], trigger)} | sound()
    # Without a time-out, which on a slow machine would come first.
    with pytest.warns(IncompleteRunWarning, match="eats is missing on 1 of 8 batches"):
        found = run(folder, catalog, methods, njobs=2, memory_limit="1200MB")
    assert found.run["incomplete"] == {"eats": [2]}
    same_for(sound(), whole, found)
    (failure,) = json.loads((folder / "failures.json").read_text())["failures"]
    assert failure["error"].startswith("the process that ran it was ended 3 times")


def test_the_first_failure_may_end_the_run(tmp_path, catalog, sums):
    methods = {"hangs": Faulty("hangs", sums[:1], tmp_path), "sep": SepDeblender(20)}
    with pytest.raises(BatchFailedError, match="Batch 0 failed in hangs: .* longer than 2 seconds"):
        run(tmp_path / "run", catalog, methods, n_blends=2, timeout=2, fail_fast=True)


def test_nothing_is_left(tmp_path, catalog, sums):
    methods = {"raises": Faulty("raises", sums, tmp_path)}
    with pytest.raises(
        BatchFailedError, match="Every method failed on every batch. Batch 0 failed"
    ):
        run(tmp_path / "run", catalog, methods)
    assert len(json.loads((tmp_path / "run" / "failures.json").read_text())["failures"]) == 8


class Choosy(Study):
    """Fails with one of the methods, and with one batch whoever is in it."""

    anchor, title = "choosy", "Who is liked?"

    def collect(self, batch):
        if "pure" in batch.deblend_batches or batch.first_scene == 2:
            raise LookupError("not this one")
        return {}


def test_study_that_fails_with_one_method(tmp_path, catalog, plain):
    with pytest.warns(IncompleteRunWarning, match="pure is missing on 3 of 3 batches"):
        found = small_run(tmp_path / "run", catalog, studies=[Result, Choosy])
    assert found.run["incomplete"] == {"sep": [1], "pure": [0, 1, 2]}
    rows = plain.truth.query("method == 'sep' and scene not in (2, 3)").reset_index(drop=True)
    pd.testing.assert_frame_equal(found.truth, rows)
    headline = found.tables["headline"].set_index("method")
    assert headline.loc["pure", "completeness_n"] == 0


class Broken(Study):
    """Fails with all methods at once, and with none of them alone."""

    anchor, title = "broken", "Who is there?"

    def collect(self, batch):
        if len(batch.deblend_batches) > 1 and batch.first_scene == 4:
            raise LookupError("too many")
        return {}


def test_batch_that_fails(tmp_path, catalog):
    with pytest.warns(IncompleteRunWarning, match="sep is missing on 1 of 3 batches"):
        found = small_run(tmp_path / "run", catalog, studies=[Result, Broken])
    assert found.run["incomplete"] == {"sep": [2], "pure": [2]}
    (failure,) = json.loads((tmp_path / "run" / "failures.json").read_text())["failures"]
    assert failure["method"] is None and failure["batch"] == 2 and failure["tries"] == 3
    assert failure["part"] == "the study 'broken'" and "too many" in failure["traceback"]


def start(folder, njobs, *options):
    """Start the real command on slow batches."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "btk_punet.cli", *arguments(folder, njobs, *options)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def arguments(folder, njobs, *options):
    slow = "tests.evaluation.runs.faulty:Slow"
    few = ["compare", "-d", slow, "-n", "24", "--batch-size", "2", "--quiet", "--no-report"]
    return [*few, "--no-outcomes", "--jobs", str(njobs), "-o", str(folder), *options]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(process):
    """Return the processes that do the work of a run."""
    everyone = psutil.Process(process.pid).children(recursive=True)
    return [one for one in everyone if "spawn_main" in " ".join(one.cmdline())]


def test_killed_worker_and_sigterm(tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    with start(folder, 2) as process:
        done = folder / "batches"
        wait_for(lambda: len(list(done.glob("*/summary.json"))) >= 2)
        workers_of(process)[0].send_signal(signal.SIGKILL)
        wait_for(lambda: len(list(done.glob("*/summary.json"))) >= 5)
        everyone = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said == "btk-punet: terminated; the same command resumes from here.\n"
    assert psutil.wait_procs(everyone, timeout=20)[1] == []
    assert 5 <= len(list(done.glob("*/summary.json"))) < 12
    assert main(arguments(folder, 1)) == main(arguments(whole, 1)) == 0
    assert contents(folder) == contents(whole)


# Of 51 scenes the last has a batch of its own, in a benchmark set and under a condition.
@pytest.mark.parametrize(
    ("function", "n_blends", "options", "folder"),
    [
        (compare, 3, {"batch_size": 2, "outcomes": False, "report": False}, "."),
        (selection_function, 3, {"batch_size": 2}, "."),
        (compare_benchmark, 51, {"benchmark": "pairs", "report": False}, "pairs"),
        (uniformity, 51, {"conditions": {"n_exposures": [1]}}, "n_exposures/1"),
    ],
)
def test_every_function_tells_what_is_missing(tmp_path, function, n_blends, options, folder):
    methods = {"sep": "sep", "picky": Picky(20)}
    with pytest.warns(IncompleteRunWarning) as told:
        found = function(tmp_path, deblenders=methods, n_blends=n_blends, progress=False, **options)
    (warning,) = told
    assert str(warning.message) == (
        f"The run in '{tmp_path / folder}' is incomplete: picky is missing on 1 of 2 batches "
        f"(1 of {n_blends} scenes). Its failures.json says why; the same call tries again."
    )
    if function in (compare_benchmark, uniformity):
        assert found["method"].tolist() == ["sep", "picky"]
        assert found["n_scenes"].tolist() == [51, 50]


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("compare -n 3 --batch-size 2 --no-outcomes --no-report", "."),
        ("compare -n 51 --benchmark pairs --no-report", "pairs"),
        ("selection -n 3 --batch-size 2", "."),
        ("selection -n 3 --batch-size 2 --shard 2/2", "."),
        ("uniformity -n 51 --conditions n_exposures=1", "n_exposures/1"),
    ],
)
def test_exit_status_of_what_is_missing(tmp_path, capsys, command, folder):
    methods = ["-d", "sep", "tests.evaluation.runs.faulty:Picky", "-j", "1", "-q"]
    assert main([*command.split(), *methods, "-o", str(tmp_path)]) == 3
    n_blends, failures = command.split()[2], tmp_path / folder / "failures.json"
    assert capsys.readouterr().err == (
        "btk-punet: tests.evaluation.runs.faulty:Picky is missing on 1 of 2 batches (1 of "
        f"{n_blends} scenes).\n"
        f"btk-punet: {failures} says why; the same command tries again.\n"
    )
