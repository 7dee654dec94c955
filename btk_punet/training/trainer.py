"""Training of a `ProbaUNet`: steps, reports, checkpoints, and going on after being stopped.

Keras and NumPy alone, so that the same run works on TensorFlow, JAX or PyTorch; several devices
(`devices`) need TensorFlow. Every batch and
its latent noise depend on seed and step alone, so the state of a run is its step, the weights,
their average and the optimizer's variables: what a checkpoint holds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Protocol

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from btk_punet.errors import TrainingFailedError
from btk_punet.model.objective import calibrated_logits, kl_state, training_loss
from btk_punet.model.proba_unet import ProbaUNet
from btk_punet.training.config import TrainingConfig
from btk_punet.training.devices import Batch, OneDevice
from btk_punet.training.run_folder import TrainingRun

# Streams of the seed; the bank's galaxies have streams of their own.
_VALIDATION, _LATENT = 12, 13
# Steps between updates of the averaged weights: seldom enough to cost nothing.
AVERAGE_EVERY = 5
# Batches composed ahead of the step that needs them.
BATCHES_AHEAD = 4
# Samples of the prior that are averaged for the held-out stamps' predictive loss.
VALIDATION_SAMPLES = 8
# Reports between two drawings of the curves and the sheet of predictions.
REPORTS_PER_DRAWING = 10


class Composer(Protocol):
    """What draws the stamps: `StampComposer`, `BlendComposer`, or anything that does the same."""

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the stamps of a step, as `StampComposer.batch` does."""


class Trainee(keras.Model):
    """A `ProbaUNet` and its loss, as Keras trains it: one dict of arrays in, its losses out.

    Args:
        network: The model.
        class_weights: Of the cross-entropy, or None.
        centre_weight: Weight of the centre map's loss.
    """

    def __init__(self, network: ProbaUNet, class_weights, centre_weight: float):
        super().__init__(dtype="float32")
        self.network = network
        self.class_weights = class_weights
        self.centre_weight = centre_weight
        names = ("loss", "class", "centre", "kl", "kl_largest")
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self):
        """Return what is reported of a batch."""
        return list(self.means.values())

    def call(self, batch):
        """Run the network on a batch, truth and noise included."""
        return self.network(batch)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a batch, and note its parts."""
        loss, parts = training_loss(
            y_pred,
            x,
            ops.mean(x["beta"]),
            self.class_weights,
            self.centre_weight,
            ops.mean(x["centre_prior_share"]),
            ops.mean(x["class_prior_share"]),
        )
        parts["kl_largest"] = ops.max(parts.pop("kl_per_dimension"))
        for name, value in {"loss": loss, **parts}.items():
            self.means[name].update_state(value)
        return loss


class Trainer:
    """Trains a network on what a composer draws.

    Args:
        config: The choices of the run.
        network: The model to train, built with ``config.model``.
        composer: Draws the training stamps.
        held_out: Draws the stamps of validation, from other seeds.
        devices: What trains; the network was made in their scope. One device if None.

    Raises:
        InputError: if the devices cannot share the parts of a batch evenly.
    """

    def __init__(
        self,
        config: TrainingConfig,
        network: ProbaUNet,
        composer: Composer,
        held_out: Composer,
        devices: OneDevice | None = None,
    ):
        self.config, self.network, self.composer = config, network, composer
        self.devices = OneDevice() if devices is None else devices
        self._parts = self.devices.parts(config.batch_parts)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(config.n_steps - config.warmup_steps, 1),
            alpha=config.final_learning_rate / config.learning_rate,
            warmup_target=config.learning_rate,
            warmup_steps=config.warmup_steps,
        )
        # Compiled for speed, not by XLA: on two cores its convolutions were slower.
        jit = keras.backend.backend() == "jax"
        with self.devices.scope():
            self.trainee = Trainee(network, network.class_weights, config.centre_weight)
            self.optimizer = self.devices.adam(schedule, config.clip_norm)
            self.optimizer.build(network.trainable_variables)
            self.trainee.compile(optimizer=self.optimizer, jit_compile=jit)
        # Outside of the scope: for the chief alone, without waiting for other devices.
        self._judge = Trainee(network, network.class_weights, config.centre_weight)
        self._judge.compile(jit_compile=jit)
        self.step, self.average = 0, network.get_weights()
        self._held_out = held_out.batch(0, config.validation_stamps)

    # -- the state of a run --------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Return all that a later process needs to go on: the content of a checkpoint."""
        state = {"step": np.array(self.step)}
        for name, arrays in self._variables().items():
            state |= {f"{name}/{i}": array for i, array in enumerate(arrays)}
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from the state of an earlier process."""
        own = self.state()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in state.items()}:
            raise TrainingFailedError(
                "the checkpoint holds other arrays than this network and optimizer: it was "
                "written by another version; train anew with overwrite=True (--overwrite)"
            )
        self._take(state)

    def take_chiefs_state(self) -> None:
        """Go on from the chief's state, in every process."""
        own = self.state()
        told = self.devices.told_by_chief(list(own.values()))
        if not self.devices.is_chief:
            self._take(dict(zip(own, told, strict=True)))

    def _take(self, state: dict[str, np.ndarray]) -> None:
        self.step = int(state["step"])
        parts = {
            name: [state[f"{name}/{i}"] for i in range(len(arrays))]
            for name, arrays in self._variables().items()
        }
        self.network.set_weights(parts["weights"])
        self.average = parts["average"]
        for variable, value in zip(self.optimizer.variables, parts["optimizer"], strict=True):
            variable.assign(value)

    def _variables(self) -> dict[str, list[np.ndarray]]:
        optimizer = [ops.convert_to_numpy(v) for v in self.optimizer.variables]
        weights = self.network.get_weights()
        return {"weights": weights, "average": self.average, "optimizer": optimizer}

    # -- training ------------------------------------------------------------------------------

    def train(self, run: TrainingRun, progress: bool = True) -> str:
        """Go on to the last step; write a report, a checkpoint and now and then plots to ``run``.

        All processes come here, with the same state; the chief alone writes.

        Returns:
            Why training ended: ``"all steps done"``, or that the loss no longer fell.

        Raises:
            TrainingFailedError: if the loss is no longer a number, or another process is gone. The
                last checkpoint stays.
        """
        config = self.config
        reason = self._end(run)
        bar = tqdm(
            total=config.n_stamps,
            initial=min(self.step * config.batch_size, config.n_stamps),
            unit="stamp",
            unit_scale=True,
            disable=not (progress and self.devices.is_chief),
            dynamic_ncols=True,
            smoothing=0.05,
        )
        batches = _ahead(self._shares, self.step, config.n_steps)
        began, recent = time.monotonic(), []
        with bar, closing(batches):
            while not reason:
                logs = self.devices.step(self.trainee, next(batches))
                recent.append(logs)  # of this batch alone
                self.step += 1
                if self.step % AVERAGE_EVERY == 0:
                    self._update_average()
                bar.update(min(config.batch_size, bar.total - bar.n))
                if self.step % 10 == 0:
                    bar.set_postfix(_postfix(logs, self.learning_rate))
                last = self.step >= config.n_steps
                if self.step % config.report_steps == 0 or last:
                    seconds = time.monotonic() - began
                    means = {name: float(np.mean([log[name] for log in recent])) for name in logs}
                    self._report(means, run, seconds)
                    reason = self._end(run)
                    began, recent = time.monotonic(), []
        if self.devices.is_chief:
            self._draw(run)
        return reason

    def _end(self, run: TrainingRun) -> str:
        # Why training is at its end, or nothing: as the chief says, who knows the held-out loss.
        if self.step >= self.config.n_steps:
            return "all steps done"
        reason = run.stalled(self.config.patience)
        (stalled,) = self.devices.told_by_chief([np.array(len(reason) > 0)])
        return (reason or "the chief process ended it") if stalled else ""

    @property
    def learning_rate(self) -> float:
        """Learning rate of the step to come."""
        return float(ops.convert_to_numpy(self.optimizer.learning_rate))

    def averaged_network(self) -> ProbaUNet:
        """Return a network of its own with the averaged weights, in single precision."""
        network = ProbaUNet.from_config(self.network.get_config())
        network.set_weights(self.average)
        return network

    def _shares(self, step: int) -> list[Batch]:
        return [self._batch(step, parts) for parts in self._parts]

    def _batch(self, step: int, parts: Sequence[int] = (0,)) -> Batch:
        config = self.config
        drawn = [self._part(step * config.batch_parts + part) for part in parts]
        inputs = {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}
        beta = config.beta * min(step / max(config.beta_warmup_steps, 1), 1.0)
        late = step * config.batch_size >= config.prior_from
        # As arrays of a value an image: what Keras compiles holds no number that changes.
        every = np.ones(len(inputs["images"]), np.float32)
        return inputs | {
            "beta": beta * every,
            "centre_prior_share": late * config.centre_prior_share * every,
            "class_prior_share": late * config.class_prior_share * every,
        }

    def _part(self, number: int) -> Batch:
        config = self.config
        stamps = self.composer.batch(number, config.batch_size // config.batch_parts)
        seed = np.random.SeedSequence(config.seed, spawn_key=(_LATENT, number))
        rng = np.random.default_rng(seed)
        inputs = self._inputs(stamps, rng)
        prior_noise = rng.standard_normal(inputs["noise"].shape, np.float32)
        return inputs | {"prior_noise": prior_noise}

    def _inputs(self, stamps: Batch, rng: np.random.Generator) -> Batch:
        unknown = np.full(len(stamps["image"]), np.nan, np.float32)
        shape = (len(stamps["image"]), *self.network.latent_shape(*stamps["class"].shape[1:]))
        return {
            "images": stamps["image"],
            "mask": stamps["mask"],
            "classes": stamps["class"].astype(np.int32),
            "centres": stamps["centre"].astype(np.float32),
            "density_ratio": stamps.get("density_ratio", unknown),
            "noise": rng.standard_normal(shape, np.float32),
        }

    def _update_average(self) -> None:
        # Over so many steps; at the start over those that there are.
        window = min(self.config.average_steps, max(self.step / 2, AVERAGE_EVERY))
        share = min(AVERAGE_EVERY / window, 1.0)
        for mean, weight in zip(self.average, self.network.get_weights(), strict=True):
            mean += share * (weight - mean)

    def _report(self, logs: dict[str, float], run: TrainingRun, seconds: float) -> None:
        row = {name: float(value) for name, value in logs.items()}
        # The weights as well: the last step before a report may spoil them after a good loss.
        spoilt = sum(not np.isfinite(weight).all() for weight in self.network.get_weights())
        if spoilt or not np.isfinite(row["loss"]):
            raise TrainingFailedError(
                f"the loss is {row['loss']} at step {self.step}, and {spoilt} arrays of weights "
                f"are not finite: lower the learning rate (now {self.config.learning_rate:g}) and "
                "run the same command with --overwrite; the last checkpoint, of an earlier step, "
                "is kept"
            )
        if not self.devices.is_chief:
            return
        steps = self.step % self.config.report_steps or self.config.report_steps
        row = {
            "step": self.step,
            "stamps": self.step * self.config.batch_size,
            "learning_rate": self.learning_rate,
            **row,
            "kl_state": kl_state([row["kl_largest"]]),
            **self.validate(),
            "stamps_per_second": steps * self.config.batch_size / seconds,
        }
        run.report(row, self.state())
        if len(run.log) % REPORTS_PER_DRAWING == 1:
            self._draw(run)

    def validate(self) -> dict[str, float]:
        """Return the losses of the averaged weights on the held-out stamps [nats a pixel].

        ``val_loss`` is the negative evidence lower bound, ``val_class`` and ``val_centre`` the
        cross-entropies of the mean map over samples of the prior: what a user of the network
        gets.
        """
        current = self.network.get_weights()
        self.network.set_weights(self.average)
        try:
            return self._validate()
        finally:
            self.network.set_weights(current)

    def _validate(self) -> dict[str, float]:
        stamps, network, total = self._held_out, self.network, np.zeros(3)
        rng = np.random.default_rng(
            np.random.SeedSequence(self.config.seed, spawn_key=(_VALIDATION,))
        )
        size = self.config.batch_size
        for first in range(0, len(stamps["image"]), size):
            some = {k: v[first : first + size] for k, v in stamps.items()}
            inputs = self._inputs(some, rng)
            outputs = self._judge.predict_on_batch(inputs)
            outputs["class_logits"] = calibrated_logits(
                outputs["class_logits"], network.class_weights
            )
            loss, _ = training_loss(outputs, inputs, 1.0, None, self.config.centre_weight)
            told = some["density_ratio"] if network.told_density else None
            maps = network.sample(some["image"], VALIDATION_SAMPLES, 0, some["mask"], told)
            n = len(some["image"])
            total += n * np.array([float(loss), *_predictive_losses(maps, some)])
        names = ("val_loss", "val_class", "val_centre")
        return dict(zip(names, (total / len(stamps["image"])).tolist(), strict=True))

    def _draw(self, run: TrainingRun) -> None:
        if len(run.log):
            current = self.network.get_weights()
            self.network.set_weights(self.average)
            run.draw(self.network, self._held_out)
            self.network.set_weights(current)


def _predictive_losses(maps: dict[str, np.ndarray], stamps: Batch) -> tuple[float, float]:
    # Per usable pixel: classes, then centres. Clipped at single precision's own limit.
    tiny, usable = 1e-7, stamps["mask"]
    classes = maps["class"].mean(axis=0)[usable]
    truth = np.take_along_axis(classes, stamps["class"][usable][:, None].astype(int), -1)
    centre = np.clip(maps["centre"].mean(axis=0)[usable], tiny, 1 - tiny)
    centre_truth = stamps["centre"][usable] > 0
    return (
        float(-np.log(np.maximum(truth, tiny)).mean()),
        float(-np.where(centre_truth, np.log(centre), np.log1p(-centre)).mean()),
    )


def _postfix(logs: dict[str, float], learning_rate: float) -> dict[str, str]:
    shown = {name: f"{float(logs[name]):.4f}" for name in ("loss", "class", "centre", "kl")}
    return shown | {"lr": f"{learning_rate:.1e}"}


def _ahead(
    make: Callable[[int], list[Batch]], first: int, last: int
) -> Generator[list[Batch], None, None]:
    """Yield ``make(step)`` for each step, made in a thread a few steps ahead."""
    with ThreadPoolExecutor(1) as pool:
        steps = iter(range(first, last))
        made = deque(pool.submit(make, s) for s in islice(steps, BATCHES_AHEAD))
        try:
            while made:
                batch = made.popleft().result()
                made.extend(pool.submit(make, s) for s in islice(steps, 1))
                yield batch
        finally:
            for future in made:
                future.cancel()
