"""The table of bad input: every kind works, with flags and notes, or gives one clear error.

A row names the kind, makes what is passed, and says what comes of it. Others add their rows to
`ROWS`, with a `call` of their own where it is not `open_image` that is asked.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.table import Table
from astropy.wcs import WCS
from btk.blend_batch import BlendBatch

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.errors import BtkPunetError, BtkPunetWarning, InputError, InputTypeError
from btk_punet.images.sky_image import open_image
from btk_punet.simulation.images import image_batch
from btk_punet.simulation.survey import get_euclid_survey
from tests.images.scenes import celestial_header, noise, with_value, write


def opened(**arguments: Any) -> tuple[str, ...]:
    """Open an image, read all of it, check what holds of every tile, and return the notes."""
    image = open_image(**arguments)
    tile = image.tile(slice(0, image.shape[0]), slice(0, image.shape[1]))
    for array in (tile.electrons, tile.variance):
        assert array.dtype == np.float32 and array.shape == image.shape
        assert np.isfinite(array).all()
    assert (tile.variance > 0).all()
    assert tile.usable.any()
    assert (tile.electrons[~tile.usable] == 0).all()
    bad = (tile.flags & int(DetectionFlag.BAD_PIXEL)) != 0
    np.testing.assert_array_equal(bad, ~tile.usable)
    n_bad = int(bad.sum())
    return (*image.notes, f"{n_bad} bad")


@dataclasses.dataclass(frozen=True)
class Row:
    """A kind of bad input.

    Attributes:
        kind: What is wrong, in words.
        given: Makes the arguments, in a folder for files.
        outcome: The error or warning that comes; None if it simply works.
        says: What the message says, or, if it works, one of the notes; a regular expression.
        call: What is called with the arguments; returns notes.
    """

    kind: str
    given: Callable[[Path], dict[str, Any]]
    outcome: type[BtkPunetError | BtkPunetWarning] | None
    says: str
    call: Callable[..., tuple[str, ...]] = opened


def image(make: Callable[[], Any], **more: Any) -> Callable[[Path], dict[str, Any]]:
    """Return what makes an image, and other arguments beside it."""
    return lambda folder: {"image": make(), **more}


def noisy(**arguments: Any) -> Callable[[Path], dict[str, Any]]:
    """Return what makes a good image, and other arguments beside it."""
    return image(noise, **arguments)


def file(make: Callable[[Path], Any], **more: Any) -> Callable[[Path], dict[str, Any]]:
    """Return what makes a file, or the path of one, and other arguments beside it."""
    return lambda folder: {"image": make(folder), **more}


def _truncated(folder: Path) -> Path:
    path = Path(write(folder, noise((200, 200))))
    path.write_bytes(path.read_bytes()[:20_000])
    return path


def _truncated_gzip(folder: Path) -> Path:
    path = folder / "image.fits.gz"
    path.write_bytes(gzip.compress(Path(write(folder, noise())).read_bytes())[:5_000])
    return path


def _broken_header(folder: Path) -> Path:
    path = Path(write(folder, noise()))
    path.write_bytes(
        path.read_bytes().replace(b"BITPIX  =                  -64", b"BITPIX  = 7" + b" " * 19)
    )
    return path


def _negative_size(folder: Path) -> Path:
    path = Path(write(folder, fits.PrimaryHDU(), fits.CompImageHDU(noise().astype("f4"))))
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"GCOUNT  =                    1", b"GCOUNT  = " + b"-1".rjust(20))
    )
    return path


def _unclosed_quote(folder: Path) -> Path:
    path = Path(_header_file(folder, A_ORDER=2, B3ORDER=2, A_2_0=1e-06))
    content = path.read_bytes().replace(b"'DEC--TAN'  ", b"'DEC--TAN'' ")
    path.write_bytes(content.replace(b"CRPIX2  =  ", b"CRPIX2  = -"))
    return path


def _too_many_pixels(folder: Path) -> Path:
    path = Path(write(folder, fits.PrimaryHDU(), fits.CompImageHDU(noise().astype("f4"))))
    wrong = b"ZNAXIS2 = " + b"900000000".rjust(20)
    path.write_bytes(path.read_bytes().replace(b"ZNAXIS2 = " + b"64".rjust(20), wrong))
    return path


def _other(folder: Path, content: bytes, name: str = "image.fits") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _header_file(folder: Path, **cards: Any) -> str:
    return write(folder, fits.PrimaryHDU(noise(), celestial_header(**cards)))


def _batch(n_images: int) -> BlendBatch:
    return image_batch(np.stack([noise(sigma=26.4)[None]] * n_images), get_euclid_survey())


def _read_only() -> np.ndarray:
    values = noise()
    values.flags.writeable = False
    return values


def _coarse() -> np.ndarray:
    return np.round(noise(sigma=0.3))


def _dead_column() -> np.ndarray:
    values = noise((100, 100))
    values[10:90, 40] = 7.0
    return values


def _zero_border() -> np.ndarray:
    values = noise((100, 100))
    values[:20] = 0.0
    return values


def _swapped_wcs() -> WCS:
    header = celestial_header()
    for key in ("CTYPE", "CRVAL"):
        header[f"{key}1"], header[f"{key}2"] = header[f"{key}2"], header[f"{key}1"]
    return WCS(header)


def _nan_wcs() -> WCS:
    wcs = WCS(celestial_header())
    wcs.wcs.cd = [[np.nan, 0.0], [0.0, 1e-5]]
    return wcs


def _sized_wcs(n_columns: int, n_rows: int) -> WCS:
    wcs = WCS(celestial_header())
    wcs.pixel_shape = (n_columns, n_rows)
    return wcs


NO_PIXEL = "no usable pixel"
ROWS = [
    # Values.
    Row("one NaN", image(lambda: with_value(np.nan, 3, 4)), None, "^1 bad"),
    Row("infinite", image(lambda: with_value(-np.inf, 3, 4)), None, "^1 bad"),
    Row("one of 1e30", image(lambda: with_value(1e30, 3, 4)), None, "^1 bad"),
    Row("beyond single precision", image(lambda: with_value(1e300, 3, 4)), None, "^1 bad"),
    Row("all NaN", image(lambda: np.full((64, 64), np.nan)), InputError, "are not finite"),
    Row("all of 1e30", image(lambda: noise(sigma=1e30)), InputError, r"beyond 1e\+25"),
    Row("zeros", image(lambda: np.zeros((64, 64))), InputError, r"the same value \(0\)"),
    Row("zeros with rms", image(lambda: np.zeros((64, 64)), rms=1.0), InputError, NO_PIXEL),
    Row("constant", image(lambda: np.full((64, 64), 5.0)), InputError, r"the same value \(5\)"),
    Row("negative", image(lambda: noise() - 1e4), None, "^0 bad"),
    Row("tiny numbers", image(lambda: noise(sigma=1e-20)), None, "median 9.* a pixel"),
    Row("coarse steps", image(_coarse), None, "^0 bad"),
    Row("dead column", image(_dead_column), None, "^80 bad"),
    Row("border of zeros", image(_zero_border), None, "^2000 bad"),
    # Types and memory.
    Row("integers", image(lambda: (100 * noise()).astype(np.int16)), None, "^0 bad"),
    Row("unsigned", image(lambda: (100 + 9 * noise()).astype(np.uint8)), None, "^0 bad"),
    Row("big-endian", image(lambda: noise().astype(">f4")), None, "^0 bad"),
    Row("half precision", image(lambda: noise().astype(np.float16)), None, "^0 bad"),
    Row("long double", image(lambda: noise().astype(np.longdouble)), None, "^0 bad"),
    Row("Fortran order", image(lambda: np.asfortranarray(noise())), None, "^0 bad"),
    Row("transposed view", image(lambda: noise((40, 90)).T), None, "^0 bad"),
    Row("every second pixel", image(lambda: noise((128, 128))[::2, ::-2]), None, "^0 bad"),
    Row("read-only", image(_read_only), None, "^0 bad"),
    Row(
        "one row repeated",
        image(lambda: np.broadcast_to(noise((1, 64)), (64, 64))),
        InputError,
        NO_PIXEL,
    ),
    Row("nested lists", image(lambda: noise().tolist()), None, "^0 bad"),
    Row("ragged lists", image(lambda: [[1.0, 2.0], [3.0]]), InputTypeError, "NumPy makes none"),
    Row("booleans", image(lambda: noise() > 0), InputTypeError, "mask is given as mask="),
    Row("complex", image(lambda: noise() + 1j), InputTypeError, "real part"),
    Row("text in an array", image(lambda: noise().astype(str)), InputTypeError, "real numbers"),
    Row("objects", image(lambda: noise().astype(object)), InputTypeError, "real numbers"),
    Row("None", image(lambda: None), InputTypeError, "got NoneType"),
    Row("a number", image(lambda: 3.0), InputError, r"shape \(H, W\), got \(\)"),
    Row("a dict", image(lambda: {"image": noise()}), InputTypeError, "got dict"),
    Row("bytes", image(lambda: b"image.fits"), InputTypeError, "got bytes"),
    Row("a table", image(lambda: Table({"flux": [1.0]})), InputTypeError, "real numbers"),
    Row("an HDU list", image(lambda: fits.HDUList()), InputTypeError, "one of its images"),
    Row("an HDU without data", image(fits.PrimaryHDU), InputError, "holds no image"),
    Row("magnitudes", image(lambda: noise() * u.mag), InputError, "linear in the light"),
    # Shapes.
    Row("one axis", image(lambda: noise((64,))), InputError, r"shape \(H, W\), got \(64,\)"),
    Row("three axes", image(lambda: noise((1, 64, 64))), InputError, r"such as image\[0\]"),
    Row("no pixel", image(lambda: noise((0, 64))), InputError, "at least one pixel"),
    Row("one row", image(lambda: noise((1, 700))), None, "^0 bad"),
    Row("one column", image(lambda: noise((700, 1))), None, "^0 bad"),
    Row("3 x 3", image(lambda: noise((3, 3))), InputError, "9 usable pixels, and at least 256"),
    Row("3 x 3 with rms", image(lambda: noise((3, 3)), rms=1.0), None, "too small"),
    # Containers.
    Row(
        "masked array",
        image(lambda: np.ma.masked_less(with_value(-9e9, 3, 4), -1e9)),
        None,
        "^1 bad",
    ),
    Row(
        "uncertainty of another shape",
        image(lambda: NDData(noise(), uncertainty=StdDevUncertainty(np.ones((3, 3))))),
        InputError,
        "uncertainty must have the image's shape",
    ),
    Row(
        "zero uncertainty",
        image(lambda: NDData(noise(), uncertainty=StdDevUncertainty(np.zeros((64, 64))))),
        InputError,
        NO_PIXEL,
    ),
    Row(
        "CCDData all masked",
        image(lambda: CCDData(noise(), unit="adu", mask=np.ones((64, 64), bool))),
        InputError,
        NO_PIXEL,
    ),
    Row("two images", image(lambda: _batch(2)), InputError, "BlendBatch of 2 images and 1 bands"),
    # Files.
    Row("missing file", file(lambda f: f / "none.fits"), InputError, "no file '.*none.fits'"),
    Row(
        "missing extension",
        file(lambda f: write(f, noise()) + "[SCI]"),
        InputError,
        "no extension 'SCI'",
    ),
    Row(
        "extension out of range",
        file(lambda f: write(f, noise()) + "[7]"),
        InputError,
        "no extension 7",
    ),
    Row("folder", file(lambda f: f), InputError, "is a folder"),
    Row("empty path", file(lambda f: ""), InputError, "is a folder"),
    Row("path too long", file(lambda f: "x" * 5000), InputError, "too long"),
    Row("text file", file(lambda f: _other(f, b"x y\n1 2\n")), InputError, "begins with b'x y"),
    Row("empty file", file(lambda f: _other(f, b"")), InputError, "begins with b''"),
    Row("gzip of a text", file(lambda f: _other(f, gzip.compress(b"text"))), InputError, "is none"),
    Row("truncated", file(_truncated), InputError, "truncated: its header promises 200 x 200"),
    Row("truncated gzip", file(_truncated_gzip), InputError, "Is the file whole"),
    Row("broken header", file(_broken_header), InputError, "cannot be read as FITS"),
    Row("negative size", file(_negative_size), InputError, "says a negative size"),
    Row("more pixels than fit", file(_too_many_pixels), InputError, "promises 900000000 x 64"),
    Row("header alone", file(lambda f: _other(f, b"SIMPLE  =   ")), InputError, "as FITS"),
    Row("no image", file(lambda f: write(f, fits.PrimaryHDU())), InputError, "has none"),
    Row("cube", file(lambda f: write(f, noise((3, 64, 64)))), InputError, "3x64x64"),
    Row("cube of one plane", file(lambda f: write(f, noise((1, 64, 64)))), None, "^0 bad"),
    Row("several images", file(lambda f: write(f, noise(), noise())), InputError, "several images"),
    Row(
        "table",
        file(lambda f: write(f, fits.PrimaryHDU(), fits.table_to_hdu(Table({"a": [1]}))) + "[1]"),
        InputError,
        "no such image",
    ),
    # World coordinates.
    Row(
        "WCS not celestial",
        file(lambda f: _header_file(f, CTYPE1="LINEAR", CTYPE2="LINEAR")),
        None,
        "no celestial axes",
    ),
    Row(
        "singular WCS",
        file(lambda f: _header_file(f, CD1_1=0.0)),
        None,
        "not near square|would be of",
    ),
    Row(
        "unknown projection",
        file(lambda f: _header_file(f, CTYPE1="RA---XXX", CTYPE2="DEC--XXX")),
        None,
        "no world coordinates",
    ),
    Row("quote that is not closed", file(_unclosed_quote), None, "no world coordinates"),
    Row("WCS of another type", noisy(wcs="image.wcs"), InputTypeError, "astropy.wcs.WCS"),
    Row("empty WCS", noisy(wcs=WCS(naxis=2)), InputError, "no celestial axes"),
    Row("declination first", noisy(wcs=_swapped_wcs()), InputError, "first axis is not the long"),
    Row("NaN in the CD matrix", noisy(wcs=_nan_wcs()), InputError, "would be of"),
    Row(
        "WCS of another image", noisy(wcs=_sized_wcs(64, 32)), InputError, "64 columns and 32 rows"
    ),
    Row(
        "another pixel size than the WCS",
        noisy(wcs=WCS(celestial_header()), pixel_scale_arcsec=0.2),
        InputError,
        "the WCS says 0.1 ",
    ),
    Row("pixel size 0", noisy(pixel_scale_arcsec=0.0), InputError, "above 0"),
    Row("pixel size in seconds", noisy(pixel_scale_arcsec=0.1 * u.s), InputError, "in arcsec"),
    # Noise and masks.
    Row("rms 0", noisy(rms=0.0), InputError, "rms must be above 0, got 0"),
    Row("rms negative", noisy(rms=-1), InputError, "rms must be above 0, got -1"),
    Row("rms NaN", noisy(rms=np.nan), InputError, "rms must be finite"),
    Row("rms text", noisy(rms="one"), InputError, "no file 'one' to take as rms"),
    Row("rms True", noisy(rms=True), InputTypeError, "rms must be a number"),
    Row("rms of another shape", noisy(rms=np.ones((64, 63))), InputError, r"shape \(64, 64\), got"),
    Row(
        "rms transposed",
        image(lambda: noise((40, 90)), rms=np.ones((90, 40))),
        InputError,
        "transposed",
    ),
    Row("rms 0 at a pixel", noisy(rms=np.where(np.eye(64) > 0, 0.0, 1.0)), None, "^64 bad"),
    Row("rms 0 everywhere", noisy(rms=np.zeros((64, 64))), InputError, NO_PIXEL),
    Row("rms with a unit", noisy(rms=np.ones((64, 64)) * u.adu), InputTypeError, "plain numbers"),
    Row("rms far off", noisy(rms=20.0), BtkPunetWarning, "0.049.* times the one"),
    Row(
        "relative weight", noisy(weight=np.full((64, 64), 1000.0)), BtkPunetWarning, "exposure time"
    ),
    Row("rms and weight", noisy(rms=1.0, weight=1.0), InputError, "not both"),
    Row("weight all 0", noisy(weight=np.zeros((64, 64))), InputError, NO_PIXEL),
    Row("weight negative", noisy(weight=-np.ones((64, 64))), InputError, NO_PIXEL),
    Row(
        "mask of another shape",
        noisy(mask=np.zeros((3, 3))),
        InputError,
        "mask must have the image",
    ),
    Row("mask of everything", noisy(mask=np.ones((64, 64), bool)), InputError, NO_PIXEL),
    Row("mask of NaN", noisy(mask=np.full((64, 64), np.nan)), InputError, NO_PIXEL),
    Row("mask a missing file", noisy(mask="none.fits"), InputError, "to take as mask"),
    Row("background of another shape", noisy(background=np.zeros(3)), InputError, r"\(3,\)"),
    Row("background True", noisy(background=True), InputTypeError, "'estimate', None"),
    Row("background a word", noisy(background="median"), InputError, "to take as background"),
    # Units and levels.
    Row("gain 0", noisy(gain=0.0), InputError, "gain must be above 0"),
    Row("gain NaN", noisy(gain=np.nan), InputError, "gain must be finite"),
    Row("gain text", noisy(gain="2"), InputTypeError, "gain must be a number"),
    Row("gain of a header 0", file(lambda f: _header_file(f, GAIN=0.0)), None, "photon noise"),
    Row("gain beyond reason", noisy(gain=1e30), InputError, "which no image has"),
    Row("zero point infinite", noisy(zeropoint=np.inf), InputError, "zeropoint must be finite"),
    Row(
        "zero points that differ",
        file(lambda f: _header_file(f, MAGZERO=25.0, BUNIT="nJy")),
        None,
        "But by the unit nJy it is 31.4",
    ),
    Row("saturation below the sky", noisy(saturate=-3.0), InputError, "above the light"),
    Row(
        "saturation of a header below the sky",
        file(lambda f: _header_file(f, SATURATE=1e-9)),
        BtkPunetWarning,
        "it was not used",
    ),
    Row(
        "saturation as a list", noisy(saturate=[1, 2]), InputTypeError, "saturate must be a number"
    ),
    Row("cosmic rays a word", noisy(cosmic_rays="yes"), InputTypeError, "True or False"),
    # The PSF.
    Row("PSF 0", noisy(psf=0.0), InputError, "above 0 arcsec"),
    Row("PSF NaN", noisy(psf=np.nan), InputError, "psf must be finite"),
    Row("PSF a list", noisy(psf=[0.16]), InputTypeError, "psf must be a FWHM"),
    Row(
        "PSF without light",
        noisy(psf=galsim.Gaussian(sigma=1, flux=0)),
        InputError,
        "positive flux",
    ),
    Row("PSF of zeros", noisy(psf=np.zeros((9, 9))), InputError, "its sum is 0"),
    Row(
        "PSF with NaN",
        noisy(psf=with_value(np.nan, 2, 2, shape=(9, 9))),
        InputError,
        "finite every",
    ),
    Row("PSF of one pixel", noisy(psf=np.ones((1, 1))), InputError, "3 to 1024 pixels"),
    Row("PSF with its peak at the border", noisy(psf=np.eye(9)), InputError, "peak inside"),
    Row("PSF a missing file", noisy(psf="psf.fits"), InputError, "to take as psf"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind.replace(" ", "-"))
def test_bad_input(row, tmp_path):
    arguments = row.given(tmp_path)
    if row.outcome is None:
        notes = row.call(**arguments)
    elif issubclass(row.outcome, Warning):
        with pytest.warns(row.outcome, match=row.says):
            notes = row.call(**arguments)
    else:
        with pytest.raises(row.outcome, match=row.says):
            row.call(**arguments)
        return
    assert any(re.search(row.says, note) for note in notes), notes


def test_kinds_are_named_once():
    kinds = [row.kind for row in ROWS]
    assert len(set(kinds)) == len(kinds) >= 80
