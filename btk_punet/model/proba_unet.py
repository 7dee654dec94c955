r"""The Probabilistic U-Net (Kohl et al. 2018, arXiv:1806.05034), with a global or a grid latent.

    image -> encoder -> decoder -> features ------------------+
                   \-> prior, N(mean, sigma) -> latent sample -+-> head -> class and centre logits
    image + truth -> posterior encoder -> posterior (in training, in place of the prior)

Encoder, decoder and prior run once an image; a further sample costs the head only.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from btk_punet.errors import InputError, InputTypeError
from btk_punet.model import objective
from btk_punet.model.inputs import (
    LatentNoise,
    check_choices,
    checked_images,
    checked_integer,
    checked_truth,
)
from btk_punet.model.latent import GaussianHead, gaussian
from btk_punet.model.layers import conv1x1, depth_to_space, usable_pixels
from btk_punet.model.unet import Decoder, Encoder, Head
from btk_punet.model.weights import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    installed_presets,
    missing_files,
    preset_folder,
    weights_folder,
)

#: Pixels that go through the network, and through the head, at once: bounds the memory used.
TRUNK_PIXELS = 2**18
HEAD_PIXELS = 2**19


@keras.saving.register_keras_serializable(package="btk_punet")
class ProbaUNet(keras.Model):
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
        **kwargs: Passed to `keras.Model`.

    Raises:
        InputError: if a value cannot be used.
    """

    def __init__(
        self,
        n_bands=1,
        channels=(16, 32, 64, 96),
        latent="grid",
        latent_channels=6,
        head_channels=8,
        stem_stride=1,
        centre_prior=1e-3,
        class_weights=None,
        **kwargs,
    ):
        check_choices(
            channels,
            latent,
            stem_stride,
            centre_prior,
            n_bands=n_bands,
            latent_channels=latent_channels,
            head_channels=head_channels,
        )
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.n_bands = n_bands
        self.channels = tuple(channels)
        self.latent = latent
        self.latent_channels = latent_channels
        self.head_channels = head_channels
        self.stem_stride = stem_stride
        self.centre_prior = centre_prior
        self.class_weights = class_weights and objective.check_class_weights(class_weights)
        self.stride = stem_stride * 2 ** (len(self.channels) - 1)

        width, pooled = self.channels[-1], latent == "global"
        self.encoder = Encoder(self.channels, stem_stride)
        self.decoder = Decoder(self.channels)
        self.features = conv1x1(head_channels * stem_stride**2, dtype="float32")
        self.prior_head = GaussianHead(latent_channels, pooled, width)
        # Truth is smooth beside the image: the posterior's encoder can start one level coarser.
        self.posterior_encoder = Encoder(self.channels[1:], 2 * stem_stride)
        self.posterior_head = GaussianHead(latent_channels, pooled, width)
        self.head = Head(head_channels, centre_prior)
        self._run_trunk = _compiled(self._trunk)
        self._run_posterior = _compiled(self._posterior)
        self._run_head = _compiled(self._probabilities, batch_axis=1)
        blank = np.zeros((1, self.stride, self.stride), "float32")
        self(
            {"images": np.zeros((*blank.shape, n_bands), "f4"), "classes": blank, "centres": blank}
        )

    # -- tensors in, tensors out ---------------------------------------------------------------

    def call(self, inputs):
        """Run the whole network once, as in training; no state, no random numbers of its own.

        Args:
            inputs: Dict of ``images`` ``(b, h, w, bands)``; optionally ``mask`` ``(b, h, w)``,
                True where a pixel is usable; ``classes`` (0, 1, 2) and ``centres`` (0, 1),
                ``(b, h, w)`` each, for the posterior; ``noise`` ``(b, g, m, l)`` of unit
                variance, `latent_shape` telling ``(g, m, l)``, without which the latent is the
                mean; ``prior_noise``, the same, for a second latent, drawn from the prior. ``h``
                and ``w`` must be known when the call is traced.

        Returns:
            Dict of ``class_logits`` ``(b, h, w, 3)``, ``centre_logits`` ``(b, h, w)``, ``prior``
            and, given the truth, ``posterior``: mean and log sigma ``(b, g, m, l)`` each. The
            latent is the posterior's where there is one. Given ``prior_noise`` there are also
            ``prior_class_logits`` and ``prior_centre_logits``, those of the second latent. The
            logits are those of the training's class weights.
        """
        images = ops.convert_to_tensor(inputs["images"], "float32")
        h, w = images.shape[1:3]
        usable = usable_pixels(images, inputs.get("mask"))
        features, prior = self._trunk(images, usable)
        outputs = {"prior": prior}
        if "classes" in inputs:
            truth = inputs["classes"], inputs["centres"]
            outputs["posterior"] = self._posterior(images, usable, *truth)
        latent, log_sigma = outputs.get("posterior", prior)
        if "noise" in inputs:
            latent = latent + ops.exp(log_sigma) * inputs["noise"]
        latents = [latent]
        if "prior_noise" in inputs:
            mean, log_sigma = prior
            latents.append(mean + ops.exp(log_sigma) * inputs["prior_noise"])
        classes, centres = self.head(features, ops.stack(latents))
        for number, name in enumerate(["", "prior_"][: len(latents)]):
            of_latent = ops.transpose(classes[:, number], (1, 2, 3, 0))
            outputs[f"{name}class_logits"] = of_latent[:, :h, :w]
            outputs[f"{name}centre_logits"] = centres[number][:, :h, :w]
        return outputs

    def latent_shape(self, height, width):
        """Return the shape ``(g, m, l)`` of the latent of an image of ``height x width`` pixels."""
        cells = [-(-size // self.stride) for size in (height, width)]
        return (*((1, 1) if self.latent == "global" else cells), self.latent_channels)

    def _trunk(self, images, usable):
        # Features (k, b, h', w') and the prior's parameters; h' and w' are padded sizes.
        image, valid = self._prepare(images, usable)
        levels = self.encoder(image, valid)
        features = depth_to_space(self.features(self.decoder(levels)), self.stem_stride)
        return ops.transpose(features, (3, 0, 1, 2)), self.prior_head(levels[-1])

    def _posterior(self, images, usable, classes, centres):
        truth = ops.one_hot(ops.where(usable, ops.cast(classes, "int32"), 0), 3)
        centres = ops.expand_dims(ops.cast(centres, "float32"), -1)
        image, valid = self._prepare(images, usable, truth, centres)
        return self.posterior_head(self.posterior_encoder(image, valid)[-1])

    def _prepare(self, images, usable, *truth):
        # Arcsinh where usable, 0 elsewhere; padded with unusable pixels to whole coarsest cells.
        valid = ops.expand_dims(usable, -1)
        image = ops.arcsinh(ops.where(valid, images, ops.zeros_like(images)))
        valid = ops.cast(valid, "float32")
        image = ops.concatenate([image, *truth], axis=-1)
        h, w = images.shape[1:3]
        pad = ((0, 0), (0, -h % self.stride), (0, -w % self.stride), (0, 0))
        return ops.pad(image, pad), ops.pad(valid, pad)

    def _probabilities(self, features, latent):
        logits, centres = self.head(features, latent)
        logits = ops.unstack(logits, axis=0)
        if self.class_weights is not None:
            logits = [x - float(np.log(w)) for x, w in zip(logits, self.class_weights, strict=True)]
        largest = ops.maximum(ops.maximum(logits[0], logits[1]), logits[2])
        exponentials = [ops.exp(x - largest) for x in logits]
        scale = 1 / (exponentials[0] + exponentials[1] + exponentials[2])
        return [x * scale for x in exponentials], ops.sigmoid(centres)

    # -- arrays in, arrays out -----------------------------------------------------------------

    def sample(self, images, n_samples=1, seed=0, mask=None):
        """Draw class and centre maps that the images allow.

        The latent's noise is drawn from ``seed`` and from the usable pixels of each image, so an
        image's samples are the same in whichever batch and place it comes, and the first of more
        samples are those of fewer.

        Args:
            images: ``(b, h, w, bands)``, divided by the noise.
            n_samples: Number of samples ``n`` of each image.
            seed: Integer, 0 or more.
            mask: ``(b, h, w)`` bool, True where a pixel is usable. Pixels that are not finite
                are never used.

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

        classes, centres = self._empty_maps(n_samples, usable.shape)
        for some, few, maps in self._run(images, usable, n_samples, seed):
            classes[:, some, few], centres[some, few] = maps
        return {"class": np.moveaxis(classes, 0, -1), "centre": centres}

    def iter_samples(self, images, n_samples=1, seed=0, mask=None):
        """Yield the samples of `sample` piece by piece, so that memory does not grow with them.

        Arguments are those of `sample`.

        Yields:
            Slice of the samples, slice of the images, and their maps as in `sample`, with the
            classes first: ``class``, ``(3, n, b, h, w)``, and ``centre``, ``(n, b, h, w)``.
        """
        images, usable = checked_images(images, mask, self.n_bands)
        n_samples = checked_integer("n_samples", n_samples, 1)
        seed = checked_integer("seed", seed, 0)
        for some, few, (classes, centres) in self._run(images, usable, n_samples, seed):
            yield some, few, {"class": classes, "centre": centres}

    def reconstruct(self, images, classes, centres, mask=None, seed=None):
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
        for _, few, maps in self._run(images, usable, 1, seed, truth):
            classes_[:, :, few], centres_[:, few] = maps
        return {"class": np.moveaxis(classes_[:, 0], 0, -1), "centre": centres_[0]}

    def prior(self, images, mask=None):
        """Return the latent's distribution given the images, batch shape ``(b, g, m)``."""
        images, usable = checked_images(images, mask, self.n_bands)
        if not len(images):
            return self._no_gaussians(usable)
        return gaussian(*self._run_trunk(images, usable)[1])

    def posterior(self, images, classes, centres, mask=None):
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

    def kl(self, images, classes, centres, mask=None):
        """Return KL(posterior || prior) of each image, ``(b,)``, in nats.

        Summed over the latent's dimensions and cells. Arguments as in `reconstruct`.
        """
        posterior = self.posterior(images, classes, centres, mask)
        cells = posterior.kl_divergence(self.prior(images, mask))
        return ops.convert_to_numpy(cells).sum(axis=(1, 2))

    def elbo(self, images, classes, centres, mask=None, n_samples=1, seed=0):
        """Return the evidence lower bound of each image's truth, ``(b,)``, in nats.

        Mean over samples of the posterior of the log probability of the class and centre maps,
        summed over the usable pixels, less the KL divergence. Arguments as in `reconstruct`.
        """
        kl = self.kl(images, classes, centres, mask)
        images, usable = checked_images(images, mask, self.n_bands)
        classes, centres = checked_truth(classes, centres, usable)
        n_samples = checked_integer("n_samples", n_samples, 1)
        noise = LatentNoise(images, usable, checked_integer("seed", seed, 0))
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

    def _run(self, images, usable, n_samples, seed, truth=()):
        # Yields slices of samples and of images with their maps; a few images, then a few samples
        # of them at a time, so that memory stays small whatever is asked for. The latent is drawn
        # from the prior or, given the truth, the posterior; its mean where seed is None.
        b, h, w = usable.shape
        noise = None if seed is None else LatentNoise(images, usable, seed)
        for part in _slices(0, b, TRUNK_PIXELS // (h * w)):
            features, gaussians = self._run_trunk(images[part], usable[part])
            if truth:
                gaussians = self._run_posterior(
                    images[part], usable[part], *(array[part] for array in truth)
                )
            mean, log_sigma = (ops.convert_to_numpy(x) for x in gaussians)
            for few in _slices(part.start, part.stop, HEAD_PIXELS // (h * w * n_samples)):
                here = slice(few.start - part.start, few.stop - part.start)
                for some in _slices(0, n_samples, HEAD_PIXELS // (h * w)):
                    latent = mean[None, here]
                    if noise is not None:
                        unit = noise.draw(some.stop - some.start, mean.shape[1:], few)
                        latent = latent + np.exp(log_sigma[here]) * unit
                    classes, centres = self._run_head(features[:, here], latent)
                    classes = np.stack([np.asarray(x)[..., :h, :w] for x in classes])
                    yield some, few, (classes, np.asarray(centres)[..., :h, :w])

    def _empty_maps(self, n_samples, shape):
        return np.empty((3, n_samples, *shape), "float32"), np.empty((n_samples, *shape), "float32")

    # -- to and from files ---------------------------------------------------------------------

    def get_config(self):
        """Return the arguments that make this model again, without its weights."""
        return {
            "n_bands": self.n_bands,
            "channels": list(self.channels),
            "latent": self.latent,
            "latent_channels": self.latent_channels,
            "head_channels": self.head_channels,
            "stem_stride": self.stem_stride,
            "centre_prior": self.centre_prior,
            "class_weights": self.class_weights and list(self.class_weights),
            "name": self.name,
        }

    def save(self, path):
        """Write the model as a folder that holds ``config.json`` and ``model.weights.h5``."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self.save_weights(folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_text(json.dumps(self.get_config(), indent=2) + "\n")

    @classmethod
    def load(cls, path):
        """Return the model that `save` wrote to this folder.

        Raises:
            InputError: if the folder holds no such model.
        """
        folder = Path(path)
        missing = missing_files(folder)
        if missing:
            raise InputError(
                f"expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, got '{folder}' without "
                f"{' and '.join(missing)}; give a folder that ProbaUNet.save wrote"
            )
        model = cls.from_config(json.loads((folder / CONFIG_FILE).read_text()))
        model.load_weights(folder / WEIGHTS_FILE)
        return model

    @classmethod
    def from_preset(cls, name):
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
        InputError: if there is no such folder or preset.
    """
    if isinstance(weights, ProbaUNet):
        return weights, None
    if not isinstance(weights, (str, Path)):
        raise InputTypeError(
            "expected the weights as a ProbaUNet, a folder that ProbaUNet.save wrote, or the name "
            f"of a preset; got {type(weights).__name__}"
        )
    folder = weights_folder(weights)
    return ProbaUNet.load(folder), folder


def _compiled(function, batch_axis=0):
    """Return the function compiled, on TensorFlow, for each shape but that of the batch's axis.

    A second number of images makes it general: each of its own would take a second to compile.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    compiled = {}

    def run(*arrays):
        shapes = tuple(
            tuple(n for axis, n in enumerate(array.shape) if axis != batch_axis) for array in arrays
        )
        if shapes not in compiled:
            compiled[shapes] = tf.function(function, autograph=False, reduce_retracing=True)
        return compiled[shapes](*arrays)

    return run


def _slices(start, stop, size):
    """Cut a range into as few parts of at most ``size`` (or 1) as can be, of even lengths."""
    n_parts = -(-(stop - start) // max(size, 1))
    edges = [start + (stop - start) * i // n_parts for i in range(n_parts + 1)] if n_parts else []
    return [slice(*pair) for pair in zip(edges, edges[1:], strict=False)]
