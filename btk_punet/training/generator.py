"""A generator of blends whose galaxies have structure, as those of the training do."""

from collections.abc import Mapping, Sequence

import numpy as np

from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.rendering import Part
from btk_punet.training.shapes import galaxy_parts

# What tells a galaxy of a catalog from all others, and so seeds its structure.
_SEED_COLUMNS = ("IE_ab", "a_d", "b_d", "pa_disk")


class StructuredEuclidGenerator(EuclidGenerator):
    """`EuclidGenerator` with clumpy, patchy, spiral, lopsided, merging and irregular galaxies.

    They are as common among the galaxies of an `EuclidCatalog` as `galaxy_parts` says, and a
    galaxy looks the same each time it is drawn. Each is one source, whatever lumps it has.
    """

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        numbers = np.array([source[name] for name in _SEED_COLUMNS], float)
        _, parts = galaxy_parts(source, flux, np.random.default_rng(numbers.view(np.uint32)))
        return parts
