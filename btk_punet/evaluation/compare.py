"""The main job: draw blends, run detectors on them, and write what each one finds and misses.

A run is a folder. Its batches are written one by one, so that a run that was stopped goes on
where it stopped; scenes are seeded one by one, so that it ends with the same tables.
"""

import json
import shutil
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import joblib
import pandas as pd
from btk.catalog import Catalog
from btk.deblend import Deblender
from btk.sampling_functions import SamplingFunction
from btk.survey import Survey
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from btk_punet.deblending.choices import choose_deblenders, default_deblenders
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import BatchFailedError, InputError, InputTypeError
from btk_punet.evaluation.export import write_tables
from btk_punet.evaluation.matching import Matcher
from btk_punet.evaluation.report import write_gallery, write_plots, write_report
from btk_punet.evaluation.run_folder import (
    batch_file,
    describe_deblender,
    describe_scenes,
    open_run,
    package_versions,
    read_run,
)
from btk_punet.evaluation.summary import summary_tables
from btk_punet.evaluation.tables import batch_tables
from btk_punet.files import write_json, write_parquet
from btk_punet.simulation.choices import (
    choose_catalog,
    choose_sampling,
    choose_survey,
    make_generator,
)
from btk_punet.simulation.scenes import SceneGenerator

# How many scenes, the first of the run, are drawn in the report.
GALLERY_SCENES = 6

Deblenders: TypeAlias = str | Deblender | Iterable[str | Deblender] | Mapping[str, str | Deblender]

_NO_SOURCE_EXTRACTOR = (
    "SExtractor is left out: the program source-extractor is not installed "
    "(apt-get install source-extractor)."
)


@dataclass
class Comparison:
    """A finished run.

    Attributes:
        folder: Where it is.
        truth: One row a source and method (see `batch_tables`).
        detections: One row a detection and method.
        run: What is in ``run.json``: parameters, versions, seconds.
    """

    folder: Path
    truth: pd.DataFrame
    detections: pd.DataFrame
    run: dict

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
        return cls(
            folder,
            pd.read_parquet(folder / "truth.parquet"),
            pd.read_parquet(folder / "detections.parquet"),
            run,
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The efficiency tables, counted from ``truth`` and ``detections``."""
        return summary_tables(
            self.truth, self.detections, list(self.run["methods"]), self.run["n_blends"]
        )

    def __str__(self) -> str:
        head = self.tables["headline"]
        shown = pd.DataFrame({"method": head["method"]})
        for name in ("completeness", "purity", "ceiling"):
            shown[name] = [
                f"{row[name]:.3f} ({row[f'{name}_lo']:.3f}-{row[f'{name}_hi']:.3f})"
                for _, row in head.iterrows()
            ]
        return shown.to_string(index=False)


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
    generator: SceneGenerator | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Comparison:
    """Compare detectors on blends, and write tables, plots and a report.

    Called again with the same arguments on the folder of a run that was stopped, it goes on where
    the run stopped, and ends with the same tables, bit for bit.

    Args:
        output: Folder of the run. Gets ``truth.parquet`` and ``detections.parquet`` (one row a
            source, or detection, and method), ``tables/`` (ECSV, CSV, LaTeX), ``plots/`` (PNG and
            PDF), ``report.html`` and ``run.json``.
        deblenders: BTK deblenders, or names with settings (``"sep:thresh=1.5"``), or a dict of
            name and deblender. SEP, and SExtractor where it is installed, if None.
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
        generator: A generator of scenes, in place of survey, catalog, sampling, seed and batch
            size.
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
    for name, value in [("n_blends", n_blends), ("batch_size", batch_size), ("njobs", njobs)]:
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
    Matcher(radius_arcsec)  # which checks it
    if generator is None:
        chosen_survey = choose_survey(survey, n_exposures, read_noise, psf)
        chosen_catalog = choose_catalog(catalog, chosen_survey, seed)
        chosen_sampling = choose_sampling(sampling, chosen_catalog, chosen_survey)
        generator = make_generator(
            chosen_catalog, chosen_sampling, chosen_survey, batch_size=batch_size, seed=seed
        )
    if not isinstance(generator, SceneGenerator) or len(generator.surveys) != 1:
        raise InputTypeError(
            "generator must be a SceneGenerator (EuclidGenerator or RealGalaxyGenerator) of one "
            f"survey, got {type(generator).__name__}."
        )
    notes = []
    if deblenders is None:
        deblenders = default_deblenders()
        if not SourceExtractorDeblender.is_available():
            notes.append(_NO_SOURCE_EXTRACTOR)
    if max_n_sources is None:
        max_n_sources = 2 * generator.max_number + 10
    methods = choose_deblenders(deblenders, max_n_sources)

    parameters = describe_scenes(generator, n_blends, radius_arcsec)
    run = {
        "status": "running",
        "parameters": parameters,
        "methods": {name: describe_deblender(method) for name, method in methods.items()},
        "catalog": str(catalog) if isinstance(catalog, str | Path) else type(catalog).__name__,
        "versions": package_versions(methods),
        "n_blends": n_blends,
        "notes": notes,
    }
    if open_run(output, run, overwrite):
        return Comparison.load(output)
    _run_batches(output / "batches", generator, methods, n_blends, radius_arcsec, njobs, progress)
    return _finish(output, run, generator)


def _run_batches(
    folder: Path,
    generator: SceneGenerator,
    methods: dict[str, Deblender],
    n_blends: int,
    radius_arcsec: float,
    njobs: int,
    progress: bool,
) -> None:
    """Run the batches that are not in the folder yet."""
    folder.mkdir(exist_ok=True)
    sizes = {
        number: min(generator.batch_size, n_blends - first)
        for number, first in enumerate(range(0, n_blends, generator.batch_size))
    }
    todo = [number for number in sizes if not batch_file(folder, number, "json").exists()]
    parallel = joblib.Parallel(
        n_jobs=min(njobs, max(len(todo), 1)), return_as="generator_unordered"
    )
    done = n_blends - sum(sizes[number] for number in todo)
    with tqdm(total=n_blends, initial=done, unit="blend", disable=not progress) as bar:
        for number in parallel(
            joblib.delayed(_run_batch)(
                folder, generator, methods, number, sizes[number], radius_arcsec
            )
            for number in todo
        ):
            bar.update(sizes[number])


def _run_batch(
    folder: Path,
    generator: SceneGenerator,
    methods: dict[str, Deblender],
    number: int,
    size: int,
    radius_arcsec: float,
) -> int:
    """Draw a batch, run every method on it and write its tables; return its number."""
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
            for name, method in methods.items():
                running = name
                start = time.perf_counter()
                found[name] = method(blend_batch)
                seconds[name] = time.perf_counter() - start
            running = "the evaluation"
            truth, detections = batch_tables(
                blend_batch,
                found,
                number * generator.batch_size,
                radius_arcsec,
            )
    except Exception as error:
        raise BatchFailedError(
            f"Batch {number} failed in {running}: {type(error).__name__}: {error} -- Draw it again "
            f"with generator.draw_batch({number}) (seed {generator.seed}). The batches that were "
            "done are kept: once this is mended, the same command goes on from there."
        ) from error
    write_parquet(truth, batch_file(folder, number, "truth.parquet"))
    write_parquet(detections, batch_file(folder, number, "detections.parquet"))
    summary = {
        "n_blends": size,
        "seconds": seconds,
        "warnings": sorted({f"{w.category.__name__}: {w.message}" for w in caught}),
    }
    # Written last: it says that the batch is done.
    write_json(summary, batch_file(folder, number, "json"))
    return number


def _finish(output: Path, run: dict, generator: SceneGenerator) -> Comparison:
    """Join the batches, write tables, plots and report, and leave a tidy folder."""
    folder = output / "batches"
    summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    # Method by method, in the order that was asked for; the scenes of each in their order.
    order = {method: place for place, method in enumerate(run["methods"])}
    joined = {}
    for name, row in [("truth", "source"), ("detections", "detection")]:
        table = pd.concat(
            [pd.read_parquet(path) for path in sorted(folder.glob(f"*.{name}.parquet"))],
            ignore_index=True,
        )
        table["_order"] = table["method"].map(order)
        table = table.sort_values(["_order", "scene", row]).drop(columns="_order")
        joined[name] = table.reset_index(drop=True)
        write_parquet(joined[name], output / f"{name}.parquet")

    total: dict[str, float] = {}
    for summary in summaries:
        for name, seconds in summary["seconds"].items():
            total[name] = total.get(name, 0.0) + seconds
    run["timing_ms_per_blend"] = {
        name: round(1e3 * seconds / run["n_blends"], 3) for name, seconds in total.items()
    }
    run["notes"] = run["notes"] + sorted({w for summary in summaries for w in summary["warnings"]})
    run["status"] = "finished"
    comparison = Comparison(output, joined["truth"], joined["detections"], run)
    tables = comparison.tables
    write_tables(tables, output / "tables")
    plots = write_plots(tables, output / "plots", formats=("png", "pdf"))
    shown = generator.draw_batch(0, min(GALLERY_SCENES, run["n_blends"], generator.batch_size))
    plots.append(
        write_gallery(
            shown,
            joined["truth"],
            joined["detections"],
            output / "plots",
            run["parameters"]["radius_arcsec"],
        )
    )
    write_report(output, run, tables, plots)
    # Written last: it says that the run is finished.
    write_json(run, output / "run.json")
    shutil.rmtree(folder)
    return comparison
