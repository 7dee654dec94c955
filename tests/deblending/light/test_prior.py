"""The priors of the fit: derivatives, and the population that they stand for."""

from dataclasses import replace

import numpy as np
import pytest

from btk_punet.deblending.light.prior import (
    G_SCATTER,
    RADIUS_SCATTER_DEX,
    RADIUS_UNKNOWN_SCATTER_DEX,
    LightPrior,
)
from btk_punet.deblending.light.profiles import FLUX, LOG_RADIUS, N_PARAMETERS, X
from btk_punet.simulation.catalog import EuclidCatalog, half_light_radius_arcsec

PRIOR = LightPrior(zeropoint=32.8, pixel_scale_arcsec=0.1, least_flux=120.0)


def test_no_sources():
    loss, gradient, curvature = PRIOR.equations(
        np.zeros((0, N_PARAMETERS)), np.zeros((0, N_PARAMETERS))
    )
    assert loss.shape == (0,)
    assert gradient.shape == (0, N_PARAMETERS)
    assert curvature.shape == (0, N_PARAMETERS, N_PARAMETERS)


@pytest.mark.parametrize("flux", [3000.0, 50.0])
def test_gradient_is_that_of_the_loss(flux):
    at = np.array([flux, 30.2, 31.4, 0.9, 0.2, -0.1, 0.8, 0.3])
    start = np.array([1000.0, 30.0, 31.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    _, gradient, _ = PRIOR.equations(at, start)
    for axis, step in enumerate([1.0] + 7 * [1e-5]):
        change = np.eye(N_PARAMETERS)[axis] * step
        up, down = (PRIOR.equations(at + sign * change, start)[0] for sign in (1, -1))
        assert gradient[axis] == pytest.approx(-(up - down) / (2 * step), rel=1e-3, abs=1e-9)


def test_without_a_zero_point_a_flux_says_nothing_of_the_size():
    unknown = replace(PRIOR, zeropoint=np.nan)
    flux = np.array([30.0, 3000.0, 300_000.0])
    # The population's mean size at the middle magnitude, 0.25 arcsec, whatever the flux.
    np.testing.assert_allclose(np.exp(unknown.log_radius(flux)), 2.535, rtol=1e-3)
    sizes = PRIOR.log_radius(10 ** (-0.4 * (np.array([20, 26.5]) - PRIOR.zeropoint)))
    off = (sizes - unknown.log_radius(flux[:2])) / (RADIUS_UNKNOWN_SCATTER_DEX * np.log(10))
    assert (abs(off) < 1.3).all()
    at = np.array([3000.0, 30.0, 31.0, 0.9, 0.0, 0.0, 0.0, 0.0])
    _, gradient, curvature = unknown.equations(at, at)
    assert gradient[FLUX] == 0
    assert not curvature[FLUX].any()
    assert curvature[LOG_RADIUS, LOG_RADIUS] == pytest.approx(1 / (0.4 * np.log(10)) ** 2)


def test_each_source_has_its_own_least_flux():
    several = replace(PRIOR, least_flux=np.array([10.0, 5000.0, 120.0]))
    at = np.tile([3000.0, 30.0, 31.0, 0.9, 0.0, 0.0, 0.0, 0.0], (3, 1))
    rows = np.array([1, 2])
    found = several.take(rows).equations(at[rows], at[rows])
    for number, row in enumerate(rows):
        alone = replace(PRIOR, least_flux=several.least_flux[row]).equations(at[row], at[row])
        for part, one in zip(found, alone, strict=True):
            np.testing.assert_array_equal(part[number], one)
    assert PRIOR.take(rows) == PRIOR


def test_a_place_is_held_by_the_scatter_of_its_source():
    held = replace(PRIOR, least_flux=np.full(2, 120.0), place_scatter_pixels=np.array([2.0, 0.5]))
    start = np.tile([3000.0, 30.0, 31.0, 0.9, 0.0, 0.0, 0.0, 0.2], (3, 1))
    at = start + np.eye(N_PARAMETERS)[X]
    several = held.joined(held.take(np.array([1])))
    loss = several.equations(at, start)[0] - several.equations(start, start)[0]
    np.testing.assert_allclose(loss, [1 / 8, 2, 2])


def test_curvature_by_hand():
    at = np.array([3000.0, 30.0, 31.0, 0.9, 0.0, 0.0, 0.0, 0.0])
    _, _, curvature = PRIOR.equations(at, at)
    np.testing.assert_allclose(curvature, curvature.T)
    assert np.linalg.eigvalsh(curvature).min() > -1e-12
    assert curvature[4, 4] == pytest.approx(G_SCATTER**-2)
    assert curvature[LOG_RADIUS, LOG_RADIUS] == pytest.approx(
        (RADIUS_SCATTER_DEX * np.log(10)) ** -2
    )
    # A tenfold flux, 2.5 mag, is a radius larger by 0.25 dex: the two go together.
    ratio = -curvature[FLUX, LOG_RADIUS] / curvature[LOG_RADIUS, LOG_RADIUS]
    assert ratio * 3000.0 == pytest.approx(0.25, abs=0.005)


def test_sizes_are_those_of_the_population():
    table = EuclidCatalog.simulate(20_000, seed=8).table
    radius = np.log(half_light_radius_arcsec(table) / PRIOR.pixel_scale_arcsec)
    flux = 10 ** (-0.4 * (table["IE_ab"] - PRIOR.zeropoint))
    off = radius - PRIOR.log_radius(flux)
    for low in (22, 23, 24, 25):
        some = np.asarray(off[(table["IE_ab"] >= low) & (table["IE_ab"] < low + 1)])
        assert abs(some.mean()) < 0.05
        assert some.std() < RADIUS_SCATTER_DEX * np.log(10) * 1.35
