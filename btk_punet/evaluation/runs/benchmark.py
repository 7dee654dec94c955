"""The benchmark: seven sets of scenes with fixed seeds, on which every method is measured alike.

Nothing is ever tuned on these seeds, and training uses other seeds, galaxies and PSFs.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from btk.sampling_functions import SamplingFunction
from tqdm.auto import tqdm

from btk_punet.cluster.started import workers_stay
from btk_punet.deblending.choices import why_left_out
from btk_punet.errors import BtkPunetWarning, CatalogError, InputError
from btk_punet.evaluation.plotting.fractions import FractionDisplay
from btk_punet.evaluation.plotting.style import panel_grid
from btk_punet.evaluation.runs.compare import Deblenders, compare
from btk_punet.evaluation.runs.comparison import Comparison
from btk_punet.evaluation.runs.objects import margins_by_object
from btk_punet.evaluation.runs.options import Running
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.figures import write_figure
from btk_punet.files import write_file
from btk_punet.options import documented
from btk_punet.output import output_folder
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.choices import make_generator, open_cosmos
from btk_punet.simulation.sampling import (
    EuclidFieldSampling,
    EuclidGroupSampling,
    EuclidPairSampling,
)
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import get_euclid_survey
from btk_punet.training.generator import HeldOutGalaxyGenerator, MixedRealGenerator

CATALOG_SEED = 20_260_901
BENCHMARK_GALAXIES = 50_000

# IDENT of real galaxies whose HST stamps hold a second object, which would make the detector that
# finds it look wrong: `python benchmarks/real_galaxies.py DIR` prints and draws the evidence.
REAL_LEFT_OUT = {
    11: "a compact object in the corner of the stamp",
    30: "two like peaks, 0.26 arcsec apart",
    2022: "an object as bright, cut by the border of the stamp",
}

# The settings (thresh, minarea, deblend_cont) at which a detector is compared with SEP, from the
# purest to the most complete but one; deblend_nthresh 64, default filter, true noise.
SEP_SETTINGS = (
    (1.5, 5, 0.005),
    (1.5, 5, 5e-4),
    (1.2, 5, 5e-4),
    (1.0, 5, 1e-4),
    (1.5, 3, 1e-4),
)

# Bin of the neighbour distance in which blends are hard, and not yet hopeless.
CLOSE_ARCSEC = (0.5, 0.8)


@dataclass(frozen=True)
class BenchmarkSet:
    """One set of scenes.

    Attributes:
        name: Its name.
        description: What it holds, in a line.
        sampling: Makes the sampling function.
        seed: Seed of the scenes.
        n_scenes: Number of scenes.
        batch_size: Scenes in a batch; no scene depends on it.
        n_exposures: Exposures of the survey.
        read_noise: Read noise of one exposure [electron].
        psf_fwhm_arcsec: FWHM of the PSF before the pixel.
        real: Whether the galaxies are real, from a folder of the user's.
        held_out: Whether the bright galaxies are real ones that training never sees, from a file
            of the user's (see `HeldOutGalaxyGenerator`).
    """

    name: str
    description: str
    sampling: Callable[[], SamplingFunction]
    seed: int
    n_scenes: int = 2000
    batch_size: int = 50
    n_exposures: int = 1
    read_noise: float = 0.0
    psf_fwhm_arcsec: float = 0.16
    real: bool = False
    held_out: bool = False

    def needs(
        self, cosmos_dir: str | Path | None = None, real_galaxies: str | Path | None = None
    ) -> str:
        """Return what the set needs and is not given, in words; empty if it needs nothing more."""
        if self.real and cosmos_dir is None:
            return (
                "cosmos_dir (--cosmos-dir), a folder with a catalog in GalSim's real-galaxy format"
            )
        if self.held_out and real_galaxies is None:
            return "real_galaxies (--real-galaxies), a file of the galaxies that training never saw"
        return ""

    def generator(
        self,
        cosmos_dir: str | Path | None = None,
        njobs: int = 1,
        real_galaxies: str | Path | None = None,
    ) -> SceneGenerator:
        """Return the generator of the set, of which the first ``n_scenes`` scenes count.

        Args:
            cosmos_dir: Folder of real galaxies in GalSim's format, for the set ``real``.
            njobs: Processes that draw the scenes of a batch.
            real_galaxies: File of real galaxies (see `read_real_galaxies`), for the set ``sky``:
                those of the part ``"benchmark"`` (see `part_of`). The set ``real`` takes them
                besides those of its folder if it is given.

        Raises:
            CatalogError: if the set needs real galaxies that are not given, or are not there.
        """
        survey = get_euclid_survey(self.n_exposures, self.read_noise, self.psf_fwhm_arcsec)
        if missing := self.needs(cosmos_dir, real_galaxies):
            raise CatalogError(
                f"The benchmark set {self.name!r} needs real galaxies: give {missing}."
            )
        if self.held_out and real_galaxies is not None:
            return HeldOutGalaxyGenerator(
                EuclidCatalog.simulate(BENCHMARK_GALAXIES, CATALOG_SEED, 18.0),
                self.sampling(),
                survey,
                batch_size=self.batch_size,
                njobs=njobs,
                seed=self.seed,
                real_galaxies=real_galaxies,
                part="benchmark",
            )
        if self.real:
            catalog = open_cosmos(str(cosmos_dir))
            catalog.table = catalog.table[~np.isin(catalog.table["IDENT_1"], list(REAL_LEFT_OUT))]
            if real_galaxies is not None:
                return MixedRealGenerator(
                    catalog,
                    self.sampling(),
                    survey,
                    batch_size=self.batch_size,
                    njobs=njobs,
                    seed=self.seed,
                    augment_data=True,
                    real_galaxies=real_galaxies,
                    population=EuclidCatalog.simulate(BENCHMARK_GALAXIES, CATALOG_SEED),
                )
        else:
            catalog = EuclidCatalog.simulate(BENCHMARK_GALAXIES, CATALOG_SEED)
        return make_generator(
            catalog,
            self.sampling(),
            survey,
            batch_size=self.batch_size,
            njobs=njobs,
            seed=self.seed,
            augment_data=self.real,  # few real galaxies: each is shown at any angle
        )


BENCHMARK_SETS = {
    benchmark.name: benchmark
    for benchmark in (
        BenchmarkSet(
            "groups",
            "1-6 galaxies inside 1.6 arcsec, one exposure, PSF 0.16 arcsec",
            EuclidGroupSampling,
            seed=20_260_911,
        ),
        BenchmarkSet(
            "pairs",
            "2 galaxies at 0.2-2.0 arcsec, to I_E = 25.0",
            EuclidPairSampling,
            seed=20_260_912,
        ),
        BenchmarkSet(
            "fields",
            "256 px, 120 galaxies per arcmin^2 to I_E = 26.5, half of them clustered",
            EuclidFieldSampling,
            seed=20_260_913,
            n_scenes=100,
            batch_size=5,
        ),
        BenchmarkSet(
            "real",
            "groups of real HST galaxies, without three stamps that hold a second object",
            lambda: EuclidGroupSampling(mag_name="MAG"),
            seed=20_260_914,
            real=True,
        ),
        BenchmarkSet(
            "deep",
            "groups at the depth of the Euclid Wide Survey: 4 exposures with read noise",
            EuclidGroupSampling,
            seed=20_260_915,
            n_exposures=4,
            read_noise=4.4,
        ),
        BenchmarkSet(
            "psf",
            "groups with a PSF of 0.20 arcsec",
            EuclidGroupSampling,
            seed=20_260_916,
            psf_fwhm_arcsec=0.20,
        ),
        BenchmarkSet(
            "sky",
            "256 px as dense as the sky, real galaxies to I_E = 24.5, at the depth of `deep`",
            EuclidFieldSampling.sky,
            seed=20_260_917,
            n_scenes=200,
            batch_size=5,
            n_exposures=4,
            read_noise=4.4,
            held_out=True,
        ),
    )
}


def benchmark_set(name: str) -> BenchmarkSet:
    """Return a set of the benchmark by its name.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in BENCHMARK_SETS:
        raise InputError(f"Unknown benchmark set {name!r}: expected one of {list(BENCHMARK_SETS)}.")
    return BENCHMARK_SETS[name]


@documented(Rules, Running)
def compare_benchmark(
    output: str | Path,
    benchmark: str | Sequence[str] = "all",
    deblenders: Deblenders | None = None,
    *,
    n_blends: int | None = None,
    cosmos_dir: str | Path | None = None,
    real_galaxies: str | Path | None = None,
    radius_arcsec: float = Rules.radius_arcsec,
    min_snr: float = Rules.min_snr,
    mag_bins: Sequence[float] | None = Rules.mag_bins,
    distance_bins: Sequence[float] | None = Rules.distance_bins,
    outcomes: bool = False,
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
) -> pd.DataFrame:
    """Compare detectors on sets of the benchmark.

    Args:
        output: Folder in which each set gets a folder of its own. Beside them are the headline
            tables of all sets (``benchmark.csv``), and their completeness by neighbour distance
            (``benchmark_by_neighbour_distance``, CSV and PNG). Where a method gives
            probabilities, there are its margins over the others at equal purity, over everything
            and for sources with a neighbour at 0.5-0.8 arcsec (``benchmark_equal_purity.csv``),
            its scores (``benchmark_probabilities.csv``); and what share of the information
            ceiling all reach at purity 0.95 (``benchmark_ceiling_share.csv``).
        benchmark: Names of sets, or ``"all"``.
        deblenders: As for `compare`; if None, SEP at the five settings of `SEP_SETTINGS`, and
            ProbaUNet where its preset is installed.
        n_blends: Number of scenes of each set, if fewer than it has.
        cosmos_dir: Folder of real galaxies, for the set ``real``, which ``"all"`` leaves out
            (and says so) if None.
        real_galaxies: File of real galaxies, for the set ``sky``, which ``"all"`` leaves out (and
            says so) if None; and for more galaxies in the set ``real``, whose margins are then also
            given with intervals of a bootstrap over galaxies instead of scenes
            (``benchmark_equal_purity_objects.csv``).
        {Rules}
        outcomes: Whether to find out what becomes of blends, as for `compare`; it takes several
            times the time of the detectors.
        report: Whether to draw plots and write a report of each set, as for `compare`.
        command: The command that makes this run, for the reports.
        {Running}

    Returns:
        One row per set and method: ``set``, ``method``, ``n_scenes`` (of the method: fewer where
        it failed time and again, of which there is an `IncompleteRunWarning` for each set),
        ``completeness``, ``purity``, ``ceiling``. (The file has the counts and intervals too.)
        A shard has no rows.

    Raises:
        InputError: for arguments that cannot be used, an unknown set among them.
        CatalogError: if a set needs real galaxies and no folder is given.
    """
    given = [benchmark] if isinstance(benchmark, str) else list(benchmark)
    sets = [benchmark_set(name) for name in (BENCHMARK_SETS if given == ["all"] else given)]
    if not sets:
        raise InputError(f"No benchmark set given: expected some of {list(BENCHMARK_SETS)}.")
    output = output_folder(output)
    notes: list[str] = []
    if deblenders is None:
        deblenders, notes = _default_methods()
        for note in notes:
            warnings.warn(note, BtkPunetWarning, stacklevel=2)
    runs: dict[str, Comparison] = {}
    by_object: dict[str, pd.DataFrame] = {}
    with workers_stay():
        for chosen in sets:
            missing = chosen.needs(cosmos_dir, real_galaxies)
            if missing and given == ["all"]:
                warnings.warn(
                    f"The benchmark set {chosen.name!r} is left out: it needs {missing}.",
                    BtkPunetWarning,
                    stacklevel=2,
                )
                continue
            if progress:
                tqdm.write(f"{chosen.name}: {chosen.description}")
            generator = chosen.generator(cosmos_dir, real_galaxies=real_galaxies)
            run = compare(
                output / chosen.name,
                deblenders,
                generator=generator,
                n_blends=chosen.n_scenes if n_blends is None else min(n_blends, chosen.n_scenes),
                radius_arcsec=radius_arcsec,
                min_snr=min_snr,
                mag_bins=mag_bins,
                distance_bins=distance_bins,
                notes=notes,
                outcomes=outcomes,
                report=report,
                command=command,
                njobs=njobs,
                scheduler=scheduler,
                scheduler_file=scheduler_file,
                memory_limit=memory_limit,
                timeout=timeout,
                fail_fast=fail_fast,
                shard=shard,
                overwrite=overwrite,
                progress=progress,
            )
            if shard is not None:
                continue
            runs[chosen.name] = run
            if isinstance(generator, MixedRealGenerator) and "equal_purity" in run.tables:
                by_object[chosen.name] = margins_by_object(run.collected, generator)
    if shard is not None:
        return pd.DataFrame()
    joined = _joined(runs)
    if by_object:
        joined["benchmark_equal_purity_objects"] = pd.concat(
            [_with_set(*pair) for pair in by_object.items()], ignore_index=True
        )
    for name, table in joined.items():
        write_file(output / f"{name}.csv", table.to_csv(index=False).encode())
    by_distance = {
        name: run.tables["completeness_by_neighbour_distance"] for name, run in runs.items()
    }
    _draw_sets(by_distance, output / "benchmark_by_neighbour_distance.png")
    return joined["benchmark"][["set", "method", "n_scenes", "completeness", "purity", "ceiling"]]


def _default_methods() -> tuple[dict[str, str], list[str]]:
    """Return the methods of the benchmark by name, and a sentence on one that is left out."""
    methods = {
        f"SEP {thresh}/{minarea}/{deblend_cont:g}": (
            f"sep:thresh={thresh},minarea={minarea},deblend_cont={deblend_cont}"
        )
        for thresh, minarea, deblend_cont in SEP_SETTINGS
    }
    why_not = why_left_out("probaunet", get_euclid_survey())
    if why_not:
        return methods, [why_not]
    return methods | {"ProbaUNet": "probaunet"}, []


def _joined(runs: dict[str, Comparison]) -> dict[str, pd.DataFrame]:
    """Return what is written of all sets together, from the run of each."""
    of_sets = {name: {**run.tables, "headline": run.headline()} for name, run in runs.items()}
    names = {
        "benchmark": "headline",
        "benchmark_by_neighbour_distance": "completeness_by_neighbour_distance",
        "benchmark_probabilities": "probability_scores",
        "benchmark_ceiling_share": "ceiling_share",
    }
    joined = {}
    for name, of_one in names.items():
        parts = [
            _with_set(chosen, tables[of_one])
            for chosen, tables in of_sets.items()
            if of_one in tables
        ]
        if parts:
            joined[name] = pd.concat(parts, ignore_index=True)
    margins = [
        _with_set(chosen, _margins(tables))
        for chosen, tables in of_sets.items()
        if "equal_purity" in tables
    ]
    if margins:
        joined["benchmark_equal_purity"] = pd.concat(margins, ignore_index=True)
    return joined


def _with_set(name: str, table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([pd.Series(name, index=table.index, name="set", dtype=object), table], axis=1)


def _margins(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the margins at equal purity, over everything and for close pairs."""
    by_distance = tables["equal_purity_by_neighbour_distance"]
    close = by_distance[
        (by_distance["lo"] == CLOSE_ARCSEC[0]) & (by_distance["hi"] == CLOSE_ARCSEC[1])
    ]
    rows = pd.concat(
        [
            tables["equal_purity"].assign(neighbours="all"),
            close.assign(neighbours="{}-{} arcsec".format(*CLOSE_ARCSEC)),
        ],
        ignore_index=True,
    ).drop(columns=["lo", "hi"])
    first = ["detector", "method", "neighbours"]
    return rows[[*first, *rows.columns.drop(first)]]


def _draw_sets(by_distance: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw the completeness by neighbour distance, one panel per set."""
    n_rows, n_columns = panel_grid(len(by_distance))

    def draw(figure) -> None:
        panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
        for ax in panels[len(by_distance) :]:
            ax.set_visible(False)
        for ax, (name, table) in zip(panels, by_distance.items(), strict=False):
            display = FractionDisplay(table, "completeness", "neighbour_distance_arcsec").plot(ax)
            ax.set_title(name, pad=18)
            if display.legend_ is not None:
                handles, labels = display.legend_.legend_handles, display.legend_.get_texts()
                display.legend_.remove()
        figure.legend(
            handles, [text.get_text() for text in labels], loc="outside lower center", ncols=2
        )

    write_figure(draw, (4.2 * n_columns, 3.6 * n_rows + 1.2), path)
