"""The study as a whole: what it collects adds up, and what it makes of it can be read."""

import re

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.probabilities.study import Probabilities
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import PAIR_AND_ONE, SWAPPED, maps, saying
from tests.evaluation.studies.probabilities.collecting import (
    all_predicted,
    collected,
    joined,
    tables_of,
)
from tests.evaluation.studies.probabilities.test_blend_identification import POSITIONS, SAID, said
from tests.evaluation.studies.probabilities.test_class_errors import NEVER_BLENDED

# Two sources far apart; one; none.
SCENES = [[(20, 20), (40, 40)], [(30, 30)], []]


def test_nothing_predicted():
    batch = bright_scenes(SCENES)
    assert collected(batch, {"plain": saying(batch)}) == {}
    run = Collected(["plain"], 3, {})
    study = Probabilities()
    assert list(study.tables(run)) == list(study.figures(run, {})) == []
    assert list(study.definitions(run, {})) == [] and study.answers(run, {}) == {}


def test_only_what_is_predicted_is_collected():
    batch = bright_scenes([[], []])
    tidy = collected(batch, {"oracle": Oracle()(batch)})
    assert list(tidy) == ["candidates", "counts"] and len(tidy["candidates"]) == 0
    batch = bright_scenes(POSITIONS)
    tidy = collected(batch, {"maps": said(batch, SAID)})
    assert list(tidy) == ["blend_identification"]
    assert list(tables_of(tidy, ["maps"])) == ["blend_identification"]


def test_every_collected_column_is_described():
    batch = bright_scenes([PAIR_AND_ONE])
    found = {"oracle": Oracle()(batch), "m": all_predicted(batch, [0.9, 0.6, 0.2], SWAPPED)}
    tidy = collected(batch, found) | collected(batch, {"flags": said(batch, SAID[:1])})
    assert set(tidy) == {"candidates", *(kept.name for kept in Probabilities.collects)}
    for kept in Probabilities.collects:
        if kept.name != "counts":  # whose length differs from run to run
            assert [column.name for column in kept.columns] == list(tidy[kept.name])


@pytest.mark.parametrize("backwards", [False, True])
def test_parts_make_the_whole(backwards):
    """Whatever the batches, and in whichever order they come."""
    rng = np.random.default_rng(8)
    scenes = [PAIR_AND_ONE, [], [(30, 30)], PAIR_AND_ONE]
    p_blend = rng.uniform(0, 1, sum(map(len, scenes)))

    def found_in(batch, p_blend):
        return {
            "b": Oracle((0.9, 0.3), spurious=0.4)(batch),
            "m": all_predicted(batch, p_blend, SWAPPED),
            "a": Oracle((0.6,))(batch),
        }

    parts, first, used = {}, 0, 0
    for size in (1, 2, 1):
        batch = bright_scenes(scenes[first : first + size])
        number = sum(map(len, scenes[first : first + size]))
        tidy = collected(batch, found_in(batch, p_blend[used : used + number]), first)
        for name, table in tidy.items():
            parts.setdefault(name, []).insert(0 if backwards else first, table)
        first, used = first + size, used + number
    whole = bright_scenes(scenes)
    expected = collected(whole, found_in(whole, p_blend))
    methods = ["plain", "b", "m", "a"]
    found = joined(parts, methods)
    assert list(found) == list(expected)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)
    for name, table in tables_of(expected, methods).items():
        pd.testing.assert_frame_equal(tables_of(found, methods)[name].data, table.data)


def test_counts_of_blends_add_up():
    batch = bright_scenes(POSITIONS)
    table = collected(batch, {"maps": said(batch, SAID)})["blend_identification"]
    doubled = joined({"blend_identification": [table, table]}, ["sep", "maps"])
    doubled = doubled["blend_identification"]
    assert doubled["n"].tolist() == (2 * table["n"]).tolist()
    assert doubled["k"].tolist() == (2 * table["k"]).tolist()
    np.testing.assert_array_equal(doubled["value"], table["value"])
    assert set(doubled["method"]) == {"maps"}


@pytest.fixture(scope="module")
def run():
    """Of an oracle, a method that predicts all but p_detect, and one that predicts nothing."""
    batch = bright_scenes([PAIR_AND_ONE] * 2)
    extra = maps(batch, NEVER_BLENDED, sure=0.75, variance_of_wrong=0.875)
    p_blend = [0.9, 0.6, 0.25] * 2
    found = {
        "SEP_1": saying(batch),
        "oracle": Oracle((0.9, 0.3), spurious=0.2)(batch),
        "maps_1": saying(batch, [PAIR_AND_ONE] * 2, extra, p_blend=p_blend),
    }
    blends = bright_scenes(POSITIONS)
    tidy = collected(batch, found) | collected(blends, {"maps_1": said(blends, SAID)})
    return Collected(list(found), 2, tidy)


@pytest.fixture(scope="module")
def tables(run):
    return {table.name: table for table in Probabilities().tables(run)}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("calibration", r"0.0--0.1 & 0 & -- & -- \\"),
        ("calibration", r"0.2--0.3 & 2 & 0.20 & $0.00^{+0.33}_{-0.00}$ \\"),
        ("blend_calibration", r"0.9--1.0 & 2 & 0.90 & $1.00^{+0.00}_{-0.33}$ \\"),
        ("count_calibration", r"0.9--1.0 & 2 & 1.00 & "),
        ("class_calibration", r"\caption{blended. Calibration of the probability that a pixel "),
        ("class_calibration", r"0.2--0.3 & 120 & 0.25 & "),
        ("calibration_by_neighbour_distance", r"\caption{p\_blend. Calibration by distance "),
        ("calibration_by_neighbour_distance", r"0--0.3 & 4 & 0.75 & "),
        ("calibration_scores", r"maps\_1 & p\_blend & 6 & 0.583 & 0.667 & "),
        ("doubtful_calibration", r"oracle & 4 & 0.250 & 0.500 & "),
        ("class_errors", r"maps\_1 & 120 & 0.250 & 1.000 & 0.500 \\"),
        ("blend_identification", r"Threshold & Purity & Completeness \\"),
        ("blend_identification", r"2.00 & -- & $0.00^{+0.50}_{-0.00}$ \\"),
    ],
)
def test_latex(tables, name, line):
    assert line in latex_table(tables[name])


def test_figures_and_words(run, tables):
    study = Probabilities()
    assert [figure.name for figure in study.figures(run, tables)] == [
        "calibration",
        "blend_calibration",
        "count_calibration",
        "calibration_by_magnitude",
        "calibration_by_neighbour_distance",
        "class_calibration",
        "class_error_curves",
        "blend_identification",
    ]
    assert [definition.term for definition in study.definitions(run, tables)] == [
        "Calibration",
        "What is calibrated",
        "Doubtful candidate",
        "Calibration by magnitude and distance",
        "Count gap",
        "Flagged blend",
        "Error of the class",
    ]


@pytest.mark.parametrize(
    ("p_detect", "kind", "words"),
    [
        ((0.95,), "gain", r"oracle can be believed: their calibration error is 0\.050\.$"),
        (
            (0.45,),
            "price",
            r"cannot be taken at .* 30 candidates .* 45% on average and of which 100% ",
        ),
    ],
)
def test_answer(p_detect, kind, words):
    batch = bright_scenes([PAIR_AND_ONE] * 10)
    tidy = collected(batch, {"oracle": Oracle(p_detect)(batch)})
    run = Collected(["oracle"], 10, tidy)
    study = Probabilities()
    answers = study.answers(run, {table.name: table for table in study.tables(run)})
    assert list(answers) == [kind]
    assert re.search(words, answers[kind])
