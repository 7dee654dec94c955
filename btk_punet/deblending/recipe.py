"""What goes with a network's weights besides the network: calibration, and what they are for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from btk_punet.deblending.evidence_network import EvidenceNetwork
from btk_punet.deblending.log_odds import LogitLine, SurroundingTerms, check_number
from btk_punet.deblending.unseen import UnseenSources
from btk_punet.errors import InputError, InputTypeError
from btk_punet.files import read_json, write_json

RECIPE_FILE = "detection.json"


def _check_kind(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InputTypeError(
            f"expected {name} as a {kind.__name__}, got {value!r}; make one, or leave it out"
        )


@dataclass(frozen=True)
class LightCalibration:
    """What makes the errors of a fit hold 68%, from those that its covariance gives.

    Each error is ``sqrt((scale * sigma)^2 + floor^2)``: the scale is for what noise does, the floor
    for what no smooth profile can follow, which shows in bright galaxies. The defaults were fitted
    on isolated galaxies, groups and pairs at one exposure and groups at four, of the seeds 770100
    and 770200 of ``benchmarks/light.py``.

    Attributes:
        place_scale: Of the places.
        place_floor_radii: Of the places, as a share of the half-light radius.
        flux_scale: Of the fluxes.
        flux_floor: Of the fluxes, as a share of them.

    Raises:
        InputError: for a scale that is not above 0, or a floor below 0.
    """

    place_scale: float = 1.12
    place_floor_radii: float = 0.001
    flux_scale: float = 1.1
    flux_floor: float = 0.01

    def __post_init__(self) -> None:
        """Check the factors."""
        for name in ("place_scale", "flux_scale"):
            check_number(name, getattr(self, name), above=0)
        for name in ("place_floor_radii", "flux_floor"):
            check_number(name, getattr(self, name), least=0)


def reweighted(probability: np.ndarray, odds_ratio: float) -> np.ndarray:
    """Return probabilities as they are under other prior odds (Bayes' theorem).

    For ``p_detect`` of sources that are so many times as dense as in the scenes of the training,
    as long as there is less than one of them to be expected at any one place: the odds that one
    is here grow with the density. For ``p_blend`` where blends are a share ``f`` of the sources
    instead of ``g``: the ratio is ``f / (1 - f)`` over ``g / (1 - g)``.

    Args:
        probability: Any shape.
        odds_ratio: New prior odds over the old ones, above 0.

    Raises:
        InputError: for a ratio that is not a number above 0.
    """
    if not 0 < odds_ratio < np.inf:
        raise InputError(f"odds_ratio must be a number above 0, got {odds_ratio!r}; 1 is no change")
    probability = np.asarray(probability, float)
    return odds_ratio * probability / (1 - probability + odds_ratio * probability)


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
        light: Calibration of fitted places and fluxes. It hangs on the fit and hardly on the
            network, so that a file without it has the default.
        surroundings: What depth, density, light and neighbours of a candidate add to the log odds
            of `p_detect`; nothing in a file without it.
        evidence: What becomes of `p_detect` where the light is fitted; in a file without it, it
            stays as it is.
        unseen: How many sources leave no candidate; none in a file without it.

    Raises:
        InputError: for a value with which probabilities or errors would be wrong: a slope or scale
            that is not above 0, a number that is not finite, a range that is reversed.
    """

    p_detect: LogitLine = LogitLine()
    p_blend: LogitLine = LogitLine()
    position_scale: float = 1.0
    pixel_scale_arcsec: float | None = None
    psf_fwhm_arcsec: tuple[float, float] | None = None
    light: LightCalibration = LightCalibration()
    surroundings: SurroundingTerms = SurroundingTerms()
    evidence: EvidenceNetwork = EvidenceNetwork()
    unseen: UnseenSources = UnseenSources()

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("p_detect", "p_blend"):
            line = getattr(self, name)
            _check_kind(name, line, LogitLine)
            # Else what the network holds for more probable would be called less so.
            check_number(f"{name}.slope", line.slope, above=0)
        _check_kind("light", self.light, LightCalibration)
        _check_kind("surroundings", self.surroundings, SurroundingTerms)
        _check_kind("evidence", self.evidence, EvidenceNetwork)
        _check_kind("unseen", self.unseen, UnseenSources)
        check_number("position_scale", self.position_scale, above=0)
        if self.pixel_scale_arcsec is not None:
            check_number("pixel_scale_arcsec", self.pixel_scale_arcsec, above=0)
        if self.psf_fwhm_arcsec is not None:
            if not isinstance(self.psf_fwhm_arcsec, tuple) or len(self.psf_fwhm_arcsec) != 2:
                raise InputError(
                    "expected psf_fwhm_arcsec as the smallest and the largest FWHM, got "
                    f"{self.psf_fwhm_arcsec!r}; give for example (0.14, 0.2), or None"
                )
            low, high = self.psf_fwhm_arcsec
            check_number("psf_fwhm_arcsec[0]", low, above=0)
            check_number("psf_fwhm_arcsec[1]", high, least=low)

    def save(self, folder: str | Path) -> None:
        """Write the recipe beside the weights in a folder."""
        content = dataclasses.asdict(self) | {"evidence": self.evidence.to_json()}
        write_json(content, Path(folder) / RECIPE_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> DetectionRecipe:
        """Read the recipe beside the weights in a folder; where there is none, it changes nothing.

        Raises:
            InputError: if the file holds something else.
        """
        path = Path(folder) / RECIPE_FILE
        if not path.exists():
            return cls()
        content = read_json(path)
        optional = {
            "light": LightCalibration,
            "surroundings": SurroundingTerms,
            "unseen": UnseenSources,
        }
        needed = {field.name for field in dataclasses.fields(cls)} - {*optional, "evidence"}
        missing = needed - content.keys()
        if missing:
            raise _no_recipe(path, f"it lacks {', '.join(sorted(missing))}")
        try:
            for name in ("p_detect", "p_blend"):
                content[name] = LogitLine(**content[name])
            if isinstance(content["psf_fwhm_arcsec"], list):
                content["psf_fwhm_arcsec"] = tuple(content["psf_fwhm_arcsec"])
            made = {name: kind(**content.get(name, {})) for name, kind in optional.items()}
            made["evidence"] = EvidenceNetwork.from_json(content.get("evidence", []))
            return cls(**{**content, **made})
        except (InputError, TypeError) as error:
            raise _no_recipe(path, str(error)) from error


def _no_recipe(path: Path, problem: str) -> InputError:
    return InputError(
        f"'{path}' is not a detection recipe: {problem}. Fit it with btk-punet calibrate, or take "
        "it from where the weights came."
    )
