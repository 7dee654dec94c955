"""Composed stamps: counted by hand, against the labels and limits of the simulation, and noise."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.simulation.labels import class_map
from btk_punet.simulation.snr import alone_snr
from btk_punet.training import dataset, noise
from btk_punet.training.bank import CATALOG_DTYPE, GalaxyBank
from btk_punet.training.dataset import Scene, StampComposer
from btk_punet.training.masks import GARBAGE

# One exposure: 10 s, sky of 91 electrons and read noise of 3, so a sigma of 10 electrons.
SKY, READ_NOISE, SECONDS, SIGMA = 91.0, 3.0, 10.0, 10.0


def make_bank(stamps, psf=None, magnitude=21.0, x=None, y=None):
    """Return a bank of these stamps [sigma of one exposure with read noise]."""
    catalog = np.zeros(len(stamps), CATALOG_DTYPE)
    catalog["galaxy"] = np.arange(len(stamps))
    catalog["magnitude"], catalog["weight"] = magnitude, 1.0
    catalog["psf"] = 0 if psf is None else psf
    catalog["height"], catalog["width"] = np.transpose([stamp.shape for stamp in stamps])
    catalog["x"] = catalog["width"] // 2 if x is None else x
    catalog["y"] = catalog["height"] // 2 if y is None else y
    pixels = np.concatenate([np.ravel(stamp) for stamp in stamps]) * SIGMA / SECONDS
    return GalaxyBank(
        pixels.astype(np.float16), catalog, np.array([0.16]), SKY, READ_NOISE, SECONDS
    )


def make_scene(galaxies, left, bottom, n_exposures=1, read_noise=READ_NOISE, orientation=0):
    galaxies, left, bottom = (np.array(values, int) for values in (galaxies, left, bottom))
    return Scene(galaxies, left, bottom, n_exposures, read_noise, orientation)


def show(monkeypatch, composer, scene):
    """Make a composer compose one scene only."""
    monkeypatch.setattr(composer, "draw_scene", lambda rng: scene)
    return composer


def no_residuals(monkeypatch):
    monkeypatch.setattr(noise, "RESIDUAL_SIGMA", 0.0)
    monkeypatch.setattr(noise, "LARGE_RESIDUAL_SIGMA", 0.0)


def round_bank(rng, n_galaxies=40, n_psfs=3):
    """Return a bank of round Gaussian galaxies of many fluxes and places in the pixel."""
    stamps, places = [], rng.uniform(-0.5, 0.5, (n_galaxies, 2))
    for dx, dy in places:
        half, width = rng.integers(3, 25), rng.uniform(1, 4)
        grid = np.arange(-half, half + 1)
        profile = np.exp(-0.5 * ((grid - dx) ** 2 + (grid[:, None] - dy) ** 2) / width**2)
        stamps.append(10 ** rng.uniform(-0.5, 2) * profile)
    middle = np.array([stamp.shape[0] // 2 for stamp in stamps])
    return make_bank(
        stamps,
        np.arange(n_galaxies) % n_psfs,
        rng.uniform(19.5, 25.2, n_galaxies),
        middle + places[:, 0],
        middle + places[:, 1],
    )


def isolated_images(composer, scene):
    """Return each source of a scene alone, shape (n, H, W), as drawn before it is turned."""
    alone = [
        composer.compose(
            replace(
                scene,
                orientation=0,
                galaxies=scene.galaxies[i : i + 1],
                left=scene.left[i : i + 1],
                bottom=scene.bottom[i : i + 1],
            )
        )[0]
        for i in range(len(scene.galaxies))
    ]
    return np.array(alone).reshape(-1, composer.size, composer.size)


@pytest.fixture(scope="module")
def bank():
    return round_bank(np.random.default_rng(1))


@pytest.fixture
def deltas():
    """Two galaxies of one pixel, of 3 and of 8 sigma of one exposure."""
    return make_bank([np.full((1, 1), 3.0), np.full((1, 1), 8.0)])


def test_empty_scene(monkeypatch, deltas):
    no_residuals(monkeypatch)
    composer = StampComposer(deltas, size=32, masked_share=0.0, noise=False, offsets=True)
    batch = show(monkeypatch, composer, make_scene([], [], [])).batch(0, 2)
    for name in ("image", "class", "centre", "offset", "n_centres"):
        assert not batch[name].any()
    assert batch["mask"].all()
    assert (batch["psf"] == -1).all()
    np.testing.assert_allclose(batch["sigma"], SIGMA)


def test_counted_by_hand(monkeypatch, deltas):
    composer = StampComposer(deltas, size=8, masked_share=0.0, noise=False)
    scene = make_scene([0, 1, 0, 1, 1], [2, 2, 5, 7, 8], [1, 1, 4, 0, 3])  # the last is outside
    batch = show(monkeypatch, composer, scene).batch(0, 1)
    image, classes, centres = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8))
    image[1, 2], image[4, 5], image[0, 7] = 11, 3, 8
    classes[1, 2], classes[4, 5], classes[0, 7] = 2, 1, 1
    # alone_snr = 3 sigma^2 / sqrt(sigma^2 + flux) = 30 / sqrt(130) = 2.63, above 2.
    centres[1, 2] = centres[4, 5] = centres[0, 7] = 1
    np.testing.assert_allclose(batch["image"][0, ..., 0], image, rtol=1e-3)
    np.testing.assert_array_equal(batch["class"][0], classes)
    np.testing.assert_array_equal(batch["centre"][0], centres)
    assert batch["n_centres"] == [4]


def test_exposures_make_the_same_galaxies_stand_out_more(monkeypatch, deltas):
    composer = StampComposer(deltas, size=8, masked_share=0.0, noise=False)
    batch = show(monkeypatch, composer, make_scene([0], [2], [2], n_exposures=4)).batch(0, 1)
    assert batch["image"][0, 2, 2, 0] == pytest.approx(6.0, rel=1e-3)  # 4 x 3 over sqrt(4)
    assert batch["sigma"][0] == pytest.approx(2 * SIGMA)
    assert batch["n_exposures"] == [4]


def test_a_source_below_the_threshold_is_in_the_image_alone(monkeypatch):
    faint = make_bank([np.full((1, 1), 0.9)])
    composer = StampComposer(faint, size=8, masked_share=0.0, noise=False)
    batch = show(monkeypatch, composer, make_scene([0], [2], [2])).batch(0, 1)
    assert batch["image"].max() == pytest.approx(0.9, rel=1e-3)
    assert not batch["class"].any()
    assert not batch["centre"].any()


@pytest.mark.parametrize("orientation", range(8))
def test_centres_turn_with_the_image(monkeypatch, orientation):
    bank = make_bank([np.diag([1.0, 30.0, 2.0])], x=1.3, y=0.8)
    composer = StampComposer(bank, size=16, masked_share=0.0, noise=False, offsets=True)
    scene = make_scene([0], [3], [9], orientation=orientation)
    batch = show(monkeypatch, composer, scene).batch(0, 1)
    row, column = np.argwhere(batch["centre"][0])[0]
    assert batch["centre"].sum() == 1
    assert batch["image"][0, row, column, 0] == batch["image"].max()
    # The neighbour of 2 sigma is on the side of larger x and y before turning.
    along_x, along_y = np.argwhere(np.isclose(batch["image"][0, ..., 0], 2.0))[0][::-1] - (
        column,
        row,
    )
    offset = batch["offset"][0, row, column]
    swapped = orientation & 1
    expected = np.array([-0.2, 0.3] if swapped else [0.3, -0.2]) * (along_x, along_y)
    np.testing.assert_allclose(offset, expected, atol=1e-5)
    assert np.count_nonzero(batch["offset"]) == 2


def test_labels_and_limits_are_those_of_the_simulation(bank):
    composer = StampComposer(bank, size=48)
    rng = np.random.default_rng(3)
    n_sources = n_cut = 0
    for _ in range(60):
        scene = replace(composer.draw_scene(rng), orientation=0)
        flux, count, (x, y, snr) = composer.compose(scene)
        isolated = isolated_images(composer, scene)
        background = scene.n_exposures * (SKY + scene.read_noise**2)
        np.testing.assert_allclose(flux, isolated.sum(axis=0), rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(np.minimum(count, 2), class_map(isolated, background**0.5))
        np.testing.assert_allclose(snr, alone_snr(isolated, background), rtol=1e-4, atol=1e-6)
        n_sources += len(snr)
        size = bank.catalog["width"][scene.galaxies]
        n_cut += ((scene.left < 0) | (scene.left + size > 48)).sum()
    assert n_sources > 100
    assert n_cut > 10


@pytest.mark.parametrize("read_noise", [0.0, READ_NOISE])
@pytest.mark.parametrize("flux_sigma", [0.0, 40.0])
def test_noise_has_the_moments_of_poisson_and_read_noise(monkeypatch, flux_sigma, read_noise):
    no_residuals(monkeypatch)
    bank = make_bank([np.full((64, 64), flux_sigma)])
    composer = StampComposer(bank, size=64, masked_share=0.0)
    scene = make_scene([0], [0], [0], n_exposures=2, read_noise=read_noise)
    batch = show(monkeypatch, composer, scene).batch(5, 60)
    electrons = batch["image"].astype(float).ravel() * batch["sigma"][0]
    mean = 2 * flux_sigma * SIGMA
    photons = mean + 2 * SKY
    variance = photons + 2 * read_noise**2
    residual = electrons - mean
    number = len(residual)
    assert abs(residual.mean()) < 4 * np.sqrt(variance / number)
    assert residual.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / number) + 6e-4)
    skewness = (residual**3).mean() / variance**1.5
    assert abs(skewness - photons / variance**1.5) < 4 * np.sqrt(6 / number) + 1e-3


def test_noise_differs_between_the_stamps_of_a_batch(monkeypatch, deltas):
    composer = StampComposer(deltas, size=32, masked_share=0.0)
    images = show(monkeypatch, composer, make_scene([], [], [])).batch(0, 2)["image"]
    assert abs(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]) < 0.15


def test_masks(bank):
    composer = StampComposer(bank, size=32, masked_share=0.5)
    batch = composer.batch(0, 200)
    masked = (~batch["mask"]).mean(axis=(1, 2))
    assert masked.max() <= 0.25
    assert 0.4 < (masked > 0).mean() < 0.55
    image = batch["image"][..., 0]
    assert np.isfinite(image[batch["mask"]]).all()
    held = image[~batch["mask"]]
    known = np.isnan(held) | np.isin(held, np.array(GARBAGE, np.float32))
    assert known.all()
    assert np.isnan(held).any()
    assert (held == np.float32(1e30)).any()


def test_a_batch_depends_on_seed_and_step_alone(bank):
    def same(first, second):
        return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)

    composer = StampComposer(bank, size=32, seed=7, offsets=True)
    third = composer.batch(3, 8)
    composer.batch(0, 5)
    assert same(third, composer.batch(3, 8))
    assert same(third, StampComposer(bank, size=32, seed=7, offsets=True).batch(3, 8))
    assert not same(third, composer.batch(4, 8))
    assert not same(third, StampComposer(bank, size=32, seed=8, offsets=True).batch(3, 8))


def test_all_sources_of_a_stamp_share_a_psf(bank):
    composer = StampComposer(bank)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(100):
        psfs = set(bank.catalog["psf"][composer.draw_scene(rng).galaxies].tolist())
        assert len(psfs) <= 1
        seen |= psfs
    assert seen == {0, 1, 2}


def test_groups_and_pairs_keep_to_their_magnitudes_and_places(monkeypatch):
    monkeypatch.setattr(dataset, "MEAN_ON_STAMP", dict.fromkeys(dataset.MEAN_ON_STAMP, 0.0))
    monkeypatch.setattr(dataset, "FIELD_BEHIND_SHARE", 0.0)
    magnitude = np.linspace(16.0, 26.5, 200)
    bank = make_bank([np.full((1, 1), 5.0)] * 200, magnitude=magnitude)
    rng = np.random.default_rng(0)
    for name, most, limits in (
        ("group", 10, (19.5, 25.3)),
        ("bright_group", 10, (19.5, 25.3)),
        ("pair", 2, (19.5, 25.3)),
        ("bright_pair", 2, (17.0, 23.0)),
        ("touching_pair", 2, (17.0, 23.0)),
    ):
        composer = StampComposer(bank, mix={name: 1.0})
        numbers = []
        for _ in range(300):
            scene = composer.draw_scene(rng)
            drawn = magnitude[scene.galaxies]
            assert ((drawn >= limits[0]) & (drawn < limits[1])).all()
            apart = np.hypot(np.ptp(scene.left), np.ptp(scene.bottom))
            assert apart <= {"pair": 16.5, "bright_pair": 21.5}.get(name, 52.0)
            numbers.append(len(drawn))
        assert max(numbers) >= most
        assert min(numbers) == (2 if "pair" in name else 1)


def test_bright_groups_hold_as_many_galaxies_of_each_magnitude(monkeypatch):
    monkeypatch.setattr(dataset, "FIELD_BEHIND_SHARE", 0.0)
    # Ten times as many faint galaxies as bright ones.
    magnitude = np.r_[np.linspace(19.5, 22.0, 20), np.linspace(22.0, 24.49, 200)]
    bank = make_bank([np.ones((1, 1))] * 220, magnitude=magnitude)
    rng = np.random.default_rng(0)
    mean = {}
    for name in ("group", "bright_group"):
        composer = StampComposer(bank, mix={name: 1.0})
        scenes = [composer.draw_scene(rng) for _ in range(400)]
        mean[name] = np.mean([magnitude[scene.galaxies].mean() for scene in scenes])
    assert mean["bright_group"] == pytest.approx(22.0, abs=0.1)
    assert mean["group"] > 22.4


def test_galaxies_that_touch_stand_as_far_apart_as_they_are_large(monkeypatch):
    monkeypatch.setattr(dataset, "MEAN_ON_STAMP", dict.fromkeys(dataset.MEAN_ON_STAMP, 0.0))
    monkeypatch.setattr(dataset, "FIELD_BEHIND_SHARE", 0.0)
    bank = make_bank([np.full((1, 1), 5.0)] * 2, magnitude=[18.0, 20.0])
    bank.catalog["half_light_radius_arcsec"] = 1.0, 2.0
    composer = StampComposer(bank, size=128, mix={"touching_pair": 1.0})
    rng = np.random.default_rng(0)
    apart = {2.0: [], 3.0: [], 4.0: []}  # by the sum of the radii [arcsec]
    for _ in range(400):
        scene = composer.draw_scene(rng)
        radii = float(bank.catalog["half_light_radius_arcsec"][scene.galaxies].sum())
        apart[radii].append(0.1 * np.hypot(np.ptp(scene.left), np.ptp(scene.bottom)))
    for radii, distances in apart.items():
        # Half to one and a half times the radii; places are of whole pixels.
        assert 0.5 * radii - 0.15 < min(distances) < 0.7 * radii
        assert 1.3 * radii < max(distances) < 1.5 * radii + 0.15


def test_a_stamp_of_the_sky_holds_one_source_of_the_banks_counts(monkeypatch):
    monkeypatch.setattr(dataset, "sky_places", lambda size, rng: (np.zeros((0, 2)), 1.7))
    magnitude = np.linspace(16.0, 26.5, 200)
    composer = StampComposer(
        make_bank([np.ones((1, 1))] * 200, magnitude=magnitude), mix={"sky": 1}
    )
    rng = np.random.default_rng(0)
    scenes = [composer.draw_scene(rng) for _ in range(400)]
    assert {len(scene.galaxies) for scene in scenes} == {1}
    assert {scene.density_ratio for scene in scenes} == {1.7}
    drawn = magnitude[[scene.galaxies[0] for scene in scenes]]
    assert 17.0 <= drawn.min() < 17.2 and 25.1 < drawn.max() < 25.3
    assert np.mean(drawn) == pytest.approx(21.15, abs=0.3)  # as many of each row of the bank


def test_bright_sources_have_neighbours(monkeypatch):
    monkeypatch.setattr(dataset, "FIELD_BEHIND_SHARE", 0.0)
    magnitude = np.linspace(16.0, 26.5, 200)
    bank = make_bank([np.ones((1, 1))] * 200, magnitude=magnitude)
    composer = StampComposer(bank, mix={"bright_neighbour": 1.0})
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = composer.draw_scene(rng)
        assert 17.0 <= magnitude[scene.galaxies[0]] < 23.0
        assert 19.5 <= magnitude[scene.galaxies[1]] < 25.3


def test_what_is_told_of_the_density(monkeypatch, bank):
    composer = StampComposer(bank, size=8, masked_share=0.0)
    scene = replace(make_scene([0], [4], [4]), density_ratio=3.0)
    told = show(monkeypatch, composer, scene).batch(0, 2000)["density_ratio"]
    known = np.isfinite(told)
    assert 0.07 < 1 - known.mean() < 0.13
    assert np.log(told[known]).mean() == pytest.approx(np.log(3.0), abs=0.03)
    assert np.log(told[known]).std() == pytest.approx(dataset.TOLD_ERROR, rel=0.1)


def test_depths_and_read_noise_vary(bank):
    batch = StampComposer(bank, size=16).batch(0, 300)
    assert set(batch["n_exposures"]) == {1, 2, 3, 4, 5, 6}
    without = np.isclose(batch["sigma"] ** 2, batch["n_exposures"] * SKY, rtol=1e-4)
    assert 0.3 < without.mean() < 0.5
    assert (StampComposer(bank, size=16, max_exposures=1).batch(0, 20)["n_exposures"] == 1).all()


def test_shapes_and_types(bank):
    batch = StampComposer(bank, size=24, offsets=True).batch(2, 3)
    expected = {
        "image": ((3, 24, 24, 1), np.float32),
        "class": ((3, 24, 24), np.uint8),
        "centre": ((3, 24, 24), np.uint8),
        "mask": ((3, 24, 24), np.bool_),
        "offset": ((3, 24, 24, 2), np.float32),
        "sigma": ((3,), np.float32),
        "density_ratio": ((3,), np.float32),
    }
    for name, (shape, dtype) in expected.items():
        assert batch[name].shape == shape
        assert batch[name].dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"size": 4}, "at least 8 pixels"),
        ({"max_exposures": 0}, "max_exposures"),
        ({"masked_share": 1.5}, "masked_share"),
        ({"mix": {"crowd": 1.0}}, "mix must hold"),
        ({"mix": {"field": 0.0}}, "mix must hold"),
    ],
)
def test_arguments_are_checked(bank, arguments, match):
    with pytest.raises(InputError, match=match):
        StampComposer(bank, **arguments)


def test_batches_are_checked(bank):
    with pytest.raises(InputError, match="batch_size"):
        StampComposer(bank).batch(0, 0)
    with pytest.raises(InputError, match="step"):
        StampComposer(bank).batch(-1, 4)


def test_a_bank_without_bright_sources_is_refused():
    with pytest.raises(InputError, match="draw a larger one"):
        StampComposer(make_bank([np.ones((1, 1))], magnitude=26.0))


def test_composing_needs_numpy_alone():
    code = (
        "import sys, btk_punet.training.dataset; "
        "print([m for m in ('galsim', 'btk', 'tensorflow', 'pandas', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
