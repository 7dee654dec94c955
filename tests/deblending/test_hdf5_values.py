"""Values come back from HDF5 equal, or are refused with their place."""

import astropy.units as u
import h5py
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time

from btk_punet.deblending.hdf5_values import read_value, write_value
from btk_punet.errors import InputError, InputTypeError

from .equal import assert_equal


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "values.h5", "w") as file:
        yield file


def round_trip(file, value):
    write_value(file, "value", value)
    return read_value(file["value"])


def objects(*items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


RNG = np.random.default_rng(5)

EMPTY = [
    None,
    "",
    {},
    [],
    (),
    np.zeros(0),
    np.zeros((0, 3), np.float32),
    np.zeros(0, "U4"),
    np.zeros(3, "U0"),
    objects(),
    Table(),
    QTable(),
    Table({"ra": np.zeros(0), "name": np.zeros(0, "U7"), "b": np.zeros((0, 2), bool)}),
]

VALUES = [
    True,
    -3,
    2**70,
    0.1,
    float("inf"),
    float("nan"),
    "a \0 zero, ü and 星",
    [1, "two", [None, {"three": 3.0}]],
    (1, (2, [3])),
    {"z": 1, "a": {"": 2, ".": 3, "..": 4, "a/b": 5, "%": 6, "%2E": 7, "ü 星": 8}},
    np.float32(1.5),
    np.bool_(True),
    np.str_("text"),
    np.complex128(1 + 2j),
    np.array(3),
    RNG.normal(size=(3, 4)),
    RNG.normal(size=(3, 4)).astype(">f4"),
    np.asfortranarray(RNG.normal(size=(3, 4))),
    np.array([np.nan, -0.0, np.inf], np.float16),
    np.arange(5, dtype=np.uint8),
    RNG.normal(size=100_000).astype(np.longdouble),
    RNG.normal(size=(2, 2)) * 1j,
    np.array(["a", "longer", "ü"]),
    np.array([b"a", b"bc"]),
    np.array(["2026-01-01", "NaT"], "datetime64[D]"),
    np.array([(1, "x", [0.5, 2])], [("i", "i4"), ("s", "U3"), ("f", "f8", (2,))]),
    np.ma.MaskedArray([1.5, 2, 3], [False, True, False], fill_value=-9.0),
    np.ma.MaskedArray(["a", "bc"], [False, True], fill_value="N"),
    objects(None, np.arange(3), "text", [1, 2]),
    0.1 * u.arcsec,
    [1, 2] * u.electron / u.s,
    22.19295262 * u.mag / u.arcsec**2,
    np.arange(3, dtype=np.float32) * u.Unit(""),
]


@pytest.mark.parametrize("value", EMPTY + VALUES, ids=lambda value: repr(value)[:30])
def test_round_trip(file, value):
    assert_equal(round_trip(file, value), value)


def test_table(file):
    table = Table(
        {
            "ra": Column(
                [1.5, 2], unit=u.arcsec, description="position", format=".3f", meta={"a": 1}
            ),
            "RA": np.array([1, 2], np.int16),  # HDF5's own tables refuse this beside "ra"
            "flux/err": np.array([1, 2], ">f4"),
            "name": ["a", "longer"],
            "stamp": RNG.normal(size=(2, 3, 3)),
            "masked": MaskedColumn([1, 2], mask=[True, False], unit="pix", fill_value=7),
            "objects": Column([None, [1]], dtype=object),
            "unknown": Column([1, 2], unit=u.Unit("furlongs", parse_strict="silent")),
        },
        meta={"seed": 3, "comments": ["one", "two"]},
    )
    assert_equal(round_trip(file, table), table)


def test_table_of_quantities(file):
    table = QTable({"ra": [1, 2] * u.arcsec, "n": [3, 4]})
    table["ra"].info.description = "position"
    assert_equal(round_trip(file, table), table)


def test_large_arrays_are_compressed_and_small_ones_are_not(file):
    mask = np.zeros((20, 64, 64), bool)
    mask[3, 10:20, 10:20] = True
    dataset = write_value(file, "mask", mask)
    assert dataset.compression == "gzip"
    assert dataset.id.get_storage_size() < mask.nbytes / 20
    assert write_value(file, "small", np.zeros(10)).compression is None


def test_readable_without_this_package(file):
    write_value(file, "data", {"class_mean": np.ones((2, 2)), "table": Table({"ra": [1.5]})})
    np.testing.assert_array_equal(file["data/class_mean"][()], np.ones((2, 2)))
    assert file["data/table/columns/ra"][0] == 1.5


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r"value is a builtins.set, which cannot be saved: expected None"),
        ({"a": [0, len]}, r"value\['a'\]\[1\] is a builtins.builtin_function"),
        ({1: "a"}, r"The keys of value must be strings to be saved, got 1"),
        (np.zeros(2).view(Subclass), "value is a .*Subclass"),
        (objects(1, len), r"value\['items'\]\[1\] is a builtins.builtin_function"),
        (np.zeros(2, [("a", object)]), "structured array with objects"),
        (Table({"t": Time([1.0, 2.0], format="mjd")}), r"value\['t'\] is a astropy.time.*Time"),
    ],
)
def test_what_cannot_be_saved(file, value, message):
    with pytest.raises(InputTypeError, match=message):
        write_value(file, "value", value)


def test_unit_that_cannot_be_read_back(file):
    unit = u.Unit(np.pi * u.deg)
    with pytest.raises(InputError, match=r"unit .* of size cannot be saved.*Convert it"):
        write_value(file, "size", 3 * unit)


def test_unknown_kind(file):
    write_value(file, "value", {}).attrs["kind"] = "pickle"
    with pytest.raises(InputError, match="'?/value'? holds a value of unknown kind 'pickle'"):
        read_value(file["value"])
