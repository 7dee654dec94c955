"""Compiled functions: one for each shape, and no more of them than are kept."""

import numpy as np

from btk_punet.model.compiling import MOST_SHAPES, compiled


def test_is_traced_once_for_a_shape_and_again_when_it_has_given_way():
    traced = []

    def double(x):
        traced.append(x.shape[1])
        return 2 * x

    function = compiled(double)

    def run(size):
        np.testing.assert_array_equal(function(np.ones((2, size))), 2 * np.ones((2, size)))

    for size in [1, 1, *range(2, MOST_SHAPES + 1), 1]:
        run(size)
    assert traced == list(range(1, MOST_SHAPES + 1))
    run(MOST_SHAPES + 1)  # the second, which was not used for the longest time, gives way
    run(1)
    assert traced == list(range(1, MOST_SHAPES + 2))
    run(2)
    assert traced[-1] == 2
