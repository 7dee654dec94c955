"""Is a detector as good everywhere? Completeness and purity as the conditions of a survey vary.

Each quantity is varied by itself: the width of the PSF, the depth, what the subtraction of the sky
left over, and the density of sources. The information ceiling says how much of what is lost was
lost with the information: a detector is uniform that follows it.

Completeness and ceiling are of the sources that count (signal-to-noise ratio above 5, were they
alone) under the condition in question: in deeper images there are more of them, and fainter ones.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from btk_punet.errors import InputError
from btk_punet.evaluation.runs.compare import Deblenders, compare
from btk_punet.evaluation.runs.uniformity_display import UniformityDisplay
from btk_punet.figures import write_figure
from btk_punet.files import write_file
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import EuclidFieldSampling, EuclidGroupSampling
from btk_punet.simulation.survey import get_euclid_survey

# Quantity -> its values. All else is as in the Euclid Wide Survey. The sky residual is a level that
# is left in all pixels (below 0: too much was subtracted), in units of the standard deviation of
# the background in one pixel, 26.5 electrons at 4 exposures.
CONDITIONS: dict[str, tuple[float, ...]] = {
    "psf_fwhm_arcsec": (0.14, 0.16, 0.18, 0.20, 0.22),
    "n_exposures": (1, 2, 4, 6),
    "sky_residual_sigma": (-0.2, -0.1, 0.0, 0.1, 0.2),
    "density_per_arcmin2": (30, 60, 120, 240),
}
CATALOG_GALAXIES = 30_000
# A field is as large as 16 groups.
FIELD_SHARE = 16


def uniformity(
    output: str | Path,
    deblenders: Deblenders | None = None,
    conditions: Mapping[str, Sequence[float]] | None = None,
    *,
    n_blends: int = 1000,
    seed: int = 0,
    njobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure detectors under varied conditions, and write a table and a plot.

    Args:
        output: Folder; each condition gets a run of `compare` in a folder of its own (so that a
            run that was stopped goes on), and beside them are ``uniformity.csv`` and
            ``uniformity.png``.
        deblenders: As for `compare`.
        conditions: Quantities of `CONDITIONS` with their values; those there if None.
        n_blends: Groups under each condition; of fields, which show the density, a sixteenth.
        seed: Seed of catalog and scenes: the same galaxies under all conditions.
        njobs: Processes.
        overwrite: Whether to throw away other runs that the folders hold.
        progress: Whether to show progress bars.

    Returns:
        One row a condition and method: ``quantity``, ``value``, ``method``, the columns of
        ``headline`` of `summary_tables` (``completeness``, ``purity`` and ``ceiling`` with counts
        and 68% intervals), ``lost_with_information`` (1 - ceiling: sources that the pixels do not
        tell from their neighbours) and ``lost_by_method`` (ceiling - completeness: those that the
        pixels tell, and the method not; it may be slightly below 0, since the ceiling is no
        strict bound).

    Raises:
        InputError: for an unknown quantity, one without values or with one that cannot be, and as
            `compare`.
    """
    conditions = CONDITIONS if conditions is None else conditions
    unknown = [name for name in conditions if name not in CONDITIONS]
    if unknown or not conditions or not all(len(values) for values in conditions.values()):
        raise InputError(
            f"conditions must give values to some of {list(CONDITIONS)}, got {dict(conditions)}."
        )
    for quantity, values in conditions.items():
        for value in values:
            whole = quantity != "n_exposures" or float(value).is_integer()
            if not (np.isfinite(value) and whole):
                raise InputError(
                    f"{quantity} must be a {'finite' if whole else 'whole'} number, got {value}."
                )
    catalog = EuclidCatalog.simulate(CATALOG_GALAXIES, seed)
    parts = []
    for quantity, values in conditions.items():
        for value in values:
            if progress:
                tqdm.write(f"{quantity} = {value:g}")
            generator = _generator(catalog, quantity, value, seed)
            fields = quantity == "density_per_arcmin2"
            run = compare(
                Path(output) / quantity / f"{value:g}",
                deblenders,
                generator=generator,
                n_blends=max(n_blends // FIELD_SHARE, 1) if fields else n_blends,
                outcomes=False,
                report=False,
                njobs=njobs,
                overwrite=overwrite,
                progress=progress,
            )
            table = run.tables["headline"].copy()  # the run keeps its own
            table.insert(0, "value", float(value))
            table.insert(0, "quantity", quantity)
            parts.append(table)
    joined = pd.concat(parts, ignore_index=True)
    joined["lost_with_information"] = 1 - joined["ceiling"]
    joined["lost_by_method"] = joined["ceiling"] - joined["completeness"]
    write_file(Path(output) / "uniformity.csv", joined.to_csv(index=False).encode())
    display = UniformityDisplay(joined)
    write_figure(display.plot, display.size_inches, Path(output) / "uniformity.png")
    return joined


def _generator(catalog: EuclidCatalog, quantity: str, value: float, seed: int) -> EuclidGenerator:
    """Return the generator of one condition."""
    survey: dict[str, Any] = {}
    options: dict[str, Any] = {}
    sampling: Callable[[], EuclidGroupSampling | EuclidFieldSampling] = EuclidGroupSampling
    batch_size = 50
    if quantity == "psf_fwhm_arcsec":
        survey["psf"] = value
    elif quantity == "n_exposures":
        survey["n_exposures"] = int(value)
    elif quantity == "sky_residual_sigma":
        options[quantity] = value
    else:
        batch_size = 5

        def sampling() -> EuclidFieldSampling:
            return EuclidFieldSampling(density=value)

    return EuclidGenerator(
        catalog,
        sampling(),
        get_euclid_survey(**survey),
        batch_size=batch_size,
        seed=seed,
        **options,
    )
