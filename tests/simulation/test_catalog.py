import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from btk.catalog import Catalog, CatsimCatalog
from btk.draw_blends import CatsimGenerator
from btk.sampling_functions import DefaultSampling
from scipy import stats

from btk_punet.errors import BtkPunetError, CatalogError, InputError
from btk_punet.simulation.catalog import (
    EuclidCatalog,
    composite_half_light_radius,
    half_light_radius_arcsec,
)
from btk_punet.simulation.density import galaxies_per_arcmin2
from tests.simulation.conftest import make_scene

N_LARGE = 20_000


@pytest.fixture(scope="module")
def population():
    return EuclidCatalog.simulate(N_LARGE, seed=5, min_mag=19, max_mag=26).table


def shears(table):
    q = np.asarray(table["b_d"]) / np.asarray(table["a_d"])
    return (1 - q) / (1 + q)


class TestEmptyAndWrong:
    def test_empty_catalog(self):
        with pytest.raises(CatalogError, match="catalog is empty"):
            EuclidCatalog(make_scene([], [], []))

    def test_a_table_without_columns(self):
        with pytest.raises(CatalogError, match=r"lacks the column\(s\) \['ra', 'dec', 'IE_ab'\]"):
            EuclidCatalog(Table())

    def test_a_catalog_of_another_survey(self):
        table = make_scene([0.0], [0.0], 22.0)
        table.remove_column("IE_ab")
        with pytest.raises(CatalogError, match=r"lacks the column\(s\) \['IE_ab'\].*AB mag"):
            EuclidCatalog(table)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_magnitude_that_is_not_finite(self, bad):
        scene = make_scene([0.0] * 3, [0.0] * 3, [22.0, bad, 23.0])
        with pytest.raises(CatalogError, match=r"^1 source.*row 1: IE_ab is not a finite"):
            EuclidCatalog(scene)

    def test_a_masked_magnitude_is_a_missing_one(self):
        scene = make_scene([0.0] * 3, [0.0] * 3, [22.0, 0.0, 23.0])
        scene["IE_ab"] = MaskedColumn(scene["IE_ab"], mask=[False, True, False])
        with pytest.raises(CatalogError, match="row 1: IE_ab is not a finite"):
            EuclidCatalog(scene)

    def test_magnitudes_that_are_words(self):
        scene = make_scene([0.0], [0.0], 22.0)
        scene["IE_ab"] = ["faint"]
        with pytest.raises(CatalogError, match="IE_ab must hold numbers"):
            EuclidCatalog(scene)

    @pytest.mark.parametrize(
        ("columns", "match"),
        [
            ({"a_d": 0.0}, "the disk has flux, and not a_d >= b_d > 0"),
            ({"b_d": 0.0}, "the disk has flux, and not a_d >= b_d > 0"),
            ({"a_d": np.nan}, "the disk has flux"),
            ({"b_d": 0.4}, "the disk has flux"),  # a_d is 0.3
            ({"pa_disk": np.nan}, "the disk has flux"),
            ({"sersic_n": 2.0, "fluxnorm_disk": 0.0, "a_d": 0.0}, "the disk has flux"),
            ({"fluxnorm_bulge": 1.0}, "the bulge has flux, and not a_b >= b_b > 0"),
            ({"fluxnorm_disk": 0.0}, r"no part has a flux: all fluxnorm_\* are 0"),
            ({"sersic_n": 9.0}, "sersic_n is neither 0 nor between 0.3 and 6.2"),
            ({"sersic_n": -1.0}, "sersic_n is neither 0 nor between"),
        ],
    )
    def test_source_that_cannot_be_drawn(self, columns, match):
        with pytest.raises(CatalogError, match=match) as caught:
            EuclidCatalog(make_scene([0.0], [0.0], 22.0, **columns))
        assert isinstance(caught.value, BtkPunetError)
        assert isinstance(caught.value, ValueError)

    def test_a_star_needs_no_size(self):
        scene = make_scene([0.0], [0.0], 22.0, is_star=True, a_d=0.0, b_d=0.0)
        assert len(EuclidCatalog(scene).table) == 1

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"n_galaxies": 0}, "n_galaxies must be at least 1, got 0"),
            ({"min_mag": 25, "max_mag": 25}, "Expected min_mag < max_mag"),
            ({"star_fraction": 1.1}, "star_fraction must lie in 0-1, got 1.1"),
            ({"bulge_disk_fraction": -0.1}, "bulge_disk_fraction must lie in 0-1"),
        ],
    )
    def test_wrong_arguments_of_simulate(self, arguments, match):
        with pytest.raises(InputError, match=match):
            EuclidCatalog.simulate(**{"n_galaxies": 5, **arguments})


class TestColumns:
    def test_columns_that_a_table_lacks_are_added(self):
        table = Table({"ra": [0.0], "dec": [0.0], "IE_ab": [22.0], "a_d": [0.3], "b_d": [0.2]})
        table["note"] = ["kept"]
        catalog = EuclidCatalog(table)
        assert isinstance(catalog, Catalog)
        row = catalog.table[0]
        assert (row["fluxnorm_disk"], row["fluxnorm_bulge"], row["sersic_n"]) == (1.0, 0.0, 0.0)
        assert not row["is_star"]
        assert row["i_ab"] == 22.0
        assert row["note"] == "kept"

    def test_an_i_magnitude_of_its_own_is_kept(self):
        scene = make_scene([0.0], [0.0], 22.0)
        scene["i_ab"] = 21.5
        assert EuclidCatalog(scene).table["i_ab"][0] == 21.5

    def test_the_users_table_is_not_changed(self):
        table = Table({"ra": [0.0], "dec": [0.0], "IE_ab": [22.0], "a_d": [0.3], "b_d": [0.2]})
        names = list(table.colnames)
        catalog = EuclidCatalog(table)
        catalog.table["IE_ab"][0] = 10.0
        assert table.colnames == names
        assert table["IE_ab"][0] == 22.0


class TestPopulation:
    def test_same_seed_same_catalog(self):
        one, two, other = (EuclidCatalog.simulate(50, seed=s).table for s in (3, 3, 4))
        for name in one.colnames:
            np.testing.assert_array_equal(one[name], two[name])
        assert not np.any(one["IE_ab"] == other["IE_ab"])

    def test_counts_rise_by_0_374_dex_a_magnitude(self, population):
        mag = np.asarray(population["IE_ab"])
        assert 19 <= mag.min()
        assert mag.max() < 26
        low, high = 10 ** (0.374 * 19), 10 ** (0.374 * 26)

        def cumulative(m):
            return (10 ** (0.374 * m) - low) / (high - low)

        # A slope that is wrong by 0.01 fails this with p = 1e-5.
        assert stats.kstest(mag, cumulative).pvalue > 0.01

    def test_counts_per_square_arcminute(self):
        # DESIGN section 5: about 23 to 24.5, 35 to 25, 83 to 26.
        assert galaxies_per_arcmin2(24.5) == 23
        assert galaxies_per_arcmin2(25) == pytest.approx(35, abs=1)
        assert galaxies_per_arcmin2(26) == pytest.approx(83, abs=1)

    @pytest.mark.parametrize(("mag", "mean_radius"), [(22.0, 0.40), (24.5, 0.23), (26.0, 0.16)])
    def test_sizes(self, mag, mean_radius):
        table = EuclidCatalog.simulate(N_LARGE, seed=2, min_mag=mag - 0.01, max_mag=mag + 0.01)
        log_radius = np.log10(half_light_radius_arcsec(table.table))
        standard_error = mean_radius * np.log(10) * log_radius.std() / np.sqrt(N_LARGE)
        # The figures are given to two decimals.
        assert 10 ** log_radius.mean() == pytest.approx(mean_radius, abs=0.005 + 4 * standard_error)

    def test_spread_of_the_sizes(self):
        table = EuclidCatalog.simulate(N_LARGE, seed=2, min_mag=23.99, max_mag=24.01).table
        log_radius = np.log10(half_light_radius_arcsec(table))
        law = stats.skewnorm(-0.58, -0.10831 * 24 + 2.07381, -0.02148 * 24 + 0.69013)
        assert stats.kstest(log_radius, law.cdf).pvalue > 0.01

    def test_half_of_the_galaxies_have_two_parts(self, population):
        two_parts = np.asarray(population["sersic_n"]) == 0
        assert two_parts.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(N_LARGE))
        assert np.all(population["fluxnorm_bulge"][two_parts] > 0)
        assert np.all(population["fluxnorm_bulge"][~two_parts] == 0)
        np.testing.assert_allclose(population["fluxnorm_bulge"] + population["fluxnorm_disk"], 1.0)

    def test_sersic_indices(self, population):
        index = np.asarray(population["sersic_n"])
        index = index[index > 0]
        assert index.min() == pytest.approx(0.3)
        assert index.max() <= 4.5 + 1e-9
        # A log-normal about 1.2 with 0.4 in ln n, in steps of 0.05, cut outside 0.3-4.5.
        n = len(index)
        assert np.log(index).mean() == pytest.approx(np.log(1.2), abs=4 * 0.4 / np.sqrt(n))
        assert np.log(index).std() == pytest.approx(0.4, abs=4 * 0.4 / np.sqrt(2 * n))

    def test_ellipticities(self, population):
        g = shears(population)
        assert g.max() < 0.9
        below = -np.expm1(-0.5 * (0.9 / 0.25) ** 2)
        law = stats.kstest(g, lambda x: -np.expm1(-0.5 * (x / 0.25) ** 2) / below)
        assert law.pvalue > 0.01

    def test_angles_have_no_preference(self, population):
        angle = np.asarray(population["pa_disk"])
        assert stats.kstest(angle, stats.uniform(0, 180).cdf).pvalue > 0.01
        np.testing.assert_array_equal(angle, population["pa_bulge"])

    def test_bulge_and_disk_have_the_same_ellipticity(self, population):
        both = population[np.asarray(population["fluxnorm_bulge"]) > 0]
        np.testing.assert_allclose(both["b_b"] / both["a_b"], both["b_d"] / both["a_d"])

    def test_stars(self):
        table = EuclidCatalog.simulate(4000, seed=1, star_fraction=0.25).table
        star = np.asarray(table["is_star"])
        assert star.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000))
        stars = table[star]
        assert np.all(stars["fluxnorm_agn"] == 1)
        for name in ("fluxnorm_disk", "fluxnorm_bulge", "a_d", "b_d", "a_b", "b_b", "sersic_n"):
            assert np.all(stars[name] == 0), name
        assert np.all(half_light_radius_arcsec(stars) == 0)
        assert np.all(half_light_radius_arcsec(table[~star]) > 0)

    @pytest.mark.parametrize(("fraction", "bulges"), [(0.0, 0), (1.0, 100)])
    def test_all_or_none_with_two_parts(self, fraction, bulges):
        table = EuclidCatalog.simulate(100, bulge_disk_fraction=fraction).table
        assert (table["fluxnorm_bulge"] > 0).sum() == bulges


class TestHalfLightRadius:
    @pytest.mark.parametrize("bulge_to_total", [0.05, 0.3, 0.6, 0.95])
    @pytest.mark.parametrize("ratio", [0.25, 0.75, 1.5])
    def test_composite_against_galsim(self, bulge_to_total, ratio):
        galaxy = (1 - bulge_to_total) * galsim.Exponential(half_light_radius=1.0)
        galaxy += bulge_to_total * galsim.DeVaucouleurs(half_light_radius=ratio)
        expected = galaxy.calculateHLR(size=300, scale=0.02)  # good to about 1e-4
        ours = composite_half_light_radius(np.array(bulge_to_total), np.array(ratio))
        assert ours == pytest.approx(expected, abs=5e-4)

    def test_composite_of_one_part(self):
        np.testing.assert_allclose(
            composite_half_light_radius(np.array([0.0, 1.0]), np.array([0.4, 0.4])), [1.0, 0.4]
        )

    def test_of_catalog_rows(self):
        scene = make_scene(
            [0.0] * 4,
            [0.0] * 4,
            22.0,
            a_d=[0.4, 0.0, 0.4, 0.0],
            b_d=[0.1, 0.0, 0.1, 0.0],
            a_b=[0.0, 0.9, 0.2, 0.0],
            b_b=[0.0, 0.4, 0.2, 0.0],
            fluxnorm_disk=[1.0, 0.0, 1.0, 0.0],
            fluxnorm_bulge=[0.0, 1.0, 2.0, 0.0],
            fluxnorm_agn=[0.0, 0.0, 0.0, 1.0],
        )
        # sqrt(0.4 x 0.1); sqrt(0.9 x 0.4); two parts of equal size; a point.
        np.testing.assert_allclose(half_light_radius_arcsec(scene), [0.2, 0.6, 0.2, 0.0])


@pytest.fixture(scope="module")
def table():
    return EuclidCatalog.simulate(40, seed=6, star_fraction=0.3).table


class TestFromFile:
    @pytest.mark.parametrize("ending", ["fits", "FITS", "ecsv", "csv", "txt", "parquet", "pq"])
    def test_round_trip(self, table, tmp_path, ending):
        path = tmp_path / f"catalog.{ending}"
        if ending in ("parquet", "pq"):
            table.to_pandas().to_parquet(path)
        else:
            formats = {"csv": "ascii.csv", "txt": "ascii.basic", "ecsv": "ascii.ecsv"}
            table.write(path, format=formats.get(ending, "fits"))
        for source in (path, str(path)):
            read = EuclidCatalog.from_file(source).table
            assert read.colnames == table.colnames
            assert read["is_star"].dtype == bool
            assert read["IE_ab"].dtype == np.float64
            for name in table.colnames:
                np.testing.assert_array_equal(read[name], table[name], err_msg=name)

    def test_missing_file(self, tmp_path):
        with pytest.raises(CatalogError, match="none.fits' does not exist"):
            EuclidCatalog.from_file(tmp_path / "none.fits")

    def test_a_folder(self, tmp_path):
        with pytest.raises(CatalogError, match="does not exist"):
            EuclidCatalog.from_file(tmp_path)

    def test_unknown_ending(self, tmp_path):
        path = tmp_path / "catalog.xlsx"
        path.touch()
        with pytest.raises(CatalogError, match=r"Cannot read 'catalog.xlsx': expected .*'\.fits'"):
            EuclidCatalog.from_file(path)

    def test_file_without_a_needed_column(self, table, tmp_path):
        path = tmp_path / "catalog.ecsv"
        table[["ra", "dec"]].write(path)
        with pytest.raises(CatalogError, match=r"lacks the column\(s\) \['IE_ab'\]"):
            EuclidCatalog.from_file(path)

    @pytest.mark.parametrize("ending", ["ecsv", "fits"])
    def test_a_blank_magnitude(self, table, tmp_path, ending):
        holed = table.copy()
        holed["IE_ab"] = MaskedColumn(holed["IE_ab"], mask=np.arange(40) == 3)
        path = tmp_path / f"catalog.{ending}"
        if ending == "fits":  # there a missing number is a NaN
            holed["IE_ab"] = holed["IE_ab"].filled(np.nan)
            fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(holed)]).writeto(path)
        else:
            holed.write(path)
        with pytest.raises(CatalogError, match="row 3: IE_ab is not a finite magnitude"):
            EuclidCatalog.from_file(path)

    def test_words_that_are_no_booleans(self, table, tmp_path):
        odd = table.copy()
        odd["is_star"] = ["perhaps"] * 40
        odd.write(tmp_path / "catalog.csv")
        with pytest.raises(CatalogError, match="is_star must hold True or False, got 'perhaps'"):
            EuclidCatalog.from_file(tmp_path / "catalog.csv")


def test_btks_own_generator_draws_it(catalog, one_exposure):
    generator = CatsimGenerator(
        CatsimCatalog(catalog.table),
        DefaultSampling(stamp_size=6.4, max_number=3),
        one_exposure,
        batch_size=2,
        add_noise="none",
    )
    batch = next(generator)
    assert batch.blend_images.shape == (2, 1, 64, 64)
    assert np.all(batch.blend_images.sum(axis=(1, 2, 3)) > 0)


@pytest.mark.parametrize("ending", ["fits", "ecsv", "parquet"])
def test_broken_file(tmp_path, ending):
    path = tmp_path / f"catalog.{ending}"
    path.write_text("this is not a table")
    with pytest.raises(CatalogError, match=f"could not be read as .{ending}"):
        EuclidCatalog.from_file(path)


def test_positions_have_the_density_of_the_counts():
    table = EuclidCatalog.simulate(5000, seed=1, min_mag=20.0, max_mag=25.0).table
    side_arcmin = 60 * max(np.ptp(table["ra"]), np.ptp(table["dec"]))
    expected = galaxies_per_arcmin2(25.0) - galaxies_per_arcmin2(20.0)
    assert 5000 / side_arcmin**2 == pytest.approx(expected, rel=0.01)
