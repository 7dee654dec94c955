"""The galaxies of a bank, drawn: a population like the sky's, and the stamp of each galaxy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import galsim
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from btk_punet.cluster.ordered import in_order
from btk_punet.cluster.workers import open_workers
from btk_punet.errors import CatalogError, InputError
from btk_punet.simulation.catalog import EuclidCatalog, half_light_radius_arcsec
from btk_punet.simulation.density import galaxies_per_arcmin2
from btk_punet.simulation.rendering import Part, StampRenderer
from btk_punet.simulation.survey import (
    EUCLID_EXPOSURE_SECONDS,
    EUCLID_READ_NOISE_ELECTRONS,
    get_euclid_survey,
    pixel_scale_arcsec,
)
from btk_punet.training.bank import CATALOG_DTYPE, HELD_OUT_EVERY, KINDS, TRAINING_SEED, GalaxyBank
from btk_punet.training.psfs import equivalent_fwhm_arcsec, training_psfs
from btk_punet.training.real_galaxies import RealGalaxy, read_real_galaxies, real_parts
from btk_punet.training.shapes import galaxy_parts

# Slope of the bank's own counts: flatter than the sky's, so that there are enough bright galaxies
# to choose from. The column `weight` brings the sky's counts back.
BANK_SLOPE_DEX_PER_MAG = 0.18
GALAXY_MAGNITUDES = (17.0, 26.5)
# Stars: 8% of the bank. In the sky as many as at a galactic latitude of about 30 degrees, with
# far flatter counts than those of galaxies: round numbers.
BANK_STAR_SHARE, STARS_PER_ARCMIN2, STAR_SLOPE_DEX_PER_MAG = 0.08, 7.0, 0.1
STAR_MAGNITUDES = (16.0, 26.5)
# The share of real galaxies, where there are any, grows with the half-light radius [arcsec]: the
# larger a galaxy, the more of its structure is seen.
REAL_RADIUS_ARCSEC, REAL_SHARE = (0.10, 0.25, 0.40), (0.1, 0.5, 0.75)

# A stamp is cut where its light falls below this [sigma of the background of one exposure].
TRIM_SIGMA = 0.005


def draw_bank(
    n_galaxies: int = 20_000,
    psfs: Sequence[galsim.GSObject] | None = None,
    seed: int = TRAINING_SEED,
    psfs_per_galaxy: int = 1,
    max_size: int = 200,
    real_galaxies: str | Path | None = None,
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
        real_galaxies: File of real galaxies (see `read_real_galaxies`), which then are most of
            the large ones. Those that are held out only stand for galaxies whose number is a
            multiple of `HELD_OUT_EVERY`, the ones that ``GalaxyBank.split`` parts from the rest.
        njobs: Processes.
        progress: Whether to show a progress bar.

    Raises:
        InputError: for numbers below 1, or more PSFs per galaxy than there are.
        CatalogError: if ``real_galaxies`` is not such a file.
    """
    psfs = training_psfs(seed=seed) if psfs is None else list(psfs)
    if min(n_galaxies, max_size, njobs) < 1 or not 1 <= psfs_per_galaxy <= len(psfs) <= 255:
        raise InputError(
            "Expected n_galaxies, max_size and njobs of at least 1, 1 to 255 PSFs and "
            f"psfs_per_galaxy of at most that; got {n_galaxies}, {max_size}, {njobs}, "
            f"{len(psfs)} and {psfs_per_galaxy}."
        )
    real = [] if real_galaxies is None else read_real_galaxies(real_galaxies)
    survey = get_euclid_survey(1, 0.0)
    zeropoint = survey.get_filter("IE").zeropoint.to_value("mag")
    table = population(n_galaxies, seed)
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
        real,
    )
    return GalaxyBank(
        np.concatenate([stamp.ravel() for stamp in stamps]),
        catalog,
        np.array([equivalent_fwhm_arcsec(psf) for psf in psfs]),
        survey.sky_electrons,
        EUCLID_READ_NOISE_ELECTRONS,
        EUCLID_EXPOSURE_SECONDS,
    )


def population(n_galaxies: int, seed: int) -> pd.DataFrame:
    """Return a population with flatter counts than the sky's, and what each stands for there.

    The columns are those of an `EuclidCatalog`, ``magnitude``, ``half_light_radius_arcsec``
    and ``weight`` [per arcmin^2].
    """
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
    real: Sequence[RealGalaxy],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the catalog with what is only known after drawing, and the stamps [electron/s]."""
    rows = table.to_dict("records")
    sigma = float(np.sqrt(sky_electrons))
    groups = [np.flatnonzero(catalog["psf"] == psf) for psf in range(len(psfs))]
    items = (
        (psf, [rows[number] for number in catalog["galaxy"][group]], catalog[group])
        for psf, group in zip(psfs, groups, strict=True)
        if len(group)
    )
    n_parts = sum(len(group) > 0 for group in groups)
    shared = (seed, max_size, exposure_seconds, sigma, real)
    with open_workers(min(njobs, max(n_parts, 1))) as workers:
        outcomes = in_order(workers, _draw_group, items, shared)
        bar = tqdm(outcomes, "drawing galaxies", n_parts, unit="PSF", disable=not progress)
        drawn = [outcome.get() for outcome in bar]
    # Kept PSF by PSF: a scene takes all its galaxies from one.
    return np.concatenate([part for part, _ in drawn]), [s for _, stamps in drawn for s in stamps]


def _draw_group(shared: tuple, group: tuple) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw the galaxies of a PSF in a worker."""
    return _draw_through(*group, *shared)


def _draw_through(
    psf: galsim.GSObject,
    rows: list[dict],
    catalog: np.ndarray,
    seed: int,
    max_size: int,
    exposure_seconds: float,
    sigma: float,
    real: Sequence[RealGalaxy],
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
        real: Real galaxies to draw among the others.
    """
    renderer = StampRenderer(psf, pixel_scale_arcsec(get_euclid_survey(1, 0.0)), sigma)
    catalog, stamps, middle = catalog.copy(), [], max_size // 2
    of_side = {side: [g for g in real if g.held_out == side] for side in (False, True)}
    for entry, row in zip(catalog, rows, strict=True):
        key = (2, int(entry["galaxy"]))
        shape_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        place_rng = np.random.default_rng(
            np.random.SeedSequence(seed, spawn_key=(*key, int(entry["psf"])))
        )
        kind, parts = _parts(
            row,
            float(entry["rate"]) * exposure_seconds,
            shape_rng,
            of_side[int(entry["galaxy"]) % HELD_OUT_EVERY == 0],
        )
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


def _parts(
    row: Mapping, flux: float, rng: np.random.Generator, real: Sequence[RealGalaxy]
) -> tuple[str, Sequence[Part]]:
    """Return the kind and the parts of a source: a real galaxy, if there are some, or another."""
    if real and not row["is_star"]:
        radius = row["half_light_radius_arcsec"]
        if rng.random() < np.interp(radius, REAL_RADIUS_ARCSEC, REAL_SHARE):
            parts = real_parts(real, radius, flux, rng)
            if parts is not None:
                return "real", parts
    return galaxy_parts(row, flux, rng)
