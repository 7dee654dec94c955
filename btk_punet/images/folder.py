"""The folder of a run of `detect`: whose it is, and its tables and maps as FITS files."""

from __future__ import annotations

import errno
import json
import mmap
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.errors import InputError, RunExistsError
from btk_punet.files import whole_file, write_file
from btk_punet.folder_lock import LOCK_FILE
from btk_punet.images.tiles import Box

RUN_FILE, CATALOG_FILE, LABELS_FILE = "run.json", "catalog.fits", "labels.fits"
PROBABILITY_FILE, CANDIDATES_FILE = "probability.fits", "candidates.fits"
PARQUET_FILE = "catalog.parquet"
REGIONS_FILE, OVERVIEW_FILE, PAGE_FILE = "regions.reg", "overview.png", "index.html"
PARTS, SAMPLES = "parts", "samples"
# What a run that is finished has; the rest is for eyes, and is drawn of these and the image.
DATA_FILES = (CATALOG_FILE, PARQUET_FILE, LABELS_FILE, PROBABILITY_FILE, CANDIDATES_FILE)
SHOWN_FILES = (REGIONS_FILE, OVERVIEW_FILE, PAGE_FILE)
# What of `about` decides on the result.
_DECISIVE = ("kind", "image", "shape", "region", "tiles", "choices", "versions")
# Bytes of a pixel: the maps as they are computed, and as they are written.
_BYTES_OF_PARTS, _BYTES_OF_FILES = 18, 16
# Largest value of each map, which 16 bits are spread over: steps of 0.00003.
_LARGEST = {"class_mean": 2.0}
_STEPS = 32767
_ROWS_AT_ONCE = 256

# What the columns of the catalog are, for their headers.
COLUMNS = {
    "id": "number of the source, as in labels.fits",
    "RA": "right ascension",
    "DEC": "declination",
    "RA_err": "half-width on the sky that holds 68%",
    "DEC_err": "half-width that holds 68%",
    "x_peak": "column of the centre, 0-based",
    "y_peak": "row of the centre, 0-based",
    "x_err": "half-width that holds 68%",
    "y_err": "half-width that holds 68%",
    "p_detect": "probability that a source is there",
    "p_blend": "probability that another source overlaps it",
    "flux": "total flux, neighbours taken off",
    "flux_err": "half-width that holds 68%",
    "flux_iso": "sum over the footprint",
    "half_light_radius": "before the PSF, circularised",
    "e1": "ellipticity along the axes, (a-b)/(a+b)",
    "e2": "ellipticity along the diagonals",
    "n_pixels": "pixels of the footprint",
    "blend_id": "shared by sources that hang together",
    "flags": "bits of btk_punet.DetectionFlag",
    "x": "column of the centre, 0-based",
    "y": "row of the centre, 0-based",
    "row": "row of the pixel, 0-based",
    "column": "column of the pixel, 0-based",
    "samples": "share of the source in each of the network's samples",
}
_MAGNITUDES = {
    "mag_err_": "half-width that holds 68%",
    "mag_": "AB magnitude of the total flux",
}


def describe_columns(table: Table) -> None:
    """Write into a table what its columns are."""
    for name in table.colnames:
        words = COLUMNS.get(name)
        for start, of_magnitude in _MAGNITUDES.items():
            if words is None and name.startswith(start):
                words = of_magnitude
        table[name].info.description = words


def check_room(parts: Path, n_pixels: int, only_parts: bool = False) -> None:
    """Raise OSError where the results do not fit on the disk.

    Args:
        parts: Folder for the maps as they are computed, in a folder that there is.
        n_pixels: Number of pixels of the maps.
        only_parts: Whether no files of results are to be written.
    """
    # Files of maps have gaps until they are written: what they take on the disk counts.
    taken = sum(path.stat().st_blocks * 512 for path in parts.glob("*"))
    needed = (_BYTES_OF_PARTS + (0 if only_parts else _BYTES_OF_FILES)) * n_pixels - taken
    folder = parts.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"The results need about {needed / 1e6:,.1f} MB while they are made, and there are "
            f"{free / 1e6:,.1f} MB free",
            str(folder),
        )


def check_folder(folder: Path, about: Mapping[str, Any], overwrite: bool) -> bool:
    """Tell whether a folder holds the run that is wanted, finished or not.

    Args:
        folder: The folder.
        about: What decides on the result.
        overwrite: Whether another run may be thrown away, and this one is to begin anew.

    Raises:
        RunExistsError: if it holds another run, or files that are not of a run.
    """
    before = read_about(folder)
    if before is None:
        if folder.exists() and any(path.name != LOCK_FILE for path in folder.iterdir()):
            raise RunExistsError(
                f"'{folder}' exists and holds no run of btk-punet detect. Choose another output "
                "folder."
            )
        return False
    differences = [
        name for name in _DECISIVE if before.get(name) != json.loads(json.dumps(about.get(name)))
    ]
    if differences and not overwrite:
        raise RunExistsError(
            f"'{folder}' holds another run (of {', '.join(differences)} that differ). Choose "
            "another output folder, or overwrite=True (--overwrite) to throw that run away."
        )
    return not overwrite


def open_folder(folder: Path, about: Mapping[str, Any], overwrite: bool) -> bool:
    """Begin a run in its folder, which is locked, or resume the same one; tell if it is finished.

    Args and errors are those of `check_folder`.
    """
    if check_folder(folder, about, overwrite):
        status = (read_about(folder) or {}).get("status")
        return status == "finished" and all((folder / name).is_file() for name in DATA_FILES)
    # Nothing of another run may be taken for this one's.
    for name in (PARTS, SAMPLES):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
    for name in (*DATA_FILES, *SHOWN_FILES):
        (folder / name).unlink(missing_ok=True)
    write_about(folder, about, "running")
    return False


def read_about(folder: Path) -> dict[str, Any] | None:
    """Return what is known of the run in a folder; None if there is none."""
    try:
        about = json.loads((folder / RUN_FILE).read_text())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.get("kind") == "detect" else None


def write_about(folder: Path, about: Mapping[str, Any], status: str) -> None:
    """Write ``run.json``."""
    content = json.dumps({**about, "status": status}, indent=2) + "\n"
    write_file(folder / RUN_FILE, content.encode())


def write_table(table: QTable | Table, path: Path, name: str) -> None:
    """Write a table as a FITS file, units and what its columns are in the header.

    FITS has no unit of electrons: their column's is ``ct``.
    """
    hdu = table_hdu(table, name)
    content = fits.HDUList([fits.PrimaryHDU(), hdu])
    with whole_file(path) as part:
        content.writeto(part, overwrite=True)


def table_hdu(table: QTable | Table, name: str) -> fits.BinTableHDU:
    """Return a table as an extension of a FITS file."""
    plain = Table(table, copy=True)
    describe_columns(plain)
    units = {}
    for column in plain.colnames:
        unit = plain[column].unit
        if unit is not None:
            units[column] = "ct" if unit == u.electron else _fits_unit(unit)
            plain[column].unit = None
    hdu = fits.table_to_hdu(plain)
    hdu.name = name
    for number, column in enumerate(plain.colnames, start=1):
        if units.get(column):
            hdu.header[f"TUNIT{number}"] = units[column]
        if plain[column].description:
            hdu.header[f"TCOMM{number}"] = plain[column].description
    return hdu


def _fits_unit(unit: u.UnitBase) -> str:
    if unit == u.ABmag:
        return "mag"
    try:
        return unit.to_string("fits")
    except ValueError:
        return str(unit)


def read_table(path: Path, name: str) -> QTable:
    """Return a table that `write_table` wrote."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)  # a unit of the image that FITS lacks
            table = QTable.read(path, format="fits", hdu=name, mask_invalid=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"'{path}' is not a table of btk-punet detect ({type(error).__name__}: {error}). "
            "Run detect again."
        ) from error
    for column in table.colnames:
        if table[column].unit == u.ct:
            table[column] = table[column].value * u.electron
        elif column.startswith("mag_") and not column.startswith("mag_err_"):
            table[column] = table[column].value * u.ABmag
    table.meta.clear()
    describe_columns(table)
    return table


def write_images(
    path: Path,
    images: list[tuple[fits.Header, np.ndarray]],
    tables: Sequence[fits.BinTableHDU] = (),
) -> None:
    """Write images of integers as a FITS file, some rows at a time.

    Args:
        path: The file.
        images: Headers, to which sizes and type are added, and maps; those of floats become
            integers of 16 bits by the header's BSCALE. The first is the primary one, unless it
            has a name.
        tables: Extensions that follow.
    """
    with whole_file(path) as part:
        with part.open("wb") as file:
            if "EXTNAME" in images[0][0]:
                file.write(fits.PrimaryHDU().header.tostring().encode())
            for number, (header, values) in enumerate(images):
                primary = number == 0 and "EXTNAME" not in header
                file.write(_image_header(header, values, primary).tostring().encode())
                _write_values(file, values, header.get("BSCALE"))
                _forget(values)
        if tables:
            with fits.open(part, mode="append") as content:
                content.extend(tables)


def _write_values(file: BinaryIO, values: np.ndarray, step: float | None) -> None:
    """Write the pixels of an image, of 16 bits if there is a step, and fill up the block."""
    n_bytes = 0
    for first in range(0, len(values), _ROWS_AT_ONCE):
        block = np.asarray(values[first : first + _ROWS_AT_ONCE])
        if step is not None:
            block = np.rint(block.astype(np.float32) / np.float32(step)).astype(">i2")
        else:
            block = block.astype(block.dtype.newbyteorder(">"))
        file.write(block.tobytes())
        n_bytes += block.nbytes
    file.write(b"\0" * (-n_bytes % 2880))


def _forget(values: np.ndarray) -> None:
    """Let the system take back the memory of a map that lies on the disk."""
    mapped = getattr(values, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _image_header(header: fits.Header, values: np.ndarray, primary: bool) -> fits.Header:
    bitpix = 16 if "BSCALE" in header else 8 * values.dtype.itemsize
    height, width = values.shape
    cards = [
        ("SIMPLE", True) if primary else ("XTENSION", "IMAGE   "),
        ("BITPIX", bitpix),
        ("NAXIS", 2),
        ("NAXIS1", width),
        ("NAXIS2", height),
    ]
    cards += [("EXTEND", True)] if primary else [("PCOUNT", 0), ("GCOUNT", 1)]
    return fits.Header([*cards, *header.cards])


def map_header(wcs: WCS | None, region: Box, name: str = "") -> fits.Header:
    """Return the header of a map of a region: its world coordinates, and where it was cut out.

    ``LTV1`` and ``LTV2`` are what to add to pixels of the whole image for those of the map.
    """
    header = fits.Header()
    if wcs is not None:
        header.extend(wcs.slice(region).to_header(relax=True))
    rows, columns = region
    header["LTV1"] = (-columns.start, "minus the first column")
    header["LTV2"] = (-rows.start, "minus the first row")
    if name:
        header["EXTNAME"] = name.upper()
        header["BSCALE"] = _LARGEST.get(name, 1.0) / _STEPS
        header["BZERO"] = 0.0
    return header


class FitsMaps(Mapping[str, np.ndarray]):
    """The maps in a file, each read when it is first asked for."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path, self._names = path, names
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a map, float32."""
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = fits.getdata(self._path, name.upper())
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
