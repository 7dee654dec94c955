"""What can stand on an axis or in a column: its name, label, unit and bins, once.

A `Column` says what a column of a table holds. A `Quantity` is one that figures are binned by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from btk_punet.errors import InputError

Edges = Sequence[float] | np.ndarray

# How the information ceiling is named among the methods of a completeness table.
CEILING = "information ceiling"
WILSON = "68% Wilson interval"

NEIGHBOUR_DISTANCE_EDGES = (0.0, 0.3, 0.5, 0.8, 1.2, 2.0, np.inf)
MAGNITUDE_EDGES = (-np.inf, *np.arange(18.0, 28.01, 0.5).tolist(), np.inf)
SNR_EDGES = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 40.0, 80.0, np.inf)


@dataclass(frozen=True)
class Column:
    """What a column of a table holds.

    Attributes:
        name: Its name in the table.
        description: What it is, a phrase.
        unit: Unit, as astropy writes it; empty for none.
        heading: What stands above it in a report, without the unit; the name if empty.
        format: How a number is shown, a format specification such as ``".3f"`` or ``",d"``;
            empty for a text.
        interval: What the columns ``<name>_lo`` and ``<name>_hi`` bound, such as `WILSON`; empty
            where there are none.
    """

    name: str
    description: str
    unit: str = ""
    heading: str = ""
    format: str = ""
    interval: str = ""

    @property
    def head(self) -> str:
        """The heading with the unit: ``Distance [arcsec]``."""
        heading = self.heading or self.name
        return f"{heading} [{self.unit}]" if self.unit else heading

    def with_ends(self) -> Iterator[Column]:
        """Yield the column and, if it has an interval, the columns of its ends."""
        yield self
        if self.interval:
            for end, word in (("lo", "lower"), ("hi", "upper")):
                yield Column(
                    f"{self.name}_{end}",
                    f"{word} end of the {self.interval} of {self.name}",
                    self.unit,
                )


@dataclass(frozen=True)
class Quantity:
    """What figures are binned by.

    Attributes:
        key: Column of the tidy table that holds it.
        name: In the names of tables and files: ``completeness_by_<name>``.
        words: In a sentence: "completeness by <words>".
        label: Of an axis, with the unit.
        heading: Of a column of bins in a report, without the unit.
        unit: As astropy writes it; empty for none.
        edges: Of the bins ``[lo, hi)``, increasing.
        even: Whether the bins are shown with the same number of decimals, as magnitudes are.
    """

    key: str
    name: str
    words: str
    label: str
    heading: str
    unit: str
    edges: tuple[float, ...]
    even: bool = False

    def columns(self) -> tuple[Column, Column]:
        """Return what the columns ``lo`` and ``hi`` of its bins are."""
        low = f"lower edge of the bin of the {self.words}"
        if self.key == "magnitude":
            low += "; infinite, as is hi, for detections without a positive flux"
        return (
            Column("lo", low, self.unit, self.heading),
            Column("hi", "upper edge of the bin, which is not in it", self.unit),
        )


_DISTANCE = "Distance"

# Of true sources: columns of the truth table.
OF_SOURCES = {
    quantity.key: quantity
    for quantity in (
        Quantity(
            "magnitude", "magnitude", "true magnitude", "True magnitude [AB mag]",
            "Magnitude", "mag", MAGNITUDE_EDGES, even=True,
        ),
        Quantity(
            "neighbour_distance_arcsec", "neighbour_distance",
            "distance to the nearest neighbour", "Distance to nearest neighbour [arcsec]",
            _DISTANCE, "arcsec", NEIGHBOUR_DISTANCE_EDGES,
        ),
        Quantity(
            "size_arcsec", "size", "half-light radius", "Half-light radius [arcsec]",
            "Half-light radius", "arcsec",
            (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, np.inf),
        ),
        Quantity(
            "alone_snr", "alone_snr", "signal-to-noise ratio that a source would have alone",
            "Signal-to-noise ratio if it were alone", "S/N", "", SNR_EDGES,
        ),
        Quantity(
            "limit_snr", "limit_snr",
            "signal-to-noise ratio of a source among unknown neighbours (information limit)",
            "Signal-to-noise ratio among unknown neighbours (information limit)", "S/N", "",
            SNR_EDGES,
        ),
        Quantity(
            "blendedness", "blendedness", "blendedness", "Blendedness", "Blendedness", "",
            (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, np.inf),
        ),
    )
}  # fmt: skip

# Of detections: columns of the detection table, measured the same way for every method.
OF_DETECTIONS = {
    quantity.key: quantity
    for quantity in (
        Quantity(
            "magnitude", "magnitude", "magnitude in an aperture of 0.5 arcsec radius",
            "Magnitude in an aperture of 0.5 arcsec radius [AB mag]", "Magnitude", "mag",
            MAGNITUDE_EDGES, even=True,
        ),
        Quantity(
            "neighbour_distance_arcsec", "neighbour_distance",
            "distance to the nearest other detection",
            "Distance to nearest other detection [arcsec]", _DISTANCE, "arcsec",
            NEIGHBOUR_DISTANCE_EDGES,
        ),
    )
}  # fmt: skip

# Of blends, true regions of several sources: columns of the region table.
OF_BLENDS = {
    quantity.key: quantity
    for quantity in (
        Quantity(
            "neighbour_distance_arcsec", "neighbour_distance",
            "distance between the closest two sources",
            "Distance between the closest two sources [arcsec]", _DISTANCE, "arcsec",
            NEIGHBOUR_DISTANCE_EDGES,
        ),
        Quantity(
            "magnitude_difference", "magnitude_difference",
            "magnitude difference between the brightest two sources",
            "Magnitude difference of the brightest two sources [mag]", "Difference", "mag",
            (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf),
        ),
        Quantity(
            "limit_snr", "limit_snr",
            "information limit of the hardest source (its signal-to-noise ratio among unknown "
            "neighbours)",
            "Signal-to-noise ratio of the hardest source (information limit)", "S/N", "",
            SNR_EDGES,
        ),
    )
}  # fmt: skip

# What is varied to see whether a method is as good everywhere; their edges are the values.
# The sky residual is a level left in all pixels (below 0: too much was subtracted), in units of the
# standard deviation of the background in one pixel.
CONDITIONS = {
    quantity.key: quantity
    for quantity in (
        Quantity(
            "psf_fwhm_arcsec", "psf_fwhm", "FWHM of the PSF", "FWHM of the PSF [arcsec]",
            "PSF", "arcsec", (0.14, 0.16, 0.18, 0.20, 0.22),
        ),
        Quantity(
            "n_exposures", "n_exposures", "number of exposures", "Exposures", "Exposures", "",
            (1, 2, 4, 6),
        ),
        Quantity(
            "sky_residual_sigma", "sky_residual", "sky residual",
            "Sky left over (+) or oversubtracted (−)\n[standard deviation of a pixel's background]",
            "Sky residual", "", (-0.2, -0.1, 0.0, 0.1, 0.2),
        ),
        Quantity(
            "density_per_arcmin2", "density", "density of sources",
            "Sources per square arcminute", "Density", "arcmin-2", (30, 60, 120, 240),
        ),
    )
}  # fmt: skip


METHOD = Column("method", "name of the method", heading="Method")


def check_edges(edges: Edges) -> np.ndarray:
    """Return bin edges as an array, after checking that there are two or more, increasing."""
    array = np.asarray(edges, float)
    if array.ndim != 1 or len(array) < 2 or not (np.diff(array) > 0).all():
        raise InputError(f"edges must be two or more increasing numbers, got {edges}.")
    return array
