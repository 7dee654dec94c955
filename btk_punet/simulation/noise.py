"""Noise of the background of an image."""

import math

import numpy as np
from btk.survey import Filter, Survey

from btk_punet.simulation.survey import background_variance


def background_noise(
    survey: Survey, filt: Filter, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Return noise of the background [electron], of mean 0.

    Poisson noise of the sky and Gaussian read noise of every exposure for a survey of
    `get_euclid_survey`; Poisson noise of BTK's sky level for any other.
    """
    n_exposures = getattr(survey, "n_exposures", 1)
    sky = background_variance(survey, filt)
    read_variance = n_exposures * getattr(survey, "read_noise", 0.0) ** 2
    sky -= read_variance
    return rng.poisson(sky, shape) - sky + rng.normal(0.0, math.sqrt(read_variance), shape)
