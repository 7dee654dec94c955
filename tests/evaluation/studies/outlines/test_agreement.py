"""Outlines as tidy tables, of scenes counted by hand (see `test_scores`)."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.outlines.agreement import (
    OUTCOME_COLUMNS,
    PIXEL_COLUMNS,
    TIDY,
    batch_outlines,
)
from tests.evaluation.conftest import SIZE, bright_scenes, deblend_batch, detection_table
from tests.evaluation.studies.outlines.test_scores import FOUND, PAIR_AND_ONE, box, outlined


def tables_of(batch, found, first_scene=0, **options):
    truth, detections = batch_tables(batch, found, first_scene, with_limit=False)
    return batch_outlines(batch, found, truth, detections, first_scene, **options)


def by_hand(first_scene=0):
    batch = bright_scenes([[], PAIR_AND_ONE])
    return tables_of(batch, {"mine": outlined(batch, [], FOUND)}, first_scene)


def test_no_outlines():
    batch = bright_scenes([PAIR_AND_ONE])
    assert tables_of(batch, {"plain": deblend_batch([detection_table(batch, [20], [20])])}) == {}
    assert tables_of(batch, {}) == {}


def test_no_sources_and_no_detections():
    batch = bright_scenes([[], []])
    tables = tables_of(batch, {"mine": outlined(batch, [], [])})
    assert list(tables) == [tidy.name for tidy in TIDY]
    assert [len(table) for table in tables.values()] == [0, 0, 2]
    assert tables["class_pixels"]["background_as_background"].tolist() == [SIZE**2] * 2


def test_batches_without_rows_have_the_same_columns():
    batch = bright_scenes([[]])
    nothing = tables_of(batch, {"mine": outlined(batch, [])})
    for tidy, (name, table) in zip(TIDY, by_hand().items(), strict=True):
        pd.testing.assert_series_equal(nothing[name].dtypes, table.dtypes)
        assert [column.name for column in tidy.columns] == table.columns.tolist()


def test_sources():
    table = by_hand(first_scene=7)["source_outlines"]
    assert table.columns.tolist() == [
        "scene", "method", "source", "iou", "overlapped", "placed_worse", "outlined_worse",
    ]  # fmt: skip
    assert table[["scene", "method", "source"]].to_numpy().tolist() == [
        [8, "mine", 0], [8, "mine", 1], [8, "mine", 2],
    ]  # fmt: skip
    assert table["iou"].tolist() == pytest.approx([20 / 25, 20 / 30, 1])
    assert table["overlapped"].tolist() == [True, True, False]


def test_source_without_a_match():
    batch = bright_scenes([PAIR_AND_ONE])
    tables = tables_of(batch, {"mine": outlined(batch, FOUND[:1])})
    iou = tables["source_outlines"]["iou"]
    assert iou.tolist() == pytest.approx([20 / 25, np.nan, np.nan], nan_ok=True)


def test_harm():
    batch = bright_scenes([PAIR_AND_ONE])
    first = (20, 20, 0.9, box(18, 22, 18, 22))
    for second, placed_worse, outlined_worse in [
        # The light of both together is centred at x = 21, a pixel from either.
        ((22.999, 20, 0.9, box(20, 24, 18, 22)), False, False),
        ((23.001, 20, 0.9, box(20, 24, 18, 22)), True, False),
        # Both together cover columns 18 to 23: IoU 20/35 with the second, which has 10/25.
        ((22, 20, 0.9, box(22, 23, 18, 22)), False, True),
    ]:
        table = tables_of(batch, {"mine": outlined(batch, [first, second])})["source_outlines"]
        assert table["placed_worse"].tolist() == [False, placed_worse, False]
        assert table["outlined_worse"].tolist() == [False, outlined_worse, False]


def test_detections():
    table = by_hand()["detection_outlines"]
    assert table.columns.tolist() == ["scene", "method", "detection", "p_detect", *OUTCOME_COLUMNS]
    assert OUTCOME_COLUMNS[0] == "at_50" and OUTCOME_COLUMNS[-1] == "at_95"
    assert table["p_detect"].tolist() == [0.9, 0.8, 0.7, 0.6]
    assert table["at_50"].tolist() == table["at_65"].tolist() == [1, 0, 1, 1]
    assert table["at_70"].tolist() == table["at_80"].tolist() == [1, 0, 0, 1]
    assert table["at_85"].tolist() == table["at_95"].tolist() == [0, 0, 0, 1]


def test_pixels():
    table = by_hand()["class_pixels"]
    assert table[["scene", "method"]].to_numpy().tolist() == [[0, "mine"], [1, "mine"]]
    counts = table[list(PIXEL_COLUMNS)].to_numpy()
    assert counts[1].tolist() == [SIZE**2 - 60 - 30, 30, 0, 0, 45, 0, 0, 10, 5]


def test_methods_do_not_mix():
    batch = bright_scenes([PAIR_AND_ONE])
    found = {"a": outlined(batch, FOUND), "b": outlined(batch, FOUND[:1])}
    tables = tables_of(batch, found)
    for name, table in tables_of(batch, {"b": found["b"]}).items():
        of_b = tables[name][tables[name]["method"] == "b"].reset_index(drop=True)
        pd.testing.assert_frame_equal(of_b, table)
