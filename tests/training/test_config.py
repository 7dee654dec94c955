"""The choices of a run: what is refused, and what comes back from a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from btk_punet.errors import InputError, InputTypeError
from btk_punet.training.config import TrainingConfig


def test_no_choices_are_the_defaults():
    assert TrainingConfig.from_dict({}) == TrainingConfig()
    assert TrainingConfig().model == {}


def test_steps_counted_by_hand():
    config = TrainingConfig(n_stamps=101, batch_size=10, report_stamps=35)
    assert config.n_steps == 11  # the last is begun for one stamp
    assert config.report_steps == 3
    assert TrainingConfig(batch_size=64, report_stamps=10).report_steps == 1


def test_there_and_back(tiny):
    assert TrainingConfig.from_dict(tiny.to_dict()) == tiny
    # Tuples, which JSON does not have, come back as lists.
    config = TrainingConfig(model={"channels": (4, 6)})
    assert config.to_dict()["model"] == {"channels": [4, 6]}
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


def test_changed_keeps_the_rest(tiny):
    changed = tiny.changed(seed=9, batch_size=2)
    assert (changed.seed, changed.batch_size) == (9, 2)
    assert changed.changed(seed=tiny.seed, batch_size=tiny.batch_size) == tiny
    with pytest.raises(InputError, match="unknown in a training configuration: sed; it may hold"):
        tiny.changed(sed=9)


@pytest.mark.parametrize("name", ["n_stamps", "batch_size", "stamp_size", "patience", "seed"])
@pytest.mark.parametrize("value", [1.5, 20.0, "20", None, True, [20], np.float64(20)])
def test_whole_numbers(name, value):
    with pytest.raises(InputTypeError, match=f"expected {name} as a whole number, got"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "beta", "masked_share"])
@pytest.mark.parametrize("value", ["1e-3", None, False, {}])
def test_numbers(name, value):
    with pytest.raises(InputTypeError, match=f"expected {name} as a number, got"):
        TrainingConfig(**{name: value})


def test_whole_numbers_serve_as_numbers():
    assert TrainingConfig(beta=2).beta == 2
    assert TrainingConfig(learning_rate=np.float64(0.1)).to_dict()["learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"n_stamps": 0}, "n_stamps of at least 1, got 0"),
        ({"stamp_size": 7}, "stamp_size of at least 8, got 7"),
        ({"validation_stamps": 0}, "validation_stamps of at least 1"),
        ({"max_exposures": 0}, "max_exposures of at least 1"),
        ({"n_galaxies": 0}, "n_galaxies of at least 1"),
        ({"seed": -1}, "seed of 0 or more, got -1"),
        ({"beta": float("nan")}, "beta of 0 or more, got nan"),
        ({"clip_norm": float("inf")}, "clip_norm of 0 or more, got inf"),
        ({"learning_rate": 0}, "learning_rate and clip_norm above 0, got 0 and 1.0"),
        ({"clip_norm": 0.0}, "learning_rate and clip_norm above 0"),
        ({"learning_rate": 1e-6}, "final_learning_rate of at most the learning_rate 1e-06"),
        ({"masked_share": 1.1}, "masked_share in 0-1, got 1.1"),
        ({"precision": "float16"}, "'auto', 'float32' or 'bfloat16', got 'float16'"),
        (
            {"mix": {"crowd": 1.0}},
            r"shares of \['sky', 'field', .*'bright_neighbour'\], got {'crowd': 1.0}",
        ),
        ({"mix": {"field": -1.0}}, "the share of field in mix of 0 or more, got -1.0"),
        ({"mix": {"field": 0.0}}, "a share above 0 in mix"),
        ({"mix": {}}, "a share above 0 in mix"),
        ({"survey": "LSST"}, r"'LSST' needs a catalog .* \(--catalog FILE\)"),
        ({"catalog": "galaxies.fits"}, r"no catalog is read: .* \(--survey LSST\)"),
    ],
)
def test_values_that_cannot_be_used(choices, match):
    with pytest.raises(InputError, match=match):
        TrainingConfig.from_dict(choices)


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"model": 3}, "model as a mapping of names to values, got 3"),
        ({"model": [4, 6]}, "model as a mapping"),
        ({"mix": 0.3}, "mix as a mapping of names to values, got 0.3"),
        ({"mix": {"field": "half"}}, "the share of field in mix as a number, got 'half'"),
        ({"survey": 3, "catalog": "x"}, "survey as a text, got 3"),
        ({"survey": None}, "survey as a text, got None"),
        ({"survey": "LSST", "catalog": Path("x")}, "catalog as a text, got"),
        ({"initial_weights": 3}, "initial_weights as a text, got 3"),
    ],
)
def test_types_that_cannot_be_used(choices, match):
    with pytest.raises(InputTypeError, match=match):
        TrainingConfig.from_dict(choices)


def test_survey_with_its_catalog():
    assert TrainingConfig(survey="LSST", catalog="galaxies.fits").catalog == "galaxies.fits"


def test_file_of_choices_and_file_of_a_run(tmp_path, tiny):
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"seed": 3}))
    assert TrainingConfig.from_file(path) == TrainingConfig(seed=3)
    path.write_text(json.dumps({"status": "finished", "config": tiny.to_dict()}))
    assert TrainingConfig.from_file(str(path)) == tiny


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "is not a JSON file"),
        ('{"seed": 3', "is not a JSON file"),
        ("[1, 2]", r"a JSON object of choices in .*, got \[1, 2\]"),
        ("null", "a JSON object of choices"),
        ('{"config": 3}', "a JSON object of choices in .*, got 3"),
        ('{"sed": 3}', "unknown in a training configuration: sed"),
    ],
)
def test_files_that_hold_something_else(tmp_path, content, match):
    path = tmp_path / "choices.json"
    path.write_text(content)
    with pytest.raises(InputError, match=match):
        TrainingConfig.from_file(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="there is no training configuration '.*none.json'"):
        TrainingConfig.from_file(tmp_path / "none.json")


def test_presets():
    config = TrainingConfig.from_preset("euclid-vis")
    assert config.survey == "euclid"
    assert list(config.model["channels"]) == [16, 32, 64, 96]
    for name in ("euclid", "", "../presets/euclid-vis"):
        with pytest.raises(InputError, match=r"name of a preset \(.*euclid-vis.*\), got"):
            TrainingConfig.from_preset(name)


def test_parts_of_a_batch(tiny):
    assert tiny.changed(batch_parts=2).batch_parts == 2
    with pytest.raises(InputError, match="batch_parts as a divisor of the batch_size 4, got 3"):
        tiny.changed(batch_parts=3)
    with pytest.raises(InputError, match="expected batch_parts of at least 1, got 0"):
        tiny.changed(batch_parts=0)
