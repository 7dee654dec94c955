"""Two detectors at the same purity: how much more of the truth does one of them find?

A detector with a threshold can be as pure as it likes, at the cost of completeness. So detectors
are compared by their completeness at the same purity over a whole set of scenes: the threshold on
``p_detect`` of the probabilistic one is raised from 0.02 until it is as pure as the other.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, hstack

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    DEFAULT_EDGES,
    Edges,
    check_edges,
)
from btk_punet.evaluation.studies.equal_purity.sweep import (
    PuritySweep,
    all_units,
    at_thresholds,
    check_columns,
    sum_by_unit,
    sweep_purity,
)

# Weights of the bootstrap that are held at once: 40 MB of them, twice.
DRAWN_AT_ONCE = 5_000_000
# Percentiles of the bootstrap that bound 68% and 95% of the draws.
_INTERVALS = {
    "margin_lo": 15.865,
    "margin_hi": 84.135,
    "margin_lo_95": 2.5,
    "margin_hi_95": 97.5,
}


def completeness_at_purity(
    curve: pd.DataFrame, purity: float | Sequence[float] | np.ndarray
) -> pd.DataFrame:
    """Return the completeness that a detector has when it is as pure as asked for.

    The threshold is raised until the purity is reached for the first time; as completeness falls
    with the threshold, that is the largest completeness at this purity. Between the last threshold
    that falls short and the first that does not, purity, completeness and threshold are taken to
    be linear. A detector that is purer than asked for at its lowest threshold has the completeness
    that it has there.

    Args:
        curve: What `purity_completeness_curve` returns.
        purity: One purity, or several.

    Returns:
        One row per purity: ``purity``, ``threshold``, ``completeness``, ``reached``, and
        ``highest_purity``, that of the curve. Where a purity is not reached at any threshold,
        ``reached`` is False, and ``threshold`` and ``completeness`` are NaN.
    """
    target = np.atleast_1d(np.asarray(purity, float))
    place = _place_of_purity(_repeated(curve["purity"], len(target)), target)
    return pd.DataFrame(
        {
            "purity": target,
            "threshold": _at_place(_repeated(curve["threshold"], len(target)), place),
            "completeness": _at_place(_repeated(curve["completeness"], len(target)), place),
            "reached": ~np.isnan(place),
            "highest_purity": curve["purity"].max(),
        }
    )


def equal_purity_margins(
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    candidates: pd.DataFrame,
    by: str | None = None,
    edges: Edges | None = None,
    *,
    methods: Sequence[str] | None = None,
    thresholds: Sequence[float] | np.ndarray | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    radius_arcsec: float = 0.3,
    pixel_scale_arcsec: float = 0.1,
    unit: str = "scene",
    sweep: PuritySweep | None = None,
) -> pd.DataFrame:
    """Return how much more complete a detector is than others, each time at the other's purity.

    The threshold that makes the purities equal (see `completeness_at_purity`) is decided over the
    whole set, and used in every bin. Intervals are from a paired bootstrap: scenes are drawn with
    replacement, the same ones for both detectors, and the purities of each draw are made equal
    anew. (Scenes without any source or detection are in no table, and would change no figure.)

    Args:
        truth: Truth table of `batch_tables`, the rows of the other methods.
        detections: Detection table, the rows of the other methods.
        candidates: All candidates of the detector, as for `purity_completeness_curve`.
        by: Column of the truth table to bin the completeness by, such as
            ``"neighbour_distance_arcsec"``; no bins if None.
        edges: Edges of the bins ``[lo, hi)``; `DEFAULT_EDGES` if None.
        methods: Names of the other methods; by default those in ``truth``, but for any that
            ``candidates`` names in a column ``method``.
        thresholds: Increasing values of ``p_detect``; if None, `default_thresholds`.
        n_bootstrap: Number of draws, 1 or more.
        seed: Seed of the draws.
        radius_arcsec: Matching radius [arcsec].
        pixel_scale_arcsec: Pixel size [arcsec].
        unit: Column of all three tables, of integers, that says what is drawn with replacement in
            place of scenes; such as ``"object"``, where a few galaxies are drawn over and over.
        sweep: What `sweep_purity` returns for these tables, if it is known.

    Returns:
        One row per method (and bin: ``lo``, ``hi``): ``method``; ``purity`` of the other method;
        ``threshold`` of ours at that purity; ``reached``, whether ours is ever so pure; ``n``
        sources; ``completeness_other``, ``completeness`` (ours), ``margin`` (ours less the
        other's), ``margin_lo``, ``margin_hi`` (68%), ``margin_lo_95``, ``margin_hi_95``;
        ``reached_share``, in how many of the draws ours is so pure: the intervals come from these
        draws, and mean little if it is well below 1. Figures that do not exist are NaN.

    Raises:
        InputError: as `purity_completeness_curve`; for a method or ``by`` that is not known; if
            the methods did not run on the same scenes.
    """
    check_columns(truth, "truth", ("scene", "method", "counts", "matched", unit))
    check_columns(detections, "detections", ("scene", "method", "in_bounds", "matched", unit))
    methods = _other_methods(methods, truth, candidates)
    bins = _checked_bins(by, edges)
    if not isinstance(n_bootstrap, int) or n_bootstrap < 1:
        raise InputError(f"n_bootstrap must be a whole number of 1 or more, got {n_bootstrap!r}.")

    if sweep is None:
        sweep = sweep_purity(
            truth[truth["method"] == methods[0]],
            candidates,
            thresholds,
            Matcher(radius_arcsec, pixel_scale_arcsec),
        )
    check_columns(candidates, "candidates", (unit,))
    units = all_units(truth, detections, candidates, unit=unit)
    sums = _Sums(units, unit)
    sums.add("matched", sweep.matched, candidates)
    sums.add("kept", sweep.kept, candidates)
    for low, high in bins:
        inside = _in_bin(sweep.sources, by, low, high)
        sums.add(("n", low), inside, sweep.sources)
        sums.add(("found", low), sweep.found[inside], sweep.sources[inside])
    for method in methods:
        found = detections[(detections["method"] == method) & detections["in_bounds"]]
        sums.add(("matched", method), found["matched"], found)
        sums.add(("kept", method), np.ones(len(found)), found)
        sources = truth[(truth["method"] == method) & truth["counts"]]
        for low, high in bins:
            inside = _in_bin(sources, by, low, high)
            sums.add(("n", low, method), inside, sources)
            sums.add(("found", low, method), inside & sources["matched"].to_numpy(bool), sources)
    # Of the set itself, and of each draw.
    drawn = sums.drawn(n_bootstrap, seed)

    purity = _ratio(at_thresholds(drawn["matched"]), at_thresholds(drawn["kept"]))
    ours = [_ratio(at_thresholds(drawn["found", low]), drawn["n", low]) for low, _ in bins]
    rows = []
    for method in methods:
        target = _ratio(drawn["matched", method], drawn["kept", method])[:, 0]
        place = _place_of_purity(purity, target)
        for (low, high), completeness in zip(bins, ours, strict=True):
            n = drawn["n", low]
            if not np.array_equal(drawn["n", low, method], n):
                raise InputError(
                    f"{method!r} and {methods[0]!r} have different sources in truth: compare "
                    "methods that ran on the same scenes."
                )
            other = _ratio(drawn["found", low, method], n)[:, 0]
            own = _at_place(completeness, place)
            rows.append(
                {
                    "method": method,
                    "lo": low,
                    "hi": high,
                    "purity": target[0],
                    "threshold": _at_place(sweep.thresholds[None], place[:1])[0],
                    "reached": not np.isnan(place[0]),
                    "n": int(n[0, 0]),
                    "completeness_other": other[0],
                    "completeness": own[0],
                    "margin": own[0] - other[0],
                    **_intervals((own - other)[1:]),
                    "reached_share": np.mean(~np.isnan(place[1:])),
                }
            )
    table = pd.DataFrame(rows)
    return table.drop(columns=["lo", "hi"]) if by is None else table


class _Sums:
    """Sums over the units of a set, and over those of each draw of a bootstrap.

    All of it is whole numbers, so that the sums are exact in whatever order they are made.

    Args:
        units: Numbers of the units, increasing.
        unit: Column of the tables that says to which a row belongs.
    """

    def __init__(self, units: np.ndarray, unit: str):
        self._units, self._unit = units, unit
        self._parts: dict[Hashable, csr_array] = {}

    def add(self, name: Hashable, values: Any, table: pd.DataFrame) -> None:
        """Add what is to be summed: one or more values per row of a table."""
        if not isinstance(values, csr_array):
            values = csr_array(np.asarray(values, float)[:, None])
        self._parts[name] = sum_by_unit(values, table[self._unit].to_numpy(), self._units)

    def drawn(self, n_bootstrap: int, seed: int) -> dict[Hashable, np.ndarray]:
        """Return the sums by name, shape (1 + n_bootstrap, values per row), the set's own first."""
        everything = hstack(list(self._parts.values()), format="csc").T
        n_units = len(self._units)
        sums = [everything.sum(axis=1)[None]]
        rng = np.random.default_rng(seed)
        # How often each unit is in each draw takes more memory than all tables, so not all at once.
        at_once = max(DRAWN_AT_ONCE // max(n_units, 1), 1)
        for first in range(0, n_bootstrap, at_once):
            weights = rng.multinomial(
                n_units,
                np.full(n_units, 1 / max(n_units, 1)),
                size=min(at_once, n_bootstrap - first),
            )
            sums.append((everything @ np.ascontiguousarray(weights.T, float)).T)
        ends = np.cumsum([part.shape[1] for part in self._parts.values()])[:-1]
        return dict(zip(self._parts, np.split(np.concatenate(sums), ends, axis=1), strict=True))


def _place_of_purity(purity: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return where in each row a purity is reached first, as a fractional index of its columns.

    Args:
        purity: At increasing thresholds, shape (m, t); NaN where nothing is left.
        target: Purity to reach, shape (m,).

    Returns:
        Places, shape (m,); NaN where the purity is not reached.
    """
    reached = purity >= target[:, None]
    first = reached.argmax(axis=1)
    rows = np.arange(len(target))
    above, below = purity[rows, first], purity[rows, np.maximum(first - 1, 0)]
    step = np.where(first > 0, above - below, 0.0)
    excess = np.divide(above - target, step, out=np.zeros(len(target)), where=step > 0)
    return np.where(reached.any(axis=1), first - excess, np.nan)


def _at_place(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the value of each row, shape (m, t), at a fractional index, linear in between."""
    known = ~np.isnan(place)
    low = np.floor(np.where(known, place, 0)).astype(int)
    high = np.minimum(low + 1, values.shape[1] - 1)
    rows = np.arange(len(place))
    return values[rows, low] + (place - low) * (values[rows, high] - values[rows, low])


def _ratio(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    n = np.broadcast_to(n, k.shape)
    return np.divide(k, n, out=np.full(k.shape, np.nan), where=n > 0)


def _intervals(margins: np.ndarray) -> dict[str, float]:
    known = margins[~np.isnan(margins)]
    if len(known) == 0:
        return dict.fromkeys(_INTERVALS, float("nan"))
    ends = np.percentile(known, list(_INTERVALS.values()))
    return dict(zip(_INTERVALS, ends.tolist(), strict=True))


def _repeated(column: pd.Series, number: int) -> np.ndarray:
    return np.tile(column.to_numpy(float), (number, 1))


def _in_bin(sources: pd.DataFrame, by: str | None, low: float, high: float) -> np.ndarray:
    if by is None:
        return np.ones(len(sources), bool)
    values = sources[by].to_numpy(float)
    # A last edge of infinity takes in infinite values.
    return (values >= low) & ((values < high) | np.isposinf(high) & np.isposinf(values))


def _checked_bins(by: str | None, edges: Edges | None) -> list[tuple[float, float]]:
    """Return the edges of each bin; one bin of everything if there is nothing to bin by."""
    if by is None:
        if edges is not None:
            raise InputError(f"edges are given, {edges}, but not what to bin by: give by as well.")
        return [(-np.inf, np.inf)]
    if by not in COMPLETENESS_BY:
        raise InputError(f"by must be None or one of {list(COMPLETENESS_BY)}, got {by!r}.")
    checked = check_edges(DEFAULT_EDGES[by] if edges is None else edges).tolist()
    return list(zip(checked[:-1], checked[1:], strict=True))


def _other_methods(
    methods: Sequence[str] | None, truth: pd.DataFrame, candidates: pd.DataFrame
) -> list[str]:
    known = list(truth["method"].unique())
    own = set(candidates["method"].unique()) if "method" in candidates else set()
    wanted = [name for name in known if name not in own] if methods is None else list(methods)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InputError(
            f"methods must be one or more of those of the truth table, {known}, got "
            f"{unknown or wanted}."
        )
    return wanted
