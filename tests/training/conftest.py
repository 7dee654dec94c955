"""A bank of round galaxies, and the choices of runs so small that they take seconds."""

import os

import galsim
import numpy as np
import pytest

from btk_punet.simulation.survey import euclid_psf
from btk_punet.training.bank import CATALOG_DTYPE, GalaxyBank
from btk_punet.training.config import TrainingConfig

# Before Keras is loaded: the product runs on TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# 40 steps with a report after every tenth.
TINY = {
    "model": {"channels": [4, 6], "latent_channels": 2, "head_channels": 4},
    "n_stamps": 160,
    "batch_size": 4,
    "stamp_size": 16,
    "learning_rate": 0.01,
    "warmup_steps": 5,
    "beta_warmup_steps": 20,
    "average_steps": 20,
    "report_stamps": 40,
    "validation_stamps": 6,
    "precision": "float32",
    "n_galaxies": 60,
    "seed": 5,
}


@pytest.fixture(scope="session")
def tiny():
    return TrainingConfig.from_dict(TINY)


@pytest.fixture(scope="session")
def gaussians():
    """A bank of 60 round Gaussians, without GalSim: 100 s exposures, a sigma of 10 electrons."""
    rng = np.random.default_rng(1)
    catalog = np.zeros(60, CATALOG_DTYPE)
    catalog["galaxy"] = np.arange(60)
    catalog["psf"] = np.arange(60) % 2
    catalog["magnitude"], catalog["weight"] = rng.uniform(20.0, 25.0, 60), 1.0
    catalog["height"] = catalog["width"] = 11
    catalog["x"], catalog["y"] = 5 + rng.uniform(-0.5, 0.5, (2, 60))
    grid = np.arange(11)
    pixels = [
        3.0
        * 10 ** (-0.4 * (row["magnitude"] - 23.0))
        * np.exp(-0.5 * ((grid - row["x"]) ** 2 + (grid[:, None] - row["y"]) ** 2) / 1.5**2)
        for row in catalog
    ]
    return GalaxyBank(
        np.ravel(pixels).astype(np.float16), catalog, np.array([0.16, 0.18]), 100.0, 4.0, 100.0
    )


@pytest.fixture(scope="session")
def psfs():
    return [euclid_psf(0.16), galsim.Gaussian(fwhm=0.19)]


@pytest.fixture
def no_plots(monkeypatch):
    """Runs without their plots, which take longer than the training does."""
    monkeypatch.setattr("btk_punet.training.run_folder.TrainingRun.draw", lambda *_: None)
