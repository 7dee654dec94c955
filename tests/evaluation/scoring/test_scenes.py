import numpy as np
import pytest
from astropy.table import Table
from btk.measure import get_blendedness
from btk.survey import get_surveys

from btk_punet.evaluation.scoring import scenes
from btk_punet.evaluation.scoring.scenes import (
    aperture_flux,
    nearest_distance,
    scene_detections,
    scene_truth,
    true_magnitudes,
)
from btk_punet.simulation.labels import clean_real_galaxies
from btk_punet.simulation.snr import alone_snr
from btk_punet.simulation.survey import background_variance
from tests.evaluation.conftest import (
    BACKGROUND,
    SIZE,
    blend_batch,
    bright_scenes,
    detection_table,
    gaussian,
    limit_by_brute_force,
    random_scenes,
    source_table,
    square,
)


class TestSceneTruth:
    def test_bands_add_in_quadrature(self):
        survey = get_surveys("LSST")
        n_bands = len(survey.available_filters)
        fluxes = 1000.0 * np.arange(1, n_bands + 1)
        isolated = [
            [gaussian(x, 30, flux, 2, cut=9) for flux in fluxes] for x in (20, 50)
        ]  # far apart: each is alone
        batch = blend_batch(
            [source_table([20, 50], [30, 30], survey=survey)], [isolated], None, survey
        )
        truth = scene_truth(batch, 0, band=2)
        per_band = [
            alone_snr(
                np.array(isolated)[:, band], background_variance(survey, survey.get_filter(name))
            )
            for band, name in enumerate(survey.available_filters)
        ]
        expected = np.sqrt(np.square(per_band).sum(axis=0))
        assert truth["alone_snr"].to_numpy() == pytest.approx(expected)
        assert truth["limit_snr"].to_numpy() == pytest.approx(expected)
        # 0.2 arcsec pixels
        assert truth["neighbour_distance_arcsec"].to_numpy() == pytest.approx([6.0, 6.0])

    def test_blendedness_is_that_of_btk(self):
        batch, _ = random_scenes(3, seed=5, min_number=3)
        for scene in range(3):
            n_sources = len(batch.catalog_list[scene])
            expected = get_blendedness(batch.isolated_images[scene, :n_sources, 0])
            assert scene_truth(batch, scene)["blendedness"].to_numpy() == pytest.approx(expected)

    def test_real_galaxies_are_cleaned_of_their_noise(self):
        noise = np.random.default_rng(0).normal(0, 3, (2, SIZE, SIZE))
        isolated = np.array([gaussian(20, 20, 5e3, 2), gaussian(26, 20, 5e3, 2)]) + noise
        table = source_table([20, 26], [20, 20])
        as_drawn = scene_truth(blend_batch([table], [isolated]), 0)
        table["GAL_FILENAME"] = "a.fits"
        cleaned = scene_truth(blend_batch([table], [isolated]), 0)
        images = clean_real_galaxies(isolated, [20, 26], [20, 20], np.sqrt(BACKGROUND))
        assert cleaned["alone_snr"].to_numpy() == pytest.approx(
            alone_snr(images, BACKGROUND), rel=1e-5
        )
        limits = limit_by_brute_force(images, [20, 26], [20, 20], BACKGROUND)
        assert cleaned["limit_snr"].to_numpy() == pytest.approx(limits, rel=1e-4)
        assert (cleaned["alone_snr"] < as_drawn["alone_snr"]).all()

    def test_stars_and_sizes(self):
        table = source_table([20, 40], [20, 40])
        table["is_star"] = [True, False]
        for name, value in {"a_d": 0.4, "b_d": 0.1, "a_b": 0.0, "b_b": 0.0}.items():
            table[name] = value
        table["fluxnorm_disk"], table["fluxnorm_bulge"] = 1.0, 0.0
        truth = scene_truth(blend_batch([table], [[square(20, 20, 9), square(40, 40, 9)]]), 0)
        assert truth["is_star"].tolist() == [True, False]
        assert truth["size_arcsec"].to_numpy() == pytest.approx([0.2, 0.2])  # sqrt(0.4 x 0.1)

    def test_source_outside_of_the_image(self):
        batch = blend_batch([source_table([-3.0], [70.0])], [[np.zeros((SIZE, SIZE))]])
        truth = scene_truth(batch, 0)
        assert truth[["alone_snr", "limit_snr", "blendedness"]].to_numpy().tolist() == [[0, 0, 0]]
        assert not truth["in_bounds"].any()


class TestBounds:
    @pytest.mark.parametrize(
        ("x", "inside"), [(1.999, False), (2, True), (SIZE - 3, True), (SIZE - 2.999, False)]
    )
    def test_third_pixel_from_the_border_is_in(self, x, inside):
        batch = bright_scenes([[(30, 30)]])
        for position in [(x, 30.0), (30.0, x)]:
            catalog = source_table(*np.reshape(position, (2, 1)))
            one = blend_batch([catalog], [[square(30, 30, 100)]])
            assert scene_truth(one, 0)["in_bounds"].tolist() == [inside]
            found = detection_table(batch, *np.reshape(position, (2, 1)))
            assert scene_detections(batch, found, 0)["in_bounds"].tolist() == [inside]


class TestTrueMagnitudes:
    @pytest.mark.parametrize("name", ["IE_ab", "Euclid_VIS_IE", "MAG"])
    def test_names_of_btk(self, name):
        table = Table({name: [22, 23]})
        assert true_magnitudes(table, "Euclid_VIS", "IE").tolist() == [22.0, 23.0]

    def test_magnitude_of_the_filter_comes_first(self):
        table = Table({"MAG": [20.0], "IE_ab": [21.0]})
        assert true_magnitudes(table, "Euclid_VIS", "IE").tolist() == [21.0]

    def test_none(self):
        with pytest.raises(ValueError, match="IE_ab or Euclid_VIS_IE or MAG, got \\['ra'\\]"):
            true_magnitudes(Table({"ra": [1.0]}), "Euclid_VIS", "IE")


class TestNearestDistance:
    def test_nobody(self):
        assert nearest_distance(np.zeros(0), np.zeros(0), np.zeros(0, bool)).shape == (0,)

    def test_nobody_else(self):
        one = np.array([3.0])
        assert nearest_distance(one, one, np.array([True])).tolist() == [np.inf]

    def test_nobody_in_use(self):
        two = np.array([3.0, 4.0])
        assert nearest_distance(two, two, np.zeros(2, bool)).tolist() == [np.inf, np.inf]

    def test_points_not_in_use_see_but_are_not_seen(self):
        x, y = np.array([0.0, 1.0, 5.0]), np.zeros(3)
        assert nearest_distance(x, y, np.array([True, False, True])).tolist() == [5, 1, 5]

    def test_points_at_one_place(self):
        x = np.array([2.0, 2.0, 2.0, 9.0])
        for use in ([True] * 4, [True, True, False, True], [False, True, True, False]):
            distances = nearest_distance(x, x, np.array(use))
            assert distances[:3].tolist() == [0, 0, 0]
            assert distances[3] == pytest.approx(7 * 2**0.5)
        alone = nearest_distance(x, x, np.array([True, False, False, False]))
        assert alone[:3].tolist() == [np.inf, 0, 0]

    @pytest.mark.parametrize("few", [0, 100])
    @pytest.mark.parametrize("seed", range(10))
    def test_all_distances_by_brute_force(self, seed, few, monkeypatch):
        monkeypatch.setattr(scenes, "FEW_POINTS", few)
        rng = np.random.default_rng(seed)
        x, y = rng.integers(0, 6, (2, 15)).astype(float)  # on a grid, so that some coincide
        use = rng.random(15) < 0.5
        distance = np.hypot(x[:, None] - x, y[:, None] - y)
        distance[:, ~use] = np.inf
        np.fill_diagonal(distance, np.inf)
        assert nearest_distance(x, y, use) == pytest.approx(distance.min(axis=1))


class TestApertureFlux:
    def test_no_position(self):
        assert aperture_flux(np.ones((9, 9)), np.zeros(0), np.zeros(0), 0.1).shape == (0,)

    def test_radius_is_half_an_arcsec(self):
        image = np.ones((SIZE, SIZE))
        for scale in (0.1, 0.2):
            flux = aperture_flux(image, np.array([30.0]), np.array([30.0]), scale)
            assert flux == pytest.approx(np.pi * (0.5 / scale) ** 2, rel=0.02)

    def test_unusable_pixels_count_as_nothing(self):
        image = np.full((SIZE, SIZE), np.nan)
        image[30, 28:33] = [1, np.inf, 2, -np.inf, 4]
        assert aperture_flux(image, np.array([30.0]), np.array([30.0]), 0.1) == pytest.approx(7)
        assert np.isnan(image).any()  # the image itself is left as it was

    def test_outside_of_the_image(self):
        image = np.ones((SIZE, SIZE))
        assert aperture_flux(image, np.array([-20.0]), np.array([500.0]), 0.1).tolist() == [0]

    def test_integer_single_precision_and_foreign_byte_order(self):
        image = gaussian(30, 30, 1e4, 2)
        for dtype in (np.float32, ">f4", ">f8", int):
            array = image.astype(dtype)
            expected = aperture_flux(array.astype(float), np.array([30.0]), np.array([30.0]), 0.1)
            assert aperture_flux(array, np.array([30.0]), np.array([30.0]), 0.1) == expected
