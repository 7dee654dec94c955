"""The questions of a report, in its order. A study is a file of its own and a line here."""

from btk_punet.evaluation.studies.base import Study
from btk_punet.evaluation.studies.blends.study import Blends
from btk_punet.evaluation.studies.detection.false_detections import FalseDetections
from btk_punet.evaluation.studies.detection.found import Found
from btk_punet.evaluation.studies.detection.result import Result
from btk_punet.evaluation.studies.equal_purity.study import EqualPurity
from btk_punet.evaluation.studies.gallery.study import Gallery
from btk_punet.evaluation.studies.light import Light
from btk_punet.evaluation.studies.outlines.study import Outlines
from btk_punet.evaluation.studies.positions import Positions
from btk_punet.evaluation.studies.probabilities.study import Probabilities

STUDIES: tuple[type[Study], ...] = (
    Result,
    Found,
    FalseDetections,
    EqualPurity,
    Positions,
    Light,
    Blends,
    Outlines,
    Probabilities,
    Gallery,
)
