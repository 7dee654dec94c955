"""How detections are counted: the choices that all tables of a run share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from btk_punet.errors import InputError
from btk_punet.options import option
from btk_punet.simulation.thresholds import COUNTS_SNR, NEIGHBOUR_SNR

if TYPE_CHECKING:
    from btk_punet.evaluation.quantities import Quantity


@dataclass(frozen=True)
class Rules:
    """How detections are counted.

    Raises:
        InputError: for a radius that is not above 0, a ``min_snr`` below 2 (fainter sources are
            not matched), or edges that do not increase.
    """

    radius_arcsec: float = option(
        0.3,
        "matching radius: a source and a detection can be matched when closer than this [arcsec]",
        type=float,
        flags=("--match-radius",),
    )
    min_snr: float = option(
        COUNTS_SNR,
        "a source counts when its signal-to-noise ratio, were it alone, is above this (at least 2)",
        type=float,
    )
    mag_bins: Sequence[float] | None = option(
        None,
        "edges of the bins of magnitudes; steps of 0.5 if left out",
        type=float,
        nargs="+",
        metavar="EDGE",
    )
    distance_bins: Sequence[float] | None = option(
        None,
        "edges of the bins of neighbour distances [arcsec]; 0 0.3 0.5 0.8 1.2 2 inf if left out",
        type=float,
        nargs="+",
        metavar="EDGE",
    )

    def __post_init__(self):
        """Check the values; keep edges as tuples of floats, which can be compared."""
        if not self.radius_arcsec > 0:
            raise InputError(
                f"The matching radius must be above 0 arcsec, got {self.radius_arcsec}."
            )
        if not (math.isfinite(self.min_snr) and self.min_snr >= NEIGHBOUR_SNR):
            raise InputError(
                f"min_snr must be a number of at least {NEIGHBOUR_SNR:g}, below which sources are "
                f"not matched; got {self.min_snr}."
            )
        # Here and not above: the command line reads the words, and answers --help at once.
        from btk_punet.evaluation.quantities import check_edges

        for name in ("mag_bins", "distance_bins"):
            edges = getattr(self, name)
            if edges is not None:
                object.__setattr__(self, name, tuple(map(float, check_edges(edges))))

    def edges(self, quantity: Quantity) -> tuple[float, ...]:
        """Return the edges of the bins of a quantity."""
        chosen = {"magnitude": self.mag_bins, "neighbour_distance_arcsec": self.distance_bins}
        edges = chosen.get(quantity.key)
        return quantity.edges if edges is None else tuple(edges)
