"""What was found in an image: catalog, map of labels, maps of probabilities, posterior samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.deblending.base import check_integer
from btk_punet.errors import InputError
from btk_punet.files import write_parquet
from btk_punet.images.folder import (
    CANDIDATES_FILE,
    CATALOG_FILE,
    LABELS_FILE,
    PROBABILITY_FILE,
    FitsMaps,
    map_header,
    read_about,
    read_table,
    table_hdu,
    write_about,
    write_images,
    write_table,
)
from btk_punet.images.maps import MAPS
from btk_punet.images.sky import sky_columns
from btk_punet.images.tiles import Box


@dataclass(frozen=True)
class Detections:
    """The sources of an image, as `detect` returns them.

    Pixels are those of the whole image, 0-based, also where a region of it was searched; the maps
    are those of the region. They lie on the disk and are read only, so that they cost no memory
    until they are looked at; ``np.array`` copies one.

    Attributes:
        catalog: One row per source, the most probable first: ``id`` and the columns of
            `ProbaUNetDeblender`, with units; with world coordinates also ``RA``, ``DEC`` [deg] and
            ``RA_err``, ``DEC_err`` [arcsec on the sky, the half-width that holds 68%].
        labels: The ``id`` of the source of each pixel, 0 for none, int32 ``(H, W)``. A pixel of
            several sources bears the label of one; `footprint` knows the others.
        probability: Maps ``(H, W)``: ``background``, ``isolated``, ``blended`` (probabilities of
            the three classes), ``class_mean``, ``class_variance`` (over samples, of each sample's
            most probable class) and ``centre`` (that the pixel holds the centre of a source).
        candidates: ``x``, ``y``, ``x_err``, ``y_err`` [pixel], ``p_detect`` and ``id`` of all
            candidates down to a probability of 0.02; ``id`` is 0 for those below the threshold.
        wcs: World coordinates of the pixels of the whole image; None if there are none.
        region: Rows and columns that the maps cover.
        shape: Rows and columns of the whole image.
        overlaps: ``id``, ``row`` and ``column`` of the pixels of footprints that bear the label of
            another source.
        sample_masses: How much of each candidate each of the network's samples holds, 0-1,
            ``(len(candidates), n_samples)``.
        about: What was done: the image, the choices, what was assumed.
    """

    catalog: QTable
    labels: np.ndarray
    probability: Mapping[str, np.ndarray]
    candidates: Table
    wcs: WCS | None
    region: Box
    shape: tuple[int, int]
    overlaps: Table
    sample_masses: np.ndarray
    about: dict[str, Any]
    _keeps_alive: Any = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.catalog)

    def __repr__(self) -> str:
        """Return how many sources there are, of how large an image."""
        height, width = (lines.stop - lines.start for lines in self.region)
        return f"<Detections of {len(self)} sources in {height} x {width} pixels>"

    def footprint(self, id: int) -> np.ndarray:
        """Return which pixels a source covers, bool ``(H, W)`` as the labels.

        Args:
            id: Of the source, as in the catalog.

        Raises:
            InputError: if the catalog has no such source.
        """
        known = len(self.catalog)
        check_integer("id", id, lowest=1)
        if id > known:
            raise InputError(f"Expected the id of a source, 1 to {known}, got {id}.")
        covered = np.asarray(self.labels) == id
        # The table is sorted by id.
        own = slice(*np.searchsorted(self.overlaps["id"], [id, id + 1]))
        rows, columns = (np.asarray(self.overlaps[name][own]) for name in ("row", "column"))
        covered[rows - self.region[0].start, columns - self.region[1].start] = True
        return covered

    def sample_catalogs(self, n: int, seed: int = 0) -> list[QTable]:
        """Draw catalogs from the posterior: which sources there are, where, and how bright.

        Each catalog is one way in which the image can be understood. It begins with one of the
        network's samples, in which neighbours agree on what they are: if the light of two
        candidates is that of one source in a sample, one of them is missing there. Each candidate
        is in it with the probability that the sample gives it, times ``p_detect`` over the mean
        of its samples. Places and fluxes are drawn from their errors, independently.

        Args:
            n: Number of catalogs.
            seed: Integer, 0 or more.

        Returns:
            One table for each, ``id`` (0 for a candidate below the threshold), ``x``, ``y``
            [pixel], ``RA``, ``DEC`` [deg] with world coordinates, ``flux`` and its magnitude (NaN
            where no light was measured: below the threshold). The first of more catalogs are those
            of fewer.
        """
        check_integer("n", n, lowest=1)
        check_integer("seed", seed, lowest=0)
        return [self._sample(number, seed) for number in range(n)]

    def write(self, folder: str | Path) -> None:
        """Write all of it as files, ``run.json`` last.

        - ``catalog.fits``, ``catalog.parquet``: the catalog; FITS has no unit of electrons, and
          their columns have ``ct``.
        - ``labels.fits``: the labels, int32, with the world coordinates; and the `overlaps`.
        - ``probability.fits``: the maps, an extension each.
        - ``candidates.fits``: the candidates, with their samples.

        Args:
            folder: Made where it does not exist; files of these names in it are replaced.
        """
        output = Path(folder)
        output.mkdir(parents=True, exist_ok=True)
        write_table(self.catalog, output / CATALOG_FILE, "CATALOG")
        write_parquet(self.catalog.to_pandas(), output / "catalog.parquet")
        candidates = self.candidates.copy()
        candidates["samples"] = self.sample_masses.astype(np.float32)
        write_table(candidates, output / CANDIDATES_FILE, "CANDIDATES")
        write_images(
            output / LABELS_FILE,
            [(map_header(self.wcs, self.region), self.labels)],
            [table_hdu(self.overlaps, "OVERLAPS")],
        )
        nothing = fits.Header(), np.zeros((0, 0), np.uint8)
        maps = [(map_header(self.wcs, self.region, n), m) for n, m in self.probability.items()]
        write_images(output / PROBABILITY_FILE, [nothing, *maps])
        wcs = None if self.wcs is None else self.wcs.to_header_string(relax=True)
        write_about(output, {**self.about, "wcs": wcs}, "finished")

    @classmethod
    def read(cls, folder: str | Path) -> Detections:
        """Return what `write` wrote.

        Raises:
            InputError: if the folder holds no finished run of `detect`.
        """
        path = Path(folder)
        about = read_about(path)
        if about is None or about.pop("status", "") != "finished":
            raise InputError(f"Expected the folder of a finished run of detect, got '{folder}'.")
        candidates = Table(read_table(path / CANDIDATES_FILE, "CANDIDATES"))
        masses = np.asarray(candidates["samples"])
        candidates.remove_column("samples")
        header = about.pop("wcs")
        rows, columns = (slice(*ends) for ends in about["region"])
        return cls(
            catalog=read_table(path / CATALOG_FILE, "CATALOG"),
            labels=fits.getdata(path / LABELS_FILE).astype(np.int32),
            probability=FitsMaps(path / PROBABILITY_FILE, list(MAPS)),
            candidates=candidates,
            wcs=None if header is None else WCS(fits.Header.fromstring(header)),
            region=(rows, columns),
            shape=(about["shape"][0], about["shape"][1]),
            overlaps=Table(read_table(path / LABELS_FILE, "OVERLAPS")),
            sample_masses=masses,
            about=about,
        )

    def _sample(self, number: int, seed: int) -> QTable:
        rng = np.random.default_rng([seed, number])
        p = np.asarray(self.candidates["p_detect"])
        masses = np.asarray(self.sample_masses, float)
        chance = p
        if masses.shape[1]:
            mean = masses.mean(axis=1)
            own = masses[:, rng.integers(masses.shape[1])]
            chance = np.where(mean > 0, p * own / np.where(mean > 0, mean, 1), p)
        there = rng.random(len(p)) < chance
        some = self.candidates[there]
        x = np.asarray(some["x"]) + np.asarray(some["x_err"]) * rng.standard_normal(len(some))
        y = np.asarray(some["y"]) + np.asarray(some["y_err"]) * rng.standard_normal(len(some))
        row = np.asarray(some["id"]) - 1
        table = QTable({"id": some["id"], "x": x, "y": y}, units={"x": "pix", "y": "pix"})
        if self.wcs is not None:
            for name, values in sky_columns(self.wcs, x, y).items():
                table[name] = values
        in_catalog = row >= 0
        flux, error = (_of_rows(self.catalog[name].value, row) for name in ("flux", "flux_err"))
        drawn = flux + error * rng.standard_normal(len(some))
        table["flux"] = drawn * self.catalog["flux"].unit
        ratio = np.where(in_catalog & (drawn > 0) & (flux > 0), drawn, np.nan) / flux
        for name in magnitude_columns(self.catalog):
            magnitude = _of_rows(self.catalog[name].value, row)
            table[name] = (magnitude - 2.5 * np.log10(ratio)) * self.catalog[name].unit
        return table


def magnitude_columns(catalog: Table) -> list[str]:
    """Return the names of a catalog's magnitudes."""
    names = [name for name in catalog.colnames if name.startswith("mag_")]
    return [name for name in names if not name.startswith("mag_err_")]


def _of_rows(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return the values of some rows; NaN for the row -1."""
    return np.append(column, np.nan)[row]
