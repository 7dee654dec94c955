"""What `ProbaUNet` is given: arrays checked and made safe, and the noise of their latents."""

from collections.abc import Sequence

import numpy as np

from btk_punet.errors import InputError, InputTypeError

# Beyond these a network's first image, of one cell, would fill the memory.
LARGEST_STRIDE = 512
LARGEST_DILATION = 128


def checked_images(images, mask, n_bands):
    """Return float32 images with zeros where not usable, and the usable pixels.

    Args:
        images: ``(b, h, w, n_bands)``.
        mask: ``(b, h, w)`` bool, True where a pixel is usable, or None.
        n_bands: Number of bands that is expected.

    Raises:
        InputTypeError, InputError: if they cannot be used.
    """
    images = np.asarray(images)
    if images.dtype.kind not in "fiu":
        raise InputTypeError(
            f"expected images as an array of numbers, got dtype {images.dtype}; "
            "divide the image by its noise and convert it with np.asarray(images, float)"
        )
    if images.ndim != 4 or images.shape[-1] != n_bands or 0 in images.shape[1:]:
        raise InputError(
            f"expected images of shape (batch, height, width, {n_bands}), got "
            f"{images.shape}; add missing axes with np.newaxis, or move BTK's bands last with "
            "np.moveaxis(images, 1, -1)"
        )
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool:
            raise InputTypeError(
                f"expected mask as bool, True where a pixel is usable, got dtype {mask.dtype}; "
                "give for example mask=(weight > 0)"
            )
        if mask.shape != images.shape[:3]:
            raise InputError(
                f"expected mask of shape {images.shape[:3]} like the images, got {mask.shape}; "
                "one mask serves all bands of an image"
            )
    with np.errstate(over="ignore"):
        images = images.astype("float32")
    usable = np.isfinite(images).all(axis=-1)
    usable = usable if mask is None else usable & mask
    return np.where(usable[..., None], images, np.float32(0)), usable


class LatentNoise:
    """Unit noise for the latents of images, from a seed alone: the same for every image.

    So an image has the same samples in whichever batch and place it comes, a change of its last
    digit changes them as little, and the first of more samples are those of fewer. Every second
    sample is the one before with the sign turned (antithetic), so that no place of an image has
    noise of another mean than 0.

    Args:
        seed: Integer, 0 or more.
    """

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
        self._before = None

    def draw(self, n_samples, latent_shape):
        """Return the next ``(n_samples, 1, *latent_shape)``, float32."""
        noise = np.empty((n_samples, 1, *latent_shape), "float32")
        for sample in noise:
            if self._before is None:
                sample[0] = self._one(latent_shape)
                self._before = sample[0].copy()
            else:
                sample[0], self._before = -self._before, None
        return noise

    def _one(self, latent_shape):
        return self._rng.standard_normal(latent_shape, dtype="float32")


class FieldNoise(LatentNoise):
    """Unit noise for a piece of a larger image: that of a cell hangs on where it lies in the whole.

    So pieces that overlap have the same samples where they do, however the image is cut.

    Args:
        seed: Integer, 0 or more.
        origin: Row and column of the piece's first cell in the whole.
    """

    BLOCK = 32  # cells, of a square with a generator of its own

    def __init__(self, seed, origin):
        super().__init__(seed)
        self._seed, self._origin = seed, origin
        self._generators = {}

    def _one(self, latent_shape):
        *lengths, channels = latent_shape
        first = [start // self.BLOCK for start in self._origin]
        stop = [
            -(-(start + length) // self.BLOCK)
            for start, length in zip(self._origin, lengths, strict=True)
        ]
        size = (self.BLOCK, self.BLOCK, channels)
        rows = []
        for row in range(first[0], stop[0]):
            blocks = []
            for column in range(first[1], stop[1]):
                place = row, column
                if place not in self._generators:
                    self._generators[place] = np.random.default_rng([self._seed, *place])
                blocks.append(self._generators[place].standard_normal(size, dtype="float32"))
            rows.append(np.concatenate(blocks, axis=1))
        whole = np.concatenate(rows)
        top, left = (o - f * self.BLOCK for o, f in zip(self._origin, first, strict=True))
        return whole[top : top + lengths[0], left : left + lengths[1]]


def checked_origin(origin, stride):
    """Return the first cell, row and column, of an image that begins at a pixel of a larger one.

    Raises:
        InputError: if the pixel is not the first of a cell.
    """
    row, column = (checked_integer("origin", value, 0) for value in origin)
    if row % stride or column % stride:
        raise InputError(
            f"expected an origin of multiples of {stride} pixels, the cells of this network, got "
            f"{(row, column)}; cut the image there"
        )
    return row // stride, column // stride


def checked_truth(classes, centres, usable):
    """Return classes as int32 and centres as float32, 0 where not usable, or raise."""
    classes, centres = np.asarray(classes), np.asarray(centres)
    for name, array in (("classes", classes), ("centres", centres)):
        if array.shape != usable.shape:
            raise InputError(
                f"expected {name} of shape {usable.shape} like the images, got {array.shape}; "
                "give one map an image"
            )
    if not np.isin(classes[usable], (0, 1, 2)).all():
        raise InputError(
            "expected classes 0 (background), 1 (isolated) or 2 (blended), got "
            f"{sorted(set(np.unique(classes[usable]).tolist()) - {0, 1, 2})[:5]}; make them with "
            "btk_punet.class_map"
        )
    classes = np.where(usable, classes, 0).astype("int32")
    return classes, np.where(usable, centres, 0).astype("float32")


def checked_integer(name, value, least):
    """Return an integer of at least ``least``, or raise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputTypeError(
            f"expected {name} as an integer, got {value!r}; give for example {name}={least}"
        )
    if value < least:
        raise InputError(f"expected {name} of at least {least}, got {value}; give a larger one")
    return int(value)


def checked_density_ratio(density_ratio, n_images):
    """Return what is told of the density as ``(n_images,)`` float32, NaN for nothing, or raise.

    Args:
        density_ratio: None, a number for all images, or one for each, NaN for unknown.
        n_images: Number of images.
    """
    if density_ratio is None:
        return np.full(n_images, np.nan, "float32")
    ratio = np.asarray(density_ratio)
    if ratio.dtype.kind not in "fiu":
        raise InputTypeError(
            f"expected density_ratio as a number or None, got {density_ratio!r}; 1 is the sky's"
        )
    if ratio.shape not in ((), (n_images,)) or not (np.isnan(ratio) | (ratio > 0)).all():
        raise InputError(
            f"expected density_ratio above 0, one number or {n_images}, got {density_ratio!r}; 1 "
            "is the sky's, None unknown"
        )
    return np.broadcast_to(ratio, n_images).astype("float32")


def check_choices(
    n_bands,
    channels,
    latent,
    latent_channels,
    head_channels,
    stem_stride,
    centre_prior,
    context_dilations,
    told_density,
):
    """Raise InputTypeError or InputError unless a `ProbaUNet` can be built with these arguments."""
    for name, values in (("channels", channels), ("context_dilations", context_dilations)):
        if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
            raise InputTypeError(
                f"expected {name} as a list of integers, got {values!r}; give for example "
                f"{name}=(2, 4)"
            )
        for value in values:
            checked_integer(f"each of {name}", value, 1)
    for name, value in (
        ("n_bands", n_bands),
        ("latent_channels", latent_channels),
        ("head_channels", head_channels),
    ):
        checked_integer(name, value, 1)
    if len(channels) < 2:
        raise InputError(f"expected channels of at least two levels, got {channels!r}; add one")
    if latent not in ("grid", "global"):
        raise InputError(f"expected latent 'grid' or 'global', got {latent!r}; choose one of them")
    if isinstance(stem_stride, bool) or stem_stride not in (1, 2, 4):
        raise InputError(f"expected stem_stride 1, 2 or 4, got {stem_stride!r}; 1 is the finest")
    stride = stem_stride * 2 ** (len(channels) - 1)
    if stride > LARGEST_STRIDE:
        raise InputError(
            f"expected a coarsest level with cells of at most {LARGEST_STRIDE} pixels, got "
            f"{stride} with {len(channels)} levels; give fewer channels"
        )
    if max(context_dilations, default=0) > LARGEST_DILATION:
        raise InputError(
            f"expected context_dilations of at most {LARGEST_DILATION} cells, got "
            f"{max(context_dilations)}; give smaller ones"
        )
    if isinstance(centre_prior, bool) or not isinstance(centre_prior, (int, float)):
        raise InputTypeError(
            f"expected centre_prior as a number between 0 and 1, got {centre_prior!r}; 1e-3 means "
            "one centre in a thousand pixels"
        )
    if not 0 < centre_prior < 1:
        raise InputError(
            f"expected centre_prior between 0 and 1, got {centre_prior!r}; 1e-3 means one centre "
            "in a thousand pixels"
        )
    if not isinstance(told_density, (bool, np.bool_)):
        raise InputTypeError(
            f"expected told_density as True or False, got {told_density!r}; give one of them"
        )
