"""A small population, the surveys, and scenes that are known before they are drawn."""

import numpy as np
import pytest
from astropy.table import Table
from btk.sampling_functions import SamplingFunction

from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.survey import get_euclid_survey

SKY_ELECTRONS = 155.57  # of one exposure in a pixel, BTK's figure for Euclid_VIS
SIGMA = np.sqrt(SKY_ELECTRONS)


class FixedSampling(SamplingFunction):
    """Returns the same scene at every call: what is drawn is then known."""

    def __init__(self, scene, stamp_size=6.4, seed=0):
        super().__init__(stamp_size, max_number=max(len(scene), 1), min_number=0, seed=seed)
        self.scene = scene

    def __call__(self, table):
        return self.scene


def make_scene(ra, dec, mag, **columns):
    """Return a scene of round exponential disks of 0.3 arcsec, or of what `columns` say."""
    n = len(ra)
    defaults = {
        "fluxnorm_disk": 1.0,
        "fluxnorm_bulge": 0.0,
        "fluxnorm_agn": 0.0,
        "a_d": 0.3,
        "b_d": 0.3,
        "a_b": 0.0,
        "b_b": 0.0,
        "pa_disk": 0.0,
        "pa_bulge": 0.0,
        "sersic_n": 0.0,
        "is_star": False,
    }
    scene = Table({"ra": np.array(ra, float), "dec": np.array(dec, float)})
    scene["IE_ab"] = scene["i_ab"] = np.broadcast_to(mag, n).astype(float)
    for name, value in (defaults | columns).items():
        scene[name] = np.broadcast_to(value, n).copy()
    return scene


@pytest.fixture(scope="session")
def catalog():
    return EuclidCatalog.simulate(400, seed=11, star_fraction=0.05)


@pytest.fixture(scope="session")
def one_exposure():
    """The depth of BTK's Euclid_VIS: one exposure without read noise."""
    return get_euclid_survey(1, 0.0)


@pytest.fixture(scope="session")
def wide_stack():
    """Four exposures with read noise, the Euclid Wide Survey."""
    return get_euclid_survey()
