import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import CatalogError, InputError, InputTypeError, RunExistsError

# Before Keras is loaded: the product runs on TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

keras = pytest.importorskip("keras")

from btk_punet.cli import main  # noqa: E402
from btk_punet.deblending.noise import noise_normalised  # noqa: E402
from btk_punet.evaluation.runs import benchmark  # noqa: E402
from btk_punet.evaluation.runs.benchmark import benchmark_set  # noqa: E402
from btk_punet.evaluation.runs.evaluate import evaluate  # noqa: E402
from btk_punet.evaluation.scoring.maps import MapScores  # noqa: E402
from btk_punet.evaluation.statistics.pixels import CLASS_NAMES  # noqa: E402
from btk_punet.model.proba_unet import ProbaUNet  # noqa: E402
from tests.evaluation.conftest import BACKGROUND, bright_scenes  # noqa: E402

FILES = [
    "classes.csv",
    "confusion_matrix.csv",
    "confusion_matrix.png",
    "evaluation.json",
    "reliability.csv",
    "reliability.png",
    "summary.csv",
]
FEW = {"n_blends": 3, "n_samples": 2, "progress": False}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return ProbaUNet(channels=(4, 6))


@pytest.fixture(scope="module")
def evaluation(model, tmp_path_factory):
    return evaluate(model, tmp_path_factory.mktemp("run") / "groups", **FEW)


def test_files(evaluation):
    assert sorted(path.name for path in evaluation.folder.iterdir()) == FILES
    for name, table in evaluation.tables.items():
        written = pd.read_csv(evaluation.folder / f"{name}.csv")
        pd.testing.assert_frame_equal(written, table, check_dtype=False, check_names=False)
    classes = evaluation.tables["classes"]
    assert list(classes["class"]) == list(CLASS_NAMES)
    assert classes["support"].sum() == 3 * 64**2
    reliability = evaluation.tables["reliability"]
    assert list(reliability["map"].unique()) == [*CLASS_NAMES, "centre"]
    assert len(reliability) == 40
    assert list(reliability.columns[1:5]) == ["lo", "hi", "n", "k"]


def test_run_file(evaluation):
    run = json.loads((evaluation.folder / "evaluation.json").read_text())
    assert run == evaluation.run
    assert run["scenes"] == "groups" and run["n_blends"] == 3 and run["n_samples"] == 2
    assert run["config"]["channels"] == [4, 6] and run["density_ratio"] is None
    assert run["versions"]["keras"] == keras.__version__
    figures = evaluation.scores.summary()
    assert run["summary"]["class_log_loss"] == pytest.approx(figures["class_log_loss"])
    assert run["summary"].keys() == figures.keys()


def test_no_nan_in_json(model, tmp_path):
    run = evaluate(model, tmp_path, "pairs", n_blends=1, n_samples=1, progress=False).run
    text = (tmp_path / "evaluation.json").read_text()
    assert run["summary"]["variance_ratio"] is None
    assert "NaN" not in text and "Infinity" not in text


def test_figures_are_those_of_the_samples_and_the_set(model, evaluation):
    batch = benchmark_set("groups").generator().draw_batch(0, 3)
    by_hand = MapScores()
    by_hand.add(batch, model.sample(noise_normalised(batch), 2, seed=0))
    assert evaluation.scores.summary() == pytest.approx(by_hand.summary(), rel=1e-4, nan_ok=True)


def test_a_network_that_is_told_densities_is_told_that_of_the_set(tmp_path):
    keras.utils.set_random_seed(1)
    network = ProbaUNet(channels=(4, 6), told_density=True)
    listening = [np.full(w.shape, 0.3) for w in network.conditioning.get_weights()]
    network.conditioning.set_weights(listening)
    told = evaluate(network, tmp_path, n_blends=1, n_samples=1, progress=False)
    generator = benchmark_set("groups").generator()
    ratio = generator.sampling_function.density_ratio
    assert told.run["density_ratio"] == ratio
    batch = generator.draw_batch(0, 1)
    losses = {}
    for given in (ratio, None):
        scores = MapScores()
        scores.add(batch, network.sample(noise_normalised(batch), 1, density_ratio=given))
        losses[given] = scores.summary()["class_log_loss"]
    got = told.scores.summary()["class_log_loss"]
    assert got == pytest.approx(losses[ratio], rel=1e-4) != pytest.approx(losses[None], rel=1e-2)


def test_batches_do_not_matter(model, evaluation, tmp_path, monkeypatch):
    in_twos = replace(benchmark_set("groups"), batch_size=2)
    monkeypatch.setitem(benchmark.BENCHMARK_SETS, "groups", in_twos)
    parts = evaluate(model, tmp_path, **FEW)
    assert parts.scores.n_scenes == 3
    expected = evaluation.scores.summary()
    assert parts.scores.summary() == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_prints_as_a_report(evaluation):
    text = str(evaluation)
    assert text.startswith("ProbaUNet on 3 scenes of 'groups', 2 sample(s) each")
    assert "Log loss" in text and "Variance of the class over samples" in text


def test_noise_normalised():
    batch = bright_scenes([[(20, 30)]])
    images = noise_normalised(batch)
    assert images.shape == (1, 64, 64, 1)
    np.testing.assert_allclose(
        images[..., 0], batch.blend_images[:, 0] / np.sqrt(BACKGROUND), rtol=1e-5
    )
    assert images[0, 30, 20, 0] > 0


def test_command_with_a_folder(model, evaluation, tmp_path, capsys):
    model.save(tmp_path / "model")
    options = ["--model", str(tmp_path / "model"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *options, "-n", "3", "--n-samples", "2", "-q"]) == 0
    printed = capsys.readouterr().out
    assert "F1" in printed and "IoU" in printed and str(tmp_path / "out") in printed
    run = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert run["weights"] == evaluation.run["weights"]
    assert run["summary"] == pytest.approx(evaluation.run["summary"], rel=1e-4)


def test_command_with_a_preset(model, evaluation, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("btk_punet.model.weights.PRESETS", tmp_path / "presets")
    model.save(tmp_path / "presets" / "euclid-vis")
    options = ["-o", str(tmp_path / "out"), "--scenes", "pairs", "-n", "1", "--n-samples", "1"]
    assert main(["evaluate", *options, "-q"]) == 0
    assert "'euclid-vis' on 1 scenes of 'pairs', 1 sample(s)" in capsys.readouterr().out
    run = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert run["weights"] == evaluation.run["weights"]


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["evaluate", "--model", "nosuch", "-o", str(tmp_path / "out"), "-q"]) == 2
    assert "or the name of a preset" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_evaluation_is_kept(model, tmp_path):
    (tmp_path / "classes.csv").write_text("mine")
    (tmp_path / "notes.txt").write_text("kept")
    with pytest.raises(RunExistsError, match=r"holds another evaluation \(classes.csv\)"):
        evaluate(model, tmp_path, **FEW)
    assert (tmp_path / "classes.csv").read_text() == "mine"
    evaluate(model, tmp_path, overwrite=True, **FEW)
    assert "precision" in (tmp_path / "classes.csv").read_text()
    assert (tmp_path / "notes.txt").read_text() == "kept"
    with pytest.raises(RunExistsError, match="is a file: give the path of a folder"):
        evaluate(model, tmp_path / "notes.txt", **FEW)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scenes": "nosuch"}, InputError, "Unknown benchmark set 'nosuch'"),
        ({"scenes": "real"}, CatalogError, "give cosmos_dir"),
        ({"n_blends": 0}, InputError, "n_blends must be a whole number of at least 1, got 0"),
        ({"n_samples": 1.5}, InputError, "n_samples must be a whole number"),
        ({"seed": -1}, InputError, "expected seed of at least 0, got -1"),
        ({"model": 3}, InputTypeError, "expected the weights as a ProbaUNet, a folder .* got int"),
    ],
)
def test_arguments_that_cannot_be_used(model, tmp_path, changes, error, message):
    arguments = {"model": model, "output": tmp_path / "out"} | FEW | changes
    with pytest.raises(error, match=message):
        evaluate(**arguments)
    assert not (tmp_path / "out").exists()


def test_folder_without_a_model(tmp_path):
    for folder in (tmp_path, str(tmp_path), "mistyped/model"):
        with pytest.raises(InputError, match=r"expected the weights as a folder with config.json"):
            evaluate(folder, tmp_path / "out", **FEW)


def test_real_galaxies(model, tmp_path, cosmos_dir):
    real = evaluate(model, tmp_path, "real", cosmos_dir=cosmos_dir, **FEW)
    assert list(real.tables["classes"]["support"] > 0)[:2] == [True, True]
