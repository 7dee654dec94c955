import pytest

from btk_punet.deblending.flags import DetectionFlag, flag_names
from btk_punet.errors import InputError


def test_no_flag():
    assert flag_names(0) == []


def test_names_in_the_order_of_the_bits():
    flags = DetectionFlag.SATURATED | DetectionFlag.BAD_PIXEL | 1024
    assert flag_names(flags) == ["BAD_PIXEL", "SATURATED", "1024"]


def test_negative_values_are_refused():
    with pytest.raises(InputError, match="bits of DetectionFlag"):
        flag_names(-1)


def test_the_values_of_written_catalogs_stay():
    assert [int(flag) for flag in DetectionFlag] == [2**k for k in range(9)]
    assert (DetectionFlag.TRUNCATED, DetectionFlag.BAD_PIXEL) == (1, 2)
    assert (DetectionFlag.EDGE, DetectionFlag.FIT_FAILED) == (4, 8)
