"""The command `btk-punet train`: its options, and its errors in one line."""

import json

import pytest

from btk_punet.cli import main
from btk_punet.training import train as training
from btk_punet.training.config import TrainingConfig


@pytest.fixture
def call(monkeypatch):
    """What the command would train, without training it."""
    calls = []
    monkeypatch.setattr(training, "train", lambda *args, **options: calls.append((args, options)))
    return calls


def test_help_tells_the_defaults(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    for option in ("--preset", "--config", "--survey", "--catalog", "--overwrite", "euclid-vis"):
        assert option in printed


def test_without_options_the_preset_is_trained(call, capsys):
    assert main(["train"]) == 0
    ((folder, config), options) = call[0]
    assert str(folder) == "training"
    assert config == TrainingConfig.from_preset("euclid-vis")
    assert not options["overwrite"] and options["progress"] and options["njobs"] >= 1
    assert capsys.readouterr().out == "Weights: training/model\n"


def test_options_change_the_choices(call, tmp_path):
    arguments = ["train", "-o", str(tmp_path), "-n", "1000", "--batch-size", "8"]
    arguments += ["--stamp-size", "32", "--learning-rate", "1e-3", "--n-galaxies", "500"]
    arguments += ["--precision", "float32", "--seed", "3", "-j", "1", "-q", "--overwrite"]
    arguments += ["--batch-parts", "2", "--distribute", "machines"]
    assert main(arguments) == 0
    ((folder, config), options) = call[0]
    assert folder == tmp_path
    assert config == TrainingConfig.from_preset("euclid-vis").changed(
        n_stamps=1000,
        batch_size=8,
        batch_parts=2,
        stamp_size=32,
        learning_rate=1e-3,
        n_galaxies=500,
        precision="float32",
        seed=3,
    )
    assert options == {
        "njobs": 1, "overwrite": True, "progress": False, "distribute": "machines"
    }  # fmt: skip


def test_a_network_of_another_survey_is_told_no_density(call):
    """Blends that BTK draws do not say how dense their sources lie."""
    assert TrainingConfig.from_preset("euclid-vis").model["told_density"]
    assert main(["train", "--survey", "LSST", "--catalog", "galaxies.fits"]) == 0
    model = call[0][0][1].model
    assert "told_density" not in model and list(model["channels"]) == [16, 32, 64, 96]


def test_a_file_of_choices_and_a_seed_of_zero(call, tmp_path):
    (tmp_path / "choices.json").write_text(json.dumps({"model": {"channels": [4]}, "seed": 7}))
    assert main(["train", "--config", str(tmp_path / "choices.json"), "--seed", "0"]) == 0
    assert call[0][0][1] == TrainingConfig(model={"channels": [4]}, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "none"], "expected the name of a preset ("),
        (["--config", "none.json"], "there is no training configuration 'none.json'"),
        (["-n", "0"], "expected n_stamps of at least 1, got 0"),
        (["--seed", "-1"], "expected seed of 0 or more, got -1"),
        (["--learning-rate", "nan"], "expected learning_rate of 0 or more, got nan"),
        (["--survey", "LSST"], "the survey 'LSST' needs a catalog of galaxies to draw"),
        (["--catalog", "x.fits"], "Euclid's stamps are composed from simulated galaxies"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_folder(tmp_path, capsys, arguments, message):
    folder = tmp_path / "run"
    assert main(["train", "-o", str(folder), *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("btk-punet: ") and printed.count("\n") == 1
    assert message in printed
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--survey", "LSTS", "--catalog", "x.fits"], "Unknown survey 'LSTS'"),
        (["--survey", "LSST", "--catalog", "x.fits"], "'x.fits' does not exist"),
    ],
)
def test_a_survey_or_catalog_that_is_not_there(tmp_path, capsys, arguments, message):
    pytest.importorskip("keras")
    assert main(["train", "-o", str(tmp_path / "run"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_another_run_in_the_folder(tmp_path, capsys):
    from btk_punet.training.run_folder import TrainingRun

    TrainingRun(tmp_path, TrainingConfig(seed=1)).begin()
    (tmp_path / "choices.json").write_text("{}")
    arguments = ["train", "-o", str(tmp_path), "--config", str(tmp_path / "choices.json")]
    assert main([*arguments, "--seed", "2"]) == 2
    assert "(seed: 1 there, 2 now). Choose another output folder" in capsys.readouterr().err


def test_a_wrong_precision(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--precision", "float16"])
    assert "invalid choice: 'float16'" in capsys.readouterr().err


def test_stopped_by_the_user(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", stop)
    assert main(["train"]) == 130
    assert "the same command resumes from here" in capsys.readouterr().err
