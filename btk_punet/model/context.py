"""What a network knows beyond the neighbourhood of a pixel: its wider surroundings, and the prior.

Both start as the identity: a network that gets them computes at first what it did without.
"""

import keras
from keras import ops

from btk_punet.model.layers import conv1x1


@keras.saving.register_keras_serializable(package="btk_punet")
class Context(keras.layers.Layer):
    """Dilated convolutions (Yu & Koltun 2016, arXiv:1511.07122) that widen the receptive field.

    One after another, each adds to the coarsest features what it sees around them. They keep the
    grid of the coarsest level, so a shift of the image by a cell shifts the result by a cell.

    Args:
        dilations: Step between the cells that a convolution sees, one number for each.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, dilations, **kwargs):
        super().__init__(**kwargs)
        self.dilations = tuple(dilations)
        self.convs, self.back = [], []

    def build(self, features_shape):
        """Make the weights for features of this shape, ``(b, h, w, c)``."""
        channels = features_shape[-1]
        for dilation in self.dilations:
            conv = keras.layers.Conv2D(
                channels,
                3,
                padding="same",
                dilation_rate=dilation,
                activation="relu",
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
            )
            conv.build(features_shape)
            self.convs.append(conv)
            self.back.append(_zero(channels, channels, self.dtype_policy))

    def call(self, features):
        """Return features of the same shape."""
        for conv, back in zip(self.convs, self.back, strict=True):
            features = features + back(conv(features))
        return features

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        return super().get_config() | {"dilations": self.dilations}


@keras.saving.register_keras_serializable(package="btk_punet")
class DensityConditioning(keras.layers.Layer):
    """Scales and shifts the features of each level by what is told of the density of sources.

    Feature-wise linear modulation (FiLM, Perez et al. 2018, arXiv:1709.07871) of the natural
    logarithm of the density ratio, and of whether it is known.

    Args:
        channels: Number of channels of each level, finest first.
        width: Number of channels of the layer between.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, channels, width=16, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.channels = tuple(channels)
        self.width = width
        self.hidden = conv1x1(width, activation="relu", dtype=self.dtype_policy)
        self.modulations = []

    def build(self, density_shape=None):
        """Make the weights."""
        self.hidden.build((None, 2))
        self.modulations = [_zero(self.width, 2 * n, self.dtype_policy) for n in self.channels]

    def call(self, levels, density_ratio):
        """Modulate.

        Args:
            levels: Features ``(b, h, w, channels[i])`` of each level, finest first.
            density_ratio: ``(b,)``, above 0; NaN where it is not known.

        Returns:
            Features of the same shapes.
        """
        known = ops.logical_and(ops.isfinite(density_ratio), density_ratio > 0)
        told = ops.log(ops.where(known, density_ratio, ops.ones_like(density_ratio)))
        x = self.hidden(ops.stack([told, ops.cast(known, "float32")], axis=-1))
        modulated = []
        for level, modulation in zip(levels, self.modulations, strict=True):
            both = ops.cast(ops.expand_dims(modulation(x), (1, 2)), level.dtype)
            scale, shift = ops.split(both, 2, axis=-1)
            modulated.append(level * (1 + scale) + shift)
        return modulated

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        return super().get_config() | {"channels": self.channels, "width": self.width}


def _zero(n_in, n_out, dtype):
    """Return a linear layer, built, whose output is 0 until it is trained."""
    layer = keras.layers.Dense(n_out, kernel_initializer="zeros", dtype=dtype)
    layer.build((None, n_in))
    return layer
