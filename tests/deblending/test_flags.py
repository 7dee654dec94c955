"""The flags of detections: names, words and counts of a column."""

import numpy as np
import pytest

from btk_punet import DetectionFlag
from btk_punet.deblending.flags import flag_counts, flag_names
from btk_punet.errors import InputError


def test_of_nothing():
    assert flag_names(0) == []
    assert flag_counts([]) == flag_counts(np.zeros(3, int)) == {}


def test_names_and_bits_that_have_none():
    assert flag_names(4 + 16) == ["EDGE", "SATURATED"]
    assert flag_names(np.int64(1024 + 2)) == ["BAD_PIXEL", "1024"]
    with pytest.raises(InputError, match="flags must be 0 or above, got -1"):
        flag_names(-1)


def test_counts():
    counts = flag_counts([0, 4, 4 | 16, 2 | 4 | 16])
    assert counts == {DetectionFlag.BAD_PIXEL: 1, DetectionFlag.EDGE: 3, DetectionFlag.SATURATED: 2}


@pytest.mark.parametrize("flag", DetectionFlag)
def test_each_is_one_bit_and_a_sentence(flag):
    assert bin(flag).count("1") == 1
    assert flag.words[0].isupper() and flag.words.endswith(".")
    assert f"- ``{flag.name}`` ({int(flag)}): {flag.words}" in DetectionFlag.__doc__


def test_combinations_are_flags():
    both = DetectionFlag.EDGE | DetectionFlag.BAD_PIXEL
    assert both == 6 and DetectionFlag.EDGE in both
    assert DetectionFlag(4) is DetectionFlag.EDGE
