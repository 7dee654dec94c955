"""Can the probabilities be trusted? All that methods predict with a probability, calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.reliability import ReliabilityDisplay
from btk_punet.evaluation.scoring.candidates import (
    extra_of_scenes,
)
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.statistics.fractions import merged_counts
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study, Tidy
from btk_punet.evaluation.studies.probabilities import calibration, classes
from btk_punet.evaluation.studies.probabilities.binned import (
    BY,
    BinnedCalibrationDisplay,
    binned_tables,
)
from btk_punet.evaluation.studies.probabilities.blend_identification import (
    FLAG_COLUMNS,
    BlendIdentificationDisplay,
    batch_blend_identification,
    flag_table,
    without_missed,
)
from btk_punet.evaluation.studies.probabilities.blends import (
    BLEND_COLUMNS,
    blend_probabilities,
    has_p_blend,
)
from btk_punet.evaluation.studies.probabilities.class_errors import (
    ErrorPredictionDisplay,
    error_tables,
)
from btk_punet.evaluation.studies.probabilities.counts import batch_counts
from btk_punet.evaluation.studies.table import Table, rows_of_methods

# Doubtful probabilities whose error exceeds that by chance by more cannot be believed.
_BELIEVED = 0.05


class Probabilities(Study):
    """Calibration of all that a method predicts with a probability, and how errors are told.

    Methods hand such things back in the ``extra_data`` of their output, as `ProbaUNetDeblender`
    does: ``candidates``, ``count_posterior``, ``class_mean``, ``class_probability`` and
    ``class_variance``; and ``p_blend`` in their catalogs. Each is optional.
    """

    anchor = "probabilities"
    title = "Can the probabilities be trusted?"
    lead = "Of everything that is given a probability of 0.8, eight in ten should be true."
    collects = (
        Tidy("counts", sort_by=("scene",)),
        Tidy("blend_probabilities", BLEND_COLUMNS, ("scene", "detection")),
        Tidy("blend_identification", FLAG_COLUMNS, merge=merged_counts),
        Tidy(
            "class_probabilities",
            classes.PROBABILITY_COLUMNS,
            merge=classes.merged_class_probabilities,
        ),
        Tidy(
            "class_uncertainty",
            classes.UNCERTAINTY_COLUMNS,
            merge=classes.merged_class_uncertainty,
        ),
    )

    def collect(self, batch: MatchedBatch) -> Mapping[str, pd.DataFrame]:
        """Return what the methods of a batch predict with a probability, and what is true.

        Returns:
            Those of these tables of which any method has something; each has a docstring of its
            own: ``counts`` (`batch_counts`),
            ``blend_probabilities`` (`blend_probabilities`), ``blend_identification``
            (`batch_blend_identification`), ``class_probabilities`` and ``class_uncertainty``
            (functions of these names).
        """
        scenes, found, first = batch.blend_batch, batch.deblend_batches, batch.first_scene
        tables: dict[str, pd.DataFrame | None] = {}
        tables["counts"] = batch_counts(scenes, found, batch.truth, first)
        if any(map(has_p_blend, found.values())):
            rows = blend_probabilities(scenes, found, batch.detections, first)
            tables["blend_probabilities"] = rows[[column.name for column in BLEND_COLUMNS]]
        tables["blend_identification"] = batch_blend_identification(scenes, found)
        pixels = {
            method: classes.lit_pixels(scenes, found[method])
            for method in extra_of_scenes(found, "class_probability")
        }
        if pixels:
            tables["class_probabilities"] = classes.class_probabilities(pixels)
            tables["class_uncertainty"] = classes.class_uncertainty(pixels)
        return {name: table for name, table in tables.items() if table is not None}

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield reliability, scores, errors of the class and flagged blends."""
        found = calibration.reliabilities(run.tidy, run.methods)
        if found:
            yield calibration.score_table(found)
        yield from calibration.doubtful_table(run)
        yield from calibration.probability_scores(run, found)
        for name in calibration.RELIABILITY:
            yield from calibration.reliability_table(name, found)
        yield from calibration.class_calibration_table(found)
        yield from binned_tables(run)
        yield from error_tables(run)
        if "blend_identification" in run.tidy:
            yield flag_table(run.tidy["blend_identification"])

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield reliability diagrams, calibration in bins, and curves of errors and blends."""
        everyone = list(run.methods)
        some = {name for name, table in tables.items() if "n" in table.data}
        some = {name for name in some if (tables[name].data["n"] > 0).any()}
        for name, (*_, title, how_to_read) in calibration.RELIABILITY.items():
            if name in some:
                curves = rows_of_methods(tables[name].data)
                yield Figure(name, title, how_to_read, ReliabilityDisplay(curves, everyone))
        for by, quantity in BY.items():
            name = f"calibration_by_{quantity.name}"
            if name in some:
                yield Figure.of(
                    tables[name],
                    "Filled points, the observed fraction, should lie on the open ones, the mean "
                    "predicted probability; below them a method is too sure of such detections, "
                    "above them not sure enough.",
                    BinnedCalibrationDisplay(tables[name].data, by, everyone),
                )
        if "class_calibration" in some:
            yield Figure.of(
                tables["class_calibration"],
                "On the dashed line, as many pixels are of the class as predicted; pixels that "
                "are background with 0.9 or more are left out, and the error bars take "
                "neighbouring pixels for independent, so that they are too short.",
                classes.ClassReliabilityDisplay(tables["class_calibration"].data, everyone),
            )
        if "class_error_curves" in some:
            curve = tables["class_error_curves"]
            if curve.data["flagged_wrong"].notna().any():
                yield Figure.of(
                    curve,
                    "Up and to the left is better: more of the wrong pixels are found for as many "
                    "false alarms; the dotted line is chance, a long straight part is of pixels "
                    "with the same uncertainty, such as a variance of 0, and the area under each "
                    "curve is in brackets.",
                    ErrorPredictionDisplay(curve.data, tables["class_errors"].data, everyone),
                )
        if "blend_identification" in some:
            flags = tables["blend_identification"]
            yield Figure.of(
                flags,
                "Up and to the right is better; the stars are Blendinator's own, read off its "
                "figure, on other scenes (drawn at I_E < 25.2).",
                BlendIdentificationDisplay(rows_of_methods(without_missed(flags.data)), everyone),
            )

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield what calibration, its scores and errors of the class mean."""
        if "calibration_scores" in tables:
            yield Definition(
                "Calibration",
                "Of all that is predicted with a probability p, the fraction p should be true. "
                "The expected calibration error is the mean distance from that; the Brier score "
                "is the mean squared error of the probabilities, and the skill is the share of it "
                "that a constant probability would have and they have not.",
            )
            yield Definition(
                "What is calibrated",
                "p_detect: that a candidate brings a match when the threshold falls to it; all "
                "candidates of 0.02 or more count, whatever the threshold. p_blend, of matched "
                "detections away from the edge: that the footprint of the matched source (where "
                "its noiseless flux exceeds one sigma of the background) shares a pixel with "
                "another's. Count: that the most probable number of sources is the true one. "
                "Background, isolated, blended: that a pixel is covered by no footprint, one, or "
                "more, over the pixels whose probability of background is below 0.9.",
            )
        if "doubtful_calibration" in tables:
            yield Definition(
                "Doubtful candidate",
                "One with 0.1 < p_detect < 0.9. Most candidates are nearly sure, so that the "
                "error of all of them can hide that of the doubtful ones. Right probabilities "
                "have an error, too, by chance: that of as many independent draws.",
            )
        if any(f"calibration_by_{quantity.name}" in tables for quantity in BY.values()):
            yield Definition(
                "Calibration by magnitude and distance",
                "The magnitude is that in an aperture of 0.5 arcsec radius at the candidate or "
                "detection, the distance that from a candidate (0.02 or more) to the nearest "
                "other candidate, or for p_blend from a detection to the nearest other detection, "
                "as for the purity.",
            )
        if "count_calibration" in tables:
            yield Definition(
                "Count gap",
                "How far the posterior of the number of sources is from right, 0 to 1: the "
                "largest gap between the distribution of the true counts' places in their "
                "posteriors (probability integral transforms) and the uniform one.",
            )
        if "blend_identification" in tables:
            yield Definition(
                "Flagged blend",
                "An object is a region with a class mean (0 background, 1 one source, 2 more) of "
                "0.5 or more. It is flagged where its largest class mean exceeds a threshold, and "
                "truly a blend where its true pixels hold 3 or more that several sources cover.",
            )
        if "class_errors" in tables:
            yield Definition(
                "Error of the class",
                "A pixel is wrong if its most probable class is not the true one, over the pixels "
                "whose probability of background is below 0.9. The area under the curve is the "
                "probability that a wrong pixel has a larger uncertainty than a right one (equal "
                "ones count half): 0.5 by chance, 1 at best. Uncertainty is the variance of the "
                "class over samples, or, without samples, 1 less the largest class probability.",
            )

    def answers(self, run: Collected, tables: Mapping[str, Table]) -> Mapping[str, str]:
        """Return whether ``p_detect`` can be believed: a gain, or a price where it cannot."""
        if "doubtful_calibration" not in tables:
            return {}
        of_all = tables["calibration_scores"].data.set_index(["method", "quantity"])
        found: dict[str, list[str]] = {}
        for _, row in tables["doubtful_calibration"].data.iterrows():
            error = of_all.loc[(row["method"], "p_detect"), "expected_calibration_error"]
            if np.isnan(error):
                continue
            kind, sentence = _belief(error, row)
            found.setdefault(kind, []).append(sentence)
        return {kind: " ".join(sentences) for kind, sentences in found.items()}


def _belief(error: float, doubtful: pd.Series) -> tuple[str, str]:
    """Return whether the p_detect of a method is a gain or a price, and a sentence on it."""
    believed = True
    figures = f"their calibration error is {error:.3f}"
    if doubtful["n"]:
        own, by_chance = doubtful["expected_calibration_error"], doubtful["error_by_chance"]
        believed = own - by_chance <= _BELIEVED
        figures += (
            f", and {own:.3f} ({by_chance:.3f} is expected by chance) for the {doubtful['n']:,} "
            f"candidates with 0.1 < p < 0.9, which are given {doubtful['mean_probability']:.0%} on "
            f"average and of which {doubtful['base_rate']:.0%} are sources"
        )
    verdict = "can be believed" if believed else "cannot be taken at face value"
    return "gain" if believed else "price", (
        f"The probabilities of {doubtful['method']} {verdict}: {figures}."
    )
