"""The selection function of detectors, from one call: draw scenes, inject, and write what is found.

A run is a folder as that of `compare`: one that was stopped goes on where it stopped.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from btk.catalog import Catalog
from btk.sampling_functions import SamplingFunction
from btk.survey import Survey
from threadpoolctl import threadpool_limits

from btk_punet.deblending.choices import choose_deblenders, default_deblenders
from btk_punet.errors import BatchFailedError
from btk_punet.evaluation.batch_files import warning_notes, write_batch
from btk_punet.evaluation.compare import Deblenders
from btk_punet.evaluation.export import write_tables
from btk_punet.evaluation.matching import Matcher
from btk_punet.evaluation.run_folder import (
    SELECTION_FILE,
    check_numbers,
    describe_deblender,
    describe_scenes,
    open_run,
    package_versions,
)
from btk_punet.evaluation.selection import batch_selection, selection_tables
from btk_punet.evaluation.selection_display import SelectionDisplay
from btk_punet.evaluation.workers import SharedMethods, run_batches
from btk_punet.figures import write_figure
from btk_punet.files import write_json, write_parquet
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.choices import (
    SIMULATED_GALAXIES,
    choose_generator,
    choose_survey,
    magnitude_column,
    make_generator,
    survey_of,
)
from btk_punet.simulation.sampling import EuclidInjectionSampling
from btk_punet.simulation.scenes import SceneGenerator

_CAPTION = (
    "Probability of an injected source to be found, by {}. Intervals are 68\\% Wilson intervals."
)
_CAPTIONS = {
    "selection_by_magnitude": _CAPTION.format("true magnitude"),
    "selection_by_size": _CAPTION.format("half-light radius"),
    "selection_by_neighbour_distance": _CAPTION.format(
        "distance to the nearest detection in the image without it"
    ),
    "selection": _CAPTION.format(
        "true magnitude (rows) and distance to the nearest detection in the image without it"
    ),
}


def selection_function(
    output: str | Path,
    deblenders: Deblenders | None = None,
    *,
    survey: str | Survey = "euclid",
    n_exposures: int = 4,
    read_noise: float = 4.4,
    psf: float = 0.16,
    catalog: str | Path | Catalog = "simulate",
    sampling: str | SamplingFunction = "groups",
    min_mag: float = 19.5,
    max_mag: float = 28.0,
    n_blends: int = 1000,
    batch_size: int = 50,
    seed: int = 0,
    njobs: int = 1,
    max_n_sources: int | None = None,
    radius_arcsec: float = 0.3,
    generator: SceneGenerator | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure with what probability detectors find a source, by injecting one into each scene.

    Called again with the same arguments on the folder of a run that was stopped, it goes on where
    the run stopped, and ends with the same tables. For images of your own, see `selection_table`.

    Args:
        output: Folder of the run. Gets ``selection.parquet`` (one row an injected source and
            method), ``tables/`` (`selection_tables` as ECSV, CSV and LaTeX), ``plots/selection``
            (PNG and PDF) and ``run.json``.
        deblenders: As for `compare`.
        survey: As for `compare`, as are the next three.
        n_exposures: Exposures of ``"euclid"``.
        read_noise: Read noise of one exposure of ``"euclid"`` [electron].
        psf: FWHM of the PSF of ``"euclid"`` before the pixel [arcsec].
        catalog: Of the scenes, as for `compare`, and of the sources that are injected; with
            ``"simulate"`` these are as faint as ``max_mag`` says, fainter than those of the scenes.
        sampling: Of the scenes, as for `compare`. Into each scene one source is injected, anywhere
            on the image, every half magnitude as likely (see `EuclidInjectionSampling`).
        min_mag: Brightest magnitude of an injected source.
        max_mag: Faintest magnitude of one.
        n_blends: Number of scenes, and of injected sources.
        batch_size: Scenes in a batch; no figure depends on it.
        seed: Seed of catalog, scenes, injected sources and noise.
        njobs: Processes; no figure depends on it.
        max_n_sources: Most detections in an image for deblenders given by name; by default twice
            the most true ones and 10 more.
        radius_arcsec: Matching radius [arcsec].
        generator: A generator of scenes, in place of survey, catalog, sampling, seed and batch
            size.
        overwrite: Whether to throw away another run that the folder holds.
        progress: Whether to show a progress bar.

    Returns:
        One row an injected source and method: ``scene``, ``method`` and the columns of
        `selection_table`.

    Raises:
        InputError: for arguments that cannot be used.
        RunExistsError: if the folder holds another run, or other files.
        BatchFailedError: if a detector fails on a batch. The batches before are kept.
    """
    output = Path(output)
    check_numbers(n_blends=n_blends, batch_size=batch_size, njobs=njobs)
    Matcher(radius_arcsec)  # which checks it
    simulated = generator is None and catalog == "simulate"
    if generator is None:
        generator = choose_generator(
            choose_survey(survey, n_exposures, read_noise, psf), catalog, sampling, batch_size, seed
        )
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
    notes: list[str] = []
    if deblenders is None:
        deblenders, notes = default_deblenders(only_survey)
    if max_n_sources is None:
        max_n_sources = 2 * generator.max_number + 10
    methods = choose_deblenders(deblenders, max_n_sources, only_survey)
    injected = describe_scenes(sources, n_blends, radius_arcsec)
    parameters = describe_scenes(generator, n_blends, radius_arcsec) | {
        "injected": {name: injected[name] for name in ("catalog", "sampling", "add_noise", "seed")}
    }
    run = {
        "status": "running",
        "parameters": parameters,
        "methods": {name: describe_deblender(method) for name, method in methods.items()},
        "versions": package_versions(methods),
        "notes": notes,
        "files": [SELECTION_FILE],
    }
    if open_run(output, run, overwrite):
        return pd.read_parquet(output / SELECTION_FILE)
    folder = output / "batches"
    job = partial(_run_batch, folder, generator, sources, radius_arcsec)
    run_batches(job, methods, folder, n_blends, generator.batch_size, njobs, progress)
    return _finish(output, run)


def _run_batch(
    folder: Path,
    generator: SceneGenerator,
    sources: SceneGenerator,
    radius_arcsec: float,
    shared: SharedMethods,
    number: int,
    size: int,
) -> int:
    """Draw a batch, inject, run every method and write what it finds; return its number."""
    running = "the generator"
    try:
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images, injected = (of.draw_batch(number, size) for of in (generator, sources))
            parts = []
            for name, method in shared.get().items():
                running = name
                shared.warm_up(name, images)
                rows = batch_selection(
                    method, images, injected, number * generator.batch_size, radius_arcsec
                )
                rows.insert(1, "method", name)
                parts.append(rows)
    except Exception as error:
        raise BatchFailedError(
            f"Batch {number} failed in {running}: {type(error).__name__}: {error} -- The batches "
            "that were done are kept: once this is mended, the same command goes on from there."
        ) from error
    joined = pd.concat(parts, ignore_index=True)
    summary = {"n_blends": size, "warnings": warning_notes(caught)}
    write_batch(folder, number, {"selection": joined}, summary)
    return number


def _finish(output: Path, run: Mapping[str, Any]) -> pd.DataFrame:
    """Join the batches, write tables and plot, and leave a tidy folder."""
    folder = output / "batches"
    parts = [pd.read_parquet(path) for path in sorted(folder.glob(f"*.{SELECTION_FILE}"))]
    warned = {
        warning
        for path in folder.glob("*.json")
        for warning in json.loads(path.read_text())["warnings"]
    }
    # Method by method, the scenes of each in their order.
    joined = pd.concat(parts, ignore_index=True)
    joined = pd.concat([joined[joined["method"] == name] for name in run["methods"]])
    joined = joined.reset_index(drop=True)
    write_parquet(joined, output / SELECTION_FILE)
    write_tables(selection_tables(joined), output / "tables", _CAPTIONS)
    for ending in ("png", "pdf"):
        display = SelectionDisplay(joined)
        write_figure(display.plot, display.size_inches, output / "plots" / f"selection.{ending}")
    # Written last: it says that the run is finished.
    ended = {"status": "finished", "notes": [*run["notes"], *sorted(warned)]}
    write_json({**run, **ended}, output / "run.json")
    shutil.rmtree(folder)
    return joined
