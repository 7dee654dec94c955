"""Tables on calibration: of what is said with a probability, does so much come true, and where?

Quantities: ``p_detect`` (a candidate comes true), ``p_blend`` (the source of a matched detection
is overlapped), ``count`` (the most probable number of sources is the true one) and the classes
``background``, ``isolated`` and ``blended`` of pixels with p(background) < 0.9.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.statistics.counts import most_probable_counts, posteriors_of
from btk_punet.evaluation.statistics.fractions import DEFAULT_EDGES, bin_numbers, fractions
from btk_punet.evaluation.statistics.pixels import CLASS_NAMES
from btk_punet.evaluation.statistics.reliability import Reliability
from btk_punet.evaluation.studies.detection.metrics import PURITY_BY
from btk_punet.evaluation.studies.equal_purity.sweep import LOWEST_THRESHOLD
from btk_punet.evaluation.studies.table import trimmed

# Table -> the quantity whose reliability it holds.
TABLES = {
    "calibration": "p_detect",
    "blend_calibration": "p_blend",
    "count_calibration": "count",
}
# Columns of the sums of a class.
_SUMS = ("n", "k", "sum_probability", "sum_squared_error")


def calibration_tables(
    probabilities: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return every table on calibration, by its name.

    Args:
        probabilities: Tables of `joined_probabilities`.
        methods: Names of the methods, in the order wanted.

    Returns:
        Those of these for which a method gives the probabilities, with 68% Wilson intervals:

        - ``calibration``, ``blend_calibration``, ``count_calibration``: a row a method and bin of
          the probability, of ``p_detect``, ``p_blend`` and ``count``; columns of ``Reliability``.
        - ``class_calibration``: the same, a row a method, ``class`` and bin.
        - ``calibration_by_magnitude``, ``calibration_by_neighbour_distance``: a row a method,
          ``quantity`` (``p_detect``, ``p_blend``) and bin of the magnitude in the aperture, or of
          the distance to the nearest other candidate (for ``p_detect``) or detection (for
          ``p_blend``); columns of `binned_reliability`.
        - ``calibration_scores``: a row a method and ``quantity``: ``n``, ``mean_probability``,
          ``base_rate`` (the fraction that came true), ``expected_calibration_error``,
          ``brier_score`` and ``brier_skill``.
    """
    everything = reliabilities(probabilities, methods)
    tables: dict[str, pd.DataFrame] = {}
    for name, quantity in TABLES.items():
        own = {method: r.table() for (method, of), r in everything.items() if of == quantity}
        if own:
            tables[name] = _stacked({(method,): table for method, table in own.items()}, ["method"])
    classes = {key: r.table() for key, r in everything.items() if key[1] in CLASS_NAMES}
    if classes:
        tables["class_calibration"] = _stacked(classes, ["method", "class"])
    said = said_of_detections(probabilities, methods)
    for by in PURITY_BY if said else ():
        binned = {
            key: binned_reliability(rows[by], rows["probability"], rows["outcome"], by)
            for key, rows in said.items()
        }
        tables[f"calibration_by_{SHORT[by]}"] = trimmed(_stacked(binned, ["method", "quantity"]))
    if everything:
        scores = {key: pd.DataFrame([_scores(r)]) for key, r in everything.items()}
        tables["calibration_scores"] = _stacked(scores, ["method", "quantity"])
    return tables


def reliabilities(
    probabilities: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> dict[tuple[str, str], Reliability]:
    """Return the reliability of each quantity that a method gives, by (method, quantity).

    Args:
        probabilities: Tables of `joined_probabilities`.
        methods: Names of the methods, in the order wanted.
    """
    found = {
        key: reliability_of(rows["probability"], rows["outcome"])
        for key, rows in said_of_detections(probabilities, methods).items()
    }
    for method, own in _by("method", probabilities.get("counts")).items():
        said, outcome = most_probable_counts(posteriors_of(own), own["true_count"].to_numpy(int))
        found[method, "count"] = reliability_of(said, outcome)
    sums = probabilities.get("class_probabilities")
    for key, own in _by(["method", "class"], sums).items():
        found[key] = Reliability.from_sums(*(own[name].to_numpy() for name in _SUMS))
    quantities = (*TABLES.values(), *CLASS_NAMES)
    return {(m, q): found[m, q] for m in methods for q in quantities if (m, q) in found}


def said_of_detections(
    probabilities: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the rows in bounds of what is said of detections, by (method, quantity).

    With the columns ``probability`` and ``outcome``: of ``p_detect`` the candidates of 0.02 or
    more, whatever the method's threshold; of ``p_blend`` the matched detections.
    """
    candidates = _by("method", probabilities.get("candidates"))
    matched = _by("method", probabilities.get("blend_probabilities"))
    said = {}
    for method in methods:
        if method in candidates:
            own = candidates[method]
            own = own[own["in_bounds"] & (own["p_detect"] >= LOWEST_THRESHOLD)]
            said[method, "p_detect"] = own.assign(probability=own["p_detect"])
        if method in matched:
            names = {"p_blend": "probability", "overlapped": "outcome"}
            said[method, "p_blend"] = matched[method].rename(columns=names)
    return said


def reliability_of(probability: np.ndarray, outcome: np.ndarray) -> Reliability:
    """Return the reliability of probabilities with their outcomes, shape (n,) each."""
    reliability = Reliability()
    reliability.add(np.asarray(probability, float), np.asarray(outcome, bool))
    return reliability


def binned_reliability(
    values: np.ndarray, probability: np.ndarray, outcome: np.ndarray, by: str
) -> pd.DataFrame:
    """Return what was said and what came true in bins of another quantity.

    Args:
        values: Quantity to bin by, shape (n,).
        probability: What was said, 0-1, shape (n,).
        outcome: Whether it came true, booleans of shape (n,).
        by: What the values are: ``"magnitude"`` or ``"neighbour_distance_arcsec"``, with the bins
            of the purity (see `purity_table`).

    Returns:
        One row a bin: ``lo``, ``hi``, ``n``, ``k`` (of them came true), ``mean_probability``,
        ``value`` (= k / n) with its 68% Wilson interval ``value_lo``, ``value_hi``, and
        ``expected_calibration_error`` and ``brier_score`` within the bin; NaN in empty bins.
    """
    values, edges = np.asarray(values, float), np.asarray(DEFAULT_EDGES[by])
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, bool)
    lows, highs = edges[:-1], edges[1:]
    number = bin_numbers(values, edges)
    if by == "magnitude":
        # Of detections without a positive flux.
        number = np.where(np.isposinf(values), len(lows), number)
        lows, highs = np.append(lows, np.inf), np.append(highs, np.inf)
    parts = [number == i for i in range(len(lows))]
    of_bin = [reliability_of(probability[part], outcome[part]) for part in parts]
    table = fractions(
        np.array([part.sum() for part in parts]), np.array([outcome[part].sum() for part in parts])
    )
    table.insert(2, "mean_probability", [r.mean_probability for r in of_bin])
    table.insert(0, "hi", highs)
    table.insert(0, "lo", lows)
    return table.assign(
        expected_calibration_error=[r.expected_calibration_error() for r in of_bin],
        brier_score=[r.brier_score() for r in of_bin],
    )


def _by(keys: str | list[str], table: pd.DataFrame | None) -> dict:
    return {} if table is None else dict(list(table.groupby(keys, sort=False)))


def _scores(reliability: Reliability) -> dict[str, float]:
    return {
        "n": reliability.n,
        "mean_probability": reliability.mean_probability,
        "base_rate": reliability.base_rate,
        "expected_calibration_error": reliability.expected_calibration_error(),
        "brier_score": reliability.brier_score(),
        "brier_skill": reliability.brier_skill(),
    }


def _stacked(tables: Mapping[Any, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Return tables as one; the first columns say what each is of."""
    parts = []
    for key, table in tables.items():
        for place, (column, value) in enumerate(zip(names, key, strict=True)):
            table.insert(place, column, pd.Series(value, index=table.index, dtype=object))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)
