import pandas as pd
import pytest
from astropy.table import Table

from btk_punet.evaluation.report.export_blends import blend_parts
from tests.evaluation.conftest import check_latex, check_written
from tests.evaluation.studies.blends.test_outcome_tables import outcome_tables, regions
from tests.evaluation.studies.outlines.test_metric import PAIR_AND_ONE
from tests.evaluation.studies.outlines.test_tables import TWO, summed_up

REGIONS = regions(
    ("SEP_1", "s = n, b = n", 0.6), ("SEP_1", "s = n, b = n", 0.4), ("SEP_1", "s = n, b = 0", 0.6)
)


@pytest.fixture(scope="module")
def tables():
    return outcome_tables(REGIONS, ["SEP_1", "net"]) | summed_up([PAIR_AND_ONE], TWO)


def test_other_tables_are_none_of_these(tables):
    assert blend_parts("headline", pd.DataFrame({"method": ["SEP"]})) is None
    assert blend_parts("outcomes", pd.DataFrame({"method": ["SEP"]})) is None
    assert blend_parts("outcomes", tables["outcomes"][:0]) is None


def test_every_column_is_described_and_reads_back(tables, tmp_path):
    check_written(tables, tmp_path, without_latex="mask_curves")
    outcomes = Table.read(tmp_path / "outcomes_by_magnitude_difference.ecsv")
    assert str(outcomes["lo"].unit) == "mag"
    assert outcomes["n"].description == "number of blends"
    scores = Table.read(tmp_path / "segmentation_scores.ecsv")
    assert scores["placed_worse_k"].description == "of them those placed worse than if undeblended"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("outcomes", r"Method & $N$ & Recognized & Unrecognized & Shredded & Undetected & Merged"),
        ("outcomes", r"SEP\_1 & 3 & $0.67^{+0.20}_{-0.28}$ & $0.00^{+0.25}_{-0.00}$ & "),
        ("outcomes", r"net & 0 & -- & -- & -- & -- & -- & -- \\"),
        ("outcomes_by_neighbour_distance", r"0.3--0.5 & 1 & $1.00^{+0.00}_{-0.50}$ & "),
        ("outcomes_by_neighbour_distance", r"\caption{SEP\_1. What becomes of blends by distance"),
        ("outcomes_by_magnitude_difference", r"Difference [mag] & $N$ & Recognized"),
        ("outcome_combinations", r"Combination & Outcome & SEP\_1 & net \\"),
        ("outcome_combinations", r"$s = n$, $b = 0$ & Other & 1 & 0 \\"),
        ("segmentation_by_neighbour_distance", r"0--0.3 & 2 & $0.733 \pm 0.067$ & 2 &"),
        ("segmentation_by_neighbour_distance", r"$>2$ & 1 & 1.000 & 0 & -- \\"),
        ("segmentation_scores", r"sure & 3 & $0.822 \pm 0.097$ & 0.333 & "),
        ("segmentation_scores", r"plain & 2 & $0.733 \pm 0.067$ & 0.333 & -- & -- & -- & $0.000"),
        ("segmentation_classes", r"sure & Blended & 1.000 & 0.333 & 0.500 & 0.333 & 15 \\"),
        ("mask_precision", r"0.50 & 0.750 & 1.000 & 0.834 & 0.667 & 0.667 & -- \\"),
    ],
)
def test_latex(tables, name, line):
    check_latex(name, tables[name], line)
