"""Drawing a bank: population, stamps against the generator's, and the benchmark's seeds."""

import numpy as np
import pytest

from btk_punet import EuclidCatalog, EuclidGenerator, EuclidGroupSampling, get_euclid_survey
from btk_punet.errors import InputError
from btk_punet.evaluation.runs.benchmark import BENCHMARK_GALAXIES, CATALOG_SEED
from btk_punet.simulation.density import galaxies_per_arcmin2
from btk_punet.training.bank import KINDS, TRAINING_SEED
from btk_punet.training.dataset import Scene, StampComposer
from btk_punet.training.drawing import GALAXY_MAGNITUDES, STARS_PER_ARCMIN2, draw_bank, population

SEED = 5


@pytest.fixture(scope="module")
def bank(psfs):
    return draw_bank(400, psfs, seed=SEED)


def test_no_galaxy_is_one_of_the_benchmarks():
    benchmark = EuclidCatalog.simulate(BENCHMARK_GALAXIES, CATALOG_SEED).table
    for seed in (TRAINING_SEED, CATALOG_SEED):  # not even with the benchmark's own seed
        ours = population(3000, seed)
        galaxies = ours[~ours["is_star"]]
        assert not np.isin(galaxies["IE_ab"], benchmark["IE_ab"]).any()
        assert not np.isin(galaxies["a_d"], benchmark["a_d"]).any()


def test_weights_bring_the_counts_of_the_sky_back():
    table = population(6000, SEED)
    assert len(table) == 6000
    star = table["is_star"]
    assert table["weight"][star].sum() == pytest.approx(STARS_PER_ARCMIN2)
    for magnitude, tolerance in ((20.0, 0.05), (22.0, 0.02), (25.0, 0.01), (26.5, 1e-6)):
        brighter = ~star & (table["IE_ab"] < magnitude)
        expected = galaxies_per_arcmin2(magnitude) - galaxies_per_arcmin2(GALAXY_MAGNITUDES[0])
        assert table["weight"][brighter].sum() == pytest.approx(expected, rel=tolerance)


def test_stamps_hold_the_flux(bank):
    total = np.array([bank.stamp(i).sum(dtype=float) for i in range(len(bank))])
    share = total / bank.catalog["rate"]
    cropped = np.maximum(bank.catalog["height"], bank.catalog["width"]) == 200
    assert (share < 1.003).all()
    assert (share[~cropped] > 0.9).all()
    assert np.median(share) > 0.97
    for name in KINDS:  # clumpy galaxies lose no more than smooth ones
        of_kind = ~cropped & (bank.catalog["kind"] == KINDS.index(name))
        if of_kind.any():
            assert share[of_kind].mean() > 0.95


def test_light_is_cut_where_it_is_negligible(bank):
    sigma_per_second = bank.sky_electrons**0.5 / bank.exposure_seconds
    for index in np.flatnonzero(bank.catalog["psf"] == 0):  # the Gaussian PSF falls too steeply
        stamp = bank.stamp(index)
        if max(stamp.shape) < 100:
            border = max(stamp[0].max(), stamp[-1].max(), stamp[:, 0].max(), stamp[:, -1].max())
            assert border < 0.03 * sigma_per_second


def test_kinds_are_as_common_as_in_the_sky(bank):
    catalog = bank.catalog
    large = (catalog["magnitude"] < 24.5) & (catalog["half_light_radius_arcsec"] > 0.2)
    structured = catalog["kind"] >= KINDS.index("clumpy")
    assert 0.4 < structured[large].mean() < 0.75
    assert not structured[catalog["half_light_radius_arcsec"] < 0.1].any()
    star = catalog["kind"] == KINDS.index("star")
    assert star.sum() == 32
    assert (star == (catalog["half_light_radius_arcsec"] == 0)).all()


def test_stamps_are_those_of_the_generator(bank, psfs):
    """A galaxy of the bank, composed, and the same one drawn by `EuclidGenerator`."""
    survey = get_euclid_survey(1, 0.0, psfs[0])
    sigma = bank.sky_electrons**0.5
    table = population(400, SEED)
    catalog = bank.catalog
    smooth = np.isin(catalog["kind"], [KINDS.index(name) for name in KINDS[:3]])
    chosen = np.flatnonzero(smooth & (catalog["psf"] == 0) & (catalog["magnitude"] > 20.5))
    assert len(chosen) > 80
    composer = StampComposer(bank, size=64, noise=False)
    sources = EuclidCatalog.simulate(1, 0)
    generator = EuclidGenerator(sources, EuclidGroupSampling(), survey, add_noise="none")
    filt = survey.get_filter("IE")
    worst, means = 0.0, []
    for index in chosen:
        scene = Scene(np.array([index]), np.array([10]), np.array([14]), 1, 0.0, 0)
        ours, _, (x, y, _) = composer.compose(scene)
        row = table.iloc[int(catalog["galaxy"][index])]
        source = sources.table.copy()
        for name in source.colnames:
            source[name] = row[name]
        source["x_peak"], source["y_peak"] = float(x[0]), float(y[0])
        source["btk_rotation"] = 0.0
        theirs = np.zeros((64, 64))
        generator._draw_source(theirs, source[0], filt, psfs[0], survey)
        # BTK counts whole electrons; half precision keeps 11 bits; stamps end at 0.005 sigma.
        tolerance = 0.01 * sigma + 5e-4 * theirs + theirs / (catalog["rate"][index] * 565)
        worst = max(worst, (np.abs(ours - theirs) / tolerance).max())
        means.append((ours - theirs).mean() / sigma)
    assert worst < 1
    assert np.abs(means).max() < 0.01
    assert abs(np.mean(means)) < 0.002


def test_several_psfs_draw_the_same_galaxies(psfs):
    bank = draw_bank(20, psfs, seed=SEED, psfs_per_galaxy=2)
    assert len(bank) == 40
    catalog = np.sort(bank.catalog, order="galaxy")
    first, second = (catalog[catalog["psf"] == psf] for psf in (0, 1))
    for name in ("galaxy", "kind", "magnitude", "weight"):
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["x"] % 1 != second["x"] % 1).all()


def test_a_galaxy_does_not_depend_on_the_number_of_processes(bank, psfs):
    again = draw_bank(400, psfs, seed=SEED, njobs=2)
    np.testing.assert_array_equal(again.catalog, bank.catalog)
    np.testing.assert_array_equal(again.pixels, bank.pixels)
    assert not np.array_equal(
        draw_bank(20, psfs, seed=SEED + 1).catalog["magnitude"],
        draw_bank(20, psfs, seed=SEED).catalog["magnitude"],
    )


def test_progress_counts_the_psfs(psfs, capsys):
    quiet = draw_bank(4, psfs, seed=SEED)
    assert capsys.readouterr().err == ""
    shown = draw_bank(4, psfs, seed=SEED, progress=True)
    printed = capsys.readouterr().err
    n_drawn = len(np.unique(shown.catalog["psf"]))
    assert "drawing galaxies" in printed and f"{n_drawn}/{n_drawn}" in printed
    np.testing.assert_array_equal(quiet.pixels, shown.pixels)
    np.testing.assert_array_equal(quiet.catalog, shown.catalog)


def test_arguments_are_checked(psfs):
    with pytest.raises(InputError, match="n_galaxies"):
        draw_bank(0, psfs)
    with pytest.raises(InputError, match="psfs_per_galaxy"):
        draw_bank(10, psfs, psfs_per_galaxy=3)
