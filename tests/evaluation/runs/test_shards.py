"""A run in parts ends as one in one part; and what makes no run is refused."""

import json
import shutil
from dataclasses import replace

import pytest

from btk_punet.cli import main
from btk_punet.errors import IncompleteRunWarning, InputError, RunExistsError
from btk_punet.evaluation.runs import benchmark, uniformity
from btk_punet.evaluation.runs.options import Scenes
from btk_punet.evaluation.runs.shards import merge_shards
from tests.evaluation.runs.conftest import contents, small_run
from tests.evaluation.runs.faulty import Faulty

FEW = {"n_blends": 7, "batch_size": 2}


@pytest.fixture(scope="module")
def shards(tmp_path_factory, catalog):
    folder = tmp_path_factory.mktemp("shards")
    for part in (1, 2):
        made = small_run(folder / str(part), catalog, shard=f"{part}/2", **FEW)
        assert made.run["status"] == "shard" and made.collected.tidy == {}
    return [folder / "2", folder / "1"]


def test_no_shards(tmp_path):
    with pytest.raises(InputError, match="No shards given"):
        merge_shards(tmp_path / "run", [])


def test_shards_make_the_whole(shards, tmp_path, catalog):
    merge_shards(tmp_path / "run", shards)
    merge_shards(tmp_path / "run", shards)  # as after one that was stopped
    merged = small_run(tmp_path / "run", catalog, **FEW)
    assert merged.run["status"] == "finished" and merged.run["notes"] == []
    whole = small_run(tmp_path / "whole", catalog, **FEW)
    assert contents(merged.folder) == contents(whole.folder)
    with pytest.raises(RunExistsError, match="is not empty: choose another folder"):
        merge_shards(tmp_path / "run", shards)


def test_what_shards_set_aside_is_tried_again_once_they_are_merged(tmp_path, catalog):
    scene = Scenes(catalog=catalog, batch_size=1).generator().draw_batch(0, 1).blend_images
    trigger = tmp_path / "trigger"
    trigger.touch()

    def run(name, **options):
        methods = {"raises": Faulty("raises", [float(scene.sum())], trigger), "sep": "sep"}
        return small_run(tmp_path / name, catalog, methods, n_blends=2, batch_size=1, **options)

    missing = "raises is missing on 1 of 2 batches"
    with pytest.warns(IncompleteRunWarning, match=missing):
        run("1", shard="1/2")
    run("2", shard="2/2")
    merge_shards(tmp_path / "run", [tmp_path / "1", tmp_path / "2"])
    with pytest.warns(IncompleteRunWarning, match=missing):
        assert set(run("run").truth.query("method == 'raises'")["scene"]) == {1}
    trigger.unlink()
    assert set(run("run").truth.query("method == 'raises'")["scene"]) == {0, 1}


def test_a_shard_is_resumed_and_no_other_run(shards, catalog):
    assert small_run(shards[0], catalog, shard="2/2", **FEW).run["status"] == "shard"
    with pytest.raises(RunExistsError, match='shard: "2/2" there, "1/2" now'):
        small_run(shards[0], catalog, shard="1/2", **FEW)


def changed(folder, **entries):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | entries))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda one, other: shutil.rmtree(one), "holds no shard: give folders made with --shard"),
        (lambda one, other: changed(one, shard=None), "holds no shard"),
        (lambda one, other: changed(one, status="running"), "is not done .status 'running'"),
        (lambda one, other: changed(one, shard="1/2"), "each once: 2/2 missing"),
        (lambda one, other: changed(one, methods={}), "a shard of another run than"),
        (lambda one, other: shutil.rmtree(one / "batches/000001"), "Batch 1 .* is missing"),
        (
            lambda one, other: (one / "batches/000003/truth.parquet").unlink(),
            "Batch 3 of the shard in .* is damaged .it has lost truth.parquet",
        ),
    ],
)
def test_what_makes_no_run(harm, message, shards, tmp_path):
    copies = [shutil.copytree(shard, tmp_path / shard.name) for shard in shards]
    harm(*copies)
    with pytest.raises(InputError, match=message):
        merge_shards(tmp_path / "run", copies[::-1])
    assert not (tmp_path / "run").exists()


def test_folder_that_is_in_use_for_something_else(shards, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunExistsError, match="is not empty"):
        merge_shards(tmp_path, shards)


def test_command(tmp_path, capsys):
    few = ["-d", "sep", "-n", "3", "--batch-size", "1", "-q", "-j", "1", "--max-mag", "26"]
    parts = [str(tmp_path / str(part)) for part in (1, 2)]
    for part, folder in enumerate(parts, 1):
        assert main(["selection", *few, f"--shard={part}/2", "-o", folder]) == 0
    assert "Shard 2/2 is done" in capsys.readouterr().out
    merged, whole = tmp_path / "merged", tmp_path / "whole"
    assert main(["merge", str(merged), *parts]) == 0
    assert main(["selection", *few, "-o", str(whole)]) == 0
    name = "selection.parquet"
    assert (merged / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("command", "runs", "tables"),
    [
        # Two batches of each set; one under each condition, so that the second shard has none.
        (
            "compare --benchmark pairs groups -n 3",
            ["groups", "pairs"],
            ["benchmark.csv", "benchmark_by_neighbour_distance.csv", "benchmark_ceiling_share.csv"],
        ),
        (
            "uniformity -n 2 --conditions n_exposures=1 psf_fwhm_arcsec=0.2",
            ["n_exposures/1", "psf_fwhm_arcsec/0.2"],
            ["uniformity.csv", "uniformity.png"],
        ),
    ],
)
def test_command_that_makes_several_runs(tmp_path, monkeypatch, capsys, command, runs, tables):
    monkeypatch.setattr(uniformity, "CATALOG_GALAXIES", 2000)
    monkeypatch.setattr(benchmark, "BENCHMARK_GALAXIES", 2000)
    for name in ("pairs", "groups"):
        small = replace(benchmark.BENCHMARK_SETS[name], batch_size=2)
        monkeypatch.setitem(benchmark.BENCHMARK_SETS, name, small)
    few = [*command.split(), "-d", "sep", "-q", "-j", "1"]
    if few[0] == "compare":
        few.append("--no-report")
    parts, merged, whole = [tmp_path / "1", tmp_path / "2"], tmp_path / "run", tmp_path / "whole"
    for number, part in enumerate(parts, 1):
        assert main([*few, f"--shard={number}/2", "-o", str(part)]) == 0
        assert f"Shard {number}/2 is done: {part}." in capsys.readouterr().out
        assert not any((part / name).exists() for name in tables)
    # One that is in no other shard is not left out without a word.
    elsewhere = shutil.copytree(parts[0], tmp_path / "elsewhere")
    shutil.rmtree(elsewhere / runs[1])
    with pytest.raises(InputError, match=f"do not hold shards of the same runs: '{runs[1]}' is in"):
        merge_shards(merged, [parts[1], elsewhere])
    assert not merged.exists()

    assert main(["merge", str(merged), *map(str, parts[::-1])]) == 0
    assert main([*few, "-o", str(whole)]) == 0
    for name in tables:
        assert (merged / name).read_bytes() == (whole / name).read_bytes()
    for name in runs:
        assert contents(merged / name) == contents(whole / name)
    with pytest.raises(RunExistsError, match="is not empty"):
        merge_shards(merged, parts)
    # One that was stopped while it finished the second run goes on with that.
    shutil.rmtree(merged / runs[1])
    made = (merged / runs[0] / "run.json").stat().st_mtime_ns
    merge_shards(merged, parts)
    assert (merged / runs[0] / "run.json").stat().st_mtime_ns == made
    assert main([*few, "-o", str(merged)]) == 0
    assert contents(merged / runs[1]) == contents(whole / runs[1])
