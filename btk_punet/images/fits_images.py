"""The image that a path means: ``field.fits``, ``field.fits[SCI]``, ``field.fits.fz[1]``.

Uncompressed images are read where they lie. Compressed ones (``.fits.gz``, ``.bz2``, ``.xz``, and
tile compression, ``.fits.fz``) are unpacked once into a temporary file.
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import lzma
import re
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from btk_punet.errors import InputError
from btk_punet.images.pixels import FilePixels, strips
from btk_punet.images.world import header_wcs

_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
# No image can be compressed further than this; a header that says so would fill the disk.
_MOST_PIXELS_PER_BYTE = 10_000
# Names of the extension with the image itself, first come first served.
_MAIN_NAMES = ("SCI", "IMAGE")
_SELECTOR = re.compile(r"^(?P<path>.+)\[(?P<name>[^\[\],]+)(,\s*(?P<version>\d+))?\]$", re.DOTALL)


class _TemporaryFile:
    """A file that is removed when nothing needs it any more."""

    def __init__(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="btk_punet_", suffix=".pixels", delete=False) as f:
            self.path = Path(f.name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)


@dataclasses.dataclass(frozen=True)
class FitsImage:
    """An image in a FITS file.

    Attributes:
        pixels: Its values.
        header: Its keywords, and those of the primary header that it does not have itself.
        wcs: Its celestial world coordinates, or None.
        why_no_wcs: Why there are none; empty if there are.
        note: What else is in the file, in a sentence; empty if there is nothing.
    """

    pixels: FilePixels
    header: Mapping[str, Any]
    wcs: WCS | None
    why_no_wcs: str
    note: str


def read_fits(text: str | Path, name: str = "image") -> FitsImage:
    """Return the image that a path means.

    Without ``[NAME]``, ``[NAME,VERSION]`` or ``[NUMBER]`` at its end this is the only image of the
    file with two axes; of several, that named SCI, else IMAGE.

    Args:
        text: The path.
        name: What it is, as the errors say it: "image", "rms", ...

    Raises:
        InputError: if there is no such file or image, or if it cannot be read.
    """
    try:
        path, extension = _split(str(text))
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{name} cannot be read: {error}.") from error
    if is_folder:
        raise InputError(
            f"{name} must be a FITS file, and '{path}' is a folder. Name a file in it."
        )
    if not is_there:
        raise InputError(f"There is no file '{path}' to take as {name}. Check the path.")
    owner = None
    try:
        with path.open("rb") as file:
            start = file.read(6)
        opener = next((o for magic, o in _PACKED.items() if start.startswith(magic)), None)
        where = path.absolute()  # other processes may have another working directory
        if opener is not None:
            owner = _TemporaryFile()
            where = owner.path
            with opener(path, "rb") as packed, where.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 2**20)
            with where.open("rb") as file:
                start = file.read(6)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"'{path}' cannot be read: {error}. Is the file whole?") from error
    if start != b"SIMPLE":
        raise InputError(
            f"{name} must be a FITS file, and '{path}' is none: it begins with {start!r} and not "
            "with SIMPLE."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # what matters is checked below
            with fits.open(where, memmap=True, lazy_load_hdus=True) as hdus:
                _load(hdus)
                index = _choose(hdus, extension, path, name)
                header = {**hdus[0].header, **hdus[index].header}
                wcs, why_not = header_wcs(hdus[index].header, hdus)
                note = _others(hdus, index, path)
                pixels = _pixels(hdus[index], where, owner, path)
    except InputError:
        raise
    except Exception as error:  # astropy has no error of its own for what a broken file brings
        raise InputError(
            f"'{path}' cannot be read as FITS ({type(error).__name__}: {error}). Is the file whole?"
        ) from error
    return FitsImage(pixels, header, wcs, why_not, note)


def _split(text: str) -> tuple[Path, str | tuple[str, int] | int | None]:
    """Return the path and the extension asked for."""
    found = _SELECTOR.match(text)
    if found is None or Path(text).exists():
        return Path(text), None
    name, version = found["name"].strip(), found["version"]
    if version is not None:
        return Path(found["path"]), (name, int(version))
    return Path(found["path"]), int(name) if name.isdecimal() else name


def _load(hdus: fits.HDUList) -> None:
    """Have all extensions read, one after another.

    Raises:
        InputError: if one lies before the one before it, where astropy would read for ever.
    """
    last = -1
    for hdu in hdus:
        place = int(hdu.fileinfo()["hdrLoc"])
        if place <= last:
            raise InputError(
                "A header of the FITS file says a negative size. Is the file whole? Try another "
                "copy of it."
            )
        last = place


def _size(hdu: Any) -> tuple[int, ...] | None:
    """Return the shape of an image without leading axes of length 1; None if it is no image."""
    if not getattr(hdu, "is_image", False) and not isinstance(hdu, fits.CompImageHDU):
        return None
    size = tuple(hdu.shape)
    while len(size) > 2 and size[0] == 1:
        size = size[1:]
    return size or None


def _listed(hdus: fits.HDUList) -> str:
    words = [
        f"[{i}] {hdu.name or '(no name)'} {'x'.join(map(str, size)) if size else 'no image'}"
        for i, hdu in enumerate(hdus)
        for size in [_size(hdu)]
    ]
    return "; ".join(words)


def _choose(
    hdus: fits.HDUList, extension: str | tuple[str, int] | int | None, path: Path, name: str
) -> int:
    """Return the index of the extension with the image."""
    if extension is not None:
        try:
            index = hdus.index_of(extension)
            hdus[index]
        except (KeyError, IndexError) as error:
            raise InputError(
                f"'{path}' has no extension {extension!r}. It holds {_listed(hdus)}."
            ) from error
        size = _size(hdus[index])
        if size is None or len(size) != 2:
            raise InputError(
                f"{name} must have two axes, and extension {extension!r} of '{path}' is no such "
                f"image. The file holds {_listed(hdus)}."
            )
        return index
    flat = [i for i, hdu in enumerate(hdus) if len(_size(hdu) or ()) == 2]
    if not flat:
        raise InputError(
            f"{name} must be an image with two axes, and '{path}' has none. It holds "
            f"{_listed(hdus)}."
        )
    for main in _MAIN_NAMES:
        named = [i for i in flat if hdus[i].name.upper() == main]
        if len(flat) > 1 and len(named) == 1:
            return named[0]
    if len(flat) > 1:
        raise InputError(
            f"'{path}' holds several images: {_listed(hdus)}. Say which to take as {name}, for "
            f"instance '{path}[{flat[0]}]'."
        )
    return flat[0]


def _others(hdus: fits.HDUList, index: int, path: Path) -> str:
    """Return a sentence about the other images of a file."""
    others = [
        f"[{hdu.name or i}]" for i, hdu in enumerate(hdus) if i != index and len(_size(hdu) or ())
    ]
    if not others:
        return ""
    chosen = hdus[index].name or index
    return (
        f"Of '{path.name}' the extension [{chosen}] was taken; {', '.join(others)} were not used: "
        "give them as rms, weight or mask if they are that."
    )


def _pixels(hdu: Any, where: Path, owner: _TemporaryFile | None, path: Path) -> FilePixels:
    """Return the pixels of an extension of an open file."""
    height, width = _size(hdu) or ()
    if min(height, width) < 1:
        raise InputError(f"'{path}' holds an image without pixels ({height} x {width}).")
    if isinstance(hdu, fits.CompImageHDU):
        held = path.stat().st_size
        if height * width > _MOST_PIXELS_PER_BYTE * held:
            raise InputError(
                f"The header of '{path}' promises {height} x {width} pixels, and the file has "
                f"{held} bytes. Is its header right?"
            )
        return _unpacked(hdu, (height, width), path)
    header = hdu.header
    bitpix = int(header["BITPIX"])
    dtype = np.dtype({8: "u1"}.get(bitpix, f">{'f' if bitpix < 0 else 'i'}{abs(bitpix) // 8}"))
    offset = int(hdu.fileinfo()["datLoc"])
    needed, held = offset + height * width * dtype.itemsize, where.stat().st_size
    if held < needed:
        raise InputError(
            f"'{path}' is truncated: its header promises {height} x {width} pixels, which end at "
            f"byte {needed}, and it has {held}. Copy it again."
        )
    blank = header.get("BLANK") if bitpix > 0 else None
    return FilePixels(
        where,
        offset,
        (height, width),
        dtype,
        float(header.get("BSCALE", 1)),
        float(header.get("BZERO", 0)),
        None if blank is None else int(blank),
        owner,
    )


def _unpacked(hdu: fits.CompImageHDU, size: tuple[int, int], path: Path) -> FilePixels:
    """Return the pixels of a tile-compressed image, unpacked strip by strip."""
    owner = _TemporaryFile()
    # Single precision holds what these files do, but not large whole numbers.
    dtype = np.dtype("f4" if hdu.header["BITPIX"] in (8, 16, -32) else "f8")
    with owner.path.open("wb") as file:
        for rows in strips(size):
            part = np.asarray(hdu.section[(0,) * (len(hdu.shape) - 2) + (rows,)], dtype)
            file.write(part.tobytes())
    return FilePixels(owner.path, 0, size, dtype, owner=owner)
