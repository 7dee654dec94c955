"""The question of the report: what do the scenes look like?

The scenes are drawn again, with what each method made of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from threadpoolctl import threadpool_limits

from btk_punet.deblending.calling import call_method
from btk_punet.errors import BtkPunetWarning
from btk_punet.evaluation.scoring.maps import scene_class_map
from btk_punet.evaluation.studies.base import Collected, Figure, Study
from btk_punet.evaluation.studies.gallery.cases import Case, choose_cases, mistakes_by_scene
from btk_punet.evaluation.studies.gallery.panels import CaseDisplay, CasesDisplay, ClassMaps
from btk_punet.evaluation.studies.gallery.scene import SceneDisplay
from btk_punet.evaluation.studies.table import Table
from btk_punet.simulation.survey import background_variance, pixel_scale_arcsec, reference_band

# Of how many methods the class maps are shown: there is no room for more beside each other.
MOST_WITH_MAPS = 2

TITLES = {
    "first": "The first scenes",
    "worst": "The worst scenes of each method",
    "best": "The best scenes of each method",
}
_RULES = {
    "first": "These are not chosen: they come first in the run.",
    "worst": (
        "In these a method misses the most sources that count and makes the most false detections, "
        "the two added up; the methods choose in turn, and of equal scenes the first is taken."
    ),
    "best": (
        "In these a method misses the fewest sources that count and makes the fewest false "
        "detections, added up and divided by the number of sources; of equal scenes the one with "
        "the most sources is taken, then the first."
    ),
}
_READ_CASES = (
    "Circles are true sources that count, in full where every method found them, dashed where some "
    "did and dotted where none did; a coloured marker without a circle or dot is a false detection."
)
_READ_MAPS = " A good class mean looks like the true classes, with variance only where it does not."


class Gallery(Study):
    """Scenes of a run: the first, the worst and the best, with what each method found."""

    anchor = "scenes"
    title = "What do the scenes look like?"
    lead = (
        "Images with the truth and what each method makes of them: the first as they come, the "
        "worst, and the best."
    )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Draw scenes again; yield those of which there are any.

        Methods with class maps, those with rows in ``blend_identification``, run on the scenes
        again: both give what they gave in the run. Where such a method fails this time, its maps
        are left out with a warning, and not the report of a run that is done. One that failed in
        the run does not run again, and scenes that a method is missing on are not shown.
        """
        if run.generator is None:
            return
        # Where a method failed there is nothing of it to be shown, and it shall not fail again.
        lacking = frozenset().union(*run.missing.values())
        mistakes = mistakes_by_scene(run.truth, run.detections, run.methods, run.n_scenes)
        mistakes = mistakes[~mistakes["scene"].isin(lacking)]
        cases = choose_cases(mistakes)
        numbers = sorted({case.scene for of_kind in cases.values() for case in of_kind})
        if not numbers:
            return
        batch = run.generator.draw_scenes(numbers)
        with_maps = [
            name
            for name, rows in run.by_method("blend_identification").items()
            if len(rows) and name in run.deblenders and name not in run.missing
        ]
        maps = {
            name: _class_maps(name, run.deblenders[name], batch)
            for name in with_maps[:MOST_WITH_MAPS]
        }
        for kind, of_kind in cases.items():
            displays = [
                _display(case, numbers.index(case.scene), batch, run, maps, mistakes)
                for case in of_kind
            ]
            if displays:
                read = f"{_RULES[kind]} {_READ_CASES}"
                if any(display.maps for display in displays):
                    read += _READ_MAPS
                yield Figure(f"scenes_{kind}", TITLES[kind], read, CasesDisplay(displays))


def _class_maps(name: str, method: Deblender, batch: BlendBatch) -> list[ClassMaps]:
    """Run a method again; return its maps of each scene, none where it fails."""
    try:
        # As in the run, and what it warned of there is among the notes already.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extra_data = call_method(method, batch, name).extra_data
        return [ClassMaps(extra["class_mean"], extra["class_variance"]) for extra in extra_data]
    except Exception as error:  # whatever a user's method raises
        warnings.warn(
            f"The class maps of {name} are left out of the report's scenes: running it on them "
            f"again failed ({type(error).__name__}: {error}).",
            BtkPunetWarning,
            stacklevel=2,
        )
        return []


def _display(
    case: Case,
    index: int,
    batch: BlendBatch,
    run: Collected,
    maps: Mapping[str, Sequence[ClassMaps]],
    mistakes: pd.DataFrame,
) -> CaseDisplay:
    """Return the display of a scene, the one of this index in the batch."""
    survey = batch.survey
    band = reference_band(survey)
    variance = background_variance(survey, survey.get_filter(survey.available_filters[band]))
    truth, detections, mistakes = (
        table[table["scene"] == case.scene] for table in (run.truth, run.detections, mistakes)
    )
    scene = SceneDisplay(
        batch.blend_images[index, band],
        truth,
        detections,
        float(np.sqrt(variance)),
        run.methods,
        run.rules.radius_arcsec / pixel_scale_arcsec(survey),
    )
    return CaseDisplay(
        scene,
        scene_class_map(batch, index),
        {name: of_scenes[index] for name, of_scenes in maps.items() if of_scenes},
        _title(case, mistakes),
    )


def _title(case: Case, mistakes: pd.DataFrame) -> str:
    """Return what is said above a scene: its number, its sources, who has what wrong."""
    chosen = "" if case.method is None else f", chosen for {case.method}"
    number = int(mistakes["sources"].max())
    sources = "1 source that counts" if number == 1 else f"{number} sources that count"
    wrong = "; ".join(
        f"{row['method']} {row['missed']} missed, {row['false']} false"
        for _, row in mistakes.iterrows()
    )
    return f"Scene {case.scene}{chosen}. {sources}: {wrong}"
