"""What training minimises: the negative evidence lower bound of each image.

What is summed and what is averaged: class and centre cross-entropies are summed over the usable
pixels of an image, the KL divergence over the latent dimensions and cells. The sum of the three,

    class + centre_weight * centre + beta * KL,

is averaged over the images and divided by the number of pixels of an image, so that the loss (nats
a pixel) and its gradient do not change with the batch's or the stamps' size. The weight of the KL
against the rest is that of the evidence lower bound when ``beta`` is 1. Pixels that are masked
carry no loss; they still count in the division, so each usable pixel weighs the same in a batch.

A sample's latent is the posterior's in the evidence lower bound, and the prior's when the network
is used. Where a rare truth (a faint source that can hardly be seen) has a posterior of its own, the
prior seldom draws it, and the mean over samples falls short of the truth's frequency. So that the
maps' probabilities are those of the truth, a share of either cross-entropy can be taken with a
latent of the prior: the optimum of that part is the calibrated probability (compare the hybrid
objective of Sohn et al. 2015, NeurIPS 28). The larger the share, the less do samples differ.
"""

import numpy as np
from keras import ops

from btk_punet.errors import InputError
from btk_punet.model.latent import kl_per_dimension, total_kl
from btk_punet.model.layers import usable_pixels


def class_loss(logits, classes, usable, class_weights=None):
    """Return the cross-entropy of the classes, summed over the usable pixels of each image.

    With weights ``w`` its optimum is not the probability ``p`` but ``w p``, normalised: take the
    weights off again by `calibrated_logits`.

    Args:
        logits: ``(b, h, w, 3)``.
        classes: ``(b, h, w)`` integers 0, 1, 2; anything where not usable.
        usable: ``(b, h, w)``, True where the pixel counts.
        class_weights: Three positive numbers, or None for equal weights.

    Returns:
        ``(b,)``, in nats.
    """
    usable = ops.cast(usable, "bool")
    truth = ops.one_hot(ops.where(usable, ops.cast(classes, "int32"), 0), 3)
    if class_weights is not None:
        truth = truth * np.asarray(class_weights, "float32")
    loss = -ops.sum(truth * ops.log_softmax(logits, axis=-1), axis=-1)
    return ops.sum(ops.where(usable, loss, 0.0), axis=(1, 2))


def centre_loss(logits, centres, usable):
    """Return the binary cross-entropy of the centres, summed over the usable pixels.

    Its optimum is the probability that the pixel holds a source's centre.

    Args:
        logits: ``(b, h, w)``.
        centres: ``(b, h, w)``, 1 where the pixel holds a centre, else 0; anything where not
            usable.
        usable: ``(b, h, w)``, True where the pixel counts.

    Returns:
        ``(b,)``, in nats.
    """
    usable = ops.cast(usable, "bool")
    truth = ops.where(usable, ops.cast(centres, "float32"), 0.0)
    loss = ops.softplus(logits) - truth * logits
    return ops.sum(ops.where(usable, loss, 0.0), axis=(1, 2))


def training_loss(
    outputs,
    batch,
    beta=1.0,
    class_weights=None,
    centre_weight=1.0,
    centre_prior_share=0.0,
    class_prior_share=0.0,
):
    """Return the loss of a batch (see the module's docstring) and its parts.

    Args:
        outputs: What `ProbaUNet` returned for this batch.
        batch: What it was called with: ``images`` ``(b, h, w, bands)``, ``classes`` and
            ``centres`` ``(b, h, w)``, and ``mask`` ``(b, h, w)`` if there is one.
        beta: Weight of the KL divergence.
        class_weights: Three positive numbers, or None.
        centre_weight: Weight of the centre loss.
        centre_prior_share: Share of the centre loss that is taken with the prior's latent, 0 to
            1; not used where ``outputs`` have no ``prior_centre_logits``.
        class_prior_share: The same of the class loss, and of ``prior_class_logits``.

    Returns:
        The loss, a scalar; and a dict of scalars ``class``, ``centre`` and ``kl``, in nats a pixel
        and unweighted by ``beta`` and ``centre_weight``, with ``kl_per_dimension``, ``(l,)``, in
        nats a cell, for `kl_state`.
    """
    usable = usable_pixels(batch["images"], batch.get("mask"))
    n_pixels = batch["images"].shape[1] * batch["images"].shape[2]
    posterior, prior = outputs["posterior"], outputs["prior"]
    by_class = class_loss(outputs["class_logits"], batch["classes"], usable, class_weights)
    by_centre = centre_loss(outputs["centre_logits"], batch["centres"], usable)
    if "prior_centre_logits" in outputs:
        by_prior = centre_loss(outputs["prior_centre_logits"], batch["centres"], usable)
        by_centre = by_centre + centre_prior_share * (by_prior - by_centre)
        logits = outputs["prior_class_logits"]
        by_prior = class_loss(logits, batch["classes"], usable, class_weights)
        by_class = by_class + class_prior_share * (by_prior - by_class)
    parts = {
        "class": ops.mean(by_class) / n_pixels,
        "centre": ops.mean(by_centre) / n_pixels,
        "kl": ops.mean(total_kl(posterior, prior)) / n_pixels,
    }
    loss = parts["class"] + centre_weight * parts["centre"] + beta * parts["kl"]
    parts["kl_per_dimension"] = ops.mean(kl_per_dimension(posterior, prior), axis=(0, 1, 2))
    return loss, parts


def balanced_class_weights(frequencies):
    """Return weights inverse to the classes' frequencies, ``1 / (3 p)``: 1 a pixel on average.

    Args:
        frequencies: Number or share of pixels of classes 0, 1, 2; each above 0.

    Raises:
        InputError: if they are not three positive numbers.
    """
    shares = check_class_weights(frequencies, "frequencies")
    return tuple(float(np.sum(shares)) / (3 * share) for share in shares)


def check_class_weights(weights, name="class_weights"):
    """Return three positive floats as a tuple, or raise `InputError`."""
    values = np.asarray(weights, float) if not isinstance(weights, str) else np.zeros(0)
    if values.shape != (3,) or not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(
            f"expected {name} as three positive numbers (background, isolated, blended), got "
            f"{weights!r}; give shares of pixels to balanced_class_weights, or leave them out"
        )
    return tuple(float(value) for value in values)


def calibrated_logits(logits, class_weights):
    """Return the logits that the same data would have given without class weights.

    Cross-entropy with weights ``w`` learns probabilities in proportion to ``w p``, so the
    logarithms of the weights come off.

    Args:
        logits: ``(..., 3)``.
        class_weights: Three positive numbers, or None.
    """
    return logits if class_weights is None else logits - np.log(class_weights).astype("float32")


def kl_state(kl_per_dimension, collapsed_below=1e-3, exploding_above=20.0):
    """Say whether the latent is in use: ``"fine"``, ``"collapsed"`` or ``"exploding"``.

    Args:
        kl_per_dimension: ``(l,)``, KL(posterior || prior) in nats a cell, averaged over images
            and cells. (With the grid most cells are empty sky, so a small mean is no collapse.)
        collapsed_below: If no dimension reaches this, samples no longer differ.
        exploding_above: If a dimension exceeds this, or is not finite, the prior has lost track
            of the posterior.
    """
    values = np.asarray(kl_per_dimension, float)
    if not np.all(np.isfinite(values)) or np.any(values > exploding_above):
        return "exploding"
    return "collapsed" if np.all(values < collapsed_below) else "fine"
