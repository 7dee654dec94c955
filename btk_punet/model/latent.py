"""The Gaussian latent variables: where their parameters come from, and their distributions.

Both kinds of latent have shape ``(b, g, k, l)``: ``g x k`` cells of ``l`` dimensions. The global
latent has a single cell.
"""

import keras
import numpy as np
from keras import ops

from btk_punet.model.layers import conv1x1, conv3x3

#: Log sigma stays within plus and minus this, so that no Gaussian vanishes or blows up.
LOG_SIGMA_LIMIT = 4.0


@keras.saving.register_keras_serializable(package="btk_punet")
class GaussianHead(keras.layers.Layer):
    """Coarsest features to the parameters of axis-aligned Gaussians.

    Args:
        dimensions: Number of latent dimensions ``l`` of each cell.
        pooled: Whether the cells are averaged into one (the global latent).
        width: Number of channels of the layer before the parameters.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, dimensions, pooled, width, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.dimensions = dimensions
        self.pooled = pooled
        self.width = width
        self.hidden = conv3x3(width, dtype=self.dtype_policy)
        # Small at the start: prior and posterior are close to the unit Gaussian and to each other.
        self.parameters = conv1x1(2 * dimensions, scale=0.1, dtype=self.dtype_policy)

    def build(self, features_shape):
        """Make the weights for features of this shape, ``(b, g, k, c)``."""
        self.hidden.build(features_shape)
        self.parameters.build((None, None, None, self.width))

    def call(self, features):
        """Give the parameters.

        Args:
            features: ``(b, g, k, c)``.

        Returns:
            Mean and log sigma, ``(b, g, k, l)`` each; ``(b, 1, 1, l)`` if pooled.
        """
        x = self.hidden(features)
        if self.pooled:
            x = ops.mean(x, axis=(1, 2), keepdims=True)
        mean, log_sigma = ops.split(self.parameters(x), 2, axis=-1)
        return mean, LOG_SIGMA_LIMIT * ops.tanh(log_sigma / LOG_SIGMA_LIMIT)

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        return super().get_config() | {
            "dimensions": self.dimensions,
            "pooled": self.pooled,
            "width": self.width,
        }


class DiagonalGaussian:
    """Closed form of an axis-aligned Gaussian, with the names of TensorFlow Probability's.

    Args:
        mean: ``(..., l)``.
        log_sigma: ``(..., l)``.
    """

    def __init__(self, mean, log_sigma):
        self.loc = mean
        self.log_sigma = log_sigma

    def mean(self):
        """Return the mean, ``(..., l)``."""
        return self.loc

    def stddev(self):
        """Return sigma, ``(..., l)``."""
        return ops.exp(self.log_sigma)

    def log_prob(self, z):
        """Return the log density at ``z``, ``(..., l)`` to ``(...)``."""
        distance = (z - self.loc) * ops.exp(-self.log_sigma)
        log_density = -0.5 * ops.square(distance) - self.log_sigma - 0.5 * np.log(2 * np.pi)
        return ops.sum(log_density, axis=-1)

    def kl_divergence(self, other):
        """Return KL(self || other) in nats, summed over the dimensions, ``(...)``."""
        terms = kl_per_dimension((self.loc, self.log_sigma), (other.loc, other.log_sigma))
        return ops.sum(terms, axis=-1)


def gaussian(mean, log_sigma):
    """Return ``tfd.MultivariateNormalDiag`` where it can be had, else its closed form.

    It can be had on Keras' TensorFlow backend with TensorFlow Probability installed.

    Args:
        mean: ``(..., l)``.
        log_sigma: ``(..., l)``.
    """
    if keras.backend.backend() == "tensorflow":
        try:
            from tensorflow_probability import distributions as tfd
        except ImportError:
            return DiagonalGaussian(mean, log_sigma)
        return tfd.MultivariateNormalDiag(loc=mean, scale_diag=ops.exp(log_sigma))
    return DiagonalGaussian(mean, log_sigma)


def kl_per_dimension(posterior, prior):
    """Return KL(posterior || prior) of each latent dimension.

    ``log(s / r) + (r^2 + (m - n)^2) / (2 s^2) - 1/2`` for posterior N(m, r) and prior N(n, s).

    Args:
        posterior: Mean and log sigma, ``(..., l)`` each.
        prior: Mean and log sigma, ``(..., l)`` each.

    Returns:
        ``(..., l)``, in nats.
    """
    mean, log_sigma = posterior
    prior_mean, prior_log_sigma = prior
    difference = log_sigma - prior_log_sigma
    distance = (mean - prior_mean) * ops.exp(-prior_log_sigma)
    return 0.5 * (ops.exp(2 * difference) + ops.square(distance) - 1) - difference


def total_kl(posterior, prior):
    """Return KL(posterior || prior) summed over dimensions and cells.

    Args:
        posterior: Mean and log sigma, ``(b, g, k, l)`` each.
        prior: Mean and log sigma, ``(b, g, k, l)`` each.

    Returns:
        ``(b,)``, in nats.
    """
    cells = gaussian(*posterior).kl_divergence(gaussian(*prior))
    return ops.sum(cells, axis=(1, 2))
