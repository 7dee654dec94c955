"""Whole runs, small: what they leave, going on after a kill, and what is refused before."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

keras = pytest.importorskip("keras")

from btk_punet.cli import main  # noqa: E402
from btk_punet.errors import (  # noqa: E402
    CatalogError,
    InputError,
    InputTypeError,
    RunExistsError,
    TrainingFailedError,
)
from btk_punet.model.proba_unet import ProbaUNet  # noqa: E402
from btk_punet.training import train as training  # noqa: E402
from btk_punet.training.config import TrainingConfig  # noqa: E402
from btk_punet.training.run_folder import TrainingRun  # noqa: E402
from btk_punet.training.train import train  # noqa: E402

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny, gaussians):
    """Folder of a run that nothing stopped, and the network that it gave."""
    folder = tmp_path_factory.mktemp("done") / "run"
    return folder, train(folder, tiny, bank=gaussians, progress=False)


@pytest.fixture
def scenes(tiny, gaussians):
    composer, _ = training._stamp_composers(tiny, gaussians)
    return composer.batch(1000, 4)


class TestAWholeRun:
    def test_log(self, done, tiny):
        log = pd.read_csv(done[0] / "log.csv")
        assert log["step"].tolist() == [10, 20, 30, 40]
        assert log["stamps"].tolist() == [40, 80, 120, 160]
        assert log["learning_rate"].iloc[-1] == pytest.approx(tiny.final_learning_rate, rel=1e-4)
        assert set(log["kl_state"]) <= {"fine", "collapsed"}
        numbers = log.drop(columns="kl_state").to_numpy()
        assert np.isfinite(numbers).all() and (numbers > 0).all()

    def test_the_loss_falls(self, done):
        log = pd.read_csv(done[0] / "log.csv")
        for name in ("loss", "class", "val_loss", "val_class"):
            assert log[name].iloc[-1] < 0.9 * log[name].iloc[0], name

    def test_training_json(self, done, tiny):
        held = json.loads((done[0] / "training.json").read_text())
        assert (held["status"], held["ended"]) == ("finished", "all steps done")
        assert (held["step"], held["stamps"]) == (40, 160)
        assert held["precision_used"] == "float32"
        assert set(held["versions"]) == {
            "python", "btk_punet", "numpy", "keras", keras.backend.backend()
        }  # fmt: skip
        assert TrainingConfig.from_file(done[0] / "training.json") == tiny

    def test_files(self, done):
        assert sorted(path.name for path in done[0].iterdir()) == [
            ".lock", "checkpoint.npz", "log.csv", "losses.png", "model", "predictions.png",
            "training.json",
        ]  # fmt: skip
        for name in ("losses.png", "predictions.png"):
            assert (done[0] / name).read_bytes().startswith(PNG)

    def test_weights_are_the_average(self, done, scenes):
        with np.load(done[0] / "checkpoint.npz") as checkpoint:
            for i, weight in enumerate(done[1].get_weights()):
                np.testing.assert_array_equal(weight, checkpoint[f"average/{i}"])
        loaded = ProbaUNet.load(done[0] / "model")
        assert loaded.channels == (4, 6)
        expected = done[1].sample(scenes["image"], 2, mask=scenes["mask"])
        found = loaded.sample(scenes["image"], 2, mask=scenes["mask"])
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-6)

    def test_a_finished_run_is_only_loaded(self, done, tiny, gaussians, monkeypatch):
        def refuse(*_):
            raise AssertionError("nothing is to be composed")

        monkeypatch.setattr(training, "_stamp_composers", refuse)
        before = {p: p.stat().st_mtime_ns for p in done[0].rglob("*")}
        again = train(done[0], tiny)
        for weight, same in zip(done[1].get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, same)
        assert {p: p.stat().st_mtime_ns for p in done[0].rglob("*")} == before

    def test_another_run_is_refused(self, done, tiny):
        with pytest.raises(RunExistsError, match="seed: 5 there, 6 now"):
            train(done[0], tiny.changed(seed=6))


class TestKilled:
    def test_the_same_command_goes_on_where_a_killed_one_was(
        self, tmp_path, done, tiny, gaussians, capsys, no_plots
    ):
        folder, choices = tmp_path / "run", tmp_path / "tiny.json"
        choices.write_text(json.dumps(tiny.to_dict()))
        # As a command leaves the folder that is stopped as soon as it has drawn its galaxies.
        TrainingRun(folder, tiny).begin()
        gaussians.save(folder / "bank.npz")
        arguments = ["train", "-o", str(folder), "--config", str(choices), "-j", "1"]
        printed = kill_after_first_checkpoint(arguments, folder / "checkpoint.npz")
        for shown in ("stamp", "loss=", "kl=", "lr="):
            assert shown in printed

        with np.load(folder / "checkpoint.npz") as checkpoint:
            step = int(checkpoint["step"])
        assert 0 < step < tiny.n_steps
        assert json.loads((folder / "training.json").read_text())["status"] == "running"
        # What a kill at the worst moments leaves besides.
        (folder / ".checkpoint.npz.1.part").write_bytes(b"PK\x03\x04 half of it")
        with open(folder / "log.csv", "a") as file:
            file.write(file_row(folder / "log.csv", step + 10))

        assert main([*arguments, "--quiet"]) == 0
        assert str(folder / "model") in capsys.readouterr().out
        log, expected = (pd.read_csv(run / "log.csv") for run in (folder, done[0]))
        assert log["step"].tolist() == [10, 20, 30, 40]
        columns = [name for name in expected if name not in ("kl_state", "stamps_per_second")]
        np.testing.assert_allclose(log[columns], expected[columns], rtol=1e-4)
        with (
            np.load(folder / "checkpoint.npz") as found,
            np.load(done[0] / "checkpoint.npz") as wanted,
        ):
            assert set(found) == set(wanted)
            for name in wanted:
                np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=1e-5)
        weights = ProbaUNet.load(folder / "model").get_weights()
        for found, wanted in zip(weights, done[1].get_weights(), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
        assert not (folder / "bank.npz").exists()

    def test_killed_between_the_last_checkpoint_and_the_weights(
        self, tmp_path, done, tiny, gaussians, no_plots
    ):
        for name in ("checkpoint.npz", "log.csv"):
            (tmp_path / name).write_bytes((done[0] / name).read_bytes())
        held = json.loads((done[0] / "training.json").read_text())
        (tmp_path / "training.json").write_text(json.dumps(held | {"status": "running"}))
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.weights.h5").write_bytes(b"half")
        network = train(tmp_path, tiny, bank=gaussians, progress=False)
        for found, wanted in zip(network.get_weights(), done[1].get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert (tmp_path / "log.csv").read_bytes() == (done[0] / "log.csv").read_bytes()
        ProbaUNet.load(tmp_path / "model")


def file_row(path, step):
    """Return the last row of a log, as if of another step."""
    return f"{step}," + path.read_text().splitlines()[-1].split(",", 1)[1] + "\n"


def kill_after_first_checkpoint(arguments, checkpoint):
    """Run the command until the file is there, kill it, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "Agg"}
    command = subprocess.Popen(
        [sys.executable, "-m", "btk_punet.cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not checkpoint.is_file() and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    command.send_signal(signal.SIGKILL)
    printed, _ = command.communicate()
    assert command.returncode == -signal.SIGKILL, printed
    return printed


class TestWhatEndsARun:
    def test_early_stop(self, tmp_path, tiny, gaussians, no_plots):
        # Steps too small to change a loss: the second report is no better than the first.
        config = tiny.changed(
            learning_rate=1e-12, final_learning_rate=0, patience=1, report_stamps=8
        )
        train(tmp_path, config, bank=gaussians, progress=False)
        held = json.loads((tmp_path / "training.json").read_text())
        assert held["ended"] == "the loss on held-out stamps has not fallen for 1 reports"
        assert held["step"] == 4
        assert (tmp_path / "model").is_dir()

    def test_a_learning_rate_far_too_large(self, tmp_path, tiny, gaussians, no_plots):
        config = tiny.changed(learning_rate=1e30, warmup_steps=0, report_stamps=8)
        with pytest.raises(TrainingFailedError, match=r"lower the learning rate \(now 1e\+30\)"):
            train(tmp_path, config, bank=gaussians, progress=False)
        assert not (tmp_path / "model").exists()
        assert keras.config.dtype_policy().name == "float32"
        checkpoint = TrainingRun(tmp_path, config).checkpoint or {}
        assert all(np.isfinite(array).all() for array in checkpoint.values())


class TestPrecision:
    def test_bfloat16(self, tmp_path, tiny, gaussians, no_plots, scenes):
        config = tiny.changed(precision="bfloat16", n_stamps=40, report_stamps=20)
        network = train(tmp_path, config, bank=gaussians, progress=False)
        assert keras.config.dtype_policy().name == "float32"
        log = pd.read_csv(tmp_path / "log.csv")
        assert np.isfinite(log[["loss", "val_loss"]].to_numpy()).all()
        assert json.loads((tmp_path / "training.json").read_text())["precision_used"] == (
            "mixed_bfloat16"
        )
        with np.load(tmp_path / "checkpoint.npz") as checkpoint:
            kinds = {checkpoint[name].dtype.kind for name in checkpoint if "step" not in name}
            assert kinds <= {"f", "i"}
            assert checkpoint["weights/0"].dtype == np.float32
        assert {weight.dtype for weight in network.get_weights()} == {np.dtype("float32")}
        assert network.sample(scenes["image"], 1)["class"].dtype == np.float32

    def test_the_policy_comes_back_after_an_error(self):
        before = keras.config.dtype_policy()
        with pytest.raises(ZeroDivisionError), training._precision("mixed_bfloat16"):
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
            raise ZeroDivisionError
        assert keras.config.dtype_policy() is before

    def test_named_precisions(self):
        assert training._in_bfloat16("bfloat16")
        assert not training._in_bfloat16("float32")
        assert training._in_bfloat16("auto") in (True, False)


class TestRefusedBeforeTheFolderIsTaken:
    @pytest.mark.parametrize("config", [3, {"seed": 3}, TrainingConfig])
    def test_what_is_no_configuration(self, tmp_path, config):
        with pytest.raises(InputTypeError, match="TrainingConfig or the name of a preset"):
            train(tmp_path / "run", config)
        assert not (tmp_path / "run").exists()

    def test_unknown_preset(self, tmp_path):
        with pytest.raises(InputError, match="name of a preset"):
            train(tmp_path / "run", "euclid-nisp")

    @pytest.mark.parametrize(
        ("model", "match"),
        [
            ({"chanels": [4]}, r"arguments of ProbaUNet, got {'chanels': \[4\]}.*chanels"),
            ({"channels": []}, "arguments of ProbaUNet, got .*channels"),
            ({"channels": 4}, "arguments of ProbaUNet"),
            ({"latent": "none"}, "arguments of ProbaUNet, .*latent"),
            ({"n_bands": 3}, "the stamps have 1 bands: leave n_bands out"),
        ],
    )
    def test_wrong_model(self, tmp_path, tiny, model, match):
        with pytest.raises(InputError, match=match):
            train(tmp_path / "run", tiny.changed(model=model))
        assert not (tmp_path / "run").exists()

    def test_a_wrong_choice_keeps_the_run_that_was_to_be_overwritten(self, tmp_path, tiny):
        TrainingRun(tmp_path, tiny).begin()
        before = (tmp_path / "training.json").read_bytes()
        with pytest.raises(InputError, match="Unknown survey 'LSTS'"):
            wrong = tiny.changed(survey="LSTS", catalog="none.fits")
            train(tmp_path, wrong, overwrite=True)
        assert (tmp_path / "training.json").read_bytes() == before


class TestInitialWeights:
    def test_of_a_network_that_lacks_some_parts(
        self, done, tmp_path, tiny, gaussians, no_plots, scenes, capsys
    ):
        folder, first = done
        more = {**tiny.model, "context_dilations": [2], "told_density": True}
        still = tiny.changed(
            initial_weights=str(folder), model=more, learning_rate=1e-12, final_learning_rate=0.0
        )
        second = train(tmp_path / "run", still, bank=gaussians, progress=False)
        assert (
            "new, and without effect at first: context (context_dilations), conditioning "
            "(told_density)" in capsys.readouterr().out
        )
        expected = first.sample(scenes["image"], 2, mask=scenes["mask"])
        for ratio in (None, 5.0):
            found = second.sample(scenes["image"], 2, 0, scenes["mask"], ratio)
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
        # What is there already cannot be left out.
        config = tiny.changed(initial_weights=str(tmp_path / "run"))
        with pytest.raises(InputError, match=r"context_dilations: \(2,\) there, \(\) here|"
                           r"context_dilations: \[2\] there, \[\] here"):  # fmt: skip
            train(tmp_path / "less", config)

    def test_further_dilated_convolutions_follow_those_that_are_there(
        self, tmp_path, tiny, gaussians, no_plots, capsys
    ):
        some = {**tiny.model, "context_dilations": [1]}
        first = train(tmp_path / "first", tiny.changed(model=some), bank=gaussians, progress=False)
        capsys.readouterr()
        more = tiny.changed(
            model={**some, "context_dilations": [1, 2, 1]},
            initial_weights=str(tmp_path / "first"),
            learning_rate=1e-12,
            final_learning_rate=0.0,
        )
        second = train(tmp_path / "second", more, bank=gaussians, progress=False)
        assert "at first: context (context_dilations)." in capsys.readouterr().out
        image = np.random.default_rng(0).normal(size=(2, 32, 32, 1))
        expected = first.sample(image, 2)
        for name, found in second.sample(image, 2).items():
            np.testing.assert_allclose(found, expected[name], atol=1e-5)
        # Another first one is another network.
        with pytest.raises(InputError, match="context_dilations: "):
            train(tmp_path / "third", more.changed(model={**some, "context_dilations": [2, 1]}))

    def test_training_starts_with_them(self, done, tmp_path, tiny, gaussians, no_plots):
        folder, first = done
        # A learning rate that moves nothing: what comes out is what went in.
        still = tiny.changed(
            initial_weights=str(folder), learning_rate=1e-12, final_learning_rate=0.0
        )
        second = train(tmp_path / "run", still, bank=gaussians, progress=False)
        for ours, theirs in zip(second.get_weights(), first.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)

    def test_not_needed_to_go_on(self, done, tmp_path, tiny, gaussians, no_plots, monkeypatch):
        start = tmp_path / "start"
        done[1].save(start)
        config = tiny.changed(initial_weights=str(start))
        # Stopped after its first checkpoint, and the weights it began with are gone.
        report = TrainingRun.report

        def report_and_stop(run, row, state):
            report(run, row, state)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(TrainingRun, "report", report_and_stop)
            train(tmp_path / "run", config, bank=gaussians, progress=False)
        for path in start.iterdir():
            path.unlink()
        train(tmp_path / "run", config, bank=gaussians, progress=False)
        assert len(TrainingRun(tmp_path / "run", config).log) > 1

    def test_of_a_network_built_otherwise(self, done, tmp_path, tiny):
        other = {**tiny.model, "latent_channels": 3}
        config = tiny.changed(initial_weights=str(done[0]), model=other)
        with pytest.raises(InputError, match="latent_channels: .* there, 3 here.*change model"):
            train(tmp_path / "run", config)
        assert not (tmp_path / "run").exists()

    def test_that_are_nowhere(self, tmp_path, tiny):
        with pytest.raises(InputError, match="name of a preset"):
            train(tmp_path / "run", tiny.changed(initial_weights="none"))
        assert not (tmp_path / "run").exists()


class TestRealGalaxies:
    def test_their_file_may_lie_elsewhere(self, tmp_path, tiny):
        here = tiny.changed(real_galaxies="here/real.npz")
        TrainingRun(tmp_path, here).begin()
        TrainingRun(tmp_path, tiny.changed(real_galaxies="/there/real.npz"))
        with pytest.raises(RunExistsError, match='real_galaxies: "here/real.npz" there, null now'):
            TrainingRun(tmp_path, tiny)

    def test_a_run_from_before_there_were_any(self, tmp_path, tiny):
        TrainingRun(tmp_path, tiny).begin()
        held = json.loads((tmp_path / "training.json").read_text())
        del held["config"]["real_galaxies"]
        (tmp_path / "training.json").write_text(json.dumps(held))
        TrainingRun(tmp_path, tiny)


class TestSoFar:
    def test_is_the_average_of_the_checkpoint(self, done):
        network = training.network_so_far(done[0])
        for found, wanted in zip(network.get_weights(), done[1].get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)

    def test_without_a_checkpoint(self, tmp_path, tiny):
        TrainingRun(tmp_path, tiny).begin()
        with pytest.raises(InputError, match="without a checkpoint yet"):
            training.network_so_far(tmp_path)


class TestTheBank:
    def test_validation_has_galaxies_of_its_own(self, tiny, gaussians):
        composer, held_out = training._stamp_composers(tiny, gaussians)
        ours, theirs = (set(c.bank.catalog["galaxy"].tolist()) for c in (composer, held_out))
        assert not ours & theirs
        assert ours | theirs == set(range(60))
        assert composer.seed != held_out.seed

    def test_drawn_once_and_kept_until_the_end(self, tmp_path, tiny, monkeypatch):
        galsim = pytest.importorskip("galsim")
        psfs = [galsim.Gaussian(fwhm=0.16), galsim.Gaussian(fwhm=0.2)]
        monkeypatch.setattr("btk_punet.training.psfs.training_psfs", lambda **_: psfs)
        run = TrainingRun(tmp_path, tiny)
        drawn = training._bank(None, tiny, run, 1, False)
        assert len(drawn) == tiny.n_galaxies
        monkeypatch.setattr("btk_punet.training.drawing.draw_bank", None)
        again = training._bank(None, tiny, run, 1, False)
        np.testing.assert_array_equal(again.pixels, drawn.pixels)

    def test_given(self, tmp_path, tiny, gaussians):
        run = TrainingRun(tmp_path / "run", tiny)
        assert training._bank(gaussians, tiny, run, 1, False) is gaussians
        gaussians.save(tmp_path / "bank.npz")
        loaded = training._bank(str(tmp_path / "bank.npz"), tiny, run, 1, False)
        np.testing.assert_array_equal(loaded.catalog, gaussians.catalog)
        with pytest.raises(CatalogError, match="none.npz' does not exist"):
            training._bank(tmp_path / "none.npz", tiny, run, 1, False)
        assert not (tmp_path / "run").exists()


def test_the_modules_of_training_need_neither_btk_nor_tensorflow():
    code = (
        "import sys, btk_punet.training.train; "
        "print([m for m in ('galsim', 'btk', 'astropy', 'tensorflow', 'keras', 'matplotlib') "
        "if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_on_jax(tmp_path, tiny, gaussians):
    pytest.importorskip("jax")
    gaussians.save(tmp_path / "bank.npz")
    choices = json.dumps(tiny.changed(n_stamps=40, report_stamps=20).to_dict())
    code = (
        "import json, sys; from btk_punet.training.config import TrainingConfig; "
        "from btk_punet.training.train import train; "
        f"train({str(tmp_path / 'run')!r}, TrainingConfig.from_dict(json.loads({choices!r})), "
        f"bank={str(tmp_path / 'bank.npz')!r}, progress=False); "
        "print([m for m in ('galsim', 'btk') if m in sys.modules])"
    )
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": "jax"
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "[]", result.stderr
    network = ProbaUNet.load(tmp_path / "run" / "model")
    assert np.isfinite(network.sample(np.zeros((1, 16, 16, 1)))["class"]).all()
