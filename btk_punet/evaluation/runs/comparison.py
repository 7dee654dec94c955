"""A finished comparison: its tidy tables, and those of the report, counted from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from btk_punet.errors import InputError, InputTypeError
from btk_punet.evaluation.runs.folder import NEEDED_TABLES, read_run
from btk_punet.evaluation.runs.set_aside import in_words, missing_scenes
from btk_punet.evaluation.scoring.batch import DETECTIONS, TRUTH
from btk_punet.evaluation.scoring.candidates import CANDIDATE_COLUMNS
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Collected, Study, Tidy
from btk_punet.evaluation.studies.detection.result import headline_of
from btk_punet.evaluation.studies.registry import STUDIES
from btk_punet.evaluation.studies.table import Table

# What every comparison collects, whatever the studies.
TIDY = (
    Tidy("truth", TRUTH, ("scene", "source")),
    Tidy("detections", DETECTIONS, ("scene", "detection")),
    Tidy("candidates", CANDIDATE_COLUMNS, ("scene", "candidate")),
)


@dataclass
class Comparison:
    """A finished run.

    Attributes:
        folder: Where it is.
        run: What is in ``run.json``: parameters, versions, seconds.
        collected: Its tidy tables, with what studies need to know of the run.
        studies: The questions that it answers.
    """

    folder: Path
    run: dict
    collected: Collected
    studies: list[Study]

    @classmethod
    def from_tables(
        cls, folder: Path, run: dict, tidy: dict[str, pd.DataFrame], studies: list[Study]
    ) -> Comparison:
        """Return a run from its tidy tables by their names, those of the files."""
        parameters = run["parameters"]
        rules = Rules(
            **{
                name: parameters[name]
                for name in ("radius_arcsec", "min_snr", "mag_bins", "distance_bins")
                if name in parameters
            }
        )
        collected = Collected(
            methods=list(run["methods"]),
            n_scenes=run["n_blends"],
            tidy=tidy,
            rules=rules,
            pixel_scale_arcsec=run["pixel_scale_arcsec"],
            ms_per_blend=run.get("timing_ms_per_blend", {}),
            missing=missing_scenes(
                run.get("incomplete", {}), run["n_blends"], parameters.get("batch_size", 1)
            ),
        )
        return cls(folder, run, collected, studies)

    @classmethod
    def load(
        cls, folder: str | Path, studies: Iterable[Study | type[Study]] | None = None
    ) -> Comparison:
        """Read a finished run.

        Args:
            folder: Its folder.
            studies: The questions to answer; all of `STUDIES` if None. One of your own gets what
                it collected, if the run was made with it.

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
        files = run.get("files", NEEDED_TABLES)
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"The comparison in '{folder}' has lost {', '.join(missing)}: run the same command "
                "again to make them."
            )
        tidy = {Path(name).stem: pd.read_parquet(folder / name) for name in files}
        return cls.from_tables(folder, run, tidy, chosen_studies(studies))

    def headline(self) -> pd.DataFrame:
        """Return a copy of the headline table, with ``n_scenes``, the scenes that a method has."""
        table = self.tables["headline"].copy()
        table.insert(1, "n_scenes", table["method"].map(self.collected.n_scenes_of))
        return table

    @property
    def missing(self) -> list[str]:
        """What is missing from the run, a sentence for each method; empty if nothing is.

        The figures of a method are over the scenes that it has. See ``failures.json`` for why.
        """
        parameters = self.run["parameters"]
        return in_words(
            self.run.get("incomplete", {}), self.run["n_blends"], parameters.get("batch_size", 1)
        )

    @property
    def truth(self) -> pd.DataFrame:
        """One row per source and method (see `batch_tables`)."""
        return self.collected.truth

    @property
    def detections(self) -> pd.DataFrame:
        """One row per detection and method (see `batch_tables`)."""
        return self.collected.detections

    @cached_property
    def tables_by_study(self) -> dict[str, dict[str, Table]]:
        """The tables of each study by the study's anchor and their names."""
        found: dict[str, dict[str, Table]] = {}
        everything: set[str] = set()
        for study in self.studies:
            own = {table.name: table for table in study.tables(self.collected)}
            twice = everything & set(own)
            if twice:
                raise InputError(
                    f"Two studies have a table of the name {sorted(twice)[0]!r}: rename that of "
                    f"{type(study).__name__}."
                )
            everything |= set(own)
            found[study.anchor] = own
        return found

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The numbers of all tables, by name."""
        return {
            name: table.data for own in self.tables_by_study.values() for name, table in own.items()
        }

    def __str__(self) -> str:
        head = headline_of(self.collected)
        shown = pd.DataFrame({"method": head["method"]})
        for name in ("completeness", "purity", "ceiling"):
            shown[name] = [
                f"{row[name]:.3f} ({row[f'{name}_lo']:.3f}-{row[f'{name}_hi']:.3f})"
                for _, row in head.iterrows()
            ]
        return shown.to_string(index=False)


def chosen_studies(studies: Iterable[Study | type[Study]] | None) -> list[Study]:
    """Return studies as objects, after checking that they get on with each other.

    Args:
        studies: Classes or objects; all of `STUDIES` if None.

    Raises:
        InputTypeError: for something that is no study.
        InputError: if one has no anchor or title, two have the same anchor or collect tables of the
            same name, or one collects a table that every run has.
    """
    chosen: list[Study] = []
    for study in STUDIES if studies is None else studies:
        made = study() if isinstance(study, type) else study
        if not isinstance(made, Study):
            raise InputTypeError(
                f"studies must hold subclasses of Study, or objects of them, got {study!r}."
            )
        if not getattr(made, "anchor", "") or not getattr(made, "title", ""):
            raise InputError(f"{type(made).__name__} must have an anchor and a title.")
        chosen.append(made)
    for what, names in (
        ("anchor", [study.anchor for study in chosen]),
        ("tidy table", [tidy.name for study in chosen for tidy in study.collects]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"Two studies have the same {what} {twice[0]!r}: rename one.")
    for study in chosen:
        taken = sorted({tidy.name for tidy in TIDY} & {tidy.name for tidy in study.collects})
        if taken:
            raise InputError(
                f"{type(study).__name__} collects a tidy table {taken[0]!r}, and every run has one "
                "of that name: rename it."
            )
    return chosen
