"""Runs of a few hand-made scenes, from which studies make their tables."""

import numpy as np
import pandas as pd
from astropy.table import Table
from btk.blend_batch import DeblendExample

from btk_punet.deblending.base import sky_arcsec
from btk_punet.evaluation.runs.compare import TIDY
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Collected
from tests.evaluation.conftest import BACKGROUND
from tests.evaluation.detectors import (
    APART,
    CLOSE,
    FAINT_ASIDE,
    FAINT_CLOSE,
    THREE,
    Hopeless,
    Peaks,
    Perfect,
    gaussian_scenes,
)


class Telling(Perfect):
    """Finds every source, half a pixel off, and has something to say about everything."""

    def deblend(self, ii, blend_batch):
        """Tell outlines, probabilities, classes and counts: those of the truth, less sure."""
        catalog = blend_batch.catalog_list[ii]
        n = len(catalog)
        x, y = (np.asarray(catalog[name], float) + 0.5 for name in ("x_peak", "y_peak"))
        covered = blend_batch.isolated_images[ii, :n, 0] > BACKGROUND**0.5
        count = np.minimum(covered.sum(axis=0), 2)
        probability = np.where(np.arange(3)[:, None, None] == count, 0.7, 0.15)
        p_detect = np.linspace(0.95, 0.3, n) if n else np.zeros(0)
        ra, dec = sky_arcsec(blend_batch.wcs, x, y)
        places = {"x_peak": x, "y_peak": y, "p_detect": p_detect}
        errors = {"x_err": np.full(n, 0.6), "y_err": np.full(n, 0.4)}
        segmentation = np.zeros((self.max_n_sources, *count.shape), bool)
        segmentation[:n] = covered
        posterior = np.full(self.max_n_sources + 1, 0.2 / self.max_n_sources)
        posterior[n] = 0.8
        return DeblendExample(
            self.max_n_sources,
            Table({"ra": ra, "dec": dec, **places, **errors, "p_blend": np.full(n, 0.6)}),
            n_bands=1,
            image_size=blend_batch.image_size,
            segmentation=segmentation,
            extra_data={
                "candidates": Table({**places, **errors}),
                "count_posterior": posterior,
                "class_probability": probability,
                "class_mean": count.astype(float),
                "class_variance": np.where(count == 2, 0.2, 0.1),
            },
        )


SCENES = [APART, CLOSE, FAINT_CLOSE, FAINT_ASIDE, THREE, [], APART]
METHODS = {"peaks": Peaks(), "tells_all": Telling(), "a$b$ & c<d": Perfect(), "none": Hopeless()}


def run_of(studies, methods, scenes=SCENES, splits=(3,), order=1, rules=None):
    """Return what studies collect of scenes, drawn in batches.

    Args:
        studies: Objects.
        methods: Deblenders by name.
        scenes: Lists of (x, y, flux).
        splits: First scene of each batch but the first.
        order: -1 joins the batches in reverse.
        rules: How detections are counted.
    """
    rules = Rules() if rules is None else rules
    tidy = [*TIDY, *(table for study in studies for table in study.collects)]
    parts = {table.name: [] for table in tidy}
    edges = [0, *splits, len(scenes)]
    for first, last in zip(edges, edges[1:], strict=False):
        batch = gaussian_scenes(scenes[first:last])
        found = {name: method(batch) for name, method in methods.items()}
        matched = MatchedBatch.match(batch, found, first, rules, methods)
        kept = matched.tables()
        for study in studies:
            kept |= study.collect(matched)
        for name, table in kept.items():
            parts[name].append(table)
    joined = {
        table.name: table.joined(parts[table.name][::order], list(methods))
        for table in tidy
        if parts[table.name]
    }
    return Collected(list(methods), len(scenes), joined, rules, ms_per_blend={"peaks": 1.5})


def assert_same_tables(one, other):
    """Check that two runs have the same tables, to the last bit."""
    assert list(one) == list(other)
    for name in one:
        pd.testing.assert_frame_equal(one[name].data, other[name].data, obj=name)
