import pickle

import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.images.pixels import (
    ArrayPixels,
    ConstantPixels,
    EitherPixels,
    FilePixels,
    array_pixels,
    strips,
)

ROWS, COLUMNS = slice(1, 3), slice(2, 4)


def test_no_pixel_is_refused():
    with pytest.raises(
        InputError, match=r"rms must have at least one pixel, got the shape \(0, 3\)"
    ):
        array_pixels(np.zeros((0, 3)), "rms")


def test_an_array_is_read_as_double_precision_and_stays_as_it_is():
    array = np.arange(20, dtype=">i2").reshape(4, 5)
    part = ArrayPixels(array).read(ROWS, COLUMNS)
    assert part.dtype == np.float64 and part.flags.c_contiguous
    np.testing.assert_array_equal(part, [[7, 8], [12, 13]])
    part[:] = -1
    assert array[1, 2] == 7


def test_a_file_is_read_where_it_lies_with_scale_zero_and_blank(tmp_path):
    raw = np.arange(20, dtype=">i2").reshape(4, 5)
    path = tmp_path / "values"
    path.write_bytes(b"header" + raw.tobytes())
    pixels = FilePixels(path, 6, (4, 5), raw.dtype, scale=0.5, zero=10.0, blank=8)
    for source in (pixels, pickle.loads(pickle.dumps(pixels))):
        np.testing.assert_array_equal(source.read(ROWS, COLUMNS), [[13.5, np.nan], [16, 16.5]])


def test_large_unsigned_numbers_of_fits_are_not_rounded(tmp_path):
    values = np.array([[3, 1000], [0, 2**53]], np.uint64)
    raw = (values ^ np.uint64(2**63)).view(np.int64).astype(">i8")
    path = tmp_path / "values"
    path.write_bytes(raw.tobytes())
    pixels = FilePixels(path, 0, (2, 2), raw.dtype, zero=2.0**63)
    np.testing.assert_array_equal(pixels.read(slice(0, 2), slice(0, 2)), values.astype(float))


def test_a_file_that_has_gone_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="can no longer be read"):
        FilePixels(tmp_path / "gone", 0, (4, 5), np.dtype("f4")).read(ROWS, COLUMNS)


def test_one_value_for_all_and_either_of_two():
    number = ConstantPixels(2.5, (4, 5))
    np.testing.assert_array_equal(number.read(ROWS, COLUMNS), np.full((2, 2), 2.5))
    one, other = np.zeros((2, 4, 5))
    one[1, 2], other[2, 3] = 1, np.nan
    either = EitherPixels(ArrayPixels(one), ArrayPixels(other))
    assert either.shape == (4, 5)
    np.testing.assert_array_equal(either.read(ROWS, COLUMNS), [[1, 0], [0, 1]])


@pytest.mark.parametrize(("shape", "expected"), [((5, 4), [2, 2, 1]), ((2, 100), [1, 1])])
def test_strips_cover_an_image_once(shape, expected):
    found = list(strips(shape, most_pixels=8))
    assert [rows.stop - rows.start for rows in found] == expected
    assert [row for rows in found for row in range(shape[0])[rows]] == list(range(shape[0]))
