"""The scenes that a report shows: drawn again, with what each method made of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from threadpoolctl import threadpool_limits

from btk_punet.errors import BtkPunetWarning
from btk_punet.evaluation.report.html import MATCHING_RADIUS_ARCSEC, Plot
from btk_punet.evaluation.studies.gallery.cases import Case, choose_cases, mistakes_by_scene
from btk_punet.evaluation.studies.gallery.cases_display import CaseDisplay, CasesDisplay, ClassMaps
from btk_punet.evaluation.studies.gallery.scene import SceneDisplay
from btk_punet.evaluation.studies.probabilities.blend_identification import scene_class_map
from btk_punet.figures import write_figure
from btk_punet.simulation.scenes import SceneGenerator
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
    "did and dotted where none did, and a coloured marker without a circle or dot is a false "
    "detection."
)
_READ_MAPS = (
    "Circles are true sources that count, in full where every method found them, dashed where some "
    "did and dotted where none did; a coloured marker without a circle or dot is a false "
    "detection; and a good class mean looks like the true classes, with variance only where it "
    "does not."
)


def write_gallery(
    generator: SceneGenerator,
    deblenders: Mapping[str, Deblender],
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    n_scenes: int,
    folder: str | Path,
    radius_arcsec: float = MATCHING_RADIUS_ARCSEC,
    with_maps: Sequence[str] = (),
) -> list[Plot]:
    """Draw scenes of a run, the first, the worst and the best, with what each method found.

    The scenes, `choose_cases`, are drawn again, and methods with class maps run on them again:
    both give what they gave in the run. Where such a method fails this time, its maps are left
    out with a warning, and not the report of a run that is done.

    Args:
        generator: The generator of the run.
        deblenders: All methods of the run by their names, in its order.
        truth: Truth table of the run, all methods.
        detections: Detection table of the run.
        n_scenes: Number of scenes of the run.
        folder: Folder to write ``scenes_first.png``, ``scenes_worst.png`` and
            ``scenes_best.png`` to, those of which there are any; made if it does not exist.
        radius_arcsec: Matching radius, that of the circles [arcsec].
        with_maps: Names of the methods that give ``class_mean`` and ``class_variance`` in their
            extra data; maps of the first two are shown.

    Returns:
        The plots, for the report.
    """
    mistakes = mistakes_by_scene(truth, detections, list(deblenders), n_scenes)
    cases = choose_cases(mistakes)
    numbers = sorted({case.scene for of_kind in cases.values() for case in of_kind})
    batch = generator.draw_scenes(numbers)
    maps = {
        name: _class_maps(name, deblenders[name], batch)
        for name in list(with_maps)[:MOST_WITH_MAPS]
    }
    of_scenes = mistakes[mistakes["scene"].isin(numbers)]
    truth, detections = (table[table["scene"].isin(numbers)] for table in (truth, detections))
    plots = []
    for kind, of_kind in cases.items():
        if not of_kind:
            continue
        displays = [
            _display(case, numbers.index(case.scene), batch, list(deblenders), truth, detections,
                     maps, of_scenes, radius_arcsec)
            for case in of_kind
        ]  # fmt: skip
        drawn = CasesDisplay(displays)
        path = Path(folder) / f"scenes_{kind}.png"
        write_figure(drawn.plot, drawn.size_inches, path)
        read = _READ_MAPS if any(display.maps for display in displays) else _READ_CASES
        plots.append(Plot(TITLES[kind], f"{_RULES[kind]} {read}", path))
    return plots


def _class_maps(name: str, method: Deblender, batch: BlendBatch) -> list[ClassMaps]:
    """Run a method again; return its maps of each scene, none where it fails."""
    try:
        # As in the run, and what it warned of there is among the notes already.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extra_data = method(batch).extra_data
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
    methods: Sequence[str],
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    maps: Mapping[str, list[ClassMaps]],
    mistakes: pd.DataFrame,
    radius_arcsec: float,
) -> CaseDisplay:
    """Return the display of a scene, the one of this index in the batch."""
    survey = batch.survey
    band = reference_band(survey)
    variance = background_variance(survey, survey.get_filter(survey.available_filters[band]))
    scene = SceneDisplay(
        batch.blend_images[index, band],
        truth[truth["scene"] == case.scene],
        detections[detections["scene"] == case.scene],
        float(np.sqrt(variance)),
        methods,
        radius_arcsec / pixel_scale_arcsec(survey),
    )
    return CaseDisplay(
        scene,
        scene_class_map(batch, index),
        {name: of_scenes[index] for name, of_scenes in maps.items() if of_scenes},
        _title(case, mistakes[mistakes["scene"] == case.scene]),
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
