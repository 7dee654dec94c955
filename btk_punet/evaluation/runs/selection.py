"""The selection function of detectors, from one call: draw scenes, inject, and write what is found.

A run is a folder as that of `compare`: one that was stopped resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from btk.catalog import Catalog
from btk.deblend import Deblender
from btk.sampling_functions import SamplingFunction
from btk.survey import Survey

from btk_punet.evaluation.report.files import write_figures, write_tables
from btk_punet.evaluation.runs.compare import FOLDERS, Deblenders, methods_for
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
from btk_punet.evaluation.scoring.batch import TRUTH
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Figure, Tidy
from btk_punet.evaluation.studies.selection.function import (
    SelectionDisplay,
    selection_study_tables,
)
from btk_punet.evaluation.studies.selection.injection import batch_selection
from btk_punet.options import documented
from btk_punet.output import output_folder
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.choices import (
    SIMULATED_GALAXIES,
    magnitude_column,
    make_generator,
    survey_of,
)
from btk_punet.simulation.sampling import EuclidInjectionSampling

if TYPE_CHECKING:
    from btk_punet.simulation.scenes import SceneGenerator

SELECTION = Tidy("selection", TRUTH, ("scene",))


@documented(Scenes, Rules, Running, but=("min_snr",))
def selection_function(
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
    mag_bins: Sequence[float] | None = Rules.mag_bins,
    distance_bins: Sequence[float] | None = Rules.distance_bins,
    min_mag: float = 19.5,
    max_mag: float = 28.0,
    max_n_sources: int | None = None,
    generator: SceneGenerator | None = None,
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
) -> pd.DataFrame:
    """Measure with what probability detectors find a source, by injecting one into each scene.

    Called again with the same arguments on the folder of a run that was stopped, it resumes where
    the run stopped, and ends with the same tables. For images of your own, see `selection_table`.

    Into each scene one source is injected, anywhere on the image, every half magnitude as likely
    (see `EuclidInjectionSampling`). It comes from the catalog of the scenes; of simulated galaxies
    there are some as faint as ``max_mag``, fainter than those of the scenes.

    Args:
        output: Folder of the run. Gets ``selection.parquet`` (one row per injected source and
            method), ``tables/`` (`selection_tables` as ECSV, CSV and LaTeX), ``plots/selection``
            (PNG and PDF) and ``run.json``.
        deblenders: As for `compare`.
        {Scenes}
        {Rules}
        min_mag: Brightest magnitude of an injected source.
        max_mag: Faintest magnitude of one.
        max_n_sources: Most detections in an image for deblenders given by name; by default twice
            the most true ones and 10 more.
        generator: A generator of scenes, in place of the options of the scenes but ``n_blends``.
        command: The command that makes this run, for ``run.json``.
        {Running}

    Returns:
        One row per injected source and method: ``scene``, ``method`` and the columns of
        `selection_table`. What failed time and again is left out, with an
        `IncompleteRunWarning`. A shard has no rows.

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
    rules = Rules(radius_arcsec, mag_bins=mag_bins, distance_bins=distance_bins)
    simulated = generator is None and catalog == "simulate"
    if generator is None:
        generator = scenes.generator()
    else:
        scenes.check_unused("generator")
    only_survey = survey_of(generator)
    of_sources = generator.catalog
    if simulated:
        of_sources = EuclidCatalog.simulate(SIMULATED_GALAXIES, seed, max_mag=max_mag)
    mag_name = magnitude_column(of_sources, only_survey)
    sources = make_generator(
        of_sources,
        EuclidInjectionSampling(generator.stamp_size, min_mag, max_mag, mag_name),
        only_survey,
        batch_size=generator.batch_size,
        seed=generator.seed,
        add_noise="galaxy",
    )
    methods, notes = methods_for(generator, deblenders, max_n_sources)
    injected = describe_scenes(sources, n_blends, rules)
    run = {
        "status": "running",
        "parameters": describe_scenes(generator, n_blends, rules)
        | {"injected": {k: injected[k] for k in ("catalog", "sampling", "add_noise", "seed")}},
        "methods": {name: describe_deblender(method) for name, method in methods.items()},
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
        if open_run(output, run, overwrite):
            return pd.read_parquet(output / "selection.parquet")
        work = partial(_of_batch, generator, sources, rules)
        found = run_all(output, run, work, methods, [SELECTION], generator.batch_size, running)
        if shard is not None:
            table = pd.DataFrame(columns=[column.name for column in TRUTH])
        else:
            table = found["selection"]
            write_tables(selection_study_tables(table, list(methods), rules), output / "tables")
            figure = Figure("selection", "Selection function", "", SelectionDisplay(table, rules))
            write_figures([figure], output / "plots")
        finish(output, run)
    warn_of_missing(output, run)
    return table


def _of_batch(
    generator: SceneGenerator, sources: SceneGenerator, rules: Rules, task: BatchTask
) -> dict[str, pd.DataFrame]:
    """Draw a batch, inject, run every method, and return what each finds."""
    with task.step("the generator", timed="drawing"):
        images, injected = (of.draw_batch(task.number, task.size) for of in (generator, sources))
    first = task.number * generator.batch_size

    def found(name: str, method: Deblender) -> pd.DataFrame:
        rows = batch_selection(method, images, injected, first, rules.radius_arcsec)
        rows.insert(1, "method", name)
        return rows

    parts = task.each(found, images)
    return {"selection": pd.concat(parts.values(), ignore_index=True)} if parts else {}
