import os

import numpy as np
import pytest

# Before Keras is loaded: the product runs on TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

pytest.importorskip("keras")


@pytest.fixture
def rng():
    return np.random.default_rng(1)
