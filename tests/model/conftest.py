import os

import numpy as np
import pytest

# Before Keras is loaded: the product runs on TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

keras = pytest.importorskip("keras")

from btk_punet.model.proba_unet import ProbaUNet  # noqa: E402

SMALL = {"channels": (6, 8, 12), "latent_channels": 3}


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="module", params=["grid", "global"])
def model(request):
    keras.utils.set_random_seed(1)
    return ProbaUNet(latent=request.param, **SMALL)


@pytest.fixture(scope="module")
def grid():
    keras.utils.set_random_seed(1)
    return ProbaUNet(**SMALL)


def toy(n=8, size=16, seed=5):
    """Stamps with one or two square sources of two sigma, their classes and centres."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((n, size, size, 1)).astype("float32")
    covered, centres = np.zeros((n, size, size), int), np.zeros((n, size, size))
    for i in range(n):
        for x, y in rng.integers(3, size - 3, (1 + i % 2, 2)):
            covered[i, y - 2 : y + 3, x - 2 : x + 3] += 1
            centres[i, y, x] = 1
    images += 4 * covered[..., None]
    return images, np.minimum(covered, 2), centres


def batch_of(model, images, classes, centres, seed=0):
    shape = (len(images), *model.latent_shape(*images.shape[1:3]))
    noise = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    return {"images": images, "classes": classes, "centres": centres, "noise": noise}
