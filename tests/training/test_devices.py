"""Several devices end with one's weights; what is said when one is missing or dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

keras = pytest.importorskip("keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("several devices need TensorFlow", allow_module_level=True)

from btk_punet.errors import InputError, TrainingFailedError  # noqa: E402
from btk_punet.training.devices import Cluster, OneDevice, open_devices  # noqa: E402
from btk_punet.training.run_folder import TrainingRun  # noqa: E402
from btk_punet.training.train import train  # noqa: E402

# A process of a training: on one of several machines, or on two devices made of one processor.
PROCESS = """
import sys
from btk_punet.errors import BtkPunetError
from btk_punet.training import train as training
from btk_punet.training.config import TrainingConfig
from btk_punet.training.run_folder import TrainingRun

folder, config, bank, distribute = sys.argv[1:]
TrainingRun.draw = lambda *_: None
if distribute == "gpus":
    import tensorflow as tf
    from btk_punet.training.devices import ManyDevices

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    two = ManyDevices(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    training.open_devices = lambda distribute: two
try:
    training.train(
        folder, TrainingConfig.from_file(config), bank=bank, progress=False, distribute=distribute
    )
except BtkPunetError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def free_addresses(n):
    sockets = [socket.socket() for _ in range(n)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def tf_config(addresses, number):
    task = {"type": "worker", "index": number}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


@pytest.fixture
def start(tmp_path, gaussians):
    """Start processes, and end those that are left."""
    started = []

    def start_one(folder, config, distribute, **environment):
        gaussians.save(tmp_path / "bank.npz")
        (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
        arguments = (folder, tmp_path / "config.json", tmp_path / "bank.npz", distribute)
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROCESS, *map(str, arguments)],
                env=os.environ | {"CUDA_VISIBLE_DEVICES": ""} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield start_one
    for process in started:
        process.kill()  # SIGTERM is TensorFlow's
        process.communicate()


def assert_same_run(folder, other, config):
    one, two = (TrainingRun(each, config) for each in (folder, other))
    assert one.finished and two.finished
    assert set(one.checkpoint) == set(two.checkpoint)
    for name, array in one.checkpoint.items():
        np.testing.assert_allclose(two.checkpoint[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    assert one.log["step"].tolist() == two.log["step"].tolist()
    for name in ("loss", "kl", "val_loss", "val_class"):
        np.testing.assert_allclose(two.log[name], one.log[name], rtol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def shared(tiny):
    """Four parts a batch, ten steps in two reports."""
    return tiny.changed(n_stamps=40, report_stamps=20, batch_parts=4)


@pytest.fixture(scope="module")
def alone(shared, gaussians, tmp_path_factory):
    """Folder of the same run on one device."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRun, "draw", lambda *_: None)
        train(folder, shared, bank=gaussians, progress=False)
    return folder


def test_two_processes_end_with_the_weights_of_one(shared, alone, start, tmp_path):
    addresses = free_addresses(2)
    processes = [
        start(tmp_path / "run", shared, "machines", TF_CONFIG=tf_config(addresses, number))
        for number in (1, 0)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 0, output
    assert_same_run(alone, tmp_path / "run", shared)
    held = json.loads((tmp_path / "run" / "training.json").read_text())
    assert held["devices"] == 2


def test_two_devices_of_a_machine_end_with_the_weights_of_one(shared, alone, start, tmp_path):
    process = start(tmp_path / "run", shared, "gpus")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert_same_run(alone, tmp_path / "run", shared)
