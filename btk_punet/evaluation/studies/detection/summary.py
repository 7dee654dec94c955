"""All tables of a comparison, counted from its tidy truth and detection tables."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import CEILING, SHORT
from btk_punet.evaluation.statistics.fractions import COMPLETENESS_BY, PURITY_BY
from btk_punet.evaluation.studies.detection import metrics
from btk_punet.evaluation.studies.positions import position_table
from btk_punet.evaluation.studies.table import stacked, trimmed


def summary_tables(
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    methods: Sequence[str] | None = None,
    n_scenes: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Return every table of a comparison by its name.

    Args:
        truth: Truth table of `batch_tables`, all methods.
        detections: Detection table, all methods.
        methods: Names of the methods, in the order wanted; by default those in the two tables. On
            scenes without sources a method that found nothing has no row in either.
        n_scenes: Number of scenes, for those without sources, which are not in the tables; if
            None they are not counted.

    Returns:
        ``headline`` (a row a method: completeness, purity and ceiling over everything),
        ``completeness_by_*`` and ``purity_by_*`` (a row a method and bin; the completeness has
        the method "information ceiling" too), ``positions_by_*`` (a row a method and bin, columns
        of `position_table`), ``efficiency`` (a row a method and cell of
        magnitude and neighbour distance) and ``count_matrix`` (a row a method and cell of the
        numbers of sources found and true). Bins that are empty for all methods at either end
        are left out.

    Raises:
        InputError: if both tables are empty and no method is named.
    """
    if methods is None:
        methods = list(dict.fromkeys([*truth.get("method", []), *detections.get("method", [])]))
    if len(methods) == 0:
        raise InputError("There is nothing to sum up: both tables are empty, and no method named.")
    of_truth = {method: truth[truth["method"] == method] for method in methods}
    of_found = {method: detections[detections["method"] == method] for method in methods}
    tables = {"headline": _headline(of_truth, of_found)}
    for by in COMPLETENESS_BY:
        parts = {m: metrics.completeness_table(of_truth[m], by) for m in methods}
        parts[CEILING] = metrics.ceiling_table(of_truth[methods[0]], by)
        tables[f"completeness_by_{SHORT[by]}"] = trimmed(stacked(parts))
    for by in PURITY_BY:
        parts = {m: metrics.purity_table(of_found[m], by) for m in methods}
        tables[f"purity_by_{SHORT[by]}"] = trimmed(stacked(parts))
    for by in ("magnitude", "neighbour_distance_arcsec"):
        parts = {m: position_table(of_truth[m], of_found[m], by) for m in methods}
        tables[f"positions_by_{SHORT[by]}"] = trimmed(stacked(parts), "pairs")
    tables["efficiency"] = _each(of_truth, metrics.efficiency_table)
    tables["count_matrix"] = _each(of_truth, partial(_tidy_count_matrix, n_scenes=n_scenes))
    return tables


def _headline(of_truth: dict[str, pd.DataFrame], of_found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for method, truth in of_truth.items():
        row: dict = {"method": method}
        for name, total in [
            ("completeness", metrics.completeness_total(truth)),
            ("purity", metrics.purity_total(of_found[method])),
            ("ceiling", metrics.completeness_total(metrics.at_ceiling(truth))),
        ]:
            for column in ("n", "k", "value", "value_lo", "value_hi"):
                row[f"{name}_{column}".removesuffix("_value")] = total[column].iloc[0]
        rows.append(row)
    names = {
        f"{q}_value_{end}": f"{q}_{end}"
        for q in ("completeness", "purity", "ceiling")
        for end in ("lo", "hi")
    }
    return pd.DataFrame(rows).rename(columns=names)


def _tidy_count_matrix(truth: pd.DataFrame, n_scenes: int | None) -> pd.DataFrame:
    counts = metrics.count_matrix(truth, n_scenes)
    share = metrics.column_fractions(counts)
    found, true = np.indices(counts.shape)
    return pd.DataFrame(
        {
            "n_matched": found.ravel(),
            "n_true": true.ravel(),
            "scenes": counts.ravel(),
            "fraction": share.ravel(),
        }
    )


def _each(
    of_method: dict[str, pd.DataFrame], table: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    return stacked({method: table(rows) for method, rows in of_method.items()})
