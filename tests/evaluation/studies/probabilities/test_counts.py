import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.probabilities.counts import batch_counts, count_gap
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import saying

# Three sources; one; none.
SCENES = [[(20, 20), (26, 20), (45, 45)], [(30, 30)], []]


def counts_of(batch, found, first_scene=0):
    truth, _ = batch_tables(batch, found, first_scene, with_limit=False)
    return batch_counts(batch, found, truth, first_scene)


def test_nothing():
    batch = bright_scenes(SCENES)
    assert counts_of(batch, {"plain": saying(batch)}) is None
    gap = count_gap(pd.DataFrame())
    assert gap["n_scenes"] == 0
    assert np.isnan([gap["largest_count_gap"], gap["count_gap_by_chance"]]).all()


def test_posteriors_beside_true_counts():
    batch = bright_scenes(SCENES)
    found = {"few": Oracle(max_n_sources=3)(batch), "many": Oracle(max_n_sources=4)(batch)}
    table = counts_of(batch, found, 5)
    assert table["scene"].tolist() == [5, 6, 7, 5, 6, 7]
    assert table["true_count"].tolist() == [3, 1, 0, 3, 1, 0]
    assert table["p_3"].tolist() == [1, 0, 0, 1, 0, 0]
    assert table["p_4"].isna().tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize("max_n_sources", [3, 10])
def test_right_counts_leave_a_gap_by_chance_only(max_n_sources):
    batch = bright_scenes(SCENES[:1] * 200)
    gap = count_gap(counts_of(batch, {"oracle": Oracle(max_n_sources=max_n_sources)(batch)}))
    assert gap["n_scenes"] == 200
    assert gap["count_gap_by_chance"] == pytest.approx(1.36 / 200**0.5)
    assert gap["largest_count_gap"] < gap["count_gap_by_chance"]


def test_wrong_counts_leave_a_gap():
    batch = bright_scenes(SCENES)
    found = {"oracle": Oracle()(batch)}
    for extra in found["oracle"].extra_data:
        extra["count_posterior"] = np.roll(extra["count_posterior"], 2)
    assert count_gap(counts_of(batch, found))["largest_count_gap"] == 1.0


def test_last_probability_of_the_count_is_that_of_more_too():
    counts = pd.DataFrame({"scene": range(50), "method": "m", "true_count": 7, "p_0": 0.0})
    counts["p_1"] = 1.0
    assert count_gap(counts)["largest_count_gap"] < 1.36 / 50**0.5
