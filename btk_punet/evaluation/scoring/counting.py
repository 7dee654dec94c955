"""Counts of what is found and what is false: first sums, then fractions with intervals.

*Completeness* is recall: matched sources over true sources. *Purity* is precision: matched
detections over detections. Every figure is a sum of counts over all scenes, then one division;
never a mean of ratios. All is counted from the tidy tables of `batch_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.metrics.utils import effmat

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    PURITY_BY,
    Edges,
    bin_numbers,
    binned_fraction,
    check_by,
    check_edges,
    edges_of,
    fractions,
)

# A method that found every source above this `limit_snr`, and no other, is at the ceiling.
CEILING_SNR = 5.0


def completeness_table(
    truth: pd.DataFrame, by: str = "magnitude", edges: Edges | None = None
) -> pd.DataFrame:
    """Return the completeness of one method: the fraction of the sources that count and are found.

    Args:
        truth: Rows of one method of the truth table.
        by: Column to bin by, one of `COMPLETENESS_BY`.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
    """
    counted = _counted(truth)
    return binned_fraction(
        counted[check_by(by, COMPLETENESS_BY)], counted["matched"], edges_of(by, edges)
    )


def ceiling_table(
    truth: pd.DataFrame, by: str = "magnitude", edges: Edges | None = None
) -> pd.DataFrame:
    """Return the information ceiling: the completeness if just ``limit_snr > 5`` were found.

    Args are those of `completeness_table`; the rows of any one method will do.
    """
    return completeness_table(at_ceiling(truth), by, edges)


def at_ceiling(truth: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as if just the sources with ``limit_snr > 5`` were matched.

    Rows whose ``limit_snr`` was not computed (NaN) are left out: their ceiling is not known.
    """
    known = truth[truth["limit_snr"].notna()]
    return known.assign(matched=known["limit_snr"] > CEILING_SNR)


def purity_table(
    detections: pd.DataFrame, by: str = "magnitude", edges: Edges | None = None
) -> pd.DataFrame:
    """Return the purity of one method: the fraction of its detections that match a source.

    By magnitude, a last row with ``lo = hi = inf`` holds the detections whose aperture flux is
    not above 0.

    Args:
        detections: Rows of one method of the detection table.
        by: ``"magnitude"`` (in an aperture, the same for every method) or
            ``"neighbour_distance_arcsec"`` (to the nearest other detection).
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
    """
    counted = detections[detections["in_bounds"]]
    values = counted[check_by(by, PURITY_BY)]
    if by != "magnitude":
        return binned_fraction(values, counted["matched"], edges_of(by, edges))
    dark = np.isinf(values)
    table = binned_fraction(values[~dark], counted["matched"][~dark], edges_of(by, edges))
    row = fractions(np.array([dark.sum()]), np.array([counted["matched"][dark].sum()]))
    row.insert(0, "hi", np.inf)
    row.insert(0, "lo", np.inf)
    return pd.concat([table, row], ignore_index=True)


def efficiency_table(
    truth: pd.DataFrame,
    magnitude_edges: Edges | None = None,
    distance_edges: Edges | None = None,
) -> pd.DataFrame:
    """Return the completeness of one method in magnitude and neighbour distance at once.

    Returns:
        One row per cell: ``magnitude_lo``, ``magnitude_hi``, ``lo``, ``hi`` (neighbour distance
        [arcsec]) and the columns of `fractions`.
    """
    magnitude_edges = check_edges(edges_of("magnitude", magnitude_edges))
    counted = _counted(truth)
    which = bin_numbers(counted["magnitude"].to_numpy(float), magnitude_edges)
    tables = []
    for number, (low, high) in enumerate(
        zip(magnitude_edges[:-1], magnitude_edges[1:], strict=True)
    ):
        table = completeness_table(
            counted[which == number], "neighbour_distance_arcsec", distance_edges
        )
        table.insert(0, "magnitude_hi", high)
        table.insert(0, "magnitude_lo", low)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def count_matrix(truth: pd.DataFrame, n_scenes: int | None = None) -> np.ndarray:
    """Return BTK's count matrix: the number of scenes with (found, true) sources that count.

    Args:
        truth: Rows of one method of the truth table.
        n_scenes: Number of scenes. If None, those without any source, which are not in the truth
            table, are left out; as BTK does it, they belong in the cell (0, 0).

    Returns:
        Array of shape (most found + 1, most true + 1), int.

    Raises:
        InputError: if there are more scenes in ``truth``.
    """
    by_scene = _counted(truth).groupby("scene")["matched"]
    true, found = by_scene.size().to_numpy(), by_scene.sum().to_numpy(int)
    # Scenes of which no source counts have their own cell.
    n_in_truth = truth["scene"].nunique()
    n_scenes = n_in_truth if n_scenes is None else n_scenes
    if n_scenes < n_in_truth:
        raise InputError(
            f"n_scenes must be at least {n_in_truth}, the scenes in truth, got {n_scenes}."
        )
    true = np.append(true, np.zeros(n_scenes - len(true), int))
    found = np.append(found, np.zeros(len(true) - len(found), int))
    return effmat(found, true).astype(int) if len(true) else np.zeros((1, 1), int)


def column_fractions(counts: np.ndarray) -> np.ndarray:
    """Return a count matrix divided by the sums of its columns; NaN in a column without counts."""
    total = counts.sum(axis=0, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)


def completeness_total(truth: pd.DataFrame) -> pd.DataFrame:
    """Return the completeness of one method over everything: one row, the columns of `fractions`.

    A set's information ceiling is that of ``at_ceiling(truth)``.
    """
    counted = _counted(truth)
    return fractions(np.array([len(counted)]), np.array([counted["matched"].sum()]))


def purity_total(detections: pd.DataFrame) -> pd.DataFrame:
    """Return the purity of one method over everything: one row, the columns of `fractions`."""
    counted = detections[detections["in_bounds"]]
    return fractions(np.array([len(counted)]), np.array([counted["matched"].sum()]))


def _counted(truth: pd.DataFrame) -> pd.DataFrame:
    return truth[truth["counts"]]


def headline_table(
    truth: Mapping[str, pd.DataFrame], detections: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return completeness, purity and information ceiling of each method over everything.

    Args:
        truth: Rows of the truth table of each method, by its name.
        detections: Rows of the detection table of each.

    Returns:
        One row per method: ``method``, and of each of ``completeness``, ``purity`` and
        ``ceiling`` the columns ``<name>_n``, ``<name>_k``, ``<name>``, ``<name>_lo`` and
        ``<name>_hi`` (see `fractions`).
    """
    rows = []
    for method, sources in truth.items():
        row: dict = {"method": method}
        for name, total in (
            ("completeness", completeness_total(sources)),
            ("purity", purity_total(detections[method])),
            ("ceiling", completeness_total(at_ceiling(sources))),
        ):
            row |= {f"{name}_{column}".replace("_value", ""): total[column][0] for column in total}
        rows.append(row)
    return pd.DataFrame(rows)


def filled_cells(efficiency: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of `efficiency_table` in rows and columns in which any method has entries.

    Args:
        efficiency: Cells of one method or of several.
    """
    some = efficiency[efficiency["n"] > 0]
    inside = efficiency["magnitude_lo"].isin(some["magnitude_lo"])
    return efficiency[inside & efficiency["lo"].isin(some["lo"])].reset_index(drop=True)
