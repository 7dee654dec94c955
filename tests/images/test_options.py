"""The options of `detect`: one home for words and defaults, and what words of a shell mean."""

import argparse
import dataclasses
import inspect

import pytest

from btk_punet import detect
from btk_punet.images.options import (
    ImageOptions,
    OutputOptions,
    SearchOptions,
    background_word,
    image_section,
    number_or_path,
)

SPECS = [
    spec
    for kind in (ImageOptions, SearchOptions, OutputOptions)
    for spec in dataclasses.fields(kind)
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_detect_has_it_with_its_default_and_words(spec):
    parameters = inspect.signature(detect).parameters
    assert parameters[spec.name].default == spec.default
    assert f"\n    {spec.name}: {spec.metadata['words'][0].upper()}" in inspect.getdoc(detect)


def test_detect_has_no_others():
    names = set(inspect.signature(detect).parameters) - {spec.name for spec in SPECS}
    assert names == {"image", "wcs", "output"}


def test_numbers_paths_and_backgrounds():
    assert [number_or_path(text) for text in ("2", "-1e3", "a.fits", "./2")] == [
        2.0, -1000.0, "a.fits", "./2",
    ]  # fmt: skip
    assert background_word("none") is background_word("None") is None
    assert background_word("estimate") == "estimate"
    assert background_word("0.5") == 0.5


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("1:1,1:1", slice(0, 1), slice(0, 1)),
        ("201:700,1:500", slice(0, 500), slice(200, 700)),
        ("[201:700, 1:500]", slice(0, 500), slice(200, 700)),
        ("*,11:20", slice(10, 20), slice(None)),
    ],
)
def test_section(text, rows, columns):
    assert image_section(text) == (rows, columns)


@pytest.mark.parametrize("text", ["", "1:2", "0:5,1:5", "5:1,1:5", "1:2:3,1:5", "a:b,1:2", ":,:"])
def test_section_that_is_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected first and last column"):
        image_section(text)
