"""The network of a `ProbaUNet`: tensors in, tensors out, as in training."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from btk_punet.model import objective
from btk_punet.model.compiling import compiled
from btk_punet.model.context import Context, DensityConditioning
from btk_punet.model.inputs import check_choices
from btk_punet.model.latent import GaussianHead
from btk_punet.model.layers import conv1x1, depth_to_space, usable_pixels
from btk_punet.model.unet import Decoder, Encoder, Head

# Odds of e^60 and more leave nothing for the others in single precision.
LARGEST_LOG_ODDS = 60.0


class Network(keras.Model):
    """The layers of a `ProbaUNet`, whose arguments it has, and how they are joined."""

    def __init__(
        self,
        n_bands: int = 1,
        channels: Sequence[int] = (16, 32, 64, 96),
        latent: str = "grid",
        latent_channels: int = 6,
        head_channels: int = 8,
        stem_stride: int = 1,
        centre_prior: float = 1e-3,
        class_weights: Sequence[float] | None = None,
        context_dilations: Sequence[int] = (),
        told_density: bool = False,
        **kwargs: Any,
    ) -> None:
        check_choices(
            n_bands,
            channels,
            latent,
            latent_channels,
            head_channels,
            stem_stride,
            centre_prior,
            context_dilations,
            told_density,
        )
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.n_bands = n_bands
        self.channels = tuple(channels)
        self.latent = latent
        self.latent_channels = latent_channels
        self.head_channels = head_channels
        self.stem_stride = stem_stride
        self.centre_prior = centre_prior
        self.class_weights = (
            None if class_weights is None else objective.check_class_weights(class_weights)
        )
        self.context_dilations = tuple(context_dilations)
        self.told_density = bool(told_density)
        self.stride = stem_stride * 2 ** (len(self.channels) - 1)

        width, pooled = self.channels[-1], latent == "global"
        self.encoder = Encoder(self.channels, stem_stride)
        self.conditioning = DensityConditioning(self.channels) if self.told_density else None
        self.context = Context(self.context_dilations) if self.context_dilations else None
        self.decoder = Decoder(self.channels)
        self.features = conv1x1(head_channels * stem_stride**2, dtype="float32")
        self.prior_head = GaussianHead(latent_channels, pooled, width)
        # Truth is smooth beside the image: the posterior's encoder can start one level coarser.
        self.posterior_encoder = Encoder(self.channels[1:], 2 * stem_stride)
        self.posterior_head = GaussianHead(latent_channels, pooled, width)
        self.head = Head(head_channels, centre_prior)
        self._run_trunk = compiled(self._trunk)
        self._run_posterior = compiled(self._posterior)
        self._run_head = compiled(self._probabilities, batch_axis=1)
        self._run_sums = compiled(self._sums, batch_axis=1)
        blank = np.zeros((1, self.stride, self.stride), "float32")
        self(
            {"images": np.zeros((*blank.shape, n_bands), "f4"), "classes": blank, "centres": blank}
        )

    def call(self, inputs):
        """Run the whole network once, as in training; no state, no random numbers of its own.

        Args:
            inputs: Dict of ``images`` ``(b, h, w, bands)``; optionally ``mask`` ``(b, h, w)``,
                True where a pixel is usable; ``classes`` (0, 1, 2) and ``centres`` (0, 1),
                ``(b, h, w)`` each, for the posterior; ``density_ratio`` ``(b,)``, what is told of
                the density of sources (1 is the sky's, NaN or absent is unknown), which a network
                without ``told_density`` leaves aside; ``noise`` ``(b, g, m, l)`` of unit
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
        told = inputs.get("density_ratio")
        if told is None:
            told = ops.full(ops.shape(images)[:1], np.nan, "float32")
        features, prior = self._trunk(images, usable, told)
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

    @property
    def reach(self):
        """How far away [pixel] an image can still change a pixel's result, in whole cells.

        Not with the global latent, which sees all of the image.
        """
        steps = [self.stem_stride * 2**level for level in range(len(self.channels))]
        encoder = 2 * steps[0] + sum(finer + own for finer, own in pairwise(steps))
        context = sum(self.context_dilations) * steps[-1]
        decoder = 2 * sum(steps[:-1])
        # The latent is interpolated between the middles of cells.
        whole = encoder + context + decoder + steps[-1]
        return -(-whole // self.stride) * self.stride

    def latent_shape(self, height, width):
        """Return the shape ``(g, m, l)`` of the latent of an image of ``height x width`` pixels."""
        cells = [-(-size // self.stride) for size in (height, width)]
        return (*((1, 1) if self.latent == "global" else cells), self.latent_channels)

    def _trunk(self, images, usable, told):
        # Features (k, b, h', w') and the prior's parameters; h' and w' are padded sizes.
        image, valid = self._prepare(images, usable)
        levels = self.encoder(image, valid)
        if self.conditioning is not None:
            levels = self.conditioning(levels, told)
        if self.context is not None:
            levels = [*levels[:-1], self.context(levels[-1])]
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

    def _sums(self, features, latent, rows, columns):
        # Sums over samples: of the probabilities of the classes (3, b, h, w), of how often
        # isolated and blended are the most probable, (2, b, h, w), and of the centre map; the
        # centre maps themselves, and their sums over the pixels that count, (n, b), which are 1 in
        # rows (h, 1) and columns (w, 1). Only differences of the logits matter, so that the
        # background's own is 0.
        n, (_, b, h, w) = latent.shape[0], features.shape
        x = self.head.mixed(features, latent)
        kernel, bias = self.head.kernel, self.head.bias
        if self.class_weights is not None:
            bias -= np.array([*np.log(self.class_weights), 0.0], "float32")
        odds = [kernel[:, 1] - kernel[:, 0], kernel[:, 2] - kernel[:, 0], -kernel[:, 3]]
        shift = ops.stack([bias[1] - bias[0], bias[2] - bias[0], -bias[3]])
        x = ops.matmul(ops.stack(odds), x) + ops.expand_dims(shift, 1)
        x = ops.exp(ops.minimum(x, LARGEST_LOG_ODDS))
        isolated, blended, no_centre = ops.unstack(
            ops.reshape(x, (3, n, -1 if b is None else b, h, w)), axis=0
        )
        background = 1 / (1 + isolated + blended)
        centre = 1 / (1 + no_centre)
        # Of equals the first is the class, as argmax has it.
        is_blended = blended > ops.maximum(isolated, 1.0)
        is_isolated = ops.logical_and(isolated > 1, ops.logical_not(is_blended))
        classes = background, isolated * background, blended * background
        counts = ops.matmul(ops.squeeze(ops.matmul(centre, columns), -1), rows)
        return (
            ops.stack([ops.sum(x, axis=0) for x in classes]),
            ops.stack([ops.sum(ops.cast(x, "float32"), axis=0) for x in (is_isolated, is_blended)]),
            ops.sum(centre, axis=0),
            centre,
            ops.squeeze(counts, -1),
        )

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
            "context_dilations": list(self.context_dilations),
            "told_density": self.told_density,
            "name": self.name,
        }
