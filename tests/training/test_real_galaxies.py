"""Real galaxies made ready: no edge, no noise, of the right size; and which are held out."""

from pathlib import Path

import numpy as np
import pytest

from btk_punet.errors import CatalogError, InputError
from btk_punet.simulation.rendering import StampRenderer
from btk_punet.training import real_galaxies as module
from btk_punet.training.bank import HELD_OUT_EVERY, KINDS
from btk_punet.training.drawing import draw_bank
from btk_punet.training.real_galaxies import (
    PARTS,
    half_light_radius,
    is_held_out,
    part_of,
    prepared,
    read_real_galaxies,
    real_parts,
)


def disk(scale_length=6.0, side=61, radius=18.0):
    """An exponential disk, cut out at a radius [pixel]."""
    y, x = np.indices((side, side)) - side // 2
    r = np.hypot(x, y)
    return np.where(r < radius, np.exp(-r / scale_length), 0.0)


def write(path, images, names, snr=np.nan, scale=0.03):
    np.savez(
        path,
        **{f"image_{i:03d}": image for i, image in enumerate(images)},
        set=np.array(["toys"] * len(images)),
        name=np.array(names),
        pixel_scale_arcsec=np.full(len(images), scale),
        half_light_radius_arcsec=np.full(len(images), 0.3),
        snr=np.full(len(images), snr),
    )
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "real.npz", [disk()] * 30, [str(i) for i in range(30)])


def test_no_galaxies(tmp_path):
    with pytest.raises(CatalogError, match="holds no real galaxy that can be used"):
        read_real_galaxies(write(tmp_path / "none.npz", [], []))


def test_the_light_of_a_disk_goes_on_beyond_its_outline():
    galaxy = prepared("toys/disk", disk(), 0.03, snr=1e6)
    whole = disk(side=len(galaxy.light) // 2 * 2 + 1, radius=np.inf)
    assert galaxy.light.sum() == pytest.approx(1.0, abs=1e-5)
    # A disk's half-light radius is 1.68 scale lengths; cut at 3 of them it is 1.39.
    cut = half_light_radius(disk())
    assert cut / 6 == pytest.approx(1.39, abs=0.05)
    assert cut < galaxy.half_light_radius_arcsec / 0.03 <= 1.05 * 1.68 * 6
    row = galaxy.light[len(galaxy.light) // 2]
    row = row[np.argmax(row) :]
    assert (np.diff(row) < 0).all()  # it falls all the way, and without a step at the outline
    steps = row[13:24] / row[12:23]
    assert steps.min() > 0.6
    assert whole.max() / row.max() > 0


def test_noise_is_no_structure():
    rng = np.random.default_rng(0)
    clean, outline = disk(), disk() > 0
    sigma = 0.05
    noisy = np.where(outline, clean + sigma * rng.standard_normal(clean.shape), 0.0)
    snr = clean.sum() / sigma / np.sqrt(outline.sum())
    for given in (snr, np.nan):  # told, or measured at the rim
        galaxy = prepared("toys/noisy", noisy, 0.03, given)
        pad = (len(galaxy.light) - len(clean)) // 2
        light = galaxy.light[pad : pad + len(clean), pad : pad + len(clean)]
        light = light * clean[outline].sum() / light[outline].sum()
        left = (light - clean)[outline & (clean < 0.5)].std()
        assert left < 0.4 * sigma


def test_stray_pixels_and_holes_are_none_of_the_galaxys():
    image = disk()
    image[30, 33] = 0.0  # a hole in the middle
    image[2, 2] = 0.2
    galaxy = prepared("toys/stray", image, 0.03)
    pad = (len(galaxy.light) - 61) // 2
    assert galaxy.light[pad + 2, pad + 2] < 1e-2 * galaxy.light.max()
    assert galaxy.light[pad + 30, pad + 33] > 0.3 * galaxy.light.max()


def test_the_rule_of_those_held_out():
    names = [f"toys/{i}" for i in range(2000)]
    assert 0.17 < np.mean([is_held_out(name) for name in names]) < 0.23
    # Pinned: weights were trained by this rule.
    assert [i for i in range(30) if is_held_out(f"hst_stamps/{i}")] == [21]


def test_reading_a_part(file):
    every = read_real_galaxies(file)
    held_out, others = (read_real_galaxies(file, held_out=side) for side in (True, False))
    assert len(every) == 30 == len(held_out) + len(others)
    assert all(galaxy.held_out for galaxy in held_out)
    assert not {g.object_name for g in held_out} & {g.object_name for g in others}


def test_never_enlarged(file):
    galaxies = read_real_galaxies(file)
    own, rng = galaxies[0].half_light_radius_arcsec, np.random.default_rng(0)
    for wanted, got in ((0.5 * own, 0.5 * own), (1.3 * own, own)):
        (part,) = real_parts(galaxies, wanted, 100.0, rng)
        pixel = np.sqrt(abs(np.linalg.det(part.cell)))
        assert half_light_radius(part.light) * pixel == pytest.approx(got, rel=0.03)
        assert part.flux == 100.0
        assert np.allclose(part.centroid(), 0.0, atol=1e-6)
    assert real_parts(galaxies, 2.0 * own, 100.0, rng) is None
    assert real_parts([], 0.1, 100.0, rng) is None


def test_turned_and_mirrored(file):
    galaxies, rng = read_real_galaxies(file), np.random.default_rng(0)
    cells = [real_parts(galaxies, 0.1, 1.0, rng)[0].cell for _ in range(60)]
    mirrored = np.array([np.linalg.det(cell) < 0 for cell in cells])
    assert 15 < mirrored.sum() < 45
    angles = np.array([np.arctan2(*cell[::-1, 1]) for cell in cells])
    assert np.ptp(angles) > 5.5


def test_drawn_with_all_their_flux(file, psfs):
    (part,) = real_parts(read_real_galaxies(file), 0.2, 1e4, np.random.default_rng(0))
    image, rows, columns = StampRenderer(psfs[0], 0.1, 12.5).draw([part], 40.2, 39.7, 80)
    assert image.sum() == pytest.approx(1e4, rel=0.01)
    x = (image * (np.arange(80)[columns])).sum() / image.sum()
    y = (image * (np.arange(80)[rows, None])).sum() / image.sum()
    assert (x, y) == (pytest.approx(40.2, abs=0.05), pytest.approx(39.7, abs=0.05))


def test_a_bank_keeps_those_held_out_apart(file, psfs, monkeypatch):
    seen = {True: 0, False: 0}

    def noted(galaxies, radius, flux, rng):
        sides = {galaxy.held_out for galaxy in galaxies}
        assert len(sides) == 1
        seen[sides.pop()] += 1
        return real_parts(galaxies, radius, flux, rng)

    monkeypatch.setattr("btk_punet.training.drawing.real_parts", noted)
    bank = draw_bank(200, psfs, seed=1, max_size=64, real_galaxies=file)
    share = seen[True] / (seen[True] + seen[False])
    assert 0 < share < 3 / HELD_OUT_EVERY
    real = bank.catalog["kind"] == KINDS.index("real")
    assert 0.2 < real.mean() < 0.6
    # The size that was asked for may be as large as these galaxies can stand for.
    largest = module.half_light_radius(disk()) * 0.03 / module.MIN_SIZE_RATIO * 1.3
    assert bank.catalog["half_light_radius_arcsec"][real].max() < largest


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "does not exist"),
        (b"text", "is not a file of real galaxies .* expected an .npz file with image_000"),
    ],
)
def test_other_files_are_refused(tmp_path, content, match):
    path = tmp_path / "real.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatalogError, match=match):
        read_real_galaxies(path)


@pytest.mark.parametrize("image", [np.zeros((5, 5)), np.full((5, 5), np.nan), np.ones(5)])
def test_images_that_cannot_be_drawn_are_named(tmp_path, image):
    path = write(tmp_path / "real.npz", [disk(), image], ["a", "b"])
    with pytest.raises(CatalogError, match=r"Image 1 \(toys/b\) .* cannot be drawn"):
        read_real_galaxies(path)


SHARED = Path(__file__).parents[2] / "../shared/data/real_galaxies/real_galaxies.npz"


@pytest.mark.skipif(not SHARED.is_file(), reason="needs ../shared/data/real_galaxies")
def test_the_real_file():
    galaxies = read_real_galaxies(SHARED)
    objects = {galaxy.object_name for galaxy in galaxies}
    assert (len(galaxies), len(objects)) == (419, 222)
    assert sum(map(is_held_out, objects)) == 45


def test_those_held_out_are_two_halves(file):
    with pytest.raises(InputError, match="part must be None or one of .* got 'test'"):
        read_real_galaxies(file, part="test")
    names = [f"set/{i}" for i in range(2000)]
    parts = {name: part_of(name) for name in names}
    assert all((part == "training") != is_held_out(name) for name, part in parts.items())
    of_each = [sum(part == one for part in parts.values()) for one in PARTS]
    assert of_each[0] == pytest.approx(1600, abs=60) and min(of_each[1:]) > 160
    read = {
        part: {galaxy.object_name for galaxy in read_real_galaxies(file, part=part)}
        for part in PARTS
    }
    assert set.union(*read.values()) == {f"toys/{i}" for i in range(30)}
    assert sum(map(len, read.values())) == 30
