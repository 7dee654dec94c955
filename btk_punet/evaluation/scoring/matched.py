"""A batch of scenes with what every method found in it, matched: what studies collect from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.deblend import Deblender

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.candidates import batch_candidates, extra_of_scenes
from btk_punet.evaluation.scoring.rules import Rules


@dataclass(frozen=True)
class MatchedBatch:
    """Scenes, the output of each method, and which detection is which source.

    Attributes:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name.
        truth: Truth table of `batch_tables`, one row per source and method.
        detections: Detection table of the same, one row per detection and method.
        first_scene: Number of the batch's first scene in the run.
        rules: How detections are counted.
        deblenders: The methods themselves, for studies that run them again.
    """

    blend_batch: BlendBatch
    deblend_batches: Mapping[str, DeblendBatch]
    truth: pd.DataFrame
    detections: pd.DataFrame
    first_scene: int = 0
    rules: Rules = field(default_factory=Rules)
    deblenders: Mapping[str, Deblender] = field(default_factory=dict)

    @classmethod
    def match(
        cls,
        blend_batch: BlendBatch,
        deblend_batches: Mapping[str, DeblendBatch],
        first_scene: int = 0,
        rules: Rules | None = None,
        deblenders: Mapping[str, Deblender] | None = None,
    ) -> MatchedBatch:
        """Match a batch; arguments are the attributes.

        Raises:
            MethodError: if a method's output cannot be used (see `check_found`).
        """
        rules = Rules() if rules is None else rules
        truth, detections = batch_tables(
            blend_batch, deblend_batches, first_scene, rules.radius_arcsec, min_snr=rules.min_snr
        )
        return cls(
            blend_batch, deblend_batches, truth, detections, first_scene, rules, deblenders or {}
        )

    def of(self, names: Sequence[str]) -> MatchedBatch:
        """Return the same scenes with some of the methods, as if the others had not run."""
        if list(names) == list(self.deblend_batches):
            return self
        truth, detections = (
            table[table["method"].isin(names)].reset_index(drop=True)
            for table in (self.truth, self.detections)
        )
        return replace(
            self,
            deblend_batches={name: self.deblend_batches[name] for name in names},
            truth=truth,
            detections=detections,
            deblenders={name: self.deblenders[name] for name in names if name in self.deblenders},
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return what is kept of every batch, since several studies read it.

        Returns:
            ``truth``, ``detections`` and, if a method has any, ``candidates`` (see
            `batch_candidates`).
        """
        tables = {"truth": self.truth, "detections": self.detections}
        if extra_of_scenes(self.deblend_batches, "candidates"):
            tables["candidates"] = batch_candidates(
                self.blend_batch,
                self.deblend_batches,
                self.truth,
                self.first_scene,
                self.rules.radius_arcsec,
            )
        return tables
