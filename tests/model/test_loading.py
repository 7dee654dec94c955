"""Saved networks that are damaged, foreign or absurd: each is refused with its file and place."""

import json
import re
import shutil

import h5py
import keras
import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.model.loading import check_finite_weights
from btk_punet.model.proba_unet import ProbaUNet, open_network

TINY = {"channels": (4, 6), "latent_channels": 2, "head_channels": 4}
KERNEL = "encoder/stem/conv/vars/0"  # (3, 3, 1, 4)
WEIGHTS = "model.weights.h5"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("saved")
    ProbaUNet(**TINY).save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "network")


def cut(share):
    def change(folder):
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(content[: int(share * len(content))])

    return change


def written(content):
    return lambda folder: (folder / WEIGHTS).write_bytes(content)


def removed(folder):
    (folder / WEIGHTS).unlink()


def a_folder(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def with_file(change):
    """Change the open file of weights."""

    def changed(folder):
        with h5py.File(folder / WEIGHTS, "a") as file:
            change(file)

    return changed


def with_values(values, where=..., name=KERNEL):
    def change(file):
        file[name][where] = values

    return with_file(change)


def all_nan(file):
    def fill(_, node):
        if isinstance(node, h5py.Dataset):
            node[...] = np.nan

    file.visititems(fill)


def replaced(values):
    def change(file):
        del file[KERNEL]
        file[KERNEL] = values

    return with_file(change)


def emptied(file):
    for name in list(file):
        del file[name]


def of_another(**options):
    return lambda folder: ProbaUNet(**TINY | options).save_weights(folder / WEIGHTS)


def of_keras(folder):
    network = keras.Sequential([keras.layers.Dense(100)])
    network.build((None, 90))
    network.save_weights(folder / WEIGHTS)


def stored_elsewhere(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 3, 1, 4), "f4", external=[("/etc/hostname", 0, 144)])


def linked(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("other.h5", "/values")


BAD_WEIGHTS = {
    "missing": (removed, "without model.weights.h5; give a folder that ProbaUNet.save wrote"),
    "a folder": (a_folder, "without model.weights.h5; give a folder that ProbaUNet.save wrote"),
    "empty": (written(b""), f"{WEIGHTS}' is damaged, or no file of weights"),
    "text": (written(b"weights"), f"{WEIGHTS}' is damaged, or no file of weights"),
    "signature only": (written(b"\x89HDF\r\n\x1a\n"), f"{WEIGHTS}' is damaged"),
    "cut in the middle": (cut(0.5), f"{WEIGHTS}' is damaged, .*truncated file"),
    "cut at the end": (cut(0.999), f"{WEIGHTS}' is damaged, .*truncated file"),
    "cut at the start": (cut(0.01), f"{WEIGHTS}' is damaged"),
    "without arrays": (with_file(emptied), "has 480 weights or more, .* holds 0"),
    "of Keras": (
        of_keras,
        "another network .*'/decoder/blocks/conv2d/vars/0' should be .*, and is absent",
    ),
    "other channels": (
        of_another(channels=(6, 8)),
        r"another network .*'/decoder/blocks/conv2d/vars/0' should be \(3, 3, 4, 4\), and is "
        r"\(3, 3, 6, 6\); .* and 24 more",
    ),
    "a level more": (of_another(channels=(4, 6, 6)), "another network than 'config.json'"),
    "told density": (
        of_another(told_density=True),
        r"'/conditioning/hidden/vars/0' should be absent, and is \(2, 16\)",
    ),
    "one array turned": (
        replaced(np.zeros((4, 1, 3, 3), "f4")),
        r"'/encoder/stem/conv/vars/0' should be \(3, 3, 1, 4\), and is \(4, 1, 3, 3\)",
    ),
    "one array too many": (
        with_file(lambda file: file.create_dataset("more/vars/0", data=np.zeros(3, "f4"))),
        r"'/more/vars/0' should be absent, and is \(3,\)",
    ),
    "text as an array": (replaced("weights"), f"got .* in '/{KERNEL}' of "),
    "integers": (replaced(np.zeros((3, 3, 1, 4), int)), f"got int64 in '/{KERNEL}'"),
    "complex": (replaced(np.zeros((3, 3, 1, 4), complex)), f"got complex128 in '/{KERNEL}'"),
    "an empty array": (replaced(h5py.Empty("f4")), f"floating-point numbers, got .*'/{KERNEL}'"),
    "stored in another file": (with_file(stored_elsewhere), f"'/{KERNEL}' keeps its values in"),
    "linked": (with_file(linked), f"'/{KERNEL}' is a link to somewhere else"),
    "all NaN": (
        with_file(all_nan),
        r"33 of 33 arrays .*'/decoder/blocks/conv2d/vars/0' \(144 of 144 NaN.*; and 30 more; take",
    ),
    "one NaN": (
        with_values(np.nan, (0, 1, 0, 2)),
        rf"got 1 of 33 arrays .*{WEIGHTS}': '/{KERNEL}' \(1 of 36 NaN or infinite\); take",
    ),
    "one inf": (with_values(np.inf, (2, 2, 0, 3)), rf"'/{KERNEL}' \(1 of 36 NaN or infinite\)"),
    "-inf": (with_values(-np.inf), rf"'/{KERNEL}' \(36 of 36 NaN or infinite\)"),
    "beyond float32": (replaced(np.full((3, 3, 1, 4), 1e300)), rf"'/{KERNEL}' \(36 of 36 NaN"),
}
CUT_CONFIG = '{"n_bands": 1, "channels": [4, 6'
BAD_CONFIGS = {
    "empty": ("", "config.json' cannot be read as JSON"),
    "cut off": (CUT_CONFIG, "cannot be read as JSON .JSONDecodeError"),
    "no text": (b"\xff\xfe\x00", "cannot be read as JSON .UnicodeDecodeError"),
    "nested": ("[" * 100_000, "cannot be read as JSON .RecursionError"),
    "huge integer": ('{"n_bands": ' + "9" * 5000 + "}", "cannot be read as JSON .ValueError"),
    "a list": ([1], "holds a list, expected a JSON object"),
    "null": (None, "holds a NoneType, expected a JSON object"),
    "unknown key": ({"colour": 3}, "got colour too; if a later version"),
    "a key of Keras": ({"trainable": False}, "got trainable too"),
    "n_bands 0": ({"n_bands": 0}, "expected n_bands of at least 1, got 0"),
    "n_bands negative": ({"n_bands": -1}, "expected n_bands of at least 1, got -1"),
    "n_bands true": ({"n_bands": True}, "expected n_bands as an integer, got True"),
    "n_bands huge": ({"n_bands": 10**12}, "has 4,000,000,000,476 weights or more, .* holds 2,920"),
    "n_bands 2": ({"n_bands": 2}, "another network .* and is "),
    "channels 0": ({"channels": [0, 6]}, "expected each of channels of at least 1, got 0"),
    "channels negative": ({"channels": [4, -6]}, "each of channels of at least 1, got -6"),
    "channels huge": ({"channels": [4, 10**6]}, "has 9,000,000,000,156 weights or more"),
    "channels floats": ({"channels": [4.0, 6]}, "each of channels as an integer, got 4.0"),
    "channels text": ({"channels": "46"}, "channels as a list of integers, got '46'"),
    "channels null": ({"channels": None}, "channels as a list of integers, got None"),
    "channels nested": ({"channels": [[4], [6]]}, r"each of channels as an integer, got \[4\]"),
    "channels none": ({"channels": []}, r"channels of at least two levels, got \[\]"),
    "channels one": ({"channels": [4]}, "channels of at least two levels"),
    "40 levels": ({"channels": [1] * 40}, "cells of at most 512 pixels, got 549755813888 with 40"),
    "latent": ({"latent": "none"}, "latent 'grid' or 'global', got 'none'"),
    "latent null": ({"latent": None}, "latent 'grid' or 'global', got None"),
    "latent_channels": ({"latent_channels": 10**15}, "weights or more"),
    "latent_channels 0": ({"latent_channels": 0}, "latent_channels of at least 1, got 0"),
    "head_channels text": ({"head_channels": "4"}, "head_channels as an integer, got '4'"),
    "stem_stride": ({"stem_stride": 3}, "stem_stride 1, 2 or 4, got 3"),
    "stem_stride list": ({"stem_stride": [1]}, r"stem_stride 1, 2 or 4, got \[1\]"),
    "centre_prior 0": ({"centre_prior": 0}, "centre_prior between 0 and 1, got 0"),
    "centre_prior NaN": ({"centre_prior": np.nan}, "centre_prior between 0 and 1, got nan"),
    "centre_prior text": ({"centre_prior": "low"}, "centre_prior as a number .* got 'low'"),
    "class_weights": ({"class_weights": [1, 0, 1]}, "three positive numbers"),
    "class_weights text": ({"class_weights": ["a", "b", "c"]}, "no network that can be built"),
    "dilations": ({"context_dilations": 3}, "context_dilations as a list of integers, got 3"),
    "dilation 0": ({"context_dilations": [0]}, "each of context_dilations of at least 1, got 0"),
    "dilation huge": ({"context_dilations": [10**9]}, "context_dilations of at most 128 cells"),
    "told_density text": ({"told_density": "no"}, "told_density as True or False, got 'no'"),
    "told_density": ({"told_density": True}, "'/conditioning/.*, and is absent"),
    "name": ({"name": "a/b"}, "no network that can be built: .*name"),
}


def rows(table):
    return [pytest.param(*row, id=name) for name, row in table.items()]


@pytest.mark.parametrize(("change", "message"), rows(BAD_WEIGHTS))
def test_bad_weights(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=f"(?s){message}") as caught:
        ProbaUNet.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(("content", "message"), rows(BAD_CONFIGS))
def test_bad_config(folder, content, message):
    path = folder / "config.json"
    if isinstance(content, dict):
        content = json.loads(path.read_text()) | content
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"(?s){message}") as caught:
        ProbaUNet.load(folder)
    assert str(folder) in str(caught.value)


def test_a_folder_that_is_a_file(folder):
    with pytest.raises(InputError, match="without config.json and model.weights.h5"):
        ProbaUNet.load(folder / "config.json")


def test_a_config_of_an_older_version_has_defaults(folder):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content["context_dilations"], content["told_density"], content["name"]
    path.write_text(json.dumps(content))
    assert ProbaUNet.load(folder).context_dilations == ()


def test_a_network_given_as_such_is_checked(folder):
    network = ProbaUNet.load(folder)
    check_finite_weights(network)
    kernel = network.encoder.stem.conv.kernel
    values = np.array(kernel)
    values[1, 1, 0, :2] = np.nan, np.inf
    kernel.assign(values)
    place = re.escape(f"'{kernel.path}' (2 of 36 NaN or infinite)")
    with pytest.raises(InputError, match=f"1 of 33 arrays .* the network that was given: {place}"):
        open_network(network)


@pytest.mark.parametrize("value", [np.nan, 3e38])
def test_outputs_that_are_not_finite_are_no_empty_image(folder, value):
    network = ProbaUNet.load(folder)
    # As a training that breaks down, or finite weights whose products leave float32.
    for weight in (network.head.kernel, network.features.kernel, network.features.bias):
        weight.assign(np.full(weight.shape, value, "f4"))
    images = np.ones((2, 8, 8, 1))
    with pytest.raises(InputError, match="got NaN from the network on image 0, counted from 0"):
        network.sample(images)
    with pytest.raises(InputError, match="got NaN from the network on image 0, counted from 0"):
        next(network.iter_sums(images))
    with pytest.raises(InputError, match="got NaN from the network"):
        network.reconstruct(images, np.zeros((2, 8, 8)), np.zeros((2, 8, 8)))
