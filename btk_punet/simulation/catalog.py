"""The galaxy population of Euclid: counts, sizes, profiles and shapes, as a BTK catalog."""

from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Column, Table
from btk.catalog import Catalog
from scipy.special import gammainc
from scipy.stats import skewnorm

from btk_punet.errors import CatalogError, InputError
from btk_punet.simulation.density import COUNTS_SLOPE_DEX_PER_MAG, galaxies_per_arcmin2

# Half-light radius: log10(r_h / arcsec) follows a skew normal law whose place and width depend
# on the magnitude; the fit to GEMS of the MegaLUT shape simulations for Euclid.
SIZE_SKEWNESS = -0.58
SIZE_RANGE_ARCSEC = (0.02, 4.0)

SERSIC_MEDIAN, SERSIC_SIGMA_LN, SERSIC_RANGE = 1.2, 0.4, (0.3, 4.5)
# A galaxy is drawn from a table of its profile that GalSim makes once for each Sersic index.
SERSIC_STEP = 0.05
ELLIPTICITY_RAYLEIGH_SCALE, ELLIPTICITY_MAX = 0.25, 0.9
# The Sersic indices that GalSim draws.
SERSIC_DRAWABLE = (0.3, 6.2)

# b_n of the Sersic law for n = 1 and n = 4 (half of the light inside the half-light radius).
_B_EXPONENTIAL, _B_DE_VAUCOULEURS = 1.67834699, 7.66924944

REQUIRED_COLUMNS = ("ra", "dec", "IE_ab")
# Columns of CatSim that a file may leave out, and what they then are.
_DEFAULTS = {
    "fluxnorm_disk": 1.0,
    "fluxnorm_bulge": 0.0,
    "fluxnorm_agn": 0.0,
    "a_d": 0.0,
    "b_d": 0.0,
    "a_b": 0.0,
    "b_b": 0.0,
    "pa_disk": 0.0,
    "pa_bulge": 0.0,
    "sersic_n": 0.0,
    "is_star": False,
}
_READERS = {
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": None,  # read by pandas
    ".pq": None,
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".txt": "ascii.basic",
    ".dat": "ascii.basic",
}


class EuclidCatalog(Catalog):
    """Galaxies and stars in I_E, in CatSim's columns, so that BTK's own tools read it too.

    Columns: ``ra``, ``dec`` [degree], ``IE_ab`` and ``i_ab`` [mag; ``i_ab`` equals ``IE_ab`` where
    the file has none, for BTK's samplings], ``fluxnorm_disk``, ``fluxnorm_bulge``,
    ``fluxnorm_agn`` (relative fluxes; the third is a point source), ``a_d``, ``b_d``, ``a_b``,
    ``b_b`` [arcsec, half-light semi-axes of disk and bulge], ``pa_disk``, ``pa_bulge`` [degree],
    ``sersic_n`` (0: exponential disk + de Vaucouleurs bulge; else one Sersic profile of that
    index with the disk's axes), ``is_star`` (a point source).

    Args:
        raw_catalog: Table with at least ``ra``, ``dec``, ``IE_ab`` and the axes of a disk or a
            bulge; other columns are kept.

    Raises:
        CatalogError: if the table is empty, lacks a needed column, or holds a source that
            cannot be drawn.
    """

    def _prepare_table(self, raw_catalog: Table) -> Table:
        table = Table(raw_catalog, copy=True, masked=False)
        missing = [name for name in REQUIRED_COLUMNS if name not in table.colnames]
        if missing:
            raise CatalogError(
                f"The catalog lacks the column(s) {missing}; it has {table.colnames}. A catalog "
                "made for another survey needs a column IE_ab [AB mag] for Euclid's VIS band."
            )
        if len(table) == 0:
            raise CatalogError("The catalog is empty: at least one source is needed to draw.")
        for name, default in _DEFAULTS.items():
            if name not in table.colnames:
                table[name] = np.full(len(table), default)
        for name in ("IE_ab", *_DEFAULTS):
            if name == "is_star":
                table[name] = _as_bool(table[name])
            else:
                table[name] = _as_float(table[name])
        if "i_ab" not in table.colnames:
            table["i_ab"] = np.array(table["IE_ab"])
        _check_drawable(table)
        return table

    @classmethod
    def from_file(cls, catalog_files: str | Path) -> "EuclidCatalog":
        """Read a catalog from a FITS, ECSV, Parquet, CSV or plain-text file.

        Args:
            catalog_files: Path of the file.

        Raises:
            CatalogError: if the file does not exist, has an unknown ending or lacks a column.
        """
        return cls(read_table(catalog_files))

    @classmethod
    def simulate(
        cls,
        n_galaxies: int = 20_000,
        seed: int = 0,
        min_mag: float = 19.0,
        max_mag: float = 26.5,
        star_fraction: float = 0.0,
        bulge_disk_fraction: float = 0.5,
    ) -> "EuclidCatalog":
        """Draw a population with Euclid's counts, sizes, profiles and shapes, spread at random.

        Args:
            n_galaxies: Number of sources.
            seed: Seed: the same seed gives the same catalog.
            min_mag: Brightest I_E.
            max_mag: Faintest I_E.
            star_fraction: Fraction of the sources that are stars.
            bulge_disk_fraction: Fraction of the galaxies that are bulge + disk; the others have
                one Sersic profile.

        Raises:
            InputError: for a number below 1, fractions outside 0-1, or an empty magnitude range.
        """
        if n_galaxies < 1:
            raise InputError(f"n_galaxies must be at least 1, got {n_galaxies}.")
        if seed < 0:
            raise InputError(f"seed must be 0 or more, got {seed}.")
        if not min_mag < max_mag:
            raise InputError(f"Expected min_mag < max_mag, got {min_mag} and {max_mag}.")
        for name, value in [
            ("star_fraction", star_fraction),
            ("bulge_disk_fraction", bulge_disk_fraction),
        ]:
            if not 0 <= value <= 1:
                raise InputError(f"{name} must lie in 0-1, got {value}.")

        rng = np.random.default_rng(seed)
        magnitude = _draw_magnitudes(n_galaxies, min_mag, max_mag, rng)
        half_light_radius = _draw_half_light_radii(magnitude, rng)
        axis_ratio = _draw_axis_ratios(n_galaxies, rng)
        angle = rng.uniform(0.0, 180.0, n_galaxies)

        is_star = rng.random(n_galaxies) < star_fraction
        two_parts = ~is_star & (rng.random(n_galaxies) < bulge_disk_fraction)
        sersic_n = np.where(is_star | two_parts, 0.0, _draw_sersic_indices(n_galaxies, rng))

        bulge_to_total = np.where(two_parts, rng.beta(1.5, 3.0, n_galaxies), 0.0)
        bulge_to_disk_radius = rng.uniform(0.25, 0.75, n_galaxies)
        disk_radius = half_light_radius / composite_half_light_radius(
            bulge_to_total, bulge_to_disk_radius
        )
        disk_radius = np.where(two_parts, disk_radius, half_light_radius)
        bulge_radius = bulge_to_disk_radius * disk_radius
        root_q = np.sqrt(axis_ratio)
        galaxy, bulge = (~is_star).astype(float), two_parts.astype(float)
        # A patch of sky as large as the counts imply, for samplings that go by position.
        density = galaxies_per_arcmin2(max_mag) - galaxies_per_arcmin2(min_mag)
        side_deg = np.sqrt(n_galaxies / density) / 60
        ra, dec = rng.uniform(0.0, side_deg, (2, n_galaxies))

        return cls(
            Table(
                {
                    "ra": ra,
                    "dec": dec,
                    "IE_ab": magnitude,
                    "i_ab": magnitude,
                    "fluxnorm_disk": galaxy * (1.0 - bulge_to_total),
                    "fluxnorm_bulge": galaxy * bulge_to_total,
                    "fluxnorm_agn": is_star.astype(float),
                    "a_d": galaxy * disk_radius / root_q,
                    "b_d": galaxy * disk_radius * root_q,
                    "a_b": bulge * bulge_radius / root_q,
                    "b_b": bulge * bulge_radius * root_q,
                    "pa_disk": angle,
                    "pa_bulge": angle,
                    "sersic_n": sersic_n,
                    "is_star": is_star,
                }
            )
        )


def read_table(path: str | Path) -> Table:
    """Return the table in a FITS, ECSV, Parquet, CSV or plain-text file.

    Raises:
        CatalogError: if the file does not exist or has an unknown ending.
    """
    path = Path(path)
    if not path.is_file():
        raise CatalogError(f"The catalog file '{path}' does not exist.")
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise CatalogError(
            f"Cannot read '{path.name}': expected one of {sorted(_READERS)}, got '{ending}'."
        )
    try:
        if _READERS[ending] is None:
            return Table.from_pandas(pd.read_parquet(path))
        return Table.read(path, format=_READERS[ending])
    except Exception as error:  # each of the readers has errors of its own
        raise CatalogError(
            f"The catalog file '{path}' could not be read as {ending}: {error}"
        ) from error


def composite_half_light_radius(
    bulge_to_total: np.ndarray, bulge_to_disk_radius: np.ndarray
) -> np.ndarray:
    """Return the half-light radius of bulge + disk, in units of that of the disk alone.

    Args:
        bulge_to_total: Fraction of the light in the de Vaucouleurs bulge.
        bulge_to_disk_radius: Half-light radius of the bulge over that of the disk.
    """
    bulge_to_total, ratio = np.broadcast_arrays(bulge_to_total, bulge_to_disk_radius)
    low = np.minimum(ratio, 1.0).astype(float)
    high = np.maximum(ratio, 1.0).astype(float)
    for _ in range(50):  # bisection: each radius lies between those of its two parts
        middle = 0.5 * (low + high)
        disk = gammainc(2.0, _B_EXPONENTIAL * middle)
        bulge = gammainc(8.0, _B_DE_VAUCOULEURS * (middle / ratio) ** 0.25)
        outside = (1 - bulge_to_total) * disk + bulge_to_total * bulge < 0.5
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return 0.5 * (low + high)


def half_light_radius_arcsec(table: Table) -> np.ndarray:
    """Return the half-light radius [arcsec, circularised, before the PSF] of CatSim-like rows.

    Stars have 0.
    """
    disk = np.sqrt(np.asarray(table["a_d"], float) * np.asarray(table["b_d"], float))
    bulge = np.sqrt(np.asarray(table["a_b"], float) * np.asarray(table["b_b"], float))
    disk_flux = np.asarray(table["fluxnorm_disk"], float) * (disk > 0)
    bulge_flux = np.asarray(table["fluxnorm_bulge"], float) * (bulge > 0)
    both = (disk_flux > 0) & (bulge_flux > 0)
    total = np.where(both, disk_flux + bulge_flux, 1.0)
    composite = disk * composite_half_light_radius(
        np.where(both, bulge_flux / total, 0.0), np.where(both, bulge / np.where(both, disk, 1), 1)
    )
    return np.where(both, composite, np.where(bulge_flux > 0, bulge, disk))


def _as_float(column: Column) -> np.ndarray:
    """Return a column as floats, NaN where a value is missing."""
    try:
        values = np.ma.asarray(column).astype(float)
    except (TypeError, ValueError) as error:
        raise CatalogError(f"The column {column.name} must hold numbers: {error}.") from error
    return values.filled(np.nan)


def _as_bool(column: Column) -> np.ndarray:
    """Return a column as booleans, which a text file holds as words."""
    values = np.ma.asarray(column).filled(False)
    if values.dtype.kind in "biuf":
        return values.astype(bool)
    words = np.char.lower(values.astype(str))
    unknown = ~np.isin(words, ["true", "false"])
    if unknown.any():
        raise CatalogError(
            f"The column {column.name} must hold True or False, got '{values[unknown][0]}'."
        )
    return words == "true"


def _draw_magnitudes(
    number: int, min_mag: float, max_mag: float, rng: np.random.Generator
) -> np.ndarray:
    low, high = (10 ** (COUNTS_SLOPE_DEX_PER_MAG * mag) for mag in (min_mag, max_mag))
    return np.log10(rng.uniform(low, high, number)) / COUNTS_SLOPE_DEX_PER_MAG


def _draw_half_light_radii(magnitude: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    log_radius = skewnorm.rvs(
        SIZE_SKEWNESS,
        loc=-0.10831 * magnitude + 2.07381,
        scale=-0.02148 * magnitude + 0.69013,
        random_state=rng,
    )
    return np.clip(10**log_radius, *SIZE_RANGE_ARCSEC)


def _draw_sersic_indices(number: int, rng: np.random.Generator) -> np.ndarray:
    index = rng.lognormal(np.log(SERSIC_MEDIAN), SERSIC_SIGMA_LN, number)
    return np.round(np.clip(index, *SERSIC_RANGE) / SERSIC_STEP) * SERSIC_STEP


def _draw_axis_ratios(number: int, rng: np.random.Generator) -> np.ndarray:
    """Axis ratios q of shears g = (1 - q) / (1 + q) with a Rayleigh law, cut at its upper end."""
    below = -np.expm1(-0.5 * (ELLIPTICITY_MAX / ELLIPTICITY_RAYLEIGH_SCALE) ** 2)
    shear = ELLIPTICITY_RAYLEIGH_SCALE * np.sqrt(-2 * np.log1p(-below * rng.random(number)))
    return (1 - shear) / (1 + shear)


def _check_drawable(table: Table) -> None:
    """Raise for the first source that has no size or no flux where its profile needs one."""
    star = np.asarray(table["is_star"], bool)
    disk = np.asarray(table["fluxnorm_disk"]) > 0
    bulge = np.asarray(table["fluxnorm_bulge"]) > 0
    point = np.asarray(table["fluxnorm_agn"]) > 0
    index = np.asarray(table["sersic_n"])
    sersic = index > 0
    disk_drawn, bulge_drawn = ~star & (disk | sersic), ~star & ~sersic & bulge
    low, high = SERSIC_DRAWABLE

    def bad_axes(part: str) -> np.ndarray:
        a, b = np.asarray(table[f"a_{part[0]}"]), np.asarray(table[f"b_{part[0]}"])
        return ~((b > 0) & (b <= a) & np.isfinite(a) & np.isfinite(table[f"pa_{part}"]))

    for wrong, what in [
        (~np.isfinite(table["IE_ab"]), "IE_ab is not a finite magnitude"),
        (disk_drawn & bad_axes("disk"), "the disk has flux, and not a_d >= b_d > 0 and a pa_disk"),
        (
            bulge_drawn & bad_axes("bulge"),
            "the bulge has flux, and not a_b >= b_b > 0 and a pa_bulge",
        ),
        (
            ~star & ~((index == 0) | ((index >= low) & (index <= high))),
            f"sersic_n is neither 0 nor between {low} and {high}",
        ),
        (~(star | disk | bulge | point), "no part has a flux: all fluxnorm_* are 0"),
    ]:
        if wrong.any():
            raise CatalogError(
                f"{wrong.sum()} source(s) of the catalog cannot be drawn, the first in row "
                f"{np.flatnonzero(wrong)[0]}: {what}. Sizes are half-light semi-axes in arcsec."
            )
