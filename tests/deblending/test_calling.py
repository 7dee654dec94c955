"""Methods that change their scenes, or return what cannot be used, are told so by name."""

import ctypes

import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.deblend import Deblender

from btk_punet.deblending.calling import call_method, check_found
from btk_punet.errors import MethodError

from .conftest import make_batch, random_scenes

MAX_N_SOURCES, SIZE = 4, 16


class Does(Deblender):
    """Does something to the batch, and finds nothing."""

    def __init__(self, something):
        super().__init__(MAX_N_SOURCES)
        self.something = something

    def deblend(self, ii, blend_batch):
        raise NotImplementedError

    def batch_call(self, blend_batch, njobs=1, **kwargs):
        self.something(blend_batch)
        return found(blend_batch)


def found(blend_batch, catalogs=None, **kwargs):
    """Return what a method found: nothing, without catalogs."""
    n_scenes = blend_batch.batch_size
    if catalogs is None:
        catalogs = [Table({"ra": np.zeros(0), "dec": np.zeros(0)}) for _ in range(n_scenes)]
    return DeblendBatch(n_scenes, MAX_N_SOURCES, catalogs, **kwargs)


def scenes(n=2):
    return make_batch(random_scenes(n, seed=3, size=SIZE).astype(float))


def write_image(batch):
    batch.blend_images[0, 0] -= 1.0


def write_through_c(batch):
    image = batch.blend_images
    ctypes.memset(image.ctypes.data, 0, image.nbytes)


def demand_then_write(batch):
    memory = memoryview(batch.blend_images)
    if memory.readonly:
        raise ValueError("buffer source array is read-only")
    write_image(batch)


def write_isolated(batch):
    batch.isolated_images[0] = 1.0


def write_column(batch):
    batch.catalog_list[1]["ra"] += 1.0


def rename_column(batch):
    batch.catalog_list[1].rename_column("ra", "RA")


def add_column(batch):
    batch.catalog_list[0]["mine"] = [1.0]


def drop_row(batch):
    batch.catalog_list[0].remove_row(0)


def drop_catalog(batch):
    batch.catalog_list.pop()


CHANGES = {
    write_image: "blend_images",
    write_through_c: "blend_images",
    demand_then_write: "blend_images",
    write_isolated: "isolated_images",
    write_column: "catalog_list",
    rename_column: "catalog_list",
    add_column: "catalog_list",
    drop_row: "catalog_list",
    drop_catalog: "catalog_list",
}


def contents(batch: BlendBatch):
    tables = [{name: list(table[name]) for name in table.colnames} for table in batch.catalog_list]
    return batch.blend_images.tolist(), batch.isolated_images.tolist(), tables


def test_a_batch_without_scenes():
    batch = make_batch(np.zeros((0, SIZE, SIZE)))
    assert call_method(Does(lambda given: None), batch).catalog_list == []


@pytest.mark.parametrize(("change", "what"), CHANGES.items())
def test_a_method_that_changes_the_batch_is_named(change, what):
    batch = scenes()
    before = contents(batch)
    with pytest.raises(MethodError, match=f"^mine changed {what} of the batch .* on a copy"):
        call_method(Does(change), batch, "mine")
    assert contents(batch) == before
    # And it can be written into by who made it.
    write_image(batch), write_isolated(batch), write_column(batch)


def test_arrays_are_read_only_and_the_same():
    batch, seen = scenes(), []

    def look(given):
        seen.extend([given.blend_images, given.isolated_images, given.catalog_list[0]["ra"]])
        assert [array.flags.writeable for array in seen] == [False] * 3

    call_method(Does(look), batch)
    np.testing.assert_array_equal(seen[0], batch.blend_images)
    assert np.shares_memory(seen[1], batch.isolated_images)


def test_images_that_are_nan_are_unchanged():
    batch = scenes()
    batch.blend_images[0, 0, 3] = np.nan
    call_method(Does(lambda given: None), batch)


def test_code_that_demands_writable_memory_gets_it():
    def demand(given):
        given.isolated_images.flags.writeable = True
        if memoryview(given.blend_images).readonly:
            raise ValueError("buffer source array is read-only")

    assert len(call_method(Does(demand), scenes()).catalog_list) == 2


def test_another_failure_is_the_methods_own():
    calls = []

    def fail(given):
        calls.append(given)
        raise KeyError("psf")

    batch = scenes()
    with pytest.raises(KeyError, match="psf"):
        call_method(Does(fail), batch)
    assert len(calls) == 1
    write_column(batch)


def table(n=1, **columns):
    return Table({"ra": np.zeros(n), "dec": np.zeros(n), **columns})


def masked_positions():
    catalog = Table({"ra": [0.0], "dec": [0.0], "x_peak": [3.0]}, masked=True)
    catalog["x_peak"].mask = True
    return catalog


BAD_CATALOGS = [
    (table(x_peak=[np.nan]), "nan as 'x_peak' in the catalog of scene 1.*finite numbers"),
    (table(y_peak=[np.inf]), "inf as 'y_peak'"),
    (table(x_peak=["3"]), "<U1 values as 'x_peak'"),
    (masked_positions(), "nan as 'x_peak'"),
    (Table({"ra": [np.nan], "dec": [0.0]}), "nan as 'ra'"),
    (table(p_detect=[1.5]), "'p_detect' in the catalog of scene 1 .* of 1.5 to 1.5: expected prob"),
    (table(2, p_detect=[-0.25, 0.5]), "'p_detect' .* of -0.25 to 0.5"),
    (table(p_blend=[np.nan]), "nan as 'p_blend'"),
    (table(5), "5 rows in the catalog of scene 1 .* max_n_sources=4"),
    (Table({"ra": [0.0]}), "no column 'dec'"),
    ([0.0], "a list as the catalog of scene 1 .* astropy Table"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_CATALOGS)
def test_catalogs_that_cannot_be_used(bad, message):
    batch = scenes()
    output = found(batch)
    output.catalog_list[1] = bad  # which BTK checks only when the batch is made
    with pytest.raises(MethodError, match=f"^mine returned {message}"):
        check_found("mine", output, batch)


BAD_EXTRAS = [
    ({"class_probability": np.full((3, 2, 2), 1.01)}, "'class_probability' .* of 1.01 to 1.01"),
    ({"centre_probability": np.array([0.0, np.nan])}, "'centre_probability' .* of NaN"),
    ({"count_posterior": np.array([-1.0, 2.0])}, "'count_posterior' .* of -1 to 2"),
    ({"count_posterior": "many"}, "<U4 values as 'count_posterior'"),
    ({"candidates": Table({"p_detect": [2.0]})}, "'p_detect' in the candidates of .* of 2 to 2"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_EXTRAS)
def test_extra_data_that_cannot_be_used(bad, message):
    batch = scenes()
    with pytest.raises(MethodError, match=f"^mine returned {message}"):
        check_found("mine", found(batch, extra_data=[{"own": "words"}, bad]), batch)


def test_extra_data_of_another_number_of_scenes():
    batch = scenes()
    with pytest.raises(MethodError, match="extra_data of 1 for a batch of 2 scenes"):
        check_found("mine", found(batch, extra_data=[{}]), batch)
    with pytest.raises(MethodError, match="extra_data of no list"):
        check_found("mine", found(batch, extra_data={}), batch)


def test_images_of_another_size():
    batch = scenes()
    small = np.zeros((2, MAX_N_SOURCES, 8, 8), bool)
    with pytest.raises(MethodError, match=r"segmentation of shape \(2, 4, 8, 8\): .*4, 16, 16\)"):
        check_found("mine", found(batch, image_size=8, segmentation=small), batch)
    small = np.zeros((2, MAX_N_SOURCES, 1, 8, 8))
    with pytest.raises(MethodError, match=r"deblended_images of shape .* \(2, 4, 1, 16, 16\)"):
        check_found("mine", found(batch, n_bands=1, image_size=8, deblended_images=small), batch)


def test_something_else_and_too_few():
    batch = scenes()
    with pytest.raises(
        MethodError, match="batch_call of mine must return a DeblendBatch, got list"
    ):
        check_found("mine", [], batch)
    with pytest.raises(MethodError, match="mine returned 2 catalogs for a batch of 3 scenes"):
        check_found("mine", found(batch), scenes(3))


def test_rounding_is_forgiven():
    batch = scenes()
    check_found("mine", found(batch, [table(p_detect=[1 + 1e-7]), table(p_blend=[-1e-7])]), batch)
