"""The choices of runs: their words stand once, and what would be ignored is an error."""

import argparse
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from btk_punet import compare, compare_benchmark, get_euclid_survey, selection_function, uniformity
from btk_punet.cli.options import add_options, given_options
from btk_punet.errors import InputError
from btk_punet.evaluation.runs.options import Running, Scenes, check_numbers
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.options import documented, option

KINDS = (Scenes, Rules, Running)
RUNS = {
    compare: KINDS,
    selection_function: KINDS,
    compare_benchmark: (Rules, Running),
    uniformity: (Running,),
}

NOT_THERE = {
    (selection_function, "min_snr"),
}


def fields():
    return [
        pytest.param(kind, spec, id=f"{kind.__name__}.{spec.name}")
        for kind in KINDS
        for spec in dataclasses.fields(kind)
    ]


def test_nothing_is_ignored_by_default():
    Scenes().check_unused("generator")


@pytest.mark.parametrize(("kind", "spec"), fields())
def test_every_option_has_words_for_a_sentence(kind, spec):
    words = spec.metadata["words"]
    assert len(words) > 10 and not words.endswith((".", " "))
    assert getattr(kind(), spec.name) == spec.default


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_runs_have_the_options_with_their_defaults_and_words(run):
    parameters = inspect.signature(run).parameters
    text = " ".join(inspect.getdoc(run).split())
    for kind in RUNS[run]:
        for spec in dataclasses.fields(kind):
            if (run, spec.name) in NOT_THERE:
                assert spec.name not in parameters and f"{spec.name}: " not in text
                continue
            assert parameters[spec.name].default == spec.default
            words = spec.metadata["words"]
            assert text.count(f" {spec.name}: {words[0].upper()}{words[1:]}.") == 1
    assert not re.search(r"\{[A-Z]\w+\}", text)
    assert all(len(line) <= 100 for line in inspect.getdoc(run).splitlines())


def test_words_come_into_a_docstring():
    @dataclasses.dataclass
    class Tea:
        sugar: int = option(0, "lumps of ``sugar``")
        milk: bool = option(False, "whether with milk")

    @documented(Tea, but=["milk"])
    def brew(sugar=0):
        """Make tea.

        Args:
            {Tea}
            time: Of day.
        """

    assert inspect.getdoc(brew) == (
        "Make tea.\n\nArgs:\n    sugar: Lumps of ``sugar``.\n    time: Of day."
    )

    @documented(Tea)
    def silent():
        pass

    assert silent.__doc__ == ""


@pytest.mark.parametrize("kind", [Scenes, Rules])
def test_command_line_has_the_same_words(kind):
    parser = argparse.ArgumentParser(prog="test")
    add_options(parser, kind)
    text = " ".join(parser.format_help().split())
    assert "`" not in text and "in Python" not in text
    # An option that is not given is none.
    assert given_options(parser.parse_args([]), kind) == {}
    for spec in dataclasses.fields(kind):
        words = spec.metadata["words"].replace("`", "").partition("; in Python also")[0]
        default = "" if spec.default is None else f" (default: {spec.default})"
        assert f"{words}{default}" in text


def test_values_of_the_command_line():
    parser = argparse.ArgumentParser(prog="test")
    add_options(parser, Rules, but=("min_snr",))
    given = parser.parse_args(["--match-radius", "0.2", "--distance-bins", "0", "1", "inf"])
    expected = {"radius_arcsec": 0.2, "distance_bins": [0.0, 1.0, float("inf")]}
    assert given_options(given, Rules) == expected
    assert Rules(**expected).distance_bins == (0.0, 1.0, float("inf"))


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({"seed": 5}, "seed would be ignored, because generator settles the scenes"),
        ({"n_blends": 5, "psf": 0.2, "seed": 1}, "psf, seed would be ignored"),
        ({"survey": get_euclid_survey()}, "leave out either generator or survey"),
        ({"catalog": Path("a.fits")}, "catalog would be ignored"),
    ],
)
def test_choices_that_would_be_ignored(changes, ignored):
    with pytest.raises(InputError, match=ignored):
        Scenes(**changes).check_unused("generator")


def test_used_choices_are_not_ignored():
    Scenes(n_blends=5, seed=3).check_unused("generator", used=("n_blends", "seed"))


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None])
def test_numbers_that_are_none(value):
    with pytest.raises(InputError, match="njobs must be a whole number of at least 1, got"):
        check_numbers(n_blends=1, njobs=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"njobs": 0}, "njobs must be a whole number of at least 1, got 0"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, got 0"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above 0, got nan"),
        ({"memory_limit": "lots"}, "memory_limit must be like '2GB'"),
        ({"scheduler": "tcp://a:1", "njobs": 2}, "njobs=2 would be ignored"),
        ({"shard": "3/2"}, "shard must be like '2/8', for the second of eight, got '3/2'"),
        ({"shard": "0/2"}, "shard must be like"),
        ({"shard": "1"}, "shard must be like"),
    ],
)
def test_running_checks_its_choices(change, message):
    with pytest.raises(InputError, match=message):
        Running(**change)


def test_batches_of_shards():
    assert Running().of_shard([]) == [] and Running().of_shard(range(3)) == [0, 1, 2]
    parts = [Running(shard=f"{part}/3").of_shard(range(7)) for part in (1, 2, 3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]


def test_what_needs_other_processes():
    assert not Running().needs_workers() and not Running(shard="1/2").needs_workers()
    for choice in ({"njobs": 2}, {"timeout": 5.0}, {"memory_limit": "1GB"}, {"scheduler": "a"}):
        assert Running(**choice).needs_workers()


def test_scenes_check_their_numbers_and_make_a_generator():
    with pytest.raises(InputError, match="batch_size must be a whole number of at least 1, got 0"):
        Scenes(batch_size=0)
    with pytest.raises(InputError, match="Unknown sampling 'clusters'"):
        Scenes(sampling="clusters", survey="Euclid_VIS").generator()
