"""btk_punet: Euclid-like blends, detectors of blended galaxies, and what they miss, through BTK.

Public names are loaded when first used, so that ``import btk_punet`` costs next to nothing and
loads neither matplotlib nor TensorFlow.
"""

from importlib import import_module

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOME = {
    "get_euclid_survey": "simulation.survey",
    "EuclidCatalog": "simulation.catalog",
    "EuclidGroupSampling": "simulation.sampling",
    "EuclidPairSampling": "simulation.sampling",
    "EuclidFieldSampling": "simulation.sampling",
    "EuclidInjectionSampling": "simulation.sampling",
    "EuclidGenerator": "simulation.generator",
    "StructuredEuclidGenerator": "training.generator",
    "RealGalaxyGenerator": "simulation.generator",
    "image_batch": "simulation.images",
    "class_map": "simulation.labels",
    "overlap_count": "simulation.labels",
    "alone_snr": "simulation.snr",
    "DetectionFlag": "deblending.flags",
    "ProbaUNet": "model.proba_unet",
    "TrainingConfig": "training.config",
    "train": "training.train",
    "ProbaUNetDeblender": "deblending.deblender",
    "reweighted": "deblending.recipe",
    "MeasureGenerator": "deblending.measure",
    "SepDeblender": "deblending.sep",
    "SourceExtractorDeblender": "deblending.source_extractor",
    "PhotutilsDeblender": "deblending.photutils",
    "Scarlet2Deblender": "deblending.scarlet2",
    "limit_snr": "evaluation.scoring.limit",
    "Matcher": "evaluation.scoring.matching",
    "batch_tables": "evaluation.scoring.batch",
    "Completeness": "evaluation.studies.detection.metrics",
    "Purity": "evaluation.studies.detection.metrics",
    "DetectionEfficiency": "evaluation.studies.detection.metrics",
    "BlendIdentification": "evaluation.studies.probabilities.blend_identification",
    "uniformity": "evaluation.runs.uniformity",
    "UniformityDisplay": "evaluation.runs.uniformity",
    "inject": "evaluation.studies.selection.injection",
    "selection_table": "evaluation.studies.selection.injection",
    "selection_tables": "evaluation.studies.selection.function",
    "selection_function": "evaluation.runs.selection",
    "SelectionDisplay": "evaluation.studies.selection.function",
    "SegmentationReport": "evaluation.studies.outlines.scores",
    "BlendOutcomes": "evaluation.studies.blends.outcomes",
    "Calibration": "evaluation.studies.probabilities.metric",
    "position_table": "evaluation.studies.positions",
    "PositionDisplay": "evaluation.studies.positions",
    "OutcomesDisplay": "evaluation.studies.blends.outcomes",
    "OutlineDisplay": "evaluation.studies.outlines.iou",
    "MaskPrecisionDisplay": "evaluation.studies.outlines.precision",
    "Reliability": "evaluation.statistics.reliability",
    "PixelScores": "evaluation.statistics.pixels",
    "count_transform": "evaluation.statistics.counts",
    "purity_completeness_curve": "evaluation.studies.equal_purity.sweep",
    "completeness_at_purity": "evaluation.studies.equal_purity.margins",
    "equal_purity_margins": "evaluation.studies.equal_purity.margins",
    "ceiling_share_table": "evaluation.studies.equal_purity.ceiling_share",
    "evaluate": "evaluation.runs.evaluate",
    "Evaluation": "evaluation.runs.evaluate",
    "ReliabilityDisplay": "evaluation.plotting.reliability",
    "BinnedCalibrationDisplay": "evaluation.studies.probabilities.binned",
    "ClassReliabilityDisplay": "evaluation.studies.probabilities.classes",
    "ErrorPredictionDisplay": "evaluation.studies.probabilities.class_errors",
    "ConfusionDisplay": "evaluation.runs.confusion",
    "PurityCompletenessDisplay": "evaluation.studies.equal_purity.curves",
    "BlendIdentificationDisplay": "evaluation.studies.probabilities.blend_identification",
    "FractionDisplay": "evaluation.plotting.fractions",
    "EfficiencyDisplay": "evaluation.studies.detection.matrices",
    "CountMatrixDisplay": "evaluation.studies.detection.matrices",
    "SceneDisplay": "evaluation.studies.gallery.scene",
    "CaseDisplay": "evaluation.studies.gallery.panels",
    "CasesDisplay": "evaluation.studies.gallery.panels",
    "ClassMaps": "evaluation.studies.gallery.panels",
    "BENCHMARK_SETS": "evaluation.runs.benchmark",
    "benchmark_set": "evaluation.runs.benchmark",
    "compare": "evaluation.runs.compare",
    "compare_benchmark": "evaluation.runs.benchmark",
    "Comparison": "evaluation.runs.comparison",
    "BtkPunetError": "errors",
    "BtkPunetWarning": "errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(_HOME))
