"""Margins whose intervals are over galaxies: for scenes in which a few real ones come many times.

A bootstrap over scenes takes each scene for new, and so makes intervals too narrow where one lumpy
galaxy stands in a tenth of all scenes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.equal_purity.of_run import margins_of_run
from btk_punet.simulation.scenes import SceneGenerator


def margins_by_object(
    run: Collected, generator: SceneGenerator, n_bootstrap: int = 1000
) -> pd.DataFrame:
    """Return the margins of probabilistic detectors at equal purity, galaxies drawn anew.

    Each source belongs to its galaxy, and each detection to that of the nearest source: sums over
    the detections of a galaxy, wherever it stands, are drawn with replacement.

    Args:
        run: What a finished run collected.
        generator: Drew its scenes, from a catalog with a column ``object_id``.
        n_bootstrap: Number of draws.

    Returns:
        ``detector`` and the columns of `margins_of_run`, one row per detector and other method: no
        rows without other methods.
    """
    objects = {
        scene: np.asarray(generator._sample(int(scene))["object_id"], int)
        for scene in np.unique(run.truth["scene"])
    }
    truth = run.truth.assign(
        object=[
            objects[scene][source]
            for scene, source in zip(run.truth["scene"], run.truth["source"], strict=True)
        ]
    )
    found = {
        name: with_nearest_object(run.tidy[name], truth) for name in ("detections", "candidates")
    }
    with_objects = replace(run, tidy={**run.tidy, "truth": truth, **found})
    parts = []
    for detector in dict.fromkeys(found["candidates"]["method"]):
        table = margins_of_run(with_objects, detector, n_bootstrap=n_bootstrap, unit="object")
        table.insert(0, "detector", pd.Series(detector, index=table.index, dtype=object))
        parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def with_nearest_object(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return detections or candidates with the ``object`` of the nearest source of their scene.

    Args:
        table: With ``scene``, ``x``, ``y`` [pixel].
        truth: The same and ``object``, of one method or more, not all of which need have all
            scenes. A scene without sources is an object of its own, the largest number and its own
            number on top.
    """
    sources = {
        scene: rows[["x", "y", "object"]].to_numpy(float)
        for scene, rows in truth.drop_duplicates(["scene", "x", "y", "object"]).groupby("scene")
    }
    nobody = int(truth["object"].max()) + 1
    found = np.zeros(len(table), int)
    for number, (scene, x, y) in enumerate(table[["scene", "x", "y"]].to_numpy(float)):
        if scene not in sources:
            found[number] = nobody + int(scene)
            continue
        places = sources[scene]
        nearest = np.argmin(np.hypot(places[:, 0] - x, places[:, 1] - y))
        found[number] = int(places[nearest, 2])
    return table.assign(object=found)
