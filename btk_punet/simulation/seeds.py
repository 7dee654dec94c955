"""Random streams of a sampling function, seeded afresh for each scene."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from btk.sampling_functions import SamplingFunction


def reseeded(sampling, seed: np.random.SeedSequence):
    """Return a copy of a sampling function, and of those that it holds, with fresh streams."""
    fresh = copy.copy(sampling)
    for name, value in vars(sampling).items():
        if isinstance(value, np.random.Generator):
            setattr(fresh, name, np.random.default_rng(seed))
        elif isinstance(value, SamplingFunction):
            setattr(fresh, name, reseeded(value, seed.spawn(1)[0]))
        elif isinstance(value, list | tuple):
            items = [
                reseeded(item, seed.spawn(1)[0]) if isinstance(item, SamplingFunction) else item
                for item in value
            ]
            setattr(fresh, name, items)
    return fresh


@contextmanager
def numpy_global_seed(seed: np.random.SeedSequence) -> Iterator[None]:
    """Seed the global ``np.random``, on which some of BTK's samplings draw, and put it back."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed.generate_state(4))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
