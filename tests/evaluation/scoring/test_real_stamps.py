import numpy as np
import pytest

from btk_punet.evaluation.runs.benchmark import REAL_LEFT_OUT, benchmark_set
from btk_punet.evaluation.scoring.real_stamps import holds_two_objects, stamp_peaks
from btk_punet.simulation.choices import open_cosmos


def stamp(*sources, size=48, noise=1.0, seed=1):
    """Draw Gaussians ``(x, y, height, sigma)`` on noise."""
    row, column = np.mgrid[:size, :size]
    image = noise * np.random.default_rng(seed).standard_normal((size, size))
    for x, y, height, sigma in sources:
        image += height * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return image


def test_empty_stamps():
    assert stamp_peaks(np.zeros((20, 20))) == []
    assert stamp_peaks(stamp()) == []
    assert not holds_two_objects(stamp())


def test_one_galaxy():
    (peak,) = stamp_peaks(stamp((20, 26, 20, 4)))
    assert abs(peak.x - 20) <= 1 and abs(peak.y - 26) <= 1
    assert peak.height > 20 and peak.saddle == -np.inf
    assert not holds_two_objects(stamp((20, 26, 20, 4)))


def test_two_objects():
    image = stamp((14, 14, 20, 2.5), (32, 30, 15, 2.5))
    bright, faint = stamp_peaks(image)
    assert (abs(bright.x - 14) <= 1, abs(faint.x - 32) <= 1) == (True, True)
    assert faint.height / bright.height == pytest.approx(0.75, abs=0.1)
    assert faint.saddle < 0.3 * faint.height
    assert holds_two_objects(image)


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        ([(14, 14, 30, 2.5), (32, 30, 10, 2.5)], "the second is faint"),
        ([(20, 24, 20, 2.5), (27, 24, 20, 2.5), (24, 24, 15, 8)], "a shallow saddle"),
        ([(12, 12, 20, 2.5), (34, 12, 18, 2.5), (24, 34, 16, 2.5)], "three peaks"),
    ],
)
def test_not_two_objects(sources, why):
    assert not holds_two_objects(stamp(*sources)), why


def test_scale_and_background_do_not_matter():
    image = stamp((14, 14, 20, 2.5), (32, 30, 15, 2.5))
    for changed in (3e-3 * image, image + 100, image[::-1], image.T):
        assert holds_two_objects(changed)


def test_rule_gives_the_list_of_the_benchmark(cosmos_dir):
    catalog = open_cosmos(cosmos_dir)
    galaxies = catalog.get_galsim_catalog()
    two = {
        int(row["IDENT_1"])
        for row in catalog.table
        if holds_two_objects(galaxies.getRealParams(int(row["btk_index"]))[0].array)
    }
    assert two == set(REAL_LEFT_OUT)
    kept = benchmark_set("real").generator(cosmos_dir).catalog.table
    assert len(kept) == len(catalog.table) - len(two)
    assert not set(kept["IDENT_1"]) & two
