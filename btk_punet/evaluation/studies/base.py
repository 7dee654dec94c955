"""What a study is: one question of a report, from what it collects to its tables and figures.

A study of one's own is a subclass of `Study` in one file, passed to ``compare(studies=...)``:

    class Colours(Study):
        anchor, title = "colours", "Are the colours right?"
        lead = "Asked of the matched sources."

        def tables(self, run):
            yield Table("colours", self.title, ..., columns=(...), layout=Layout(...))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import pandas as pd

from btk_punet.evaluation.plotting.display import Display
from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.table import Table

if TYPE_CHECKING:
    from btk.deblend import Deblender

    from btk_punet.evaluation.scoring.matched import MatchedBatch
    from btk_punet.simulation.scenes import SceneGenerator


@dataclass(frozen=True)
class Tidy:
    """A tidy table that a study collects, batch by batch, with a column ``method``.

    Attributes:
        name: Its name, and that of its Parquet file.
        columns: What its columns hold; those that differ from run to run may be left out.
        sort_by: Columns by which the rows of a method are sorted when batches are joined.
        merge: For tables of sums: makes one table of those of several batches, in any order.
    """

    name: str
    columns: tuple[Column, ...] = ()
    sort_by: tuple[str, ...] = ()
    merge: Callable[[list[pd.DataFrame]], pd.DataFrame] | None = None

    def joined(self, parts: Sequence[pd.DataFrame], methods: Sequence[str]) -> pd.DataFrame:
        """Return the table of a run, the same for any order of its batches.

        Args:
            parts: That of each batch, one or more.
            methods: Names of the methods, in the order wanted.
        """
        of_method = [[part[part["method"] == method] for part in parts] for method in methods]
        if self.merge is not None:
            tables = [
                self.merge([part.reset_index(drop=True) for part in own])
                for own in of_method
                if any(map(len, own))
            ]
        else:
            tables = [pd.concat(own).sort_values(list(self.sort_by)) for own in of_method]
        # There may be nothing to merge in any part: of pixels that are all background.
        return pd.concat(tables or parts[:1], ignore_index=True)


class Figure(NamedTuple):
    """A figure of a study.

    Attributes:
        name: Of its files.
        title: Above it in the report. Tables and figures of one title stand together.
        how_to_read: A sentence below the title.
        display: Draws it.
    """

    name: str
    title: str
    how_to_read: str
    display: Display

    @classmethod
    def of(cls, table: Table, how_to_read: str, display: Display) -> Figure:
        """Return the figure of a table, which has its name and title."""
        return cls(table.name, table.title, how_to_read, display)


class Definition(NamedTuple):
    """What a word of the report means."""

    term: str
    meaning: str


@dataclass
class Collected:
    """All that was collected in a run, from which studies make their tables.

    Attributes:
        methods: Names of the methods, in the order of the run.
        n_scenes: Number of scenes.
        tidy: Tidy tables by name: ``truth``, ``detections`` (see `batch_tables`) and those that
            studies collect, as far as there is anything in them.
        rules: How detections are counted.
        pixel_scale_arcsec: Pixel size.
        ms_per_blend: Time of each method.
        generator: Draws the scenes again; None for a run that was read from its folder.
        deblenders: Run again, by name; empty for a run that was read from its folder.
        missing: Numbers of the scenes that a method failed on, by its name; it has no rows of
            them, and is not in ``missing`` if there are none.
    """

    methods: Sequence[str]
    n_scenes: int
    tidy: Mapping[str, pd.DataFrame]
    rules: Rules = field(default_factory=Rules)
    pixel_scale_arcsec: float = 0.1
    ms_per_blend: Mapping[str, float] = field(default_factory=dict)
    generator: SceneGenerator | None = None
    deblenders: Mapping[str, Deblender] = field(default_factory=dict)
    missing: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def n_scenes_of(self, method: str) -> int:
        """Return how many scenes a method has."""
        return self.n_scenes - len(self.missing.get(method, ()))

    @property
    def truth(self) -> pd.DataFrame:
        """One row per source and method."""
        return self.tidy["truth"]

    @property
    def detections(self) -> pd.DataFrame:
        """One row per detection and method."""
        return self.tidy["detections"]

    def by_method(self, name: str) -> dict[str, pd.DataFrame]:
        """Return the rows of each method of a tidy table, in the order of the run.

        Methods without a row have an empty table; without the tidy table there is none at all.
        """
        if name not in self.tidy:
            return {}
        table = self.tidy[name]
        return {method: table[table["method"] == method] for method in self.methods}


class Study:
    """One question of a report. A subclass fills in what it needs; everything is optional.

    Attributes:
        anchor: Its name in links, and among the studies of a run.
        title: The question.
        lead: What it is about, a sentence or two.
        collects: The tidy tables that `collect` may return.
        runs_methods: Whether `collect` runs the methods again, which takes time.
    """

    anchor: ClassVar[str]
    title: ClassVar[str]
    lead: ClassVar[str] = ""
    collects: ClassVar[tuple[Tidy, ...]] = ()
    runs_methods: ClassVar[bool] = False

    def collect(self, batch: MatchedBatch) -> Mapping[str, pd.DataFrame]:
        """Return what is kept of a batch, by the names of `collects`.

        A table has a column ``method``; one that has nothing to say of any method is left out.
        """
        return {}

    def tables(self, run: Collected) -> Iterable[Table]:
        """Yield the tables, as far as there is something to count."""
        return ()

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterable[Figure]:
        """Yield the figures, as far as there is something to draw.

        Args:
            run: What was collected.
            tables: The study's own tables, by name.
        """
        return ()

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterable[Definition]:
        """Yield the words whose meaning the report explains; arguments are those of `figures`."""
        return ()

    def answers(self, run: Collected, tables: Mapping[str, Table]) -> Mapping[str, str]:
        """Return what it has to say at the top of the report, "should I use this detector?".

        Args are those of `figures`.

        Returns:
            A sentence or two by what they are about: ``"gain"``, ``"price"`` or ``"home"``.
        """
        return {}
