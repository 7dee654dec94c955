"""A finished comparison: its tidy tables, and those of the report, counted from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.runs.folder import NEEDED_TABLES, read_run
from btk_punet.evaluation.studies.blends.outcome_tables import outcome_tables
from btk_punet.evaluation.studies.detection.summary import summary_tables
from btk_punet.evaluation.studies.equal_purity.ceiling_share import ceiling_share_table
from btk_punet.evaluation.studies.outlines import batch as outlines
from btk_punet.evaluation.studies.outlines.tables import segmentation_tables
from btk_punet.evaluation.studies.probabilities import batch as probabilities
from btk_punet.evaluation.studies.probabilities.probability_tables import probability_tables


@dataclass
class Comparison:
    """A finished run.

    Attributes:
        folder: Where it is.
        truth: One row a source and method (see `batch_tables`).
        detections: One row a detection and method.
        run: What is in ``run.json``: parameters, versions, seconds.
        probabilities: What methods say with a probability (see `batch_probabilities`), where any
            does: tables ``candidates``, ``counts``, ``blend_probabilities``,
            ``blend_identification``, ``class_probabilities`` and ``class_uncertainty``.
        regions: One row a true region of several sources and method (see `region_table`); None
            if the run left the outcomes of blends out.
        outlines: How well sources are outlined (see `batch_outlines`), where any method gives
            outlines: tables ``source_outlines``, ``detection_outlines`` and ``class_pixels``.
    """

    folder: Path
    truth: pd.DataFrame
    detections: pd.DataFrame
    run: dict
    probabilities: dict[str, pd.DataFrame] = field(default_factory=dict)
    regions: pd.DataFrame | None = None
    outlines: dict[str, pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def from_tables(
        cls, folder: Path, run: dict, tables: Mapping[str, pd.DataFrame]
    ) -> "Comparison":
        """Return a run from its tidy tables by their names, those of the files."""
        return cls(
            folder,
            tables["truth"],
            tables["detections"],
            run,
            {name: tables[name] for name in probabilities.TABLES if name in tables},
            tables.get("regions"),
            {name: tables[name] for name in outlines.TABLES if name in tables},
        )

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read a finished run.

        Raises:
            InputError: if the folder holds no finished run.
        """
        folder = Path(folder)
        run = read_run(folder)
        if run is None or run.get("status") != "finished":
            raise InputError(
                f"'{folder}' holds no finished comparison: run `btk-punet compare --output "
                f"{folder}` (with the same options, if it was begun) to finish it."
            )
        # A run of an earlier version names no files.
        files = run.get("files", NEEDED_TABLES)
        tables = {Path(name).stem: pd.read_parquet(folder / name) for name in files}
        return cls.from_tables(folder, run, tables)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of the report, counted from the tidy ones.

        Those of `summary_tables` and `ceiling_share_table`, and as far as there is something to
        count, `outcome_tables`, `segmentation_tables` and `probability_tables`.
        """
        methods = list(self.run["methods"])
        tables = summary_tables(self.truth, self.detections, methods, self.run["n_blends"])
        if self.regions is not None:
            tables |= outcome_tables(self.regions, methods)
        tables |= segmentation_tables(self.outlines, self.truth, methods)
        if self.probabilities:
            tables |= probability_tables(
                self.probabilities,
                self.truth,
                self.detections,
                methods,
                self.run["parameters"]["radius_arcsec"],
                self.run["pixel_scale_arcsec"],
            )
        curves = tables.get("purity_completeness")
        return tables | {"ceiling_share": ceiling_share_table(tables["headline"], curves)}

    def __str__(self) -> str:
        head = self.tables["headline"]
        shown = pd.DataFrame({"method": head["method"]})
        for name in ("completeness", "purity", "ceiling"):
            shown[name] = [
                f"{row[name]:.3f} ({row[f'{name}_lo']:.3f}-{row[f'{name}_hi']:.3f})"
                for _, row in head.iterrows()
            ]
        return shown.to_string(index=False)
