"""Where sources stand on a stamp, and how dense their neighbourhoods are said to be."""

import numpy as np
import pytest

from btk_punet.simulation.density import galaxies_per_arcmin2
from btk_punet.training import places
from btk_punet.training.places import (
    BRIGHT_PAIR_SEPARATION_ARCSEC,
    FIELD_DENSITY_PER_ARCMIN2,
    FIELD_MARGIN_PIXELS,
    SKY_DENSITY_PER_ARCMIN2,
    SKY_NEIGHBOURS,
    field_places,
    group_places,
    middle_place,
    pair_places,
    places_around,
    sky_places,
    touching_places,
)


def neighbours(place):
    """Return the mean number of others within 2 arcsec of a source, and the number of sources."""
    apart = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    return (apart < 20).sum() - len(place), len(place)


def told_and_true(draw, n, share=1.0):
    """Return the neighbours that the density ratio stands for, and those that are there."""
    told, pairs, sources = 0.0, 0.0, 0
    for _ in range(n):
        place, ratio = draw()
        found, number = neighbours(place)
        told, pairs = told + ratio * SKY_NEIGHBOURS * number, pairs + share * found
        sources += number
    return told / sources, pairs / sources


def test_the_counts_are_those_of_the_catalog():
    assert pytest.approx(galaxies_per_arcmin2(26.5)) == SKY_DENSITY_PER_ARCMIN2
    assert pytest.approx(galaxies_per_arcmin2(25.3) * np.pi / 900) == SKY_NEIGHBOURS


def test_fields_are_as_dense_as_said():
    rng = np.random.default_rng(0)
    size, side = 256, (256 + 2 * FIELD_MARGIN_PIXELS) * 0.1 / 60  # [arcmin]
    densities = [len(field_places(size, rng)[0]) / side**2 for _ in range(200)]
    low, high = FIELD_DENSITY_PER_ARCMIN2
    mean = (high - low) / np.log(high / low)  # of a density that is uniform in its logarithm
    assert abs(np.mean(densities) - mean) < 4 * np.std(densities) / np.sqrt(200)
    skies = [sky_places(size, rng) for _ in range(300)]
    assert sum(ratio == 1 for _, ratio in skies) in range(120, 180)
    found = np.mean([len(place) / ratio for place, ratio in skies]) / side**2
    assert found == pytest.approx(SKY_DENSITY_PER_ARCMIN2, rel=0.03)


def test_density_ratios_count_neighbours():
    rng = np.random.default_rng(1)
    # Of all sources of a field so many are bright enough to be counted.
    bright = galaxies_per_arcmin2(25.3) / SKY_DENSITY_PER_ARCMIN2
    for draw, share in (
        (lambda: sky_places(600, rng), bright),
        (lambda: field_places(600, rng), bright),
        (lambda: group_places(64, rng), 1.0),
    ):
        told, true = told_and_true(draw, 300 if share < 1 else 6000, share)
        assert told == pytest.approx(true, rel=0.1)
    assert told_and_true(lambda: pair_places(64, rng), 100) == (pytest.approx(1.0), 1.0)
    # Galaxies of 2 arcsec together touch 1 to 3 arcsec apart: half of them are near.
    told, true = told_and_true(lambda: touching_places(64, 2.0, rng), 2000)
    assert told == pytest.approx(0.5) and true == pytest.approx(0.5, abs=0.05)
    # Points have no size.
    assert touching_places(64, 0.0, rng)[1] * SKY_NEIGHBOURS == pytest.approx(1.0)


def test_groups_and_pairs_keep_together():
    rng = np.random.default_rng(0)
    groups = [group_places(64, rng)[0] for _ in range(600)]
    assert {len(group) for group in groups} >= set(range(1, 11))
    assert max(np.ptp(group, axis=0).max() for group in groups) <= 50
    for limits, low, high in (((0.1, 1.5), 1.0, 15.0), (BRIGHT_PAIR_SEPARATION_ARCSEC, 2.0, 20.0)):
        pairs = [pair_places(64, rng, limits)[0] for _ in range(300)]
        apart = [np.hypot(*(one - other)) for one, other in pairs]
        assert low <= min(apart) < low + 0.5 and high - 0.5 < max(apart) <= high


def test_neighbours_of_a_bright_source():
    rng = np.random.default_rng(0)
    drawn = [places_around(64, rng) for _ in range(2000)]
    apart = np.concatenate([np.hypot(*(place[1:] - place[0]).T) for place, _ in drawn])
    assert 2.0 <= apart.min() < 2.5 and 49.5 < apart.max() <= 50.0
    around_bright = (apart < 20).sum() / len(drawn)
    assert around_bright == pytest.approx(drawn[0][1] * SKY_NEIGHBOURS, rel=0.05)
    place = np.array([middle_place(64, rng)[0] for _ in range(300)])
    assert places.BORDER_PIXELS <= place.min() and place.max() <= 63 - places.BORDER_PIXELS
