"""The bank: population, stamps against the generator's, saving, and the benchmark's seeds."""

from dataclasses import replace

import galsim
import numpy as np
import pytest

from btk_punet import EuclidCatalog, EuclidGenerator, EuclidGroupSampling, get_euclid_survey
from btk_punet.errors import CatalogError, InputError
from btk_punet.evaluation.benchmark import BENCHMARK_GALAXIES, BENCHMARK_SETS, CATALOG_SEED
from btk_punet.simulation.catalog import galaxies_per_arcmin2
from btk_punet.simulation.survey import euclid_psf
from btk_punet.training.bank import (
    KINDS,
    STARS_PER_ARCMIN2,
    TRAINING_SEED,
    GalaxyBank,
    _population,
)
from btk_punet.training.dataset import Scene, StampComposer

SEED = 5


@pytest.fixture(scope="module")
def psfs():
    return [euclid_psf(0.16), galsim.Gaussian(fwhm=0.19)]


@pytest.fixture(scope="module")
def bank(psfs):
    return GalaxyBank.render(400, psfs, seed=SEED)


def test_seeds_are_not_the_benchmarks():
    benchmark = {CATALOG_SEED, *(chosen.seed for chosen in BENCHMARK_SETS.values())}
    assert TRAINING_SEED not in benchmark


def test_no_galaxy_is_one_of_the_benchmarks():
    benchmark = EuclidCatalog.simulate(BENCHMARK_GALAXIES, CATALOG_SEED).table
    for seed in (TRAINING_SEED, CATALOG_SEED):  # not even with the benchmark's own seed
        ours = _population(3000, seed)
        galaxies = ours[~ours["is_star"]]
        assert not np.isin(galaxies["IE_ab"], benchmark["IE_ab"]).any()
        assert not np.isin(galaxies["a_d"], benchmark["a_d"]).any()


def test_weights_bring_the_counts_of_the_sky_back():
    table = _population(6000, SEED)
    assert len(table) == 6000
    star = table["is_star"]
    assert table["weight"][star].sum() == pytest.approx(STARS_PER_ARCMIN2)
    for magnitude in (22.0, 24.0, 25.0, 26.5):
        brighter = ~star & (table["IE_ab"] < magnitude)
        expected = galaxies_per_arcmin2(magnitude) - galaxies_per_arcmin2(19.0)
        assert table["weight"][brighter].sum() == pytest.approx(expected, rel=0.02)


def test_stamps_hold_the_flux(bank):
    total = np.array([bank.stamp(i).sum(dtype=float) for i in range(len(bank))])
    share = total / bank.catalog["rate"]
    cropped = np.maximum(bank.catalog["height"], bank.catalog["width"]) == 128
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
    table = _population(400, SEED)
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
    bank = GalaxyBank.render(20, psfs, seed=SEED, psfs_per_galaxy=2)
    assert len(bank) == 40
    catalog = np.sort(bank.catalog, order="galaxy")
    first, second = (catalog[catalog["psf"] == psf] for psf in (0, 1))
    for name in ("galaxy", "kind", "magnitude", "weight"):
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["x"] % 1 != second["x"] % 1).all()


def test_a_galaxy_does_not_depend_on_the_number_of_processes(bank, psfs):
    again = GalaxyBank.render(400, psfs, seed=SEED, njobs=2)
    np.testing.assert_array_equal(again.catalog, bank.catalog)
    np.testing.assert_array_equal(again.pixels, bank.pixels)
    assert not np.array_equal(
        GalaxyBank.render(20, psfs, seed=SEED + 1).catalog["magnitude"],
        GalaxyBank.render(20, psfs, seed=SEED).catalog["magnitude"],
    )


def test_save_and_load(bank, tmp_path):
    bank.save(tmp_path / "bank.npz")
    loaded = GalaxyBank.load(tmp_path / "bank.npz")
    for name in ("pixels", "catalog", "psf_fwhm_arcsec"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(bank, name))
        assert getattr(loaded, name).dtype == getattr(bank, name).dtype
    for name in ("sky_electrons", "read_noise_electrons", "exposure_seconds"):
        assert getattr(loaded, name) == getattr(bank, name)
    np.testing.assert_array_equal(loaded.stamp(17), bank.stamp(17))


def test_files_that_are_no_bank(tmp_path):
    with pytest.raises(CatalogError, match="does not exist"):
        GalaxyBank.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no bank")
    with pytest.raises(CatalogError, match="not a bank"):
        GalaxyBank.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", version=99)
    with pytest.raises(CatalogError, match="version 1"):
        GalaxyBank.load(tmp_path / "other.npz")


def test_a_damaged_bank_is_refused(bank):
    with pytest.raises(CatalogError, match="empty or damaged"):
        replace(bank, pixels=bank.pixels[:-1])
    with pytest.raises(CatalogError, match="empty or damaged"):
        replace(bank, pixels=bank.pixels[:0], catalog=bank.catalog[:0])


def test_split_by_galaxy(psfs):
    bank = GalaxyBank.render(45, psfs, seed=SEED, psfs_per_galaxy=2)
    chosen, rest = bank.split(20)
    assert set(chosen.catalog["galaxy"]) == {0, 20, 40}
    assert set(rest.catalog["galaxy"]) == set(range(45)) - {0, 20, 40}
    assert len(chosen) == 6 and len(rest) == 84  # in both PSFs
    for part in (chosen, rest):
        assert (part.sky_electrons, part.exposure_seconds) == (
            bank.sky_electrons,
            bank.exposure_seconds,
        )
        for index, entry in enumerate(part.catalog):
            (whole,) = np.nonzero(bank.catalog == entry)[0]
            np.testing.assert_array_equal(part.stamp(index), bank.stamp(whole))


def test_split_that_leaves_nothing(bank):
    with pytest.raises(CatalogError, match="empty or damaged"):
        bank.split(1)
    one_part, _ = bank.split(10_000)
    assert set(one_part.catalog["galaxy"]) == {0}
    with pytest.raises(CatalogError, match="empty or damaged"):
        one_part.split(20)


def test_progress_counts_the_psfs(psfs, capsys):
    quiet = GalaxyBank.render(4, psfs, seed=SEED)
    assert capsys.readouterr().err == ""
    shown = GalaxyBank.render(4, psfs, seed=SEED, progress=True)
    printed = capsys.readouterr().err
    n_drawn = len(np.unique(shown.catalog["psf"]))
    assert "drawing galaxies" in printed and f"{n_drawn}/{n_drawn}" in printed
    np.testing.assert_array_equal(quiet.pixels, shown.pixels)
    np.testing.assert_array_equal(quiet.catalog, shown.catalog)


@pytest.mark.parametrize("kept", [0, 3, 1000, -10])
def test_a_file_that_was_cut(bank, tmp_path, kept):
    path = tmp_path / "bank.npz"
    bank.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CatalogError, match="bank.npz' is not a bank of galaxies"):
        GalaxyBank.load(path)


def test_saving_leaves_the_old_file_or_the_new(bank, tmp_path, monkeypatch):
    path = tmp_path / "bank.npz"
    path.write_bytes(b"old")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        bank.save(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("bank.npz", b"old")]


def test_arguments_are_checked(psfs):
    with pytest.raises(InputError, match="n_galaxies"):
        GalaxyBank.render(0, psfs)
    with pytest.raises(InputError, match="psfs_per_galaxy"):
        GalaxyBank.render(10, psfs, psfs_per_galaxy=3)


def test_unit_snr_is_that_of_one_exposure(bank):
    background = bank.sky_electrons + 4.4**2
    snr2 = bank.unit_snr2(background)
    flux = bank.stamp(9).astype(float) * bank.exposure_seconds
    assert snr2[9] == pytest.approx((flux**2 / (background + flux)).sum(), rel=1e-4)
