"""How well maps of class probabilities agree with the true classes, pixel by pixel.

Counts over all scenes first, then fractions. A pixel is *predicted* to be of its most probable
class; of classes that are as probable, the first.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.reliability import LEAST_PROBABILITY, Reliability
from btk_punet.simulation.labels import CLASS_NAMES

# Calibration is measured where this is not exceeded: empty sky, most of an image, is easy.
MOST_BACKGROUND = 0.9


class PixelScores:
    """Class probabilities against true classes, over any number of scenes.

    The scores of two parts of the data are merged by ``+``.

    Attributes:
        reliability: `Reliability` of each class's probability, by the class's name, over the
            pixels with a probability of background below 0.9.
    """

    def __init__(self) -> None:
        self.reliability = {name: Reliability() for name in CLASS_NAMES}
        self._counts = np.zeros((3, 3), int)
        self._sum_log_loss = 0.0

    def add(
        self,
        class_probability: np.ndarray,
        classes: np.ndarray,
        usable: np.ndarray | None = None,
    ) -> None:
        """Count some more scenes.

        Args:
            class_probability: Probabilities of background, isolated and blended, which add up to
                1, shape (b, H, W, 3).
            classes: True classes 0, 1, 2, shape (b, H, W).
            usable: Booleans, shape (b, H, W), False for pixels that do not count; all count if
                None.

        Raises:
            InputError: for arrays of the wrong shape, or values that cannot be used.
        """
        probability, classes = np.asarray(class_probability), np.asarray(classes)
        if probability.ndim != 4 or probability.shape[3] != 3:
            raise InputError(
                f"class_probability must have the shape (b, H, W, 3), got {probability.shape}; for "
                "the (3, H, W) of a deblender's extra_data: np.moveaxis(maps, 1, -1)."
            )
        for name, array in (("classes", classes), ("usable", usable)):
            if array is not None and np.shape(array) != probability.shape[:3]:
                raise InputError(
                    f"{name} must have the shape {probability.shape[:3]} of the maps, got "
                    f"{np.shape(array)}."
                )
        counted = np.ones(classes.shape, bool) if usable is None else np.asarray(usable, bool)
        p, true = probability[counted], classes[counted]
        if not np.isin(true, (0, 1, 2)).all():
            raise InputError(
                "classes must be 0 (background), 1 (isolated) or 2 (blended), as btk_punet."
                f"class_map gives them; got {sorted(set(np.unique(true)) - {0, 1, 2})[:5]}."
            )
        # Written so that NaN fails, too.
        if not ((p >= 0).all() and (np.abs(p.sum(axis=1) - 1) < 1e-3).all()):
            raise InputError(
                "class_probability must hold probabilities of three classes, 0 or more, that add "
                "up to 1 in every usable pixel."
            )
        true = true.astype(int)
        predicted = p.argmax(axis=1)
        self._counts += np.bincount(3 * true + predicted, minlength=9).reshape(3, 3)
        of_truth = np.take_along_axis(p, true[:, None], axis=1).astype(float)
        self._sum_log_loss -= float(np.log(np.maximum(of_truth, LEAST_PROBABILITY)).sum())
        lit = p[:, 0] < MOST_BACKGROUND
        for number, name in enumerate(CLASS_NAMES):
            self.reliability[name].add(p[lit, number], true[lit] == number)

    def __add__(self, other: PixelScores) -> PixelScores:
        """Return the scores over the data of both."""
        if not isinstance(other, PixelScores):
            return NotImplemented
        merged = PixelScores()
        merged._counts = self._counts + other._counts
        merged._sum_log_loss = self._sum_log_loss + other._sum_log_loss
        merged.reliability = {
            name: self.reliability[name] + other.reliability[name] for name in CLASS_NAMES
        }
        return merged

    @property
    def n_pixels(self) -> int:
        """How many pixels were counted."""
        return int(self._counts.sum())

    def confusion_matrix(self) -> pd.DataFrame:
        """Return the numbers of pixels: one row per true class, one column per predicted one."""
        return confusion_matrix(self._counts)

    def report(self) -> pd.DataFrame:
        """Return the classification report, one row per class (see `class_report`)."""
        return class_report(self._counts)

    def calibration_errors(self) -> dict[str, float]:
        """Return the expected calibration error of each class, and of the three the ``mean``.

        Over the pixels with a probability of background below 0.9; NaN where there are none.
        """
        errors = {
            name: reliability.expected_calibration_error()
            for name, reliability in self.reliability.items()
        }
        return errors | {"mean": float(np.mean(list(errors.values())))}

    def log_loss(self) -> float:
        """Return the mean of ``-log p(true class)`` [nat a pixel]; NaN of nothing.

        Probabilities below 1e-7 count as 1e-7.
        """
        return self._sum_log_loss / self.n_pixels if self.n_pixels else float("nan")


def confusion_matrix(counts: np.ndarray) -> pd.DataFrame:
    """Return numbers of pixels with their classes: one row per true, one column per predicted one.

    Args:
        counts: The numbers, shape (3, 3), true classes first.
    """
    return pd.DataFrame(
        counts,
        index=pd.Index(CLASS_NAMES, name="true"),
        columns=pd.Index(CLASS_NAMES, name="predicted"),
    )


def class_report(counts: np.ndarray) -> pd.DataFrame:
    """Return the classification report of a confusion matrix, one row per class.

    Args:
        counts: Numbers of pixels, shape (3, 3), true classes first.

    Returns:
        Columns: ``precision`` (of the pixels predicted to be of the class, the fraction that is),
        ``recall`` (of its pixels, the fraction predicted to be), ``f1`` (their harmonic mean),
        ``iou`` (intersection over union of its true and predicted pixels) and ``support`` (its
        true pixels). NaN where there is nothing to divide by.
    """
    both = np.diag(counts)
    predicted, true = counts.sum(axis=0), counts.sum(axis=1)
    values = {
        "precision": _divided(both, predicted),
        "recall": _divided(both, true),
        "f1": _divided(2 * both, predicted + true),
        "iou": _divided(both, predicted + true - both),
        "support": true,
    }
    return pd.DataFrame(values, index=pd.Index(CLASS_NAMES, name="class"))


def _divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the fractions, NaN where there is nothing to divide by."""
    nothing = np.full(len(numerator), np.nan)
    return np.divide(numerator, denominator, out=nothing, where=denominator > 0)
