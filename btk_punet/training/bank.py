"""A bank of noiseless galaxies, drawn once, from which the stamps of training are composed.

To load a bank and to compose from it needs NumPy alone; `draw_bank` draws one, with GalSim and BTK.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from btk_punet.errors import CatalogError
from btk_punet.files import write_file

# Seed of the bank that trains the shipped weights; the benchmark has others.
TRAINING_SEED = 20_261_101

KINDS = (
    *("star", "sersic", "bulge_disk"),
    *("clumpy", "spiral", "lopsided", "merging", "irregular", "patchy"),
    "real",
)

FORMAT_VERSION = 1
# One galaxy in so many is for validation only; so are real galaxies that are held out.
HELD_OUT_EVERY = 20

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
                "draw_bank."
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

    def split(self, every: int = HELD_OUT_EVERY) -> tuple[GalaxyBank, GalaxyBank]:
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
            raise CatalogError(f"The bank '{path}' does not exist: draw it with draw_bank.")
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
                "draw it again with draw_bank."
            )
        return cls(
            data["pixels"],
            data["catalog"],
            data["psf_fwhm_arcsec"],
            float(data["sky_electrons"]),
            float(data["read_noise_electrons"]),
            float(data["exposure_seconds"]),
        )
