"""Footprints, pixel by pixel, by hand."""

import dataclasses

import numpy as np
import pytest

from btk_punet.deblending.footprints import Footprints
from btk_punet.errors import InputError

# Source 0 has three pixels of a row, source 2 the last of them and one below; source 1 none.
HAND = Footprints(
    owner=np.array([0, 0, 0, 2, 2]),
    row=np.array([1, 1, 1, 1, 2]),
    column=np.array([2, 3, 4, 4, 4]),
    is_nearest=np.array([True, True, False, True, True]),
    n=3,
    shape=(4, 6),
)


def nothing(n=0, shape=(4, 6)):
    none = np.zeros(0, int)
    return Footprints(none, none, none, none.astype(bool), n, shape)


@pytest.mark.parametrize("shape", [(4, 6), (0, 0)])
def test_no_sources(shape):
    found = nothing(shape=shape)
    assert len(found) == 0
    assert found.dense().shape == (0, *shape)
    assert found.dense(2).shape == (2, *shape)
    assert found.labels().dtype == np.int32
    assert not found.labels().any()
    assert found.n_owners().shape == shape
    assert len(found.n_pixels()) == len(found.take(np.zeros(0))) == 0


def test_maps_by_hand():
    assert list(HAND.n_pixels()) == [3, 0, 2]
    np.testing.assert_array_equal(
        HAND.n_owners(), [[0] * 6, [0, 0, 1, 1, 2, 0], [0, 0, 0, 0, 1, 0], [0] * 6]
    )
    np.testing.assert_array_equal(
        HAND.labels(), [[0] * 6, [0, 0, 1, 1, 3, 0], [0, 0, 0, 0, 3, 0], [0] * 6]
    )
    dense = HAND.dense(5)
    assert dense.shape == (5, 4, 6)
    np.testing.assert_array_equal(np.argwhere(dense[2]), [[1, 4], [2, 4]])
    assert not dense[[1, 3, 4]].any()
    np.testing.assert_array_equal(dense.sum(axis=0), HAND.n_owners())


def test_some_of_the_sources():
    some = HAND.take(np.array([2, 0]))
    np.testing.assert_array_equal(some.dense(), HAND.dense()[[2, 0]])
    assert list(some.owner) == [0, 0, 1, 1, 1]
    # The pixel that is nearest to the third is no other's.
    np.testing.assert_array_equal(HAND.take(np.array([0])).labels()[1], [0, 0, 1, 1, 0, 0])


def test_too_small_an_array():
    with pytest.raises(InputError, match="array of 2 footprints cannot hold 3 sources"):
        HAND.dense(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"owner": np.array([0, 2, 2, 0, 0])}, "sorted by owner"),
        ({"owner": np.array([0, 0, 0, 2, 3])}, "owner must lie from 0 to 2, got 0 to 3"),
        ({"column": np.array([2, 3, 4, 4, -1])}, "column must lie from 0 to 5, got -1 to 4"),
        ({"row": np.array([1, 1])}, "one length, got 2 of row and 5"),
    ],
)
def test_what_are_no_footprints(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(HAND, **change)
