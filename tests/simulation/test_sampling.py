import numpy as np
import pytest
from astropy.table import Table
from btk.sampling_functions import SamplingFunction
from scipy import stats
from scipy.spatial.distance import pdist

from btk_punet.errors import BtkPunetError, CatalogError, InputError
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.density import SKY_NEIGHBOURS, bright_share
from btk_punet.simulation.sampling import (
    EuclidFieldSampling,
    EuclidGroupSampling,
    EuclidInjectionSampling,
    EuclidPairSampling,
)

ALL = [EuclidGroupSampling, EuclidPairSampling, EuclidFieldSampling]


@pytest.fixture(scope="module")
def table(catalog):
    return catalog.table


def positions(scene):
    return np.stack([scene["ra"], scene["dec"]], axis=1)


def scenes(sampling, table, n):
    return [sampling(table) for _ in range(n)]


@pytest.mark.parametrize("sampling", ALL)
class TestEverySampling:
    def test_empty_table(self, sampling, table):
        with pytest.raises(CatalogError, match="No source of the catalog has"):
            sampling()(table[:0])

    def test_nothing_within_the_magnitude_limits(self, sampling, table):
        with pytest.raises(CatalogError, match="No source .* 12 <= IE_ab < 13: widen min_mag"):
            sampling(min_mag=12, max_mag=13)(table)

    def test_missing_magnitude_column(self, sampling, table):
        with pytest.raises(CatalogError, match="no column 'z_ab' to cut in magnitude"):
            sampling(mag_name="z_ab")(table)

    def test_btk_conventions(self, sampling):
        function = sampling(12.2)
        assert isinstance(function, SamplingFunction)
        assert function.stamp_size == 12.2
        assert 0 <= function.min_number <= function.max_number

    def test_everything_is_inside_the_stamp_and_counted(self, sampling, table):
        function = sampling(10.0, seed=1)
        for scene in scenes(function, table, 200):
            assert np.all(np.abs(positions(scene)) <= 5.0)
            assert function.min_number <= len(scene) <= function.max_number

    def test_rows_are_those_of_the_catalog_within_the_limits(self, sampling, table):
        function = sampling(min_mag=22.0, max_mag=24.0, seed=2)
        mags = np.concatenate([scene["IE_ab"] for scene in scenes(function, table, 60)])
        assert np.all((mags >= 22.0) & (mags < 24.0))
        assert np.all(np.isin(mags, table["IE_ab"]))
        scene = function(table)
        assert scene.colnames == table.colnames

    def test_faintest_magnitude_is_excluded_brightest_is_not(self, sampling, table):
        bright = float(np.sort(table["IE_ab"])[0])
        only = sampling(min_mag=bright, max_mag=np.nextafter(bright, 99))
        assert np.all(only(table)["IE_ab"] == bright)
        with pytest.raises(CatalogError, match="No source"):
            sampling(min_mag=0, max_mag=bright)(table)

    def test_the_catalog_is_not_changed(self, sampling, table):
        before = table.copy()
        sampling(seed=3)(table)
        for name in before.colnames:
            np.testing.assert_array_equal(table[name], before[name])

    def test_the_seed_decides(self, sampling, table):
        one, two, other = (scenes(sampling(seed=s), table, 3) for s in (5, 5, 6))
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(positions(first), positions(second))
            np.testing.assert_array_equal(first["IE_ab"], second["IE_ab"])
        assert not np.array_equal(one[0]["ra"], other[0]["ra"])
        assert not np.array_equal(one[0]["ra"], one[1]["ra"])

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"stamp_size": 0.0}, None),
            ({"stamp_size": -1.0}, None),
            ({"min_mag": 25, "max_mag": 24}, "Expected min_mag < max_mag, got 25 and 24"),
        ],
    )
    def test_wrong_arguments(self, sampling, arguments, match):
        with pytest.raises(InputError, match=match) as caught:
            sampling(**arguments)
        assert isinstance(caught.value, BtkPunetError)


class TestGroup:
    def test_uniform_in_radius_and_angle(self, table):
        sampling = EuclidGroupSampling(6.4, max_number=6, min_number=6, max_radius=1.6, seed=1)
        xy = np.concatenate([positions(scene) for scene in scenes(sampling, table, 500)])
        assert stats.kstest(np.hypot(*xy.T), stats.uniform(0, 1.6).cdf).pvalue > 0.01
        angle = np.arctan2(xy[:, 1], xy[:, 0])
        assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01

    def test_every_number_is_as_likely(self, table):
        sampling = EuclidGroupSampling(max_number=4, min_number=2, seed=1)
        numbers = [len(scene) for scene in scenes(sampling, table, 900)]
        counts = np.bincount(numbers)
        assert len(counts) == 5
        assert counts[:2].sum() == 0
        assert stats.chisquare(counts[2:]).pvalue > 0.01

    def test_all_rows_are_as_likely(self, table):
        # Drawn with replacement, so that a catalog smaller than a group will do.
        sampling = EuclidGroupSampling(max_number=6, min_number=6, min_mag=10, max_mag=30)
        few = table[:3]
        mags = np.concatenate([scene["IE_ab"] for scene in scenes(sampling, few, 200)])
        counts = [(mags == mag).sum() for mag in few["IE_ab"]]
        assert sum(counts) == 1200
        assert stats.chisquare(counts).pvalue > 0.01

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"max_radius": 3.3}, r"max_radius must lie between 0 and half the stamp \(3.2"),
            ({"max_radius": 0.0}, "max_radius must lie between"),
            ({"max_radius": np.nan}, "max_radius must lie between"),
            ({"min_number": 7}, "Expected 0 <= min_number <= max_number, got 7 and 6"),
            ({"min_number": -1}, "Expected 0 <= min_number"),
        ],
    )
    def test_wrong_arguments(self, arguments, match):
        with pytest.raises(InputError, match=match):
            EuclidGroupSampling(6.4, **arguments)


class TestPair:
    def test_uniform_in_separation_and_angle(self, table):
        sampling = EuclidPairSampling(min_separation=0.3, max_separation=1.5, seed=2)
        pairs = scenes(sampling, table, 800)
        assert all(len(pair) == 2 for pair in pairs)
        offsets = np.array([np.diff(positions(pair), axis=0)[0] for pair in pairs])
        separation = np.hypot(*offsets.T)
        assert stats.kstest(separation, stats.uniform(0.3, 1.2).cdf).pvalue > 0.01
        angle = np.arctan2(offsets[:, 1], offsets[:, 0])
        assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01

    def test_the_middle_falls_anywhere_in_the_central_pixels(self, table):
        pairs = scenes(EuclidPairSampling(seed=3), table, 800)
        middles = np.array([positions(pair).mean(axis=0) for pair in pairs])
        for axis in middles.T:
            assert stats.kstest(axis, stats.uniform(-0.1, 0.2).cdf).pvalue > 0.01

    def test_one_separation(self, table):
        pair = EuclidPairSampling(min_separation=0.7, max_separation=0.7)(table)
        assert pdist(positions(pair))[0] == pytest.approx(0.7)

    def test_the_widest_pair_still_fits(self, table):
        sampling = EuclidPairSampling(2.0, min_separation=1.8, max_separation=1.8, seed=1)
        for pair in scenes(sampling, table, 300):
            assert np.abs(positions(pair)).max() <= 1.0

    @pytest.mark.parametrize(
        "arguments",
        [
            {"min_separation": 1.0, "max_separation": 0.5},
            {"min_separation": -0.1},
            {"max_separation": 6.3},
            {"max_separation": np.nan},
        ],
    )
    def test_wrong_separations(self, arguments):
        with pytest.raises(InputError, match="Expected 0 <= min_separation <= max_separation"):
            EuclidPairSampling(6.4, **arguments)


class TestField:
    def test_density_0(self, table):
        sampling = EuclidFieldSampling(density=0.0)
        assert sampling.max_number == 0
        scene = sampling(table)
        assert len(scene) == 0
        assert scene.colnames == table.colnames

    def test_the_mean_number_is_the_density_times_the_area(self, table):
        # 25.6 arcsec are 0.18204 square arcminutes.
        sampling = EuclidFieldSampling(25.6, density=120, seed=4)
        assert sampling.mean_number == pytest.approx(120 * 0.182044, abs=1e-3)
        numbers = [len(scene) for scene in scenes(sampling, table, 400)]
        assert np.mean(numbers) == pytest.approx(21.845, abs=4 * np.sqrt(21.845 / 400))
        # Poisson: the variance is the mean (its own standard error is sqrt(2/n) of it).
        assert np.var(numbers) == pytest.approx(21.845, rel=4 * np.sqrt(2 / 400))
        assert sampling.max_number == np.ceil(21.845 + 6 * np.sqrt(21.845))

    def test_limits_of_the_number(self, table):
        sampling = EuclidFieldSampling(25.6, density=120, min_number=20, max_number=22, seed=4)
        numbers = {len(scene) for scene in scenes(sampling, table, 60)}
        assert numbers == {20, 21, 22}

    def test_a_density_too_low_for_the_fewest(self, table):
        sampling = EuclidFieldSampling(density=0.0, min_number=3)
        assert len(sampling(table)) == 3

    def test_without_clustering_positions_are_uniform(self, table):
        sampling = EuclidFieldSampling(25.6, density=400, clustered_fraction=0.0, seed=5)
        xy = np.concatenate([positions(scene) for scene in scenes(sampling, table, 30)])
        for axis in xy.T:
            assert stats.kstest(axis, stats.uniform(-12.8, 25.6).cdf).pvalue > 0.01

    def test_clustered_galaxies_stand_next_to_another(self, table):
        sampling = EuclidFieldSampling(
            60.0, density=40, clustered_fraction=1.0, cluster_radius=0.5, seed=6
        )
        # All but one are placed next to that one, also where it stands at the border.
        for scene in scenes(sampling, table, 60):
            nearest = np.sort(np.linalg.norm(positions(scene) - positions(scene)[-1], axis=1))
            assert nearest[-1] <= 0.5

    def test_the_clustered_fraction(self, table):
        # Two galaxies in a wide field are close where one of them at least is clustered.
        sampling = EuclidFieldSampling(
            600.0,
            density=0.0,
            clustered_fraction=0.3,
            cluster_radius=1.0,
            min_number=2,
            max_number=2,
            seed=7,
        )
        close = [pdist(positions(scene))[0] < 1.0 for scene in scenes(sampling, table, 1000)]
        expected = 1 - (1 - 0.3) ** 2
        standard_error = np.sqrt(expected * (1 - expected) / 1000)
        assert np.mean(close) == pytest.approx(expected, abs=4 * standard_error)

    def test_a_clustered_galaxy_stands_anywhere_in_the_circle(self, table):
        sampling = EuclidFieldSampling(
            600.0,
            density=0.0,
            clustered_fraction=1.0,
            cluster_radius=2.0,
            min_number=2,
            max_number=2,
            seed=8,
        )
        distance = [pdist(positions(scene))[0] for scene in scenes(sampling, table, 500)]
        area_within = (np.array(distance) / 2.0) ** 2
        assert stats.kstest(area_within, stats.uniform().cdf).pvalue > 0.01

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"density": -1.0}, "density must be 0 or more"),
            ({"density": np.nan}, "density must be 0 or more"),
            ({"clustered_fraction": 1.5}, "clustered_fraction must lie in 0-1, got 1.5"),
            ({"cluster_radius": 0.0}, "cluster_radius must be above 0 arcsec, got 0.0"),
            ({"min_number": 5, "max_number": 4}, "Expected 0 <= min_number <= max_number"),
        ],
    )
    def test_wrong_arguments(self, arguments, match):
        with pytest.raises(InputError, match=match):
            EuclidFieldSampling(25.6, **arguments)


class TestInjection:
    def test_every_half_magnitude_is_as_likely(self):
        # 900 bright ones and 100 faint ones.
        table = Table({"IE_ab": np.repeat([20.2, 21.7], [900, 100])})
        sampling = EuclidInjectionSampling(6.4, 20.0, 22.0)
        drawn = [sampling(table) for _ in range(400)]
        assert {len(scene) for scene in drawn} == {1}
        bright = np.mean([scene["IE_ab"][0] == 20.2 for scene in drawn])
        assert bright == pytest.approx(0.5, abs=0.08)
        places = np.array([[scene["ra"][0], scene["dec"][0]] for scene in drawn])
        assert np.abs(places).max() <= 3.2
        # Uniform on the square: a quarter of it is within half of its half-width.
        assert np.mean(np.abs(places).max(axis=1) < 1.6) == pytest.approx(0.25, abs=0.08)

    def test_no_source_in_the_limits(self):
        with pytest.raises(CatalogError, match="No source .* 25.0 <= IE_ab < 28.0"):
            EuclidInjectionSampling(6.4, 25.0)(Table({"IE_ab": [20.0]}))


class TestDensityRatio:
    def test_of_one_source_it_is_0(self):
        assert EuclidInjectionSampling().density_ratio == 0
        assert EuclidGroupSampling(max_number=1).density_ratio == 0
        assert EuclidGroupSampling(max_number=0, min_number=0).density_ratio == 0
        assert EuclidFieldSampling(density=0.0).density_ratio == 0

    def test_a_field_like_the_sky_has_1(self):
        sky = EuclidFieldSampling.sky(min_mag=0.0)
        assert sky.density_ratio == pytest.approx(1.0, rel=1e-6)
        # 23 * 10^(0.374 * 2) per arcmin^2 to 26.5, of which those brighter than 18 are left out.
        assert "fields of 128.659 sources" in EuclidFieldSampling.sky().description

    def test_closed_forms(self):
        # 23 * 10^(0.374 * 0.8) galaxies per arcmin^2, in a circle of 2 arcsec.
        of_the_sky = 23 * 10 ** (0.374 * 0.8) * np.pi / 900
        assert EuclidPairSampling().density_ratio == pytest.approx(1 / of_the_sky)
        assert EuclidPairSampling(
            min_separation=1.0, max_separation=3.0
        ).density_ratio == pytest.approx(0.5 / of_the_sky)
        apart = EuclidPairSampling(min_separation=3.0, max_separation=3.0)
        assert apart.density_ratio == 0
        # All of a group of three are neighbours of each other in a small group.
        three = EuclidGroupSampling(min_number=3, max_number=3, max_radius=0.9)
        assert three.density_ratio == pytest.approx(2 / of_the_sky)
        faint = EuclidPairSampling(min_mag=25.5, max_mag=26.0)
        assert faint.density_ratio == 0

    @pytest.mark.parametrize(
        ("sampling", "expected"),
        [
            (EuclidGroupSampling(seed=3), 18.7),
            (EuclidGroupSampling(min_number=2, max_number=9, max_radius=3.0, seed=3), None),
            (EuclidFieldSampling(60.0, seed=4), 1.4),
            (EuclidFieldSampling(60.0, 60.0, 0.3, 2.5, seed=3), None),
            (EuclidFieldSampling(160.0, 60.0, 0.7, 8.0, max_mag=25.0, seed=3), None),
        ],
    )
    def test_drawn_scenes_are_as_dense_as_it_says(self, sampling, expected):
        catalog = EuclidCatalog.simulate(4000, 1, 19.5, 26.5)
        pairs = sources = 0
        # Where fields are as they are inside of larger ones.
        border = getattr(sampling, "cluster_radius", -2.0) + 2.0
        for scene in scenes(sampling, catalog.table, 1500 if sampling.max_number < 10 else 200):
            # All magnitudes, of which the share that is bright is that of the counts.
            place = positions(scene)
            inner = np.abs(place).max(axis=1, initial=0) < sampling.stamp_size / 2 - border
            apart = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
            pairs += ((apart < 2).sum(axis=1) - 1)[inner].sum()
            sources += inner.sum()
        share = bright_share(sampling.min_mag, sampling.max_mag)
        assert sampling.density_ratio == pytest.approx(
            share * pairs / sources / SKY_NEIGHBOURS, rel=0.05
        )
        if expected is not None:
            assert sampling.density_ratio == pytest.approx(expected, rel=0.03)

    def test_the_share_that_is_bright(self, table):
        catalog = EuclidCatalog.simulate(40_000, 2, 20.0, 26.5).table
        drawn = EuclidFieldSampling(600.0, 50.0, min_mag=20.0, seed=1)(catalog)["IE_ab"]
        assert bright_share(20.0, 26.5) == pytest.approx(np.mean(drawn < 25.3), rel=0.05)
