import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from btk_punet.evaluation.report.export import latex_table, write_tables
from btk_punet.evaluation.report.export_calibration import calibration_parts
from btk_punet.evaluation.studies.probabilities.calibration_plots import calibration_plots
from btk_punet.evaluation.studies.probabilities.calibration_sections import (
    calibration_definitions,
    calibration_sections,
)
from btk_punet.evaluation.studies.probabilities.calibration_tables import calibration_tables
from btk_punet.evaluation.studies.probabilities.class_error_tables import class_error_tables
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import PAIR_AND_ONE, maps, saying
from tests.evaluation.studies.probabilities.test_calibration_tables import collected
from tests.evaluation.studies.probabilities.test_class_error_tables import NEVER_BLENDED


@pytest.fixture(scope="module")
def tables():
    """Tables on an oracle, a method that says all but p_detect, and one that says nothing."""
    batch = bright_scenes([PAIR_AND_ONE] * 2)
    extra = maps(batch, NEVER_BLENDED, sure=0.75, variance_of_wrong=0.875)
    p_blend = [0.9, 0.6, 0.25] * 2
    found = {
        "SEP_1": saying(batch),
        "oracle": Oracle((0.9, 0.3), spurious=0.2)(batch),
        "maps_1": saying(batch, [PAIR_AND_ONE] * 2, extra, p_blend=p_blend),
    }
    probabilities = collected(batch, found)
    return calibration_tables(probabilities, list(found)) | class_error_tables(
        probabilities, list(found)
    )


def test_other_tables_are_none_of_these(tables):
    assert calibration_parts("headline", pd.DataFrame({"method": ["SEP"]})) is None
    assert calibration_parts("calibration", pd.DataFrame({"method": ["SEP"]})) is None
    assert calibration_parts("class_errors", tables["class_errors"][:0]) is None


def test_every_column_is_described_and_reads_back(tables, tmp_path):
    paths = write_tables(tables, tmp_path)
    assert {p.stem for p in paths if p.suffix == ".tex"} == set(tables) - {"class_error_curves"}
    for name, table in tables.items():
        read = Table.read(tmp_path / f"{name}.ecsv")
        assert read.colnames == list(table.columns)
        assert all(read[column].description for column in read.colnames)
    assert str(Table.read(tmp_path / "calibration_by_magnitude.ecsv")["lo"].unit) == "mag"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("blend_calibration", r"0.9--1.0 & 2 & 0.90 & $1.00^{+0.00}_{-0.33}$ \\"),
        ("count_calibration", r"0.9--1.0 & 2 & 1.00 & "),
        ("class_calibration", r"Calibration of the probability that a pixel is blended: "),
        ("class_calibration", r"0.2--0.3 & 120 & 0.25 & "),
        ("calibration_by_neighbour_distance", r"Calibration of p\_blend by distance "),
        ("calibration_by_neighbour_distance", r"0--0.3 & 4 & 0.75 & "),
        ("calibration_scores", r"maps\_1 & p\_blend & 6 & 0.583 & 0.667 & "),
        ("class_errors", r"maps\_1 & 120 & 0.250 & 1.000 & 0.500 \\"),
    ],
)
def test_latex(tables, name, line):
    text = latex_table(name, tables[name])
    assert line in text
    assert text.count("{") == text.count("}")


def test_sections(tables):
    assert list(calibration_sections({})) == [] and calibration_definitions({}) == ()
    scores, errors = calibration_sections(tables)
    names = [row["name"] for row in scores["rows"]]
    assert names[:3] == ["oracle: p_detect", "oracle: count", "maps_1: p_blend"]
    assert [cell["value"] for cell in scores["rows"][2]["cells"]][:3] == ["6", "0.583", "0.667"]
    assert [cell["value"] for cell in errors["rows"][0]["cells"]] == [
        "120",
        "0.250",
        "1.000",
        "0.500",
    ]
    for section in (scores, errors):
        assert section["how_to_read"].endswith(".")
        assert all(len(row["cells"]) + 1 == len(section["head"]) for row in section["rows"])
    assert [term for term, _ in calibration_definitions(tables)] == [
        "What is calibrated",
        "Calibration by magnitude and distance",
        "Error of the class",
    ]


def test_figures_that_do_not_exist(tables):
    never = tables["class_errors"].assign(auc_variance=np.nan)
    assert r"& 0.250 & -- & 0.500 \\" in latex_table("class_errors", never)
    (section,) = calibration_sections({"class_errors": never})
    assert section["rows"][0]["cells"][2] == {"value": "–"}


def test_plots(tables):
    assert list(calibration_plots({}, [])) == []
    nothing = {name: table.assign(n=0, flagged_wrong=np.nan) for name, table in tables.items()}
    assert list(calibration_plots(nothing, [])) == []
    plots = list(calibration_plots(tables, ["SEP_1", "oracle", "maps_1"]))
    assert [name for name, *_ in plots] == [
        "calibration_by_magnitude",
        "calibration_by_neighbour_distance",
        "class_calibration",
        "class_error_curves",
    ]
    assert all(how_to_read.endswith(".") for _, _, how_to_read, _ in plots)
