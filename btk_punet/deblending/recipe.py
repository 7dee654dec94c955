"""What goes with a network's weights besides the network: calibration, and what they are for."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from btk_punet.errors import InputError
from btk_punet.files import write_json

RECIPE_FILE = "detection.json"


@dataclass(frozen=True)
class LogitLine:
    """A line in the logarithm of the odds, which takes probabilities to calibrated ones.

    Attributes:
        slope: Below 1 where the raw probabilities are too sure.
        intercept: Above 0 where they are too low.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities."""
        p = np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6)
        return 1 / (1 + np.exp(-(self.slope * np.log(p / (1 - p)) + self.intercept)))

    @classmethod
    def fit(cls, probability: np.ndarray, outcome: np.ndarray) -> LogitLine:
        """Return the line of largest likelihood (Platt 1999), by Newton's method.

        Args:
            probability: Raw probabilities, ``(n,)``.
            outcome: Whether it came true, ``(n,)``.

        Raises:
            InputError: if all outcomes are the same, or there are fewer than 10.
        """
        outcome = np.asarray(outcome, float)
        if len(outcome) < 10 or outcome.min() == outcome.max():
            raise InputError(
                f"expected 10 outcomes or more of both kinds to fit a calibration, got "
                f"{len(outcome)}; draw more scenes"
            )
        p = np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6)
        terms = np.stack([np.log(p / (1 - p)), np.ones_like(p)])
        line = np.array([1.0, 0.0])
        for _ in range(50):
            fitted = 1 / (1 + np.exp(-line @ terms))
            weight = fitted * (1 - fitted)
            hessian = (terms * weight) @ terms.T + 1e-9 * np.eye(2)
            step = np.linalg.solve(hessian, terms @ (outcome - fitted))
            line += step
            if np.abs(step).max() < 1e-9:
                break
        return cls(float(line[0]), float(line[1]))


@dataclass(frozen=True)
class DetectionRecipe:
    """How the maps of a network become detections, and which images it was trained for.

    Attributes:
        p_detect: From the mass of a candidate to the probability that it is a source.
        p_blend: From the largest probability of class 2 in a footprint to that of an overlap.
        position_scale: From the spread of the centre map to the half-width that holds 68% of the
            true positions.
        pixel_scale_arcsec: Pixel of the training images; None where it is not known.
        psf_fwhm_arcsec: Smallest and largest FWHM, before the pixel, of the training PSFs; None
            where they are not known.
    """

    p_detect: LogitLine = LogitLine()
    p_blend: LogitLine = LogitLine()
    position_scale: float = 1.0
    pixel_scale_arcsec: float | None = None
    psf_fwhm_arcsec: tuple[float, float] | None = None

    def save(self, folder: str | Path) -> None:
        """Write the recipe beside the weights in a folder."""
        write_json(dataclasses.asdict(self), Path(folder) / RECIPE_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> DetectionRecipe:
        """Read the recipe beside the weights in a folder; one that changes nothing if none is.

        Raises:
            InputError: if the file holds something else.
        """
        path = Path(folder) / RECIPE_FILE
        if not path.is_file():
            return cls()
        try:
            content = json.loads(path.read_text())
            for name in ("p_detect", "p_blend"):
                content[name] = LogitLine(**content[name])
            fwhm = content["psf_fwhm_arcsec"]
            return cls(**content | {"psf_fwhm_arcsec": fwhm and tuple(fwhm)})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"'{path}' is not a detection recipe ({error!r}): write it with "
                "DetectionRecipe.save"
            ) from error
