"""The command `btk-punet calibrate`: what it refuses, and that it writes a whole file or none."""

import json

import pytest

pytest.importorskip("keras")

from btk_punet.cli import main  # noqa: E402
from btk_punet.deblending.recipe import DetectionRecipe  # noqa: E402
from btk_punet.evaluation.runs import calibrate as fitting  # noqa: E402
from btk_punet.training.config import TrainingConfig  # noqa: E402


@pytest.fixture
def network(tmp_path):
    """A folder that looks like that of a network, in a run's folder."""

    def make(survey="euclid", **choices):
        folder = tmp_path / "run" / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"n_bands": 1} | choices))
        (folder / "model.weights.h5").write_bytes(b"weights")
        catalog = None if survey == "euclid" else "catalog.fits"
        config = TrainingConfig(survey=survey, catalog=catalog).to_dict()
        (tmp_path / "run" / "training.json").write_text(json.dumps({"config": config}))
        return folder

    return make


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"n_bands": 3}, "a network of 3 bands"),
        ({"survey": "LSST"}, "was trained on blends of LSST"),
        ({"told_density": True}, "is told how dense sources lie"),
    ],
)
def test_networks_for_other_scenes_are_refused(network, capsys, choices, message):
    folder = network(**choices)
    assert main(["calibrate", "-m", str(folder)]) == 2
    assert message in capsys.readouterr().err
    assert not list(folder.glob("detection*"))


def test_the_file_comes_with_the_fit(network, monkeypatch, capsys):
    folder = network()

    def fit(weights, n_scenes, *, galaxies, **_):
        assert (weights / "model.weights.h5").read_bytes() == b"weights"
        recipe = DetectionRecipe(position_scale=n_scenes)
        recipe.save(weights, galaxies)
        assert not (folder / "detection_structured.json").exists()
        return recipe

    monkeypatch.setattr(fitting, "fit_recipe", fit)
    arguments = ["calibrate", "-m", str(folder.parent), "-n", "40", "--galaxies", "structured"]
    assert main(arguments) == 0
    assert "Euclid's VIS band with structured galaxies" in capsys.readouterr().out
    assert DetectionRecipe.load(folder, "structured").position_scale == 40


def test_a_fit_that_fails_leaves_the_calibration_that_is_there(network, monkeypatch):
    folder = network()
    DetectionRecipe(position_scale=7.0).save(folder)

    def fit(weights, *_, **__):
        DetectionRecipe().save(weights)
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit_recipe", fit)
    assert main(["calibrate", "-m", str(folder)]) == 130
    assert DetectionRecipe.load(folder).position_scale == 7.0
