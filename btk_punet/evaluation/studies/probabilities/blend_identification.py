"""Does a detector know which of the objects that it sees are blends?

An *object* is an 8-connected region of ``class_mean >= 0.5``, where ``class_mean`` is the mean
over posterior samples of each sample's class: 0 background, 1 one source, 2 two or more. It is
*flagged* where its largest ``class_mean`` exceeds t, and truly a blend where its true pixels hold
3 or more of class 2. As t goes from 1 to 2, fewer and surer objects are flagged. (The measure is
Blendinator's, on scenes drawn at I_E < 25.2.)
"""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric
from scipy import ndimage

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.scenes import is_real
from btk_punet.evaluation.statistics.fractions import Edges, check_edges, fractions, merged_counts
from btk_punet.simulation.labels import class_map
from btk_punet.simulation.survey import background_variance, reference_band

# An object is where class_mean is at least this.
OBJECT_LEVEL = 0.5
# An object, or a region, with this many pixels of class 2 is a blend.
BLEND_PIXELS = 3
# Thresholds on an object's largest class_mean.
FLAG_THRESHOLDS = tuple((np.arange(20, 41) / 20).tolist())
# Purity and completeness [per cent] of Blendinator, read off its figure.
BLENDINATOR_PERCENT = ((18, 91), (31, 83), (39, 80), (54, 73), (65, 73), (69, 69))

# A mean in single precision may exceed by this what it is exactly.
_ROUNDING = 1e-5
_EIGHT_CONNECTED = np.ones((3, 3), int)


def blend_objects(class_mean: np.ndarray, true_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is said of each object of a scene, and what is true of it.

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
        Booleans, one a region.
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
