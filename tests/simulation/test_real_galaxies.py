"""Real galaxies of HST/COSMOS, which BTK's catalog and generator know; skipped without the data."""

import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.catalog import CosmosCatalog
from btk.draw_blends import CosmosGenerator

from btk_punet.errors import CatalogError
from btk_punet.simulation.generator import (
    EuclidGenerator,
    RealGalaxyGenerator,
    _without_case_duplicates,
)
from btk_punet.simulation.labels import clean_real_galaxies, connected_part, overlap_count
from btk_punet.simulation.sampling import EuclidGroupSampling
from tests.simulation.conftest import SIGMA, FixedSampling


class TestColumnNames:
    """HDF5 tables, and so BTK's save, do not take two names that differ by case alone."""

    def test_no_columns(self):
        assert _without_case_duplicates(Table()).colnames == []

    def test_lower_case_wins(self):
        table = Table({"RA": [1], "ra": [2], "MAG": [3], "Dec": [4], "DEC": [5]})
        kept = _without_case_duplicates(table)
        assert kept.colnames == ["ra", "MAG", "DEC"]
        assert kept["ra"][0] == 2

    def test_other_names_stay_in_their_order(self):
        names = ["b", "A", "c_D"]
        assert _without_case_duplicates(Table(names=names)).colnames == names


@pytest.fixture(scope="module")
def cosmos(cosmos_dir):
    stem = "real_galaxy_catalog_26_example"
    files = [str(cosmos_dir / f"{stem}{end}.fits") for end in ("", "_fits")]
    return CosmosCatalog.from_file(files, exclusion_level="none")


@pytest.fixture(scope="module")
def scene(cosmos):
    """Four bright galaxies, apart from one another."""
    table = cosmos.table[np.argsort(cosmos.table["MAG"])[:4]]
    table["ra"], table["dec"] = [-1.53, 1.57, -1.51, 1.62], [-1.55, -1.49, 1.58, 1.51]
    return table


def groups(**options):
    return EuclidGroupSampling(6.4, mag_name="MAG", max_mag=26.1, **options)


def test_the_catalog_has_50_galaxies(cosmos):
    assert len(cosmos.table) == 50
    assert 20 < cosmos.table["MAG"].min() < cosmos.table["MAG"].max() < 26.1


def test_draws_what_btks_generator_draws(cosmos, scene, one_exposure):
    arguments = (cosmos, FixedSampling(scene), one_exposure)
    options = {"batch_size": 1, "add_noise": "none"}
    ours = next(RealGalaxyGenerator(*arguments, **options))
    btks = next(CosmosGenerator(*arguments, **options))
    np.testing.assert_allclose(ours.isolated_images, btks.isolated_images, atol=1e-6)
    np.testing.assert_allclose(ours.blend_images, btks.blend_images, atol=1e-6)
    for name in ("ra", "dec", "x_peak", "y_peak", "not_drawn_IE"):
        np.testing.assert_array_equal(ours.catalog_list[0][name], btks.catalog_list[0][name])
    # The flux is that of the catalog's magnitude; real stamps miss some at their borders.
    flux = 10 ** (-0.4 * (np.asarray(scene["MAG"]) - 25.92)) * 565
    np.testing.assert_allclose(ours.isolated_images.sum(axis=(0, 2, 3, 4)), flux, rtol=0.2)


def test_scenes_do_not_depend_on_what_was_drawn_before(cosmos, wide_stack):
    def generator(**options):
        return RealGalaxyGenerator(
            cosmos, groups(max_number=3), wide_stack, batch_size=2, augment_data=True, **options
        )

    first = generator()
    next(first)
    second = next(first)
    for other in (generator().draw_batch(1), generator(njobs=2).draw_batch(1)):
        np.testing.assert_array_equal(second.blend_images, other.blend_images)
        np.testing.assert_array_equal(second.isolated_images, other.isolated_images)
    rotations = np.concatenate([table["btk_rotation"] for table in second.catalog_list])
    assert len(np.unique(rotations)) == len(rotations) > 0


@pytest.mark.parametrize(("gal_type", "kind"), [("real", "real"), ("parametric", "smooth")])
def test_it_says_what_it_draws(cosmos, one_exposure, gal_type, kind):
    generator = RealGalaxyGenerator(cosmos, groups(), one_exposure, gal_type=gal_type)
    assert generator.kind_of_galaxies == kind


def test_save_and_load(cosmos, one_exposure, tmp_path):
    batch = next(RealGalaxyGenerator(cosmos, groups(), one_exposure, batch_size=2))
    batch.save(str(tmp_path))
    loaded = BlendBatch.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.blend_images, batch.blend_images)
    for one, two in zip(loaded.catalog_list, batch.catalog_list, strict=True):
        assert one.colnames == two.colnames
        for name in ("ra", "dec", "MAG", "x_peak", "y_peak"):
            np.testing.assert_array_equal(one[name], two[name])


def test_the_users_catalog_is_not_changed(cosmos, one_exposure):
    names = list(cosmos.table.colnames)
    next(RealGalaxyGenerator(cosmos, groups(), one_exposure, batch_size=1))
    assert cosmos.table.colnames == names


def test_cleaning_keeps_the_part_with_the_centre(cosmos, scene, one_exposure):
    sampling = FixedSampling(scene)
    batch = next(
        RealGalaxyGenerator(cosmos, sampling, one_exposure, batch_size=1, add_noise="none")
    )
    isolated = batch.isolated_images[0, :, 0]
    x, y = (np.asarray(batch.catalog_list[0][name]) for name in ("x_peak", "y_peak"))
    clean = clean_real_galaxies(isolated, x, y, SIGMA)
    for before, after, column, row in zip(isolated, clean, x, y, strict=True):
        kept = after != 0
        assert kept[round(row), round(column)]
        np.testing.assert_array_equal(connected_part(kept, column, row), kept)
        np.testing.assert_array_equal(after[kept], before[kept])
        assert np.all(after[kept] > 0.5 * SIGMA)
        # The galaxy stays, its noise and its neighbours' crumbs go.
        assert after.sum() > 0.85 * before.sum()
        assert np.abs(before[~kept]).max() > 0
    # Each galaxy's pixels by class: the whole scene is covered no more than by the raw images.
    raw = overlap_count(isolated, SIGMA)
    connected = overlap_count(isolated, SIGMA, x=x, y=y)
    assert np.all(connected <= raw)
    assert connected.sum() > 0.9 * raw.sum()


def test_a_catalog_of_the_other_kind(catalog, cosmos, one_exposure):
    with pytest.raises(CatalogError, match="got CosmosCatalog. For real galaxies: RealGalaxyGen"):
        EuclidGenerator(cosmos, groups(), one_exposure)
    with pytest.raises(ValueError, match="catalog provided is of the wrong type"):
        RealGalaxyGenerator(catalog, groups(), one_exposure)
