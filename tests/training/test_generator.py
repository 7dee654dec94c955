"""Blends of galaxies with structure, made up or real."""

import numpy as np
import pytest

from btk_punet import (
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    StructuredEuclidGenerator,
    get_euclid_survey,
)
from btk_punet.errors import CatalogError
from btk_punet.simulation.choices import open_cosmos
from btk_punet.simulation.survey import flux_electrons
from btk_punet.training.generator import HeldOutGalaxyGenerator, MixedRealGenerator
from btk_punet.training.real_galaxies import is_held_out, part_of
from tests.training.test_real_galaxies import write


def batch_of(kind, catalog, seed=3):
    sampling = EuclidGroupSampling(max_number=2)
    return next(kind(catalog, sampling, get_euclid_survey(), batch_size=6, seed=seed))


@pytest.fixture(scope="module")
def large():
    """Bright galaxies, most of which are large enough to show structure."""
    return EuclidCatalog.simulate(200, 5, 20.0, 22.0)


def test_empty_scenes(large):
    generator = StructuredEuclidGenerator(
        large, EuclidGroupSampling(max_number=0, min_number=0), get_euclid_survey(), batch_size=2
    )
    assert not next(generator).isolated_images.any()


def test_same_scenes_with_other_shapes_of_the_same_flux(large):
    smooth, structured = (
        batch_of(kind, large) for kind in (EuclidGenerator, StructuredEuclidGenerator)
    )
    for one, other in zip(smooth.catalog_list, structured.catalog_list, strict=True):
        np.testing.assert_array_equal(one["x_peak"], other["x_peak"])
    flux = [batch.isolated_images.sum(axis=(2, 3, 4)) for batch in (smooth, structured)]
    drawn = flux[0] > 0
    changed = (smooth.isolated_images != structured.isolated_images).any(axis=(2, 3, 4))
    assert 0.3 < changed[drawn].mean() <= 1.0
    # All of the light of the small ones is on the stamp.
    np.testing.assert_allclose(np.median(flux[1][drawn] / flux[0][drawn]), 1.0, atol=0.03)


def test_they_say_what_they_draw():
    assert EuclidGenerator.kind_of_galaxies == "smooth"
    assert StructuredEuclidGenerator.kind_of_galaxies is None
    assert HeldOutGalaxyGenerator.kind_of_galaxies == "real"


def test_a_galaxy_looks_the_same_each_time(large):
    one, again = (batch_of(StructuredEuclidGenerator, large) for _ in range(2))
    np.testing.assert_array_equal(one.isolated_images, again.isolated_images)


def test_stars_stay_as_they_are():
    catalog = EuclidCatalog.simulate(100, 6, 20.0, 25.0, star_fraction=1.0)
    smooth, structured = (
        batch_of(kind, catalog) for kind in (EuclidGenerator, StructuredEuclidGenerator)
    )
    np.testing.assert_array_equal(smooth.blend_images, structured.blend_images)


@pytest.fixture
def real_file(tmp_path):
    """Thirty bars of light, of which some are held out."""
    image = np.zeros((41, 41))
    image[15:26, 5:36] = 1.0
    return write(tmp_path / "real.npz", [image] * 30, [str(i) for i in range(30)], scale=0.06)


def held_out_batch(catalog, path, **options):
    sampling = EuclidGroupSampling(max_number=2)
    return next(
        HeldOutGalaxyGenerator(
            catalog,
            sampling,
            get_euclid_survey(),
            batch_size=6,
            seed=3,
            real_galaxies=path,
            **options,
        )
    )


def test_real_galaxies_that_are_held_out(large, real_file):
    smooth = batch_of(EuclidGenerator, large)
    real, again = (held_out_batch(large, real_file, njobs=njobs) for njobs in (1, 2))
    np.testing.assert_array_equal(real.isolated_images, again.isolated_images)
    flux = [batch.isolated_images.sum(axis=(2, 3, 4)) for batch in (smooth, real)]
    drawn = flux[0] > 0
    changed = (smooth.isolated_images != real.isolated_images).any(axis=(2, 3, 4))
    assert changed[drawn].mean() > 0.8
    np.testing.assert_allclose(np.median(flux[1][drawn] / flux[0][drawn]), 1.0, atol=0.03)
    faint = held_out_batch(large, real_file, max_real_mag=20.0)
    np.testing.assert_array_equal(faint.isolated_images, smooth.isolated_images)


def test_a_file_without_held_out_galaxies_is_refused(large, tmp_path):
    image = np.pad(np.ones((5, 5)), 3)
    name = next(str(i) for i in range(30) if not is_held_out(f"toys/{i}"))
    path = write(tmp_path / "real.npz", [image], [name])
    with pytest.raises(CatalogError, match="holds no real galaxy that can be used here"):
        held_out_batch(large, path)


def test_real_galaxies_of_a_catalog_and_of_a_file(cosmos_dir, real_file):
    catalog = open_cosmos(cosmos_dir)
    generator = MixedRealGenerator(
        catalog,
        EuclidGroupSampling(mag_name="MAG", max_number=3),
        get_euclid_survey(),
        batch_size=12,
        seed=2,
        augment_data=True,
        real_galaxies=real_file,
        population=EuclidCatalog.simulate(4000, 1),
    )
    names = {f"toys/{i}" for i in range(30) if part_of(f"toys/{i}") == "benchmark"}
    table = generator.catalog.table
    assert len(table) == len(catalog.table) + len(names)
    assert len(set(table["object_id"])) == len(table)
    assert set(table["object_id"][table["object_id"] < 0]) == set(range(-len(names), 0))
    batch = generator.draw_batch(0)
    of_file = 0
    for isolated, rows in zip(batch.isolated_images, batch.catalog_list, strict=True):
        for source, row in enumerate(rows):
            expected = flux_electrons(row["MAG"], batch.survey.get_filter("IE"))
            if row["object_id"] < 0:
                of_file += 1
                assert isolated[source].sum() == pytest.approx(expected, rel=0.05)
                assert isolated[source].min() >= 0  # without the noise of an HST stamp
            else:
                assert isolated[source].min() < 0
    assert 0 < of_file < sum(map(len, batch.catalog_list))


def test_a_population_without_small_galaxies(cosmos_dir, tmp_path):
    name = next(str(i) for i in range(99) if part_of(f"toys/{i}") == "benchmark")
    image = np.pad(np.ones((5, 5)), 3)
    path = write(tmp_path / "real.npz", [image], [name], scale=1e-4)
    with pytest.raises(CatalogError, match="is as small as toys/.*give a larger population"):
        MixedRealGenerator(
            open_cosmos(cosmos_dir),
            EuclidGroupSampling(mag_name="MAG"),
            get_euclid_survey(),
            real_galaxies=path,
            population=EuclidCatalog.simulate(500, 1, star_fraction=0.0),
        )
