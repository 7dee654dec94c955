"""Generators of blends whose galaxies have structure: made up, as in training, or real."""

import copy
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import galsim
import numpy as np
from astropy.table import Table, vstack
from btk.catalog import CosmosCatalog
from btk.draw_blends import CosmosGenerator
from btk.survey import Filter, Survey

from btk_punet.errors import CatalogError
from btk_punet.simulation.catalog import EuclidCatalog, half_light_radius_arcsec
from btk_punet.simulation.generator import EuclidGenerator, RealGalaxyGenerator
from btk_punet.simulation.rendering import Part
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.training.real_galaxies import read_real_galaxies, real_parts
from btk_punet.training.shapes import galaxy_parts

# What tells a galaxy of a catalog from all others, and so seeds its structure.
_SEED_COLUMNS = ("IE_ab", "a_d", "b_d", "pa_disk")
_SIZE_COLUMNS = ("a_d", "b_d", "a_b", "b_b", "fluxnorm_disk", "fluxnorm_bulge")


class StructuredEuclidGenerator(EuclidGenerator):
    """`EuclidGenerator` with clumpy, patchy, spiral, lopsided, merging and irregular galaxies.

    They are as common among the galaxies of an `EuclidCatalog` as `galaxy_parts` says, and a
    galaxy looks the same each time it is drawn. Each is one source, whatever lumps it has.
    """

    kind_of_galaxies = None

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        _, parts = galaxy_parts(source, flux, _rng_of(source))
        return parts


class HeldOutGalaxyGenerator(EuclidGenerator):
    """`EuclidGenerator` that draws real galaxies: if not told otherwise, which training never sees.

    Every galaxy of an `EuclidCatalog` down to a magnitude is a real one of about its size (see
    `real_parts`), the same each time it is drawn; stars, fainter galaxies, and the few that are
    larger than any real one, are drawn as by `EuclidGenerator`.

    Args:
        *args: Those of `EuclidGenerator`.
        real_galaxies: File of real galaxies (see `read_real_galaxies`).
        max_real_mag: Faintest I_E of a real galaxy.
        part: Only the half to calibrate on (``"calibration"``), or that to measure on
            (``"benchmark"``), or the others (``"training"``; see `part_of`); both halves if None.
        **kwargs: Those of `EuclidGenerator`.

    Raises:
        CatalogError: if the file holds no real galaxy of these.
    """

    kind_of_galaxies = "real"

    def __init__(
        self,
        *args,
        real_galaxies: str | Path,
        max_real_mag: float = 24.5,
        part: str | None = None,
        **kwargs,
    ) -> None:
        held_out = True if part is None else None
        self.galaxies = read_real_galaxies(real_galaxies, held_out, part)
        self.max_real_mag = max_real_mag
        super().__init__(*args, **kwargs)

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        parts = None
        if not source["is_star"] and source["IE_ab"] < self.max_real_mag:
            row = Table({name: [source[name]] for name in _SIZE_COLUMNS})
            radius = float(half_light_radius_arcsec(row)[0])
            parts = real_parts(self.galaxies, radius, flux, _rng_of(source))
        return super()._parts(source, flux) if parts is None else parts


class MixedRealGenerator(RealGalaxyGenerator, EuclidGenerator):
    """`RealGalaxyGenerator` of a catalog with the real galaxies of a file besides.

    Each object of the file is a row like those of the catalog. It has no magnitude of its own: it
    gets magnitude and size of a simulated galaxy that is no larger than itself, every half
    magnitude as likely, always the same. The column ``object_id`` tells objects apart: ``IDENT_1``
    of the catalog, and below 0 those of the file.

    Args:
        catalog: BTK's ``CosmosCatalog``.
        *args: Those of `RealGalaxyGenerator`.
        real_galaxies: File of real galaxies (see `read_real_galaxies`).
        part: Which of them (see `part_of`).
        population: Gives magnitudes and sizes.
        **kwargs: Those of `RealGalaxyGenerator`.

    Raises:
        CatalogError: if the file holds no real galaxy of these.
    """

    compatible_catalogs = CosmosGenerator.compatible_catalogs
    MAGNITUDES = (20.0, 25.0)

    def __init__(
        self,
        catalog: CosmosCatalog,
        *args: Any,
        real_galaxies: str | Path,
        population: EuclidCatalog,
        part: str = "benchmark",
        **kwargs: Any,
    ) -> None:
        images = read_real_galaxies(real_galaxies, part=part)
        names = sorted({galaxy.object_name for galaxy in images})
        self.images = {
            -1 - number: [galaxy for galaxy in images if galaxy.object_name == name]
            for number, name in enumerate(names)
        }
        simulated = population.table[~np.asarray(population.table["is_star"], bool)]
        magnitude = np.asarray(simulated["IE_ab"], float)
        radius = half_light_radius_arcsec(simulated)
        catalog = copy.copy(catalog)
        own = catalog.table.copy()
        own["object_id"] = np.asarray(own["IDENT_1"], int)
        own["radius_arcsec"] = np.full(len(own), np.nan)
        more = own[np.zeros(len(names), int)]
        for number, name in enumerate(names):
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            low = rng.choice(np.arange(*self.MAGNITUDES, 0.5))
            largest = max(galaxy.half_light_radius_arcsec for galaxy in self.images[-1 - number])
            fits = (magnitude >= low) & (magnitude < low + 0.5) & (radius <= largest)
            if not fits.any():
                raise CatalogError(
                    f"No galaxy of the population has {low} <= I_E < {low + 0.5} and is as small "
                    f"as {name} ({largest:.2f} arcsec): give a larger population."
                )
            like = rng.choice(np.flatnonzero(fits))
            more["object_id"][number] = -1 - number
            more["MAG"][number] = magnitude[like]
            more["radius_arcsec"][number] = radius[like]
        catalog.table = vstack([own, more], metadata_conflicts="silent")
        super().__init__(catalog, *args, **kwargs)

    def _check_compatibility(self, survey: Survey) -> None:
        CosmosGenerator._check_compatibility(self, survey)

    def render_single(self, entry, filt, psf, survey) -> galsim.Image:
        """Return the image of one source of the catalog alone, as BTK draws it."""
        return CosmosGenerator.render_single(self, entry, filt, psf, survey)

    def _draw_source(self, image, entry, filt, psf, survey) -> tuple[slice, slice] | None:
        if entry["object_id"] >= 0:
            return SceneGenerator._draw_source(self, image, entry, filt, psf, survey)
        return EuclidGenerator._draw_source(self, image, entry, filt, psf, survey)

    def _magnitude(self, source: Mapping, filt: Filter) -> Any:
        return source["MAG"]

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        rng = np.random.default_rng(-source["object_id"])
        parts = real_parts(self.images[source["object_id"]], source["radius_arcsec"], flux, rng)
        if parts is None:  # which the choice of the size rules out
            raise CatalogError(f"Object {source['object_id']} is too small to be drawn.")
        return parts


def _rng_of(source: Mapping) -> np.random.Generator:
    """Return a stream that is the same each time for a galaxy, and another for every other."""
    numbers = np.array([source[name] for name in _SEED_COLUMNS], float)
    return np.random.default_rng(numbers.view(np.uint32))
