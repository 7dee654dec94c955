"""The devices that train together: one, several GPUs of a machine, or several machines.

Every device has the same weights and a share of each batch; the gradients' mean over the devices
moves them all alike. A batch is made of ``TrainingConfig.batch_parts``, each drawn from a seed of
its own, and device r of n takes parts r, r + n, r + 2n ...: whatever the number of devices, the
network sees the same stamps, and ends with the same weights to rounding.

TensorFlow's `tf.distribute` mirrors the variables and adds the gradients. (Keras 3's own
`keras.distribution` works on JAX alone, and its `train_on_batch` fails on several machines.) One
process is the chief: the first. It alone writes, and tells the others what only it can know.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from btk_punet.errors import InputError, TrainingFailedError

Batch = dict[str, np.ndarray]

# Words of --distribute.
GPUS, MACHINES = "gpus", "machines"
# How long a process waits for the others at the start: TensorFlow loads slowly from busy disks.
PEER_SECONDS = 300.0


class OneDevice:
    """Training in one process on one device."""

    is_chief = True
    n_devices = 1

    def scope(self) -> AbstractContextManager:
        """Return the context in which all variables are made."""
        return nullcontext()

    def adam(self, schedule: Any, clip_norm: float) -> Any:
        """Return the optimizer, to be made in `scope`."""
        import keras

        return keras.optimizers.Adam(schedule, global_clipnorm=clip_norm)

    def parts(self, n_parts: int) -> list[range]:
        """Return the parts of a batch for each device of this process."""
        return [range(n_parts)]

    def step(self, trainee: Any, shares: Sequence[Batch]) -> dict[str, float]:
        """Do a step of training; return what `Trainee` reports, averaged over all devices.

        Args:
            trainee: A compiled `Trainee`.
            shares: A batch for each device of this process.

        Raises:
            TrainingFailedError: if another process is gone.
        """
        # As new versions of Keras do by themselves at each call, and 3.12 does not.
        trainee.reset_metrics()
        return trainee.train_on_batch(shares[0], return_dict=True)

    def told_by_chief(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays of the chief; those of other processes need the same shapes.

        All processes must come here, and none goes on before the chief does.
        """
        return list(arrays)


class ManyDevices(OneDevice):
    """Training on the devices of one of TensorFlow's strategies.

    Args:
        strategy: ``MirroredStrategy`` or ``MultiWorkerMirroredStrategy``.
        process: Number of this process.
        n_processes: Number of all.
    """

    def __init__(self, strategy: Any, process: int = 0, n_processes: int = 1):
        self.strategy, self.n_processes = strategy, n_processes
        self.is_chief = process == 0
        self.n_devices = strategy.num_replicas_in_sync
        n_own = self.n_devices // n_processes
        self._own = range(process * n_own, (process + 1) * n_own)
        self._step: Callable | None = None

    def scope(self) -> AbstractContextManager:
        """Return the context in which all variables are made."""
        return self.strategy.scope()

    def adam(self, schedule: Any, clip_norm: float) -> Any:
        """Return the optimizer, to be made in `scope`."""
        import keras
        import tensorflow as tf

        class AdamOfMean(keras.optimizers.Adam):
            """Adam on the mean of the devices' gradients, clipped as one device's would be."""

            def apply(self, grads, trainable_variables=None):
                together = tf.distribute.get_replica_context()
                super().apply(together.all_reduce("MEAN", list(grads)), trainable_variables)

            def _all_reduce_sum_gradients(self, grads_and_vars):
                return grads_and_vars  # done already: Keras would add them after clipping

        return AdamOfMean(schedule, global_clipnorm=clip_norm)

    def parts(self, n_parts: int) -> list[range]:
        """Return the parts of a batch for each device of this process.

        Raises:
            InputError: if the devices cannot share them evenly.
        """
        if n_parts % self.n_devices:
            raise InputError(
                f"expected batch_parts as a multiple of the {self.n_devices} devices, which share "
                f"the parts of a batch evenly, got {n_parts}: try {self.n_devices} "
                f"(--batch-parts {self.n_devices})"
            )
        return [range(device, n_parts, self.n_devices) for device in self._own]

    def step(self, trainee: Any, shares: Sequence[Batch]) -> dict[str, float]:
        """Do a step of training (see `OneDevice.step`)."""
        import tensorflow as tf

        if self._step is None:
            self._step = self._compiled(trainee)
        batch = {
            name: self.strategy.experimental_distribute_values_from_function(
                lambda context, name=name: tf.constant(
                    shares[context.replica_id_in_sync_group - self._own.start][name]
                )
            )
            for name in shares[0]
        }
        try:
            values = self._step(batch).numpy().tolist()
        except tf.errors.OpError as error:
            raise _gone(error) from error
        return dict(zip(trainee.means, values, strict=True))

    def _compiled(self, trainee: Any) -> Callable:
        import tensorflow as tf

        def on_device(batch):
            trainee.reset_metrics()  # here, where it concerns this device alone
            logs = trainee.train_step((batch,))
            return tf.stack([logs[name] for name in trainee.means])

        @tf.function(autograph=False)
        def step(batch):
            of_devices = self.strategy.run(on_device, args=(batch,))
            return self.strategy.reduce("MEAN", of_devices, axis=None)

        return step

    def told_by_chief(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays of the chief (see `OneDevice.told_by_chief`)."""
        if self.n_processes == 1:
            return list(arrays)
        import tensorflow as tf

        # Double precision holds single precision and the counts of steps as they are.
        own = np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])
        said = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                own if context.replica_id_in_sync_group == 0 else np.zeros_like(own)
            )
        )
        try:
            told = self.strategy.reduce("SUM", said, axis=None).numpy()
        except tf.errors.OpError as error:
            raise _gone(error) from error
        ends = np.cumsum([np.size(array) for array in arrays])[:-1]
        return [
            part.reshape(np.shape(array)).astype(np.asarray(array).dtype)
            for part, array in zip(np.split(told, ends), arrays, strict=True)
        ]


@dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Attributes:
        addresses: ``host:port`` of each, the chief's first.
        process: Number of this one.
    """

    addresses: tuple[str, ...]
    process: int

    @classmethod
    def from_environment(cls) -> Cluster:
        """Return the cluster that ``TF_CONFIG`` describes.

        Raises:
            InputError: if it is not set, or describes none.
        """
        text = os.environ.get("TF_CONFIG", "")
        try:
            content = json.loads(text)
            jobs, task = content["cluster"], content["task"]
            if not isinstance(jobs, dict) or set(jobs) - {"chief", "worker"}:
                raise ValueError(f"jobs other than 'chief' and 'worker': {jobs}")
            addresses = {job: list(jobs.get(job, [])) for job in ("chief", "worker")}
            every = (*addresses["chief"], *addresses["worker"])
            for address in every:
                _host_and_port(address)
            if len(set(every)) < len(every):
                raise ValueError("an address stands there twice")
            number = int(task["index"])
            addresses[task["type"]][number]
            if number < 0:
                raise ValueError(f"a task of index {number}")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InputError(
                "expected TF_CONFIG as the processes that train together and this one's number, "
                'like {"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": '
                f'"worker", "index": 0}}}}, got {text!r:.200} ({type(error).__name__}: {error}): '
                "set it in each process before it starts"
            ) from error
        return cls(every, number + len(addresses["chief"]) * (task["type"] == "worker"))

    def wait(self, seconds: float = PEER_SECONDS) -> None:
        """Wait until every process is there.

        Each listens at its own address and knocks at the others': TensorFlow itself would wait for
        an hour, and not say for whom.

        Raises:
            InputError: if this process cannot listen at its address.
            TrainingFailedError: if one does not answer in time.
        """
        host, port = _host_and_port(self.addresses[self.process])
        missing = [a for n, a in enumerate(self.addresses) if n != self.process]
        end = time.monotonic() + seconds
        with socket.socket() as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                door.bind(("", port))
            except OSError as error:
                raise InputError(
                    f"process {self.process} cannot listen at {host}:{port} ({error}): is another "
                    "one still running? Stop it, or give another port in TF_CONFIG"
                ) from error
            door.listen(len(self.addresses))
            while missing:
                missing = [address for address in missing if not _answers(address)]
                if missing and time.monotonic() > end:
                    raise TrainingFailedError(
                        f"no answer from {', '.join(missing)} within {seconds:.0f} s: start the "
                        "same command there too, with its own number in TF_CONFIG, and let the "
                        "ports through between the machines"
                    )
                time.sleep(0.1)


def open_devices(distribute: str | None) -> OneDevice:
    """Return the devices to train on.

    Args:
        distribute: ``"gpus"``, all of this machine; ``"machines"``, those of ``TF_CONFIG``, each
            with all of its GPUs, or its processor if it has none; None for one device.

    Raises:
        InputError: for another word, another backend than TensorFlow, fewer than two GPUs, or a
            ``TF_CONFIG`` that is none.
        TrainingFailedError: if a machine does not answer.
    """
    if distribute is None:
        return OneDevice()
    check_word(distribute)
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "training on several devices needs Keras on TensorFlow, got "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    if distribute == GPUS:
        gpus = tf.config.list_logical_devices("GPU")
        if len(gpus) < 2:
            raise InputError(
                f"expected two GPUs or more for distribute={GPUS!r}, TensorFlow sees {len(gpus)}: "
                "leave it out"
            )
        return ManyDevices(tf.distribute.MirroredStrategy())
    cluster = Cluster.from_environment()
    cluster.wait()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return ManyDevices(strategy, cluster.process, len(cluster.addresses))


def check_word(distribute: str | None) -> None:
    """Raise `InputError` unless this is a word of ``distribute``."""
    if distribute not in (None, GPUS, MACHINES):
        raise InputError(
            f"expected distribute as {GPUS!r}, {MACHINES!r} or None, got {distribute!r}"
        )


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not host:port")
    return host, int(port)


def _answers(address: str) -> bool:
    try:
        socket.create_connection(_host_and_port(address), timeout=5).close()
        return True
    except OSError:
        return False


def _gone(error: Exception) -> TrainingFailedError:
    return TrainingFailedError(
        "another process of the training no longer answers, or the memory did not suffice "
        f"({str(error).splitlines()[0]:.200}): start all of them again with the same command; "
        "training resumes from the last checkpoint"
    )
