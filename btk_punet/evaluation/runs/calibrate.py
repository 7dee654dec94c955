"""Fits the calibration that goes with a network's weights, on scenes of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from tqdm.auto import tqdm

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.recipe import DetectionRecipe, LogitLine
from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.candidates import batch_candidates
from btk_punet.evaluation.studies.probabilities.blends import blend_probabilities
from btk_punet.model.weights import weights_folder
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import (
    EuclidFieldSampling,
    EuclidGroupSampling,
    EuclidPairSampling,
)
from btk_punet.simulation.survey import get_euclid_survey
from btk_punet.training.generator import StructuredEuclidGenerator

# Neither the benchmark's seeds, nor the training's.
CALIBRATION_SEED = 20_261_001
CALIBRATION_GALAXIES = 30_000
BATCH_SIZE = 50
# Sampling, share of the scenes, exposures, read noise [electron] and FWHM of the PSF [arcsec].
_CONDITIONS = (
    (EuclidGroupSampling, 0.25, 1, 0.0, 0.15),
    (EuclidGroupSampling, 0.25, 4, 4.4, 0.17),
    (EuclidGroupSampling, 0.20, 2, 4.4, 0.19),
    (EuclidPairSampling, 0.25, 1, 0.0, 0.17),
    # A field is as large as 16 of the others.
    (EuclidFieldSampling, 0.05, 1, 0.0, 0.165),
)
# Half-width of a Gaussian that holds 68% of it, in sigma.
_CONTAINED = 0.6827


def fit_recipe(
    weights: str | Path,
    n_scenes: int = 3000,
    *,
    n_samples: int = 16,
    galaxies: str = "smooth",
    seed: int = CALIBRATION_SEED,
    pixel_scale_arcsec: float | None = 0.1,
    psf_fwhm_arcsec: tuple[float, float] | None = (0.14, 0.20),
    progress: bool = True,
) -> DetectionRecipe:
    """Fit the calibration of a network's detections, and write it beside the weights.

    Groups, pairs and fields of Euclid-like galaxies at 1, 2 and 4 exposures and five PSFs are
    drawn. A line in the log of the odds is fitted to whether candidates down to a probability of
    0.02 came true (see `outcomes`), and another to whether the source that a detection matched is
    overlapped. The scale of the position errors is such that they hold 68% of the matched true
    positions.

    Args:
        weights: Folder that `ProbaUNet.save` wrote, or that of a training run, of Euclid's band.
        n_scenes: Number of scenes.
        n_samples: Samples of each image.
        galaxies: Of which galaxies the scenes are, ``"smooth"`` or ``"structured"`` ones (see
            `StructuredEuclidGenerator`).
        seed: Seed of galaxies and scenes.
        pixel_scale_arcsec: What the network was trained for, as in `DetectionRecipe`.
        psf_fwhm_arcsec: The same.
        progress: Whether to show a progress bar.

    Returns:
        The recipe, also written to ``detection.json`` (or ``detection_structured.json``) in the
        folder.

    Raises:
        InputError: for too few scenes, other galaxies, or a network that finds nothing or
            everything.
    """
    if n_scenes < 20:
        raise InputError(f"expected n_scenes of at least 20, got {n_scenes}; take some thousands")
    recipe = DetectionRecipe(pixel_scale_arcsec=pixel_scale_arcsec, psf_fwhm_arcsec=psf_fwhm_arcsec)
    folder = weights_folder(weights)
    recipe.save(folder, galaxies)
    # The errors of places are those of the network's own, which the fit of light starts from.
    deblender = ProbaUNetDeblender(400, folder, n_samples, galaxies=galaxies, light=False)
    parts = [
        _outcomes(batch, deblender)
        for batch in tqdm(
            _batches(n_scenes, seed, galaxies),
            total=_n_batches(n_scenes),
            unit="batch",
            disable=not progress,
        )
    ]
    candidates, matched = (
        pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)
    )
    offsets = np.abs(np.concatenate([matched["x_offset"], matched["y_offset"]]))
    recipe = replace(
        recipe,
        p_detect=LogitLine.fit(candidates["p_detect"], candidates["outcome"]),
        p_blend=LogitLine.fit(matched["p_blend"], matched["overlapped"]),
        position_scale=float(np.quantile(offsets, _CONTAINED)),
    )
    recipe.save(folder, galaxies)
    return recipe


def _n_batches(n_scenes: int) -> int:
    return sum(max(round(share * n_scenes / BATCH_SIZE), 1) for _, share, *_ in _CONDITIONS)


def _batches(n_scenes: int, seed: int, galaxies: str) -> Iterator[BlendBatch]:
    catalog = EuclidCatalog.simulate(CALIBRATION_GALAXIES, seed)
    kind = StructuredEuclidGenerator if galaxies == "structured" else EuclidGenerator
    for number, (sampling, share, n_exposures, read_noise, fwhm) in enumerate(_CONDITIONS):
        large = sampling is EuclidFieldSampling
        generator = kind(
            catalog,
            sampling(),
            get_euclid_survey(n_exposures, read_noise, fwhm),
            batch_size=4 if large else BATCH_SIZE,
            seed=seed + number,
        )
        for _ in range(max(round(share * n_scenes / BATCH_SIZE), 1)):
            yield next(generator)


def _outcomes(
    batch: BlendBatch, deblender: ProbaUNetDeblender
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the candidates of a batch, and its matched detections with what is true of each."""
    deblended = deblender(batch)
    truth, found = batch_tables(batch, {"": deblended}, with_limit=False)
    candidates = batch_candidates(batch, {"": deblended}, truth)
    matched = blend_probabilities(batch, {"": deblended}, found)
    places = truth[["scene", "source", "x", "y"]]
    matched = matched.merge(places, on=["scene", "source"], suffixes=("", "_true"))
    for axis in ("x", "y"):
        offset = matched[axis] - matched[f"{axis}_true"]
        matched[f"{axis}_offset"] = offset / matched[f"{axis}_err"]
    return candidates[candidates["in_bounds"]], matched
