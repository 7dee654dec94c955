"""Layers that the encoders, the decoder and the head are made of.

Shapes: ``b`` images, ``h`` rows, ``w`` columns, ``c`` channels.
"""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="btk_punet")
class PartialConv2D(keras.layers.Layer):
    """Convolution that sees usable pixels only (Liu et al. 2018, arXiv:1804.07723).

    With kernel ``W``, image ``X`` and mask ``M`` (1 = usable), where a window of ``k x k`` pixels
    holds at least one usable pixel, ``out = W . (X * M) * k^2 / sum(M) + bias``, and the new mask
    is 1; elsewhere both are 0. Pixels outside the image count as unusable. What an unusable pixel
    holds, NaN and infinity included, is never part of a sum.

    Args:
        filters: Number of output channels.
        kernel_size: Width of the window, in pixels.
        strides: Step between windows, in pixels.
        padding: ``"same"`` or ``"valid"``, as in Keras.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, filters, kernel_size=3, strides=1, padding="same", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.conv = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
        )

    def build(self, images_shape, valid_shape):
        """Make the weights for images of this shape, ``(b, h, w, c)``."""
        self.conv.build(images_shape)
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, images, valid):
        """Convolve.

        Args:
            images: ``(b, h, w, c)``.
            valid: ``(b, h, w, 1)`` floats, 1 where the pixel is usable, else 0.

        Returns:
            Features ``(b, h', w', filters)`` and their mask ``(b, h', w', 1)``.
        """
        window = np.ones((self.kernel_size, self.kernel_size, 1, 1), "float32")
        n_valid = ops.conv(valid, window, strides=self.strides, padding=self.padding)
        seen = ops.cast(n_valid > 0.5, images.dtype)
        total = self.conv(ops.where(valid > 0.5, images, ops.zeros_like(images)))
        scale = self.kernel_size**2 / ops.maximum(n_valid, 1.0)
        return (total * scale + self.bias) * seen, seen

    def get_config(self):
        """Return what `from_config` needs to make this layer again."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }


def conv3x3(filters, strides=1, **kwargs):
    """Return a 3 x 3 convolution with ReLU and the initialisation that goes with it (He)."""
    return keras.layers.Conv2D(
        filters, 3, strides, "same", activation="relu", kernel_initializer="he_normal", **kwargs
    )


def conv1x1(filters, scale=1.0, **kwargs):
    """Return a linear 1 x 1 convolution (a matrix product over the channels).

    Args:
        filters: Number of output channels.
        scale: Variance of the output at the start, in units of the input's.
        **kwargs: Passed to `keras.layers.Dense`.
    """
    start = keras.initializers.VarianceScaling(scale)
    return keras.layers.Dense(filters, kernel_initializer=start, **kwargs)


def upsample_nearest(x, factor=2):
    """Repeat every pixel: ``(b, h, w, c)`` to ``(b, factor h, factor w, c)``."""
    return ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2)


def interpolation_matrix(n_cells, factor):
    """Return the matrix of linear interpolation between cell centres.

    Beyond the outermost centres the value is constant.

    Args:
        n_cells: Number of cells along the axis.
        factor: Pixels a cell.

    Returns:
        NumPy array ``(n_cells * factor, n_cells)``, float32; each row sums to 1.
    """
    pixels = (np.arange(n_cells * factor) + 0.5) / factor - 0.5
    rows = [np.interp(pixels, np.arange(n_cells), cell) for cell in np.eye(n_cells)]
    return np.stack(rows, axis=1).astype("float32")


def depth_to_space(x, factor):
    """Spread channels over pixels: ``(b, h, w, factor^2 c)`` to ``(b, factor h, factor w, c)``."""
    if factor == 1:
        return x
    b, h, w, _ = ops.shape(x)
    channels = x.shape[-1] // factor**2
    x = ops.reshape(x, (b, h, w, factor, factor, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (b, h * factor, w * factor, channels))


def usable_pixels(images, mask=None):
    """Say which pixels may be used: finite in every band and, if a mask is given, True in it.

    Args:
        images: ``(b, h, w, bands)``.
        mask: ``(b, h, w)``, True where usable; or None.

    Returns:
        ``(b, h, w)``, bool.
    """
    usable = ops.all(ops.isfinite(images), axis=-1)
    return usable if mask is None else ops.logical_and(usable, ops.cast(mask, "bool"))
