"""Margins whose intervals are over galaxies: for scenes in which a few real ones come many times.

A bootstrap over scenes takes each scene for new, and so makes intervals too narrow where one lumpy
galaxy stands in a tenth of all scenes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from btk_punet.evaluation.runs.comparison import Comparison
from btk_punet.evaluation.studies.equal_purity.margins import equal_purity_margins
from btk_punet.simulation.scenes import SceneGenerator


def margins_by_object(
    run: Comparison, generator: SceneGenerator, n_bootstrap: int = 1000
) -> pd.DataFrame:
    """Return the margins of probabilistic detectors at equal purity, galaxies drawn anew.

    Each source belongs to its galaxy, and each detection to that of the nearest source: sums over
    the detections of a galaxy, wherever it stands, are drawn with replacement.

    Args:
        run: The finished run.
        generator: Drew its scenes, from a catalog with a column ``object_id``.
        n_bootstrap: Number of draws.

    Returns:
        The columns of `equal_purity_margins` and ``detector``, one row per detector and method.
    """
    tidy = run.collected.tidy
    objects = {
        scene: np.asarray(generator._sample(int(scene))["object_id"], int)
        for scene in np.unique(tidy["truth"]["scene"])
    }
    truth = tidy["truth"].copy()
    truth["object"] = [
        objects[scene][source]
        for scene, source in zip(truth["scene"], truth["source"], strict=True)
    ]
    detections, candidates = (
        with_nearest_object(tidy[name], truth) for name in ("detections", "candidates")
    )
    detectors = list(dict.fromkeys(candidates["method"]))
    parts = []
    for detector in detectors:
        table = equal_purity_margins(
            truth,
            detections,
            candidates[candidates["method"] == detector],
            methods=[name for name in run.run["methods"] if name not in detectors],
            n_bootstrap=n_bootstrap,
            radius_arcsec=run.collected.rules.radius_arcsec,
            pixel_scale_arcsec=run.collected.pixel_scale_arcsec,
            unit="object",
        )
        table.insert(0, "detector", detector)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def with_nearest_object(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return detections or candidates with the ``object`` of the nearest source of their scene.

    Args:
        table: With ``scene``, ``x``, ``y`` [pixel].
        truth: The same and ``object``, of one method or more. A scene without sources is an object
            of its own, the largest number and its own number on top.
    """
    sources = {
        scene: rows[["x", "y", "object"]].to_numpy(float)
        for scene, rows in truth[truth["method"] == truth["method"].iloc[0]].groupby("scene")
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
