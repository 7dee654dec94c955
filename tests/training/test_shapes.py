"""Galaxies with structure: fluxes, centres, sizes."""

import numpy as np
import pytest

from btk_punet import EuclidCatalog
from btk_punet.simulation.rendering import StampRenderer
from btk_punet.simulation.survey import euclid_psf
from btk_punet.training.shapes import IRREGULAR_KINDS, galaxy_parts


@pytest.fixture(scope="module")
def rows():
    """Twelve large disks."""
    table = EuclidCatalog.simulate(3000, 8, 20.5, 23.0).table.to_pandas()
    radius = np.sqrt(table["a_d"] * table["b_d"])
    return table[(radius > 0.3) & (radius < 0.6)].head(12).to_dict("records")


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
