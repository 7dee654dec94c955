"""Stamps of BTK's surveys: labels and centres by hand, and a small six-band training."""

import json

import numpy as np
import pytest
from astropy.table import Table
from btk.draw_blends import CatsimGenerator
from btk.sampling_functions import SamplingFunction
from btk.survey import get_surveys

from btk_punet.errors import CatalogError, InputError
from btk_punet.simulation.labels import class_map, overlap_count
from btk_punet.simulation.snr import alone_snr
from btk_punet.simulation.survey import background_variance
from btk_punet.training import blends
from btk_punet.training.blends import BlendComposer

BANDS = "ugrizy"
SIZE = 16


class FixedSampling(SamplingFunction):
    """Returns the same scene at every call: what is drawn is then known."""

    def __init__(self, scene, stamp_size):
        super().__init__(stamp_size, max_number=max(len(scene), 1), min_number=0, seed=0)
        self.scene = scene

    def __call__(self, table):
        return self.scene.copy()


def make_galaxies(ra, dec, mag):
    """Return round exponential disks of 0.4 arcsec, as CatSim lists them."""
    n = len(ra)
    table = Table({"ra": np.array(ra, float), "dec": np.array(dec, float)})
    for name in ("fluxnorm_bulge", "fluxnorm_agn", "a_b", "b_b", "pa_disk", "pa_bulge"):
        table[name] = np.zeros(n)
    table["fluxnorm_disk"] = np.ones(n)
    table["a_d"] = table["b_d"] = np.full(n, 0.4)
    for number, band in enumerate(BANDS):
        table[f"{band}_ab"] = np.broadcast_to(mag, n).astype(float) + 0.2 * (2 - number)
    return table


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    path = tmp_path_factory.mktemp("catsim") / "galaxies.fits"
    rng = np.random.default_rng(3)
    make_galaxies(*rng.uniform(0, 0.01, (2, 80)), rng.uniform(20.0, 25.0, 80)).write(path)
    return path


@pytest.fixture(scope="module")
def composer(catalog):
    return BlendComposer("LSST", catalog, SIZE, seed=4)


@pytest.fixture
def show(monkeypatch, composer):
    """Draw one scene; return its batch and BTK's own, noiseless."""

    def draw(scene, n=1):
        sampling = FixedSampling(scene, composer._stamp_arcsec)
        monkeypatch.setattr(blends, "choose_sampling", lambda *_, **__: sampling)
        drawn = CatsimGenerator(
            composer.catalog, sampling, composer.survey, batch_size=n, add_noise="none"
        )
        return composer.batch(3, n), next(drawn)

    return draw


def test_no_source(show):
    batch, _ = show(make_galaxies([], [], []))
    assert not batch["class"].any()
    assert not batch["centre"].any()
    assert batch["mask"].all()
    # Sky alone, in units of its sigma.
    assert batch["image"].std(axis=(0, 1, 2)) == pytest.approx(1, abs=0.2)


def test_one_source_by_hand(show, composer):
    # Pixels of 0.2 arcsec, whose middle is at (7.5, 7.5): the centre is at (9, 7).
    batch, btks = show(make_galaxies([0.3], [-0.1], 23.0))
    sigma = np.sqrt(
        [background_variance(composer.survey, composer.survey.get_filter(b)) for b in BANDS]
    )
    np.testing.assert_allclose(composer.background, sigma**2)
    alone = btks.isolated_images[0, 0]  # (bands, H, W)
    by_hand = sum((alone[b] / sigma[b]) ** 2 for b in range(6)) > 1
    np.testing.assert_array_equal(batch["class"][0], by_hand)
    assert 10 < by_hand.sum() < SIZE**2
    # More of it than in any one band.
    for b in range(6):
        one_band = class_map(btks.isolated_images[0, :, b], sigma[b])
        assert np.all(batch["class"][0] >= one_band)
        assert overlap_count(btks.isolated_images[0, :, b], sigma[b]).sum() < by_hand.sum()
    assert np.argwhere(batch["centre"][0]).tolist() == [[7, 9]]
    assert np.unravel_index(alone[3].argmax(), alone[3].shape) == (7, 9)


def test_noise_is_that_of_sky_and_source_together(show, composer):
    # In BTK's own images it is not: see the class.
    batch, btks = show(make_galaxies([0.0], [0.0], 17.0), n=40)
    flux = btks.blend_images[0]
    background = composer.background[:, None, None]
    noise = np.moveaxis(batch["image"], -1, 1) * np.sqrt(background) - flux
    variance = noise.var(axis=0) / (background + flux)
    bright = flux > background  # where both matter
    assert bright.sum() > 50
    for some in (bright, ~bright):
        # Of so many numbers; the bands and the pixels are independent.
        error = np.sqrt(2 / (39 * some.sum()))
        assert variance[some].mean() == pytest.approx(1, abs=4 * error)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.15


def test_a_pixel_of_two_sources_is_blended(show):
    one, _ = show(make_galaxies([-0.6], [0.0], 23.0))
    other, _ = show(make_galaxies([0.6], [0.0], 23.0))
    both, _ = show(make_galaxies([-0.6, 0.6], [0.0, 0.0], 23.0))
    assert (both["class"] == 2).any()
    np.testing.assert_array_equal(both["class"], one["class"] + other["class"])
    np.testing.assert_array_equal(both["centre"], one["centre"] + other["centre"])


def test_three_on_a_pixel_are_still_class_two(show):
    batch, _ = show(make_galaxies([0.0, 0.1, -0.1], [0.0, 0.0, 0.0], 22.0))
    assert batch["class"].max() == 2


def test_centres_need_an_alone_snr_of_two_in_all_bands_together(show, composer):
    found = []
    for magnitude in np.arange(25.0, 30.5, 0.25):
        batch, btks = show(make_galaxies([0.0], [0.0], magnitude))
        alone = btks.isolated_images[0]
        snr = np.sqrt(sum(alone_snr(alone[:, b], composer.background[b])[0] ** 2 for b in range(6)))
        found.append(batch["centre"].sum())
        assert found[-1] == (snr > 2.0), magnitude
    assert found[0] == 1 and found[-1] == 0


def test_a_source_outside_has_light_and_no_centre(show):
    batch, btks = show(make_galaxies([-2.2, 0.0], [0.0, 2.2], 19.0))  # the half side is 1.6 arcsec
    x, y = (np.asarray(btks.catalog_list[0][name]) for name in ("x_peak", "y_peak"))
    assert x[0] < -0.5 and y[1] > SIZE - 0.5
    assert batch["class"].any()
    assert not batch["centre"].any()


def test_a_batch_depends_on_seed_and_step_alone(catalog, composer):
    def same(one, two):
        return all(np.array_equal(one[name], two[name]) for name in one)

    third = composer.batch(3, 2)
    composer.batch(0, 1)
    assert same(third, composer.batch(3, 2))
    assert same(third, BlendComposer("LSST", catalog, SIZE, seed=4).batch(3, 2))
    assert not same(third, composer.batch(4, 2))
    assert not same(third, BlendComposer("LSST", catalog, SIZE, seed=5).batch(3, 2))
    assert not np.array_equal(third["image"][0], third["image"][1])


@pytest.mark.parametrize("size", [8, 15, SIZE])
def test_shapes_and_types(catalog, size):
    composer = BlendComposer("LSST", catalog, size)
    assert composer.n_bands == 6
    batch = composer.batch(0, 2)
    for name, shape, dtype in (
        ("image", (2, size, size, 6), np.float32),
        ("class", (2, size, size), np.uint8),
        ("centre", (2, size, size), np.uint8),
        ("mask", (2, size, size), np.bool_),
    ):
        assert (batch[name].shape, batch[name].dtype) == (shape, dtype), name
    assert np.isfinite(batch["image"]).all()


def test_what_cannot_be_drawn(tmp_path, catalog):
    with pytest.raises(InputError, match="Unknown survey 'LSTS'"):
        BlendComposer("LSTS", catalog)
    with pytest.raises(CatalogError, match="'none.fits' does not exist"):
        BlendComposer("LSST", "none.fits")
    table = Table.read(catalog)
    table.remove_columns(["u_ab", "y_ab"])
    table.write(tmp_path / "four.fits")
    with pytest.raises(CatalogError, match="four.fits' lacks the magnitudes u_ab, y_ab, which"):
        BlendComposer("LSST", tmp_path / "four.fits")
    (tmp_path / "text.fits").write_text("no table")
    with pytest.raises(CatalogError, match="text.fits"):
        BlendComposer("LSST", tmp_path / "text.fits")


def test_btks_own_euclid(tmp_path, catalog):
    table = Table.read(catalog)
    bands = get_surveys("Euclid_VIS").available_filters
    table[f"{bands[0]}_ab"] = table["i_ab"]
    table.write(tmp_path / "euclid.fits")
    composer = BlendComposer("Euclid_VIS", tmp_path / "euclid.fits", 32)
    assert composer.n_bands == len(bands) == 1
    assert composer.batch(0, 1)["image"].shape == (1, 32, 32, 1)


def test_train_six_bands_by_the_command(tmp_path, catalog, no_plots, capsys):
    pytest.importorskip("keras")
    from btk_punet.cli import main
    from btk_punet.model.proba_unet import ProbaUNet

    choices = {
        "model": {"channels": [4, 6]}, "batch_size": 4, "stamp_size": SIZE, "report_stamps": 8,
        "validation_stamps": 4, "precision": "float32",
    }  # fmt: skip
    (tmp_path / "choices.json").write_text(json.dumps(choices))
    arguments = ["train", "-o", str(tmp_path / "run"), "--config", str(tmp_path / "choices.json")]
    arguments += ["--survey", "LSST", "--catalog", str(catalog), "--n-stamps", "16", "-q"]
    assert main(arguments) == 0
    assert str(tmp_path / "run" / "model") in capsys.readouterr().out
    network = ProbaUNet.load(tmp_path / "run" / "model")
    assert network.n_bands == 6
    images = np.random.default_rng(0).standard_normal((3, 20, 24, 6))
    found = network.sample(images, 2)
    assert found["class"].shape == (2, 3, 20, 24, 3)
    np.testing.assert_allclose(found["class"].sum(axis=-1), 1, atol=1e-5)
    held = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (held["status"], held["step"]) == ("finished", 4)
    assert (held["config"]["survey"], held["config"]["catalog"]) == ("LSST", str(catalog))
