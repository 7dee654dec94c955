"""How near do methods come to the information limit, all at one purity?"""

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.equal_purity.margins import completeness_at_purity

# At which all methods are compared with the ceiling.
COMMON_PURITY = 0.95


def ceiling_share_table(
    headline: pd.DataFrame, curves: pd.DataFrame | None = None, purity: float = COMMON_PURITY
) -> pd.DataFrame:
    """Return what share of the information ceiling each method reaches at one purity.

    A method with probabilities has the completeness of its curve at just this purity. Any other
    has its own one point: its completeness where it is as pure as asked for or purer, nothing
    where it is not.

    Args:
        headline: ``headline`` of a comparison, or `headline_table`.
        curves: ``purity_completeness`` of a comparison; None if no method has any.
        purity: The purity, above 0 and at most 1.

    Returns:
        One row per method: ``method``; ``purity``, that at which it is taken; ``threshold`` on its
        ``p_detect`` (NaN for one without); ``completeness``, ``ceiling`` and ``share``, the first
        over the second, with ``share_lo``, ``share_hi`` (68% Wilson interval of the completeness,
        over the ceiling); ``reached``, whether the purity is. NaN where it is not.

    Raises:
        InputError: for a purity out of range.
    """
    if not 0 < purity <= 1:
        raise InputError(f"purity must be above 0 and at most 1, got {purity}.")
    of_method = {} if curves is None else dict(list(curves.groupby("method", sort=False)))
    rows = []
    for _, row in headline.iterrows():
        n, ceiling = row["completeness_n"], row["ceiling"]
        if row["method"] in of_method:
            point = completeness_at_purity(of_method[row["method"]], purity).iloc[0]
            reached, taken = bool(point["reached"]), purity
            threshold, completeness = point["threshold"], point["completeness"]
        else:
            reached, taken = bool(row["purity"] >= purity), row["purity"]
            threshold, completeness = np.nan, row["completeness"] if reached else np.nan
        known = reached and n > 0 and ceiling > 0
        # The curve is linear between thresholds, so that its numbers need not be whole.
        k = round(completeness * n) if known else 0
        interval = fractions(np.array([n if known else 0]), np.array([k])).iloc[0]
        rows.append(
            {
                "method": row["method"],
                "purity": taken if reached else np.nan,
                "threshold": threshold,
                "completeness": completeness,
                "ceiling": ceiling,
                "share": completeness / ceiling if known else np.nan,
                "share_lo": interval["value_lo"] / ceiling if known else np.nan,
                "share_hi": interval["value_hi"] / ceiling if known else np.nan,
                "reached": reached,
            }
        )
    return pd.DataFrame(rows)
