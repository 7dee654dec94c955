"""The page of a run: what it says, and that it needs nothing else."""

import re
from html.parser import HTMLParser

import pytest

from btk_punet.deblending.flags import DetectionFlag
from tests.images.hand_made import detections, sky_image, without_wcs

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags are closed, and gathers the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    def write(found, **options):
        found.write(tmp_path, **options)
        return Page((tmp_path / "index.html").read_text())

    return write


def test_of_nothing(page):
    text = page(detections(0)).text
    assert "0 sources in 160 × 200 pixels" in text
    assert "No source was found." in text and "No source bears a flag." in text


def test_says_what_was_found_assumed_and_written(page, tmp_path):
    shown = page(detections(image=sky_image()), samples=2)
    text = " ".join(shown.text.split())
    assert "4 sources in 160 × 200 pixels" in text
    assert "3.3 (the sum of p_detect)" in text
    assert "2 with p_detect ≥ 0.9; 1 with 0.7 to 0.9; 1 with < 0.7" in text
    assert "50.0% (largest group: 2)" in text
    assert "The noise & the sky were <given>." in text
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in ("index.html", "catalog_001.fits"):
            assert path.name in text, path
    assert "samples/catalog_000.fits to 001" in text


def test_flags_in_words(page):
    text = page(detections()).text
    for flag in (DetectionFlag.BAD_PIXEL, DetectionFlag.TRUNCATED, DetectionFlag.NOISE_ESTIMATED):
        assert f"{flag.name}125.0%{flag.words}" in text
    assert "SATURATED" not in text


def test_needs_nothing_else(page):
    shown = page(without_wcs())
    sources = [attributes[name] for _, attributes in shown.tags for name in ("src", "href")
               if name in attributes]  # fmt: skip
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,")
    assert not re.search("script|link|iframe", " ".join(tag for tag, _ in shown.tags))


def test_part_of_an_image(page):
    text = page(detections(1, region=(slice(20, 150), slice(10, 200)))).text
    assert "1 source in 130 × 190 pixels (rows 20 to 149, columns 10 to 199 of 160 × 200)" in text
