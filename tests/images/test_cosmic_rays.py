import sys

import numpy as np
import pytest

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.errors import MissingProgramError
from btk_punet.images.sky_image import open_image
from tests.images.scenes import noise


def test_without_astroscrappy_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "astroscrappy", None)
    with pytest.raises(MissingProgramError, match=r"pip install 'btk_punet\[cosmic-rays\]'"):
        open_image(noise(), cosmic_rays=True)


def test_a_ray_is_masked_and_a_star_is_not():
    values = noise((100, 120))
    row, column = np.indices(values.shape)
    star = 400 * np.exp(-0.5 * ((row - 70) ** 2 + (column - 80) ** 2) / 0.8**2)
    ray = np.zeros(values.shape, bool)
    ray[np.arange(20, 30), np.arange(40, 50)] = True
    values += star + 100 * ray
    image = open_image(values, rms=1.0, background=None, gain=1.0, cosmic_rays=True)
    for rows, columns in ((slice(0, 100), slice(0, 120)), (slice(25, 75), slice(44, 90))):
        tile = image.tile(rows, columns)
        hit = (tile.flags & int(DetectionFlag.COSMIC_RAY)) != 0
        assert hit[ray[rows, columns]].all()
        assert not hit[(star > 1)[rows, columns]].any()
        assert not tile.usable[hit].any()
    assert image.notes[-1].endswith("were hit by cosmic rays.")
    assert (
        image.fingerprint() != open_image(values, rms=1.0, background=None, gain=1.0).fingerprint()
    )
