"""Tables on what becomes of blends, a row a method and outcome, counted from the regions."""

from collections.abc import Sequence

import pandas as pd

from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.studies.blends.outcomes import (
    OUTCOME_EDGES,
    combination_totals,
    outcome_table,
    outcome_totals,
)
from btk_punet.evaluation.studies.table import stacked, trimmed

# Column of the region table that the outcomes are binned by -> how the table is called.
OUTCOME_TABLES = {
    by: f"outcomes_by_{SHORT.get(by, by.removesuffix('_arcsec'))}" for by in OUTCOME_EDGES
}


def outcome_tables(regions: pd.DataFrame, methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return every table on the outcomes of blends, by its name.

    Args:
        regions: What `region_table` returns, of any number of batches.
        methods: Names of the methods, in the order wanted.

    Returns:
        - ``outcomes``: a row a method and outcome, columns of `outcome_totals`.
        - ``outcomes_by_neighbour_distance``, ``outcomes_by_magnitude_difference``,
          ``outcomes_by_limit_snr``: a row a method, outcome and bin, columns of `outcome_table`.
          Bins that are empty for all methods at either end are left out.
        - ``outcome_combinations``: a row a method and combination of the numbers of sources found
          alone and of detections with the number of sources, columns of `combination_totals`: it
          shows what the outcome "other" is made of.
    """
    of_method = {method: regions[regions["method"] == method] for method in methods}
    tables = {"outcomes": stacked({m: outcome_totals(rows) for m, rows in of_method.items()})}
    for by, name in OUTCOME_TABLES.items():
        parts = {m: outcome_table(rows, by) for m, rows in of_method.items()}
        tables[name] = trimmed(stacked(parts))
    tables["outcome_combinations"] = stacked(
        {m: combination_totals(rows) for m, rows in of_method.items()}
    )
    return tables
