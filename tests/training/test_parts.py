"""Parts of galaxies: where their light is, and how far they reach."""

import numpy as np
import pytest

from btk_punet.simulation.rendering import Component
from btk_punet.training.parts import LightGrid, PlacedComponent, centred


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
    disk = LightGrid(1e4, light, np.diag([0.2, 0.2]), 0.0, 0.0)
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
    disk = LightGrid(1e4, light, np.eye(2), 0.0, 0.0)
    assert disk.radius_at(1e4) == 0  # no cell of 1 arcsec^2 is that bright
    assert disk.radius_at(5e3) == pytest.approx(np.hypot(1.5, 0.5))
    assert disk.moved(1.0, 0.0).radius_at(1e3) == pytest.approx(np.hypot(2.5, 0.5))


def test_a_turned_patchy_disk_keeps_the_handedness_of_the_sky():
    # One lit cell on the long axis, which lies at 30 degrees from x towards y.
    light = np.zeros((5, 5))
    light[2, 4] = 1.0
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    disk = LightGrid(1.0, light, np.array([[cos, -0.5 * sin], [sin, 0.5 * cos]]), 0.0, 0.0)
    centroid = disk.profile().centroid
    assert disk.centroid() == pytest.approx((2 * cos, 2 * sin))
    assert (centroid.x, centroid.y) == pytest.approx((2 * cos, 2 * sin), abs=1e-6)


def test_parts_moved_together():
    # A disk of flux 3 with its light at (0.15, 0.05), and a knot of flux 1 at (1, 0).
    light = np.zeros((4, 4))
    light[1, 0], light[2, 3] = 0.25, 0.75
    disk = LightGrid(3.0, light, np.diag([0.2, 0.2]), 0.0, 0.0)
    knot = PlacedComponent.at(Component(1.0), 1.0, 0.0)
    moved = centred([disk, knot])
    assert moved[0].centroid() == pytest.approx((0.15 - 0.3625, 0.05 - 0.0375))
    assert moved[1].centroid() == pytest.approx((1 - 0.3625, -0.0375))
