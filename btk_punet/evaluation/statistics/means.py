"""Means in bins of a quantity, from sums that batches can be merged by."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from btk_punet.evaluation.statistics.fractions import Edges, bin_numbers, check_batches, check_edges

_SUMS = ["n", "sum", "sum_of_squares"]


def binned_sums(values: np.ndarray, measured: np.ndarray, edges: Edges) -> pd.DataFrame:
    """Return number, sum and sum of squares of what was measured, in bins ``[lo, hi)``.

    Args:
        values: Quantity to bin by, shape (m,); bins are as in `binned_fraction`.
        measured: What the mean is of, finite, shape (m,).
        edges: Increasing edges of the bins.

    Returns:
        One row per bin: ``lo``, ``hi``, ``n``, ``sum``, ``sum_of_squares``.
    """
    edges = check_edges(edges)
    measured = np.asarray(measured, float)
    which = bin_numbers(np.asarray(values, float), edges)
    inside = which >= 0
    sums = [
        np.bincount(which[inside], weights, minlength=len(edges) - 1)
        for weights in (None, measured[inside], measured[inside] ** 2)
    ]
    return pd.DataFrame({"lo": edges[:-1], "hi": edges[1:], **dict(zip(_SUMS, sums, strict=True))})


def merged_means(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the means from the sums of several batches: sums added up, then divided.

    Args:
        tables: Of `binned_sums`, all with the same bins.

    Returns:
        One row per bin: ``lo``, ``hi``, ``n``, ``value`` (the mean; NaN where n is 0), ``error``
        (standard error of the mean: scatter of the sample over sqrt(n); NaN below two),
        ``value_lo`` and ``value_hi`` = value -/+ error.

    Raises:
        InputError: if there is no table.
    """
    check_batches(tables)
    n, total, squares = (np.sum([table[name] for table in tables], axis=0) for name in _SUMS)
    value = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
    # Rounding may leave the squares below what they are exactly.
    spread = np.maximum(squares - np.where(n > 0, value, 0.0) * total, 0.0)
    variance = np.divide(spread, n * (n - 1), out=np.full(len(n), np.nan), where=n > 1)
    error = np.sqrt(variance)
    means = {
        "n": n,
        "value": value,
        "error": error,
        "value_lo": value - error,
        "value_hi": value + error,
    }
    return tables[0][["lo", "hi"]].assign(**means)
