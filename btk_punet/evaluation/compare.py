"""The main job: draw blends, run detectors on them, and write what each one finds and misses.

A run is a folder. Its batches are written one by one, so that a run that was stopped goes on
where it stopped; scenes are seeded one by one, so that it ends with the same tables.
"""

import shutil
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from btk.catalog import Catalog
from btk.deblend import Deblender
from btk.sampling_functions import SamplingFunction
from btk.survey import Survey
from threadpoolctl import threadpool_limits

from btk_punet.deblending.choices import choose_deblenders, default_deblenders
from btk_punet.errors import BatchFailedError
from btk_punet.evaluation import outlines, probabilities
from btk_punet.evaluation.batch_files import join_batches, warning_notes, write_batch
from btk_punet.evaluation.comparison import Comparison
from btk_punet.evaluation.export import write_tables
from btk_punet.evaluation.gallery import write_gallery
from btk_punet.evaluation.matching import Matcher
from btk_punet.evaluation.region_table import region_table
from btk_punet.evaluation.report import REPORT_FILE, write_plots, write_report
from btk_punet.evaluation.run_folder import (
    check_numbers,
    describe_deblender,
    describe_scenes,
    open_run,
    package_versions,
)
from btk_punet.evaluation.style import methods_of
from btk_punet.evaluation.tables import batch_tables
from btk_punet.evaluation.workers import SharedMethods, run_batches
from btk_punet.files import write_json, write_parquet
from btk_punet.simulation.choices import (
    choose_generator,
    choose_survey,
    survey_of,
)
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import pixel_scale_arcsec

Deblenders: TypeAlias = str | Deblender | Iterable[str | Deblender] | Mapping[str, str | Deblender]


def compare(
    output: str | Path,
    deblenders: Deblenders | None = None,
    *,
    survey: str | Survey = "euclid",
    n_exposures: int = 4,
    read_noise: float = 4.4,
    psf: float = 0.16,
    catalog: str | Path | Catalog = "simulate",
    sampling: str | SamplingFunction = "groups",
    n_blends: int = 1000,
    batch_size: int = 50,
    seed: int = 0,
    njobs: int = 1,
    max_n_sources: int | None = None,
    radius_arcsec: float = 0.3,
    outcomes: bool = True,
    generator: SceneGenerator | None = None,
    notes: Sequence[str] = (),
    report: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> Comparison:
    """Compare detectors on blends, and write tables, plots and a report.

    Called again with the same arguments on the folder of a run that was stopped, it goes on where
    the run stopped, and ends with the same tables, bit for bit.

    Args:
        output: Folder of the run. Gets ``truth.parquet`` and ``detections.parquet`` (one row a
            source, or detection, and method), ``tables/`` (ECSV, CSV, LaTeX), ``plots/`` (PNG and
            PDF), ``report.html`` and ``run.json``; and where a method gives probabilities,
            ``candidates.parquet``, ``counts.parquet``, ``blend_probabilities.parquet``,
            ``blend_identification.parquet``, ``class_probabilities.parquet`` and
            ``class_uncertainty.parquet`` (see `batch_probabilities`).
        deblenders: BTK deblenders, or names with settings (``"sep:thresh=1.5"``), or a dict of
            name and deblender. If None: SEP, SExtractor where it is installed, and ProbaUNet
            where its preset is installed and made for the survey.
        survey: ``"euclid"``, the name of one of BTK's surveys, or a BTK survey.
        n_exposures: Exposures of ``"euclid"``.
        read_noise: Read noise of one exposure of ``"euclid"`` [electron].
        psf: FWHM of the PSF of ``"euclid"`` before the pixel [arcsec].
        catalog: ``"simulate"``, ``"cosmos:DIR"``, the path of a CatSim-like table, or a BTK
            catalog.
        sampling: ``"groups"``, ``"pairs"``, ``"fields"``, or a BTK sampling function.
        n_blends: Number of scenes.
        batch_size: Scenes in a batch; no figure depends on it.
        seed: Seed of catalog, scenes and noise.
        njobs: Processes; no figure depends on it.
        max_n_sources: Most detections in an image for deblenders given by name; by default twice
            the most true ones and 10 more.
        radius_arcsec: Matching radius [arcsec].
        outcomes: Whether to tell what becomes of blends (recognized, unrecognized, shredded,
            undetected, merged), for which every method runs once more, on each source of a blend
            alone: several times the time of the detectors. (The times of ``run.json`` are without
            it.) A run that was begun with it and stopped goes on without it if told so.
        generator: A generator of scenes, in place of survey, catalog, sampling, seed and batch
            size.
        notes: What a reader of the report must know, a sentence each.
        report: Whether to draw the plots and write ``report.html``, which takes some 20 seconds.
            Called again with it, a finished run that has none gets one.
        overwrite: Whether to throw away another run that the folder holds.
        progress: Whether to show a progress bar.

    Returns:
        The finished run.

    Raises:
        InputError: for arguments that cannot be used.
        RunExistsError: if the folder holds another run, or other files.
        BatchFailedError: if a detector fails on a batch. The batches before are kept.
    """
    output = Path(output)
    check_numbers(n_blends=n_blends, batch_size=batch_size, njobs=njobs)
    Matcher(radius_arcsec)  # which checks it
    if generator is None:
        generator = choose_generator(
            choose_survey(survey, n_exposures, read_noise, psf), catalog, sampling, batch_size, seed
        )
    only_survey = survey_of(generator)
    notes = list(notes)
    if deblenders is None:
        deblenders, left_out = default_deblenders(only_survey)
        notes.extend(left_out)
    if max_n_sources is None:
        max_n_sources = 2 * generator.max_number + 10
    methods = choose_deblenders(deblenders, max_n_sources, only_survey)

    parameters = describe_scenes(generator, n_blends, radius_arcsec) | {"outcomes": outcomes}
    run = {
        "status": "running",
        "parameters": parameters,
        "methods": {name: describe_deblender(method) for name, method in methods.items()},
        "pixel_scale_arcsec": pixel_scale_arcsec(only_survey),
        "catalog": str(catalog) if isinstance(catalog, str | Path) else type(catalog).__name__,
        "versions": package_versions(methods),
        "n_blends": n_blends,
        "notes": notes,
    }
    if open_run(output, run, overwrite):
        comparison = Comparison.load(output)
    else:
        folder = output / "batches"
        job = partial(_run_batch, folder, generator, parameters)
        run_batches(job, methods, folder, n_blends, generator.batch_size, njobs, progress)
        comparison = _finish(output, run)
    if report and not (output / REPORT_FILE).exists():
        _report(comparison, generator, methods)
    return comparison


def _run_batch(
    folder: Path,
    generator: SceneGenerator,
    parameters: Mapping[str, Any],
    shared: SharedMethods,
    number: int,
    size: int,
) -> int:
    """Draw a batch, run every method on it and write its tables; return its number."""
    radius_arcsec = parameters["radius_arcsec"]
    seconds: dict[str, float] = {}
    running = "the generator"
    try:
        # One thread each: the matrices are small, and the last digits of a sum may depend on the
        # number of threads.
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            blend_batch = generator.draw_batch(number, size)
            seconds["drawing"] = time.perf_counter() - start
            found = {}
            for name, method in shared.get().items():
                running = name
                shared.warm_up(name, blend_batch)
                start = time.perf_counter()
                found[name] = method(blend_batch)
                seconds[name] = time.perf_counter() - start
            running = "the evaluation"
            first = number * generator.batch_size
            truth, detections = batch_tables(blend_batch, found, first, radius_arcsec)
            tables = {
                "truth": truth,
                "detections": detections,
                **outlines.batch_outlines(blend_batch, found, truth, detections, first),
                **probabilities.batch_probabilities(
                    blend_batch, found, truth, detections, first, radius_arcsec
                ),
            }
            if parameters["outcomes"]:
                running = (
                    "the outcomes of blends (with outcomes=False or --no-outcomes the run goes on "
                    "without them)"
                )
                # What a method warns of images that nobody gave it says nothing of the scenes.
                warnings.simplefilter("ignore")
                tables["regions"] = region_table(
                    blend_batch, truth, detections, shared.get(), first, radius_arcsec
                )
    except Exception as error:
        raise BatchFailedError(
            f"Batch {number} failed in {running}: {type(error).__name__}: {error} -- Draw it again "
            f"with generator.draw_batch({number}) (seed {generator.seed}). The batches that were "
            "done are kept: once this is mended, the same command goes on from there."
        ) from error
    summary = {
        "n_blends": size,
        "seconds": seconds,
        "warnings": warning_notes(caught),
    }
    write_batch(folder, number, tables, summary)
    return number


def _finish(output: Path, run: dict) -> Comparison:
    """Join the batches, write the tables, and leave a tidy folder."""
    folder = output / "batches"
    joined, summaries = join_batches(folder, list(run["methods"]))
    if not run["parameters"]["outcomes"]:
        # A run that goes on without the outcomes has those of its first batches.
        joined.pop("regions", None)
    for name, table in joined.items():
        write_parquet(table, output / f"{name}.parquet")
    run["files"] = [f"{name}.parquet" for name in joined]

    total: dict[str, float] = {}
    for summary in summaries:
        for name, seconds in summary["seconds"].items():
            total[name] = total.get(name, 0.0) + seconds
    run["timing_ms_per_blend"] = {
        name: round(1e3 * seconds / run["n_blends"], 3) for name, seconds in total.items()
    }
    run["notes"] = run["notes"] + sorted({w for summary in summaries for w in summary["warnings"]})
    run["status"] = "finished"
    comparison = Comparison.from_tables(output, run, joined)
    write_tables(comparison.tables, output / "tables")
    # Written last: it says that the run is finished.
    write_json(run, output / "run.json")
    shutil.rmtree(folder)
    return comparison


def _report(
    comparison: Comparison, generator: SceneGenerator, methods: Mapping[str, Deblender]
) -> None:
    """Draw the plots and write the report of a finished run."""
    folder, run = comparison.folder / "plots", comparison.run
    plots = write_plots(comparison.tables, folder, formats=("png", "pdf"))
    of_classes = comparison.probabilities.get("blend_identification")
    plots += write_gallery(
        generator,
        methods,
        comparison.truth,
        comparison.detections,
        run["n_blends"],
        folder,
        run["parameters"]["radius_arcsec"],
        [] if of_classes is None else methods_of(of_classes),
    )
    write_report(comparison.folder, run, comparison.tables, plots)
