"""The margins of a run: each detector over each other method, on the scenes that both have."""

from __future__ import annotations

import pandas as pd

from btk_punet.evaluation.statistics.fractions import Edges
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.equal_purity.margins import equal_purity_margins
from btk_punet.evaluation.studies.equal_purity.sweep import PuritySweep


def margins_of_run(
    run: Collected,
    detector: str,
    by: str | None = None,
    edges: Edges | None = None,
    *,
    n_bootstrap: int = 1000,
    unit: str = "scene",
    sweep: PuritySweep | None = None,
) -> pd.DataFrame:
    """Return how much more complete a detector is than each other method of its run.

    A method that failed on some scenes is compared on those that both have, so that different
    methods may be compared on different scenes.

    Args:
        run: What was collected; its tables ``truth``, ``detections`` and ``candidates`` have the
            column ``unit``.
        detector: Name of the detector, whose candidates are in the run.
        by: As for `equal_purity_margins`.
        edges: As for `equal_purity_margins`.
        n_bootstrap: As for `equal_purity_margins`.
        unit: As for `equal_purity_margins`.
        sweep: What `sweep_purity` returns for the detector on all scenes that it has, if known.

    Returns:
        The columns of `equal_purity_margins`, and after ``method`` ``n_scenes``, the number of
        scenes that both have. No rows without other methods that share scenes with sources.
    """
    known = set(run.truth["method"].unique())
    # Methods that lack the same scenes are asked together.
    lacking: dict[frozenset[int], list[str]] = {}
    for method in run.methods:
        if method in known and method != detector:
            scenes = run.missing.get(detector, frozenset()) | run.missing.get(method, frozenset())
            lacking.setdefault(scenes, []).append(method)
    parts = []
    for scenes, methods in lacking.items():
        truth, detections, candidates = (
            table[~table["scene"].isin(scenes)] if scenes else table
            for table in (run.truth, run.detections, run.by_method("candidates")[detector])
        )
        here = set(truth["method"].unique())
        if methods := [method for method in methods if method in here]:
            table = equal_purity_margins(
                truth,
                detections,
                candidates,
                by,
                edges,
                methods=methods,
                n_bootstrap=n_bootstrap,
                radius_arcsec=run.rules.radius_arcsec,
                pixel_scale_arcsec=run.pixel_scale_arcsec,
                unit=unit,
                sweep=None if scenes else sweep,
            )
            table.insert(1, "n_scenes", run.n_scenes - len(scenes))
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
