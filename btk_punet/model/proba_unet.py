r"""The Probabilistic U-Net (Kohl et al. 2018, arXiv:1806.05034), with a global or a grid latent.

    image -> encoder -> decoder -> features ------------------+
                   \-> prior, N(mean, sigma) -> latent sample -+-> head -> class and centre logits
    image + truth -> posterior encoder -> posterior (in training, in place of the prior)

Encoder, decoder and prior run once an image; a further sample costs the head only.
"""

# ruff: noqa: E402

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from btk_punet.model.quiet import quietly_imported

# Before the modules below import it: Keras loads TensorFlow, which writes a log at its start.
keras = quietly_imported("keras")

from keras import ops

from btk_punet.errors import InputError, InputTypeError
from btk_punet.files import write_file, write_json
from btk_punet.model import objective
from btk_punet.model.inputs import (
    FieldNoise,
    LatentNoise,
    checked_density_ratio,
    checked_images,
    checked_integer,
    checked_origin,
    checked_truth,
)
from btk_punet.model.latent import gaussian
from btk_punet.model.loading import check_finite_weights, load_network
from btk_punet.model.network import Network
from btk_punet.model.weights import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    installed_presets,
    preset_folder,
    weights_folder,
)

#: Pixels that go through the network, and through the head, at once: bounds the memory used.
TRUNK_PIXELS = 2**18
HEAD_PIXELS = 2**19
# Orientations of an image, in the order in which they are taken: bit 0 mirrors its rows, bit 1 its
# columns, and then bit 2 swaps the two. The first two, four and eight are groups.
_ORIENTATIONS = (0, 3, 1, 2, 4, 7, 5, 6)


@keras.saving.register_keras_serializable(package="btk_punet")
class ProbaUNet(Network):
    """Noise-normalised image to samples of (class map, centre map).

    Called on a dict of tensors it does what a training step needs (see `call`); `sample`,
    `reconstruct`, `kl` and `elbo` take and give NumPy arrays.

    Args:
        n_bands: Number of bands of the image.
        channels: Number of channels of each level of the U-Net, finest first.
        latent: ``"grid"``, one latent vector for each cell of the coarsest level, so that each
            part of an image can be in doubt on its own; or ``"global"``, one for the image.
        latent_channels: Number of dimensions of a latent vector.
        head_channels: Number of channels in which features and latent are mixed.
        stem_stride: Pixels of the image for each cell of the finest level: 1, or 2 or 4 for a
            cheaper network.
        centre_prior: Share of pixels that hold a centre, as assumed before training.
        class_weights: Weights of the three classes in the cross-entropy that the model is trained
            with; their logarithms come off the logits in every public method. None for none.
        context_dilations: Steps of the dilated convolutions that widen what the coarsest level
            sees (see `Context`); none by default.
        told_density: Whether the network is told how dense sources lie (see
            `DensityConditioning`): the argument ``density_ratio`` of the methods below.
        **kwargs: Passed to `keras.Model`.

    Raises:
        InputError: if a value cannot be used.
    """

    # -- arrays in, arrays out -----------------------------------------------------------------

    def sample(
        self,
        images: np.ndarray,
        n_samples: int = 1,
        seed: int = 0,
        mask: np.ndarray | None = None,
        density_ratio: float | np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Draw class and centre maps that the images allow.

        The latent's noise is drawn from ``seed`` alone, so an image's samples are the same in
        whichever batch and place it comes, and the first of more samples are those of fewer.

        Args:
            images: ``(b, h, w, bands)``, divided by the noise.
            n_samples: Number of samples ``n`` of each image.
            seed: Integer, 0 or more.
            mask: ``(b, h, w)`` bool, True where a pixel is usable. Pixels that are not finite
                are never used.
            density_ratio: How many times as dense as in the sky sources are expected to lie
                around a source, one number or ``(b,)``; None (or NaN) for unknown. A network
                without ``told_density`` takes none.

        Returns:
            Dict of ``class``, ``(n, b, h, w, 3)``: probabilities of background, isolated,
            blended; and ``centre``, ``(n, b, h, w)``: probability that the pixel holds a source's
            centre. float32. Within a sample, pixels agree on how what the image leaves in doubt
            turned out; the mean over samples is the probability of a pixel by itself.

        Raises:
            InputTypeError, InputError: if an argument cannot be used.
        """
        images, usable = checked_images(images, mask, self.n_bands)
        n_samples = checked_integer("n_samples", n_samples, 1)
        seed = checked_integer("seed", seed, 0)

        told = self._told(density_ratio, len(images))

        classes, centres = self._empty_maps(n_samples, usable.shape)
        for some, few, maps in self._run(self._maps, images, usable, n_samples, seed, told):
            classes[:, some, few], centres[some, few] = maps
        return {"class": np.moveaxis(classes, 0, -1), "centre": centres}

    def iter_samples(
        self,
        images: np.ndarray,
        n_samples: int = 1,
        seed: int = 0,
        mask: np.ndarray | None = None,
        density_ratio: float | np.ndarray | None = None,
        orientations: int = 1,
        origin: tuple[int, int] | None = None,
    ) -> Iterator[tuple[slice, slice, dict[str, np.ndarray]]]:
        """Yield the samples of `sample` piece by piece, so that memory does not grow with them.

        Args:
            images: As all but the last, those of `sample`.
            n_samples: A multiple of ``orientations``.
            seed: The same.
            mask: The same.
            density_ratio: The same.
            orientations: In how many of an image's 8 orientations it goes through the network (1,
                2: and turned by 180 degrees, 4: and mirrored, 8: and by 90 degrees), each of which
                gives as many of the samples, from the same noise. With 8 of them the mean over
                samples turns with the image.
            origin: Row and column of the images' first pixel in a larger image of which they are
                pieces, multiples of `stride`: where pieces overlap, their samples are then the
                same, but for what they see of their surroundings (`FieldNoise`). None for images
                that stand for themselves.

        Yields:
            Slice of the samples, slice of the images, and their maps as in `sample`, with the
            classes first: ``class``, ``(3, n, b, h, w)``, and ``centre``, ``(n, b, h, w)``.
        """
        orientation_maps = self._run_oriented(
            self._maps, images, n_samples, seed, mask, density_ratio, orientations, origin
        )
        for orientation, some, few, maps in orientation_maps:
            classes, centres = (_turned(x, orientation, (-2, -1), back=True) for x in maps)
            yield some, few, {"class": classes, "centre": centres}

    def iter_sums(
        self,
        images: np.ndarray,
        n_samples: int = 1,
        seed: int = 0,
        mask: np.ndarray | None = None,
        density_ratio: float | np.ndarray | None = None,
        orientations: int = 1,
        origin: tuple[int, int] | None = None,
    ) -> Iterator[tuple[slice, slice, dict[str, np.ndarray]]]:
        """Yield sums over the samples of `iter_samples`, piece by piece, whose arguments it has.

        Most of the maps of samples are then never written to memory, which is what they cost.

        Yields:
            Slice of the samples, slice of the images, and of these: ``class``, ``(3, b, h, w)``,
            the sum over the samples of the probabilities of background, isolated, blended;
            ``most``, ``(2, b, h, w)``, in how many of them isolated, and blended, is the most
            probable class; ``centre``, ``(b, h, w)``, the sum of the centre maps;
            ``centre_samples``, ``(n, b, h, w)``, these themselves; and ``counts``, ``(n, b)``, the
            sum of each over the pixels.
        """
        orientation_maps = self._run_oriented(
            self._map_sums, images, n_samples, seed, mask, density_ratio, orientations, origin
        )
        for orientation, some, few, (*maps, counts) in orientation_maps:
            turned = [_turned(x, orientation, (-2, -1), back=True) for x in maps]
            names = ("class", "most", "centre", "centre_samples")
            yield some, few, dict(zip(names, turned, strict=True)) | {"counts": counts}

    def _run_oriented(
        self, maps_of, images, n_samples, seed, mask, density_ratio, orientations, origin
    ):
        # Yields the orientation as well, in which the maps still are.
        images, usable = checked_images(images, mask, self.n_bands)
        n_samples = checked_integer("n_samples", n_samples, 1)
        seed = checked_integer("seed", seed, 0)
        told = self._told(density_ratio, len(images))
        if orientations not in (1, 2, 4, 8) or n_samples % orientations:
            raise InputError(
                "expected orientations 1, 2, 4 or 8, and n_samples a multiple of it, got "
                f"{orientations} and {n_samples}"
            )
        if origin is not None:
            origin = checked_origin(origin, self.stride)
        of_each = n_samples // orientations
        for number, orientation in enumerate(_ORIENTATIONS[:orientations]):
            turned = _turned(images, orientation, (1, 2)), _turned(usable, orientation, (1, 2))
            start = number * of_each
            for some, few, maps in self._run(maps_of, *turned, of_each, seed, told, origin=origin):
                yield orientation, slice(some.start + start, some.stop + start), few, maps

    def reconstruct(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        centres: np.ndarray,
        mask: np.ndarray | None = None,
        seed: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the maps that the posterior makes of images whose truth is known.

        Args:
            images: ``(b, h, w, bands)``, divided by the noise.
            classes: ``(b, h, w)`` integers 0, 1, 2.
            centres: ``(b, h, w)``, 1 where the pixel holds a source's centre, else 0.
            mask: ``(b, h, w)`` bool, True where a pixel is usable.
            seed: None for the posterior's mean latent, else an integer for one sample of it.

        Returns:
            Dict of ``class``, ``(b, h, w, 3)``, and ``centre``, ``(b, h, w)``, as in `sample`.
        """
        images, usable = checked_images(images, mask, self.n_bands)
        truth = checked_truth(classes, centres, usable)
        seed = seed if seed is None else checked_integer("seed", seed, 0)

        classes_, centres_ = self._empty_maps(1, usable.shape)
        told = self._told(None, len(images))
        for _, few, maps in self._run(self._maps, images, usable, 1, seed, told, truth):
            classes_[:, :, few], centres_[:, few] = maps
        return {"class": np.moveaxis(classes_[:, 0], 0, -1), "centre": centres_[0]}

    def prior(
        self,
        images: np.ndarray,
        mask: np.ndarray | None = None,
        density_ratio: float | np.ndarray | None = None,
    ) -> Any:
        """Return the latent's distribution given the images, batch shape ``(b, g, m)``."""
        images, usable = checked_images(images, mask, self.n_bands)
        if not len(images):
            return self._no_gaussians(usable)
        told = self._told(density_ratio, len(images))
        return gaussian(*self._run_trunk(images, usable, told)[1])

    def posterior(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        centres: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> Any:
        """Return the latent's distribution given images and truth, batch shape ``(b, g, m)``."""
        images, usable = checked_images(images, mask, self.n_bands)
        truth = checked_truth(classes, centres, usable)
        if not len(images):
            return self._no_gaussians(usable)
        return gaussian(*self._run_posterior(images, usable, *truth))

    def _no_gaussians(self, usable):
        # TensorFlow gives wrong shapes for convolutions of no images, so none is run on them.
        nothing = np.zeros((0, *self.latent_shape(*usable.shape[1:])), "float32")
        return gaussian(nothing, nothing)

    def kl(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        centres: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return KL(posterior || prior) of each image, ``(b,)``, in nats.

        Summed over the latent's dimensions and cells. Arguments as in `reconstruct`.
        """
        posterior = self.posterior(images, classes, centres, mask)
        cells = posterior.kl_divergence(self.prior(images, mask))
        return ops.convert_to_numpy(cells).sum(axis=(1, 2))

    def elbo(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        centres: np.ndarray,
        mask: np.ndarray | None = None,
        n_samples: int = 1,
        seed: int = 0,
    ) -> np.ndarray:
        """Return the evidence lower bound of each image's truth, ``(b,)``, in nats.

        Mean over samples of the posterior of the log probability of the class and centre maps,
        summed over the usable pixels, less the KL divergence. Arguments as in `reconstruct`.
        """
        kl = self.kl(images, classes, centres, mask)
        images, usable = checked_images(images, mask, self.n_bands)
        classes, centres = checked_truth(classes, centres, usable)
        n_samples = checked_integer("n_samples", n_samples, 1)
        noise = LatentNoise(checked_integer("seed", seed, 0))
        noise = noise.draw(n_samples, self.latent_shape(*usable.shape[1:]))
        inputs = {"images": images, "mask": usable, "classes": classes, "centres": centres}
        loss = np.zeros(len(images))
        for one in noise if len(images) else ():
            outputs = self(inputs | {"noise": one})
            logits = objective.calibrated_logits(outputs["class_logits"], self.class_weights)
            for part in (
                objective.class_loss(logits, classes, usable),
                objective.centre_loss(outputs["centre_logits"], centres, usable),
            ):
                loss += ops.convert_to_numpy(part) / n_samples
        return -loss - kl

    def _told(self, density_ratio, n_images):
        if density_ratio is not None and not self.told_density:
            raise InputError(
                f"got density_ratio={density_ratio!r}, and this network was not trained to be told "
                "it (told_density is False): leave it out"
            )
        return checked_density_ratio(density_ratio, n_images)

    def _run(self, maps_of, images, usable, n_samples, seed, told, truth=(), origin=None):
        # Yields slices of samples and of images with what maps_of makes of their features and
        # latents; a few images, then a few samples of them at a time, so that memory stays small
        # whatever is asked for. The latent is drawn from the prior or, given the truth, the
        # posterior; its mean where seed is None.
        size = usable.shape[1:]
        # To whole cells here, as the network does: it is compiled for fewer shapes then.
        pad = ((0, 0), *((0, -n % self.stride) for n in size))
        images, usable = np.pad(images, (*pad, (0, 0))), np.pad(usable, pad)
        truth = tuple(np.pad(array, pad) for array in truth)
        b, h, w = usable.shape
        for part in _slices(0, b, TRUNK_PIXELS // (h * w)):
            features, gaussians = self._run_trunk(images[part], usable[part], told[part])
            _check_finite(ops.convert_to_numpy(ops.sum(features, axis=(0, 2, 3))), part.start)
            if truth:
                gaussians = self._run_posterior(
                    images[part], usable[part], *(array[part] for array in truth)
                )
            mean, log_sigma = (ops.convert_to_numpy(x) for x in gaussians)
            for few in _slices(part.start, part.stop, HEAD_PIXELS // (h * w * n_samples)):
                here = slice(few.start - part.start, few.stop - part.start)
                noise = None if seed is None else self._latent_noise(seed, origin)
                for some in _slices(0, n_samples, HEAD_PIXELS // (h * w)):
                    latent = mean[None, here]
                    if noise is not None:
                        unit = noise.draw(some.stop - some.start, mean.shape[1:])
                        latent = latent + np.exp(log_sigma[here]) * unit
                    yield some, few, maps_of(features[:, here], latent, size, few.start)

    def _maps(self, features, latent, size, first):
        # Class and centre maps, cut to the size of the images, of which the first has this number.
        h, w = size
        classes, centres = self._run_head(features, latent)
        classes = np.stack([np.asarray(x)[..., :h, :w] for x in classes])
        centres = np.asarray(centres)[..., :h, :w]
        _check_finite(classes.sum(axis=(0, 1, 3, 4)) + centres.sum(axis=(0, 2, 3)), first)
        return classes, centres

    def _map_sums(self, features, latent, size, first):
        # The same summed over samples, and what `iter_sums` has besides.
        inside = [
            (np.arange(padded) < n).astype("float32")[:, None]
            for padded, n in zip(features.shape[2:], size, strict=True)
        ]
        *maps, counts = (np.asarray(x) for x in self._run_sums(features, latent, *inside))
        maps = [x[..., : size[0], : size[1]] for x in maps]
        _check_finite(maps[0].sum(axis=(0, 2, 3)) + maps[2].sum(axis=(1, 2)), first)
        return *maps, counts

    def _latent_noise(self, seed, origin):
        if origin is None or self.latent == "global":
            return LatentNoise(seed)
        return FieldNoise(seed, origin)

    def _empty_maps(self, n_samples, shape):
        return np.empty((3, n_samples, *shape), "float32"), np.empty((n_samples, *shape), "float32")

    # -- to and from files ---------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the model as a folder that holds ``config.json`` and ``model.weights.h5``.

        Each file is written whole or not at all.
        """
        folder = Path(path)
        with tempfile.TemporaryDirectory() as work:  # Keras insists on the ending of the name
            self.save_weights(Path(work) / WEIGHTS_FILE)
            write_file(folder / WEIGHTS_FILE, (Path(work) / WEIGHTS_FILE).read_bytes())
        write_json(self.get_config(), folder / CONFIG_FILE)

    @classmethod
    def load(cls, path: str | Path) -> "ProbaUNet":
        """Return the model that `save` wrote to this folder.

        Raises:
            InputError: if the folder holds no such model, or one that is damaged: files that are
                cut off or do not belong together, weights that are not finite.
        """
        return load_network(cls, path)

    @classmethod
    def from_preset(cls, name: str) -> "ProbaUNet":
        """Return a model that comes with btk_punet, by its name.

        Raises:
            InputError: if there is no preset of this name.
        """
        known = installed_presets()
        if name not in known:
            raise InputError(
                f"expected the name of a preset ({', '.join(known) or 'none is installed'}), got "
                f"{name!r}; load a model of your own with ProbaUNet.load(folder)"
            )
        return cls.load(preset_folder(name))


def open_network(weights):
    """Return a model however it is given, and the folder that it was loaded from.

    Args:
        weights: A `ProbaUNet`; a folder that `ProbaUNet.save` wrote, or that of a training run;
            or the name of a preset.

    Returns:
        The model, and its folder: None for one that was given as such.

    Raises:
        InputTypeError: for something else.
        InputError: if there is no such folder or preset, or its weights cannot be used.
    """
    if isinstance(weights, ProbaUNet):
        check_finite_weights(weights)
        return weights, None
    if not isinstance(weights, (str, Path)):
        raise InputTypeError(
            "expected the weights as a ProbaUNet, a folder that ProbaUNet.save wrote, or the name "
            f"of a preset; got {type(weights).__name__}"
        )
    folder = weights_folder(weights)
    return ProbaUNet.load(folder), folder


def _check_finite(sums, first):
    # Sums of something over each image, of which the first has this number. Of NaN nothing is
    # found, which would pass for an empty image.
    if np.isfinite(sums).all():
        return
    raise InputError(
        f"expected probabilities of every pixel, got NaN from the network on image "
        f"{first + int(np.argmin(np.isfinite(sums)))}, counted from 0; its weights are finite but "
        "too large, or were changed since they were loaded: take others"
    )


def _turned(array, orientation, axes, back=False):
    """Return an array in an orientation, or the array that is in it."""
    flips = [axis for bit, axis in enumerate(axes) if orientation & 1 << bit]
    if orientation & 4:
        if back:
            return np.flip(np.swapaxes(array, *axes), flips)
        return np.ascontiguousarray(np.swapaxes(np.flip(array, flips), *axes))
    return np.ascontiguousarray(np.flip(array, flips)) if flips else array


def _slices(start, stop, size):
    """Cut a range into as few parts of at most ``size`` (or 1) as can be, of even lengths."""
    n_parts = -(-(stop - start) // max(size, 1))
    edges = [start + (stop - start) * i // n_parts for i in range(n_parts + 1)] if n_parts else []
    return [slice(*pair) for pair in zip(edges, edges[1:], strict=False)]
