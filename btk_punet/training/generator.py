"""Generators of blends whose galaxies have structure: made up, as in training, or real."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from btk_punet.simulation.catalog import half_light_radius_arcsec
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.rendering import Part
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

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        _, parts = galaxy_parts(source, flux, _rng_of(source))
        return parts


class HeldOutGalaxyGenerator(EuclidGenerator):
    """`EuclidGenerator` that draws the real galaxies which training never sees.

    Every galaxy of an `EuclidCatalog` down to a magnitude is a real one of about its size (see
    `real_parts`), the same each time it is drawn; stars, fainter galaxies, and the few that are
    larger than any real one, are drawn as by `EuclidGenerator`.

    Args:
        *args: Those of `EuclidGenerator`.
        real_galaxies: File of real galaxies (see `read_real_galaxies`).
        max_real_mag: Faintest I_E of a real galaxy.
        part: Only the half to calibrate on (``"calibration"``), or that to measure on
            (``"benchmark"``; see `part_of`); both if None.
        **kwargs: Those of `EuclidGenerator`.

    Raises:
        CatalogError: if the file holds no real galaxy of these.
    """

    def __init__(
        self,
        *args,
        real_galaxies: str | Path,
        max_real_mag: float = 24.5,
        part: str | None = None,
        **kwargs,
    ) -> None:
        self.galaxies = read_real_galaxies(real_galaxies, held_out=True, part=part)
        self.max_real_mag = max_real_mag
        super().__init__(*args, **kwargs)

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        parts = None
        if not source["is_star"] and source["IE_ab"] < self.max_real_mag:
            row = Table({name: [source[name]] for name in _SIZE_COLUMNS})
            radius = float(half_light_radius_arcsec(row)[0])
            parts = real_parts(self.galaxies, radius, flux, _rng_of(source))
        return super()._parts(source, flux) if parts is None else parts


def _rng_of(source: Mapping) -> np.random.Generator:
    """Return a stream that is the same each time for a galaxy, and another for every other."""
    numbers = np.array([source[name] for name in _SEED_COLUMNS], float)
    return np.random.default_rng(numbers.view(np.uint32))
