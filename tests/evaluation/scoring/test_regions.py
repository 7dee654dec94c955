import numpy as np
import pytest
from btk.survey import get_surveys

from btk_punet.evaluation.scoring.regions import SceneRegions, connected_regions
from btk_punet.evaluation.scoring.scenes import scene_truth
from tests.evaluation.conftest import (
    FIVE_MAGNITUDE,
    SIZE,
    blend_batch,
    bright_scenes,
    gaussian,
    source_table,
    square,
)


def regions_of(batch, scene=0, k=1.0):
    truth = scene_truth(batch, scene)
    return SceneRegions.of_scene(batch, scene, truth, k), truth


class TestConnectedRegions:
    def test_nothing(self):
        of_source, of_pixel = connected_regions(np.zeros((0, 4, 5), bool))
        assert of_source.shape == (0,)
        np.testing.assert_array_equal(of_pixel, np.full((4, 5), -1))

    def test_sources_without_a_pixel(self):
        of_source, of_pixel = connected_regions(np.zeros((2, 4, 4), bool))
        assert of_source.tolist() == [0, 1]
        assert (of_pixel == -1).all()

    def test_first_and_last_by_the_one_between(self):
        footprints = np.zeros((4, 1, 9), bool)
        for source, pixels in enumerate([[0, 1], [6, 7], [3, 4], [1, 2, 3]]):
            footprints[source, 0, pixels] = True
        of_source, of_pixel = connected_regions(footprints)
        assert of_source.tolist() == [0, 1, 0, 0]
        assert of_pixel.tolist() == [[0, 0, 0, 0, 0, -1, 1, 1, -1]]

    def test_neighbouring_pixels_do_not_connect(self):
        footprints = np.eye(2, dtype=bool)[:, None]
        assert connected_regions(footprints)[0].tolist() == [0, 1]


class TestOfScene:
    def test_empty_scene(self):
        regions, truth = regions_of(bright_scenes([[]]))
        assert len(regions) == 0
        table = regions.table(truth, 0.1)
        assert len(table) == 0
        assert table["n"].dtype == int
        assert regions.inside(*np.zeros((2, 3)), np.full(3, -1), 3.0).tolist() == [-1, -1, -1]

    def test_counted_by_hand(self, five_sources):
        # 0 and 1 share a column; 2 is alone, and below one sigma; 3 is too faint to match; 4 is cut
        # by the border.
        regions, truth = regions_of(five_sources[0])
        assert regions.of_source.tolist() == [0, 0, 1, -1, 2]
        assert [(regions.of_pixel == number).sum() for number in range(3)] == [45, 1, 20]
        table = regions.table(truth, 0.1)
        assert table["region"].tolist() == [0, 1, 2]
        assert table["n"].tolist() == [2, 1, 1]
        assert table["x"].tolist() == [22, 40, 1]
        assert table["neighbour_distance_arcsec"].tolist() == pytest.approx([0.4, np.inf, np.inf])
        difference = FIVE_MAGNITUDE[1] - FIVE_MAGNITUDE[0]
        assert table["magnitude_difference"].tolist() == pytest.approx([difference, np.inf, np.inf])
        assert table["limit_snr"].to_numpy() == pytest.approx(
            [truth["limit_snr"][:2].min(), truth["limit_snr"][2], truth["limit_snr"][4]]
        )
        assert table["in_bounds"].tolist() == [True, True, False]

    def test_brightest_two_and_closest_two(self):
        batch = bright_scenes([[(20, 20), (24, 20), (27, 20)]])
        batch.catalog_list[0]["IE_ab"] = [24.0, 22.0, 22.5]
        regions, truth = regions_of(batch)
        table = regions.table(truth, 0.1)
        assert table["magnitude_difference"].tolist() == [0.5]
        assert table["neighbour_distance_arcsec"].tolist() == pytest.approx([0.3])

    def test_threshold(self):
        batch = blend_batch(
            [source_table([20, 26], [20, 20])],
            [[gaussian(x, 20, 3000, 1.5) for x in (20, 26)]],
        )
        assert regions_of(batch)[0].of_source.tolist() == [0, 0]
        assert regions_of(batch, k=5.0)[0].of_source.tolist() == [0, 1]

    def test_too_faint_for_a_footprint_is_in_the_region_that_it_is_on(self):
        # Its brightest pixel is below one sigma of 12.5 electrons, and its SNR above 5.
        wide = [gaussian(x, 20, 1005, 4.0) for x in (21, 50)]
        batch = blend_batch(
            [source_table([20, 21, 50], [20, 20, 20])], [[square(20, 20, 100.0), *wide]]
        )
        regions, truth = regions_of(batch)
        assert (truth["alone_snr"] > 5).all()
        assert regions.of_source.tolist() == [0, 0, 1]
        assert (regions.of_pixel == 1).sum() == 1

    def test_noise_of_real_galaxies_connects_nothing(self):
        images = np.array([square(20, 20, 100.0), square(50, 50, 100.0)])
        images[1, 20, 20] = 100.0
        table = source_table([20, 50], [20, 50])
        assert len(regions_of(blend_batch([table], [images]))[0]) == 1
        table["GAL_FILENAME"] = "galaxy.fits"
        assert len(regions_of(blend_batch([table], [images]))[0]) == 2

    def test_reference_band(self):
        survey = get_surveys("LSST")
        bands = survey.available_filters
        images = np.zeros((2, len(bands), SIZE, SIZE))
        images[0] = square(20, 20, 1e4)
        images[1] = square(30, 20, 1e4)
        table = source_table([20, 30], [20, 20], survey=survey)
        for band, number in [("u", 2), ("i", 1)]:
            overlapping = images.copy()
            overlapping[1, bands.index(band)] = square(23, 20, 1e4)
            assert len(regions_of(blend_batch([table], [overlapping], None, survey))[0]) == number


class TestInside:
    def test_matched_then_pixel_then_radius(self):
        # Region 0 covers x 18-26, region 1 x 30-34, both y 18-22.
        regions, _ = regions_of(bright_scenes([[(20, 20), (24, 20), (32, 20)]]))
        places = {
            (20, 20, 0): 0,
            (26.4, 22.4, -1): 0,  # its nearest pixel is the corner
            (26.6, 22.4, -1): -1,
            (24, 22.9, -1): 0,  # off the pixels, within 3 pixels of the source
            (24, 23.0, -1): -1,  # no nearer than 3
            (26, 20, 2): 1,  # on the pixels of the one, matched to the other
            (60, 60, 1): 0,
            (29.2, 20, -1): 1,
            (27.4, 20, -1): -1,
        }
        x, y, matched = (np.array(column) for column in zip(*places, strict=True))
        assert regions.inside(x, y, matched.astype(int), 3.0).tolist() == list(places.values())

    def test_nearest_source_of_two_regions(self):
        regions, _ = regions_of(bright_scenes([[(20, 20), (20, 25)]]))
        assert len(regions) == 2
        wide = regions.inside(np.array([23.0, 23.0]), np.array([22.0, 23.0]), np.full(2, -1), 9.0)
        assert wide.tolist() == [0, 1]

    def test_matched_to_a_source_that_is_left_out(self, five_sources):
        regions, _ = regions_of(five_sources[0])
        place = np.array([[40.0], [50.0]])
        assert regions.inside(*place, np.array([3]), 3.0).tolist() == [-1]
        assert regions.inside(*(place * 0 + 20), np.array([3]), 3.0).tolist() == [0]

    @pytest.mark.parametrize("far", [-1.0, -5.0, SIZE + 5.0, 1e300])
    def test_off_the_image(self, far):
        # Not on the other side either, where there is a source.
        regions, _ = regions_of(bright_scenes([[(61, 61), (3, 3)]]))
        assert regions.inside(np.array([far]), np.array([61.0]), np.array([-1]), 0.5) == [-1]


class TestDetects:
    def test_its_own_pixels_and_the_radius_around_it(self):
        regions, _ = regions_of(bright_scenes([[(20, 20), (24, 20)]]))
        assert not regions.detects(0, np.zeros(0), np.zeros(0), 3.0)
        assert regions.detects(0, np.array([50.0, 22.0]), np.array([50.0, 22.0]), 3.0)
        assert regions.detects(0, np.array([20.0]), np.array([17.1]), 3.0)
        # In the region of both, but not on the one that is drawn.
        assert not regions.detects(0, np.array([24.0]), np.array([20.0]), 3.0)
