"""Which sources are fitted together."""

import numpy as np

from btk_punet.deblending.light.groups import MAX_GROUP, overlapping_groups


def places_of(*rows):
    """Return parameters of sources by flux, x and y."""
    return np.array([[*row, 0, 0, 0, 0] for row in rows], float)


def test_no_sources():
    assert overlapping_groups(np.zeros(0, int), np.zeros((0, 7)), np.zeros(0)).shape == (0,)


def test_groups_by_hand():
    image = np.array([0, 0, 0, 1])
    places = places_of((1e3, 10, 10), (1e3, 18, 10), (1e3, 50, 10), (1e3, 10, 10))
    group = overlapping_groups(image, places, np.full(4, 6.0))  # that overlap within 0.7 of 12
    assert group[0] == group[1]
    assert len(set(group[[0, 2, 3]])) == 3


def test_a_crowd_is_cut():
    place = np.arange(200) * 3.0
    crowd = np.stack([np.full(200, 1e3), place, place, *np.zeros((4, 200))], axis=1)
    group = overlapping_groups(np.zeros(200, int), crowd, np.full(200, 10.0))
    assert np.bincount(group).max() <= MAX_GROUP
    assert (group >= 0).all()


def test_twins_at_one_place_end_in_groups_too():
    same = np.tile(places_of((1e3, 10, 10)), (MAX_GROUP + 10, 1))
    group = overlapping_groups(np.zeros(len(same), int), same, np.full(len(same), 6.0))
    assert np.bincount(group).max() <= MAX_GROUP
