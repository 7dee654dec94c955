"""The command `btk-punet calibrate`: what it hands on, and what it says."""

import pytest

pytest.importorskip("keras")

from btk_punet.cli import main  # noqa: E402
from btk_punet.deblending.recipe import DetectionRecipe  # noqa: E402
from btk_punet.evaluation.runs import calibrate as fitting  # noqa: E402


def test_no_network_there(tmp_path, capsys):
    assert main(["calibrate", "-m", str(tmp_path)]) == 2
    assert "without config.json" in capsys.readouterr().err


def test_options_reach_the_fit(monkeypatch, capsys):
    got = {}

    def fit(weights, n_scenes, **options):
        got.update(options, weights=weights, n_scenes=n_scenes)
        return DetectionRecipe(position_scale=7.5)

    monkeypatch.setattr(fitting, "fit_recipe", fit)
    command = ["calibrate", "-m", "mine", "-n", "40", "-q"]
    assert main([*command, "--real-galaxies", "real.npz", "--n-samples", "2"]) == 0
    assert {name: str(value) for name, value in got.items()} == {
        "weights": "mine",
        "n_scenes": "40",
        "real_galaxies": "real.npz",
        "n_samples": "2",
        "progress": "False",
    }
    out = capsys.readouterr().out
    assert "Scenes of Euclid's VIS band." in out and "position_scale=7.5" in out
