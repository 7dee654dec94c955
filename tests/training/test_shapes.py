"""PSFs with aberrations and galaxies with structure: fluxes, centres, sizes."""

import numpy as np
import pytest

from btk_punet import EuclidCatalog
from btk_punet.simulation.rendering import Component, StampRenderer
from btk_punet.simulation.survey import euclid_psf
from btk_punet.training.shapes import (
    IRREGULAR_KINDS,
    PSF_FWHM_RANGE_ARCSEC,
    PatchyDisk,
    PlacedComponent,
    equivalent_fwhm_arcsec,
    galaxy_parts,
    training_psfs,
)


@pytest.fixture(scope="module")
def rows():
    """Twelve large disks."""
    table = EuclidCatalog.simulate(3000, 8, 20.5, 23.0).table.to_pandas()
    radius = np.sqrt(table["a_d"] * table["b_d"])
    return table[(radius > 0.3) & (radius < 0.6)].head(12).to_dict("records")


def test_psfs_have_their_fwhm_and_differ():
    psfs = training_psfs(4, seed=2)
    fwhms = [equivalent_fwhm_arcsec(psf) for psf in psfs]
    low, high = PSF_FWHM_RANGE_ARCSEC
    assert low - 0.002 < fwhms[0] < fwhms[-1] < high + 0.002
    assert (np.diff(fwhms) > 0.003).all()
    images = [psf.drawImage(nx=33, ny=33, scale=0.05, method="no_pixel").array for psf in psfs]
    # Aberrations: no longer the same when turned by 180 degrees.
    assert max(np.abs(image - image[::-1, ::-1]).max() / image.max() for image in images) > 0.02
    # The brightest point stays where the catalog says that the source is.
    for image in images:
        assert np.unravel_index(image.argmax(), image.shape) == (16, 16)
    again = training_psfs(1, seed=2)[0].drawImage(nx=33, ny=33, scale=0.05, method="no_pixel")
    other = training_psfs(1, seed=3)[0].drawImage(nx=33, ny=33, scale=0.05, method="no_pixel")
    assert not np.array_equal(again.array, other.array)


def test_equivalent_fwhm_of_a_round_psf():
    assert equivalent_fwhm_arcsec(euclid_psf(0.17)) == pytest.approx(0.17, rel=0.02)


@pytest.mark.parametrize("kind", IRREGULAR_KINDS)
def test_structure_keeps_flux_centre_and_size(rows, kind):
    renderer = StampRenderer(euclid_psf(0.16), 0.1, 12.5)
    grid = np.arange(128)
    rng = np.random.default_rng(4)
    for row in rows:
        named, parts = galaxy_parts(row, 1e4, rng, kind)
        assert named == kind
        assert all(part.flux > 0 for part in parts)
        assert sum(part.flux for part in parts) == pytest.approx(1e4)
        image = np.zeros((128, 128))
        stamp, in_rows, in_cols = renderer.draw(parts, 64.3, 63.8, 128)
        image[in_rows, in_cols] = stamp
        assert image.sum() == pytest.approx(1e4, rel=0.03)
        # The centroid, of which the light beyond the stamp takes a little.
        assert (image.sum(axis=0) * grid).sum() / image.sum() == pytest.approx(64.3, abs=0.25)
        assert (image.sum(axis=1) * grid).sum() / image.sum() == pytest.approx(63.8, abs=0.25)
        # One source: half of its light lies within a few half-light radii of its body.
        distance = np.hypot(grid - 64.3, grid[:, None] - 63.8) * 0.1
        assert image[distance < 2 * row["a_d"]].sum() > 0.5e4


def test_structured_galaxies_differ_from_smooth_ones(rows):
    renderer = StampRenderer(euclid_psf(0.16), 0.1, 12.5)
    rng = np.random.default_rng(4)
    for kind in IRREGULAR_KINDS:
        asymmetry = []
        for row in rows:
            _, parts = galaxy_parts(row, 1e4, rng, kind)
            image = np.zeros((65, 65))
            stamp, in_rows, in_cols = renderer.draw(parts, 32, 32, 65)
            image[in_rows, in_cols] = stamp
            asymmetry.append(np.abs(image - image[::-1, ::-1]).sum() / image.sum())
        assert np.mean(asymmetry) > 0.05


def test_small_and_early_galaxies_and_stars_are_smooth(rows):
    rng = np.random.default_rng(0)
    small = {**rows[0], "a_d": 0.08, "b_d": 0.08, "a_b": 0.04, "b_b": 0.04}
    early = {**rows[0], "sersic_n": 4.0}
    star = {**rows[0], "is_star": True}
    for _ in range(50):
        assert galaxy_parts(small, 1e3, rng)[0] in ("sersic", "bulge_disk")
        assert galaxy_parts(early, 1e3, rng)[0] == "sersic"
        assert galaxy_parts(star, 1e3, rng)[0] == "star"
    kinds = {galaxy_parts(rows[0], 1e3, rng)[0] for _ in range(200)}
    assert len(kinds & set(IRREGULAR_KINDS)) >= 4


def test_a_placed_component_reaches_farther():
    component = Component(100.0, 1.0, 0.3)
    placed = PlacedComponent.at(component, 0.3, 0.4)
    assert placed.flux == 100.0
    assert placed.radius_at(1.0) == pytest.approx(component.radius_at(1.0) + 0.5)
    centroid = placed.profile().centroid
    assert (centroid.x, centroid.y) == pytest.approx((0.3, 0.4))


def test_a_patchy_disk_stands_where_its_light_says():
    # Two cells, of 1/4 and 3/4 of the light: 0.3 arcsec to the left and right, 0.1 down and up.
    light = np.zeros((4, 4))
    light[1, 0], light[2, 3] = 0.25, 0.75
    disk = PatchyDisk(1e4, light, np.diag([0.2, 0.2]), 0.0, 0.0)
    assert disk.centroid() == pytest.approx((0.15, 0.05))
    moved = disk.moved(0.5, -0.25)
    assert moved.centroid() == pytest.approx((0.65, -0.2))
    assert moved.profile().flux == pytest.approx(1e4)
    image = moved.profile().drawImage(nx=81, ny=81, scale=0.05, method="no_pixel").array
    steps = (np.arange(81) - 40) * 0.05
    assert image.sum() == pytest.approx(1e4, rel=1e-3)
    assert (image.sum(axis=0) @ steps) / image.sum() == pytest.approx(0.65, abs=1e-3)
    assert (image.sum(axis=1) @ steps) / image.sum() == pytest.approx(-0.2, abs=1e-3)


def test_how_far_a_patchy_disk_reaches():
    light = np.zeros((4, 4))
    light[1, 0], light[2, 3] = 0.25, 0.75
    disk = PatchyDisk(1e4, light, np.eye(2), 0.0, 0.0)
    assert disk.radius_at(1e4) == 0  # no cell of 1 arcsec^2 is that bright
    assert disk.radius_at(5e3) == pytest.approx(np.hypot(1.5, 0.5))
    assert disk.moved(1.0, 0.0).radius_at(1e3) == pytest.approx(np.hypot(2.5, 0.5))


def test_a_turned_patchy_disk_keeps_the_handedness_of_the_sky():
    # One lit cell on the long axis, which lies at 30 degrees from x towards y.
    light = np.zeros((5, 5))
    light[2, 4] = 1.0
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    disk = PatchyDisk(1.0, light, np.array([[cos, -0.5 * sin], [sin, 0.5 * cos]]), 0.0, 0.0)
    centroid = disk.profile().centroid
    assert disk.centroid() == pytest.approx((2 * cos, 2 * sin))
    assert (centroid.x, centroid.y) == pytest.approx((2 * cos, 2 * sin), abs=1e-6)
