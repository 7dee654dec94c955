"""Equality of everything that a saved batch holds: values, types, dtypes, units and order."""

import galsim
import numpy as np
from astropy.table import Table
from astropy.units import Quantity


def assert_equal(one, two, where="value"):
    assert type(one) is type(two), where
    if isinstance(one, Table):
        assert one.colnames == two.colnames, where
        assert_equal(dict(one.meta), dict(two.meta), f"{where}.meta")
        for name in one.colnames:
            a, b = one[name], two[name]
            assert type(a) is type(b), f"{where}[{name}]"
            for detail in ("unit", "description", "format", "meta"):
                assert getattr(a.info, detail) == getattr(b.info, detail), f"{where}[{name}]"
            assert_equal_arrays(a, b, f"{where}[{name}]")
    elif isinstance(one, np.ndarray | np.generic):
        assert_equal_arrays(one, two, where)
    elif isinstance(one, dict):
        assert list(one) == list(two), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}[{key}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_equal(a, b, f"{where}[{index}]")
    elif hasattr(one, "__dict__") and not isinstance(one, galsim.GSObject):
        for name in vars(one).keys() - {"wcs", "survey_name"}:
            assert_equal(getattr(one, name), getattr(two, name), f"{where}.{name}")
    else:
        assert one == two or (one != one and two != two), where


def assert_equal_arrays(one, two, where):
    assert one.dtype == two.dtype, where
    assert one.shape == two.shape, where
    if isinstance(one, Quantity):
        assert one.unit == two.unit, where
    if isinstance(one, np.ma.MaskedArray):
        np.testing.assert_array_equal(one.mask, two.mask, where)
        assert one.fill_value == two.fill_value, where
        one, two = one.data, two.data
    if one.dtype.hasobject:
        assert_equal(np.ravel(one).tolist(), np.ravel(two).tolist(), where)
    else:
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes(), where
