"""Fits the calibration that goes with a network's weights, on scenes of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from tqdm.auto import tqdm

from btk_punet.deblending.base import told_scenes
from btk_punet.deblending.calling import call_method
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.evidence_network import EvidenceNetwork, Measures
from btk_punet.deblending.log_odds import SURE_SHARE, LogitLine, SurroundingTerms, fit_log_odds
from btk_punet.deblending.noise import noise_normalised
from btk_punet.deblending.recipe import DetectionRecipe
from btk_punet.deblending.surroundings import Surroundings, density_of, depth_of
from btk_punet.deblending.unseen import UnseenSources
from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.candidates import batch_candidates
from btk_punet.evaluation.statistics.counts import true_counts
from btk_punet.evaluation.studies.probabilities.blends import blend_probabilities
from btk_punet.files import read_json
from btk_punet.model.weights import CONFIG_FILE, is_told_density, weights_folder
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.density import (
    NEIGHBOUR_MAGNITUDE,
    even_weights,
    galaxies_per_arcmin2,
)
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import (
    EuclidFieldSampling,
    EuclidGroupSampling,
    EuclidPairSampling,
    EuclidSampling,
)
from btk_punet.simulation.survey import background_variance, get_euclid_survey
from btk_punet.training.config import TRAINING_FILE, TrainingConfig
from btk_punet.training.generator import HeldOutGalaxyGenerator

# Neither the benchmark's seeds, nor the training's.
CALIBRATION_SEED = 20_261_001
CALIBRATION_GALAXIES = 30_000
BATCH_SIZE = 50
# A field is as large as 16 of the others.
FIELD_BATCH_SIZE = 4
_SURROUNDINGS = [field.name for field in fields(Surroundings)]
_MEASURES = [field.name for field in fields(Measures)]
# Candidates are kept down to a probability of 0.02. Those down to a mass of 0.005 are in the number
# of sources of an image too: for the fit all are lifted, and the threshold with them.
_LIFT = 1.5
# Added to the seed for the scenes on which the fit of light is evidence.
EVIDENCE_SEED = 50
# So many times as many scenes as for the rest, because the network that weighs it has thousands of
# numbers; and as many of them with galaxies of the training as with those of the calibration, which
# are few: what the fit of light says of the two is alike.
EVIDENCE_SCENES, EVIDENCE_PARTS = 2, ("calibration", "training")
# Added to the seed for each further part.
PART_SEED = 25
# Half-width of a Gaussian that holds 68% of it, in sigma.
_CONTAINED = 0.6827


@dataclass(frozen=True)
class _Condition:
    """Scenes of one kind.

    Attributes:
        sampling: Makes the sampling function.
        share: Share of the scenes; four fields count as 50.
        n_exposures: Exposures of the survey.
        read_noise: Read noise of one exposure [electron].
        fwhm: FWHM of the PSF before the pixel [arcsec].
        real: Whether the bright galaxies are real ones, where there is a file of them.
        weight: What all candidates of the kind together count in the fit of `p_detect`, and all
            images in that of unseen sources.
        of_evidence: Whether it is for the fit of the evidence alone.
    """

    sampling: Callable[[], EuclidSampling]
    share: float
    n_exposures: int
    read_noise: float
    fwhm: float
    real: bool = False
    weight: float = 1.0
    of_evidence: bool = False


class _BrightGroups(EuclidGroupSampling):
    """Groups in which every half magnitude is as likely, so that bright galaxies are common."""

    def _weights(self, magnitude: np.ndarray) -> np.ndarray:
        return even_weights(magnitude, self.min_mag, self.max_mag)


class _BrightSky(EuclidFieldSampling):
    """Fields in which every half magnitude is as likely, with as many bright sources as the sky.

    That is, of those brighter than `NEIGHBOUR_MAGNITUDE`, which the density ratio counts.
    """

    def __init__(self) -> None:
        low, high = 18.0, 26.5
        bright = galaxies_per_arcmin2(NEIGHBOUR_MAGNITUDE) - galaxies_per_arcmin2(low)
        density = bright * (high - low) / (NEIGHBOUR_MAGNITUDE - low)
        super().__init__(density=density, clustered_fraction=0.0, min_mag=low, max_mag=high)

    density_ratio = 1.0

    def _weights(self, magnitude: np.ndarray) -> np.ndarray:
        return even_weights(magnitude, self.min_mag, self.max_mag)


def _bright_pairs() -> EuclidPairSampling:
    return EuclidPairSampling(9.6, min_mag=18.0, max_mag=23.0)


_CONDITIONS = (
    _Condition(EuclidGroupSampling, 0.25, 1, 0.0, 0.15),
    _Condition(EuclidGroupSampling, 0.25, 4, 4.4, 0.17),
    _Condition(EuclidGroupSampling, 0.20, 2, 4.4, 0.19),
    _Condition(EuclidPairSampling, 0.25, 1, 0.0, 0.17),
    _Condition(EuclidFieldSampling, 0.05, 1, 0.0, 0.165),
)
# Of networks that are told how dense sources lie, each time of what the sampling says.
_TOLD_CONDITIONS = (
    _Condition(EuclidGroupSampling, 0.105, 1, 0.0, 0.15, weight=2.0),
    _Condition(EuclidGroupSampling, 0.11, 4, 4.4, 0.17, weight=2.0),
    _Condition(EuclidGroupSampling, 0.09, 2, 4.4, 0.19, weight=2.0),
    _Condition(EuclidPairSampling, 0.09, 1, 0.0, 0.17),
    _Condition(_bright_pairs, 0.04, 1, 0.0, 0.16),
    _Condition(_bright_pairs, 0.03, 1, 0.0, 0.165, real=True),
    _Condition(_BrightGroups, 0.03, 1, 0.0, 0.16),
    _Condition(EuclidFieldSampling, 0.10, 1, 0.0, 0.165, weight=1.5),
    _Condition(EuclidFieldSampling.sky, 0.13, 4, 4.4, 0.16, real=True, weight=1.5),
    _Condition(EuclidFieldSampling.sky, 0.05, 1, 0.0, 0.18, real=True),
    _Condition(_BrightSky, 0.04, 1, 0.0, 0.16, real=True, of_evidence=True),
    _Condition(_BrightSky, 0.03, 4, 4.4, 0.165, real=True, of_evidence=True),
    _Condition(EuclidGroupSampling, 0.045, 4, 4.4, 0.16, real=True),
    _Condition(EuclidGroupSampling, 0.045, 1, 0.0, 0.17, real=True),
    _Condition(_BrightGroups, 0.03, 4, 4.4, 0.16, real=True),
    _Condition(_BrightGroups, 0.035, 1, 0.0, 0.17, real=True),
)


def fit_recipe(
    weights: str | Path,
    n_scenes: int = 3000,
    *,
    n_samples: int = 16,
    real_galaxies: str | Path | None = None,
    seed: int = CALIBRATION_SEED,
    pixel_scale_arcsec: float | None = 0.1,
    psf_fwhm_arcsec: tuple[float, float] | None = (0.14, 0.20),
    progress: bool = True,
) -> DetectionRecipe:
    """Fit the calibration of a network's detections, and write it beside the weights.

    Groups, pairs and fields of Euclid-like galaxies at 1, 2 and 4 exposures and five PSFs are
    drawn. A line in the log of the odds, and what the surroundings of a candidate add to it (see
    `Surroundings`), are fitted to whether candidates down to a mass of 0.005 came true (see
    `outcomes`), each kind of scenes with its own weight, and the number of sources that left no
    candidate to what is missing. Another line is fitted to whether the source that a detection
    matched is overlapped. The scale of the position errors is such that they hold 68% of the
    matched true positions. On twice as many other scenes the light is fitted, and a small network
    is fitted to what is then known of the candidates (see `Measures`).

    A network that is told how dense sources lie is told that of each kind of scenes, and there are
    more kinds: pairs of bright galaxies, fields as dense as the sky, and groups and such fields in
    which every half magnitude is as likely. Where there is a file of real galaxies, those brighter
    than I_E = 24.5 are real in some scenes of each kind but the other pairs and fields.

    Args:
        weights: Folder that `ProbaUNet.save` wrote, or that of a training run, of Euclid's band.
        n_scenes: Number of scenes; a field counts as some.
        n_samples: Samples of each image.
        real_galaxies: File of real galaxies (see `read_real_galaxies`), for a network that is told
            densities: the half of those held out of training that is there to calibrate on (see
            `part_of`), and for the evidence those of the training too. Without it these galaxies
            are as the others.
        seed: Seed of galaxies and scenes.
        pixel_scale_arcsec: What the network was trained for, as in `DetectionRecipe`.
        psf_fwhm_arcsec: The same.
        progress: Whether to show a progress bar.

    Returns:
        The recipe, also written to ``detection.json`` in the folder, when all scenes are done.

    Raises:
        InputError: for too few scenes, a network whose scenes these are not, or one that finds
            nothing or everything.
        CatalogError: if the file of real galaxies has none to calibrate on.
    """
    if n_scenes < 20:
        raise InputError(f"expected n_scenes of at least 20, got {n_scenes}; take some thousands")
    folder = weights_folder(weights)
    check_drawable(folder)
    conditions = conditions_of(folder)
    if real_galaxies is not None and not any(condition.real for condition in conditions):
        raise InputError(
            f"real_galaxies would be ignored: '{folder}' is not told how dense sources lie, and "
            "its calibration is of simulated galaxies alone. Leave it out."
        )
    recipe = DetectionRecipe(pixel_scale_arcsec=pixel_scale_arcsec, psf_fwhm_arcsec=psf_fwhm_arcsec)
    # The errors of places are those of the network's own, which the fit of light starts from.
    lifted = LogitLine(1.0, _LIFT)
    deblender = ProbaUNetDeblender(
        400, folder, n_samples, threshold=float(lifted(np.array(0.5))), light=False
    ).with_recipe(replace(recipe, p_detect=lifted))
    _ = deblender.network  # before there are copies that are told of their scenes
    of_evidence = {kind for kind, condition in enumerate(conditions) if condition.of_evidence}
    drawn = [
        _scenes(conditions, n_scenes, seed, real_galaxies, left_out=of_evidence),
        _scenes(
            conditions,
            EVIDENCE_SCENES * n_scenes,
            seed + EVIDENCE_SEED,
            real_galaxies,
            EVIDENCE_PARTS,
        ),
    ]
    bar = tqdm(
        total=sum(scenes.n_batches for kinds in drawn for scenes in kinds),
        unit="batch",
        disable=not progress,
    )
    parts = [_outcomes(*batch) for batch in _batches(drawn[0], deblender, bar)]
    candidates, matched, images = (
        pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)
    )
    offsets = np.abs(np.concatenate([matched["x_offset"], matched["y_offset"]]))
    p_detect, surroundings = _fit_detection(candidates, conditions)
    unseen = UnseenSources.fit(
        images["unseen"].to_numpy(),
        images["n_pixels"].to_numpy(),
        images["depth"].to_numpy(),
        images["density"].to_numpy(),
        _weights(images["kind"].to_numpy(), conditions),
    )
    recipe = replace(
        recipe,
        p_detect=p_detect,
        surroundings=surroundings,
        unseen=unseen,
        p_blend=LogitLine.fit(matched["p_blend"], matched["overlapped"]),
        position_scale=float(np.quantile(offsets, _CONTAINED)),
    )
    deblender = ProbaUNetDeblender(400, folder, n_samples).with_recipe(recipe)
    asked = [_evidence(*batch) for batch in _batches(drawn[1], deblender, bar)]
    bar.set_description("fitting the evidence")
    recipe = replace(
        recipe, evidence=_fit_evidence(pd.concat(asked, ignore_index=True), conditions)
    )
    bar.close()
    recipe.save(folder)
    return recipe


def _fit_detection(
    candidates: pd.DataFrame, conditions: tuple[_Condition, ...]
) -> tuple[LogitLine, SurroundingTerms]:
    """Return what takes the masses of candidates to probabilities.

    Args:
        candidates: With ``kind``, the number of their condition, and what `_outcomes` returns.
        conditions: Where the weights are from.
    """
    columns = (candidates[name].to_numpy() for name in _SURROUNDINGS)
    mass = LogitLine(1.0, -_LIFT)(candidates["p_detect"])
    line, numbers = fit_log_odds(
        mass,
        candidates["outcome"],
        SurroundingTerms.values(Surroundings(*columns), mass),
        _weights(candidates["kind"].to_numpy(), conditions),
        SURE_SHARE,
    )
    return line, SurroundingTerms(*map(float, numbers))


def _fit_evidence(candidates: pd.DataFrame, conditions: tuple[_Condition, ...]) -> EvidenceNetwork:
    """Return what becomes of the probabilities of candidates by what is known of them.

    Half of what each counts is for what it was told of the galaxies, half for nothing told.

    Args:
        candidates: With ``kind``, the number of their condition, and what `_evidence` returns.
        conditions: Where the weights are from.
    """
    both = pd.concat([candidates, candidates.assign(real=0.0)], ignore_index=True)
    return EvidenceNetwork.fit(
        Measures(*(both[name].to_numpy() for name in _MEASURES)),
        both["outcome"].to_numpy(),
        _weights(both["kind"].to_numpy(), conditions),
    )


def _weights(kind: np.ndarray, conditions: tuple[_Condition, ...]) -> np.ndarray:
    """Return what each candidate, or image, of some kind counts: 1 in the mean of all."""
    numbers = np.maximum(np.bincount(kind, minlength=len(conditions)), 1)
    each = (np.array([condition.weight for condition in conditions]) / numbers)[kind]
    return each / each.mean()


def check_drawable(folder: Path) -> None:
    """Raise where the scenes of the calibration would not be those that a network was made for.

    Args:
        folder: Folder of the network; the choices of its training lie there or one above.

    Raises:
        InputError: for a network of several bands, or of another survey.
    """
    network = read_json(folder / CONFIG_FILE)
    n_bands = network.get("n_bands", 1)
    if n_bands != 1:
        raise InputError(
            f"'{folder}' is a network of {n_bands} bands, and the scenes of the "
            "calibration are of Euclid's VIS band alone: its probabilities stay as they are"
        )
    for place in (folder, folder.parent):
        if (place / TRAINING_FILE).is_file():
            survey = TrainingConfig.from_file(place / TRAINING_FILE).survey
            if survey != "euclid":
                raise InputError(
                    f"'{folder}' was trained on blends of {survey}, and the scenes of the "
                    "calibration are Euclid's: its probabilities stay as they are"
                )
            break


def conditions_of(folder: Path) -> tuple[_Condition, ...]:
    """Return the kinds of scenes on which a network is calibrated."""
    return _TOLD_CONDITIONS if is_told_density(folder) else _CONDITIONS


@dataclass(frozen=True)
class _Scenes:
    """What is drawn of a condition, which `kind` is the number of."""

    kind: int
    generator: EuclidGenerator
    n_batches: int


def _scenes(
    conditions: tuple[_Condition, ...],
    n_scenes: int,
    seed: int,
    real_galaxies: str | Path | None,
    parts: tuple[str, ...] = ("calibration",),
    left_out: Collection[int] = (),
) -> list[_Scenes]:
    """Return what is drawn of each condition but those whose numbers are left out.

    Args:
        conditions: The kinds of scenes.
        n_scenes: Of all kinds together.
        seed: Of galaxies and scenes.
        real_galaxies: Their file, or None.
        parts: Which of these are drawn, each in as many scenes (see `part_of`).
        left_out: Numbers of the conditions that are left out.
    """
    bright = {} if conditions is _CONDITIONS else {"min_mag": 18.0}
    catalog = EuclidCatalog.simulate(CALIBRATION_GALAXIES, seed, **bright)
    scenes = []
    for number, condition in enumerate(conditions):
        if number in left_out:
            continue
        kinds: list[tuple[type[EuclidGenerator], dict]] = [(EuclidGenerator, {})]
        if condition.real and real_galaxies is not None:
            kinds = [
                (HeldOutGalaxyGenerator, {"real_galaxies": real_galaxies, "part": part})
                for part in parts
            ]
        for one, (kind, options) in enumerate(kinds):
            sampling = condition.sampling()
            is_field = isinstance(sampling, EuclidFieldSampling)
            generator = kind(
                catalog,
                sampling,
                get_euclid_survey(condition.n_exposures, condition.read_noise, condition.fwhm),
                batch_size=FIELD_BATCH_SIZE if is_field else BATCH_SIZE,
                seed=seed + number + PART_SEED * one,
                **options,
            )
            n_batches = max(round(condition.share * n_scenes / BATCH_SIZE / len(kinds)), 1)
            scenes.append(_Scenes(number, generator, n_batches))
    return scenes


def _batches(
    drawn: list[_Scenes],
    deblender: ProbaUNetDeblender,
    bar: tqdm | None = None,
) -> Iterator[tuple[BlendBatch, ProbaUNetDeblender, int]]:
    """Yield the batches, for each the deblender that is told of its scenes, and their kind."""
    for scenes in drawn:
        method = told_scenes(deblender, scenes.generator)
        for _ in range(scenes.n_batches):
            yield next(scenes.generator), method, scenes.kind
            if bar is not None:
                bar.update()


def _outcomes(
    batch: BlendBatch, deblender: ProbaUNetDeblender, kind: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return what is to be calibrated on a batch.

    Args:
        batch: Scenes of one kind.
        deblender: Whose recipe changes nothing but for the lift.
        kind: Number of the kind.

    Returns:
        The candidates with their surroundings, the matched detections with what is true of each,
        and a row for each image with the number of its sources that left no candidate.
    """
    deblended = call_method(deblender, batch)
    truth, found = batch_tables(batch, {"": deblended}, with_limit=False)
    candidates = batch_candidates(batch, {"": deblended}, truth)
    matched = blend_probabilities(batch, {"": deblended}, found)
    places = truth[["scene", "source", "x", "y"]]
    matched = matched.merge(places, on=["scene", "source"], suffixes=("", "_true"))
    for axis in ("x", "y"):
        offset = matched[axis] - matched[f"{axis}_true"]
        matched[f"{axis}_offset"] = offset / matched[f"{axis}_err"]
    candidates = candidates.sort_values(["scene", "p_detect"], ascending=[True, False])
    n_scenes, size = batch.batch_size, batch.image_size
    variance = background_variance(batch.survey, batch.survey.get_filter("IE"))
    ratio = deblender.fixed_density_ratio
    surroundings = Surroundings.measure(
        candidates["scene"].to_numpy(),
        candidates["x"].to_numpy(),
        candidates["y"].to_numpy(),
        LogitLine(1.0, -_LIFT)(candidates["p_detect"].to_numpy()),
        noise_normalised(batch)[..., 0],
        variance,
        ratio,
    )
    came_true = np.bincount(
        candidates["scene"].to_numpy(int), candidates["outcome"].to_numpy(float), n_scenes
    )
    images = pd.DataFrame(
        {
            "kind": kind,
            "unseen": np.maximum(true_counts(truth, size, n_scenes) - came_true, 0),
            "n_pixels": size**2,
            "depth": float(depth_of(variance)),
            "density": density_of(ratio),
        }
    )
    candidates = candidates.assign(kind=kind, **vars(surroundings))
    return candidates[candidates["in_bounds"]], matched, images


def _evidence(batch: BlendBatch, deblender: ProbaUNetDeblender, kind: int) -> pd.DataFrame:
    """Return the candidates of a batch, whether each came true, and what it was judged by.

    Args:
        batch: Scenes of one kind.
        deblender: Whose recipe weighs no evidence yet.
        kind: Number of the kind.
    """
    deblended = call_method(deblender, batch)
    truth, _ = batch_tables(batch, {"": deblended}, with_limit=False)
    candidates = batch_candidates(batch, {"": deblended}, truth)
    asked = pd.concat(
        [
            extra["evidence"]
            .to_pandas()
            .assign(scene=scene, candidate=range(len(extra["evidence"])))
            for scene, extra in enumerate(deblended.extra_data)
        ],
        ignore_index=True,
    )
    candidates = candidates.merge(asked, on=["scene", "candidate"])
    return candidates[candidates["in_bounds"]].assign(kind=kind)
