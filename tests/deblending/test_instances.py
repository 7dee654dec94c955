"""Candidates, counts and footprints, on maps that are set by hand."""

import itertools
import tracemalloc

import numpy as np
import pytest

from btk_punet.deblending.instances import (
    LEAST_CANDIDATE,
    PIXEL_VARIANCE,
    RADIUS_PIXELS,
    Candidates,
    count_posterior,
    find_candidates,
    footprints,
)


def centre_map(*masses, n=1, size=32):
    """Return maps ``(n, size, size)`` with the masses (image, x, y, mass)."""
    maps = np.zeros((n, size, size))
    for image, x, y, mass in masses:
        maps[image, y, x] += mass
    return maps


def blob(x, y, mass, sigma, size=32):
    row, column = np.mgrid[:size, :size]
    shape = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return mass * shape / shape.sum()


def random_maps(n, seed, size=48):
    """Return maps of 0 to 8 blobs of all masses, many of them near each other."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((n, size, size))
    for image in maps:
        for _ in range(rng.integers(0, 9)):
            x, y = rng.uniform(5, size - 6, 2)
            image += blob(x, y, rng.uniform(0.05, 1), rng.uniform(0.3, 1.2), size)
    return maps


def rows(candidates):
    return np.stack([getattr(candidates, name) for name in vars(candidates)], axis=1)


# -- candidates --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 16, 16), (3, 16, 16), (2, 1, 1), (1, 5, 3)])
def test_empty_maps_have_no_candidates(shape):
    found = find_candidates(np.zeros(shape, np.float32))
    assert len(found) == 0
    assert found.image.dtype == int
    assert len(found.of(0)) == 0


@pytest.mark.parametrize("mass", [0.006, 0.3, 1.0])
@pytest.mark.parametrize(("x", "y"), [(11, 17), (0, 0), (31, 12), (31, 31)])
def test_one_pixel(mass, x, y):
    found = find_candidates(centre_map((0, x, y, mass)))
    expected = [[0, x, y, PIXEL_VARIANCE, PIXEL_VARIANCE, mass]]
    np.testing.assert_allclose(rows(found), expected, rtol=1e-12)


def test_what_is_below_the_floor_is_no_candidate():
    assert len(find_candidates(centre_map((0, 11, 17, 0.9 * LEAST_CANDIDATE)))) == 0


@pytest.mark.parametrize("mass", [0.08, 0.25, 0.2500001])
def test_equal_pixels_are_one_candidate(mass):
    pixels = [(0, x, y, min(mass, 0.25)) for x in (10, 11) for y in (20, 21)]
    pixels[2] = (*pixels[2][:3], mass)
    found = find_candidates(centre_map(*pixels))
    expected = [[0, 10.5, 20.5, 0.25 + 1 / 12, 0.25 + 1 / 12, 4 * min(mass, 0.25)]]
    np.testing.assert_allclose(rows(found)[:1], expected, rtol=1e-6)
    assert found.mass[1:].sum() < 1e-6


def test_source_between_two_pixels():
    found = find_candidates(centre_map((0, 10, 20, 0.4), (0, 11, 20, 0.4)))
    np.testing.assert_allclose(rows(found), [[0, 10.5, 20, 0.25 + 1 / 12, 1 / 12, 0.8]])


@pytest.mark.parametrize(("dx", "dy"), [(5, 0), (0, 5), (3, 4), (3, 3)])
def test_two_pixels_apart_are_two_candidates(dx, dy):
    found = find_candidates(centre_map((0, 10, 12, 0.7), (0, 10 + dx, 12 + dy, 0.9)))
    expected = [[0, 10 + dx, 12 + dy, 1 / 12, 1 / 12, 0.9], [0, 10, 12, 1 / 12, 1 / 12, 0.7]]
    np.testing.assert_allclose(rows(found), expected)


def test_images_do_not_mix():
    # At the borders that would touch if the images were joined, and at one place in three images.
    masses = [(0, 31, 9, 0.5), (1, 0, 9, 0.6), (0, 5, 31, 0.3), (1, 5, 0, 0.4), (2, 0, 9, 0.7)]
    found = find_candidates(centre_map(*masses, n=4))
    expected = [
        [image, x, y, 1 / 12, 1 / 12, mass]
        for image, x, y, mass in sorted(masses, key=lambda m: (m[0], -m[3]))
    ]
    np.testing.assert_allclose(rows(found), expected)
    assert [len(found.of(image)) for image in range(4)] == [2, 2, 1, 0]
    assert found.of(1).x.tolist() == [0, 5]


@pytest.mark.parametrize("sigma", [0.3, 0.8])
def test_mass_above_one_is_two_sources(sigma):
    found = find_candidates(blob(15.2, 16.1, 1.6, sigma)[None])
    assert found.mass[0] == 1
    assert found.mass[1:].sum() == pytest.approx(0.6, abs=0.02)
    assert found.mass[1] > 0.5
    for x, y in zip(found.x[:2], found.y[:2], strict=True):
        assert np.hypot(x - 15.2, y - 16.1) < 1
    # The nearest pixels came first, so what is left lies further out.
    assert found.x_variance[1] > found.x_variance[0]


def test_moments_are_those_of_the_pixels():
    masses = [(0, 10, 10, 0.3), (0, 11, 10, 0.1), (0, 10, 12, 0.2)]
    found = find_candidates(centre_map(*masses))
    x, y, mass = np.array([m[1:] for m in masses]).T
    assert len(found) == 1
    for values, place, variance in ((x, found.x, found.x_variance), (y, found.y, found.y_variance)):
        mean = (mass * values).sum() / mass.sum()
        assert place[0] == pytest.approx(mean)
        expected = (mass * (values - mean) ** 2).sum() / mass.sum() + PIXEL_VARIANCE
        assert variance[0] == pytest.approx(expected)


def test_a_pixel_between_two_peaks_goes_to_the_higher_one():
    # The middle pixel is two from each, however the map is turned.
    one = centre_map((0, 10, 10, 0.5), (0, 12, 10, 0.02), (0, 14, 10, 0.6))
    for maps in (one, one[:, :, ::-1], one.swapaxes(1, 2)):
        np.testing.assert_allclose(find_candidates(maps).mass, [0.62, 0.5])


def test_mass_far_from_peaks_is_found_in_a_later_pass():
    # On the slope of the bright pixel the faint one has no peak of its own.
    far = int(RADIUS_PIXELS) + 1
    found = find_candidates(centre_map((0, 10, 10, 1.0), (0, 10 + far, 10, 0.01)))
    expected = [[0, 10, 10, 1 / 12, 1 / 12, 1], [0, 10 + far, 10, 1 / 12, 1 / 12, 0.01]]
    np.testing.assert_allclose(rows(found), expected)


def test_mass_is_conserved():
    maps = random_maps(20, seed=1)
    found = find_candidates(maps)
    assert len(found) > 60
    for image in range(20):
        whole, taken = maps[image].sum(), found.of(image).mass.sum()
        assert taken <= whole + 1e-9
        # What is lost lies in the tails, below the floors of a pixel and of a candidate.
        assert taken > 0.97 * whole - 0.01
    assert found.mass.max() <= 1
    assert found.mass.min() >= LEAST_CANDIDATE


def test_order():
    found = find_candidates(random_maps(20, seed=2))
    assert (np.diff(found.image) >= 0).all()
    assert (np.diff(found.mass)[np.diff(found.image) == 0] <= 0).all()


def test_what_else_is_in_the_batch_changes_nothing():
    maps = random_maps(30, seed=3)
    together = find_candidates(maps)
    order = np.random.default_rng(0).permutation(30)
    permuted = find_candidates(maps[order])
    for place, image in enumerate(order):
        alone = rows(find_candidates(maps[[image]]))[:, 1:]
        np.testing.assert_allclose(rows(together.of(image))[:, 1:], alone, atol=1e-12)
        np.testing.assert_allclose(rows(permuted.of(place))[:, 1:], alone, atol=1e-12)


def test_sources_that_are_sure_keep_the_order_of_their_peaks():
    # Sums of 0.1 miss 1 by rounding, differently in each batch.
    spread = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    high = [(1, 10 + dx, 10 + dy, 0.05 if dx or dy else 0.6) for dx, dy in spread]
    low = [(1, 20 + dx, 10 + dy, 0.1 if dx or dy else 0.2) for dx, dy in spread]
    for other in (0.0, 0.1, 0.3, 0.7):
        found = find_candidates(centre_map(*low, *high, (0, 5, 5, other), n=2)).of(1)
        assert found.mass.tolist() == [1, 1]
        np.testing.assert_allclose(found.x, [10, 20])


def test_constant_map_is_finite():
    found = find_candidates(np.full((2, 16, 16), 0.02))
    assert len(found)
    assert found.mass.sum() < 2 * 16 * 16 * 0.02 + 1e-9
    assert np.isfinite(rows(found)).all()


def test_the_argument_is_left_as_it_is():
    maps = random_maps(2, seed=4).astype(np.float32)
    before = maps.copy()
    find_candidates(maps)
    np.testing.assert_array_equal(maps, before)


def test_take_and_join():
    found = find_candidates(random_maps(6, seed=5))
    parts = [found.of(image) for image in range(6)]
    np.testing.assert_array_equal(rows(Candidates.joined(parts)), rows(found))
    np.testing.assert_array_equal(rows(found.take(found.mass > 0.5)), rows(found)[found.mass > 0.5])


# -- counts ------------------------------------------------------------------------------------


def by_enumeration(probabilities, n_largest):
    counts = np.zeros(n_largest + 1)
    for present in itertools.product([0, 1], repeat=len(probabilities)):
        chance = [p if here else 1 - p for p, here in zip(probabilities, present, strict=True)]
        counts[min(sum(present), n_largest)] += np.prod(chance)
    return counts


def test_no_candidates():
    np.testing.assert_array_equal(count_posterior(np.zeros(0), np.zeros(4), 3), [1, 0, 0, 0])
    np.testing.assert_array_equal(count_posterior(np.zeros(0), np.ones(4), 0), [1])


@pytest.mark.parametrize("n_largest", [0, 1, 3, 5, 8])
@pytest.mark.parametrize("mass", [[0.3], [1.0, 0.0], [0.2, 0.9, 0.5, 0.01, 0.7]])
def test_samples_that_agree_give_the_sum_of_independent_sources(mass, n_largest):
    found = count_posterior(np.array(mass), np.full(4, 1.3), n_largest)
    np.testing.assert_allclose(found, by_enumeration(mass, n_largest), atol=1e-12)
    assert found.sum() == pytest.approx(1)


def test_samples_that_disagree():
    mass, expected = np.array([0.4, 0.3, 0.6]), np.array([0.5, 1.0, 1.5])
    found = count_posterior(mass, expected, 4)
    by_sample = [by_enumeration(mass * scale, 4) for scale in expected]
    np.testing.assert_allclose(found, np.mean(by_sample, axis=0))
    number = np.arange(5)

    def variance(p):
        return (p * number**2).sum() - (p * number).sum() ** 2

    agreed = count_posterior(mass, np.ones(3), 4)
    assert variance(found) > variance(agreed) + 0.1
    assert (found * number).sum() == pytest.approx(mass.sum())


def test_probabilities_are_not_scaled_above_one():
    found = count_posterior(np.array([0.9, 0.8]), np.array([0.1, 1.9]), 3)
    sure = by_enumeration([1, 1], 3)
    np.testing.assert_allclose(found, (by_enumeration([0.09, 0.08], 3) + sure) / 2)


def test_unseen_sources_are_poissons():
    found = count_posterior(np.zeros(0), np.ones(2), 3, unseen=0.5)
    few = np.exp(-0.5) * np.array([1, 1 / 2, 1 / 8])
    np.testing.assert_allclose(found, [*few, 1 - few.sum()])
    # One that is there for sure moves them by one.
    found = count_posterior(np.ones(1), np.ones(2), 3, unseen=0.5)
    np.testing.assert_allclose(found, [0, *few[:2], 1 - few[:2].sum()])
    np.testing.assert_array_equal(count_posterior(np.zeros(0), np.ones(2), 0, unseen=0.5), [1])


def test_samples_that_expect_nothing():
    found = count_posterior(np.array([0.3]), np.zeros(3), 2)
    np.testing.assert_allclose(found, [0.7, 0.3, 0])


# -- footprints --------------------------------------------------------------------------------


def ellipse(x, y, a, b, angle=0.0, size=48):
    row, column = np.mgrid[:size, :size]
    along = (column - x) * np.cos(angle) + (row - y) * np.sin(angle)
    across = -(column - x) * np.sin(angle) + (row - y) * np.cos(angle)
    return (along / a) ** 2 + (across / b) ** 2 <= 1


def class_probability(*sources):
    """Return the sure class map of sources that cover the given pixels."""
    number = np.minimum(np.sum(sources, axis=0), 2)
    return np.stack([number == c for c in range(3)]) * 0.9 + 0.1 / 3


def overlap_share(one, other):
    return (one & other).sum() / (one | other).sum()


def covered_by(x, y, class_probability):
    """Return the footprints as an array ``(n, H, W)``."""
    return footprints(x, y, class_probability).dense()


def test_no_detections():
    found = covered_by(np.zeros(0), np.zeros(0), class_probability(ellipse(20, 20, 5, 5)))
    assert found.shape == (0, 48, 48)
    assert found.dtype == bool


def test_one_disc_is_its_source():
    disc = ellipse(20.3, 21.2, 6, 4, 0.5)
    found = covered_by(np.array([20.3]), np.array([21.2]), class_probability(disc))
    np.testing.assert_array_equal(found, [disc])


def test_touching_discs_and_a_third_apart():
    one, two, three = ellipse(16, 20, 6, 6), ellipse(26, 20, 6, 6), ellipse(20, 38, 4, 4)
    xy = np.array([(16, 20), (20, 38), (26, 20)], float)
    found = covered_by(*xy.T, class_probability(one, two, three))
    both = one & two
    assert both.sum() == 9
    np.testing.assert_array_equal(found[1], three)
    assert found[0][both].all()
    assert found[2][both].all()
    np.testing.assert_array_equal(found[0] | found[2], one | two)
    assert overlap_share(found[0], one) > 0.9
    assert overlap_share(found[2], two) > 0.9


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((16, 20, 8, 5, 0.0), (25, 24, 8, 4, 0.9)),
        ((20, 20, 9, 9, 0.0), (28, 20, 4, 4, 0.0)),
        ((18, 24, 10, 4, 0.3), (30, 24, 6, 6, 0.0)),
        ((24, 24, 12, 4, 0.0), (24, 31, 5, 5, 0.0)),
    ],
)
def test_overlapping_ellipses_are_told_apart(first, second):
    sources = [ellipse(*first), ellipse(*second)]
    assert (sources[0] & sources[1]).sum() >= 9
    x, y = np.array([first[:2], second[:2]], float).T
    found = covered_by(x, y, class_probability(*sources))
    for one, true in zip(found, sources, strict=True):
        assert overlap_share(one, true) > 0.7


def test_order_of_the_detections_changes_nothing():
    sources = [ellipse(16, 20, 8, 5), ellipse(25, 24, 8, 4, 0.9), ellipse(24, 15, 5, 5)]
    x, y = np.array([16.2, 25.1, 24.4]), np.array([20.3, 24.2, 15.1])
    found = covered_by(x, y, class_probability(*sources))
    order = [2, 0, 1]
    again = covered_by(x[order], y[order], class_probability(*sources))
    np.testing.assert_array_equal(again, found[order])


def test_every_pixel_of_a_region_has_its_sources():
    rng = np.random.default_rng(3)
    for _ in range(20):
        n = rng.integers(1, 6)
        x, y = rng.uniform(8, 40, (2, n))
        a, b, angle = rng.uniform(3, 9, n), rng.uniform(2, 5, n), rng.uniform(0, 3, n)
        sources = [ellipse(*row) for row in zip(x, y, a, b, angle, strict=True)]
        classes = class_probability(*sources)
        found = covered_by(x, y, classes)
        covered = classes[0] < 0.5
        np.testing.assert_array_equal(found.any(axis=0), covered)
        assert found.any(axis=(1, 2)).all()
        # Only detections that share a region share pixels, and each does in its overlaps.
        blended = found.sum(axis=0)[classes[2] > 0.5]
        assert (blended >= 2).all()


def test_region_without_a_detection_belongs_to_none():
    lonely = ellipse(36, 36, 5, 5)
    classes = class_probability(ellipse(12, 12, 5, 5), lonely)
    found = covered_by(np.array([12.0]), np.array([12.0]), classes)
    assert not found[0][lonely].any()


def test_blended_region_with_one_detection_is_all_its_own():
    one, two = ellipse(16, 20, 6, 6), ellipse(26, 20, 6, 6)
    found = covered_by(np.array([16.0]), np.array([20.0]), class_probability(one, two))
    np.testing.assert_array_equal(found[0], one | two)


@pytest.mark.parametrize(
    ("x", "y", "pixel"),
    [(40, 5, (5, 40)), (-3.0, 50.0, (47, 0)), (47.4, 0.2, (0, 47)), (39.5, 5.5, (6, 40))],
)
def test_detection_outside_of_all_regions_has_its_own_pixel(x, y, pixel):
    found = covered_by(np.array([x]), np.array([y]), class_probability(ellipse(12, 22, 5, 5)))
    assert found.sum() == 1
    assert found[0][pixel]


def test_detections_in_one_pixel():
    disc = ellipse(20, 20, 6, 6)
    found = covered_by(np.full(2, 20.0), np.full(2, 20.0), class_probability(disc))
    assert found[:, 20, 20].all()
    np.testing.assert_array_equal(found.any(axis=0), disc)
    twice = covered_by(np.full(2, 20.0), np.full(2, 20.0), class_probability(disc, disc))
    np.testing.assert_array_equal(twice, [disc, disc])


def test_more_detections_than_pixels():
    dot = np.zeros((48, 48), bool)
    dot[20, 20] = True
    found = covered_by(np.full(3, 20.2), np.full(3, 19.9), class_probability(dot))
    np.testing.assert_array_equal(found, [dot] * 3)


def test_regions_at_different_ends_of_a_large_map_cost_little_memory():
    size, step = 600, 12
    place = np.arange(6, size, step, dtype=float)
    x, y = (axis.ravel() for axis in np.meshgrid(place, place[:8]))
    covered = np.zeros((size, size), bool)
    covered[: 8 * step] = np.kron(np.ones((8, 50), bool), ellipse(6, 6, 4.5, 4.5, size=step))
    classes = class_probability(covered)
    tracemalloc.start()
    try:
        found = footprints(x, y, classes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.n_owners(), covered)
    # No array of all detections by all pixels, even of one byte: a twentieth of it.
    assert peak < len(x) * covered.size / 20


def test_labels_split_an_overlap_at_its_middle():
    """Two equal discs: a pixel's label is that of the side where it lies."""
    one, two = ellipse(16, 20, 6, 6), ellipse(26, 20, 6, 6)
    found = footprints(np.array([16.0, 26.0]), np.full(2, 20.0), class_probability(one, two))
    labels = found.labels()
    np.testing.assert_array_equal(labels > 0, one | two)
    column = np.nonzero(labels == 1)[1], np.nonzero(labels == 2)[1]
    assert column[0].max() <= 21 <= column[1].min()


def test_every_source_keeps_its_centre_in_the_labels():
    rng = np.random.default_rng(4)
    for _ in range(20):
        n = rng.integers(1, 9)
        x, y = rng.uniform(8, 40, (2, n))
        sources = [ellipse(*xy, *rng.uniform(2, 9, 2)) for xy in zip(x, y, strict=True)]
        found = footprints(x, y, class_probability(*sources))
        pixels = list(zip(np.rint(y).astype(int), np.rint(x).astype(int), strict=True))
        labels = found.labels()
        assert [labels[p] for p in pixels] == [pixels.index(p) + 1 for p in pixels]
        np.testing.assert_array_equal(labels > 0, found.dense().any(axis=0))
        # A label is of a source that covers the pixel.
        row, column = np.nonzero(labels)
        assert found.dense()[labels[row, column] - 1, row, column].all()


def test_of_detections_in_one_pixel_the_first_has_the_label():
    dot = np.zeros((48, 48), bool)
    dot[20, 20] = True
    found = footprints(np.full(3, 20.2), np.full(3, 19.9), class_probability(dot))
    assert found.labels()[20, 20] == 1
    assert list(found.n_pixels()) == [1, 1, 1]
