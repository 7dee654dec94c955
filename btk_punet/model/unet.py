"""The U-Net (Ronneberger et al. 2015, arXiv:1505.04597) and the layers that mix in the latent.

No normalisation layer: training and inference are the same function of one image, and a stamp's
result does not depend on the batch that it is in.
"""

import keras
import numpy as np
from keras import ops

from btk_punet.model.layers import (
    PartialConv2D,
    conv1x1,
    conv3x3,
    interpolation_matrix,
    upsample_nearest,
)


@keras.saving.register_keras_serializable(package="btk_punet")
class Encoder(keras.layers.Layer):
    """Image to features at every scale, each level at half the resolution of the one before.

    The image enters through a partial convolution, and the mask also as a channel of its own
    (a plain convolution of it is added). From there on convolutions are plain: after one window of
    3 pixels nothing of a masked pixel is left, and the features themselves say where data lacked.

    Args:
        channels: Number of channels of each level, finest first.
        stem_stride: Pixels of the image for each cell of the finest level.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, channels, stem_stride=1, **kwargs):
        super().__init__(**{"autocast": False} | kwargs)
        self.channels = tuple(channels)
        self.stem_stride = stem_stride
        width = stem_stride + 2  # overlaps each neighbouring cell by one pixel
        self.stem = PartialConv2D(self.channels[0], width, stem_stride, dtype="float32")
        self.mask_stem = keras.layers.Conv2D(
            self.channels[0], width, stem_stride, "same", use_bias=False, dtype="float32"
        )
        self.down = [conv3x3(n, strides=2) for n in self.channels[1:]]
        self.blocks = [conv3x3(n) for n in self.channels]

    def build(self, images_shape, valid_shape):
        """Make the weights for images of this shape, ``(b, h, w, c)``."""
        self.stem.build(images_shape, valid_shape)
        self.mask_stem.build((None, None, None, 1))
        for down, n in zip(self.down, self.channels, strict=False):
            down.build((None, None, None, n))
        for block, n in zip(self.blocks, self.channels, strict=True):
            block.build((None, None, None, n))

    def call(self, images, valid):
        """Encode.

        Args:
            images: ``(b, h, w, c)``, sizes multiples of the coarsest stride.
            valid: ``(b, h, w, 1)`` floats, 1 where the pixel is usable, else 0.

        Returns:
            One tensor ``(b, h / s, w / s, channels[i])`` a level, ``s = stem_stride * 2^i``.
        """
        x, _ = self.stem(images, valid)
        x = self.blocks[0](ops.relu(x + self.mask_stem(valid)))
        levels = [x]
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            x = block(down(x))
            levels.append(x)
        return levels

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        config = {"channels": self.channels, "stem_stride": self.stem_stride}
        return super().get_config() | config


@keras.saving.register_keras_serializable(package="btk_punet")
class Decoder(keras.layers.Layer):
    """Features of all levels to features at the finest level.

    At each step the coarse features are brought to the channels of the finer level first (1 x 1,
    where it costs least), then enlarged and joined to that level's own features.

    Args:
        channels: Number of channels of each level, finest first.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = tuple(channels)
        finer = self.channels[-2::-1]
        self.up = [conv1x1(n) for n in finer]
        self.join = [conv3x3(n) for n in finer]
        self.blocks = [conv3x3(n) for n in finer]

    def build(self, level_shapes):
        """Make the weights; ``level_shapes`` are the shapes that `Encoder` returns."""
        for i, n in enumerate(self.channels[-2::-1]):
            self.up[i].build((None, None, None, self.channels[-1 - i]))
            self.join[i].build((None, None, None, 2 * n))
            self.blocks[i].build((None, None, None, n))

    def call(self, levels):
        """Decode.

        Args:
            levels: What `Encoder` returned, finest first.

        Returns:
            ``(b, h / stem_stride, w / stem_stride, channels[0])``.
        """
        x = levels[-1]
        for up, join, block, skip in zip(
            self.up, self.join, self.blocks, levels[-2::-1], strict=True
        ):
            x = block(join(ops.concatenate([upsample_nearest(up(x)), skip], axis=-1)))
        return x

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        return super().get_config() | {"channels": self.channels}


@keras.saving.register_keras_serializable(package="btk_punet")
class Head(keras.layers.Layer):
    """The last 1 x 1 convolutions: features and latent to logits. All that a sample costs.

    ``logits = W . relu(features + V . latent) + c``, the latent interpolated from its cells to
    the pixels. Channels come first here: the sums over channels are then single matrix products
    and all else runs along rows of pixels, which is twice as fast on a CPU.

    Args:
        width: Number of channels of the features, ``k``.
        centre_prior: Probability that a pixel holds a centre, as assumed before training.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, width, centre_prior=1e-3, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.width = width
        self.centre_prior = centre_prior

    def build(self, features_shape, latent_shape):
        """Make the weights for features ``(k, b, h, w)`` and latents ``(n, b, g, m, l)``."""
        constant = np.array([0.0, 0.0, 0.0, np.log(self.centre_prior / (1 - self.centre_prior))])
        self.latent_kernel = self.add_weight(
            (latent_shape[-1], self.width), initializer="glorot_uniform", name="latent_kernel"
        )
        self.kernel = self.add_weight((self.width, 4), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(
            (4,),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(constant, dtype),
            name="bias",
        )

    def call(self, features, latent):
        """Mix.

        Args:
            features: ``(k, b, h, w)``.
            latent: ``(n, b, g, m, l)``, cells that tile the image, or a single one (g = m = 1).

        Returns:
            Class logits ``(3, n, b, h, w)`` and centre logit ``(n, b, h, w)``.
        """
        _, b, h, w = features.shape
        x = self.mixed(features, latent)
        logits = ops.matmul(ops.transpose(self.kernel), x) + ops.expand_dims(self.bias, 1)
        logits = ops.reshape(logits, (4, latent.shape[0], -1 if b is None else b, h, w))
        return logits[:3], logits[3]

    def mixed(self, features, latent):
        """Return ``relu(features + V . latent)`` of all pixels, ``(k, n b h w)``."""
        _, _, h, w = features.shape
        _, _, g, m, _ = latent.shape
        z = ops.tensordot(self.latent_kernel, latent, [[0], [4]])  # (k, n, b, g, m)
        if (g, m) != (1, 1):
            rows = interpolation_matrix(g, h // g)
            columns = interpolation_matrix(m, w // m)
            z = ops.matmul(rows, ops.matmul(z, columns.T))
        x = ops.relu(ops.expand_dims(features, 1) + z)
        return ops.reshape(x, (self.width, -1))

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        config = {"width": self.width, "centre_prior": self.centre_prior}
        return super().get_config() | config
