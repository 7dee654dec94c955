import bz2
import gc
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from btk_punet.errors import InputError
from btk_punet.images.fits_images import read_fits
from tests.images.scenes import celestial_header, noise, write

ALL = slice(None), slice(None)


def values(path):
    return read_fits(path).pixels.read(*ALL)


TILED = ["u1", "i2", "u2", "i4", "u4", "f4", "f8"]  # what FITS can compress by tiles


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(fits.CompImageHDU, dtype) for dtype in TILED]
    + [(fits.ImageHDU, dtype) for dtype in [*TILED, "i8", "u8"]],
)
def test_values_are_those_that_were_written(kind, dtype, tmp_path):
    image = (100 + 5 * noise((60, 70))).astype(dtype)
    options = {"quantize_level": 0, "compression_type": "GZIP_1"} if "f" in dtype else {}
    hdu = kind(image, **(options if kind is fits.CompImageHDU else {}))
    np.testing.assert_array_equal(values(write(tmp_path, fits.PrimaryHDU(), hdu)), image)


@pytest.mark.parametrize("kind", [fits.ImageHDU, fits.CompImageHDU])
def test_blank_numbers_are_nan(kind, tmp_path):
    image = np.full((20, 20), 7, np.int16)
    image[3, 4] = -32768
    hdu = kind(image)
    hdu.header["BLANK"] = -32768
    found = values(write(tmp_path, fits.PrimaryHDU(), hdu))
    assert np.isnan(found[3, 4]) and np.isfinite(found).sum() == 399


@pytest.mark.parametrize(("name", "pack"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_packed_files_are_unpacked_into_a_file_that_goes_with_the_pixels(name, pack, tmp_path):
    image = noise()
    plain = Path(write(tmp_path, image))
    packed = tmp_path / f"image.fits.{name}"
    packed.write_bytes(pack.compress(plain.read_bytes()))
    read = read_fits(packed)
    np.testing.assert_array_equal(read.pixels.read(*ALL), image)
    unpacked = read.pixels.path
    assert unpacked != packed and unpacked.exists()
    del read
    gc.collect()
    assert not unpacked.exists()


def test_a_cut_off_file_leaves_no_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = tmp_path / "image.fits.gz"
    path.write_bytes(gzip.compress(b"SIMPLE and no more"))
    with pytest.raises(InputError, match="as FITS"):
        read_fits(path)
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("selector", "expected"),
    [("", 1), ("[SCI]", 1), ("[sci]", 1), ("[1]", 1), ("[0]", 0), ("[ERR]", 2), ("[ERR,1]", 2)],
)
def test_extensions(selector, expected, tmp_path):
    images = [noise(seed=k) for k in range(3)]
    path = write(
        tmp_path,
        images[0],
        fits.ImageHDU(images[1], name="SCI"),
        fits.ImageHDU(images[2], name="ERR"),
    )
    read = read_fits(path + selector)
    np.testing.assert_array_equal(read.pixels.read(*ALL), images[expected])
    assert f"[{['PRIMARY', 'SCI', 'ERR'][expected]}] was taken" in read.note


def test_a_file_whose_own_name_ends_in_brackets(tmp_path):
    image = noise()
    path = write(tmp_path, image, name="field[1]")
    np.testing.assert_array_equal(values(path), image)


def test_the_choice_of_several_images_is_asked_for(tmp_path):
    path = write(tmp_path, noise(), noise((3, 5)))
    with pytest.raises(InputError, match=r"\[0\] PRIMARY 64x64; \[1\] \(no name\) 3x5.*fits\[0\]'"):
        read_fits(path)


def test_the_primary_header_fills_up_the_extensions_own(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"EXPTIME": 565.0, "FILTER": "VIS"}))
    image = fits.ImageHDU(noise(), celestial_header(FILTER="F814W"), name="SCI")
    read = read_fits(write(tmp_path, primary, image))
    assert read.header["EXPTIME"] == 565.0 and read.header["FILTER"] == "F814W"
    assert read.wcs is not None and read.note == ""
