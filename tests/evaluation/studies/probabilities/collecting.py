"""What the study collects and makes of hand-made scenes."""

from btk_punet.evaluation.runs.compare import TIDY
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.probabilities.study import Probabilities
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.sayers import maps, saying


def collected(batch, found, first_scene=0):
    """Return the tidy tables of a batch that the study reads."""
    truth, detections = batch_tables(batch, found, first_scene, with_limit=False)
    matched = MatchedBatch(batch, found, truth, detections, first_scene)
    candidates = {name: rows for name, rows in matched.tables().items() if name == "candidates"}
    return candidates | dict(Probabilities().collect(matched))


def joined(parts, methods):
    """Return the tidy tables of a run from those of its batches, of each name one or more."""
    return {
        tidy.name: tidy.joined(parts[tidy.name], methods)
        for tidy in (*TIDY, *Probabilities.collects)
        if tidy.name in parts
    }


def tables_of(tidy, methods, n_scenes=10, **options):
    """Return the study's tables by name."""
    run = Collected(methods, n_scenes, tidy, **options)
    return {table.name: table for table in Probabilities().tables(run)}


def of_scenes(positions, methods):
    """Return the study's tables of deblenders, by name, on bright scenes."""
    batch = bright_scenes(positions)
    found = {name: method(batch) for name, method in methods.items()}
    return tables_of(collected(batch, found), list(found))


def all_predicted(batch, p_blend, predicted):
    """Return the output of a method with p_blend and classes that finds everything."""
    places = [list(zip(t["x_peak"], t["y_peak"], strict=True)) for t in batch.catalog_list]
    return saying(batch, places, maps(batch, predicted, variance_of_wrong=0.5), p_blend=p_blend)
