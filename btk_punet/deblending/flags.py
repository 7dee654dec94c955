"""The bit flags that deblenders write into the `flags` column of their catalogs."""

import enum


class DetectionFlag(enum.IntFlag):
    """What may be wrong with a detection; 0 means nothing is known to be.

    Test a column with ``catalog["flags"] & DetectionFlag.EDGE != 0``.
    """

    TRUNCATED = 1
    """The image held more detections than `max_n_sources`; this is one of those kept."""

    BAD_PIXEL = 2
    """The footprint covers or touches (8 neighbours) a pixel without a usable value."""

    EDGE = 4
    """The footprint touches the border of the image, so part of the source may be outside."""

    FIT_FAILED = 8
    """No model could be fitted: the place is that of the peak, and the flux no total flux."""
