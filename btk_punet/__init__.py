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
    "Scarlet2Deblender": "deblending.scarlet2",
    "limit_snr": "evaluation.scoring.limit",
    "Matcher": "evaluation.scoring.matching",
    "batch_tables": "evaluation.scoring.batch",
    "Completeness": "evaluation.studies.detection.metrics",
    "Purity": "evaluation.studies.detection.metrics",
    "DetectionEfficiency": "evaluation.studies.detection.metrics",
    "BlendIdentification": "evaluation.studies.probabilities.blend_identification",
    "uniformity": "evaluation.runs.uniformity",
    "UniformityDisplay": "evaluation.runs.uniformity_display",
    "inject": "evaluation.studies.selection.selection",
    "selection_table": "evaluation.studies.selection.selection",
    "selection_tables": "evaluation.studies.selection.selection",
    "selection_function": "evaluation.runs.selection",
    "SelectionDisplay": "evaluation.studies.selection.display",
    "SegmentationReport": "evaluation.studies.outlines.metric",
    "BlendOutcomes": "evaluation.studies.blends.outcomes",
    "Calibration": "evaluation.studies.probabilities.metric",
    "position_table": "evaluation.studies.positions",
    "PositionDisplay": "evaluation.studies.positions",
    "OutcomesDisplay": "evaluation.studies.blends.display",
    "OutlineDisplay": "evaluation.studies.outlines.display",
    "MaskPrecisionDisplay": "evaluation.studies.outlines.display",
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
    "BinnedCalibrationDisplay": "evaluation.studies.probabilities.binned_display",
    "ClassReliabilityDisplay": "evaluation.studies.probabilities.class_displays",
    "ErrorPredictionDisplay": "evaluation.studies.probabilities.class_displays",
    "ConfusionDisplay": "evaluation.runs.confusion",
    "PurityCompletenessDisplay": "evaluation.studies.equal_purity.curves",
    "BlendIdentificationDisplay": "evaluation.studies.equal_purity.curves",
    "FractionDisplay": "evaluation.plotting.fractions",
    "EfficiencyDisplay": "evaluation.studies.detection.matrices",
    "CountMatrixDisplay": "evaluation.studies.detection.matrices",
    "SceneDisplay": "evaluation.studies.gallery.scene",
    "CaseDisplay": "evaluation.studies.gallery.cases_display",
    "CasesDisplay": "evaluation.studies.gallery.cases_display",
    "ClassMaps": "evaluation.studies.gallery.cases_display",
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
