"""Several devices end with one's weights; what is said when one is missing or dies."""

import json
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("several devices need TensorFlow", allow_module_level=True)

from btk_punet.errors import InputError, TrainingFailedError  # noqa: E402
from btk_punet.training.devices import Cluster, ManyDevices, OneDevice, open_devices  # noqa: E402
from btk_punet.training.run_folder import TrainingRun  # noqa: E402
from btk_punet.training.train import train  # noqa: E402

# A process of a training: on one of several machines, or on two devices made of one processor.
PROCESS = """
import os
import signal
import sys
from btk_punet.errors import BtkPunetError
from btk_punet.training import train as training
from btk_punet.training.config import TrainingConfig
from btk_punet.training.run_folder import TrainingRun
from btk_punet.training.trainer import Trainer

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
if "DIES" in os.environ:
    Trainer._report = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
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
        np.testing.assert_allclose(two.checkpoint[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    assert one.log["step"].tolist() == two.log["step"].tolist()
    for name in ("loss", "kl", "val_loss", "val_class"):
        np.testing.assert_allclose(two.log[name], one.log[name], rtol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def shared(tiny):
    """Four parts a batch, ten steps in two reports."""
    # Gradients so long that they are clipped at every step.
    return tiny.changed(n_stamps=40, report_stamps=20, batch_parts=4, clip_norm=0.01)


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


def test_a_process_dies_and_one_device_goes_on(shared, alone, start, gaussians, tmp_path, no_plots):
    addresses, folder = free_addresses(2), tmp_path / "run"
    doomed = tf_config(addresses, 1)
    chief = start(folder, shared, "machines", TF_CONFIG=tf_config(addresses, 0))
    start(folder, shared, "machines", TF_CONFIG=doomed, DIES="at the first report")
    output, _ = chief.communicate(timeout=100)
    assert chief.returncode == 1
    assert "TrainingFailedError: another process of the training no longer answers" in output
    assert int(TrainingRun(folder, shared).checkpoint["step"]) == 5
    train(folder, shared, bank=gaussians, progress=False)
    assert_same_run(alone, folder, shared)


class TestCluster:
    def test_chief_and_workers(self, monkeypatch):
        jobs = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
        for task, number in ((("chief", 0), 0), (("worker", 0), 1), (("worker", 1), 2)):
            task = dict(zip(("type", "index"), task, strict=True))
            monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
            assert Cluster.from_environment() == Cluster(("c:3", "a:1", "b:2"), number)

    @pytest.mark.parametrize(
        "text",
        [
            "", "two machines", "[]", "{}", '{"cluster": {}}', tf_config([], 0),
            tf_config(["a:1", "b:2"], 2), tf_config(["a:1", "b:2"], -1),
            tf_config(["a", "b:2"], 0), tf_config(["a:1", "b:99999"], 0),
            tf_config(["a:1", "a:1"], 0), tf_config(["a:1"], 0).replace("worker", "ps"),
        ],
    )  # fmt: skip
    def test_malformed(self, monkeypatch, text):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(
            InputError, match='expected TF_CONFIG as .*"host1:12345".* got .*set it'
        ):
            Cluster.from_environment()

    def test_not_set(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        with pytest.raises(InputError, match="expected TF_CONFIG"):
            open_devices("machines")

    def test_one_is_missing(self):
        here, there = free_addresses(2)
        with pytest.raises(TrainingFailedError, match=f"no answer from {there} within 0 s: start"):
            Cluster((here, there), 0).wait(0.3)

    def test_one_that_waits_is_an_answer(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            there = f"127.0.0.1:{other.getsockname()[1]}"
            Cluster((*free_addresses(1), there), 0).wait(5)
            with pytest.raises(InputError, match=f"cannot listen at {there}.*still running"):
                Cluster((there,), 0).wait(5)


def test_wrong_words_and_too_few_gpus(tmp_path, tiny):
    with pytest.raises(InputError, match="'gpus', 'machines' or None, got 'gpu'"):
        train(tmp_path / "run", tiny, distribute="gpu")
    if len(keras.distribution.list_devices("gpu")) < 2:
        with pytest.raises(InputError, match="expected two GPUs or more .* leave it out"):
            train(tmp_path / "run", tiny, distribute="gpus")
    assert not (tmp_path / "run").exists()


def test_parts_that_devices_cannot_share():
    two = ManyDevices(SimpleNamespace(num_replicas_in_sync=4), process=1, n_processes=2)
    assert [list(parts) for parts in two.parts(8)] == [[2, 6], [3, 7]]
    with pytest.raises(
        InputError, match="multiple of the 4 devices.* got 6: try 4 .*--batch-parts 4"
    ):
        two.parts(6)
    assert [list(parts) for parts in OneDevice().parts(3)] == [[0, 1, 2]]
