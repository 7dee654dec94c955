"""The question of the report: how good are the outlines?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from btk_punet.evaluation.quantities import OF_SOURCES, WILSON, Column
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.statistics.means import merged_means
from btk_punet.evaluation.statistics.pixels import class_report
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study
from btk_punet.evaluation.studies.outlines.agreement import TIDY, batch_outlines
from btk_punet.evaluation.studies.outlines.iou import OutlineDisplay, iou_sums
from btk_punet.evaluation.studies.outlines.precision import (
    MaskPrecisionDisplay,
    mask_precision,
    thinned_curves,
)
from btk_punet.evaluation.studies.outlines.scores import outline_scores, pixel_counts
from btk_punet.evaluation.studies.table import Layout, Table, all_described, stacked, trimmed

SEGMENTATION_BY = ("magnitude", "neighbour_distance_arcsec")

_ONE_ERROR = "one-standard-error interval"


def _of_worse(name: str, heading: str, of_which: str, what: str) -> tuple[Column, ...]:
    return (
        Column(name, f"fraction of the {of_which} that are {what}", "", heading, ".3f", WILSON),
        Column(f"{name}_n", f"number of {of_which}", heading="In overlaps", format=",d"),
        Column(f"{name}_k", f"number of them that are {what}"),
    )


_MATCHED = "matched sources in overlaps"
_SCORES = all_described(
    (
        Column(
            "mean_iou", "mean IoU of outline and footprint of matched sources",
            heading="Mean IoU", format=".3f", interval=_ONE_ERROR,
        ),
        Column(
            "mean_iou_n", "number of matched sources that count", heading="Matched", format=",d"
        ),
        Column(
            "blended_region_iou",
            "IoU of the pixels that several outlines, and several footprints, cover",
            heading="IoU of blended region", format=".3f",
        ),
        Column("blended_region_iou_n", "number of pixels of either"),
        Column("blended_region_iou_k", "number of pixels of both"),
        Column(
            "average_precision", "mean over IoU thresholds 0.5, 0.55, ..., 0.95 (COCO's AP)",
            heading="AP", format=".3f",
        ),
        *(
            Column(
                f"average_precision_{percent}", f"average precision at an IoU of 0.{percent}",
                heading=f"AP{percent}", format=".3f",
            )
            for percent in (50, 75)
        ),
        *_of_worse("unmatched", "Unmatched", "sources in overlaps", "without a match"),
        *_of_worse(
            "placed_worse", "Placed worse", _MATCHED, "placed worse than if undeblended"
        ),
        *_of_worse(
            "outlined_worse", "Outlined worse", _MATCHED, "outlined worse than if undeblended"
        ),
    )
)  # fmt: skip
_MEANS = all_described(
    (
        Column("n", "number of matched sources that count", heading="N", format=",d"),
        Column(
            "value", "mean IoU of their outlines and footprints", heading="IoU", format=".3f",
            interval=_ONE_ERROR,
        ),
        Column("error", "standard error of the mean; NaN below two"),
    )
)  # fmt: skip
_CLASSES = (
    Column(
        "class", "true class of a pixel: covered by no footprint, one, or more", heading="Class"
    ),
    Column(
        "precision", "of the pixels of the class by the outlines, the fraction that truly is",
        heading="Precision", format=".3f",
    ),
    Column(
        "recall", "of the true pixels of the class, the fraction that is so by the outlines",
        heading="Recall", format=".3f",
    ),
    Column("f1", "harmonic mean of precision and recall", heading="F1", format=".3f"),
    Column(
        "iou", "intersection over union of the pixels of the class in truth and by the outlines",
        heading="IoU", format=".3f",
    ),
    Column("support", "number of true pixels of the class", heading="Pixels", format=",d"),
)  # fmt: skip
_MASKS = (
    Column(
        "iou_threshold", "least IoU of an outline and the footprint that it is matched to",
        heading="IoU", format=".2f",
    ),
    Column("p_detect", "lowest probability of the detections that are counted; NaN without any"),
    Column("n_detections", "number of outlines that count"),
    Column("n_matched", "number of them that are matched"),
    Column("n_truth", "number of sources that count and have a footprint"),
    Column("purity", "n_matched / n_detections", heading="Purity", format=".3f"),
    Column("completeness", "n_matched / n_truth", heading="Completeness", format=".3f"),
    Column(
        "average_precision", "area below the curve of purity and completeness, as COCO takes it",
        heading="AP", format=".3f",
    ),
)  # fmt: skip


class Outlines(Study):
    """IoU of outlines and footprints, average precision, and whether deblending did harm."""

    anchor = "outlines"
    title = "How good are the outlines?"
    lead = "Asked of the pixels that a method gives to each source, against those that it covers."
    collects = TIDY

    def collect(self, batch: MatchedBatch) -> Mapping[str, pd.DataFrame]:
        """Return `batch_outlines`, of the methods that give outlines."""
        return batch_outlines(
            batch.blend_batch,
            batch.deblend_batches,
            batch.truth,
            batch.detections,
            batch.first_scene,
        )

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield the tables of all methods that give outlines."""
        pixels = {name: rows for name, rows in run.by_method("class_pixels").items() if len(rows)}
        if not pixels:
            return
        sources, found = (run.by_method(f"{of}_outlines") for of in ("source", "detection"))
        precision = {name: mask_precision(found[name], len(sources[name])) for name in pixels}
        counts = {name: pixel_counts(rows) for name, rows in pixels.items()}
        yield Table(
            "segmentation_scores",
            "Outlines",
            stacked(
                {m: outline_scores(sources[m], counts[m], precision[m]) for m in pixels}
            ),
            _SCORES,
            Layout(
                ("method",),
                (
                    "mean_iou_n", "mean_iou", "blended_region_iou", "average_precision",
                    "average_precision_50", "average_precision_75", "placed_worse_n",
                    "placed_worse", "outlined_worse",
                ),
            ),
            how_to_read=(
                "Higher is better, except in the last two columns: the fractions of the matched "
                "sources in overlaps that would have been placed, or outlined, better if nothing "
                "had been deblended. Methods without outlines are left out."
            ),
            caption=(
                "Outlines: mean IoU with the footprints of the matched sources and its standard "
                "error, IoU of the blended region, average precision (AP), and fractions of the "
                "matched sources in overlaps that are placed and outlined worse than if nothing "
                "had been deblended."
            ),
        )  # fmt: skip
        for by in SEGMENTATION_BY:
            quantity = OF_SOURCES[by]
            edges = run.rules.edges(quantity)
            parts = {m: merged_means([iou_sums(sources[m], run.truth, by, edges)]) for m in pixels}
            yield Table(
                f"segmentation_by_{quantity.name}",
                f"Outlines by {quantity.words}",
                trimmed(stacked(parts)),
                _MEANS,
                Layout(("lo", "hi"), ("n", "value"), across=("method",), in_report=False),
                caption=(
                    f"Mean IoU of outline and true footprint by {quantity.words}, with the number "
                    "N of matched sources."
                ),
                quantity=quantity,
            )
        yield Table(
            "segmentation_classes",
            "Pixels that no outline, one, or more cover",
            stacked({m: class_report(counts[m]).reset_index() for m in pixels}),
            _CLASSES,
            Layout(("method", "class"), ("precision", "recall", "f1", "iou", "support")),
            how_to_read=(
                "Pixels are background, of one source (isolated) or of several (blended): how well "
                "the number of outlines that cover a pixel tells which; higher is better."
            ),
            caption=(
                "Pixels that no source covers (background), one (isolated) or more (blended), by "
                "the number of outlines that cover them."
            ),
        )
        yield Table(
            "mask_precision",
            "Average precision of the outlines",
            stacked({m: precision[m].table() for m in pixels}),
            _MASKS,
            Layout(
                ("iou_threshold",), ("purity", "completeness", "average_precision"),
                across=("method",), in_report=False,
            ),
            caption=(
                "Purity, completeness and average precision (AP) of outlines that are matched to "
                "the true footprints at an IoU of at least so much."
            ),
        )  # fmt: skip
        yield Table(
            "mask_curves",
            "Purity and completeness of the outlines",
            stacked({m: thinned_curves(precision[m]) for m in pixels}),
            _MASKS,
        )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield the mean IoU by each quantity, and the curves of purity and completeness."""
        if not tables:
            return
        for by in SEGMENTATION_BY:
            table = tables[f"segmentation_by_{OF_SOURCES[by].name}"]
            if (table.data["n"] > 0).any():
                yield Figure.of(
                    table,
                    "Higher is better, and 1 is a perfect outline; only sources that a method "
                    "finds enter, so read it beside the completeness; the error bars are standard "
                    "errors of the mean.",
                    OutlineDisplay(table.data, by, run.methods),
                )
        curves = tables["mask_curves"]
        if (curves.data["n_truth"] > 0).any():
            yield Figure.of(
                curves,
                "Up and to the right is better: here a source is found if an outline agrees with "
                "its footprint as well as the title says, wherever the method puts its centre; a "
                "method without probabilities is a point.",
                MaskPrecisionDisplay(curves.data, run.methods),
            )

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield what the scores are."""
        if not tables:
            return
        yield Definition(
            "Outline, footprint, IoU",
            "The outline of a detection is the pixels that the method says it covers; the "
            "footprint of a source is where its noiseless flux exceeds one sigma of the "
            "background. Their IoU, intersection over union, is the number of pixels of both "
            "divided by that of either. Its mean is over the sources that count and are matched; "
            "its error is the standard error.",
        )
        yield Definition(
            "Blended region",
            "The pixels that two or more outlines cover, against those that two or more footprints "
            "cover. A method whose outlines never overlap has an IoU of 0 there.",
        )
        yield Definition(
            "Average precision",
            "As COCO defines it: detections, the most probable first, are matched to sources by "
            "the IoU of outline and footprint alone, and the purity is averaged over the "
            "completeness as the threshold on the probability falls. AP is the mean over IoU "
            "thresholds of 0.5, 0.55, ..., 0.95; AP50 and AP75 are at one. Methods without "
            "probabilities have none.",
        )
        yield Definition(
            "Worse than undeblended",
            "If nothing had been deblended, all outlines that touch would be one object. Of the "
            "sources whose footprint overlaps another's and that are matched: the fraction that is "
            "placed further from the truth than the centre of light of that object, and the "
            "fraction whose outline has a smaller IoU than that object.",
        )
