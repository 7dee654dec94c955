"""What was found in an image: catalog, map of labels, maps of probabilities, posterior samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.deblending.base import check_integer
from btk_punet.errors import InputError
from btk_punet.files import whole_file
from btk_punet.images.folder import (
    CANDIDATES_FILE,
    CATALOG_FILE,
    LABELS_FILE,
    OVERVIEW_FILE,
    PARQUET_FILE,
    PROBABILITY_FILE,
    REGIONS_FILE,
    SAMPLES,
    SHOWN_FILES,
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
from btk_punet.output import output_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from btk_punet.images.overview import OverviewDisplay
    from btk_punet.images.sky_image import SkyImage


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
        image: The image itself, for pictures; None where it is not at hand, as after `read`, and
            pictures then show the probability that a pixel belongs to a source.
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
    image: SkyImage | None = field(default=None, repr=False, compare=False)
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

    def write(self, folder: str | Path, samples: int = 0, seed: int = 0) -> None:
        """Write all of it as files, ``run.json`` last.

        - ``catalog.fits``, ``catalog.parquet``: the catalog; FITS has no unit of electrons, and
          their columns have ``ct`` there.
        - ``labels.fits``: the labels, int32, with the world coordinates; and the `overlaps`.
        - ``probability.fits``: the maps, an extension each.
        - ``candidates.fits``: the candidates, with their samples.
        - ``samples/catalog_000.fits`` and so on: catalogs drawn from the posterior.
        - ``regions.reg``: the sources for DS9.
        - ``overview.png``, ``index.html``: what was found, to be looked at.

        The same results give the same bytes. Each file is written whole or not at all.

        Args:
            folder: Made where it does not exist; files of these names in it are replaced.
            samples: Number of catalogs of `sample_catalogs` to write.
            seed: Their seed.

        Raises:
            InputError, InputTypeError: The folder or a number cannot be used.
            RunExistsError: The folder is a file.
            OSError: The files cannot be written.
        """
        check_integer("samples", samples, lowest=0)
        check_integer("seed", seed, lowest=0)
        output = output_folder(folder, (SAMPLES,))
        output.mkdir(parents=True, exist_ok=True)
        write_table(self.catalog, output / CATALOG_FILE, "CATALOG")
        with whole_file(output / PARQUET_FILE) as part:
            self.catalog.write(part, format="parquet", overwrite=True)
        candidates = self.candidates.copy()
        candidates["samples"] = self.sample_masses.astype(np.float32)
        write_table(candidates, output / CANDIDATES_FILE, "CANDIDATES")
        write_images(
            output / LABELS_FILE,
            [(map_header(self.wcs, self.region), self.labels)],
            [table_hdu(self.overlaps, "OVERLAPS")],
        )
        maps = [(map_header(self.wcs, self.region, n), m) for n, m in self.probability.items()]
        write_images(output / PROBABILITY_FILE, maps)
        self.write_samples(output, samples, seed)
        self.write_views(output)
        wcs = None if self.wcs is None else self.wcs.to_header_string(relax=True)
        write_about(output, {**self.about, "wcs": wcs}, "finished")

    def write_samples(self, folder: str | Path, samples: int, seed: int = 0) -> None:
        """Write catalogs drawn from the posterior as ``samples/catalog_000.fits`` and so on.

        Args:
            folder: The folder of the results.
            samples: Their number; catalogs of further numbers that are there are removed.
            seed: Their seed.
        """
        check_integer("samples", samples, lowest=0)
        there = output_folder(folder, (SAMPLES,)) / SAMPLES
        names = [f"catalog_{number:03d}.fits" for number in range(samples)]
        for number, name in enumerate(names):
            write_table(self._sample(number, seed), there / name, "SAMPLE")
        for path in there.glob("catalog_*.fits"):
            if path.name not in names:
                path.unlink()
        if not names and there.is_dir() and not any(there.iterdir()):
            there.rmdir()

    def complete(self, folder: str | Path, samples: int = 0, seed: int = 0) -> None:
        """Write what is missing in the folder that this was read from.

        Args:
            folder: The folder.
            samples: Least number of catalogs drawn from the posterior.
            seed: Their seed.
        """
        output = output_folder(folder, (SAMPLES,))
        there = len(list((output / SAMPLES).glob("catalog_*.fits")))
        if samples > there:
            self.write_samples(output, samples, seed)
        if samples > there or not all((output / name).is_file() for name in SHOWN_FILES):
            self.write_views(output)

    def write_views(self, folder: str | Path) -> None:
        """Write what is to be looked at: ``regions.reg``, ``overview.png``, ``index.html``.

        Args:
            folder: The folder of the results.
        """
        from btk_punet.images.overview import write_overview
        from btk_punet.images.page import write_page
        from btk_punet.images.regions import write_regions

        output = output_folder(folder, (SAMPLES,))
        write_regions(self, output / REGIONS_FILE)
        write_overview(self, output / OVERVIEW_FILE)
        write_page(self, output)

    def plot(self, ax: Axes | None = None) -> OverviewDisplay:
        """Draw the image with marks on what was found.

        Args:
            ax: Axes to draw in; those of a new figure if None.

        Returns:
            The display, with ``ax_`` and ``figure_``.
        """
        from btk_punet.images.overview import OverviewDisplay

        return OverviewDisplay(self).plot(ax)

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
