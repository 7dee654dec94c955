"""Where detections stand: bias and scatter of their positions, and whether stated errors hold.

Over matched detections of sources that count. A position is wrong by ``x - x_true`` in each axis
[pixel]. A match is never farther than the matching radius, which bounds the scatter.
"""

import numpy as np
import pandas as pd

from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    CONFIDENCE,
    DEFAULT_EDGES,
    Edges,
    bin_numbers,
    check_by,
    check_edges,
    fractions,
)


def position_errors(truth: pd.DataFrame, detections: pd.DataFrame) -> pd.DataFrame:
    """Return how far each matched detection stands from its source.

    Args:
        truth: Rows of one method of the truth table.
        detections: Rows of the same method of the detection table.

    Returns:
        The rows of ``truth`` that count and are matched, with ``dx``, ``dy`` (detection less
        truth) and the stated ``x_err``, ``y_err`` [pixel] (NaN where the method states none).
    """
    pairs = truth[truth["counts"] & truth["matched"]].merge(
        detections[["scene", "detection", "x", "y", "x_err", "y_err"]],
        on=["scene", "detection"],
        suffixes=("", "_found"),
        validate="one_to_one",
    )
    pairs["dx"] = pairs["x_found"] - pairs["x"]
    pairs["dy"] = pairs["y_found"] - pairs["y"]
    return pairs.drop(columns=["x_found", "y_found"])


def position_table(
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    by: str = "magnitude",
    edges: Edges | None = None,
) -> pd.DataFrame:
    """Return bias and scatter of the positions of one method, and how often its errors cover.

    Args:
        truth: Rows of one method of the truth table.
        detections: Rows of the same method of the detection table.
        by: Column of the truth table to bin by, one of `COMPLETENESS_BY`.
        edges: Edges of the bins ``[lo, hi)``; `DEFAULT_EDGES` if None.

    Returns:
        One row a bin: ``lo``, ``hi``; ``pairs``, the number of matches; ``bias_x``, ``bias_y``,
        the mean errors, and ``bias_err``, the standard error of either; ``scatter``, the
        half-width that holds 68% of the errors of both axes; ``n``, the coordinates (two a
        match) with a stated error, ``k``, those of them that are off by no more, ``value`` (the
        coverage, 0.68 if the errors are right), ``value_lo``, ``value_hi`` (its 68% Wilson
        interval, as if the two coordinates of a match were independent). Lengths in pixels; NaN
        where there is nothing.

    Raises:
        InputError: for another ``by``, or edges that are no bins.
    """
    check_by(by, COMPLETENESS_BY)
    edges = check_edges(DEFAULT_EDGES[by] if edges is None else edges)
    pairs = position_errors(truth, detections)
    which = bin_numbers(pairs[by].to_numpy(float), edges)
    errors, stated = (
        pairs[[x, y]].to_numpy(float).reshape(-1, 2) for x, y in (("dx", "dy"), ("x_err", "y_err"))
    )
    known = np.isfinite(stated)
    covered = known & (np.abs(errors) <= stated)
    rows = []
    for number in range(len(edges) - 1):
        of_bin = errors[which == number]
        some = len(of_bin) > 0
        bias = of_bin.mean(axis=0) if some else np.full(2, np.nan)
        rows.append(
            {
                "lo": edges[number],
                "hi": edges[number + 1],
                "pairs": len(of_bin),
                "bias_x": bias[0],
                "bias_y": bias[1],
                "bias_err": of_bin.std() / len(of_bin) ** 0.5 if some else np.nan,
                "scatter": np.quantile(np.abs(of_bin), CONFIDENCE) if some else np.nan,
            }
        )
    n, k = (
        np.array([mask[which == number].sum() for number in range(len(edges) - 1)])
        for mask in (known, covered)
    )
    return pd.concat([pd.DataFrame(rows), fractions(n, k)], axis=1)
