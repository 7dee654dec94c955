"""The main job: draw blends, run detectors on them, and write what each one finds and misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
from btk.catalog import Catalog
from btk.deblend import Deblender
from btk.sampling_functions import SamplingFunction
from btk.survey import Survey

from btk_punet.deblending.base import told_scenes
from btk_punet.deblending.calling import call_method
from btk_punet.deblending.choices import choose_deblenders, default_deblenders
from btk_punet.errors import InputError
from btk_punet.evaluation.report.files import write_figures, write_tables
from btk_punet.evaluation.report.html import REPORT_FILE, Section, write_report
from btk_punet.evaluation.runs.comparison import TIDY, Comparison, chosen_studies
from btk_punet.evaluation.runs.engine import finish, run_all, warn_of_missing
from btk_punet.evaluation.runs.folder import (
    describe_deblender,
    describe_scenes,
    only_run,
    open_run,
    package_versions,
)
from btk_punet.evaluation.runs.options import Running, Scenes
from btk_punet.evaluation.runs.task import BatchTask
from btk_punet.evaluation.runs.words import home_of, scenes_in_words
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Study
from btk_punet.options import documented
from btk_punet.output import output_folder
from btk_punet.simulation.choices import survey_of
from btk_punet.simulation.survey import pixel_scale_arcsec

if TYPE_CHECKING:
    from btk_punet.simulation.scenes import SceneGenerator

# What a run makes in its folder.
FOLDERS = ("batches", "tables", "plots")

Deblenders: TypeAlias = str | Deblender | Iterable[str | Deblender] | Mapping[str, str | Deblender]


@documented(Scenes, Rules, Running)
def compare(
    output: str | Path,
    deblenders: Deblenders | None = None,
    *,
    sampling: str | SamplingFunction = Scenes.sampling,
    catalog: str | Path | Catalog = Scenes.catalog,
    survey: str | Survey = Scenes.survey,
    n_exposures: int = Scenes.n_exposures,
    read_noise: float = Scenes.read_noise,
    psf: float = Scenes.psf,
    n_blends: int = Scenes.n_blends,
    batch_size: int = Scenes.batch_size,
    seed: int = Scenes.seed,
    radius_arcsec: float = Rules.radius_arcsec,
    min_snr: float = Rules.min_snr,
    mag_bins: Sequence[float] | None = Rules.mag_bins,
    distance_bins: Sequence[float] | None = Rules.distance_bins,
    studies: Iterable[Study | type[Study]] | None = None,
    outcomes: bool = True,
    max_n_sources: int | None = None,
    generator: SceneGenerator | None = None,
    notes: Sequence[str] = (),
    report: bool = True,
    command: str = "",
    njobs: int = Running.njobs,
    scheduler: str | None = Running.scheduler,
    scheduler_file: str | Path | None = Running.scheduler_file,
    memory_limit: str | None = Running.memory_limit,
    timeout: float | None = Running.timeout,
    fail_fast: bool = Running.fail_fast,
    shard: str | None = Running.shard,
    overwrite: bool = Running.overwrite,
    progress: bool = Running.progress,
) -> Comparison:
    """Compare detectors on blends, and write tables, plots and a report.

    Called again with the same arguments on the folder of a run that was stopped, it resumes where
    the run stopped, and ends with the same tables, bit for bit.

    Args:
        output: Folder of the run. Gets ``truth.parquet`` and ``detections.parquet`` (one row per
            source, or detection, and method), the other tidy tables that the studies collect,
            ``tables/`` (ECSV, CSV, LaTeX), ``plots/`` (PNG and PDF), ``report.html`` and
            ``run.json``.
        deblenders: BTK deblenders, or names with settings (``"sep:thresh=1.5"``), or a dict of
            name and deblender. If None: SEP, SExtractor where it is installed, and ProbaUNet
            where its preset is installed and made for the survey.
        {Scenes}
        {Rules}
        studies: The questions that the report answers, subclasses of `Study`; all of `STUDIES` if
            None. ``[*STUDIES, MyStudy]`` adds one of your own.
        outcomes: Whether to find out what becomes of blends (recognized, unrecognized, shredded,
            undetected, merged), for which every method runs once more, on each source of a blend
            alone: several times the time of the detectors. (The times of ``run.json`` are without
            it.) A run that was begun with it and stopped resumes without it if asked to.
        max_n_sources: Most detections in an image for deblenders given by name; by default twice
            the most true ones and 10 more.
        generator: A generator of scenes, in place of the options of the scenes but ``n_blends``.
        notes: What a reader of the report must know, a sentence each.
        report: Whether to draw the plots and write ``report.html``, which takes some 20 seconds.
            Called again with it, a finished run that has none gets one.
        command: The command that makes this run, for the report.
        {Running}

    Returns:
        The finished run. What failed time and again is left out of it, and the run says so (an
        `IncompleteRunWarning`, and `Comparison.missing`); called again, it tries that again. A
        shard has no tables.

    Raises:
        InputError: for arguments that cannot be used.
        RunExistsError: if the folder holds another run, or other files.
        BatchFailedError: if every detector fails on every batch; with ``fail_fast``, at the first
            failure. The batches before are kept.
        ClusterError: if the workers cannot be started or reached, or cannot do the work.
    """
    output = output_folder(output, FOLDERS)
    running = Running(
        njobs, scheduler, scheduler_file, memory_limit, timeout, fail_fast, shard, overwrite,
        progress,
    )  # fmt: skip
    scenes = Scenes(
        sampling, catalog, survey, n_exposures, read_noise, psf, n_blends, batch_size, seed
    )
    rules = Rules(radius_arcsec, min_snr, mag_bins, distance_bins)
    if generator is None:
        generator = scenes.generator()
    else:
        scenes.check_unused("generator")
    only_survey = survey_of(generator)
    methods, left_out = methods_for(generator, deblenders, max_n_sources)
    notes = [*notes, *left_out]
    if "drawing" in methods:
        raise InputError("'drawing' is what the time of drawing is called: rename the method.")
    asked = chosen_studies(studies)
    parameters = describe_scenes(generator, n_blends, rules) | {"outcomes": outcomes}
    if studies is not None:
        parameters["studies"] = [study.anchor for study in asked]
    # With outcomes=False, the studies that run the methods again are left out.
    asked = [study for study in asked if outcomes or not study.runs_methods]

    run = {
        "status": "running",
        "parameters": parameters,
        "methods": {name: describe_deblender(method) for name, method in methods.items()},
        "pixel_scale_arcsec": pixel_scale_arcsec(only_survey),
        "scenes": scenes_in_words(generator, n_blends),
        "home": home_of(methods, generator),
        "command": command,
        "versions": package_versions(methods),
        "n_blends": n_blends,
        "notes": notes,
    }
    if shard is not None:
        run["shard"] = shard
    with only_run(output):
        comparison = _run(output, run, generator, rules, asked, methods, running)
    comparison.collected.generator = generator
    comparison.collected.deblenders = methods
    if report and shard is None and not (output / REPORT_FILE).exists():
        write_comparison_report(comparison)
    warn_of_missing(output, comparison.run)
    return comparison


def _run(
    output: Path,
    run: dict,
    generator: SceneGenerator,
    rules: Rules,
    studies: list[Study],
    methods: dict[str, Deblender],
    running: Running,
) -> Comparison:
    """Run what is not in the folder yet, and return the run."""
    if open_run(output, run, running.overwrite):
        return Comparison.load(output, studies)
    tidy = [*TIDY, *(table for study in studies for table in study.collects)]
    work = partial(_of_batch, generator, rules, studies)
    found = run_all(output, run, work, methods, tidy, generator.batch_size, running)
    comparison = Comparison.from_tables(output, run, found, studies)
    if running.shard is None:
        everything = comparison.tables_by_study.values()
        write_tables((t for own in everything for t in own.values()), output / "tables")
    finish(output, run)
    return comparison


def methods_for(
    generator: SceneGenerator, deblenders: Deblenders | None, max_n_sources: int | None
) -> tuple[dict[str, Deblender], list[str]]:
    """Return the methods of a run by name, and a sentence on each that is left out.

    They are told of the scenes what they may know (see `told_scenes`).

    Args:
        generator: Draws the scenes.
        deblenders: As for `compare`; those of the default comparison that can run here if None.
        max_n_sources: As for `compare`; twice the most sources of a scene and 10 more if None.
    """
    survey = survey_of(generator)
    left_out: list[str] = []
    if deblenders is None:
        deblenders, left_out = default_deblenders(survey)
    if max_n_sources is None:
        max_n_sources = 2 * generator.max_number + 10
    chosen = choose_deblenders(deblenders, max_n_sources, survey)
    return {name: told_scenes(method, generator) for name, method in chosen.items()}, left_out


def write_comparison_report(comparison: Comparison) -> None:
    """Draw the figures of a finished run, and write its report."""
    sections = []
    for study in comparison.studies:
        tables = comparison.tables_by_study[study.anchor]
        figures = list(study.figures(comparison.collected, tables))
        paths = write_figures(figures, comparison.folder / "plots")
        sections.append(Section(study, tables, figures, paths))
    write_report(
        comparison.folder, comparison.run, sections, comparison.collected, comparison.missing
    )


def _of_batch(
    generator: SceneGenerator, rules: Rules, studies: Sequence[Study], task: BatchTask
) -> dict[str, pd.DataFrame]:
    """Draw a batch, run every method on it, and return what is kept of it."""
    with task.step("the generator", timed="drawing"):
        blend_batch = generator.draw_batch(task.number, task.size)
    found = task.each(lambda name, method: call_method(method, blend_batch, name), blend_batch)
    first = task.number * generator.batch_size

    def matched(names: list[str]) -> MatchedBatch:
        return MatchedBatch.match(
            blend_batch,
            {name: found[name] for name in names},
            first,
            rules,
            {name: task.methods[name] for name in names},
        )

    batch = task.together("the matching", matched)
    if batch is None:
        return {}
    tables = batch.tables()
    for study in studies:
        running = f"the study {study.anchor!r}"
        if study.runs_methods:
            running += (
                " (with outcomes=False or --no-outcomes the run resumes without the studies that "
                "run the methods again)"
            )
        kept = task.together(running, partial(_collected, study, batch), study.runs_methods)
        tables |= kept or {}
    return tables


def _collected(study: Study, batch: MatchedBatch, names: list[str]) -> Mapping[str, pd.DataFrame]:
    """Return what a study keeps of some methods of a batch.

    Raises:
        InputError: for tables that a run cannot keep.
    """
    kept = study.collect(batch.of(names))
    unknown = sorted(set(kept) - {tidy.name for tidy in study.collects})
    if unknown:
        raise InputError(
            f"{type(study).__name__}.collect returned a table {unknown[0]!r} that is not among "
            "its `collects`: add a Tidy of that name."
        )
    nameless = sorted(name for name, table in kept.items() if "method" not in table)
    if nameless:
        raise InputError(
            f"{type(study).__name__}.collect returned a table {nameless[0]!r} without a column "
            "'method', the name of the method that a row is about: add it."
        )
    return kept
