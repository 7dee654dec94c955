"""The bank: stamps, saving, and a seed of its own."""

from dataclasses import replace

import numpy as np
import pytest

from btk_punet.errors import CatalogError
from btk_punet.evaluation.runs.benchmark import BENCHMARK_SETS, CATALOG_SEED
from btk_punet.training.bank import TRAINING_SEED, GalaxyBank
from btk_punet.training.drawing import draw_bank

SEED = 5


@pytest.fixture(scope="module")
def bank(psfs):
    return draw_bank(100, psfs, seed=SEED)


def test_seeds_are_not_the_benchmarks():
    benchmark = {CATALOG_SEED, *(chosen.seed for chosen in BENCHMARK_SETS.values())}
    assert TRAINING_SEED not in benchmark


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
    bank = draw_bank(45, psfs, seed=SEED, psfs_per_galaxy=2)
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


def test_unit_snr_is_that_of_one_exposure(bank):
    background = bank.sky_electrons + 4.4**2
    snr2 = bank.unit_snr2(background)
    flux = bank.stamp(9).astype(float) * bank.exposure_seconds
    assert snr2[9] == pytest.approx((flux**2 / (background + flux)).sum(), rel=1e-4)
