import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from btk_punet.evaluation.report.export import latex_table
from btk_punet.evaluation.report.export_probabilities import probability_parts
from tests.evaluation.conftest import bright_scenes, check_latex, check_written
from tests.evaluation.oracle import Oracle
from tests.evaluation.studies.probabilities.test_batch import collected
from tests.evaluation.studies.probabilities.test_blend_identification import POSITIONS, SAID, said
from tests.evaluation.studies.probabilities.test_probability_tables import SCENES, plain, summed_up


@pytest.fixture(scope="module")
def tables():
    methods = {"SEP_1": plain([20, 45, 5], [20, 45, 5]), "oracle": Oracle((0.9,), spurious=0.2)}
    blends = collected(bright_scenes(POSITIONS), {"maps": said(bright_scenes(POSITIONS), SAID)})
    return summed_up(SCENES, methods) | blends


def test_other_tables_are_none_of_these(tables):
    assert probability_parts("headline", pd.DataFrame({"method": ["SEP"]})) is None
    assert probability_parts("calibration", pd.DataFrame({"method": ["SEP"]})) is None
    assert probability_parts("equal_purity", tables["equal_purity"][:0]) is None


def test_every_column_is_described_and_reads_back(tables, tmp_path):
    check_written(tables, tmp_path, without_latex="purity_completeness")
    distance = Table.read(tmp_path / "equal_purity_by_neighbour_distance.ecsv")
    assert str(distance["lo"].unit) == "arcsec"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "equal_purity",
            r"SEP\_1 & 0.667 & 0.667 & 1.000 & $0.333^{+0.000}_{-0.000}$ & $(+0.333, +0.333)$ \\",
        ),
        ("equal_purity_by_neighbour_distance", r"0.5--0.8 & 20 & $0.500^{+0.000}_{-0.000}$ \\"),
        ("calibration", r"0.0--0.1 & 0 & -- & -- \\"),
        ("calibration", r"0.2--0.3 & 10 & 0.20 & $0.00^{+0.09}_{-0.00}$ \\"),
        ("probability_scores", r"oracle & 40 & 0.125 & "),
        ("blend_identification", r"Threshold & Purity & Completeness \\"),
        ("blend_identification", r"2.00 & -- & $0.00^{+0.50}_{-0.00}$ \\"),
    ],
)
def test_latex(tables, name, line):
    check_latex(name, tables[name], line)


def test_intervals_that_do_not_exist(tables):
    never = tables["equal_purity"].assign(margin=np.nan, margin_lo_95=np.nan, completeness=np.nan)
    assert r"SEP\_1 & 0.667 & 0.667 & -- & -- & -- \\" in latex_table("equal_purity", never)
