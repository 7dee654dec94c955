"""The questions of a report, in its order. A study is a file of its own and a line here."""

from btk_punet.evaluation.studies.base import Study
from btk_punet.evaluation.studies.positions import Positions

STUDIES: tuple[type[Study], ...] = (Positions,)
