"""Galaxies of which every half magnitude is as likely."""

import numpy as np

from btk_punet.simulation.density import even_weights


def test_no_galaxy_between_the_limits_has_no_weight():
    assert even_weights(np.zeros(0), 20.0, 22.0).shape == (0,)
    np.testing.assert_array_equal(even_weights(np.array([19.9, 22.0]), 20.0, 22.0), [0, 0])


def test_every_half_magnitude_is_as_likely():
    # Three halves hold one, three and two galaxies; two more lie beyond the limits.
    magnitude = np.array([19.9, 20.0, 20.5, 20.7, 20.99, 21.0, 21.49, 21.5])
    third = 1 / 3
    expected = [0, third, third / 3, third / 3, third / 3, third / 2, third / 2, 0]
    np.testing.assert_allclose(even_weights(magnitude, 20.0, 21.5), expected)
