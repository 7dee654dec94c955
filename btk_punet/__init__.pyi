"""Public names and their homes: read by btk_punet/__init__.py, and by type checkers."""

from .deblending.deblender import ProbaUNetDeblender as ProbaUNetDeblender
from .deblending.flags import DetectionFlag as DetectionFlag
from .deblending.flags import flag_names as flag_names
from .deblending.measure import MeasureGenerator as MeasureGenerator
from .deblending.photutils import PhotutilsDeblender as PhotutilsDeblender
from .deblending.recipe import reweighted as reweighted
from .deblending.scarlet2 import Scarlet2Deblender as Scarlet2Deblender
from .deblending.sep import SepDeblender as SepDeblender
from .deblending.source_extractor import SourceExtractorDeblender as SourceExtractorDeblender
from .errors import BtkPunetError as BtkPunetError
from .errors import BtkPunetWarning as BtkPunetWarning
from .errors import IncompleteRunWarning as IncompleteRunWarning
from .evaluation.plotting.fractions import FractionDisplay as FractionDisplay
from .evaluation.plotting.reliability import ReliabilityDisplay as ReliabilityDisplay
from .evaluation.runs.benchmark import BENCHMARK_SETS as BENCHMARK_SETS
from .evaluation.runs.benchmark import benchmark_set as benchmark_set
from .evaluation.runs.benchmark import compare_benchmark as compare_benchmark
from .evaluation.runs.compare import compare as compare
from .evaluation.runs.comparison import Comparison as Comparison
from .evaluation.runs.confusion import ConfusionDisplay as ConfusionDisplay
from .evaluation.runs.evaluate import Evaluation as Evaluation
from .evaluation.runs.evaluate import evaluate as evaluate
from .evaluation.runs.selection import selection_function as selection_function
from .evaluation.runs.uniformity import UniformityDisplay as UniformityDisplay
from .evaluation.runs.uniformity import uniformity as uniformity
from .evaluation.scoring.batch import batch_tables as batch_tables
from .evaluation.scoring.limit import limit_snr as limit_snr
from .evaluation.scoring.limit_errors import limit_errors as limit_errors
from .evaluation.scoring.matched import MatchedBatch as MatchedBatch
from .evaluation.scoring.matching import Matcher as Matcher
from .evaluation.statistics.counts import count_transform as count_transform
from .evaluation.statistics.pixels import PixelScores as PixelScores
from .evaluation.statistics.reliability import Reliability as Reliability
from .evaluation.studies.base import Study as Study
from .evaluation.studies.blends.outcomes import BlendOutcomes as BlendOutcomes
from .evaluation.studies.blends.outcomes import OutcomesDisplay as OutcomesDisplay
from .evaluation.studies.detection.matrices import CountMatrixDisplay as CountMatrixDisplay
from .evaluation.studies.detection.matrices import EfficiencyDisplay as EfficiencyDisplay
from .evaluation.studies.detection.metrics import Completeness as Completeness
from .evaluation.studies.detection.metrics import DetectionEfficiency as DetectionEfficiency
from .evaluation.studies.detection.metrics import Purity as Purity
from .evaluation.studies.equal_purity.ceiling_share import (
    ceiling_share_table as ceiling_share_table,
)
from .evaluation.studies.equal_purity.curves import (
    PurityCompletenessDisplay as PurityCompletenessDisplay,
)
from .evaluation.studies.equal_purity.margins import (
    completeness_at_purity as completeness_at_purity,
)
from .evaluation.studies.equal_purity.margins import equal_purity_margins as equal_purity_margins
from .evaluation.studies.equal_purity.sweep import (
    purity_completeness_curve as purity_completeness_curve,
)
from .evaluation.studies.gallery.panels import CaseDisplay as CaseDisplay
from .evaluation.studies.gallery.panels import CasesDisplay as CasesDisplay
from .evaluation.studies.gallery.panels import ClassMaps as ClassMaps
from .evaluation.studies.gallery.scene import SceneDisplay as SceneDisplay
from .evaluation.studies.outlines.iou import OutlineDisplay as OutlineDisplay
from .evaluation.studies.outlines.precision import MaskPrecisionDisplay as MaskPrecisionDisplay
from .evaluation.studies.outlines.scores import SegmentationReport as SegmentationReport
from .evaluation.studies.positions import PositionDisplay as PositionDisplay
from .evaluation.studies.positions import position_table as position_table
from .evaluation.studies.probabilities.binned import (
    BinnedCalibrationDisplay as BinnedCalibrationDisplay,
)
from .evaluation.studies.probabilities.blend_identification import (
    BlendIdentification as BlendIdentification,
)
from .evaluation.studies.probabilities.blend_identification import (
    BlendIdentificationDisplay as BlendIdentificationDisplay,
)
from .evaluation.studies.probabilities.class_errors import (
    ErrorPredictionDisplay as ErrorPredictionDisplay,
)
from .evaluation.studies.probabilities.classes import (
    ClassReliabilityDisplay as ClassReliabilityDisplay,
)
from .evaluation.studies.probabilities.metric import Calibration as Calibration
from .evaluation.studies.registry import STUDIES as STUDIES
from .evaluation.studies.selection.function import SelectionDisplay as SelectionDisplay
from .evaluation.studies.selection.function import selection_tables as selection_tables
from .evaluation.studies.selection.injection import inject as inject
from .evaluation.studies.selection.injection import selection_table as selection_table
from .images.detect import detect as detect
from .images.detections import Detections as Detections
from .images.sky_image import SkyImage as SkyImage
from .images.sky_image import open_image as open_image
from .model.proba_unet import ProbaUNet as ProbaUNet
from .simulation.catalog import EuclidCatalog as EuclidCatalog
from .simulation.fields import draw_field as draw_field
from .simulation.generator import EuclidGenerator as EuclidGenerator
from .simulation.generator import RealGalaxyGenerator as RealGalaxyGenerator
from .simulation.images import image_batch as image_batch
from .simulation.labels import class_map as class_map
from .simulation.labels import overlap_count as overlap_count
from .simulation.sampling import EuclidFieldSampling as EuclidFieldSampling
from .simulation.sampling import EuclidGroupSampling as EuclidGroupSampling
from .simulation.sampling import EuclidInjectionSampling as EuclidInjectionSampling
from .simulation.sampling import EuclidPairSampling as EuclidPairSampling
from .simulation.snr import alone_snr as alone_snr
from .simulation.survey import get_euclid_survey as get_euclid_survey
from .training.config import TrainingConfig as TrainingConfig
from .training.generator import StructuredEuclidGenerator as StructuredEuclidGenerator
from .training.train import train as train

__version__: str
