"""Results that do not fit in memory are refused before anything is computed."""

import numpy as np
import pytest

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.memory import available_bytes, check_results_fit
from btk_punet.deblending.sep import SepDeblender
from btk_punet.errors import InputError

from .conftest import make_batch


@pytest.fixture
def free(monkeypatch):
    def set_free(n_bytes):
        monkeypatch.setattr("btk_punet.deblending.memory.available_bytes", lambda: n_bytes)

    return set_free


def test_no_images_always_fit(free):
    free(0)
    check_results_fit("It", (0, 64, 64), 10, 1)
    check_results_fit("It", (3, 0, 0), 10, 1)


def test_this_machine_has_memory():
    assert available_bytes() > 1e6


def test_size_by_hand(free):
    # A segmentation of 2 x 10 x 20 x 5 = 2000 bytes, four times over, and images of 3 x 8000.
    free(32_000)
    check_results_fit("It", (2, 10, 20), 5, 3)
    free(31_999)
    with pytest.raises(InputError, match="would need 0.0 GB"):
        check_results_fit("It", (2, 10, 20), 5, 3)
    free(8000)
    check_results_fit("It", (2, 10, 20), 5, 0)
    free(None)  # where no system says it, nothing is refused
    check_results_fit("It", (10**6, 10**4, 10**4), 100, 3)


def test_the_message_says_how_much_of_what_and_what_to_do(free):
    free(16e9)
    message = (
        r"It would need 939\.5 GB of memory, and 16\.0 GB are free: 1 image\(s\) of 4096 x 4096 "
        r"pixels with max_n_sources=7000 are a segmentation of 117\.4 GB and deblended images of "
        r"469\.8 GB, .* Lower max_n_sources, draw smaller batches, light=False, or detect on "
        r"whole images with btk_punet\.detect"
    )
    with pytest.raises(InputError, match=message):
        check_results_fit("It", (1, 4096, 4096), 7000, 1, "light=False")


@pytest.mark.parametrize("call", ["batch_call", "deblend"])
def test_the_network_s_results(free, call):
    """Before the weights are read, which here are none."""
    free(1e5)
    batch = make_batch(np.zeros((2, 32, 32)))
    deblender = ProbaUNetDeblender(100, "no/such/weights")
    arguments = (batch,) if call == "batch_call" else (0, batch)
    with pytest.raises(InputError, match=r"max_n_sources=100.*deblended images.*light=False"):
        getattr(deblender, call)(*arguments)


def test_a_segmentation_alone(free):
    free(1e5)
    batch = make_batch(np.zeros((2, 32, 32)))
    with pytest.raises(InputError, match=r"SepDeblender would need"):
        SepDeblender(100)(batch)
    assert len(SepDeblender(10)(batch).catalog_list) == 2
