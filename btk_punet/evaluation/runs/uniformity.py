"""Is a detector as good everywhere? Completeness and purity as the conditions of a survey vary.

Each quantity is varied by itself: the width of the PSF, the depth, what the subtraction of the sky
left over, and the density of sources. The information ceiling says how much of what is lost was
lost with the information: a detector is uniform that follows it.

Completeness and ceiling are of the sources that count (signal-to-noise ratio above 5, were they
alone) under the condition in question: in deeper images there are more of them, and fainter ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from btk_punet.cluster.started import workers_stay
from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import POINTS, error_lengths, method_styles, methods_of
from btk_punet.evaluation.quantities import CEILING, CONDITIONS
from btk_punet.evaluation.runs.compare import Deblenders, compare
from btk_punet.evaluation.runs.options import Running, Scenes
from btk_punet.figures import write_figure
from btk_punet.files import write_file
from btk_punet.options import documented
from btk_punet.output import output_folder
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import EuclidFieldSampling, EuclidGroupSampling
from btk_punet.simulation.survey import get_euclid_survey

CATALOG_GALAXIES = 30_000
# A field is as large as 16 groups.
FIELD_SHARE = 16
LOST = "lost with the information"
# A panel with more values than this has the ticks that matplotlib likes.
MOST_TICKS = 6


def default_conditions() -> dict[str, tuple[float, ...]]:
    """Return what is varied by default: all quantities of `CONDITIONS` with their values."""
    return {name: quantity.edges for name, quantity in CONDITIONS.items()}


@documented(Running)
def uniformity(
    output: str | Path,
    deblenders: Deblenders | None = None,
    conditions: Mapping[str, Sequence[float]] | None = None,
    *,
    n_blends: int = Scenes.n_blends,
    seed: int = Scenes.seed,
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
    """Measure detectors under varied conditions, and write a table and a plot.

    Args:
        output: Folder; each condition gets a run of `compare` in a folder of its own (so that a
            run that was stopped resumes), and beside them are ``uniformity.csv`` and
            ``uniformity.png``.
        deblenders: As for `compare`.
        conditions: Quantities of `CONDITIONS` with their values; those there if None.
        n_blends: Groups under each condition; of fields, which show the density, a sixteenth.
        seed: Seed of catalog and scenes: the same galaxies under all conditions.
        command: The command that makes these runs, for their ``run.json``.
        {Running}

    Returns:
        One row per condition and method: ``quantity``, ``value``, ``method``, ``n_scenes`` (of the
        method: fewer where it failed time and again, of which there is an `IncompleteRunWarning`
        for each condition), the columns of ``headline`` of a comparison (``completeness``,
        ``purity`` and ``ceiling`` with counts and 68% intervals), ``lost_with_information``
        (1 - ceiling: sources that the pixels do not tell from their neighbours) and
        ``lost_by_method`` (ceiling - completeness: those that the pixels tell, and the method not;
        it may be slightly below 0, since the ceiling is no strict bound). A shard has no rows.

    Raises:
        InputError: for an unknown quantity, one without values or with one that cannot be, and as
            `compare`.
    """
    conditions = default_conditions() if conditions is None else conditions
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
    output = output_folder(output)
    catalog = EuclidCatalog.simulate(CATALOG_GALAXIES, seed)
    parts = []
    with workers_stay():
        for quantity, values in conditions.items():
            for value in values:
                if progress:
                    tqdm.write(f"{quantity} = {value:g}")
                generator = _generator(catalog, quantity, value, seed)
                fields = quantity == "density_per_arcmin2"
                run = compare(
                    output / quantity / f"{value:g}",
                    deblenders,
                    generator=generator,
                    n_blends=max(n_blends // FIELD_SHARE, 1) if fields else n_blends,
                    outcomes=False,
                    report=False,
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
                table = run.headline()
                table.insert(0, "value", float(value))
                table.insert(0, "quantity", quantity)
                parts.append(table)
    if shard is not None:
        return pd.DataFrame()
    joined = pd.concat(parts, ignore_index=True)
    joined["lost_with_information"] = 1 - joined["ceiling"]
    joined["lost_by_method"] = joined["ceiling"] - joined["completeness"]
    write_file(output / "uniformity.csv", joined.to_csv(index=False).encode())
    display = UniformityDisplay(joined)
    write_figure(display.draw, display.size_inches, output / "uniformity.png")
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


class UniformityDisplay(PanelsDisplay):
    """Completeness (above) and purity (below) against each condition, one column per quantity.

    The dashed line is the information ceiling under each condition, and what is above it is lost
    with the information. How far a method is below it is the method's own loss.

    Args:
        table: What `uniformity` returns.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes by (``"completeness"`` or ``"purity"``, quantity).
        errorbars_: Matplotlib's container by (method, ``"completeness"`` or ``"purity"``,
            quantity), with 68% intervals.
        legend_: The legend, or None.
    """

    def __init__(self, table: pd.DataFrame):
        self.table = table

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure [inch]."""
        # Wide enough for the legend, even with one quantity.
        return max(3.4 * self.table["quantity"].nunique() + 1.0, 6.4), 6.4

    def _plot(self, methods: Sequence[str] | None) -> None:
        drawn, styles = method_styles(methods_of(self.table), methods)
        quantities = list(dict.fromkeys(self.table["quantity"]))
        self.axes_: dict[tuple[str, str], Any] = {}
        self.errorbars_: dict[tuple[str, str, str], Any] = {}
        handles: dict[str, Any] = {}
        grid = self.figure_.subplots(
            2, max(len(quantities), 1), squeeze=False, sharex="col", sharey="row"
        )
        for row, figure_of in zip(grid, ("completeness", "purity"), strict=True):
            row[0].set_ylabel(figure_of.capitalize())
            for ax, quantity in zip(row, quantities, strict=False):
                self.axes_[figure_of, quantity] = ax
                of_quantity = self.table[self.table["quantity"] == quantity]
                for name in drawn:
                    rows = of_quantity[of_quantity["method"] == name].sort_values("value")
                    bars = ax.errorbar(
                        rows["value"], rows[figure_of], error_lengths(rows, figure_of),
                        **POINTS, **styles[name],
                    )  # fmt: skip
                    self.errorbars_[name, figure_of, quantity] = handles[name] = bars
                if figure_of == "completeness" and drawn:
                    rows = of_quantity[of_quantity["method"] == drawn[0]].sort_values("value")
                    (handles[CEILING],) = ax.plot(
                        rows["value"], rows["ceiling"], color="black", linestyle="--", linewidth=1.2
                    )
                    handles[LOST] = ax.fill_between(
                        rows["value"], rows["ceiling"], 1.0, color="0.88", linewidth=0
                    )
                if figure_of == "purity":
                    ax.set_xlabel(
                        CONDITIONS[quantity].label if quantity in CONDITIONS else quantity
                    )
                values = sorted(of_quantity["value"].unique())
                if len(values) <= MOST_TICKS:
                    ax.set_xticks(values, [f"{value:g}" for value in values])
            row[0].set_ylim(top=1.01)
        self.legend_ = None
        if handles:
            self.legend_ = self.figure_.legend(
                handles.values(),
                handles.keys(),
                loc="outside upper center",
                ncols=max(int(self.size_inches[0] / 2.1), 1),
            )
