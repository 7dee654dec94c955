"""The fit of one scene by scarlet2: arrays in, arrays out, compiled once for many scenes.

`scarlet2.fit` compiles again at every call, which takes far longer than the fit. Here the scene of
scarlet2 holds one source, JAX maps it over all sources, and the loop over the steps is compiled
with it: for a shape of image, a PSF and a number of sources (rounded up to 4, 8, 16, ...) once.
Profile, rendering, likelihood, constraints and optimiser are scarlet2's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scarlet2
from jax.flatten_util import ravel_pytree
from numpyro.distributions import constraints
from scarlet2 import validation_utils

# Pixels. Resolution of the model: sharper than any PSF, yet broad enough for the pixel grid.
MODEL_PSF_SIGMA = 0.5
# Where the search begins: a round exponential disk, of about the size of a faint galaxy.
_START_INDEX, _START_SIZE = 1.0, 2.0
# An exponential disk of this size, seen through a PSF, peaks about so far above its surface
# brightness at the half-light radius, which is scarlet2's unit.
_PEAK_OVER_UNIT = 3.5
# So that few numbers of sources are compiled: powers of two from here on.
_FEWEST = 4
_NO_LIGHT = 1e-20  # of a source that fills the number up; its logarithm is finite

# Bounds of what is fitted: scarlet2's Sersic profile is stable above an index of 0.36, and a size
# [pixel] below the resolution of the model would fall between the pixels.
_INDEX_BOUNDS, _SIZE_BOUNDS = (0.4, 6.0), (0.5, 30.0)
# How uncertain each is before the data speak, so that errors stay finite.
_PRIOR_WIDTH = {"ellipticity": 0.5, "index": 3.0, "size": 10.0}
_STEP = {"ellipticity": 0.05, "index": 0.1, "size": 0.1, "shift": 0.1, "spectrum": 0.1}


class SceneFit(NamedTuple):
    """The sources of a scene of ``n`` sources and ``b`` bands.

    Attributes:
        x: Column of each centre [pixel], ``(n,)``.
        y: Row of each centre [pixel], ``(n,)``.
        x_err: Standard deviation of ``x`` [pixel], ``(n,)``.
        y_err: Standard deviation of ``y`` [pixel], ``(n,)``.
        flux: Sum over each model [electron], ``(n, b)``.
        flux_err: Standard deviation of ``flux`` [electron], ``(n, b)``.
        models: Each source alone, seen through the PSF [electron], float32 ``(n, b, H, W)``.
        converged: Whether there is a fit; False where it broke down.
    """

    x: np.ndarray
    y: np.ndarray
    x_err: np.ndarray
    y_err: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    models: np.ndarray
    converged: bool


class _PeakSersic(scarlet2.SersicMorphology):
    """A Sersic profile at a peak, which may be shifted; both [pixel] as (row, column).

    scarlet2 cuts a box out around each source, whose place is part of what is compiled. Here the
    box is the whole image, and the place a value like others.
    """

    peak: jnp.ndarray
    shift: jnp.ndarray

    def __init__(self, shape: tuple[int, int]) -> None:
        index, size = jnp.asarray(_START_INDEX), jnp.asarray(_START_SIZE)
        super().__init__(index, size, ellipticity=jnp.zeros(2), shape=shape)
        self.peak, self.shift = jnp.zeros(2), jnp.zeros(2)

    def __call__(self, delta_center: tuple[float, float] = (0.0, 0.0)) -> jnp.ndarray:
        y, x = self.peak + self.shift
        # From scarlet2's centre of an image, which is its pixel H // 2, W // 2.
        return super().__call__((y - self.shape[0] // 2, x - self.shape[1] // 2))


class SceneModel:
    """The compiled fit for images of one shape and PSF.

    Args:
        psf: PSF with the pixel [any unit], centred in an odd number of pixels, ``(b, P, P)``.
        shape: Height and width of the images.
        max_iter: Number of steps.
        max_shift: How far a centre may move from its peak along each axis [pixel].
    """

    def __init__(
        self, psf: np.ndarray, shape: tuple[int, int], max_iter: int, max_shift: float
    ) -> None:
        n_bands, (height, width) = len(psf), shape
        self.max_iter, self.max_shift = max_iter, max_shift
        with _without_validation():
            # As large as the survey's PSF: scarlet2 makes room in Fourier space for this one.
            sharp = scarlet2.GaussianMorphology(MODEL_PSF_SIGMA, shape=psf.shape[1:])()
            box = scarlet2.Box((n_bands, height, width))
            frame = scarlet2.Frame(box, scarlet2.ArrayPSF(sharp))
            blank = np.ones((n_bands, height, width))
            self.observation = scarlet2.Observation(blank, blank, psf=psf, wcs=frame.wcs)
            self.observation.match(frame)
            with scarlet2.Scene(frame) as self.scene:
                source = scarlet2.Source(
                    jnp.array([height // 2, width // 2]), jnp.ones(n_bands), _PeakSersic(shape)
                )
            profile = source.morphology
            free = {
                "ellipticity": (profile.ellipticity, scarlet2.constraint.unit_disk),
                "index": (profile.n, constraints.interval(*_INDEX_BOUNDS)),
                "shift": (profile.shift, constraints.interval(-max_shift, max_shift)),
                "size": (profile.size, constraints.interval(*_SIZE_BOUNDS)),
                "spectrum": (source.spectrum, constraints.positive),
            }
            with scarlet2.Parameters(self.scene) as self.parameters:
                for name, (node, constraint) in free.items():
                    scarlet2.Parameter(node, name=name, constraint=constraint, stepsize=_STEP[name])
        self._run = jax.jit(self._fit)

    def fit(
        self, images: np.ndarray, usable: np.ndarray, variance: np.ndarray, peaks: np.ndarray
    ) -> SceneFit:
        """Fit the sources of a scene.

        Args:
            images: Blend without background [electron], finite, ``(b, H, W)``.
            usable: Which pixels have a value, bool ``(b, H, W)``.
            variance: Of the background of a pixel [electron^2], ``(b,)``.
            peaks: Row and column of each source [pixel], inside of the image, ``(n, 2)``.

        Returns:
            The fit. Where it broke down, the sources are at their peaks, known to the largest
            shift, without light, known to the noise of the whole image.
        """
        n = len(peaks)
        if n:
            with np.errstate(all="ignore"):  # which may break down, and is then seen below
                fit = self._fit_some(images, usable / variance[:, None, None], peaks)
            if fit.converged and all(np.isfinite(values).all() for values in fit):
                return fit
        shift = np.full(n, self.max_shift)
        noise = np.tile(np.sqrt(variance * images[0].size), (n, 1))
        none = np.zeros((n, *images.shape), np.float32)
        y, x = peaks.T
        return SceneFit(x, y, shift, shift, np.zeros_like(noise), noise, none, converged=n == 0)

    def _fit_some(self, images: np.ndarray, weights: np.ndarray, peaks: np.ndarray) -> SceneFit:
        n = len(peaks)
        padded = max(1 << (n - 1).bit_length(), _FEWEST)
        row, column = np.rint(peaks).astype(int).T
        # A peak where there is no light begins at the noise.
        lowest = 1 / np.sqrt(np.maximum(weights.max(axis=(1, 2)), _NO_LIGHT))
        spectrum = np.full((padded, len(images)), _NO_LIGHT)
        spectrum[:n] = np.maximum(images[:, row, column].T, lowest) / _PEAK_OVER_UNIT
        places = np.zeros((padded, 2))
        places[:n] = peaks
        found = self._run(*(jnp.asarray(a, float) for a in (images, weights, places, spectrum)))
        values, models, slopes = jax.tree.map(lambda array: np.asarray(array)[:n], found[:3])

        widths = _PRIOR_WIDTH | {"shift": self.max_shift, "spectrum": 10 * values["spectrum"]}
        in_order = [np.broadcast_to(widths[name], value.shape) for name, value in values.items()]
        covariance = _covariance(
            slopes,
            models.sum(axis=0),
            weights,
            np.concatenate([width.reshape(n, -1) for width in in_order], axis=1),
        )
        y, x = (peaks + values["shift"]).T
        first = 3  # of the shift: after the ellipticity, which has two, and the index
        y_err, x_err = (np.sqrt(covariance[:, at, at]) for at in (first, first + 1))
        gradient = slopes.sum(axis=(-2, -1), dtype=float)  # (n, parameters, b)
        flux_err = np.sqrt(np.einsum("npb,npq,nqb->nb", gradient, covariance, gradient))
        flux = models.sum(axis=(-2, -1), dtype=float)
        converged = bool(np.isfinite(found[3]))
        return SceneFit(x, y, x_err, y_err, flux, flux_err, models, converged)

    def _fit(self, images, weights, places, spectrum):
        observation = eqx.tree_at(
            lambda one: (one.data, one.weights), self.observation, (images, weights)
        )
        n = len(spectrum)
        values = {
            name: jnp.broadcast_to(value, (n, *value.shape))
            for name, value in self.scene.get().items()
        }
        free = self._transform(values | {"spectrum": spectrum}, inverse=True)

        def source(value, place):
            scene = eqx.tree_at(lambda one: one.sources[0].morphology.peak, self.scene, place)
            return scene.set(value)()

        def loss_of(free):
            model = jax.vmap(source)(self._transform(free), places).sum(axis=0)
            return -observation.log_likelihood(model)

        schedule = optax.cosine_decay_schedule(1.0, self.max_iter)
        optimiser = optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(schedule))

        def step(_, state):
            free, memory = state
            updates, memory = optimiser.update(jax.grad(loss_of)(free), memory)
            return {name: free[name] - _STEP[name] * updates[name] for name in free}, memory

        start = (free, optimiser.init(free))
        best, _ = jax.lax.fori_loop(0, self.max_iter, step, start)
        values = self._transform(best)

        def seen_through_psf(value, place):
            return observation.render(source(value, place))

        def slope(value_and_place):
            value, place = value_and_place
            flat, unravel = ravel_pytree(value)
            along = jax.jacfwd(lambda vector: seen_through_psf(unravel(vector), place))(flat)
            return jnp.moveaxis(along, -1, 0)

        models = jax.lax.map(lambda pair: seen_through_psf(*pair), (values, places))
        slopes = jax.lax.map(slope, (values, places))
        return values, models, slopes, loss_of(best)

    def _transform(self, values, inverse=False):
        """Map what is fitted from all numbers to those within its bounds, or back."""
        changed = {}
        for name, value in values.items():
            transform = self.parameters[name][1].constraint_transform
            changed[name] = (transform.inv if inverse else transform)(value)
        return changed


@lru_cache(maxsize=16)
def scene_model(
    psf: bytes, psf_shape: tuple[int, ...], shape: tuple[int, int], max_iter: int, max_shift: float
) -> SceneModel:
    """Return the `SceneModel` of a PSF given as the bytes of a float32 array, made only once."""
    image = np.frombuffer(psf, np.float32).reshape(psf_shape)
    return SceneModel(image, shape, max_iter, max_shift)


def _covariance(
    slopes: np.ndarray, model: np.ndarray, weights: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """Return the covariance of each source's parameters, those of its neighbours unknown too.

    The weights hold the background alone, so the photons of the sources enter as noise of a fit
    that does not know of them: ``C = F^-1 (S' W V W S) F^-1`` with ``F = S' W S``.

    Args:
        slopes: Derivative of the scene by each parameter, ``(n, parameters, b, H, W)``.
        model: The scene [electron], ``(b, H, W)``.
        weights: Inverse variance of the background, 0 where a pixel has no value, ``(b, H, W)``.
        widths: Standard deviation of each parameter before the data, ``(n, parameters)``.

    Returns:
        Array ``(n, parameters, parameters)``.
    """
    n, n_parameters = widths.shape
    # In units of the widths, so that the matrix is well conditioned.
    unit = slopes.reshape(n * n_parameters, -1) * widths.reshape(-1, 1)
    weight = weights.ravel()
    noise = weight + weight**2 * np.maximum(model, 0).ravel()
    inverse = np.linalg.inv((unit * weight) @ unit.T + np.eye(len(unit)))
    full = inverse @ ((unit * noise) @ unit.T + np.eye(len(unit))) @ inverse
    own = full.reshape(n, n_parameters, n, n_parameters)[np.arange(n), :, np.arange(n)]
    return own * widths[:, :, None] * widths[:, None, :]


@contextmanager
def _without_validation() -> Iterator[None]:
    """Keep scarlet2 from printing its checks; its switch is one for the whole process."""
    before = validation_utils.VALIDATION_SWITCH
    scarlet2.set_validation(False)
    try:
        yield
    finally:
        scarlet2.set_validation(before)
