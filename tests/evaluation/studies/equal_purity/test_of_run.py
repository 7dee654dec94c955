"""Margins where methods failed on some scenes: over those that both have, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.equal_purity.of_run import margins_of_run
from btk_punet.evaluation.studies.equal_purity.study import EqualPurity
from tests.evaluation.conftest import bright_scenes, deblend_batch, detection_table, tables_of

A, B, NOTHING = (20, 20), (45, 45), (5, 5)
# In each of four scenes there are sources at A and at B.
#
#   scene            0           1              2              3
#   sep              nothing     A, nothing     A, B           failed
#   whole            A           A              A, nothing     A
#   net, p_detect    failed      A.9 B.8 n.7    A.9 B.6 n.5    n.9
#
# sep and net share scenes 1 and 2: sep is 3 of 4 pure and finds 3 of 4. net is at 0.5 4 of 6 pure,
# at 0.6 4 of 5, so that it reaches 3/4 with all four sources found.
# whole and net share scenes 1-3: whole is 3 of 4 pure, and finds 3 of 6. net is at 0.5 4 of 7 pure,
# at 0.6 4 of 6, at 0.7 3 of 5, at 0.8 3 of 4: then it finds 3 of 6.
FOUND = {
    "sep": [[NOTHING], [A, NOTHING], [A, B], []],
    "whole": [[A], [A], [A, NOTHING], [A]],
    "net": [
        [],
        [(*A, 0.9), (*B, 0.8), (*NOTHING, 0.7)],
        [(*A, 0.9), (*B, 0.6), (*NOTHING, 0.5)],
        [(*NOTHING, 0.9)],
    ],
}
MISSING = {"sep": frozenset({3}), "net": frozenset({0})}


def run_of(*methods, missing=MISSING):
    """Return a run of some of the methods."""
    batch = bright_scenes([[A, B]] * 4)
    outputs = {}
    for name in methods:
        rows = [
            np.array([(*of, 1.0)[:3] for of in scene]).reshape(-1, 3).T for scene in FOUND[name]
        ]
        tables = [detection_table(batch, x, y, p_detect=p) for x, y, p in rows]
        outputs[name] = deblend_batch(tables)
    truth, detections = (
        table[[row.scene not in missing.get(row.method, ()) for row in table.itertuples()]]
        for table in batch_tables(batch, outputs)
    )
    candidates = detections[detections["method"] == "net"]
    tidy = {"truth": truth, "detections": detections, "candidates": candidates}
    return Collected(list(methods), 4, tidy, missing=missing)


def test_no_others():
    assert margins_of_run(run_of("net"), "net", n_bootstrap=2).empty


def test_no_scene_that_both_have():
    apart = {"sep": frozenset({0, 1}), "net": frozenset({2, 3})}
    assert margins_of_run(run_of("sep", "net", missing=apart), "net", n_bootstrap=2).empty


@pytest.mark.parametrize("order", [["sep", "whole", "net"], ["net", "whole", "sep"]])
def test_scenes_that_both_have(order):
    table = margins_of_run(run_of(*order), "net", n_bootstrap=20).set_index("method")
    assert list(table.index) == [name for name in order if name != "net"]
    columns = ["n_scenes", "n", "purity", "completeness_other", "completeness"]
    expected = [[2, 4, 3 / 4, 3 / 4, 1], [3, 6, 3 / 4, 3 / 6, 3 / 6]]
    np.testing.assert_allclose(table.loc[["sep", "whole"], columns], expected)
    np.testing.assert_allclose(table.loc[["sep", "whole"], "margin"], [1 / 4, 0], atol=1e-12)


def test_the_report_says_how_many():
    run = run_of("sep", "net")
    tables = tables_of(EqualPurity(), run)
    assert (
        EqualPurity()
        .answers(run, tables)["gain"]
        .endswith(", on the 2 of 4 scenes that both have.")
    )
    everything = run_of("sep", "net", missing={})
    tables = tables_of(EqualPurity(), everything)
    assert "both have" not in EqualPurity().answers(everything, tables)["gain"]


def test_sweep_of_everything_is_not_taken_for_a_part():
    run = run_of("sep", "whole", "net")
    by_study = tables_of(EqualPurity(), run)["equal_purity"].data.drop(columns="detector")
    pd.testing.assert_frame_equal(by_study, margins_of_run(run, "net"))
