"""Which galaxies make a scene and where they stand: groups, pairs, fields, one to inject.

BTK's conventions: ``stamp_size`` [arcsec] first, ``ra`` and ``dec`` [arcsec] from the centre of
the stamp. All randomness comes from ``self.rng``.
"""

import numpy as np
from astropy.table import Table
from btk.sampling_functions import SamplingFunction
from btk.utils import DEFAULT_SEED

from btk_punet.errors import CatalogError, InputError
from btk_punet.simulation.density import (
    NEIGHBOUR_RADIUS_ARCSEC,
    SKY_NEIGHBOURS,
    bright_share,
    even_weights,
    galaxies_per_arcmin2,
    near_share_of_disk,
    near_share_of_group,
    near_share_of_pair,
)


class EuclidSampling(SamplingFunction):
    """Base of them all: a cut in magnitude, and galaxies drawn from it with replacement."""

    def __init__(
        self,
        stamp_size: float,
        max_number: int,
        min_number: int,
        min_mag: float,
        max_mag: float,
        mag_name: str,
        seed: int,
    ):
        if not stamp_size > 0:
            raise InputError(f"stamp_size must be above 0 arcsec, got {stamp_size}.")
        if not 0 <= min_number <= max_number:
            raise InputError(
                f"Expected 0 <= min_number <= max_number, got {min_number} and {max_number}."
            )
        if not min_mag < max_mag:
            raise InputError(f"Expected min_mag < max_mag, got {min_mag} and {max_mag}.")
        super().__init__(stamp_size, max_number, min_number, seed)
        self.min_mag, self.max_mag, self.mag_name = min_mag, max_mag, mag_name

    @property
    def density_ratio(self) -> float:
        """How many times as dense as in the sky sources lie (see `simulation.density`).

        It is computed from the arguments, for galaxies that are as common as in the sky within the
        limits of the magnitude; borders are left out. 0 where there is never more than one source.
        """
        return bright_share(self.min_mag, self.max_mag) * self._neighbours() / SKY_NEIGHBOURS

    def _neighbours(self) -> float:
        """Return how many others, of any magnitude, are near a source in the mean."""
        return 0.0

    def _draw(self, table: Table, number: int) -> Table:
        """Return ``number`` rows within the magnitude limits, as a new table."""
        if self.mag_name not in table.colnames:
            raise CatalogError(
                f"The catalog has no column '{self.mag_name}' to cut in magnitude; it has "
                f"{table.colnames}. Give mag_name= one of them."
            )
        magnitude = np.asarray(table[self.mag_name])
        (rows,) = np.where((magnitude >= self.min_mag) & (magnitude < self.max_mag))
        if len(rows) == 0:
            raise CatalogError(
                f"No source of the catalog has {self.min_mag} <= {self.mag_name} < "
                f"{self.max_mag}: widen min_mag and max_mag, or use another catalog."
            )
        return table[self.rng.choice(rows, size=number, p=self._weights(magnitude[rows]))]

    def _weights(self, magnitude: np.ndarray) -> np.ndarray | None:
        """Return how likely each row is to be drawn; None if all are alike."""
        return None

    def _magnitudes(self) -> str:
        return f"{self.mag_name} from {self.min_mag:g} to {self.max_mag:g}"

    def _place(self, scene: Table, x_arcsec: np.ndarray, y_arcsec: np.ndarray) -> Table:
        scene["ra"], scene["dec"] = x_arcsec, y_arcsec
        return scene


class EuclidGroupSampling(EuclidSampling):
    """Groups of galaxies, uniform in radius (so denser to the middle) around the stamp's centre.

    Args:
        stamp_size: Side of the stamp [arcsec].
        max_number: Most galaxies in a group.
        min_number: Fewest; every number between is as likely.
        max_radius: Radius of the group [arcsec].
        min_mag: Brightest magnitude.
        max_mag: Faintest magnitude.
        mag_name: Column of the magnitude.
        seed: Seed of the random stream.
    """

    def __init__(
        self,
        stamp_size: float = 6.4,
        max_number: int = 6,
        min_number: int = 1,
        max_radius: float = 1.6,
        min_mag: float = 19.5,
        max_mag: float = 25.3,
        mag_name: str = "IE_ab",
        seed: int = DEFAULT_SEED,
    ):
        super().__init__(stamp_size, max_number, min_number, min_mag, max_mag, mag_name, seed)
        if not 0 < max_radius <= stamp_size / 2:
            raise InputError(
                f"max_radius must lie between 0 and half the stamp ({stamp_size / 2} arcsec), "
                f"got {max_radius}."
            )
        self.max_radius = max_radius

    @property
    def description(self) -> str:
        """What the scenes hold, in words."""
        return (
            f"groups of {self.min_number} to {self.max_number} sources, uniform in radius within "
            f"{self.max_radius:g} arcsec, {self._magnitudes()}"
        )

    def _neighbours(self) -> float:
        numbers = np.arange(self.min_number, self.max_number + 1)
        # The mean over sources and not over groups: large groups hold more of the sources.
        others = (numbers * (numbers - 1)).sum() / max(numbers.sum(), 1)
        return float(others) * near_share_of_group(self.max_radius)

    def __call__(self, table: Table) -> Table:
        """Return one group: rows of ``table`` with new ``ra`` and ``dec`` [arcsec]."""
        number = self.rng.integers(self.min_number, self.max_number + 1)
        scene = self._draw(table, number)
        radius = self.rng.uniform(0.0, self.max_radius, number)
        angle = self.rng.uniform(0.0, 2 * np.pi, number)
        return self._place(scene, radius * np.cos(angle), radius * np.sin(angle))


class EuclidPairSampling(EuclidSampling):
    """Pairs at a controlled separation, uniform between two limits, at any angle.

    The middle of the pair falls anywhere within a pixel or so of the stamp's centre, so that no
    position in the pixel grid is preferred.

    Args:
        stamp_size: Side of the stamp [arcsec].
        min_separation: Smallest separation [arcsec].
        max_separation: Largest separation [arcsec].
        min_mag: Brightest magnitude.
        max_mag: Faintest magnitude.
        mag_name: Column of the magnitude.
        seed: Seed of the random stream.
    """

    MIDDLE_ARCSEC = 0.1  # half-width of the square in which the pair's middle falls

    def __init__(
        self,
        stamp_size: float = 6.4,
        min_separation: float = 0.2,
        max_separation: float = 2.0,
        min_mag: float = 19.5,
        max_mag: float = 25.0,
        mag_name: str = "IE_ab",
        seed: int = DEFAULT_SEED,
    ):
        super().__init__(stamp_size, 2, 2, min_mag, max_mag, mag_name, seed)
        if not 0 <= min_separation <= max_separation <= stamp_size - 2 * self.MIDDLE_ARCSEC:
            raise InputError(
                "Expected 0 <= min_separation <= max_separation, both inside the stamp "
                f"({stamp_size} arcsec); got {min_separation} and {max_separation}."
            )
        self.min_separation, self.max_separation = min_separation, max_separation

    @property
    def description(self) -> str:
        """What the scenes hold, in words."""
        return (
            f"pairs {self.min_separation:g} to {self.max_separation:g} arcsec apart, "
            f"{self._magnitudes()}"
        )

    def _neighbours(self) -> float:
        return near_share_of_pair(self.min_separation, self.max_separation)

    def __call__(self, table: Table) -> Table:
        """Return one pair: two rows of ``table`` with new ``ra`` and ``dec`` [arcsec]."""
        scene = self._draw(table, 2)
        separation = self.rng.uniform(self.min_separation, self.max_separation)
        angle = self.rng.uniform(0.0, 2 * np.pi)
        middle = self.rng.uniform(-self.MIDDLE_ARCSEC, self.MIDDLE_ARCSEC, 2)
        half = 0.5 * separation * np.array([-1.0, 1.0])
        return self._place(
            scene, middle[0] + half * np.cos(angle), middle[1] + half * np.sin(angle)
        )


class EuclidFieldSampling(EuclidSampling):
    """A field at a given density, of which a part is clustered around the other galaxies.

    Args:
        stamp_size: Side of the field [arcsec].
        density: Mean number of galaxies per square arcminute, over all magnitudes drawn.
        clustered_fraction: Fraction of the galaxies that is placed next to another one.
        cluster_radius: Farthest that a clustered galaxy stands from its partner [arcsec]; every
            place within is as likely.
        max_number: Most galaxies in a field; by default 6 sigma above the mean.
        min_number: Fewest galaxies in a field.
        min_mag: Brightest magnitude.
        max_mag: Faintest magnitude.
        mag_name: Column of the magnitude.
        seed: Seed of the random stream.
    """

    def __init__(
        self,
        stamp_size: float = 25.6,
        density: float = 120.0,
        clustered_fraction: float = 0.5,
        cluster_radius: float = 5.0,
        max_number: int | None = None,
        min_number: int = 0,
        min_mag: float = 19.5,
        max_mag: float = 26.5,
        mag_name: str = "IE_ab",
        seed: int = DEFAULT_SEED,
    ):
        if not density >= 0:
            raise InputError(f"density must be 0 or more per square arcmin, got {density}.")
        if not 0 <= clustered_fraction <= 1:
            raise InputError(f"clustered_fraction must lie in 0-1, got {clustered_fraction}.")
        if not cluster_radius > 0:
            raise InputError(f"cluster_radius must be above 0 arcsec, got {cluster_radius}.")
        self.mean_number = density * (stamp_size / 60.0) ** 2
        if max_number is None:
            max_number = max(min_number, int(np.ceil(self.mean_number + 6 * self.mean_number**0.5)))
        super().__init__(stamp_size, max_number, min_number, min_mag, max_mag, mag_name, seed)
        self.clustered_fraction, self.cluster_radius = clustered_fraction, cluster_radius

    @classmethod
    def sky(
        cls,
        stamp_size: float = 25.6,
        min_mag: float = 18.0,
        max_mag: float = 26.5,
        mag_name: str = "IE_ab",
        seed: int = DEFAULT_SEED,
    ) -> "EuclidFieldSampling":
        """Return fields as dense as the sky to a magnitude, not clustered."""
        density = galaxies_per_arcmin2(max_mag) - galaxies_per_arcmin2(min_mag)
        return cls(
            stamp_size, density, 0.0, min_mag=min_mag, max_mag=max_mag, mag_name=mag_name, seed=seed
        )

    @property
    def description(self) -> str:
        """What the scenes hold, in words."""
        return (
            f"fields of {self.mean_number * (60 / self.stamp_size) ** 2:g} sources per square "
            f"arcminute, "
            f"{self.clustered_fraction:.0%} of them clustered, {self._magnitudes()}"
        )

    def _neighbours(self) -> float:
        per_arcmin2 = self.mean_number * (60 / self.stamp_size) ** 2
        by_chance = per_arcmin2 * np.pi * (NEIGHBOUR_RADIUS_ARCSEC / 60) ** 2
        if self.mean_number < 1:  # there is hardly another one to stand next to
            return by_chance
        # A share of the sources stands next to another one, which has the source for a neighbour,
        # too; and next to those that stand next to the same one.
        share = min(self.clustered_fraction, 1 - 1 / self.mean_number)
        to_partner = min(NEIGHBOUR_RADIUS_ARCSEC / self.cluster_radius, 1.0) ** 2
        to_others = near_share_of_disk(self.cluster_radius)
        return by_chance + 2 * share * to_partner + share**2 / (1 - share) * to_others

    def __call__(self, table: Table) -> Table:
        """Return one field: rows of ``table`` with new ``ra`` and ``dec`` [arcsec]."""
        number = int(np.clip(self.rng.poisson(self.mean_number), self.min_number, self.max_number))
        scene = self._draw(table, number)
        half = self.stamp_size / 2
        position = self.rng.uniform(-half, half, (number, 2))
        # One at least stays where it is, for the others to stand next to.
        clustered = min(self.rng.binomial(number, self.clustered_fraction), max(number - 1, 0))
        partner = self.rng.integers(clustered, max(number, 1), clustered)
        radius = self.cluster_radius * np.sqrt(self.rng.uniform(0.0, 1.0, clustered))
        angle = self.rng.uniform(0.0, 2 * np.pi, clustered)
        offset = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        position[:clustered] = position[partner] + offset
        # The border is a mirror for those that would fall outside.
        folded = (position + half) % (4 * half)
        position = np.where(folded > 2 * half, 4 * half - folded, folded) - half
        return self._place(scene, position[:, 0], position[:, 1])


class EuclidInjectionSampling(EuclidSampling):
    """One source an image, anywhere on it, every half magnitude as likely: what to inject.

    Drawn as they are counted, hardly any sources would be bright. Of one magnitude the catalog
    decides on sizes and shapes.

    Args:
        stamp_size: Side of the image [arcsec].
        min_mag: Brightest magnitude.
        max_mag: Faintest magnitude; best where nothing is found any more.
        mag_name: Column of the magnitude.
        seed: Seed of the random stream. (Another one than those above have: with the seed of the
            images, a generator would give the injected sources the very noise of the images.)
    """

    def __init__(
        self,
        stamp_size: float = 6.4,
        min_mag: float = 19.5,
        max_mag: float = 28.0,
        mag_name: str = "IE_ab",
        seed: int = DEFAULT_SEED + 1,
    ):
        super().__init__(stamp_size, 1, 1, min_mag, max_mag, mag_name, seed)

    def __call__(self, table: Table) -> Table:
        """Return one source: a row of ``table`` with new ``ra`` and ``dec`` [arcsec]."""
        half = self.stamp_size / 2
        return self._place(self._draw(table, 1), *self.rng.uniform(-half, half, (2, 1)))

    def _weights(self, magnitude: np.ndarray) -> np.ndarray:
        return even_weights(magnitude, self.min_mag, self.max_mag)


# Those that can be chosen by name; a new one takes its class and a line here.
SAMPLINGS = {
    "groups": EuclidGroupSampling,
    "pairs": EuclidPairSampling,
    "fields": EuclidFieldSampling,
}
