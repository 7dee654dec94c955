"""How good the maps of a posterior are, over any number of scenes: classes, centres, spread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.scenes import is_real, scene_truth
from btk_punet.evaluation.scoring.spread import PosteriorSpread
from btk_punet.evaluation.statistics.pixels import PixelScores
from btk_punet.evaluation.statistics.reliability import Reliability
from btk_punet.simulation.labels import CLASS_NAMES, covered_pixels
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import background_variance, reference_band


class MapScores:
    """Samples of class and centre maps against the truth of BTK's blends.

    What is said of a pixel by itself is the mean over samples. One sample, which says how the
    pixels of one answer hang together, is scored beside it: by the log loss it must be worse (the
    logarithm is concave), and by no more than rounding if the samples do not differ.

    Attributes:
        classes: `PixelScores` of the mean over samples.
        one_sample_classes: The same of the samples, each by itself, all counted together.
        centres: `Reliability` of the mean over samples of the probability that a pixel holds the
            centre of a source (see `centre_map`).
        one_sample_centres: The same of the samples.
        spread: `PosteriorSpread` of the samples.
        n_scenes: Number of scenes.
    """

    def __init__(self) -> None:
        self.classes, self.one_sample_classes = PixelScores(), PixelScores()
        self.centres, self.one_sample_centres = Reliability(), Reliability()
        self.spread = PosteriorSpread()
        self.n_scenes = 0

    def add(self, blend_batch: BlendBatch, samples: Mapping[str, np.ndarray]) -> None:
        """Count a batch of scenes.

        Args:
            blend_batch: The scenes.
            samples: What `ProbaUNet.sample` gives: ``class``, shape (n, b, H, W, 3), and
                ``centre``, shape (n, b, H, W).

        Raises:
            InputError: if the maps do not fit the batch.
        """
        size = blend_batch.image_size
        images = (blend_batch.batch_size, size, size)
        by_class, by_centre = np.asarray(samples["class"]), np.asarray(samples["centre"])
        n_samples = len(by_class)
        shapes = {"class": (n_samples, *images, 3), "centre": (n_samples, *images)}
        if (
            not n_samples
            or by_class.shape != shapes["class"]
            or by_centre.shape != shapes["centre"]
        ):
            raise InputError(
                f"Expected one sample or more of maps of {images[0]} scenes of {size} x {size} "
                f"pixels, got class {by_class.shape} and centre {by_centre.shape}."
            )
        variance = by_class.argmax(axis=-1).var(axis=0)
        classes, centres = np.zeros(images, np.uint8), np.zeros(images, bool)
        band = reference_band(blend_batch.survey)
        for scene in range(blend_batch.batch_size):
            truth = scene_truth(blend_batch, scene, band)
            covered = source_footprints(blend_batch, scene, band)
            classes[scene] = np.minimum(covered.sum(axis=0), 2)
            centres[scene] = centre_map(truth, size)
            self.spread.add(variance[scene], covered, truth)
        self.classes.add(by_class.mean(axis=0, dtype=float), classes)
        self.centres.add(by_centre.mean(axis=0, dtype=float), centres)
        for class_sample, centre_sample in zip(by_class, by_centre, strict=True):
            self.one_sample_classes.add(class_sample, classes)
            self.one_sample_centres.add(centre_sample, centres)
        self.n_scenes += blend_batch.batch_size

    def reliability_tables(self) -> dict[str, pd.DataFrame]:
        """Return the reliability of each class and of the centre map, by name."""
        everything = self.classes.reliability | {"centre": self.centres}
        return {name: reliability.table() for name, reliability in everything.items()}

    def summary(self) -> dict[str, float]:
        """Return the figures of all scenes by name; log losses in nats per pixel.

        ``*_gain`` is by how much the mean over samples is better than one sample.
        """
        report, one_report = self.classes.report(), self.one_sample_classes.report()
        spread = self.spread.table()
        pairs = {
            "class_log_loss": (self.classes.log_loss(), self.one_sample_classes.log_loss()),
            "centre_log_loss": (self.centres.log_loss(), self.one_sample_centres.log_loss()),
        }
        figures = {f"iou_{name}": float(report.loc[name, "iou"]) for name in CLASS_NAMES}
        figures["mean_iou"] = float(report["iou"].mean())
        figures["mean_iou_one_sample"] = float(one_report["iou"].mean())
        for name, error in self.classes.calibration_errors().items():
            figures[f"calibration_error_{name}"] = error
        figures["calibration_error_centre"] = self.centres.expected_calibration_error()
        for name, (mean, one) in pairs.items():
            figures |= {name: mean, f"{name}_one_sample": one, f"{name}_gain": one - mean}
        for name, kind in zip(("blended", "isolated"), spread.index, strict=True):
            figures[f"variance_{name}"] = float(spread.loc[kind, "variance"])
            figures[f"variance_{name}_n_sources"] = int(spread.loc[kind, "n_sources"])
        figures["variance_ratio"] = self.spread.ratio()
        return figures

    def __str__(self) -> str:
        report = self.classes.report().rename(columns={"f1": "F1", "iou": "IoU"})
        matrix = self.classes.confusion_matrix()
        errors = self.classes.calibration_errors()
        figures = self.summary()
        spread = self.spread.table()
        lines = [
            _text(report.rename_axis(None), "{:.4f}"),
            f"mean IoU {figures['mean_iou']:.4f}, of one sample "
            f"{figures['mean_iou_one_sample']:.4f}",
            "",
            "Confusion matrix, pixels (rows: true classes, columns: the most probable)",
            _text(matrix.rename_axis(None).rename_axis(None, axis=1), "{:.0f}"),
            "",
            "Expected calibration error of the class probabilities, where p(background) < 0.9",
            "  " + ", ".join(f"{name} {error:.4f}" for name, error in errors.items()),
            "",
            "Log loss [nat/pixel]     mean map  one sample        gain",
        ]
        for name in ("class", "centre"):
            values = [figures[f"{name}_log_loss{end}"] for end in ("", "_one_sample", "_gain")]
            lines.append(f"  {name:<20}" + "".join(f"{value:12.6f}" for value in values))
        lines += ["", "Variance of the class over samples, mean over the pixels of a footprint"]
        for kind, row in spread.iterrows():
            lines.append(f"  {kind:<22}{row['variance']:10.5f}  ({row['n_sources']:.0f} sources)")
        return "\n".join([*lines, f"  {'ratio':<22}{figures['variance_ratio']:10.2f}"])


def source_footprints(blend_batch: BlendBatch, scene: int, band: int, k: float = 1.0) -> np.ndarray:
    """Return which pixels belong to each source: where its flux exceeds k sigma (see `labels`).

    Args:
        blend_batch: The scenes.
        scene: Number of the scene in the batch.
        band: Index of the band.
        k: Threshold [sigma of the background].

    Returns:
        Booleans of shape (n, H, W). Their sum, cut at 2, is the scene's `class_map`.
    """
    catalog, survey = blend_batch.catalog_list[scene], blend_batch.survey
    sigma = np.sqrt(background_variance(survey, survey.get_filter(survey.available_filters[band])))
    isolated = blend_batch.isolated_images[scene][: len(catalog), band]
    # Only images of real galaxies hold noise that is to be told from the galaxy.
    if not is_real(catalog):
        return covered_pixels(isolated, sigma, k)
    x, y = (np.asarray(catalog[name], float) for name in ("x_peak", "y_peak"))
    return covered_pixels(isolated, sigma, k, x, y)


def scene_class_map(blend_batch: BlendBatch, scene: int, k: float = 1.0) -> np.ndarray:
    """Return `class_map` of a scene of a batch, in the reference band.

    Args are those of `source_footprints`.

    Returns:
        Classes 0, 1 and 2, uint8, shape (H, W).
    """
    covered = source_footprints(blend_batch, scene, reference_band(blend_batch.survey), k)
    return np.minimum(covered.sum(axis=0), 2).astype(np.uint8)


def centre_map(truth: pd.DataFrame, size: int) -> np.ndarray:
    """Return which pixels hold the centre of a source that training marks (`NEIGHBOUR_SNR`).

    Args:
        truth: What `scene_truth` says of each source.
        size: Side of the image [pixel].

    Returns:
        Booleans of shape (size, size).
    """
    centres = np.zeros((size, size), bool)
    bright = truth[truth["alone_snr"] > NEIGHBOUR_SNR]
    column, row = (np.floor(bright[name].to_numpy() + 0.5).astype(int) for name in ("x", "y"))
    inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < size)
    centres[row[inside], column[inside]] = True
    return centres


def _text(table: pd.DataFrame, form: str) -> str:
    return table.to_string(float_format=form.format, formatters={"support": "{:.0f}".format})
