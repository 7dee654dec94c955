"""A bank of noiseless galaxies, drawn once, from which the stamps of training are composed.

To load a bank and to compose from it needs NumPy alone; drawing one needs GalSim and BTK.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from btk_punet.errors import CatalogError, InputError
from btk_punet.files import write_file

if TYPE_CHECKING:
    import galsim
    import pandas as pd

# Seed of the bank that trains the shipped weights; the benchmark has others.
TRAINING_SEED = 20_261_101

KINDS = (
    *("star", "sersic", "bulge_disk"),
    *("clumpy", "spiral", "lopsided", "merging", "irregular", "patchy"),
)

# Slope of the bank's own counts: flatter than the sky's, so that there are enough bright galaxies
# to choose from. The column `weight` brings the sky's counts back.
BANK_SLOPE_DEX_PER_MAG = 0.25
GALAXY_MAGNITUDES = (19.0, 26.5)
# Stars: 8% of the bank. In the sky as many as at a galactic latitude of about 30 degrees, with
# far flatter counts than those of galaxies: round numbers.
BANK_STAR_SHARE, STARS_PER_ARCMIN2, STAR_SLOPE_DEX_PER_MAG = 0.08, 7.0, 0.1
STAR_MAGNITUDES = (18.5, 26.5)

# A stamp is cut where its light falls below this [sigma of the background of one exposure].
TRIM_SIGMA = 0.005
FORMAT_VERSION = 1

CATALOG_DTYPE = np.dtype(
    [
        ("galaxy", "i4"),  # number of the galaxy, the same in all its PSFs
        ("kind", "u1"),  # index in KINDS
        ("psf", "u1"),  # number of the PSF
        ("magnitude", "f4"),  # I_E
        ("rate", "f4"),  # total flux, electron/s
        ("half_light_radius_arcsec", "f4"),  # of the smooth galaxy, 0 for stars
        ("weight", "f8"),  # galaxies like this one per arcmin^2 of sky, in one PSF
        ("x", "f4"),  # centre on the stamp [pixel, 0 is the middle of the first]
        ("y", "f4"),
        ("height", "i2"),  # of the stamp [pixel]
        ("width", "i2"),
    ]
)


@dataclass
class GalaxyBank:
    """Noiseless stamps of galaxies, packed one after another.

    Attributes:
        pixels: All stamps, row by row [electron/s], float16, one axis. Half precision is right
            to 2e-4 (rms) of a pixel's value: below 0.01 sigma where a pixel is fainter than 20
            sigma, and a fifth of the photon noise even in the brightest stars.
        catalog: One row a stamp, of `CATALOG_DTYPE`.
        psf_fwhm_arcsec: FWHM of each PSF before the pixel.
        sky_electrons: Sky of one exposure [electron/pixel].
        read_noise_electrons: Read noise of one exposure.
        exposure_seconds: Length of one exposure.
    """

    pixels: np.ndarray
    catalog: np.ndarray
    psf_fwhm_arcsec: np.ndarray
    sky_electrons: float
    read_noise_electrons: float
    exposure_seconds: float
    _starts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        """Find where each stamp starts, and check that the pixels are all there."""
        areas = self.catalog["height"].astype(np.int64) * self.catalog["width"]
        self._starts = np.concatenate([[0], np.cumsum(areas)])
        if len(self.catalog) == 0 or self._starts[-1] != len(self.pixels):
            raise CatalogError(
                f"The bank is empty or damaged: its {len(self.catalog)} stamps need "
                f"{self._starts[-1]} pixels, it has {len(self.pixels)}. Draw it again with "
                "GalaxyBank.render."
            )

    def __len__(self) -> int:
        return len(self.catalog)

    def stamp(self, index: int) -> np.ndarray:
        """Return a stamp [electron/s], float16, shape (height, width): a view, not for writing."""
        entry = self.catalog[index]
        pixels = self.pixels[self._starts[index] : self._starts[index + 1]]
        return pixels.reshape(entry["height"], entry["width"])

    def unit_snr2(self, background: float) -> np.ndarray:
        """Return the squared ``alone_snr`` of each source in one exposure, shape (n,).

        Since flux and background grow alike with the number of exposures, so does this.

        Args:
            background: Variance of a pixel without sources in one exposure [electron^2].
        """
        snr2 = np.zeros(len(self))
        for first in range(0, len(self), 1000):  # in parts, for the memory's sake
            starts = self._starts[first : first + 1001]
            flux = self.pixels[starts[0] : starts[-1]].astype(np.float32) * self.exposure_seconds
            part = np.add.reduceat(flux**2 / (background + flux), starts[:-1] - starts[0])
            snr2[first : first + 1000] = part
        return snr2

    def split(self, every: int = 20) -> tuple[GalaxyBank, GalaxyBank]:
        """Return two banks: one of every ``every``-th galaxy, in all its PSFs, and one of the rest.

        Raises:
            CatalogError: if one of the two would be empty.
        """
        chosen = self.catalog["galaxy"] % every == 0
        return self._part(chosen), self._part(~chosen)

    def _part(self, rows: np.ndarray) -> GalaxyBank:
        areas = np.diff(self._starts)
        return GalaxyBank(
            self.pixels[np.repeat(rows, areas)],
            self.catalog[rows],
            self.psf_fwhm_arcsec,
            self.sky_electrons,
            self.read_noise_electrons,
            self.exposure_seconds,
        )

    def save(self, path: str | Path) -> None:
        """Write the bank to a compressed ``.npz`` file, whole or not at all."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            version=FORMAT_VERSION,
            pixels=self.pixels,
            catalog=self.catalog,
            psf_fwhm_arcsec=self.psf_fwhm_arcsec,
            sky_electrons=self.sky_electrons,
            read_noise_electrons=self.read_noise_electrons,
            exposure_seconds=self.exposure_seconds,
        )
        write_file(path, content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> GalaxyBank:
        """Read a bank that `save` wrote.

        Raises:
            CatalogError: if the file does not exist or holds no bank of this version.
        """
        if not Path(path).is_file():
            raise CatalogError(f"The bank '{path}' does not exist: draw it with GalaxyBank.render.")
        try:
            # Opened here, because NumPy leaves a file that it cannot read open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                data = dict(arrays)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise CatalogError(f"'{path}' is not a bank of galaxies: {error}") from error
        version = data.pop("version", None)
        if version != FORMAT_VERSION:
            raise CatalogError(
                f"'{path}' is not a bank of galaxies of version {FORMAT_VERSION} (got {version}): "
                "draw it again with GalaxyBank.render."
            )
        return cls(
            data["pixels"],
            data["catalog"],
            data["psf_fwhm_arcsec"],
            float(data["sky_electrons"]),
            float(data["read_noise_electrons"]),
            float(data["exposure_seconds"]),
        )

    @classmethod
    def render(
        cls,
        n_galaxies: int = 20_000,
        psfs: Sequence[galsim.GSObject] | None = None,
        seed: int = TRAINING_SEED,
        psfs_per_galaxy: int = 1,
        max_size: int = 128,
        njobs: int = 1,
        progress: bool = False,
    ) -> GalaxyBank:
        """Draw a population like the sky's, noiseless, with the generator's own code.

        Args:
            n_galaxies: Number of galaxies and stars.
            psfs: PSFs before the pixel; 16 of Euclid's optics with aberrations by default.
            seed: Seed of galaxies, shapes, places in the pixel and PSFs. No galaxy is the same as
                one of another seed's.
            psfs_per_galaxy: Through how many of the PSFs each galaxy is drawn.
            max_size: Largest side of a stamp [pixel]; light beyond is lost.
            njobs: Processes.
            progress: Whether to show a progress bar.

        Raises:
            InputError: for numbers below 1, or more PSFs per galaxy than there are.
        """
        # Here and not above: a machine that only trains needs neither GalSim nor BTK.
        from btk_punet.simulation.survey import (
            EUCLID_EXPOSURE_SECONDS,
            EUCLID_READ_NOISE_ELECTRONS,
            get_euclid_survey,
        )
        from btk_punet.training.psfs import equivalent_fwhm_arcsec, training_psfs

        psfs = training_psfs(seed=seed) if psfs is None else list(psfs)
        if min(n_galaxies, max_size, njobs) < 1 or not 1 <= psfs_per_galaxy <= len(psfs) <= 255:
            raise InputError(
                "Expected n_galaxies, max_size and njobs of at least 1, 1 to 255 PSFs and "
                f"psfs_per_galaxy of at most that; got {n_galaxies}, {max_size}, {njobs}, "
                f"{len(psfs)} and {psfs_per_galaxy}."
            )
        survey = get_euclid_survey(1, 0.0)
        zeropoint = survey.get_filter("IE").zeropoint.to_value("mag")
        table = _population(n_galaxies, seed)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        catalog = np.zeros(n_galaxies * psfs_per_galaxy, CATALOG_DTYPE)
        galaxy = np.tile(np.arange(n_galaxies), psfs_per_galaxy)
        catalog["galaxy"] = galaxy
        first = np.tile(rng.integers(len(psfs), size=n_galaxies), psfs_per_galaxy)
        nth = np.repeat(np.arange(psfs_per_galaxy), n_galaxies)
        catalog["psf"] = (first + nth * (len(psfs) // psfs_per_galaxy)) % len(psfs)
        for name in ("magnitude", "half_light_radius_arcsec", "weight"):
            catalog[name] = table[name].to_numpy()[galaxy]
        catalog["rate"] = 10 ** (-0.4 * (catalog["magnitude"] - zeropoint))
        catalog["weight"] *= len(psfs) / psfs_per_galaxy

        catalog, stamps = _draw(
            catalog,
            table,
            psfs,
            seed,
            max_size,
            EUCLID_EXPOSURE_SECONDS,
            survey.sky_electrons,
            njobs,
            progress,
        )
        return cls(
            np.concatenate([stamp.ravel() for stamp in stamps]),
            catalog,
            np.array([equivalent_fwhm_arcsec(psf) for psf in psfs]),
            survey.sky_electrons,
            EUCLID_READ_NOISE_ELECTRONS,
            EUCLID_EXPOSURE_SECONDS,
        )


def _population(n_galaxies: int, seed: int) -> pd.DataFrame:
    """Return a population with flatter counts than the sky's, and what each stands for there.

    The columns are those of an `EuclidCatalog`, ``magnitude``, ``half_light_radius_arcsec``
    and ``weight`` [per arcmin^2].
    """
    import pandas as pd

    from btk_punet.simulation.catalog import (
        EuclidCatalog,
        galaxies_per_arcmin2,
        half_light_radius_arcsec,
    )

    seeds = iter(np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(100, np.uint64))
    n_stars = round(BANK_STAR_SHARE * n_galaxies)
    edges = np.linspace(*GALAXY_MAGNITUDES, 16)
    cumulative = 10 ** (BANK_SLOPE_DEX_PER_MAG * (edges - edges[0])) - 1
    numbers = np.diff(np.round((n_galaxies - n_stars) * cumulative / cumulative[-1]).astype(int))
    tables = []
    for low, high, number in zip(edges, edges[1:], numbers, strict=False):
        if number > 0:
            drawn = EuclidCatalog.simulate(number, int(next(seeds)), low, high).table
            table = drawn.to_pandas()
            table["half_light_radius_arcsec"] = half_light_radius_arcsec(drawn)
            table["weight"] = (galaxies_per_arcmin2(high) - galaxies_per_arcmin2(low)) / number
            tables.append(table)
    if n_stars:
        table = EuclidCatalog.simulate(
            n_stars, int(next(seeds)), star_fraction=1.0
        ).table.to_pandas()
        law = [10 ** (STAR_SLOPE_DEX_PER_MAG * magnitude) for magnitude in STAR_MAGNITUDES]
        rng = np.random.default_rng(int(next(seeds)))
        table["IE_ab"] = np.log10(rng.uniform(law[0], law[1], n_stars)) / STAR_SLOPE_DEX_PER_MAG
        table["half_light_radius_arcsec"] = 0.0
        table["weight"] = STARS_PER_ARCMIN2 / n_stars
        tables.append(table)
    return pd.concat(tables, ignore_index=True).assign(magnitude=lambda t: t["IE_ab"])


def _draw(
    catalog: np.ndarray,
    table: pd.DataFrame,
    psfs: Sequence[galsim.GSObject],
    seed: int,
    max_size: int,
    exposure_seconds: float,
    sky_electrons: float,
    njobs: int,
    progress: bool,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the catalog with what is only known after drawing, and the stamps [electron/s]."""
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    rows = table.to_dict("records")
    sigma = float(np.sqrt(sky_electrons))
    groups = [np.flatnonzero(catalog["psf"] == psf) for psf in range(len(psfs))]
    parts = Parallel(n_jobs=njobs, return_as="generator")(
        delayed(_draw_through)(
            psf,
            [rows[number] for number in catalog["galaxy"][group]],
            catalog[group],
            seed,
            max_size,
            exposure_seconds,
            sigma,
        )
        for psf, group in zip(psfs, groups, strict=True)
        if len(group)
    )
    n_parts = sum(len(group) > 0 for group in groups)
    drawn = list(tqdm(parts, "drawing galaxies", n_parts, unit="PSF", disable=not progress))
    # Kept PSF by PSF: a scene takes all its galaxies from one.
    return np.concatenate([part for part, _ in drawn]), [s for _, stamps in drawn for s in stamps]


def _draw_through(
    psf: galsim.GSObject,
    rows: list[dict],
    catalog: np.ndarray,
    seed: int,
    max_size: int,
    exposure_seconds: float,
    sigma: float,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the stamps [electron/s, float16] of some galaxies through one PSF, and their catalog.

    Args:
        psf: The PSF before the pixel.
        rows: The galaxy of each row of ``catalog``.
        catalog: Rows of `CATALOG_DTYPE`, without kind, centre and size of stamp.
        seed: Seed of the bank.
        max_size: Largest side of a stamp [pixel].
        exposure_seconds: Length of an exposure.
        sigma: Noise of the background of an exposure [electron].
    """
    from btk_punet.simulation.rendering import StampRenderer
    from btk_punet.simulation.survey import get_euclid_survey, pixel_scale_arcsec
    from btk_punet.training.shapes import galaxy_parts

    renderer = StampRenderer(psf, pixel_scale_arcsec(get_euclid_survey(1, 0.0)), sigma)
    catalog, stamps, middle = catalog.copy(), [], max_size // 2
    for entry, row in zip(catalog, rows, strict=True):
        key = (2, int(entry["galaxy"]))
        shape_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        place_rng = np.random.default_rng(
            np.random.SeedSequence(seed, spawn_key=(*key, int(entry["psf"])))
        )
        kind, parts = galaxy_parts(row, float(entry["rate"]) * exposure_seconds, shape_rng)
        x, y = middle + place_rng.uniform(-0.5, 0.5, 2)
        image = np.zeros((max_size, max_size))
        drawn = renderer.draw(parts, x, y, max_size)
        if drawn is None:
            raise CatalogError("A galaxy of the bank fell off its own stamp.")
        pixels, own_rows, own_cols = drawn
        image[own_rows, own_cols] = np.maximum(pixels, 0.0)  # the transforms ring below zero
        bright = image > TRIM_SIGMA * sigma
        bright[middle, middle] = True
        box = []
        for axis in (1, 0):
            (lit,) = np.nonzero(bright.any(axis=axis))
            box.append(slice(lit[0], lit[-1] + 1))
        stamp = (image[tuple(box)] / exposure_seconds).astype(np.float16)
        entry["kind"], entry["height"], entry["width"] = KINDS.index(kind), *stamp.shape
        entry["x"], entry["y"] = x - box[1].start, y - box[0].start
        stamps.append(stamp)
    return catalog, stamps
