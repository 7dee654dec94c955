"""Tables on errors of the class: does a map of uncertainty know where the classes are wrong?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.studies.probabilities.classes import PREDICTORS


def class_error_tables(
    probabilities: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return the tables on errors of the class; none without class probabilities.

    Args:
        probabilities: Tables of `joined_probabilities`.
        methods: Names of the methods, in the order wanted.

    Returns:
        Of the pixels with p(background) < 0.9:

        - ``class_errors``: a row a method: ``n_pixels``, ``n_wrong`` (whose most probable class is
          not the true one), ``error_rate``, and the area under the curve (see `area_under_curve`)
          when the wrong ones are told by the variance of the class, ``auc_variance``, and by 1
          less the largest class probability, ``auc_probability``; NaN where there is none.
        - ``class_error_curves``: a row a method, ``predictor`` and ``threshold``: ``n`` pixels
          are at least as uncertain, of them ``k`` wrong; ``flagged_wrong`` and ``flagged_right``
          are their shares in all wrong and all right pixels.
    """
    if "class_uncertainty" not in probabilities:
        return {}
    counts = probabilities["class_uncertainty"]
    # A method without any such pixel has no row there.
    known = set(probabilities["class_probabilities"]["method"])
    rows: list[dict[str, Any]] = []
    curves = []
    for method in [method for method in methods if method in known]:
        own = counts[counts["method"] == method].sort_values("level")
        # Which is counted of every method, and so of every pixel.
        every = own[own["predictor"] == "class_probability"]
        n_pixels, n_wrong = int(every["n"].sum()), int(every["k"].sum())
        row = {"method": method, "n_pixels": n_pixels, "n_wrong": n_wrong}
        row["error_rate"] = n_wrong / n_pixels if n_pixels else np.nan
        for predictor in PREDICTORS:
            levels = own[own["predictor"] == predictor]
            row[f"auc_{predictor.removeprefix('class_')}"] = area_under_curve(
                levels["n"].to_numpy(), levels["k"].to_numpy()
            )
            curves.append(_curve(levels))
        rows.append(row)
    return {
        "class_errors": pd.DataFrame(rows),
        "class_error_curves": pd.concat(curves, ignore_index=True),
    }


def area_under_curve(n: np.ndarray, k: np.ndarray) -> float:
    """Return the area under the receiver operating characteristic, from counts at rising levels.

    That is the probability that a wrong one is at a higher level than a right one, and half of the
    probability that both are at the same: 0.5 by chance, 1 if all wrong ones are above all others.

    Args:
        n: Number at each level, the lowest first.
        k: Of them wrong.

    Returns:
        The area, 0 to 1; NaN if none or all are wrong.
    """
    wrong = np.asarray(k, float)
    right = np.asarray(n, float) - wrong
    pairs = wrong.sum() * right.sum()
    below = np.cumsum(right) - right
    return float((wrong * (below + right / 2)).sum() / pairs) if pairs else float("nan")


def _curve(levels: pd.DataFrame) -> pd.DataFrame:
    """Return what lies at or above each level of one method and predictor, the highest first."""
    falling = levels[::-1]
    curve = falling[["method", "predictor"]].assign(threshold=falling["level"])
    n, k = falling["n"].cumsum(), falling["k"].cumsum()
    n_wrong, n_right = levels["k"].sum(), (levels["n"] - levels["k"]).sum()
    return curve.assign(
        n=n,
        k=k,
        flagged_wrong=k / n_wrong if n_wrong else np.nan,
        flagged_right=(n - k) / n_right if n_right else np.nan,
    )
