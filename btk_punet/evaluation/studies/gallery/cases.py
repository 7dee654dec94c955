"""Which scenes of a run are shown: the first, and the worst and the best for each method."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

# How many scenes of each kind are shown: as many as there are methods, within these.
FEWEST, MOST = 3, 6


class Case(NamedTuple):
    """A scene that is shown: its number, and the method for which it was chosen, if any."""

    scene: int
    method: str | None = None


def mistakes_by_scene(
    truth: pd.DataFrame, detections: pd.DataFrame, methods: Sequence[str], n_scenes: int
) -> pd.DataFrame:
    """Return how much each method has wrong in each scene.

    Args:
        truth: Truth table of `batch_tables`, all methods.
        detections: Detection table of the same.
        methods: Names of the methods, in the order wanted.
        n_scenes: Number of scenes: those without sources and detections are not in the tables.

    Returns:
        One row per method and scene: ``method``, ``scene``, ``sources`` (those that count),
        ``missed`` (of them, without a match) and ``false`` (detections away from the edge without
        a match).
    """
    every = pd.MultiIndex.from_product([list(methods), range(n_scenes)], names=["method", "scene"])
    counted = truth[truth["counts"].astype(bool)]
    numbers = {
        "sources": counted,
        "missed": counted[~counted["matched"].astype(bool)],
        "false": detections[
            detections["in_bounds"].astype(bool) & ~detections["matched"].astype(bool)
        ],
    }
    table = pd.DataFrame(
        {
            name: rows.groupby(["method", "scene"]).size().reindex(every, fill_value=0)
            for name, rows in numbers.items()
        }
    )
    return table.reset_index()


def choose_cases(mistakes: pd.DataFrame) -> dict[str, list[Case]]:
    """Choose the scenes of a run to show.

    A method has *wrong* in a scene what it misses and what it finds falsely there. Its worst
    scenes are those where that is most. Its best are those where it is least for each source that
    counts, and of these, those with the most sources. Ties go to the scene that comes first. The
    methods choose in turn, each the worst (or best) scene that is not chosen yet, until there are
    as many as methods, but three or more and six at most. No scene is among the worst where
    nothing is wrong, nor among the best where as much is wrong as there are sources. Where the
    first scenes are the whole run there is nothing to choose.

    Args:
        mistakes: Of `mistakes_by_scene`.

    Returns:
        ``"first"``: the first scenes of the run, as they come; ``"worst"``; and ``"best"``. Any
        may be empty.
    """
    methods = list(dict.fromkeys(mistakes["method"]))
    scenes = sorted(set(mistakes["scene"]))
    if len(scenes) <= FEWEST:
        return {"first": [Case(scene) for scene in scenes], "worst": [], "best": []}
    table = mistakes.assign(wrong=mistakes["missed"] + mistakes["false"])
    table["share"] = table["wrong"] / table["sources"].where(table["sources"] > 0, np.nan)
    bad = table[table["wrong"] > 0].sort_values(["wrong", "scene"], ascending=[False, True])
    good = table[table["share"] < 1].sort_values(
        ["share", "sources", "scene"], ascending=[True, False, True]
    )
    number = int(np.clip(len(methods), FEWEST, MOST))
    worst = _in_turn(bad, methods, number)
    of_worst = pd.MultiIndex.from_tuples([(c.method, c.scene) for c in worst] or [("", -1)])
    other = ~pd.MultiIndex.from_frame(good[["method", "scene"]]).isin(of_worst)
    return {
        "first": [Case(scene) for scene in scenes[:FEWEST]],
        "worst": worst,
        "best": _in_turn(good[other], methods, number),
    }


def _in_turn(ranked: pd.DataFrame, methods: Sequence[str], number: int) -> list[Case]:
    """Let the methods choose scenes, each its first that is not chosen yet."""
    left = {name: list(ranked.loc[ranked["method"] == name, "scene"]) for name in methods}
    chosen: dict[int, Case] = {}
    while len(chosen) < number and any(left.values()):
        for name in methods:
            while left[name] and left[name][0] in chosen:
                left[name].pop(0)
            if left[name] and len(chosen) < number:
                scene = int(left[name].pop(0))
                chosen[scene] = Case(scene, name)
    return list(chosen.values())
