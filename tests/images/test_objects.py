from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from btk_punet import detect
from btk_punet.images.objects import UNSEEN_PIXELS
from btk_punet.model.proba_unet import ProbaUNet
from tests.images.scenes import noise


@pytest.fixture(scope="module")
def eager_network() -> ProbaUNet:
    """A network that was not trained and sees a faint chance of a source everywhere."""
    return ProbaUNet(channels=(4, 8), latent_channels=1, head_channels=4, centre_prior=0.02)


def candidates(network: ProbaUNet, mask: np.ndarray, folder: Path) -> Table:
    return detect(
        noise(mask.shape),
        mask=mask,
        rms=1.0,
        background=None,
        zeropoint=25.0,
        pixel_scale_arcsec=0.1,
        weights=network,
        n_samples=2,
        light=False,
        progress=False,
        output=folder,
    ).candidates


def test_there_are_no_candidates_where_nothing_is_seen(eager_network, tmp_path):
    mask = np.zeros((48, 64), bool)
    mask[8:40, 20:50] = True
    found = candidates(eager_network, mask, tmp_path / "masked")
    deep = mask.copy()
    deep[8 : 8 + UNSEEN_PIXELS] = deep[40 - UNSEEN_PIXELS : 40] = False
    deep[:, 20 : 20 + UNSEEN_PIXELS] = deep[:, 50 - UNSEEN_PIXELS : 50] = False
    row, column = (np.round(found[name]).astype(int) for name in "yx")
    assert not deep[row, column].any()
    assert len(found) > 20
    # The mask is why: without it there are some.
    found = candidates(eager_network, np.zeros((48, 64), bool), tmp_path / "whole")
    row, column = (np.round(found[name]).astype(int) for name in "yx")
    assert deep[row, column].any()
