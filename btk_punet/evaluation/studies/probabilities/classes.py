"""Class probabilities of pixels against their true classes, where it is not plainly background.

They are counted as sums, which add up over batches exactly and in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.reliability import ReliabilityDisplay
from btk_punet.evaluation.plotting.style import (
    chosen_methods,
    methods_of,
    panel_axes,
    panel_grid,
    plain_label,
)
from btk_punet.evaluation.quantities import METHOD, Column
from btk_punet.evaluation.scoring.maps import scene_class_map
from btk_punet.evaluation.statistics.pixels import MOST_BACKGROUND
from btk_punet.evaluation.statistics.reliability import N_BINS
from btk_punet.evaluation.studies.probabilities.calibration import (
    OF_CLASS,
    PIXELS,
    PROBABILITY,
)
from btk_punet.simulation.labels import CLASS_NAMES

if TYPE_CHECKING:
    pass

# Scores of a pixel by which its error may be predicted.
PREDICTORS = ("class_variance", "class_probability")
# Scores are counted at multiples of 1 / LEVELS. The variance over n samples is a multiple of
# 1 / n^2, so that it is counted as it is for 1, 2, 4, 8, 16 or 32 samples.
LEVELS = 1024
# Summands are rounded to multiples of this, the spacing of single precision just below 1: sums of
# fewer than 5e8 of them are exact in double precision, whatever their order.
_STEP = 2.0**-24


PREDICTOR = Column(
    "predictor", "measure of uncertainty: class_variance, or 1 - largest class_probability"
)
PROBABILITY_COLUMNS = (
    METHOD,
    OF_CLASS,
    *PROBABILITY.columns(),
    Column("n", f"number of {PIXELS}"),
    Column("k", "number of them that are truly of the class"),
    Column("sum_probability", "sum of their predicted probabilities"),
    Column("sum_squared_error", "sum of the squared differences of probability and outcome"),
)
UNCERTAINTY_COLUMNS = (
    METHOD,
    PREDICTOR,
    Column("level", "uncertainty, to the nearest 1/1024"),
    Column("n", f"number of {PIXELS}"),
    Column("k", "number of them whose most probable class is not the true one"),
)


class LitPixels(NamedTuple):
    """The pixels of a batch with a probability of background below 0.9.

    Attributes:
        probability: Probabilities of background, isolated and blended, shape (n, 3).
        true_class: True classes 0, 1, 2, shape (n,).
        variance: ``class_variance``, shape (n,); None where a method has none.
    """

    probability: np.ndarray
    true_class: np.ndarray
    variance: np.ndarray | None

    @property
    def wrong(self) -> np.ndarray:
        """Whether the most probable class (the first of equals) is not the true one."""
        return self.probability.argmax(axis=1) != self.true_class


def lit_pixels(blend_batch: BlendBatch, deblend_batch: DeblendBatch) -> LitPixels:
    """Return the pixels of a batch whose probability of background is below 0.9.

    Args:
        blend_batch: The scenes.
        deblend_batch: Output with ``class_probability``, shape (3, H, W), in the ``extra_data`` of
            each scene, and perhaps ``class_variance``, shape (H, W).

    Raises:
        InputError: if there are no class probabilities, or maps that do not fit the batch.
    """
    extra_data = deblend_batch.extra_data
    n_scenes = blend_batch.batch_size
    if extra_data is None or len(extra_data) != n_scenes:
        raise InputError(
            f"deblend_batch must have extra_data of {n_scenes} scenes, got "
            f"{'none' if extra_data is None else len(extra_data)}: take the output of "
            "ProbaUNetDeblender on this batch."
        )
    probability, true_class, variance = [np.zeros((0, 3))], [np.zeros(0, int)], [np.zeros(0)]
    has_variance = all("class_variance" in extra for extra in extra_data)
    shape = (blend_batch.image_size, blend_batch.image_size)
    for scene, extra in enumerate(extra_data):
        if "class_probability" not in extra:
            raise InputError(
                f"extra_data of scene {scene} must hold 'class_probability', got {list(extra)}: "
                "the detector gives no probabilities of the class of a pixel."
            )
        maps = _fitting(extra["class_probability"], "class_probability", scene, (3, *shape))
        # Written so that NaN fails, too.
        if not ((maps >= 0).all() and (np.abs(maps.sum(axis=0) - 1) < 1e-3).all()):
            raise InputError(
                f"class_probability of scene {scene} must hold probabilities of three classes, 0 "
                "or more, that add up to 1 in every pixel."
            )
        lit = maps[0] < MOST_BACKGROUND
        probability.append(maps[:, lit].T.astype(float))
        true_class.append(scene_class_map(blend_batch, scene)[lit].astype(int))
        if has_variance:
            of_class = _fitting(extra["class_variance"], "class_variance", scene, shape)
            # Classes 0 to 2 have a population variance of 1 at most.
            if not ((of_class >= -1e-5) & (of_class <= 1 + 1e-5)).all():
                raise InputError(
                    f"class_variance of scene {scene} must hold population variances of classes "
                    f"0, 1 and 2, from 0 to 1, got values from {of_class.min():g} to "
                    f"{of_class.max():g}."
                )
            variance.append(of_class[lit].astype(float))
    return LitPixels(
        np.concatenate(probability),
        np.concatenate(true_class),
        np.concatenate(variance) if has_variance else None,
    )


def class_probabilities(pixels: Mapping[str, LitPixels]) -> pd.DataFrame:
    """Return what is predicted of the classes of pixels, and what is true.

    Args:
        pixels: Of each method, by its name.

    Returns:
        One row per ``method``, ``class`` and bin of its probability ``lo`` to ``hi``, ten for
        each: number of pixels ``n``, of them of this class ``k``, ``sum_probability`` and
        ``sum_squared_error``, that of probability and outcome (each summand to 6e-8).
    """
    inner_edges = np.arange(1, N_BINS) / N_BINS
    parts = []
    for method, (probability, true_class, _) in pixels.items():
        for number, name in enumerate(CLASS_NAMES):
            p, is_so = np.clip(probability[:, number], 0.0, 1.0), true_class == number
            which = np.searchsorted(inner_edges, p, side="right")
            columns = {
                "lo": np.arange(N_BINS) / N_BINS,
                "hi": np.arange(1, N_BINS + 1) / N_BINS,
                "n": np.bincount(which, minlength=N_BINS),
                "k": np.bincount(which[is_so], minlength=N_BINS),
                "sum_probability": _sums(p, which),
                "sum_squared_error": _sums(np.square(p - is_so), which),
            }
            parts.append(pd.DataFrame({"method": method, "class": name, **columns}))
    return pd.concat(parts, ignore_index=True)


def class_uncertainty(pixels: Mapping[str, LitPixels]) -> pd.DataFrame:
    """Return how many pixels have which uncertainty, and how many of them are wrong.

    Args:
        pixels: Of each method, by its name.

    Returns:
        One row per ``method``, ``predictor`` and ``level``, the uncertainty to the nearest
        1/1024, where there are any: number of pixels ``n``, of them ``k`` whose most probable
        class is wrong. The predictors are ``class_variance`` (where a method gives it) and
        ``class_probability``: 1 less that of the most probable class.
    """
    columns = {"level": float, "n": int, "k": int}
    parts = [pd.DataFrame(columns=["method", "predictor", *columns]).astype(columns)]
    for method, of_method in pixels.items():
        unsure = 1.0 - of_method.probability.max(axis=1)
        for predictor, score in zip(PREDICTORS, (of_method.variance, unsure), strict=True):
            if score is None:
                continue
            number = np.round(LEVELS * np.clip(score, 0.0, 1.0)).astype(int)
            n = np.bincount(number, minlength=LEVELS + 1)
            k = np.bincount(number[of_method.wrong], minlength=LEVELS + 1)
            (some,) = np.nonzero(n)
            table = pd.DataFrame({"level": some / LEVELS, "n": n[some], "k": k[some]})
            table.insert(0, "method", method)
            table.insert(1, "predictor", predictor)
            parts.append(table)
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def merged_class_probabilities(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return one table of `class_probabilities` from those of several batches."""
    return _added_up(tables, ["method", "class", "lo", "hi"])


def merged_class_uncertainty(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return one table of `class_uncertainty` from those of several batches."""
    merged = _added_up(tables, ["method", "predictor", "level"])
    place = merged["predictor"].map(PREDICTORS.index)
    return merged.iloc[np.lexsort((merged["level"], place))].reset_index(drop=True)


def _added_up(tables: list[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    return pd.concat(tables).groupby(keys, sort=False).sum().reset_index()


def _sums(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    return np.bincount(which, np.round(values / _STEP) * _STEP, minlength=N_BINS)


def _fitting(array: np.ndarray, name: str, scene: int, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(array)
    if array.shape != shape:
        raise InputError(f"{name} of scene {scene} must have the shape {shape}, got {array.shape}.")
    return array


class ClassReliabilityDisplay(PanelsDisplay):
    """Reliability diagrams of the classes of pixels: one panel per class, one line per method.

    Args:
        table: What `Reliability.table` returns, with ``method`` and ``class``.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the table if None.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each class, by its name.
        displays_: `ReliabilityDisplay` of each class, with its lines and steps.
        legend_: The legend, or None.
    """

    def __init__(self, table: pd.DataFrame, everyone: Sequence[str] | None = None):
        self.table = table
        self.everyone = everyone

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all panels [inch]."""
        n_rows, n_columns = panel_grid(self.table["class"].nunique())
        return 3.7 * n_columns + 0.3, 4.6 * n_rows + 0.4

    def _plot(self, methods: Sequence[str] | None) -> None:
        known = methods_of(self.table)
        drawn = chosen_methods(methods, known)
        classes = list(dict.fromkeys(self.table["class"]))
        self.axes_ = panel_axes(self.figure_, classes)
        self.displays_: dict[str, ReliabilityDisplay] = {}
        for name, ax in self.axes_.items():
            rows = self.table[self.table["class"] == name]
            tables = {method: rows[rows["method"] == method] for method in known}
            display = ReliabilityDisplay(tables, self.everyone).plot(ax, drawn)
            if display.legend_ is not None:
                display.legend_.remove()
            self.displays_[name] = display
            below = display.histogram_ax_
            below.set(xlabel="", ylabel="Pixels")
            ax.set_title(name.capitalize())
            if name != classes[0]:
                ax.set_ylabel("")
                below.set_ylabel("")
        self.legend_ = None
        if classes:
            # One of each for all panels, for which a layout makes room.
            self.figure_.supxlabel("Predicted probability", fontsize="medium")
            lines = self.displays_[classes[0]].errorbars_
            self.legend_ = self.figure_.legend(
                lines.values(), map(plain_label, lines), loc="outside upper center", ncols=4
            )
