"""What is special to running a program."""

import shutil

import numpy as np
import pytest

from btk_punet.deblending import source_extractor
from btk_punet.deblending.isophotal import position_variances
from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import InputError, MissingProgramError, ProgramFailedError

from .conftest import (
    SIGMA,
    add_noise,
    gaussian,
    make_batch,
    needs_source_extractor,
    random_scenes,
)


def write_program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_missing_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not SourceExtractorDeblender.is_available()
    with pytest.raises(MissingProgramError, match="apt-get install source-extractor"):
        SourceExtractorDeblender(5)
    with pytest.raises(FileNotFoundError, match="astromatic-source-extractor"):
        SourceExtractorDeblender(5)


def test_missing_binary():
    with pytest.raises(MissingProgramError, match="needs the program /nowhere/sex"):
        SourceExtractorDeblender(5, binary="/nowhere/sex")


@needs_source_extractor
def test_program_under_its_other_name(monkeypatch, tmp_path):
    real = shutil.which("source-extractor") or shutil.which("sex")
    (tmp_path / "sex").symlink_to(real)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert SourceExtractorDeblender.is_available()
    (catalog,) = SourceExtractorDeblender(5)(make_batch([gaussian(30, 30, 1e4)])).catalog_list
    assert len(catalog) == 1


@needs_source_extractor
def test_version():
    assert SourceExtractorDeblender(5).version()[0].isdigit()


def test_failing_program(tmp_path):
    binary = write_program(tmp_path / "sex", "echo out of cheese >&2; exit 3")
    deblender = SourceExtractorDeblender(5, binary=binary)
    with pytest.raises(ProgramFailedError, match="(?s)exit status 3.*out of cheese"):
        deblender(make_batch(np.zeros((1, 64, 64))))


def test_silent_program(tmp_path):
    binary = write_program(tmp_path / "sex", "echo hello")
    deblender = SourceExtractorDeblender(5, binary=binary)
    with pytest.raises(ProgramFailedError, match="wrote no results. It printed: hello"):
        deblender(make_batch(np.zeros((1, 64, 64))))
    with pytest.raises(ProgramFailedError, match="Expected a version from .*got 'hello'"):
        deblender.version()


@needs_source_extractor
def test_error_of_the_real_program(monkeypatch):
    monkeypatch.setattr(source_extractor, "_COLUMNS", ["NO_SUCH_COLUMN"])
    with pytest.raises(ProgramFailedError, match="NO_SUCH_COLUMN"):
        SourceExtractorDeblender(5)(make_batch(np.zeros((1, 64, 64))))


@needs_source_extractor
def test_limit_of_nthresh():
    with pytest.raises(InputError, match="deblend_nthresh must be at most 64.*got 65"):
        SourceExtractorDeblender(5, deblend_nthresh=65)


@needs_source_extractor
def test_bright_isolated_sources_are_where_sep_finds_them():
    rng = np.random.default_rng(9)
    x, y = rng.uniform(20, 44, (2, 20))
    images = [add_noise(gaussian(*xy, 2e4), rng) for xy in zip(x, y, strict=True)]
    batch = make_batch(images)
    ours = SourceExtractorDeblender(50)(batch).catalog_list
    seps = SepDeblender(50)(batch).catalog_list
    for catalog, expected, x_true, y_true in zip(ours, seps, x, y, strict=True):
        assert abs(catalog["x_peak"][0] - expected["x_peak"][0]) < 1e-4
        assert abs(catalog["y_peak"][0] - expected["y_peak"][0]) < 1e-4
        assert np.hypot(catalog["x_peak"][0] - x_true, catalog["y_peak"][0] - y_true) < 0.3
        np.testing.assert_allclose(catalog["flux"][0], expected["flux"][0], rtol=1e-5)
        np.testing.assert_allclose(catalog["x_err"][0], expected["x_err"][0], rtol=1e-3)


@needs_source_extractor
def test_blends_are_those_of_sep():
    batch = make_batch(random_scenes(20, seed=10))
    ours = SourceExtractorDeblender(50)(batch)
    seps = SepDeblender(50)(batch)
    for catalog, expected in zip(ours.catalog_list, seps.catalog_list, strict=True):
        assert len(catalog) == len(expected)
        # Sorted, as fluxes hang on random numbers in blends, and with them the order.
        x, x_expected = np.sort(catalog["x_peak"]), np.sort(expected["x_peak"])
        np.testing.assert_allclose(x, x_expected, atol=1e-3)
    differ = ours.segmentation.any(axis=1) != seps.segmentation.any(axis=1)
    assert differ.mean() < 1e-3


@needs_source_extractor
def test_an_image_does_not_depend_on_the_others():
    images = random_scenes(6, seed=12)
    images[2] = 0
    together = SourceExtractorDeblender(50)(make_batch(images))
    for ii, image in enumerate(images):
        alone = SourceExtractorDeblender(50)(make_batch([image]))
        np.testing.assert_array_equal(alone.segmentation[0], together.segmentation[ii])
        for name in alone.catalog_list[0].colnames:
            np.testing.assert_array_equal(
                alone.catalog_list[0][name], together.catalog_list[ii][name]
            )


def test_source_without_pixels_of_its_own_has_finite_errors():
    """SExtractor lists now and then a source all of whose pixels it gave to others."""
    image = np.zeros((8, 8), np.float32)
    image[2:4, 2:4] = 100.0
    labels = (image > 0).astype(int)  # of the two sources only the first has pixels
    in_x, in_y = position_variances(image, labels, np.array([2.5, 6]), np.array([2.5, 6]), SIGMA)
    assert np.isfinite([in_x[0], in_y[0]]).all()
    assert np.isnan([in_x[1], in_y[1]]).all()
