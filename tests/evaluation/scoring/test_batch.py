import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from btk.blend_batch import DeblendBatch
from btk.match import Matching

from btk_punet.errors import InputTypeError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.scoring.scenes import scene_detections
from tests.evaluation.conftest import (
    BACKGROUND,
    FIVE_MAGNITUDE,
    FIVE_SNR,
    FIVE_X,
    FIVE_Y,
    FOUND_X,
    FOUND_Y,
    blend_batch,
    bright_scenes,
    deblend_batch,
    detection_table,
    gaussian,
    limit_by_brute_force,
    part_of,
    random_scenes,
    source_table,
    square,
)

TRUTH_COLUMNS = {
    *("scene", "source", "method", "x", "y", "ra", "dec", "magnitude", "size_arcsec", "is_star"),
    *("alone_snr", "limit_snr", "blendedness", "neighbour_distance_arcsec", "in_bounds", "counts"),
    *("matched", "detection", "match_distance_arcsec"),
}
DETECTION_COLUMNS = {
    *("scene", "detection", "method", "x", "y", "ra", "dec", "aperture_flux", "magnitude"),
    *("neighbour_distance_arcsec", "in_bounds", "matched", "source", "x_err", "y_err"),
    *("p_detect", "flags"),
}
EMPTY = Table({"ra": np.zeros(0), "dec": np.zeros(0)})


class TestEmpty:
    def test_no_source_and_no_detection(self):
        batch = bright_scenes([[]])
        truth, detections = batch_tables(batch, {"a": deblend_batch([EMPTY])})
        assert len(truth) == len(detections) == 0
        assert set(truth) == TRUTH_COLUMNS
        assert set(detections) == DETECTION_COLUMNS

    def test_no_source(self):
        batch = bright_scenes([[]])
        found = deblend_batch([detection_table(batch, [30, 32], [30, 30])])
        truth, detections = batch_tables(batch, {"a": found})
        assert len(truth) == 0
        assert detections["matched"].tolist() == [False, False]
        assert detections["source"].tolist() == [-1, -1]

    def test_no_detection(self):
        batch = bright_scenes([[(20, 20), (40, 40)]])
        truth, detections = batch_tables(batch, {"a": deblend_batch([EMPTY])})
        assert len(detections) == 0
        assert truth["matched"].tolist() == [False, False]
        assert truth["detection"].tolist() == [-1, -1]
        assert truth["match_distance_arcsec"].isna().all()

    def test_empty_scenes_among_others_change_no_type(self):
        batch = bright_scenes([[], [(20, 20)], []])
        found = detection_table(batch, [20], [20])
        catalogs = [EMPTY, found, found]
        tables = batch_tables(batch, {"a": deblend_batch(catalogs)})
        alone = batch_tables(*_only(batch, catalogs, 1))
        for table, expected in zip(tables, alone, strict=True):
            pd.testing.assert_series_equal(table.dtypes, expected.dtypes)
        truth, detections = tables
        assert truth["scene"].tolist() == [1]
        assert detections["scene"].tolist() == [1, 2]

    def test_no_method(self):
        truth, detections = batch_tables(bright_scenes([[(20, 20)]]), {})
        assert len(truth) == len(detections) == 0

    def test_image_without_a_usable_pixel(self):
        flux = gaussian(30, 30, 1e4, 2)
        batch = blend_batch([source_table([30], [30])], [[flux]], [np.full_like(flux, np.nan)])
        found = deblend_batch([detection_table(batch, [30], [31])])
        truth, detections = batch_tables(batch, {"a": found})
        assert truth["matched"].tolist() == [True]
        assert detections["aperture_flux"].tolist() == [0]
        assert detections["magnitude"].tolist() == [np.inf]


def _only(batch, catalogs, scene):
    one, found = part_of(batch, deblend_batch(catalogs), [scene])
    return one, {"a": found}


class TestTruthOfFiveSources:
    """The scene that is counted by hand in conftest.py."""

    @pytest.fixture
    def truth(self, five_sources):
        batch, found = five_sources
        return batch_tables(batch, {"hand": found}, first_scene=7)[0]

    def test_columns(self, truth):
        assert set(truth) == TRUTH_COLUMNS
        assert truth["scene"].tolist() == [7] * 5
        assert truth["method"].tolist() == ["hand"] * 5
        assert truth["source"].tolist() == [0, 1, 2, 3, 4]

    def test_positions(self, truth):
        assert truth["x"].tolist() == FIVE_X
        assert truth["y"].tolist() == FIVE_Y
        assert truth["ra"].to_numpy() == pytest.approx((np.array(FIVE_X) - 31.5) * 0.1)
        assert truth["dec"].to_numpy() == pytest.approx((np.array(FIVE_Y) - 31.5) * 0.1)

    def test_magnitude_and_shape(self, truth):
        assert truth["magnitude"].tolist() == FIVE_MAGNITUDE
        assert truth["size_arcsec"].isna().all()  # the catalog holds no axes
        assert truth["is_star"].tolist() == [False] * 5

    def test_signal_to_noise(self, truth, five_fluxes):
        assert truth["alone_snr"].to_numpy() == pytest.approx(FIVE_SNR, rel=1e-5)
        isolated = [square(*xyf) for xyf in zip(FIVE_X, FIVE_Y, five_fluxes, strict=True)]
        limits = limit_by_brute_force(isolated, FIVE_X, FIVE_Y, BACKGROUND)
        assert truth["limit_snr"].to_numpy() == pytest.approx(limits, rel=1e-5)
        # The pair suffers, the others are alone.
        assert (limits[:2] < 0.95 * np.array(FIVE_SNR)[:2]).all()
        assert limits[2:] == pytest.approx(FIVE_SNR[2:], rel=1e-4)

    def test_blendedness(self, truth, five_fluxes):
        # The pair shares one column of five pixels; BTK: 1 - sum f^2 / sum f (all sources).
        p, q = five_fluxes[:2]
        expected = [5 * q / (25 * p + 5 * q), 5 * p / (25 * q + 5 * p), 0, 0, 0]
        assert truth["blendedness"].to_numpy() == pytest.approx(expected, abs=1e-12)

    def test_neighbours_must_have_an_snr_above_two(self, truth):
        expected = [0.4, 0.4, 0.1 * np.hypot(16, 20), 1.0, 0.1 * np.hypot(19, 10)]
        assert truth["neighbour_distance_arcsec"].to_numpy() == pytest.approx(expected)

    def test_what_counts(self, truth):
        assert truth["in_bounds"].tolist() == [True, True, True, True, False]
        assert truth["counts"].tolist() == [True, True, False, False, False]

    def test_what_is_matched(self, truth):
        assert truth["matched"].tolist() == [True, False, True, False, True]
        assert truth["detection"].tolist() == [0, -1, 2, -1, 4]
        assert truth["match_distance_arcsec"].to_numpy() == pytest.approx(
            [0.1, np.nan, 0.0, np.nan, 0.1], nan_ok=True
        )


class TestDetectionsInFiveSources:
    @pytest.fixture
    def detections(self, five_sources):
        batch, found = five_sources
        return batch_tables(batch, {"hand": found}, first_scene=7)[1]

    def test_columns(self, detections):
        assert set(detections) == DETECTION_COLUMNS
        assert detections["scene"].tolist() == [7] * 7
        assert detections["method"].tolist() == ["hand"] * 7
        assert detections["detection"].tolist() == list(range(7))

    def test_positions_are_unwrapped(self, detections, five_sources):
        _, found = five_sources
        assert max(found.catalog_list[0]["ra"]) > 1.29e6  # as BTK's SEP returns them
        assert detections["x"].tolist() == FOUND_X
        assert detections["y"].tolist() == FOUND_Y
        ra, dec = (0.1 * (np.array(xy) - 31.5) for xy in (FOUND_X, FOUND_Y))
        assert detections["ra"].to_numpy() == pytest.approx(ra, abs=1e-6)
        assert detections["dec"].to_numpy() == pytest.approx(dec, abs=1e-6)

    def test_aperture_magnitudes(self, detections, five_fluxes):
        # Within 5 pixels of detections 2, 3 and 4 lies one source, with all of its pixels.
        _, _, p2, p3, p4 = five_fluxes
        flux = detections["aperture_flux"].to_numpy()
        assert flux[2:] == pytest.approx([25 * p2, 25 * p3, 20 * p4, 0, -10])
        # Euclid VIS in BTK: 1 electron/s at magnitude 25.92, exposed for 565 s.
        magnitude = 25.92 - 2.5 * np.log10(flux[2:5] / 565)
        assert detections["magnitude"].to_numpy()[2:5] == pytest.approx(magnitude)
        assert detections["magnitude"].tolist()[5:] == [np.inf, np.inf]

    def test_nearest_other_detection(self, detections):
        pixels = [5**0.5, 5**0.5, 10, 10, 356**0.5, np.hypot(22, 30), np.hypot(21, 10)]
        assert detections["neighbour_distance_arcsec"].to_numpy() == pytest.approx(
            0.1 * np.array(pixels)
        )

    def test_bounds_take_in_the_third_pixel_from_the_border(self, detections):
        assert detections["in_bounds"].tolist() == [True] * 5 + [False, True]

    def test_what_is_matched(self, detections):
        assert detections["matched"].tolist() == [True, False, True, False, True, False, False]
        assert detections["source"].tolist() == [0, -1, 2, -1, 4, -1, -1]

    def test_columns_that_a_detector_may_leave_out(self, detections, five_sources):
        assert detections["p_detect"].isna().all()
        assert (detections["flags"] == 0).all()
        batch, found = five_sources
        catalog = found.catalog_list[0].copy()
        catalog["p_detect"], catalog["flags"] = np.linspace(0, 1, 7), np.arange(7)
        detections = batch_tables(batch, {"hand": deblend_batch([catalog])})[1]
        assert detections["p_detect"].tolist() == np.linspace(0, 1, 7).tolist()
        assert detections["flags"].tolist() == list(range(7))

    def test_a_detector_that_gives_sky_positions_alone(self, detections, five_sources):
        # As BTK's SepMultiBand does.
        batch, found = five_sources
        sky = deblend_batch([found.catalog_list[0]["ra", "dec"]])
        from_sky = batch_tables(batch, {"hand": sky}, first_scene=7)[1]
        # Sky positions are exact to about 1e-9 pixels; the bounds and sep's aperture, which counts
        # parts of pixels in fifths, jump.
        jumps = ["in_bounds", "aperture_flux", "magnitude"]
        pd.testing.assert_frame_equal(
            from_sky.drop(columns=jumps), detections.drop(columns=jumps), rtol=0, atol=1e-6
        )


class TestBatchTables:
    def test_methods_one_after_the_other(self, five_sources):
        batch, found = five_sources
        both = batch_tables(batch, {"none": deblend_batch([EMPTY]), "hand": found})
        truth, detections = both
        assert truth["method"].tolist() == ["none"] * 5 + ["hand"] * 5
        assert truth["matched"].sum() == 3
        assert set(detections["method"]) == {"hand"}
        for table, alone in zip(both, batch_tables(batch, {"hand": found}), strict=True):
            part = table[table["method"] == "hand"].reset_index(drop=True)
            pd.testing.assert_frame_equal(part, alone)

    def test_batch_is_the_sum_of_its_scenes(self):
        batch, found = random_scenes(6, seed=2)
        whole = batch_tables(batch, {"a": found}, first_scene=10)
        parts = []
        for scene in range(6):
            one, found_there = part_of(batch, found, [scene])
            parts.append(batch_tables(one, {"a": found_there}, first_scene=10 + scene))
        for table, tables in zip(whole, zip(*parts, strict=True), strict=True):
            tables = [part for part in tables if len(part)]
            pd.testing.assert_frame_equal(table, pd.concat(tables, ignore_index=True))

    def test_inputs_are_left_as_they_are(self, five_sources):
        batch, found = five_sources
        isolated, image = batch.isolated_images.copy(), batch.blend_images.copy()
        catalog, detections = batch.catalog_list[0].copy(), found.catalog_list[0].copy()
        batch_tables(batch, {"a": found})
        assert (batch.isolated_images == isolated).all()
        assert (batch.blend_images == image).all()
        assert (batch.catalog_list[0] == catalog).all()
        assert (found.catalog_list[0] == detections).all()

    def test_radius(self, five_sources):
        batch, found = five_sources
        truth, _ = batch_tables(batch, {"a": found}, radius_arcsec=0.05)
        assert truth["matched"].tolist() == [False, False, True, False, False]

    def test_matching_of_the_user(self, five_sources):
        batch, found = five_sources
        given = Matching([np.array([1])], [np.array([5])], np.array([5]), np.array([7]))
        truth, detections = batch_tables(
            batch, {"own": found, "other": found}, matchings={"own": given}
        )
        own = truth[truth["method"] == "own"]
        assert own["detection"].tolist() == [-1, 5, -1, -1, -1]
        assert own["match_distance_arcsec"].iloc[1] == pytest.approx(0.1 * np.hypot(38, 10))
        assert detections[detections["method"] == "own"]["source"].tolist() == [-1] * 5 + [1, -1]
        assert truth[truth["method"] == "other"]["matched"].sum() == 3

    def test_limit_can_be_left_out(self, five_sources):
        batch, found = five_sources
        truth, _ = batch_tables(batch, {"a": found}, with_limit=False)
        assert truth["limit_snr"].isna().all()
        assert truth["counts"].sum() == 2

    def test_catalogs_of_another_number_of_scenes(self, five_sources):
        batch, found = five_sources
        two = deblend_batch([found.catalog_list[0]] * 2)
        with pytest.raises(ValueError, match="sep returned 2 catalogs for a batch of 1 scenes"):
            batch_tables(batch, {"sep": two})

    def test_matching_of_another_number_of_scenes(self, five_sources):
        batch, found = five_sources
        none = np.zeros(0, int)
        given = Matching([none, none], [none, none], np.zeros(2, int), np.zeros(2, int))
        with pytest.raises(ValueError, match="matching of 'sep' has 2 scenes for a batch of 1"):
            batch_tables(batch, {"sep": found}, matchings={"sep": given})

    def test_detection_without_a_position(self):
        batch = bright_scenes([[(20, 20)]])
        found = Table({"ra": [0.0], "dec": [0.0], "x_peak": [np.nan], "y_peak": [3.0]})
        with pytest.raises(
            ValueError, match="a returned nan as 'x_peak' in the catalog of scene 0"
        ):
            batch_tables(batch, {"a": deblend_batch([found])})


def test_wrapped_negative_ra_is_the_same_place():
    batch = bright_scenes([[(10, 30)]])
    ra = (10 - 31.5) * 0.1
    for value in (ra, ra + 1_296_000):
        found = scene_detections(batch, Table({"ra": [value], "dec": [-0.15]}), 0)
        assert found["ra"].to_numpy() == pytest.approx([-2.15])
        assert found["x"].to_numpy() == pytest.approx([10], abs=1e-5)
        assert found["y"].to_numpy() == pytest.approx([30], abs=1e-5)


def test_output_of_any_btk_deblender_class_will_do():
    batch = bright_scenes([[(20, 20)]])
    found = DeblendBatch(1, 3, [detection_table(batch, [20], [20])], None, None)
    truth, _ = batch_tables(batch, {"a": found})
    assert truth["matched"].tolist() == [True]


def test_a_matcher_is_no_matching(five_sources):
    batch, found = five_sources
    with pytest.raises(InputTypeError, match="must be a btk Matching.*got Matcher. Call the"):
        batch_tables(batch, {"m": found}, matchings={"m": Matcher()})
