"""The signal-to-noise ratio of a source if it were alone, against closed forms."""

import numpy as np
import pytest

from btk_punet.simulation.snr import alone_snr
from tests.evaluation.conftest import BACKGROUND, gaussian

NOTHING = np.zeros((0, 20, 20))


def test_no_sources():
    assert alone_snr(NOTHING, BACKGROUND).shape == (0,)


def test_one_pixel():
    assert alone_snr(np.array([[[30.0]]]), 70.0) == pytest.approx(30 / np.sqrt(100))


def test_gaussian_on_a_bright_background():
    flux, sigma, background = 1000.0, 2.0, 1e7
    snr = alone_snr(gaussian(30, 30, flux, sigma)[None], background)
    assert snr == pytest.approx(flux / np.sqrt(4 * np.pi * sigma**2 * background), rel=1e-5)


def test_source_without_flux_has_none():
    isolated = np.array([np.zeros((9, 9)), gaussian(4, 4, 100, 1, (9, 9))])
    snr = alone_snr(isolated, BACKGROUND)
    assert snr[0] == 0
    assert snr[1] > 0


def test_neighbours_do_not_matter():
    isolated = np.array([gaussian(20, 20, 1e4, 2, (40, 40)), gaussian(22, 20, 1e5, 2, (40, 40))])
    both = alone_snr(isolated, BACKGROUND)
    assert both == pytest.approx([alone_snr(image[None], BACKGROUND)[0] for image in isolated])


def test_background_map_is_taken_pixel_by_pixel():
    isolated = np.zeros((2, 4, 6))
    isolated[0, 1, 1], isolated[1, 2, 5] = 10.0, 10.0
    background = np.full((4, 6), 90.0)
    background[2, 5] = 390.0
    assert alone_snr(isolated, background) == pytest.approx([1.0, 0.5])


def test_single_precision_images_give_double_precision():
    isolated = np.full((1, 300, 300), 0.1, np.float32)
    expected = np.sqrt(300**2 * np.float32(0.1).astype(float) ** 2 / (5 + np.float32(0.1)))
    assert alone_snr(isolated, 5.0)[0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("background", [0.0, -1.0, np.nan, np.zeros((20, 20))])
def test_background_must_be_above_zero(background):
    with pytest.raises(ValueError, match="background.*above 0"):
        alone_snr(NOTHING, background)


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"isolated must have the shape \(n, H, W\)"):
        alone_snr(np.zeros((2, 1, 20, 20)), BACKGROUND)
