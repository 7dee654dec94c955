"""What galaxies that are not smooth are put together from: parts that stand off the centre."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import galsim
import numpy as np

from btk_punet.simulation.rendering import Component, Part


class PlacedComponent(Component):
    """A component that stands off the source's centre: a knot, a companion, a lopsided disk."""

    dx_arcsec: float
    dy_arcsec: float

    @classmethod
    def at(cls, component: Component, dx_arcsec: float, dy_arcsec: float) -> "PlacedComponent":
        """Return a component moved from the centre by this much."""
        placed = cls(*component)
        placed.dx_arcsec, placed.dy_arcsec = float(dx_arcsec), float(dy_arcsec)
        return placed

    def centroid(self) -> tuple[float, float]:
        """Return the centroid of its light [arcsec from the source's centre]."""
        return self.dx_arcsec, self.dy_arcsec

    def moved(self, dx_arcsec: float, dy_arcsec: float) -> "PlacedComponent":
        """Return the component moved by this much."""
        return self.at(self, self.dx_arcsec + dx_arcsec, self.dy_arcsec + dy_arcsec)

    def profile(self) -> galsim.GSObject:
        """Return the GalSim profile, at its place, before the PSF."""
        return super().profile().shift(self.dx_arcsec, self.dy_arcsec)

    def radius_at(self, surface_brightness: float) -> float:
        """Return how far from the source's centre [arcsec] it is brighter than this."""
        offset = math.hypot(self.dx_arcsec, self.dy_arcsec)
        return offset + super().radius_at(surface_brightness)


@dataclass(frozen=True, eq=False)
class LightGrid:
    """A galaxy, or a part of one, given by its light on a grid, scaled and turned.

    Attributes:
        flux: Total flux [electron].
        light: Share of the light in each cell, ``(n, n)``; it sums to 1.
        cell: ``(2, 2)``: the matrix from cells to the sky [arcsec].
        dx_arcsec: Where the middle of the grid stands, from the source's centre.
        dy_arcsec: The same in y.
    """

    flux: float
    light: np.ndarray
    cell: np.ndarray
    dx_arcsec: float
    dy_arcsec: float

    def moved(self, dx_arcsec: float, dy_arcsec: float) -> "LightGrid":
        """Return it moved by this much."""
        return replace(
            self, dx_arcsec=self.dx_arcsec + dx_arcsec, dy_arcsec=self.dy_arcsec + dy_arcsec
        )

    def profile(self) -> galsim.GSObject:
        """Return the GalSim profile, at its place, before the PSF."""
        grid = galsim.InterpolatedImage(
            galsim.Image(self.light, scale=1.0), x_interpolant="linear", flux=self.flux
        )
        jacobian = self.cell.ravel().tolist()
        # A transformation that stretches an image keeps its surface brightness, not its flux.
        placed = galsim.Transform(
            grid, jac=jacobian, flux_ratio=1 / abs(float(np.linalg.det(self.cell)))
        )
        return placed.shift(self.dx_arcsec, self.dy_arcsec)

    def radius_at(self, surface_brightness: float) -> float:
        """Return how far from the source's centre [arcsec] it is brighter than this."""
        area = abs(float(np.linalg.det(self.cell)))
        rows, cols = np.nonzero(self.light * self.flux / area > surface_brightness)
        if len(rows) == 0:
            return 0.0
        middle = (len(self.light) - 1) / 2
        x, y = self.cell @ np.array([cols - middle, rows - middle])
        return float(np.hypot(x + self.dx_arcsec, y + self.dy_arcsec).max())

    def centroid(self) -> tuple[float, float]:
        """Return the centroid of its light [arcsec from the source's centre]."""
        steps = np.arange(len(self.light)) - (len(self.light) - 1) / 2
        x, y = self.cell @ [self.light.sum(axis=0) @ steps, self.light.sum(axis=1) @ steps]
        return self.dx_arcsec + float(x), self.dy_arcsec + float(y)


def centred(parts: Sequence[PlacedComponent | LightGrid]) -> list[Part]:
    """Return the parts moved together, so that the centroid of their light is the centre."""
    flux = [part.flux for part in parts]
    x, y = np.average([part.centroid() for part in parts], axis=0, weights=flux)
    return [part.moved(-x, -y) for part in parts]
