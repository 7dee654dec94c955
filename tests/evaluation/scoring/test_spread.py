import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.spread import KINDS, PosteriorSpread


def truth(*sources):
    """Return what is true of sources of (alone_snr, limit_snr, counts)."""
    alone, limit, counts = zip(*sources, strict=True) if sources else ([], [], [])
    return pd.DataFrame(
        {"alone_snr": np.array(alone, float), "limit_snr": np.array(limit, float),
         "counts": np.array(counts, bool)}
    )  # fmt: skip


def footprints(*pixels, size=4):
    """Return footprints on one row of pixels, from the numbers of the pixels of each source."""
    covered = np.zeros((len(pixels), 1, size), bool)
    for source, of_source in enumerate(pixels):
        covered[source, 0, list(of_source)] = True
    return covered


def spread_of(variance, covered, table):
    spread = PosteriorSpread()
    spread.add(np.array([variance], float), covered, table)
    return spread


def test_nothing():
    table = PosteriorSpread().table()
    assert list(table.index) == list(KINDS)
    assert list(table["n_sources"]) == list(table["n_pixels"]) == [0, 0]
    assert table["variance"].isna().all()
    assert np.isnan(PosteriorSpread().ratio())


def test_scene_without_sources():
    spread = spread_of([1, 1, 1, 1], footprints(), truth())
    assert list(spread.table()["n_sources"]) == [0, 0]


def test_counted_by_hand():
    # A blend of pixels 0, 1 and 1, 2, of which the second source is at the limit, and the first
    # too bright for it; and a bright one alone in pixel 3.
    spread = spread_of(
        [9.0, 0.5, 0.25, 0.125],
        footprints([0, 1], [1, 2], [3]),
        truth((50, 40, True), (9, 6, True), (30, 30, True)),
    )
    table = spread.table()
    assert list(table["n_sources"]) == [1, 1]
    assert list(table["n_pixels"]) == [2, 1]
    np.testing.assert_allclose(table["variance"], [0.375, 0.125])
    assert spread.ratio() == pytest.approx(3.0)
    # Pixels are counted over all scenes and then divided: no mean of means.
    spread.add(np.zeros((1, 4)), footprints([0, 1, 2, 3], [3]), truth((6, 5, True), (9, 3, True)))
    np.testing.assert_allclose(spread.table()["variance"], [0.75 / 6, 0.125])


@pytest.mark.parametrize(
    ("alone", "limit", "counts", "n_blended", "n_isolated"),
    [
        (9, 5.0, True, 1, 0),
        (9, 4.99, True, 0, 0),
        (9, 8.0, True, 0, 0),
        (9, 6.0, False, 0, 0),
        (21, 6.0, True, 1, 1),
        (20, 20, True, 0, 0),
        (21, 21, True, 0, 1),
        (21, 21, False, 0, 0),
    ],
)
def test_which_sources(alone, limit, counts, n_blended, n_isolated):
    """The same source, once overlapped by one that is not of either kind, and once alone."""
    other, source = (9, 1, True), (alone, limit, counts)
    blended = spread_of([1] * 4, footprints([0, 1], [1]), truth(source, other))
    assert list(blended.table()["n_sources"]) == [n_blended, 0]
    isolated = spread_of([1] * 4, footprints([0, 1], [2]), truth(source, other))
    assert list(isolated.table()["n_sources"]) == [0, n_isolated]


def test_source_without_footprint_does_not_count():
    spread = spread_of([1] * 4, footprints([]), truth((30, 30, True)))
    assert list(spread.table()["n_sources"]) == [0, 0]


def test_ratio_where_the_isolated_ones_do_not_vary():
    scene = footprints([0, 1], [1], [3]), truth((9, 6, True), (9, 1, True), (30, 30, True))
    assert spread_of([1, 1, 1, 0], *scene).ratio() == np.inf
    assert np.isnan(spread_of([0, 0, 0, 0], *scene).ratio())  # collapsed
