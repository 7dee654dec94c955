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
    "limit_snr": "evaluation.limit",
    "limit_errors": "evaluation.limit_errors",
    "Matcher": "evaluation.matching",
    "batch_tables": "evaluation.tables",
    "Completeness": "evaluation.metrics",
    "Purity": "evaluation.metrics",
    "DetectionEfficiency": "evaluation.metrics",
    "BlendIdentification": "evaluation.blend_identification",
    "uniformity": "evaluation.uniformity",
    "UniformityDisplay": "evaluation.uniformity_display",
    "inject": "evaluation.selection",
    "selection_table": "evaluation.selection",
    "selection_tables": "evaluation.selection",
    "selection_function": "evaluation.selection_run",
    "SelectionDisplay": "evaluation.selection_display",
    "SegmentationReport": "evaluation.segmentation",
    "BlendOutcomes": "evaluation.outcomes",
    "Calibration": "evaluation.calibration_metric",
    "position_table": "evaluation.positions",
    "PositionDisplay": "evaluation.positions_display",
    "OutcomesDisplay": "evaluation.outcomes_display",
    "OutlineDisplay": "evaluation.segmentation_display",
    "MaskPrecisionDisplay": "evaluation.segmentation_display",
    "Reliability": "evaluation.calibration",
    "PixelScores": "evaluation.pixels",
    "count_transform": "evaluation.count_calibration",
    "purity_completeness_curve": "evaluation.purity_sweep",
    "completeness_at_purity": "evaluation.equal_purity",
    "equal_purity_margins": "evaluation.equal_purity",
    "ceiling_share_table": "evaluation.ceiling_share",
    "evaluate": "evaluation.evaluate",
    "Evaluation": "evaluation.evaluate",
    "ReliabilityDisplay": "evaluation.calibration_display",
    "BinnedCalibrationDisplay": "evaluation.binned_calibration_display",
    "ClassReliabilityDisplay": "evaluation.class_displays",
    "ErrorPredictionDisplay": "evaluation.class_displays",
    "ConfusionDisplay": "evaluation.confusion_display",
    "PurityCompletenessDisplay": "evaluation.purity_display",
    "BlendIdentificationDisplay": "evaluation.purity_display",
    "FractionDisplay": "evaluation.display",
    "EfficiencyDisplay": "evaluation.matrix_display",
    "CountMatrixDisplay": "evaluation.matrix_display",
    "SceneDisplay": "evaluation.scene_display",
    "CaseDisplay": "evaluation.cases_display",
    "CasesDisplay": "evaluation.cases_display",
    "ClassMaps": "evaluation.cases_display",
    "BENCHMARK_SETS": "evaluation.benchmark",
    "benchmark_set": "evaluation.benchmark",
    "compare": "evaluation.compare",
    "compare_benchmark": "evaluation.benchmark",
    "Comparison": "evaluation.comparison",
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
