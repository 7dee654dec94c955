"""Bins of a quantity, and what fraction of the sources in each: counts, then one division."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from astropy.stats import binom_conf_interval

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import OF_DETECTIONS, OF_SOURCES, Edges, check_edges

T = TypeVar("T")

CONFIDENCE = 0.6827  # of the Wilson intervals: one sigma

DEFAULT_EDGES = {key: quantity.edges for key, quantity in OF_SOURCES.items()}
COMPLETENESS_BY = tuple(OF_SOURCES)
PURITY_BY = tuple(OF_DETECTIONS)


def fractions(n: np.ndarray, k: np.ndarray) -> pd.DataFrame:
    """Return ``n``, ``k``, ``value`` = k / n and its 68% Wilson interval; NaN where n is 0.

    Args:
        n: Numbers of trials, shape (m,).
        k: Numbers of successes, shape (m,).
    """
    n, k = np.asarray(n, int), np.asarray(k, int)
    some = n > 0
    value, low, high = (np.full(n.shape, np.nan) for _ in range(3))
    value[some] = k[some] / n[some]
    if some.any():
        low[some], high[some] = binom_conf_interval(
            k[some], n[some], confidence_level=CONFIDENCE, interval="wilson"
        )
    return pd.DataFrame({"n": n, "k": k, "value": value, "value_lo": low, "value_hi": high})


def binned_fraction(values: np.ndarray, success: np.ndarray, edges: Edges) -> pd.DataFrame:
    """Return the fraction of successes in bins ``[lo, hi)``.

    A last edge of infinity takes in infinite values; what lies outside of all bins is not
    counted.

    Args:
        values: Quantity to bin by, shape (m,).
        success: Booleans, shape (m,).
        edges: Increasing edges of the bins.

    Returns:
        One row a bin: ``lo``, ``hi`` and the columns of `fractions`.
    """
    edges = check_edges(edges)
    success = np.asarray(success, bool)
    which = bin_numbers(np.asarray(values, float), edges)
    inside = which >= 0
    n = np.bincount(which[inside], minlength=len(edges) - 1)
    k = np.bincount(which[inside & success], minlength=len(edges) - 1)
    table = fractions(n, k)
    table.insert(0, "hi", edges[1:])
    table.insert(0, "lo", edges[:-1])
    return table


def check_batches(batches: Sequence[T]) -> Sequence[T]:
    """Return what was kept of the batches of a metric, after checking that there are any."""
    if len(batches) == 0:
        raise InputError("Nothing to aggregate: call the metric on a batch first.")
    return batches


def merged_counts(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one table from those of several batches: counts summed, then divided."""
    check_batches(tables)
    n = np.sum([table["n"] for table in tables], axis=0)
    k = np.sum([table["k"] for table in tables], axis=0)
    bins = tables[0].drop(columns=["n", "k", "value", "value_lo", "value_hi"])
    return pd.concat([bins, fractions(n, k)], axis=1)


def check_by(by: str, options: Sequence[str]) -> str:
    """Return the name of what to bin by, after checking that it is one of the options."""
    if by not in options:
        raise InputError(f"by must be one of {list(options)}, got {by!r}.")
    return by


def bin_numbers(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the number of the bin ``[lo, hi)`` of each value, -1 for none."""
    number = np.searchsorted(edges, values, side="right") - 1
    if np.isinf(edges[-1]):
        number[np.isposinf(values)] = len(edges) - 2
    return np.where((number >= 0) & (number < len(edges) - 1) & ~np.isnan(values), number, -1)


def edges_of(by: str, edges: Edges | None) -> Edges:
    """Return the edges to bin a quantity by: `DEFAULT_EDGES` if None are given."""
    return DEFAULT_EDGES[by] if edges is None else edges
