"""A run in words: what its scenes are, and which methods were trained on such."""

from __future__ import annotations

from collections.abc import Mapping

from btk.deblend import Deblender

from btk_punet.deblending.base import home_advantage
from btk_punet.simulation.choices import survey_of
from btk_punet.simulation.density import NEIGHBOUR_MAGNITUDE, NEIGHBOUR_RADIUS_ARCSEC
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import background_variance, pixel_scale_arcsec


def scenes_in_words(generator: SceneGenerator, n_blends: int) -> dict[str, str]:
    """Return what a reader must know of the scenes of a run, by what it is about.

    Args:
        generator: Draws the scenes.
        n_blends: Number of scenes.
    """
    survey, sampling = survey_of(generator), generator.sampling_function
    scale = pixel_scale_arcsec(survey)
    n_pixels = round(generator.stamp_size / scale)
    words = {
        "Scenes": (
            f"{n_blends:,} scenes of {generator.stamp_size:g} x {generator.stamp_size:g} arcsec "
            f"({n_pixels} x {n_pixels} pixels of {scale:g} arcsec), seed {generator.seed}"
        ),
        "Placing": _sampling(sampling),
        "Galaxies": f"drawn from the {len(generator.catalog.table):,} of the catalog "
        f"{generator.catalog.name}",
        "Survey": survey.name,
    }
    density_ratio = getattr(sampling, "density_ratio", None)
    if density_ratio:
        words["Density"] = (
            f"{density_ratio:.3g} times as many neighbours within {NEIGHBOUR_RADIUS_ARCSEC:g} "
            f"arcsec of a source, brighter than {NEIGHBOUR_MAGNITUDE:g} mag, as in the sky"
        )
    n_exposures = getattr(survey, "n_exposures", None)
    if n_exposures is not None:
        words["Survey"] += (
            f", {n_exposures} exposure{'s' * (n_exposures != 1)} with read noise of "
            f"{survey.read_noise:g} electrons each"
        )
    psfs = generator._get_psf_from_survey(survey)
    for name, psf in zip(survey.available_filters, psfs, strict=True):
        noise = background_variance(survey, survey.get_filter(name)) ** 0.5
        words[f"Band {name}"] = (
            f"PSF of {psf.calculateFWHM():.3g} arcsec (FWHM before the pixel), background noise of "
            f"{noise:.1f} electrons per pixel"
        )
    if generator.sky_residual_sigma:
        words["Sky residual"] = (
            f"{generator.sky_residual_sigma:g} times the background noise left in all pixels"
        )
    return words


def home_of(methods: Mapping[str, Deblender], generator: SceneGenerator) -> str:
    """Return which methods were trained on scenes like these, in sentences; empty if none says."""
    told = (home_advantage(method, generator) for method in methods.values())
    pairs = zip(methods, told, strict=True)
    return " ".join(f"{name} {words}." for name, words in pairs if words)


def _sampling(sampling: object) -> str:
    described = getattr(sampling, "description", "")
    if described:
        return described
    numbers = ", ".join(
        f"{name} = {value}"
        for name, value in sorted(vars(sampling).items())
        if not name.startswith("_") and isinstance(value, int | float | str)
    )
    return f"{type(sampling).__name__} ({numbers})"
