"""The folder of a run of `detect`: whose it is, and its tables and maps as FITS files."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.errors import InputError, RunExistsError
from btk_punet.files import write_file
from btk_punet.images.tiles import Box

RUN_FILE, CATALOG_FILE, LABELS_FILE = "run.json", "catalog.fits", "labels.fits"
PROBABILITY_FILE, CANDIDATES_FILE = "probability.fits", "candidates.fits"
PARTS = "parts"
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
}


def open_folder(folder: Path, about: Mapping[str, Any], overwrite: bool) -> bool:
    """Make the folder of a run, or resume the same one; tell whether it is finished.

    Args:
        folder: The folder.
        about: What decides on the result.
        overwrite: Whether to throw away another run.

    Raises:
        RunExistsError: if it holds another run, or files that are not of a run.
    """
    before = read_about(folder)
    if before is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunExistsError(
            f"'{folder}' exists and holds no run of btk-punet detect. Choose another output folder."
        )
    if before is not None:
        differences = [
            name
            for name in ("kind", "image", "shape", "region", "choices", "versions")
            if before.get(name) != json.loads(json.dumps(about.get(name)))
        ]
        if differences and not overwrite:
            raise RunExistsError(
                f"'{folder}' holds another run (of {', '.join(differences)} that differ). Choose "
                "another output folder, or overwrite=True (--overwrite) to throw that run away."
            )
        if not differences and not overwrite:
            return before.get("status") == "finished" and all(
                (folder / name).is_file()
                for name in (CATALOG_FILE, LABELS_FILE, PROBABILITY_FILE, CANDIDATES_FILE)
            )
        shutil.rmtree(folder / PARTS, ignore_errors=True)
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
    part = path.with_name(f".{path.name}.part")
    content.writeto(part, overwrite=True)
    os.replace(part, path)


def table_hdu(table: QTable | Table, name: str) -> fits.BinTableHDU:
    """Return a table as an extension of a FITS file."""
    plain = Table(table, copy=True)
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
        if column in COLUMNS:
            hdu.header[f"TCOMM{number}"] = COLUMNS[column]
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
            table = QTable.read(path, hdu=name)
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
    return table


def write_images(
    path: Path,
    images: list[tuple[fits.Header, np.ndarray]],
    tables: Sequence[fits.BinTableHDU] = (),
) -> None:
    """Write images of integers as a FITS file, some rows at a time; the first is the primary one.

    Args:
        path: The file.
        images: Headers, to which sizes and type are added, and maps; those of floats become
            integers of 16 bits by the header's BSCALE.
        tables: Extensions that follow.
    """
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        for number, (header, values) in enumerate(images):
            file.write(_image_header(header, values, number == 0).tostring().encode())
            n_bytes = 0
            for first in range(0, len(values), _ROWS_AT_ONCE):
                block = np.asarray(values[first : first + _ROWS_AT_ONCE])
                if "BSCALE" in header:
                    scaled = np.rint(block.astype(np.float32) / np.float32(header["BSCALE"]))
                    block = scaled.astype(">i2")
                else:
                    block = block.astype(block.dtype.newbyteorder(">"))
                file.write(block.tobytes())
                n_bytes += block.nbytes
            file.write(b"\0" * (-n_bytes % 2880))
    if tables:
        with fits.open(part, mode="append") as content:
            content.extend(tables)
    os.replace(part, path)


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
