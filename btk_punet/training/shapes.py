"""The galaxies that training data is drawn from: smooth ones, and those with structure.

Every galaxy here is one source, whatever lumps it has: what a detector must not take apart.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from btk_punet.simulation.rendering import Component, Part, source_components
from btk_punet.training.parts import LightGrid, PlacedComponent, centred

# Shapes that are not smooth, and how common each is among them. Disks at Euclid's resolution are
# mostly clumpy or spiral; few galaxies are caught merging.
IRREGULAR_KINDS = {
    "patchy": 0.36,
    "clumpy": 0.20,
    "spiral": 0.19,
    "lopsided": 0.10,
    "merging": 0.06,
    "irregular": 0.09,
}
# The share of galaxies with visible structure grows with the half-light radius [arcsec]: none is
# seen below the PSF's size, and nearly every large disk has some.
STRUCTURE_RADIUS_ARCSEC, STRUCTURE_SHARE = (0.10, 0.25, 0.40, 0.7), (0.0, 0.3, 0.7, 0.9)
# Early types are smooth: those more concentrated than this keep their Sersic profiles.
SMOOTH_ABOVE_SERSIC_N, SMOOTH_ABOVE_BULGE_TO_TOTAL = 2.5, 0.6

COMPANION_MAX_ARCSEC = 0.5

# The plane of a patchy disk, as a grid: its side [half-light radii] and its number of cells.
_PATCHY_SIDE, _PATCHY_CELLS = 8.0, 64


def galaxy_parts(
    row: Mapping, flux: float, rng: np.random.Generator, kind: str | None = None
) -> tuple[str, Sequence[Part]]:
    """Return what a source of an `EuclidCatalog` looks like, smooth or not.

    A galaxy with structure keeps the flux, axes and angle of its row; its centre is that of its
    light (the centroid), as a detector measures it.

    Args:
        row: Row of the catalog.
        flux: Total flux [electron].
        rng: Random stream.
        kind: One of `IRREGULAR_KINDS`; by default drawn, as common as in the sky at this size,
            with smooth ones among them.

    Returns:
        The kind (``"star"``, ``"sersic"``, ``"bulge_disk"`` or one of `IRREGULAR_KINDS`) and the
        parts.
    """
    smooth = source_components(row, flux)
    if row["is_star"]:
        return "star", smooth
    if kind is None:
        bulge_share = row["fluxnorm_bulge"] / (row["fluxnorm_disk"] + row["fluxnorm_bulge"])
        early = row["sersic_n"] > SMOOTH_ABOVE_SERSIC_N or bulge_share > SMOOTH_ABOVE_BULGE_TO_TOTAL
        radius = math.sqrt(row["a_d"] * row["b_d"])
        share = 0.0 if early else np.interp(radius, STRUCTURE_RADIUS_ARCSEC, STRUCTURE_SHARE)
        if rng.random() >= share:
            return ("sersic" if row["sersic_n"] > 0 else "bulge_disk"), smooth
        kind = str(rng.choice(list(IRREGULAR_KINDS), p=list(IRREGULAR_KINDS.values())))
    return kind, centred(_Disk(row, smooth, rng).parts(kind))


class _Disk:
    """The inclined disk of a galaxy, on which structure is placed."""

    def __init__(self, row: Mapping, smooth: list[Component], rng: np.random.Generator):
        self.smooth, self.rng = smooth, rng
        self.flux = sum(part.flux for part in smooth)
        self.a, self.b = float(row["a_d"]), float(row["b_d"])  # arcsec
        self.angle_deg = float(row["pa_disk"])

    def parts(self, kind: str) -> Sequence[PlacedComponent | LightGrid]:
        return getattr(self, f"_{kind}")()

    def _sky(self, radius: np.ndarray, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places [arcsec] of points of the disk, their radius in half-light radii."""
        along, across = self.a * radius * np.cos(azimuth), self.b * radius * np.sin(azimuth)
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        return along * cos - across * sin, along * sin + across * cos

    def _body(self, share: float, dx: float = 0.0, dy: float = 0.0) -> list[PlacedComponent]:
        """Return the smooth galaxy with this share of the light."""
        return [
            PlacedComponent.at(part._replace(flux=part.flux * share), dx, dy)
            for part in self.smooth
        ]

    def _knots(
        self,
        share: float,
        radius: np.ndarray,
        azimuth: np.ndarray,
        size: tuple[float, float],
        faintest: float = 0.15,
    ) -> list[PlacedComponent]:
        """Return knots on the disk that hold this share of the light.

        Args:
            share: Of the galaxy's light.
            radius: Where they are [half-light radii of the disk].
            azimuth: Where they are, in the plane of the disk [radian].
            size: Range of their half-light radii, in units of the disk's semi-minor axis (a knot
                is no larger than its disk is wide).
            faintest: Luminosity of the faintest knot over that of the brightest. Between the two
                they follow a power law of slope -2, as those of HII regions do, and they fall
                with the disk's light.
        """
        luminosity = 1 / self.rng.uniform(faintest, 1.0, len(radius)) * np.exp(-0.8 * radius)
        luminosity *= share * self.flux / luminosity.sum()
        sizes = np.maximum(self.rng.uniform(*size, len(radius)) * self.b, 0.015)
        x, y = self._sky(radius, azimuth)
        return [
            PlacedComponent.at(Component(float(flux), 1.0, float(half_light)), dx, dy)
            for flux, half_light, dx, dy in zip(luminosity, sizes, x, y, strict=True)
        ]

    def _patchy(self) -> list[PlacedComponent | LightGrid]:
        """A disk whose brightness follows a lognormal random field, often with a bulge.

        Star formation is correlated over all scales up to the disk's own, so the field has a
        power law for its spectrum: patches, rings, one-sided disks and bright knots off the
        centre come out of the same law. Half of them are wound up by the disk's rotation.
        """
        rng = self.rng
        steps = (np.arange(_PATCHY_CELLS) - (_PATCHY_CELLS - 1) / 2) * _PATCHY_SIDE / _PATCHY_CELLS
        x, y = np.meshgrid(steps, steps)
        radius = np.hypot(x, y)
        field = _random_field(_PATCHY_CELLS, rng.uniform(1.2, 3.0), rng)
        if rng.random() < 0.5:
            turn = rng.choice([-1, 1]) / math.tan(math.radians(rng.uniform(15, 40)))
            angle = np.arctan2(y, x) + turn * np.log(radius + 0.2)
            cells = _PATCHY_CELLS / _PATCHY_SIDE
            places = [radius * np.sin(angle) * cells, radius * np.cos(angle) * cells]
            field = ndimage.map_coordinates(field, places, order=1, mode="grid-wrap")
        sersic_n = rng.uniform(0.5, 1.3)
        smooth = np.exp(-(2 * sersic_n - 1 / 3) * radius ** (1 / sersic_n))
        # Clipped, so that no rare cell far out shines like a source of its own.
        light = (
            smooth
            * np.exp(rng.uniform(0.4, 1.4) * field.clip(-2.5, 2.5))
            * (radius < _PATCHY_SIDE / 2)
        )
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        axes = np.array([[self.a * cos, -self.b * sin], [self.a * sin, self.b * cos]])
        bulge = rng.uniform(0.02, 0.25) if rng.random() < 0.6 else 0.0
        disk = LightGrid(
            (1 - bulge) * self.flux,
            light / light.sum(),
            axes * _PATCHY_SIDE / _PATCHY_CELLS,
            0.0,
            0.0,
        )
        if not bulge:
            return [disk]
        # The brightest point of a late type is not always its middle.
        off = axes @ rng.uniform(-0.5, 0.5, 2) if rng.random() < 0.4 else np.zeros(2)
        size = max(rng.uniform(0.12, 0.3) * self.b, 0.02)
        return [disk, PlacedComponent.at(Component(bulge * self.flux, 1.0, size), *off)]

    def _clumpy(self) -> list[PlacedComponent]:
        """A disk with star-forming knots anywhere on it."""
        number = self.rng.integers(3, 15)
        # A lone knot brighter than a tenth of its galaxy would look like a source of its own.
        share = self.rng.uniform(0.1, min(0.045 * number, 0.5))
        radius = self.rng.gamma(2.5, 0.4, number).clip(0.15, 2.2)
        azimuth = self.rng.uniform(0, 2 * np.pi, number)
        return self._body(1 - share) + self._knots(share, radius, azimuth, (0.04, 0.22))

    def _spiral(self) -> list[PlacedComponent]:
        """Two (seldom three or one) logarithmic arms of overlapping knots, and a small bulge."""
        share = self.rng.uniform(0.25, 0.5)
        arms = self.rng.choice([1, 2, 3], p=[0.1, 0.7, 0.2])
        number = 12
        pitch = math.tan(math.radians(self.rng.uniform(12, 32)))
        turn = np.linspace(0, self.rng.uniform(0.8, 1.5) * np.pi, number)
        radius = 0.5 * np.exp(pitch * turn)
        radius *= self.rng.uniform(1.5, 2.2) / radius[-1]
        start = self.rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(arms)[:, None] / arms
        azimuth = self.rng.choice([-1, 1]) * (start + turn + self.rng.normal(0, 0.08, number))
        knots = self._knots(share, np.tile(radius, arms), azimuth.ravel(), (0.12, 0.35), 0.25)
        bulge = self.rng.uniform(0.02, 0.15)
        nucleus = Component(bulge * self.flux, 1.0, max(0.15 * self.b, 0.02))
        return [*self._body(1 - share - bulge), PlacedComponent.at(nucleus, 0, 0), *knots]

    def _lopsided(self) -> list[PlacedComponent]:
        """A second, broader disk on one side, and often a knot in it: light to one side."""
        second = self.rng.uniform(0.2, 0.5)
        x, y = self._sky(self.rng.uniform(0.6, 1.3, 1), self.rng.uniform(0, 2 * np.pi, 1))
        disk = Component(
            second * self.flux,
            1.0,
            self.rng.uniform(0.6, 1.2) * math.sqrt(self.a * self.b),
            min(1.0, self.b / self.a * self.rng.uniform(1.0, 1.6)),
            self.angle_deg + self.rng.normal(0, 15),
        )
        knot_share = float(self.rng.choice([0.0, self.rng.uniform(0.04, 0.15)]))
        radius, azimuth = self.rng.uniform(0.3, 1.3, 2), self.rng.uniform(0, 2 * np.pi, 2)
        return [
            *self._body(1 - second - knot_share),
            PlacedComponent.at(disk, x[0], y[0]),
            *(self._knots(knot_share, radius, azimuth, (0.1, 0.3)) if knot_share else []),
        ]

    def _merging(self) -> list[PlacedComponent]:
        """A small companion inside the body's light, and the tidal tail that it draws.

        Farther out or as bright as the body it would be a source of its own.
        """
        companion = self.rng.uniform(0.06, 0.2)
        tail = self.rng.uniform(0.04, 0.12)
        radius, azimuth = self.rng.uniform(0.5, 1.2), self.rng.uniform(0, 2 * np.pi)
        x, y = self._sky(np.array([radius]), np.array([azimuth]))
        nearer = min(1.0, COMPANION_MAX_ARCSEC / math.hypot(x[0], y[0]))
        radius, x, y = radius * nearer, x * nearer, y * nearer
        bend = self.rng.choice([-1, 1]) * np.linspace(0.1, 1.6, 8)
        size = max(self.rng.uniform(0.2, 0.45) * self.b, 0.03)
        galaxy = Component(companion * self.flux, 1.0, size, self.rng.uniform(0.5, 1.0), 0.0)
        arc = self._knots(tail, radius + np.linspace(0, 1.2, 8), azimuth + bend, (0.25, 0.4))
        return [*self._body(1 - companion - tail), PlacedComponent.at(galaxy, x[0], y[0]), *arc]

    def _irregular(self) -> list[PlacedComponent]:
        """Overlapping patches of unlike brightness, without a bulge, on a faint common disk."""
        number = self.rng.integers(2, 5)
        patches = self.rng.uniform(0.4, 0.75)
        fluxes = self.rng.dirichlet(np.full(number, 3.0)) * patches * self.flux
        radius, azimuth = self.rng.uniform(0.2, 1.0, number), self.rng.uniform(0, 2 * np.pi, number)
        x, y = self._sky(radius, azimuth)
        knot_share = self.rng.uniform(0.03, 0.2)
        count = self.rng.integers(2, 7)
        knots = self._knots(
            knot_share,
            self.rng.uniform(0.1, 1.3, count),
            self.rng.uniform(0, 2 * np.pi, count),
            (0.05, 0.2),
        )
        size = math.sqrt(self.a * self.b)
        blobs = [
            PlacedComponent.at(
                Component(
                    float(flux),
                    1.0,
                    self.rng.uniform(0.25, 0.65) * size,
                    self.rng.uniform(0.4, 1.0),
                    self.angle_deg + self.rng.normal(0, 30),
                ),
                dx,
                dy,
            )
            for flux, dx, dy in zip(fluxes, x, y, strict=True)
        ]
        return [*self._body(1 - patches - knot_share), *blobs, *knots]


def _random_field(size: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Return a periodic Gaussian field of unit variance, its power falling as k^-slope."""
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    k[0, 0] = np.inf
    modes = np.fft.rfft2(rng.standard_normal((size, size))) * k ** (-slope / 2)
    field = np.fft.irfft2(modes, s=(size, size))
    return field / field.std()
