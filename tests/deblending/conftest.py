"""Hand-made blend batches: arrays in, `BlendBatch` out, no drawing and no catalogs of galaxies."""

import os
from importlib.util import find_spec

import btk.survey
import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import BlendBatch

from btk_punet.deblending.scarlet2 import Scarlet2Deblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender

SIGMA = np.sqrt(155.57)  # electrons; the sky of one Euclid exposure, as in BTK's Euclid_VIS
PIXEL_SCALE_ARCSEC = 0.1

# On a user's machine the tests of the program are skipped where it is missing, in CI they fail.
needs_source_extractor = pytest.mark.skipif(
    not SourceExtractorDeblender.is_available() and not os.environ.get("CI"),
    reason="the program source-extractor is not installed",
)
needs_scarlet2 = pytest.mark.skipif(
    not Scarlet2Deblender.is_available(),
    reason='scarlet2 is not installed: pip install "btk_punet[scarlet2]"',
)
needs_scarlet = pytest.mark.skipif(
    find_spec("scarlet") is None,
    reason="scarlet is not installed (it is not on PyPI; see btk_punet/deblending/scarlet2.py)",
)


def make_batch(images, survey=None, max_n_sources=10):
    """Wrap images `(n, H, W)`, or `(n, bands, H, W)`, in a batch."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[:, None]
    n, bands, size, _ = images.shape
    survey = survey or btk.survey.get_surveys("Euclid_VIS")
    return BlendBatch(
        batch_size=n,
        max_n_sources=max_n_sources,
        # Half a pixel more, because BTK cuts and int(8.2 / 0.1) is 81.
        stamp_size=(size + 0.5) * survey.pixel_scale.to_value("arcsec"),
        survey=survey,
        blend_images=images,
        isolated_images=np.zeros((n, max_n_sources, bands, size, size), dtype=np.float32),
        catalog_list=[Table({"ra": [0.0], "dec": [0.0]}) for _ in range(n)],
        psf=[survey.get_filter(band).psf for band in survey.available_filters],
    )


def gaussian(x, y, flux, size=64, fwhm=4.0, axis_ratio=1.0):
    """Return a noiseless Gaussian at a pixel position, longer along x."""
    s = fwhm / 2.3548
    row, column = np.mgrid[:size, :size]
    radius2 = axis_ratio * (column - x) ** 2 + (row - y) ** 2 / axis_ratio
    return flux / (2 * np.pi * s**2) * np.exp(-radius2 / (2 * s**2))


def add_noise(image, rng):
    """Draw photons and sky as BTK does, and subtract the sky."""
    return (rng.poisson(image + SIGMA**2) - SIGMA**2).astype(np.float32)


def random_scenes(n, seed, size=64):
    """Return noisy groups `(n, size, size)` of one to six galaxies, bright and faint."""
    rng = np.random.default_rng(seed)
    scenes = []
    for _ in range(n):
        image = np.zeros((size, size))
        for _ in range(rng.integers(1, 7)):
            x, y = rng.uniform(0.25 * size, 0.75 * size, 2)
            flux, fwhm = 10 ** rng.uniform(2.8, 4.8), rng.uniform(2.5, 8)
            image += gaussian(x, y, flux, size, fwhm, rng.uniform(0.4, 1))
        scenes.append(add_noise(image, rng))
    return np.array(scenes)


@pytest.fixture(scope="session")
def network():
    """A network with weights set by hand: centres at the peaks of the smoothed image.

    With s the arcsinh of the image in units of the noise, smoothed, and g how much the four
    neighbours of a pixel exceed it, the centre's logit is high where s is and g is 0; class 1 is
    where s is above 0.8, class 2 where it is above 3.3, each a little different in each sample.
    """
    # Before Keras is loaded: the product runs on TensorFlow.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("keras")
    from btk_punet.model.proba_unet import ProbaUNet

    model = ProbaUNet(channels=(6, 4), latent_channels=2, head_channels=4)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])

    def kernel_of(convolution, *entries):
        kernel = np.zeros(convolution.kernel.shape, "f4")
        for where, value in entries:
            kernel[where] = value
        convolution.kernel.assign(kernel)

    window = np.outer([1, 2, 1], [1, 2, 1]) / 16
    every = slice(None)
    kernel_of(model.encoder.stem.conv, ((every, every, 0, 0), np.full((3, 3), 1 / 9)))
    kernel_of(model.encoder.blocks[0], ((every, every, 0, 0), window))
    # The decoder's channels are those from below, here 0, then those of the encoder.
    slopes = []
    for channel, where in enumerate([(0, 1), (1, 0), (1, 2), (2, 1)], start=1):
        slopes += [((*where, 6, channel), 1), ((1, 1, 6, channel), -1)]
    kernel_of(model.decoder.join[0], ((1, 1, 6, 0), 1), *slopes)
    kernel_of(model.decoder.blocks[0], ((1, 1, 0, 0), 1), ((1, 1, slice(1, 5), 1), 1))
    kernel_of(
        model.features,
        ((0, slice(0, 3)), 1),  # s - 0.8, s - 1.8, s - 3.3
        ((1, 3), 1),  # g
    )
    model.features.bias.assign([-0.8, -1.8, -3.3, 0])
    model.head.latent_kernel.assign([[0.1, 0.1, 0, 0], [0, 0, 0.2, 0]])
    model.head.kernel.assign([[0, 8, 8, 12], [0, 0, 0, -11.6], [0, 0, 8, 0], [0, 0, 0, -1000]])
    model.head.bias.assign([0, -2, -4, -10])
    return model


@pytest.fixture(scope="session")
def told_network(network):
    """The same network, but one that is told densities, and hardly listens."""
    told = type(network).from_config(network.get_config() | {"told_density": True})
    of_telling = {id(weight) for weight in told.conditioning.weights}
    others = [weight for weight in told.weights if id(weight) not in of_telling]
    for weight, value in zip(others, network.get_weights(), strict=True):
        weight.assign(value)
    rng = np.random.default_rng(0)
    told.conditioning.set_weights(
        [0.05 * rng.standard_normal(w.shape) for w in told.conditioning.get_weights()]
    )
    return told
