"""Does a detector know which of the objects that it sees are blends?

An *object* is an 8-connected region of ``class_mean >= 0.5``, where ``class_mean`` is the mean
over posterior samples of each sample's class: 0 background, 1 one source, 2 two or more. It is
*flagged* where its largest ``class_mean`` exceeds t, and truly a blend where its true pixels hold
3 or more of class 2. As t goes from 1 to 2, fewer and surer objects are flagged. (The measure is
Blendinator's, on scenes drawn at I_E < 25.2.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric
from scipy import ndimage

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import method_styles, plain_label
from btk_punet.evaluation.quantities import METHOD, Column
from btk_punet.evaluation.scoring.candidates import extra_of_scenes
from btk_punet.evaluation.scoring.maps import scene_class_map
from btk_punet.evaluation.statistics.fractions import Edges, check_edges, fractions, merged_counts
from btk_punet.evaluation.studies.probabilities.calibration import fraction_column
from btk_punet.evaluation.studies.table import Layout, Table

# An object is where class_mean is at least this.
OBJECT_LEVEL = 0.5
# An object, or a region, with this many pixels of class 2 is a blend.
BLEND_PIXELS = 3
# Thresholds on an object's largest class_mean.
FLAG_THRESHOLDS = tuple((np.arange(20, 41) / 20).tolist())
# Purity and completeness [per cent] of Blendinator, read off its figure.
BLENDINATOR = "Blendinator"
BLENDINATOR_PERCENT = ((18, 91), (31, 83), (39, 80), (54, 73), (65, 73), (69, 69))
# Quantity of the rows that count truly blended regions (n) without any object on them (k).
MISSED = "missed"

FLAG_COLUMNS = (
    METHOD,
    Column(
        "quantity",
        "purity or completeness of the flag; missed: blended regions without an object",
    ),
    Column("threshold", "least class_mean of a flagged object", "", "Threshold", ".2f"),
    Column(
        "n",
        "number of objects flagged (purity), of those truly blends (completeness), or of blended "
        "regions (missed)",
    ),
    Column("k", "number of flagged true blends, or of regions without an object (missed)"),
    *fraction_column("Fraction", "value", "k / n; NaN where n is 0"),
)
# A mean in single precision may exceed by this what it is exactly.
_ROUNDING = 1e-5
_EIGHT_CONNECTED = np.ones((3, 3), int)


def blend_objects(class_mean: np.ndarray, true_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how blended each object of a scene is thought to be, and whether it is a blend.

    Args:
        class_mean: Mean over samples of each sample's class, 0-2, shape (H, W).
        true_class: Of `class_map`, shape (H, W).

    Returns:
        The largest ``class_mean`` of each object, and whether it is truly a blend; shape (n,).
    """
    regions, n_objects = ndimage.label(class_mean >= OBJECT_LEVEL, structure=_EIGHT_CONNECTED)
    numbers = np.arange(1, n_objects + 1)
    largest = np.asarray(ndimage.maximum(class_mean, regions, numbers), float).reshape(n_objects)
    n_blended = np.bincount(regions[true_class == 2], minlength=n_objects + 1)[1:]
    return largest, n_blended >= BLEND_PIXELS


def missed_blends(class_mean: np.ndarray, true_class: np.ndarray) -> np.ndarray:
    """Tell of each truly blended region of a scene whether there is no object on it.

    A blended region is an 8-connected region of 3 or more pixels of class 2. It is missed where no
    object holds 3 or more of them, so that no object is truly a blend for its sake.

    Args are those of `blend_objects`.

    Returns:
        Booleans, one per region.
    """
    objects, n_objects = ndimage.label(class_mean >= OBJECT_LEVEL, structure=_EIGHT_CONNECTED)
    blends, n_blends = ndimage.label(true_class == 2, structure=_EIGHT_CONNECTED)
    # Pixels of each blended region (row) in each object (column).
    shared = np.bincount(
        (blends * (n_objects + 1) + objects).ravel(), minlength=(n_blends + 1) * (n_objects + 1)
    ).reshape(n_blends + 1, n_objects + 1)[1:]
    large = shared.sum(axis=1) >= BLEND_PIXELS
    return shared[large, 1:].max(axis=1, initial=0) < BLEND_PIXELS


class BlendIdentification(Metric):
    """Completeness (recall) and purity (precision) of the flag that an object is a blend.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on the output of a deblender
    with ``class_mean`` in its ``extra_data``; returns the fraction of the objects of the batch
    for which the flag, at the middle threshold, is right (NaN without objects).

    Completeness is by objects, as in Blendinator: flagged true blends over all objects that are
    truly blends. A true blend on which there is no object at all is in neither number; how many
    there are is counted apart, in `missed`.

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Increasing thresholds t; `FLAG_THRESHOLDS`, from 1 to 2, if None.
        k: A pixel belongs to a source above this [sigma of the background]: that of the labels
            which the deblender was trained with.
    """

    def __init__(self, batch_size: int | None = None, edges: Edges | None = None, k: float = 1.0):
        super().__init__(batch_size)
        if not k > 0:
            raise InputError(f"k must be above 0 sigma, got {k}.")
        self.edges = check_edges(FLAG_THRESHOLDS if edges is None else edges)
        self.k = k

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,  # every metric's; regions need none
    ) -> dict:
        largest, blended, missed = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, bool)]
        for scene in range(blend_batch.batch_size):
            class_mean = _class_mean(blend_batch, deblend_batch, scene)
            true_class = scene_class_map(blend_batch, scene, self.k)
            of_objects = blend_objects(class_mean, true_class)
            largest.append(of_objects[0])
            blended.append(of_objects[1])
            missed.append(missed_blends(class_mean, true_class))
        return self._count(np.concatenate(largest), np.concatenate(blended), np.concatenate(missed))

    def _count(self, largest: np.ndarray, blended: np.ndarray, missed: np.ndarray) -> dict:
        flagged = largest[:, None] > self.edges + _ROUNDING
        right = (flagged & blended[:, None]).sum(axis=0)
        tables = []
        for quantity, n in [
            ("purity", flagged.sum(axis=0)),
            ("completeness", np.full(len(self.edges), blended.sum())),
        ]:
            table = fractions(n, right)
            table.insert(0, "threshold", self.edges)
            table.insert(0, "quantity", quantity)
            tables.append(table)
        middle = flagged[:, len(self.edges) // 2]
        return {
            "table": pd.concat(tables, ignore_index=True),
            "missed": fractions(np.array([len(missed)]), np.array([missed.sum()])),
            "right": fractions(np.array([len(middle)]), np.array([(middle == blended).sum()])),
        }

    def _compute(self, data: dict) -> float:
        return float(data["right"].loc[0, "value"])

    def aggregate(self) -> pd.DataFrame:
        """Return the curve over all batches.

        Columns: ``quantity`` (``"purity"`` or ``"completeness"``), ``threshold``, ``n`` (objects
        flagged, or truly blends), ``k`` (both), ``value``, ``value_lo``, ``value_hi``.
        """
        return merged_counts([data["table"] for data in self.all_data])

    def missed(self) -> pd.DataFrame:
        """Return how many of the truly blended regions (n) no object covers (k): one row."""
        return merged_counts([data["missed"] for data in self.all_data])


def _class_mean(blend_batch: BlendBatch, deblend_batch: DeblendBatch, scene: int) -> np.ndarray:
    shape = (blend_batch.image_size, blend_batch.image_size)
    extra_data = deblend_batch.extra_data
    if extra_data is None or len(extra_data) != blend_batch.batch_size:
        raise InputError(
            f"deblend_batch must have extra_data of {blend_batch.batch_size} scenes, got "
            f"{'none' if extra_data is None else len(extra_data)}: blends are identified in the "
            "output of ProbaUNetDeblender."
        )
    if "class_mean" not in extra_data[scene]:
        raise InputError(
            f"extra_data of scene {scene} must hold 'class_mean', got {list(extra_data[scene])}: "
            "blends are identified in the output of ProbaUNetDeblender."
        )
    class_mean = np.asarray(extra_data[scene]["class_mean"], float)
    if class_mean.shape != shape:
        raise InputError(
            f"class_mean of scene {scene} must have the shape {shape}, got {class_mean.shape}."
        )
    return class_mean


def batch_blend_identification(
    blend_batch: BlendBatch, deblend_batches: Mapping[str, DeblendBatch]
) -> pd.DataFrame | None:
    """Return the counts of flagged blends of a batch, of the methods with ``class_mean``.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name.

    Returns:
        ``method`` and the columns of ``BlendIdentification.aggregate()``; beside its quantities,
        as "missed", the truly blended regions without an object. None if no method has the maps.
    """
    tables = []
    for method in extra_of_scenes(deblend_batches, "class_mean"):
        metric = BlendIdentification()
        metric(blend_batch, deblend_batches[method])
        missed = metric.missed().assign(quantity=MISSED, threshold=np.nan)
        table = pd.concat([metric.aggregate(), missed], ignore_index=True)
        table.insert(0, "method", method)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else None


def flag_table(table: pd.DataFrame) -> Table:
    """Return the curves of `batch_blend_identification` of a run as a table."""
    curves = without_missed(table)
    sides = {}
    for quantity in ("purity", "completeness"):
        own = curves[curves["quantity"] == quantity].set_index(["method", "threshold"])
        ends = {f"value{end}": f"{quantity}{end}" for end in ("", "_lo", "_hi")}
        sides[quantity] = own[list(ends)].rename(columns=ends)
    return Table(
        "blend_identification",
        "Objects flagged as blends",
        table,
        (
            *FLAG_COLUMNS,
            *fraction_column(
                "Purity", "purity", "fraction of the flagged objects that are true blends"
            ),
            *fraction_column(
                "Completeness", "completeness", "fraction of the true blends that are flagged"
            ),
        ),
        Layout(("threshold",), ("purity", "completeness"), ("method",), in_report=False),
        caption="Objects flagged as blends whose largest class mean exceeds a threshold.",
        shown=pd.concat(sides.values(), axis=1).reset_index(),
    )  # fmt: skip


def without_missed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of ``blend_identification``, without the count of missed blends."""
    return table[table["quantity"] != MISSED].reset_index(drop=True)


class BlendIdentificationDisplay(AxesDisplay):
    """Completeness against purity of flagged blends, beside Blendinator's own.

    Args:
        tables: Name -> what ``BlendIdentification.aggregate()`` returns.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the tables if None.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        curves_: The line of each table, by its name.
        blendinator_: Blendinator's points.
        legend_: The legend.
    """

    size_inches = (5.2, 4.6)

    def __init__(self, tables: Mapping[str, pd.DataFrame], everyone: Sequence[str] | None = None):
        self.tables = tables
        self.everyone = everyone

    def _plot(self, methods: Sequence[str] | None) -> None:
        drawn, styles = method_styles(list(self.tables), methods, self.everyone or ())
        self.curves_: dict[str, Any] = {}
        for name in drawn:
            table = self.tables[name]
            purity, completeness = (
                table.loc[table["quantity"] == quantity, "value"].to_numpy()
                for quantity in ("purity", "completeness")
            )
            (self.curves_[name],) = self.ax_.plot(
                purity, completeness, markersize=4, linewidth=1.2, **styles[name]
            )
        (self.blendinator_,) = self.ax_.plot(
            *(np.array(BLENDINATOR_PERCENT).T / 100),
            color="0.4", marker="*", markersize=9, linestyle=":", linewidth=1.0,
        )  # fmt: skip
        self.ax_.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02),
            xlabel="Purity of the flag", ylabel="Completeness of the flag",
        )  # fmt: skip
        handles = {**self.curves_, BLENDINATOR: self.blendinator_}
        self.legend_ = self.ax_.legend(handles.values(), map(plain_label, handles))
