import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.limit import limit_snr
from btk_punet.simulation.snr import alone_snr
from tests.evaluation.conftest import BACKGROUND, gaussian, limit_by_brute_force

NOTHING = np.zeros((0, 20, 20))


def scene(sources, shape=(40, 40), cut=np.inf):
    """Return isolated images, x and y of Gaussians (x, y, flux, sigma)."""
    isolated = np.array([gaussian(*source, shape, cut) for source in sources])
    x, y = np.array(sources)[:, :2].T
    return isolated, x, y


def random_sources(rng, number, size=40, margin=0.0):
    x, y = rng.uniform(margin, size - 1 - margin, (2, number))
    return np.stack([x, y, 10 ** rng.uniform(2, 5, number), rng.uniform(1, 4, number)], axis=1)


class TestLimitSnr:
    def test_no_sources(self):
        assert limit_snr(NOTHING, [], [], BACKGROUND).shape == (0,)

    def test_one_source_is_limited_by_noise_alone(self):
        isolated, x, y = scene([(20.3, 19.8, 5000, 2)])
        assert limit_snr(isolated, x, y, BACKGROUND) == pytest.approx(
            alone_snr(isolated, BACKGROUND)
        )

    def test_one_pixel_source(self):
        isolated = np.zeros((1, 5, 5))
        isolated[0, 2, 2] = 30.0
        assert limit_snr(isolated, [2], [2], 70.0) == pytest.approx([3.0])

    def test_sources_without_a_common_pixel_do_not_matter_to_each_other(self):
        isolated, x, y = scene([(8, 8, 5000, 2), (30, 30, 900, 2)], cut=6)
        assert limit_snr(isolated, x, y, BACKGROUND) == pytest.approx(
            alone_snr(isolated, BACKGROUND)
        )

    def test_same_image_twice_cannot_be_told_to_be_two(self):
        isolated, x, y = scene([(20, 20, 1e4, 2), (20, 20, 1e4, 2)])
        assert limit_snr(isolated, x, y, BACKGROUND) == pytest.approx([0, 0], abs=1e-3)

    def test_of_three_the_twins_alone_are_lost(self):
        isolated, x, y = scene([(20, 20, 1e4, 2), (20, 20, 1e4, 2), (26, 20, 1e4, 2)])
        limits = limit_snr(isolated, x, y, BACKGROUND)
        assert limits[:2] == pytest.approx([0, 0], abs=1e-3)
        assert limits[2] > 5
        assert limits == pytest.approx(
            limit_by_brute_force(isolated, x, y, BACKGROUND), rel=1e-6, abs=1e-3
        )

    @pytest.mark.parametrize("seed", range(40))
    def test_definition_by_brute_force(self, seed):
        rng = np.random.default_rng(seed)
        isolated, x, y = scene(random_sources(rng, rng.integers(2, 6)))
        limits = limit_snr(isolated, x, y, BACKGROUND)
        expected = limit_by_brute_force(isolated, x, y, BACKGROUND)
        assert limits == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("seed", range(40))
    def test_definition_by_brute_force_with_sharp_stamps(self, seed):
        # Stamps that end within the image, near its borders or not: some groups, some loners.
        rng = np.random.default_rng(seed)
        isolated, x, y = scene(random_sources(rng, 5), cut=rng.uniform(2, 8))
        limits = limit_snr(isolated, x, y, BACKGROUND)
        expected = limit_by_brute_force(isolated, x, y, BACKGROUND)
        assert limits == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("distance", [1e-4, 1e-3, 1e-2, 0.1, 1])
    def test_definition_by_brute_force_where_it_is_nearly_singular(self, distance):
        sources = [(20, 20, 1e4, 2), (20 + distance, 20, 8e3, 2), (24, 21, 3e3, 1.5)]
        isolated, x, y = scene(sources)
        limits = limit_snr(isolated, x, y, BACKGROUND)
        expected = limit_by_brute_force(isolated, x, y, BACKGROUND)
        assert limits == pytest.approx(expected, rel=1e-5, abs=1e-3)

    def test_images_that_are_not_square(self):
        isolated, x, y = scene([(4, 30, 3e3, 2), (7, 28, 9e3, 1.5)], shape=(50, 12))
        limits = limit_snr(isolated, x, y, BACKGROUND)
        assert limits == pytest.approx(limit_by_brute_force(isolated, x, y, BACKGROUND), rel=1e-6)

    def test_more_information_the_farther_apart(self):
        limits = []
        for separation in [1, 2, 3, 4, 6, 8]:
            isolated, x, y = scene([(16, 20, 5000, 2), (16 + separation, 20, 5000, 2)])
            limits.append(limit_snr(isolated, x, y, BACKGROUND)[0])
        assert (np.diff(limits) > 0).all()
        assert limits[0] < 0.1 * limits[-1]

    def test_never_above_the_snr_of_a_source_alone(self):
        rng = np.random.default_rng(1)
        isolated, x, y = scene(random_sources(rng, 8))
        assert (limit_snr(isolated, x, y, BACKGROUND) < alone_snr(isolated, BACKGROUND)).all()

    def test_source_without_flux_has_none_and_disturbs_nobody(self):
        isolated, x, y = scene([(18, 20, 5000, 2), (20, 20, 0, 2), (22, 20, 5000, 2)])
        limits = limit_snr(isolated, x, y, BACKGROUND)
        lit = [0, 2]
        assert limits[1] == 0
        assert limits[lit] == pytest.approx(limit_snr(isolated[lit], x[lit], y[lit], BACKGROUND))

    def test_only_sources_without_flux(self):
        assert limit_snr(np.zeros((2, 9, 9)), [3, 5], [3, 5], BACKGROUND).tolist() == [0, 0]

    def test_background_map(self):
        isolated, x, y = scene([(18, 20, 5000, 2), (22, 20, 5000, 2)])
        background = np.linspace(50, 500, 40)[None].repeat(40, axis=0)
        limits = limit_snr(isolated, x, y, background)
        assert limits == pytest.approx(limit_by_brute_force(isolated, x, y, background), rel=1e-6)
        assert limits[0] > limits[1]
        assert limit_snr(isolated, x, y, np.full((40, 40), 7.0)) == pytest.approx(
            limit_snr(isolated, x, y, 7.0)
        )

    def test_order_of_the_sources_does_not_matter(self):
        rng = np.random.default_rng(3)
        isolated, x, y = scene(random_sources(rng, 5))
        order = rng.permutation(5)
        assert limit_snr(isolated[order], x[order], y[order], BACKGROUND) == pytest.approx(
            limit_snr(isolated, x, y, BACKGROUND)[order], rel=1e-6
        )

    def test_empty_pixels_around_do_not_matter(self):
        rng = np.random.default_rng(4)
        isolated, x, y = scene(random_sources(rng, 4, margin=12), cut=9)
        larger = np.pad(isolated, ((0, 0), (7, 30), (11, 3)))
        assert limit_snr(larger, x + 11, y + 7, BACKGROUND) == pytest.approx(
            limit_snr(isolated, x, y, BACKGROUND), rel=1e-9
        )

    def test_it_is_what_a_fit_reaches(self):
        # Fluxes fitted to noisy images, with the neighbour's flux, position and shape left free,
        # scatter by flux / limit_snr.
        sources = [(11, 12, 2000, 1.6), (14.5, 13, 4000, 2.0)]
        isolated, x, y = scene(sources, shape=(26, 26))
        gy, gx = np.gradient(isolated[1])
        row, col = np.mgrid[:26, :26]
        dx, dy = col - x[1], row - y[1]
        others = [isolated[1], gx, gy, dx * gx + dy * gy, dx * gx - dy * gy, dx * gy + dy * gx]
        templates = np.array([isolated[0], *others]).reshape(7, -1)
        sigma = np.sqrt(BACKGROUND + isolated.sum(axis=0)).ravel()

        noise = np.random.default_rng(0).normal(0, sigma, (4000, len(sigma)))
        images = isolated.sum(axis=0).ravel() + noise
        fitted = np.linalg.lstsq((templates / sigma).T, (images / sigma).T)[0][0]

        limit = limit_snr(isolated, x, y, BACKGROUND)[0]
        assert fitted.mean() == pytest.approx(1, abs=4 / limit / np.sqrt(4000))
        assert fitted.std() == pytest.approx(1 / limit, rel=0.05)  # 4 sigma of 4000 draws
        assert limit < 0.9 * alone_snr(isolated, BACKGROUND)[0]

    def test_one_position_a_source(self):
        with pytest.raises(ValueError, match="one value for each of the 2 sources"):
            limit_snr(np.ones((2, 9, 9)), [1.0], [1.0], BACKGROUND)

    def test_one_row_of_pixels_has_no_gradient(self):
        with pytest.raises(ValueError, match="2 x 2 pixels at least, got 1 x 9"):
            limit_snr(np.ones((1, 1, 9)), [4], [0], BACKGROUND)

    def test_background_must_be_above_zero(self):
        with pytest.raises(ValueError, match="background.*above 0"):
            limit_snr(np.ones((1, 9, 9)), [4], [4], 0.0)

    def test_a_batch_is_refused(self):
        with pytest.raises(ValueError, match=r"isolated must have the shape \(n, H, W\)"):
            limit_snr(np.zeros((2, 1, 20, 20)), [1, 2], [1, 2], BACKGROUND)


@pytest.mark.parametrize("background", [np.ones((2, 2)), np.ones(4)])
def test_background_of_another_shape(background):
    with pytest.raises(InputError, match=r"background must be a number or have the shape \(4, 4\)"):
        alone_snr(np.ones((1, 4, 4)), background)


def test_images_with_nan():
    with pytest.raises(InputError, match="must hold finite numbers only"):
        limit_snr(np.full((1, 4, 4), np.nan), [1], [1], 1.0)
