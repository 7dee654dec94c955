"""Schedules and averages against closed forms, batches made ahead, and what ends a run."""

import threading
import time

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from btk_punet.errors import TrainingFailedError  # noqa: E402
from btk_punet.model.proba_unet import ProbaUNet  # noqa: E402
from btk_punet.training.dataset import StampComposer  # noqa: E402
from btk_punet.training.run_folder import TrainingRun  # noqa: E402
from btk_punet.training.trainer import (  # noqa: E402
    BATCHES_AHEAD,
    VALIDATION_SAMPLES,
    Trainer,
    _ahead,
)


@pytest.fixture(scope="module")
def composers(gaussians):
    held_out, rest = gaussians.split(5)
    return StampComposer(rest, 16, seed=1), StampComposer(held_out, 16, seed=2)


@pytest.fixture(scope="module")
def make(tiny, composers):
    def make_trainer(**changes):
        keras.utils.set_random_seed(1)
        config = tiny.changed(**changes)
        return Trainer(config, ProbaUNet(**config.model), *composers)

    return make_trainer


@pytest.fixture(scope="module")
def trainer(make):
    return make()


def copies(state):
    return {name: np.array(array) for name, array in state.items()}


def assert_equal_states(one, two):
    assert set(one) == set(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@pytest.mark.parametrize("warmup", [0, 5, 39])
def test_learning_rate_is_the_closed_form(make, warmup):
    trainer = make(warmup_steps=warmup, final_learning_rate=1e-4)
    n_steps = trainer.config.n_steps
    assert n_steps == 40
    for step in (0, 1, 4, 5, 20, 39, 40):
        trainer.optimizer.iterations.assign(step)
        if step < warmup:
            expected = 0.01 * step / warmup
        else:
            along = (step - warmup) / (n_steps - warmup)
            expected = 1e-4 + (0.01 - 1e-4) * 0.5 * (1 + np.cos(np.pi * along))
        assert trainer.learning_rate == pytest.approx(expected, rel=1e-4, abs=1e-9), step


def test_more_warmup_than_steps(make):
    trainer = make(warmup_steps=400)
    trainer.optimizer.iterations.assign(40)
    assert trainer.learning_rate == pytest.approx(0.001, rel=1e-4)


def test_share_of_the_prior_comes_after_so_many_stamps(make):
    shares = {"centre_prior_share": 0.8, "class_prior_share": 0.4}
    trainer = make(**shares, prior_from=20)  # of 4 a step
    for step, late in ((0, 0), (4, 0), (5, 1), (9, 1)):
        batch = trainer._batch(step)
        for name, share in shares.items():
            np.testing.assert_array_equal(batch[name], np.full(4, late * share, "f4"))
        assert not np.array_equal(batch["prior_noise"], batch["noise"])


def test_beta_rises_to_its_value_and_stays(make):
    trainer = make(beta=0.5, beta_warmup_steps=20)
    betas = [trainer._batch(step)["beta"] for step in (0, 5, 20, 39)]
    np.testing.assert_allclose(betas, np.repeat([[0], [0.125], [0.5], [0.5]], 4, axis=1))
    assert (make(beta_warmup_steps=0)._batch(0)["beta"] == 0).all()
    assert (make(beta_warmup_steps=0)._batch(1)["beta"] == 1).all()


def test_average_by_hand(make):
    trainer = make(average_steps=20)
    mean = None
    # Window of the average: half the steps so far, 5 to 20; each update weighs 5 in so many.
    for step, share in ((5, 1.0), (10, 1.0), (20, 0.5), (40, 0.25), (45, 0.25)):
        trainer.step = step
        trainer.network.set_weights(
            [np.full_like(weight, step) for weight in trainer.network.get_weights()]
        )
        trainer._update_average()
        mean = step if mean is None else mean + share * (step - mean)
        for array in trainer.average:
            np.testing.assert_allclose(array, mean, rtol=1e-6)
    averaged = trainer.averaged_network()
    assert averaged is not trainer.network
    for weight, now in zip(averaged.get_weights(), trainer.network.get_weights(), strict=True):
        np.testing.assert_allclose(weight, mean, rtol=1e-6)
        assert (now == 45).all()


def test_batches_depend_on_seed_and_step_alone(make, trainer):
    third = trainer._batch(3)
    trainer._batch(0)
    assert_equal_states(copies(third), copies(trainer._batch(3)))
    assert_equal_states(copies(third), copies(make()._batch(3)))
    for other in (trainer._batch(4), make(seed=6)._batch(3)):
        assert not np.array_equal(third["noise"], other["noise"])
    assert third["noise"].shape == (4, 8, 8, 2)
    assert third["noise"].std() == pytest.approx(1, abs=0.1)


def test_validation_is_the_mean_map_of_the_averaged_weights(make, composers):
    trainer = make(n_stamps=8, validation_stamps=6)
    trainer.average = [0.7 * weight for weight in trainer.average]
    before = [np.array(weight) for weight in trainer.network.get_weights()]
    found = trainer.validate()
    assert_equal_states(
        dict(enumerate(before)), dict(enumerate(trainer.network.get_weights()))
    )  # the weights of training are back
    held_out = composers[1].batch(0, 6)
    maps = trainer.averaged_network().sample(
        held_out["image"], VALIDATION_SAMPLES, 0, held_out["mask"]
    )
    by_class, by_centre, usable = maps["class"].mean(axis=0), maps["centre"].mean(axis=0), []
    losses = []
    for i, y, x in np.argwhere(held_out["mask"]):
        usable.append(i)
        truth = held_out["centre"][i, y, x]
        losses.append(
            (
                -np.log(by_class[i, y, x, held_out["class"][i, y, x]]),
                -np.log(by_centre[i, y, x] if truth else 1 - by_centre[i, y, x]),
            )
        )
    # Batches of 4 and 2: a mean over the pixels of each, weighted by its stamps.
    first = np.array(usable) < 4
    expected = 4 * np.mean(np.array(losses)[first], 0) + 2 * np.mean(np.array(losses)[~first], 0)
    assert found["val_class"] == pytest.approx(expected[0] / 6, rel=1e-3)
    assert found["val_centre"] == pytest.approx(expected[1] / 6, rel=1e-3)
    assert found["val_loss"] > 0
    assert trainer.validate() == found


def test_state_goes_to_another_trainer_and_back(make, trainer):
    state = copies(trainer.state())
    rng = np.random.default_rng(0)
    changed = {k: v + rng.random(v.shape).astype(v.dtype) for k, v in state.items() if v.shape}
    changed["step"] = np.array(7)
    changed |= {k: np.array(7, v.dtype) for k, v in state.items() if not v.shape and k != "step"}
    other = make()
    other.restore(copies(changed))
    assert other.step == 7
    assert_equal_states(copies(other.state()), changed)


@pytest.mark.parametrize("change", ["missing", "other shape"])
def test_a_state_of_another_network(make, trainer, change):
    state = copies(trainer.state())
    if change == "missing":
        del state["average/0"]
    else:
        state["weights/0"] = np.zeros(3)
    with pytest.raises(TrainingFailedError, match="other arrays than this network"):
        make().restore(state)
    other = make(model={"channels": [4, 6, 8], "latent_channels": 2, "head_channels": 4})
    with pytest.raises(TrainingFailedError, match="train anew with overwrite=True"):
        other.restore(copies(trainer.state()))


def test_a_loss_that_is_no_number_ends_training_and_keeps_the_checkpoint(
    make, tmp_path, no_plots, monkeypatch
):
    trainer = make(report_stamps=8)
    run = TrainingRun(tmp_path, trainer.config)
    run.begin()
    # The last step before the third report has a good loss, and leaves no good weight.
    train_on_batch = trainer.trainee.train_on_batch

    def run_away(batch, **options):
        if trainer.step == 5:
            logs = train_on_batch(batch, **options)
            weights = trainer.network.get_weights()
            trainer.network.set_weights([np.full_like(weight, np.nan) for weight in weights])
            return logs
        return train_on_batch(batch, **options)

    monkeypatch.setattr(trainer.trainee, "train_on_batch", run_away)
    with pytest.raises(TrainingFailedError, match="at step 6.* lower the learning rate .*0.01"):
        trainer.train(run, progress=False)
    kept = TrainingRun(tmp_path, trainer.config)
    assert int(kept.checkpoint["step"]) == 4
    assert kept.log["step"].tolist() == [2, 4]
    assert all(np.isfinite(array).all() for array in kept.checkpoint.values())
    # The loss itself, from the next batch on.
    trainer.restore(kept.checkpoint)
    monkeypatch.undo()
    trainer.network.set_weights([np.full_like(w, np.nan) for w in trainer.network.get_weights()])
    monkeypatch.setattr(TrainingRun, "draw", lambda *_: None)
    with pytest.raises(TrainingFailedError, match="the loss is nan at step 6"):
        trainer.train(kept, progress=False)
    assert int(TrainingRun(tmp_path, trainer.config).checkpoint["step"]) == 4


class TestAhead:
    def test_no_steps(self):
        assert list(_ahead(lambda step: {"step": step}, 5, 5)) == []
        assert list(_ahead(lambda step: {"step": step}, 6, 5)) == []

    @pytest.mark.parametrize("n", [1, BATCHES_AHEAD, 20])
    def test_all_steps_in_order(self, n):
        def compose(step):
            time.sleep(0.002 * (step % 3))
            return {"step": step}

        assert [batch["step"] for batch in _ahead(compose, 3, 3 + n)] == list(range(3, 3 + n))

    def test_a_few_ahead_and_no_more(self):
        made = []
        batches = _ahead(lambda step: made.append(step) or {}, 0, 100)
        next(batches)
        deadline = time.monotonic() + 5
        while len(made) < BATCHES_AHEAD + 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert made == list(range(BATCHES_AHEAD + 1))
        batches.close()

    def test_an_error_comes_where_its_step_is_due(self):
        def compose(step):
            if step == 2:
                raise ZeroDivisionError("step two")
            return {"step": step}

        batches = _ahead(compose, 0, 100)
        assert [next(batches)["step"] for _ in range(2)] == [0, 1]
        with pytest.raises(ZeroDivisionError, match="step two"):
            next(batches)

    def test_closing_stops_the_thread_and_what_waits(self):
        made, go = [], threading.Event()

        def compose(step):
            if step:
                go.wait(5)
            made.append(step)
            return {"step": step}

        before = threading.active_count()
        batches = _ahead(compose, 0, 100)
        assert next(batches)["step"] == 0
        threading.Timer(1.0, go.set).start()
        batches.close()
        # One that was begun is waited for, the others are not.
        assert made in ([0], [0, 1])
        deadline = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.001)
        assert threading.active_count() <= before


def test_log_holds_the_means_of_the_batches_of_a_report(make, tmp_path, monkeypatch):
    trainer = make(report_stamps=20, n_stamps=40)  # 5 steps of 4, twice
    seen = []
    original = trainer.trainee.train_on_batch

    def watched(*args, **kwargs):
        logs = original(*args, **kwargs)
        seen.append(float(logs["loss"]))
        return logs

    monkeypatch.setattr(trainer.trainee, "train_on_batch", watched)
    run = TrainingRun(tmp_path / "run", trainer.config)
    run.begin()
    trainer.train(run, progress=False)
    assert len(seen) == 10
    np.testing.assert_allclose(run.log["loss"], [np.mean(seen[:5]), np.mean(seen[5:])], rtol=1e-5)
