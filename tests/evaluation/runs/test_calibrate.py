import os

import pandas as pd
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("keras")

from btk_punet.cli import main  # noqa: E402
from btk_punet.deblending.deblender import ProbaUNetDeblender  # noqa: E402
from btk_punet.deblending.recipe import DetectionRecipe, LogitLine  # noqa: E402
from btk_punet.errors import InputError  # noqa: E402
from btk_punet.evaluation.runs import calibrate as module  # noqa: E402
from btk_punet.evaluation.runs.benchmark import BENCHMARK_SETS, CATALOG_SEED  # noqa: E402
from btk_punet.evaluation.runs.calibrate import fit_recipe  # noqa: E402
from btk_punet.training.bank import TRAINING_SEED  # noqa: E402
from tests.deblending.conftest import network  # noqa: E402, F401


@pytest.fixture
def folder(network, tmp_path, monkeypatch):  # noqa: F811
    # Few scenes of few galaxies.
    monkeypatch.setattr(module, "BATCH_SIZE", 10)
    monkeypatch.setattr(module, "CALIBRATION_GALAXIES", 300)
    network.save(tmp_path / "model")
    return tmp_path / "model"


def test_too_few_scenes(tmp_path):
    with pytest.raises(InputError, match="n_scenes of at least 20, got 3"):
        fit_recipe(tmp_path, 3)


def test_no_network_there(tmp_path):
    with pytest.raises(InputError, match="without config.json"):
        fit_recipe(tmp_path, 40, progress=False)
    assert not list(tmp_path.iterdir())


def test_seeds_are_its_own():
    others = {benchmark.seed for benchmark in BENCHMARK_SETS.values()}
    own = {module.CALIBRATION_SEED + number for number in range(len(module._CONDITIONS))}
    assert not own & (others | {CATALOG_SEED, TRAINING_SEED})
    assert sum(share for _, share, *_ in module._CONDITIONS) == pytest.approx(1)


def test_fitted_recipe_is_written_and_right_on_its_own_scenes(folder):
    recipe = fit_recipe(folder, 60, n_samples=2, progress=False)
    assert DetectionRecipe.load(folder) == recipe
    assert recipe.pixel_scale_arcsec == 0.1 and recipe.psf_fwhm_arcsec == (0.14, 0.2)
    assert recipe.p_detect != LogitLine() and recipe.position_scale > 0
    # What was fitted holds on the scenes that it was fitted to, but for those that calibration
    # lifts above the least probability of a candidate.
    deblender = ProbaUNetDeblender(400, folder, n_samples=2)
    parts = [
        module._outcomes(batch, deblender)[0]
        for batch in module._batches(60, module.CALIBRATION_SEED, "smooth")
    ]
    found = pd.concat(parts)
    assert found["p_detect"].mean() == pytest.approx(found["outcome"].mean(), abs=0.03)


def test_fitted_again_it_is_the_same(folder):
    first = fit_recipe(folder, 40, n_samples=1, progress=False)
    assert fit_recipe(folder, 40, n_samples=1, progress=False) == first


def test_structured_galaxies_have_a_recipe_of_their_own(folder):
    smooth = fit_recipe(folder, 40, n_samples=1, progress=False)
    structured = fit_recipe(folder, 40, n_samples=1, galaxies="structured", progress=False)
    assert structured != smooth
    assert DetectionRecipe.load(folder) == smooth
    assert DetectionRecipe.load(folder, "structured") == structured
    assert ProbaUNetDeblender(400, folder, galaxies="structured").recipe == structured
    with pytest.raises(InputError, match="galaxies must be one of"):
        ProbaUNetDeblender(400, folder, galaxies="real")
    with pytest.raises(InputError, match="galaxies must be one of"):
        fit_recipe(folder, 40, galaxies="real", progress=False)


def test_command(folder, capsys):
    assert main(["calibrate", "-m", str(folder), "-n", "40", "--n-samples", "1", "-q"]) == 0
    assert "position_scale" in capsys.readouterr().out
    assert (folder / "detection.json").is_file()
    command = ["calibrate", "-m", str(folder), "-n", "40", "--n-samples", "1", "-q"]
    assert main([*command, "--galaxies", "structured"]) == 0
    assert (folder / "detection_structured.json").is_file()
