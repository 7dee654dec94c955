import json
import os

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("keras")

from btk_punet.cli import main  # noqa: E402
from btk_punet.deblending import evidence_network  # noqa: E402
from btk_punet.deblending.deblender import ProbaUNetDeblender  # noqa: E402
from btk_punet.deblending.evidence_network import EvidenceNetwork  # noqa: E402
from btk_punet.deblending.log_odds import LogitLine  # noqa: E402
from btk_punet.deblending.recipe import DetectionRecipe  # noqa: E402
from btk_punet.errors import InputError  # noqa: E402
from btk_punet.evaluation.runs import calibrate as module  # noqa: E402
from btk_punet.evaluation.runs.benchmark import BENCHMARK_SETS, CATALOG_SEED  # noqa: E402
from btk_punet.evaluation.runs.calibrate import fit_recipe  # noqa: E402
from btk_punet.simulation.sampling import EuclidGroupSampling  # noqa: E402
from btk_punet.training.bank import TRAINING_SEED  # noqa: E402
from btk_punet.training.config import TrainingConfig  # noqa: E402
from btk_punet.training.real_galaxies import part_of  # noqa: E402
from tests.deblending.conftest import network, told_network  # noqa: E402, F401
from tests.training.test_real_galaxies import write  # noqa: E402


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(evidence_network, "N_MEMBERS", 1)
    monkeypatch.setattr(evidence_network, "FIT_STEPS", 50)


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


@pytest.fixture
def described(tmp_path):
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
    [({"n_bands": 3}, "a network of 3 bands"), ({"survey": "LSST"}, "trained on blends of LSST")],
)
def test_networks_for_other_scenes_are_refused(described, choices, message):
    folder = described(**choices)
    with pytest.raises(InputError, match=message):
        fit_recipe(folder.parent, 40, progress=False)
    assert not list(folder.glob("detection*"))


def test_real_galaxies_are_for_networks_that_are_told(described):
    with pytest.raises(InputError, match="real_galaxies would be ignored"):
        fit_recipe(described(), 40, real_galaxies="real.npz", progress=False)


def test_seeds_are_its_own():
    others = {benchmark.seed for benchmark in BENCHMARK_SETS.values()}
    for conditions in (module._CONDITIONS, module._TOLD_CONDITIONS):
        own = {
            module.CALIBRATION_SEED + added + number
            for number in range(len(conditions))
            for added in (0, module.EVIDENCE_SEED, module.EVIDENCE_SEED + module.PART_SEED)
        }
        assert len(own) == 3 * len(conditions)
        assert not own & (others | {CATALOG_SEED, TRAINING_SEED})
        assert sum(condition.share for condition in conditions) == pytest.approx(1)


def test_bright_groups_hold_as_many_galaxies_of_each_magnitude():
    # Ten times as many faint galaxies as bright ones.
    table = Table({"IE_ab": np.r_[np.linspace(19.5, 22, 20), np.linspace(22.01, 24.49, 200)]})
    sampling = module._BrightGroups(seed=1)
    drawn = np.concatenate([sampling(table)["IE_ab"] for _ in range(500)])
    assert np.mean(drawn < 22) == pytest.approx(0.5, abs=0.05)
    assert sampling.density_ratio == EuclidGroupSampling().density_ratio


def test_a_fit_that_fails_leaves_the_calibration_that_is_there(folder, monkeypatch, capsys):
    before = DetectionRecipe(position_scale=7.0)
    before.save(folder)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_outcomes", stop)
    with pytest.raises(KeyboardInterrupt):
        fit_recipe(folder, 40, progress=False)
    assert DetectionRecipe.load(folder) == before
    assert main(["calibrate", "-m", str(folder), "-n", "40", "-q"]) == 130
    assert "nothing was written, and the same command begins anew" in capsys.readouterr().err


def outcomes_of(folder, n_scenes, n_samples, real_galaxies=None):
    """Return the candidates of the scenes of the evidence of a calibration, by condition."""
    drawn = module._scenes(
        module.conditions_of(folder),
        module.EVIDENCE_SCENES * n_scenes,
        module.CALIBRATION_SEED + module.EVIDENCE_SEED,
        real_galaxies,
        module.EVIDENCE_PARTS,
    )
    deblender = ProbaUNetDeblender(400, folder, n_samples)
    return [
        (method.density_ratio, module._outcomes(batch, method, kind)[0])
        for batch, method, kind in module._batches(drawn, deblender)
    ]


def test_fitted_recipe_is_written_and_right_on_its_own_scenes(folder):
    recipe = fit_recipe(folder, 60, n_samples=2, progress=False)
    assert DetectionRecipe.load(folder) == recipe
    assert ProbaUNetDeblender(400, folder).recipe == recipe
    assert recipe.pixel_scale_arcsec == 0.1 and recipe.psf_fwhm_arcsec == (0.14, 0.2)
    assert recipe.p_detect != LogitLine() and recipe.position_scale > 0
    assert recipe.evidence != EvidenceNetwork()
    # What was fitted last holds on the scenes that it was fitted to.
    found = pd.concat([candidates for _, candidates in outcomes_of(folder, 60, 2)])
    assert found["p_detect"].mean() == pytest.approx(found["outcome"].mean(), abs=0.01)


def test_evidence_is_that_of_each_candidate(folder):
    """Of every candidate down to 0.02, with whether it came true, as `batch_candidates` says."""
    first, *_ = module._scenes(module.conditions_of(folder), 40, 5, None)
    batch = next(first.generator)
    deblender = ProbaUNetDeblender(400, folder, 2)
    found = module._evidence(batch, deblender, 3)
    extra = deblender(batch).extra_data
    inside = 0
    for scene, own in found.groupby("scene"):
        evidence = extra[scene]["evidence"]
        rows = own["candidate"].to_numpy()
        for name in evidence.colnames:
            np.testing.assert_allclose(own[name].astype(float), evidence[name][rows], rtol=1e-4)
        p_detect = extra[scene]["candidates"]["p_detect"][rows]
        np.testing.assert_allclose(own["p_detect"], p_detect, rtol=1e-5)
        inside += len(own)
    assert inside == len(found) > 10
    assert found["in_bounds"].all() and (found["kind"] == 3).all()
    assert 0 < found["outcome"].mean() < 1


def test_a_network_that_is_told_densities(told_network, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "BATCH_SIZE", 4)
    monkeypatch.setattr(module, "FIELD_BATCH_SIZE", 1)
    monkeypatch.setattr(module, "CALIBRATION_GALAXIES", 300)
    told_network.save(tmp_path)
    image = np.zeros((41, 41))
    image[15:26, 5:36] = 1.0
    names = [str(i) for i in range(60)]
    real = write(tmp_path / "real.npz", [image] * 60, names, scale=0.06)
    recipe = fit_recipe(tmp_path, 40, n_samples=1, real_galaxies=real, progress=False)
    assert DetectionRecipe.load(tmp_path) == recipe
    # Each kind of scenes under its own density, and the sky's is 1.
    ratios = [ratio for ratio, _ in outcomes_of(tmp_path, 40, 1, real)]
    assert set(ratios) == {19.0, 6.3, 1.4, 1.0}
    kinds = module._scenes(
        module._TOLD_CONDITIONS, 40, module.CALIBRATION_SEED, real, left_out={0, 11}
    )
    assert [scenes.kind for scenes in kinds] == [*range(1, 11), *range(12, 16)]
    generators = [scenes.generator for scenes in kinds]
    drawn = {galaxy.object_name for one in generators for galaxy in getattr(one, "galaxies", [])}
    assert drawn == {f"toys/{name}" for name in names if part_of(f"toys/{name}") == "calibration"}


def test_evidence_is_of_galaxies_of_both_parts(tmp_path, monkeypatch):
    """Each in half of the scenes, of other seeds; of what is not real there is one kind."""
    monkeypatch.setattr(module, "CALIBRATION_GALAXIES", 300)
    image = np.zeros((41, 41))
    image[15:26, 5:36] = 1.0
    real = write(tmp_path / "real.npz", [image] * 30, [str(i) for i in range(30)], scale=0.06)
    conditions = module._TOLD_CONDITIONS
    drawn = module._scenes(conditions, 12_000, 1, real, module.EVIDENCE_PARTS)
    for kind, condition in enumerate(conditions):
        own = [scenes for scenes in drawn if scenes.kind == kind]
        n_batches = condition.share * 12_000 / module.BATCH_SIZE
        assert sum(scenes.n_batches for scenes in own) == pytest.approx(n_batches, abs=1)
        assert len({scenes.generator.seed for scenes in own}) == len(own)
        parts = [
            {part_of(galaxy.object_name) for galaxy in scenes.generator.galaxies}
            for scenes in own
            if condition.real
        ]
        assert parts == ([{"calibration"}, {"training"}] if condition.real else [])
        told = {scenes.generator.kind_of_galaxies for scenes in own}
        assert told == {"real" if condition.real else "smooth"}


def test_half_of_the_evidence_is_told_of_the_galaxies(monkeypatch):
    """Each candidate counts with what it was told of, and as much with nothing told."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({name: rng.uniform(0, 1, 60) for name in module._MEASURES})
    table = table.assign(kind=rng.integers(0, 3, 60), outcome=rng.uniform(size=60) < 0.5)
    table["real"] = np.where(table["kind"] == 2, 1.0, -1.0)
    given = []
    monkeypatch.setattr(module.EvidenceNetwork, "fit", lambda *some: given.extend(some))
    module._fit_evidence(table, module._TOLD_CONDITIONS)
    measures, outcome, weight = given
    np.testing.assert_array_equal(measures.real, [*table["real"], *np.zeros(60)])
    np.testing.assert_array_equal(measures.gain, np.tile(table["gain"], 2))
    np.testing.assert_array_equal(outcome, np.tile(table["outcome"], 2))
    np.testing.assert_array_equal(weight[:60], weight[60:])


def test_fitted_again_it_is_the_same(folder):
    first = fit_recipe(folder, 40, n_samples=1, progress=False)
    assert fit_recipe(folder, 40, n_samples=1, progress=False) == first


def test_command(folder, capsys):
    assert main(["calibrate", "-m", str(folder), "-n", "40", "--n-samples", "1", "-q"]) == 0
    assert "position_scale" in capsys.readouterr().out
    assert (folder / "detection.json").is_file()
