"""The share of the information ceiling at one purity, by hand."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.studies.equal_purity.ceiling_share import ceiling_share_table

HEADLINE = pd.DataFrame(
    {
        "method": ["pure", "impure", "sure"],
        "completeness": [0.6, 0.9, 0.7],
        "completeness_n": [100, 100, 100],
        "purity": [0.98, 0.90, 0.91],
        "ceiling": [0.8, 0.8, 0.8],
    }
)
# Half way between the thresholds, the purity is 0.95 and the completeness 0.72.
CURVE = pd.DataFrame(
    {
        "method": "sure",
        "threshold": [0.2, 0.4],
        "purity": [0.90, 1.0],
        "completeness": [0.76, 0.68],
    }
)


def test_no_method():
    assert ceiling_share_table(HEADLINE[:0]).empty


def test_by_hand():
    table = ceiling_share_table(HEADLINE, CURVE).set_index("method")
    assert table["reached"].tolist() == [True, False, True]
    pure, impure, sure = (table.loc[name] for name in ("pure", "impure", "sure"))
    assert pure["share"] == pytest.approx(0.75)
    assert pure["purity"] == 0.98
    assert np.isnan(pure["threshold"])
    assert impure[["purity", "completeness", "share", "share_lo"]].isna().all()
    assert sure["share"] == pytest.approx(0.9)
    assert (sure["purity"], sure["threshold"]) == pytest.approx((0.95, 0.3))
    assert sure["share_lo"] < 0.9 < sure["share_hi"]


def test_a_purity_that_no_threshold_gives():
    table = ceiling_share_table(HEADLINE, CURVE.assign(purity=[0.8, 0.9]))
    assert table.loc[2, ["purity", "completeness", "share"]].isna().all()
    assert not table.loc[2, "reached"]


def test_without_a_ceiling():
    table = ceiling_share_table(HEADLINE.assign(ceiling=np.nan), CURVE)
    assert table["share"].isna().all()
    assert table["completeness"].notna().tolist() == [True, False, True]


@pytest.mark.parametrize("purity", [0.0, 1.1, np.nan])
def test_no_purity(purity):
    with pytest.raises(InputError, match="above 0 and at most 1"):
        ceiling_share_table(HEADLINE, CURVE, purity)
