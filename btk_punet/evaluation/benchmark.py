"""The benchmark: six sets of scenes with fixed seeds, on which every method is measured alike.

Nothing is ever tuned on these seeds, and training uses other seeds, galaxies and PSFs.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from btk.sampling_functions import SamplingFunction
from tqdm.auto import tqdm

from btk_punet.errors import BtkPunetWarning, CatalogError, InputError
from btk_punet.evaluation.compare import Deblenders, compare
from btk_punet.evaluation.display import FractionDisplay
from btk_punet.evaluation.style import panel_grid
from btk_punet.figures import write_figure
from btk_punet.files import write_file
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.choices import make_generator, open_cosmos
from btk_punet.simulation.sampling import (
    EuclidFieldSampling,
    EuclidGroupSampling,
    EuclidPairSampling,
)
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import get_euclid_survey

CATALOG_SEED = 20_260_901
BENCHMARK_GALAXIES = 50_000

# The settings (thresh, minarea, deblend_cont) at which a detector is compared with SEP, from the
# purest to the most complete but one; deblend_nthresh 64, default filter, true noise.
SEP_SETTINGS = (
    (1.5, 5, 0.005),
    (1.5, 5, 5e-4),
    (1.2, 5, 5e-4),
    (1.0, 5, 1e-4),
    (1.5, 3, 1e-4),
)


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

    def generator(self, cosmos_dir: str | Path | None = None, njobs: int = 1) -> SceneGenerator:
        """Return the generator of the set, of which the first ``n_scenes`` scenes count.

        Args:
            cosmos_dir: Folder of real galaxies in GalSim's format, for the set ``real``.
            njobs: Processes that draw the scenes of a batch.

        Raises:
            CatalogError: if the set needs real galaxies and no folder is given.
        """
        survey = get_euclid_survey(self.n_exposures, self.read_noise, self.psf_fwhm_arcsec)
        if self.real and cosmos_dir is None:
            raise CatalogError(
                f"The benchmark set {self.name!r} needs real galaxies: give cosmos_dir "
                "(--cosmos-dir), a folder with a catalog in GalSim's real-galaxy format."
            )
        catalog = (
            open_cosmos(str(cosmos_dir))
            if self.real
            else EuclidCatalog.simulate(BENCHMARK_GALAXIES, CATALOG_SEED)
        )
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
            "groups of real HST galaxies",
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


def compare_benchmark(
    output: str | Path,
    benchmark: str = "all",
    deblenders: Deblenders | None = None,
    *,
    n_blends: int | None = None,
    cosmos_dir: str | Path | None = None,
    njobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Compare detectors on sets of the benchmark.

    Args:
        output: Folder in which each set gets a folder of its own. Beside them are the headline
            tables of all sets (``benchmark.csv``), and their completeness by neighbour distance
            (``benchmark_by_neighbour_distance``, CSV and PNG).
        benchmark: Name of a set, or ``"all"``.
        deblenders: As for `compare`; SEP at the five settings of `SEP_SETTINGS` if None.
        n_blends: Number of scenes of each set, if fewer than it has.
        cosmos_dir: Folder of real galaxies, for the set ``real``, which ``"all"`` leaves out
            (and says so) if None.
        njobs: Processes.
        overwrite: Whether to throw away other runs that the folders hold.
        progress: Whether to show progress bars.

    Returns:
        One row a set and method: ``set``, ``method``, ``completeness``, ``purity``, ``ceiling``.
        (The file has the counts and intervals too.)
    """
    names = list(BENCHMARK_SETS) if benchmark == "all" else [benchmark]
    if deblenders is None:
        deblenders = {
            f"SEP {thresh}/{minarea}/{deblend_cont:g}": (
                f"sep:thresh={thresh},minarea={minarea},deblend_cont={deblend_cont}"
            )
            for thresh, minarea, deblend_cont in SEP_SETTINGS
        }
    heads, by_distance = [], {}
    for name in names:
        chosen = benchmark_set(name)
        if chosen.real and cosmos_dir is None and benchmark == "all":
            warnings.warn(
                f"The benchmark set {name!r} is left out: it needs cosmos_dir (--cosmos-dir), a "
                "folder of real galaxies in GalSim's format.",
                BtkPunetWarning,
                stacklevel=2,
            )
            continue
        if progress:
            tqdm.write(f"{name}: {chosen.description}")
        tables = compare(
            Path(output) / name,
            deblenders,
            generator=chosen.generator(cosmos_dir),
            n_blends=chosen.n_scenes if n_blends is None else min(n_blends, chosen.n_scenes),
            njobs=njobs,
            overwrite=overwrite,
            progress=progress,
        ).tables
        heads.append(tables["headline"].assign(set=name))
        by_distance[name] = tables["completeness_by_neighbour_distance"]
    summary = _first_column(pd.concat(heads, ignore_index=True), "set")
    distances = pd.concat(table.assign(set=name) for name, table in by_distance.items())
    for name, table in [
        ("benchmark", summary),
        ("benchmark_by_neighbour_distance", _first_column(distances, "set")),
    ]:
        write_file(Path(output) / f"{name}.csv", table.to_csv(index=False).encode())
    _draw_sets(by_distance, Path(output) / "benchmark_by_neighbour_distance.png")
    return summary[["set", "method", "completeness", "purity", "ceiling"]]


def _first_column(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[[name, *table.columns.drop(name)]]


def _draw_sets(by_distance: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw the completeness by neighbour distance, a panel a set."""
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
