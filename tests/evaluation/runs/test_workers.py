import os
import pickle

import joblib
import pytest

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.evaluation.runs import workers
from btk_punet.evaluation.runs.workers import SharedMethods
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle


class Counting(ProbaUNetDeblender):
    """Counts its calls, and needs no network."""

    network = None
    calls = 0

    def batch_call(self, blend_batch, njobs=1):
        self.calls += 1


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Leave the process as it was: a test plays the part of one that receives methods."""
    monkeypatch.setattr(workers, "_RECEIVED", {})
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "1")


def test_no_methods():
    assert SharedMethods({}).get() == {}
    assert pickle.loads(pickle.dumps(SharedMethods({}))).get() == {}


def test_methods_of_the_same_process_are_the_same_objects():
    methods = {"mine": Oracle()}
    assert SharedMethods(methods).get() is methods


def test_a_process_keeps_what_it_got_first():
    shared = SharedMethods({"mine": Oracle((0.7,))})
    first, second = (pickle.loads(pickle.dumps(shared)).get()["mine"] for _ in range(2))
    assert first is second
    assert first.p_detect == (0.7,)
    # Another run's methods are other ones, and take the place of the first.
    other = pickle.loads(pickle.dumps(SharedMethods({"mine": Oracle((0.8,))}))).get()["mine"]
    assert other.p_detect == (0.8,)
    assert len(workers._RECEIVED) == 1


def test_methods_of_a_script_can_be_sent():
    class Local(Oracle):
        """Pickle alone cannot send a class that no module holds."""

    sent = pickle.loads(pickle.dumps(SharedMethods({"mine": Local((0.7,))})))
    assert sent.get()["mine"].p_detect == (0.7,)


def test_networks_are_warmed_up_once():
    batch = bright_scenes([[(20, 20)]])
    network, oracle = Counting(5), Oracle()
    shared = SharedMethods({"network": network, "oracle": oracle})
    for _ in range(3):
        for name in ("network", "oracle"):
            shared.warm_up(name, batch)
    assert network.calls == 1


def cores_of_a_process(shared):
    shared.get()
    return os.environ["TF_NUM_INTRAOP_THREADS"]


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    n_cores = os.cpu_count()
    shared = SharedMethods({"mine": Oracle()}, n_processes=2)
    # No other test's process, which may have been told otherwise.
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    told = joblib.Parallel(2)(joblib.delayed(cores_of_a_process)(shared) for _ in range(2))
    assert told == [str(max(n_cores // 2, 1))] * 2
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ
