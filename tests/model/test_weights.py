from pathlib import Path

import pytest

from btk_punet.errors import BtkPunetWarning, InputError
from btk_punet.model import weights
from btk_punet.model.weights import (
    installed_presets,
    is_told_density,
    weights_fingerprint,
    weights_folder,
)


def write_network(folder, content=b"weights", **others):
    """Write files by the names of a network's, whose content nothing here reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.weights.h5").write_bytes(content)
    for name, text in others.items():
        (folder / f"{name}.json").write_text(text)
    return folder


def test_empty_folder(tmp_path):
    with pytest.raises(
        InputError,
        match="expected the weights as a folder with config.json and model.weights.h5 .* got "
        "'.*' without config.json and model.weights.h5; give a folder that ProbaUNet.save",
    ):
        weights_folder(tmp_path)


@pytest.mark.parametrize("name", ["eucild-vis", "folder/that/is/mistyped"])
def test_what_is_not_there(name):
    with pytest.raises(InputError, match=f"got '{name}' without config.json"):
        weights_fingerprint(name)


def test_folder_and_training_run(tmp_path):
    folder = write_network(tmp_path / "run" / "model")
    for given in (folder, str(folder), tmp_path / "run", str(tmp_path / "run")):
        assert weights_folder(given) == folder


def test_preset(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "PRESETS", tmp_path)
    write_network(tmp_path / "whole")
    write_network(tmp_path / "half")
    (tmp_path / "half" / "model.weights.h5").unlink()
    assert installed_presets() == ["whole"]
    assert weights_folder("whole") == tmp_path / "whole"
    with pytest.raises(InputError, match=r"a preset \(whole\), got 'half' without model.weights"):
        weights_folder("half")


def test_fingerprint_is_of_the_contents(tmp_path):
    first = weights_fingerprint(write_network(tmp_path / "a"))
    assert weights_fingerprint(write_network(tmp_path / "b")) == first
    changed = [
        write_network(tmp_path / "c", b"other weights"),
        write_network(tmp_path / "d", detection='{"slope": 1}'),
        write_network(tmp_path / "e", detection='{"slope": 2}'),
        write_network(tmp_path / "f", config='{"n_bands": 2}'),
    ]
    assert len({first, *map(weights_fingerprint, changed)}) == 5
    # What else lies there does not matter.
    assert weights_fingerprint(write_network(tmp_path / "a", card="{}")) == first


def test_the_recipe_is_part_of_the_fingerprint():
    from btk_punet.deblending.recipe import RECIPE_FILE

    assert RECIPE_FILE in weights._ALL_FILES


def test_a_preset_goes_before_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "PRESETS", tmp_path / "presets")
    preset = write_network(tmp_path / "presets" / "name")
    here = write_network(tmp_path / "here" / "name")
    other = write_network(tmp_path / "here" / "other")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.warns(BtkPunetWarning, match=r"as the preset .* write './name' for the folder"):
        assert weights_folder("name") == preset
    for text in ("./name", "name/", Path("name")):
        assert weights_folder(text).resolve() == here
    assert weights_folder("other").resolve() == other


def test_what_a_network_is_told(tmp_path):
    folder = write_network(tmp_path / "a")
    for config, told in (("{}", False), ('{"told_density": true}', True)):
        (folder / "config.json").write_text(config)
        assert is_told_density(folder) is told
    with pytest.raises(InputError, match="without config.json"):
        is_told_density(tmp_path)
