import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from btk_punet.errors import InputError, InputTypeError
from btk_punet.model import proba_unet
from btk_punet.model.inputs import LatentNoise
from btk_punet.model.latent import DiagonalGaussian
from btk_punet.model.objective import training_loss
from btk_punet.model.proba_unet import ProbaUNet, open_network
from tests.model.conftest import SMALL, batch_of, toy


def test_no_images(model):
    images, maps = np.zeros((0, 16, 16, 1)), np.zeros((0, 16, 16))
    found = model.sample(images, 3)
    assert found["class"].shape == (3, 0, 16, 16, 3)
    assert found["centre"].shape == (3, 0, 16, 16)
    assert model.reconstruct(images, maps, maps)["class"].shape == (0, 16, 16, 3)
    assert model.kl(images, maps, maps).shape == model.elbo(images, maps, maps).shape == (0,)


@pytest.mark.parametrize("brightness", [0, 1e6, 1e30])
def test_all_zero_and_very_bright_images_are_finite(model, brightness):
    images, classes, centres = toy(2)
    images = brightness * images
    assert np.all(np.isfinite(model.elbo(images, classes, centres, n_samples=2)))
    for maps in model.sample(images, 2).values():
        assert np.all((maps >= 0) & (maps <= 1))


@pytest.mark.parametrize("shape", [(20, 28), (1, 1), (17, 30), (5, 64)])
def test_any_size_and_cells_of_the_grid(model, shape):
    found = model.sample(np.zeros((2, *shape, 1)), 3)
    assert found["class"].shape == (3, 2, *shape, 3)
    assert found["centre"].shape == (3, 2, *shape)
    assert found["class"].dtype == found["centre"].dtype == np.float32
    np.testing.assert_allclose(found["class"].sum(axis=-1), 1, atol=1e-5)
    cells = (1, 1) if model.latent == "global" else (-(-shape[0] // 4), -(-shape[1] // 4))
    assert model.prior(np.zeros((2, *shape, 1))).mean().shape == (2, *cells, 3)
    maps = np.zeros((2, *shape))
    assert model.reconstruct(np.zeros((2, *shape, 1)), maps, maps)["centre"].shape == (2, *shape)


def test_pieces_make_the_same_samples(model, monkeypatch):
    images = toy(5)[0]
    whole = model.sample(images, 7, seed=3)
    monkeypatch.setattr(proba_unet, "TRUNK_PIXELS", 2 * 256)
    monkeypatch.setattr(proba_unet, "HEAD_PIXELS", 3 * 256)
    classes, centres = np.full((3, 7, 5, 16, 16), np.nan), np.full((7, 5, 16, 16), np.nan)
    for some, few, maps in model.iter_samples(images, 7, seed=3):
        assert maps["centre"].size <= 3 * 256
        classes[:, some, few], centres[some, few] = maps["class"], maps["centre"]
    np.testing.assert_allclose(np.moveaxis(classes, 0, -1), whole["class"], atol=1e-6)
    np.testing.assert_allclose(centres, whole["centre"], atol=1e-6)
    assert list(model.iter_samples(images[:0], 2)) == []


@pytest.mark.parametrize("options", [{"n_bands": 2}, {"stem_stride": 2}, {"stem_stride": 4}])
def test_bands_and_stem_strides(options):
    keras.utils.set_random_seed(1)
    model = ProbaUNet(**SMALL, **options)
    images = np.random.default_rng(0).standard_normal((2, 20, 28, model.n_bands))
    assert model.sample(images, 2)["class"].shape == (2, 2, 20, 28, 3)
    maps = np.zeros((2, 20, 28))
    assert np.all(np.isfinite(model.elbo(images, maps, maps)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e300])
def test_what_a_masked_pixel_holds_changes_nothing(model, value):
    images, classes, centres = toy(2, 18)
    images, mask = images.astype(float), np.ones((2, 18, 18), bool)
    mask[0, 4:7, 9] = mask[1, 17] = False
    before = model.sample(images, 3, seed=4, mask=mask)
    rebuilt = model.reconstruct(images, classes, centres, mask)
    elbo = model.elbo(images, classes, centres, mask)
    images[~mask] = value
    after = model.sample(images, 3, seed=4, mask=mask)
    classes[~mask], centres[~mask] = -1, np.nan
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
        again = model.reconstruct(images, classes, centres, mask)[key]
        np.testing.assert_array_equal(rebuilt[key], again)
    np.testing.assert_array_equal(elbo, model.elbo(images, classes, centres, mask))


def test_pixels_that_are_not_finite_are_masked_without_being_told(model):
    images, _, _ = toy(1)
    mask = np.ones((1, 16, 16), bool)
    mask[0, 3, 3] = False
    images[0, 3, 3] = np.nan
    with_mask, without = model.sample(images, 2, mask=mask), model.sample(images, 2)
    np.testing.assert_array_equal(with_mask["class"], without["class"])


def test_equal_seeds_equal_samples(model):
    images, _, _ = toy(3)
    one, same, other = (model.sample(images, 2, seed=seed) for seed in (7, 7, 8))
    for key in one:
        np.testing.assert_array_equal(one[key], same[key])
        assert not np.array_equal(one[key], other[key])
        assert not np.array_equal(one[key][0], one[key][1])


def test_a_change_of_the_last_digit_is_no_other_seed(model):
    images, _, _ = toy(2)
    before, after = (model.sample(x, 2)["class"] for x in (images, images + 1e-6))
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("size, orientations", [(16, 1), (18, 1), (18, 8)])
@pytest.mark.parametrize("class_weights", [None, (0.5, 2.0, 4.0)])
def test_sums_are_those_of_the_samples(size, orientations, class_weights):
    keras.utils.set_random_seed(2)
    model = ProbaUNet(**SMALL, class_weights=class_weights)
    images, _, _ = toy(3, size)
    images = 5 * images[:, :14]  # not square, nor whole cells
    mask = np.ones(images.shape[:3], bool)
    mask[1, 3:5] = False
    arguments = (images, 8, 4, mask, None, orientations)
    samples = {"class": np.zeros((3, 8, *mask.shape)), "centre": np.zeros((8, *mask.shape))}
    for some, few, maps in model.iter_samples(*arguments):
        samples["class"][:, some, few], samples["centre"][some, few] = maps["class"], maps["centre"]
    sums = {"class": np.zeros((3, *mask.shape)), "most": np.zeros((2, *mask.shape))}
    sums |= {"centre": np.zeros(mask.shape), "counts": np.zeros((8, 3))}
    for some, few, maps in model.iter_sums(*arguments):
        sums["class"][:, few] += maps["class"]
        sums["most"][:, few] += maps["most"]
        sums["centre"][few] += maps["centre"]
        sums["counts"][some, few] = maps["counts"]
        np.testing.assert_allclose(
            maps["centre_samples"], samples["centre"][some, few], rtol=1e-5, atol=1e-7
        )
    most = samples["class"].argmax(axis=0)
    expected = {
        "class": samples["class"].sum(axis=1),
        "most": [(most == number).sum(axis=0) for number in (1, 2)],
        "centre": samples["centre"].sum(axis=0),
        "counts": samples["centre"].sum(axis=(2, 3)),
    }
    assert np.unique(most).tolist() == [0, 1, 2]
    for name, values in expected.items():
        np.testing.assert_allclose(sums[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert list(model.iter_sums(images[:0], 2)) == []


@pytest.mark.parametrize(
    "bias, most", [((1, 1, 0), [0, 0]), ((0, 1, 1), [2, 0]), ((0, 0, 1), [0, 2])]
)
def test_of_equal_classes_the_first_counts(bias, most):
    model = ProbaUNet(**SMALL)
    model.head.kernel.assign(np.zeros(model.head.kernel.shape))
    model.head.bias.assign([*bias, 0.0])
    ((_, _, sums),) = model.iter_sums(np.zeros((1, 8, 8, 1)), 2)
    np.testing.assert_array_equal(sums["most"][:, 0, 0, 0], most)


@pytest.mark.parametrize("logit, expected", [(1e4, [0, 1]), (-1e4, [1, 0])])
def test_logits_beyond_single_precision_are_sure(logit, expected):
    model = ProbaUNet(**SMALL)
    model.head.kernel.assign(np.zeros(model.head.kernel.shape))
    model.head.bias.assign([0.0, logit, -1e4, logit])
    ((_, _, sums),) = model.iter_sums(np.zeros((1, 8, 8, 1)), 1)
    np.testing.assert_allclose(sums["class"][:2, 0, 0, 0], expected, atol=1e-7)
    np.testing.assert_allclose(sums["centre"][0, 0, 0], expected[1], atol=1e-7)


def test_sums_of_a_network_that_gives_nan_are_an_error():
    model = ProbaUNet(**SMALL)
    model.head.bias.assign([0.0, np.nan, 0.0, 0.0])
    with pytest.raises(InputError, match="got NaN from the network on image 0"):
        next(model.iter_sums(np.zeros((1, 8, 8, 1)), 1))


def whole(pieces, n, shape):
    """Return the classes of samples that came in pieces."""
    classes = np.full((3, n, *shape), np.nan)
    for some, few, maps in pieces:
        classes[:, some, few] = maps["class"]
    return classes


def test_an_image_turned_turns_the_mean_of_all_orientations(grid):
    images, _, _ = toy(2, size=24)
    images = images[:, :16]  # not square
    mask = np.ones(images.shape[:3], bool)
    mask[:, 3, 5] = False
    classes = whole(grid.iter_samples(images, 16, 0, mask, orientations=8), 16, images.shape[:3])
    assert np.isfinite(classes).all()
    np.testing.assert_array_equal(  # the first two are those of the image as it is
        classes[:, :2], whole(grid.iter_samples(images, 2, 0, mask), 2, images.shape[:3])
    )
    for turn in (lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: x.swapaxes(1, 2)):
        other = turn(images)
        turned = whole(
            grid.iter_samples(other, 16, 0, turn(mask), orientations=8), 16, other.shape[:3]
        )
        expected = [turn(mean) for mean in classes.mean(axis=1)]
        np.testing.assert_allclose(turned.mean(axis=1), expected, atol=1e-5)


def test_noise_has_no_mean_anywhere():
    noise = LatentNoise(seed=4).draw(6, (2, 3, 5))
    np.testing.assert_array_equal(noise[1::2], -noise[::2])
    assert len(np.unique(noise[::2])) == noise[::2].size
    pieces = LatentNoise(seed=4)
    parts = [pieces.draw(n, (2, 3, 5)) for n in (1, 2, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), noise)


def test_samples_do_not_depend_on_the_batch_or_on_how_many_are_drawn(model, monkeypatch):
    images, _, _ = toy(5)
    whole = model.sample(images, 6, seed=1)["class"]
    np.testing.assert_allclose(model.sample(images[3:4], 2)["class"].shape, (2, 1, 16, 16, 3))
    np.testing.assert_allclose(
        model.sample(images[3:4], 2, 1)["class"][:, 0], whole[:2, 3], atol=1e-5
    )
    monkeypatch.setattr(proba_unet, "TRUNK_PIXELS", 2 * 256)
    monkeypatch.setattr(proba_unet, "HEAD_PIXELS", 4 * 256)
    np.testing.assert_allclose(model.sample(images, 6, seed=1)["class"], whole, atol=1e-5)


def test_the_head_run_alone_is_the_whole_network(model):
    images, classes, centres = toy(3)
    outputs = model({"images": images, "classes": classes, "centres": centres})
    logits = ops.convert_to_numpy(outputs["class_logits"])
    found = model.reconstruct(images, classes, centres)
    np.testing.assert_allclose(found["class"], ops.softmax(logits), atol=1e-5)
    np.testing.assert_allclose(found["centre"], ops.sigmoid(outputs["centre_logits"]), atol=1e-5)
    one, same = (model.reconstruct(images, classes, centres, seed=3)["class"] for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, found["class"])


def test_kl_is_the_closed_form(model):
    images, classes, centres = toy(3)
    outputs = model({"images": images, "classes": classes, "centres": centres})
    cells = DiagonalGaussian(*outputs["posterior"]).kl_divergence(
        DiagonalGaussian(*outputs["prior"])
    )
    found = model.kl(images, classes, centres)
    np.testing.assert_allclose(found, np.sum(cells, axis=(1, 2)), rtol=1e-4)
    assert np.all(found > 0)


def test_elbo_is_the_training_loss_of_an_image(model):
    images, classes, centres = toy(2)
    noise = LatentNoise(seed=0).draw(1, model.latent_shape(16, 16))[0]
    batch = batch_of(model, images, classes, centres) | {"noise": noise}
    loss, _ = training_loss(model(batch), batch)
    found = model.elbo(images, classes, centres)
    assert -np.mean(found) / 256 == pytest.approx(float(loss), rel=1e-4)


def test_class_weights_come_off_the_probabilities():
    keras.utils.set_random_seed(2)
    plain = ProbaUNet(**SMALL)
    weighted = ProbaUNet(**SMALL, class_weights=(0.5, 2, 8))
    weighted.set_weights(plain.get_weights())
    images, _, _ = toy(2)
    p, q = plain.sample(images, 2)["class"], weighted.sample(images, 2)["class"]
    q = q * (0.5, 2, 8)
    np.testing.assert_allclose(q / q.sum(axis=-1, keepdims=True), p, atol=1e-5)


def test_save_and_load_give_equal_samples(model, tmp_path):
    images, _, _ = toy(2)
    model.save(tmp_path / "saved")
    loaded = ProbaUNet.load(tmp_path / "saved")
    assert loaded.get_config() == model.get_config()
    for key, maps in model.sample(images, 2).items():
        np.testing.assert_array_equal(maps, loaded.sample(images, 2)[key])
    assert json.loads((tmp_path / "saved/config.json").read_text())["latent"] == model.latent


def test_saved_in_place_of_links_not_through_them(model, tmp_path):
    for name in ("config.json", "model.weights.h5"):
        (tmp_path / f"mine-{name}").write_bytes(b"mine")
        (tmp_path / name).symlink_to(tmp_path / f"mine-{name}")
    model.save(tmp_path)
    for name in ("config.json", "model.weights.h5"):
        assert (tmp_path / f"mine-{name}").read_bytes() == b"mine"
        assert (tmp_path / name).is_file() and not (tmp_path / name).is_symlink()


def test_a_model_survives_keras_own_format(grid, tmp_path):
    images, _, _ = toy(2)
    keras.saving.save_model(grid, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(grid.sample(images)["class"], loaded.sample(images)["class"])


def test_presets_are_found_by_name(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("btk_punet.model.weights.PRESETS", tmp_path)
    with pytest.raises(InputError, match="none is installed"):
        ProbaUNet.from_preset("euclid-vis")
    grid.save(tmp_path / "one")
    images, _, _ = toy(2)
    found = ProbaUNet.from_preset("one").sample(images)
    np.testing.assert_array_equal(found["class"], grid.sample(images)["class"])
    with pytest.raises(InputError, match=r"\(one\), got 'two'; load a model of your own"):
        ProbaUNet.from_preset("two")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match="without config.json and model.weights.h5"):
        ProbaUNet.load(tmp_path)


def test_a_model_is_opened_however_it_is_given(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("btk_punet.model.weights.PRESETS", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    for folder in ("presets/one", "run/model", "saved"):
        grid.save(tmp_path / folder)
    assert open_network(grid) == (grid, None)
    for weights, expected in {
        "one": tmp_path / "presets/one",
        "saved": Path("saved"),
        "./saved": Path("saved"),
        Path("saved"): Path("saved"),
        str(tmp_path / "saved"): tmp_path / "saved",
        "run": Path("run/model"),
        Path("run/model"): Path("run/model"),
    }.items():
        found, folder = open_network(weights)
        assert folder == expected
        for one, two in zip(found.get_weights(), grid.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("two", InputError, "name of a preset .* got 'two'"),
        ("./two", InputError, "got './two' without config.json"),
        (Path("two"), InputError, "got 'two' without config.json"),
        ("folder/two", InputError, "got 'folder/two' without config.json"),
        (None, InputTypeError, "got NoneType"),
        (ProbaUNet, InputTypeError, "expected the weights as a ProbaUNet, a folder"),
    ],
)
def test_a_model_that_is_not_there_is_named(weights, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        open_network(weights)


def test_one_piece_is_checked_like_all(grid):
    with pytest.raises(InputError, match="n_samples of at least 1"):
        next(grid.iter_samples(np.zeros((2, 8, 8, 1)), 0))
    with pytest.raises(InputError, match="mask of shape"):
        next(grid.iter_samples(np.zeros((2, 8, 8, 1)), mask=np.ones((8, 8), bool)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: next(m.iter_samples(np.zeros((2, 8, 8, 1)), 6, orientations=4)),
            InputError,
            "n_samples a multiple of it, got 4 and 6",
        ),
        (lambda m: m.sample("text"), InputTypeError, "array of numbers"),
        (lambda m: m.sample(np.zeros((2, 16, 16))), InputError, r"\(batch, height, width, 1\)"),
        (lambda m: m.sample(np.zeros((2, 16, 16, 3))), InputError, "move BTK's bands last"),
        (lambda m: m.sample(np.zeros((2, 0, 16, 1))), InputError, "shape"),
        (lambda m: m.sample(np.zeros((2, 8, 8, 1)), 0), InputError, "n_samples of at least 1"),
        (lambda m: m.sample(np.zeros((2, 8, 8, 1)), 1.5), InputTypeError, "an integer"),
        (lambda m: m.sample(np.zeros((2, 8, 8, 1)), 1, -1), InputError, "seed of at least 0"),
        (
            lambda m: m.sample(np.zeros((2, 8, 8, 1)), mask=np.ones((2, 8, 8))),
            InputTypeError,
            "mask as bool",
        ),
        (
            lambda m: m.sample(np.zeros((2, 8, 8, 1)), mask=np.ones((8, 8), bool)),
            InputError,
            "mask of shape",
        ),
        (
            lambda m: m.sample(np.zeros((2, 8, 8, 1)), density_ratio=1.0),
            InputError,
            r"was not trained to be told it \(told_density is False\)",
        ),
        (
            lambda m: m.kl(np.zeros((2, 8, 8, 1)), np.zeros((8, 8)), np.zeros((2, 8, 8))),
            InputError,
            "classes of shape",
        ),
        (
            lambda m: m.kl(np.zeros((1, 8, 8, 1)), np.full((1, 8, 8), 3), np.zeros((1, 8, 8))),
            InputError,
            r"got \[3\]",
        ),
    ],
)
def test_wrong_input_is_named(grid, call, error, message):
    with pytest.raises(error, match=message):
        call(grid)
