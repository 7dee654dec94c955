"""Patches of images, and what of them is inside."""

import dataclasses

import galsim
import numpy as np
import pytest

from btk_punet.deblending.light.canvas import Canvas, Scenes, shared_part


def scenes(images):
    usable = np.isfinite(images)
    return Scenes(images, usable, 100.0, galsim.Gaussian(fwhm=0.2), False, 0.1)


def test_canvas_cuts_patches_at_the_image():
    canvas = Canvas(scenes(np.zeros((1, 20, 30))))
    place, part = canvas.inside(canvas.box(0, 28, 3, 24))
    assert place == (0, slice(0, 15), slice(16, 30))
    assert part == (slice(9, 24), slice(0, 14))


def test_a_patch_beside_the_image_has_nothing_inside():
    canvas = Canvas(scenes(np.ones((1, 40, 40))))
    _, rows, columns = canvas.box(0, 0, 0, 24)
    outside = 0, slice(rows.start - 30, rows.stop - 30), columns
    place, part = canvas.inside(outside)
    assert place[1].start == place[1].stop == 0
    assert part[0].start == part[0].stop


def test_weights_and_residuals_by_hand():
    image = np.full((1, 30, 30), 7.0)
    image[0, 15, 15] = np.nan
    canvas = Canvas(scenes(image))
    box = canvas.box(0, 15, 15, 24)
    canvas.add(box, np.full((24, 24), 50.0, np.float32))
    weight, residual = canvas.weight_and_residual(box)
    assert weight[12, 12] == 0
    assert weight[12, 13] == pytest.approx(1 / 150)
    assert residual[12, 13] == pytest.approx(-43.0)


def test_a_background_of_its_own_for_each_pixel():
    """Weights, loss and noise by hand where one pixel has nine times the variance."""
    image = np.full((1, 30, 30), 20.0)
    background = np.full(image.shape, 100.0)
    background[0, 15, 16] = 900.0
    own = dataclasses.replace(scenes(image), background=background)
    canvas, plain = Canvas(own), Canvas(scenes(image))
    box = canvas.box(0, 15, 15, 24)
    for one in (canvas, plain):
        one.add(box, np.full((24, 24), 50.0, np.float32))
    weight, _ = canvas.weight_and_residual(box)
    assert weight[12, 12] == pytest.approx(1 / 150)
    assert weight[12, 13] == pytest.approx(1 / 950)
    change = (20 + 100) * np.log(150 / 100) - (20 + 900) * np.log(950 / 900)
    assert canvas.loss([box]) - plain.loss([box]) == pytest.approx(change, rel=1e-4)
    # Outside of the image there is no weight, and nothing is divided by 0.
    weight, _ = canvas.weight_and_residual(canvas.box(0, 0, 0, 24))
    assert np.isfinite(weight).all()
    assert not weight[:12].any()
    zero = np.zeros(3, int)
    places = np.array([16, 15, 99]), np.array([15, 15, 15])
    np.testing.assert_allclose(own.sigma(zero, *places), [30, 10, 10])
    np.testing.assert_allclose(scenes(image).sigma(zero, *places), 10)


def test_loss_is_that_of_poisson_noise():
    """Its slope by the model is the weighted residual, and without a model it is 0."""
    canvas = Canvas(scenes(np.full((1, 30, 30), 20.0)))
    box = canvas.box(0, 15, 15, 24)
    assert canvas.loss([box]) == 0
    level = np.full((24, 24), 50.0, np.float32)
    canvas.add(box, level)
    weight, residual = canvas.weight_and_residual(box)
    before, step = canvas.loss([box]), 0.5
    canvas.add(box, np.full((24, 24), step, np.float32))
    expected = -(weight * residual).sum() * step
    assert canvas.loss([box]) - before == pytest.approx(expected, rel=0.02)


def test_shared_parts_by_hand():
    one, other = (0, slice(0, 10), slice(5, 15)), (0, slice(8, 20), slice(0, 7))
    first, second = shared_part(one, other)
    assert first == (slice(8, 10), slice(0, 2))
    assert second == (slice(0, 2), slice(5, 7))
    assert shared_part(one, (0, slice(10, 20), slice(0, 20))) is None
