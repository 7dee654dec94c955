"""What every deblender promises, ours and BTK's, checked by one suite."""

import pickle
import warnings

import numpy as np
import pytest
from btk.blend_batch import DeblendBatch, DeblendExample
from btk.deblend import PeakLocalMax, Scarlet, SepMultiBand, SepSingleBand
from scipy.ndimage import binary_dilation

from btk_punet.deblending.calling import call_method
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.photutils import PhotutilsDeblender
from btk_punet.deblending.scarlet2 import Scarlet2Deblender
from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import BtkPunetWarning, InputTypeError

from .conftest import (
    SIGMA,
    gaussian,
    make_batch,
    needs_scarlet,
    needs_scarlet2,
    needs_source_extractor,
    random_scenes,
)

MAX_N_SOURCES = 30

# Those that threshold the image: the brightest come first, and footprints do not overlap.
ISOPHOTAL = [
    pytest.param(lambda: SepDeblender(MAX_N_SOURCES), id="SepDeblender"),
    pytest.param(
        lambda: SourceExtractorDeblender(MAX_N_SOURCES),
        id="SourceExtractorDeblender",
        marks=needs_source_extractor,
    ),
    pytest.param(lambda: PhotutilsDeblender(MAX_N_SOURCES), id="PhotutilsDeblender"),
]
# Those that give probabilities: the most probable come first, and footprints may overlap.
PROBABILISTIC = [pytest.param(ProbaUNetDeblender, id="ProbaUNetDeblender")]
# Those that fit a model: the brightest come first, and footprints may overlap.
MODELLING = [
    pytest.param(
        lambda: Scarlet2Deblender(MAX_N_SOURCES), id="Scarlet2Deblender", marks=needs_scarlet2
    )
]
OURS = ISOPHOTAL + PROBABILISTIC + MODELLING
BTKS = [
    pytest.param(lambda: PeakLocalMax(MAX_N_SOURCES, SIGMA**2, use_band=0), id="PeakLocalMax"),
    pytest.param(lambda: SepSingleBand(MAX_N_SOURCES, use_band=0), id="SepSingleBand"),
    pytest.param(lambda: SepMultiBand(MAX_N_SOURCES), id="SepMultiBand"),
    pytest.param(lambda: Scarlet(MAX_N_SOURCES, max_iter=10), id="Scarlet", marks=needs_scarlet),
]
every_deblender = pytest.mark.parametrize("make", OURS + BTKS, indirect=True)
our_deblender = pytest.mark.parametrize("make", OURS, indirect=True)
brightest_first_deblender = pytest.mark.parametrize("make", ISOPHOTAL + MODELLING, indirect=True)
overlapping_deblender = pytest.mark.parametrize("make", PROBABILISTIC + MODELLING, indirect=True)
isophotal_deblender = pytest.mark.parametrize("make", ISOPHOTAL, indirect=True)
probabilistic_deblender = pytest.mark.parametrize("make", PROBABILISTIC, indirect=True)

DTYPES = {
    "ra": "f",
    "dec": "f",
    "x_peak": "f",
    "y_peak": "f",
    "x_err": "f",
    "y_err": "f",
    "flux": "f",
    "flux_err": "f",
    "mag_IE": "f",
    "n_pixels": "i",
    "flags": "i",
}
PROBABILITIES = {"p_detect": "f", "p_blend": "f"}
# Of a fit that gives size and shape too.
LIGHT = {
    "mag_err_IE": "f",
    "flux_iso": "f",
    "half_light_radius": "f",
    "e1": "f",
    "e2": "f",
    "blend_id": "i",
}
# NaN where there is nothing to say: a flux that is not positive, a fit that failed.
MAY_BE_NAN = {"mag_IE", "mag_err_IE", "half_light_radius", "e1", "e2"}


@pytest.fixture
def make(request):
    """Return a function that makes the deblender."""
    if request.param is not ProbaUNetDeblender:
        return request.param
    network = request.getfixturevalue("network")
    return lambda: ProbaUNetDeblender(MAX_N_SOURCES, network, n_samples=4, threshold=0.2)


def is_probabilistic(deblender):
    return isinstance(deblender, ProbaUNetDeblender)


def dtypes_of(deblender):
    return DTYPES | PROBABILITIES | LIGHT if is_probabilistic(deblender) else DTYPES


@pytest.fixture(scope="module")
def batch():
    return make_batch(random_scenes(4, seed=11))


def assert_same(one, two, rtol=0.0):
    for a, b in zip(one.catalog_list, two.catalog_list, strict=True):
        assert a.colnames == b.colnames
        for name in a.colnames:
            np.testing.assert_allclose(a[name], b[name], rtol=rtol)
    if one.segmentation is None:
        assert two.segmentation is None
    else:
        np.testing.assert_array_equal(one.segmentation, two.segmentation)


@our_deblender
def test_empty_image_gives_empty_table_with_all_columns(make):
    deblender = make()
    deblended = deblender(make_batch(np.zeros((2, 64, 64), dtype=np.float32)))
    for catalog in deblended.catalog_list:
        assert len(catalog) == 0
        kinds = {name: catalog[name].dtype.kind for name in catalog.colnames}
        assert kinds == dtypes_of(deblender)
    assert deblended.segmentation.shape == (2, MAX_N_SOURCES, 64, 64)
    assert not deblended.segmentation.any()


@our_deblender
def test_batch_without_images(make):
    deblended = make()(make_batch(np.zeros((0, 64, 64), dtype=np.float32)))
    assert deblended.catalog_list == []
    assert deblended.segmentation.shape == (0, MAX_N_SOURCES, 64, 64)


@every_deblender
def test_returns_a_deblend_batch(make, batch):
    deblended = make()(batch)
    assert isinstance(deblended, DeblendBatch)
    assert deblended.batch_size == batch.batch_size == len(deblended.catalog_list)
    assert deblended.max_n_sources == MAX_N_SOURCES
    for catalog in deblended.catalog_list:
        assert 0 < len(catalog) <= MAX_N_SOURCES
        assert np.isfinite(catalog["ra"]).all()
        assert np.isfinite(catalog["dec"]).all()


@every_deblender
def test_works_on_a_batch_that_it_cannot_change(make, batch):
    assert_same(call_method(make(), batch), make()(batch))


@every_deblender
def test_same_input_gives_same_output(make, batch):
    assert_same(make()(batch), make()(batch))


@every_deblender
def test_survives_pickle(make, batch):
    deblender = make()
    copy = pickle.loads(pickle.dumps(deblender))
    assert str(copy) == str(deblender)
    assert_same(copy(batch), deblender(batch))


@every_deblender
def test_one_image_is_as_in_the_batch(make, batch):
    deblender = make()
    example = deblender.deblend(2, batch)
    assert isinstance(example, DeblendExample)
    in_batch = deblender(batch).catalog_list[2]
    # A network's matrix products round differently for another number of images.
    atol_arcsec = 1e-5 if is_probabilistic(deblender) else 0
    np.testing.assert_allclose(example.catalog["ra"], in_batch["ra"], rtol=0, atol=atol_arcsec)


@every_deblender
def test_two_processes_give_the_same(make, batch):
    # BTK sends its world coordinates to the processes, which costs them the last digit.
    assert_same(make().batch_call(batch, njobs=2), make().batch_call(batch), rtol=1e-12)


@our_deblender
def test_columns(make, batch):
    deblender = make()
    for catalog in deblender(batch).catalog_list:
        kinds = {name: catalog[name].dtype.kind for name in catalog.colnames}
        assert kinds == dtypes_of(deblender)
        for name in set(catalog.colnames) - MAY_BE_NAN:
            assert np.isfinite(catalog[name]).all()
        for name in ("x_err", "y_err", "flux_err", "n_pixels"):
            assert (catalog[name] > 0).all()


@brightest_first_deblender
def test_the_brightest_come_first(make, batch):
    for catalog in make()(batch).catalog_list:
        assert (np.diff(catalog["flux"]) <= 0).all()


@probabilistic_deblender
def test_the_most_probable_come_first(make, batch):
    deblender = make()
    for catalog in deblender(batch).catalog_list:
        assert (np.diff(catalog["p_detect"]) <= 0).all()
        assert (catalog["p_detect"] >= deblender.threshold).all()
        for name in PROBABILITIES:
            assert ((catalog[name] >= 0) & (catalog[name] <= 1)).all()


@our_deblender
def test_sky_positions_are_those_of_the_pixels(make, batch):
    for catalog in make()(batch).catalog_list:
        assert (np.abs(catalog["ra"]) < batch.stamp_size).all()
        # BTK's coordinates are 0 at the centre of the image, and grow with x and y.
        np.testing.assert_allclose(catalog["ra"], 0.1 * (catalog["x_peak"] - 31.5), atol=1e-6)
        np.testing.assert_allclose(catalog["dec"], 0.1 * (catalog["y_peak"] - 31.5), atol=1e-6)


@our_deblender
def test_segmentation_follows_the_catalog(make, batch):
    deblender = make()
    deblended = deblender(batch)
    assert deblended.segmentation.dtype == bool
    assert deblended.segmentation.shape == (4, MAX_N_SOURCES, 64, 64)
    for ii, (catalog, segmentation) in enumerate(
        zip(deblended.catalog_list, deblended.segmentation, strict=True)
    ):
        assert not segmentation[len(catalog) :].any()
        for row, footprint in zip(catalog, segmentation, strict=False):
            near = binary_dilation(footprint, structure=np.ones((3, 3)))
            assert near[round(row["y_peak"]), round(row["x_peak"])]
            assert footprint.sum() == row["n_pixels"]
            if isinstance(deblender, Scarlet2Deblender):
                continue  # whose flux is that of a model
            # The flux ties a row to its footprint: no other footprint holds the same. Where
            # footprints overlap, they share it.
            light = batch.blend_images[ii, 0] / np.maximum(segmentation.sum(axis=0), 1)
            flux = row["flux_iso"] if is_probabilistic(deblender) else row["flux"]
            np.testing.assert_allclose(light[footprint].sum(), flux, rtol=1e-4)


@isophotal_deblender
def test_footprints_do_not_overlap(make, batch):
    assert make()(batch).segmentation.sum(axis=1).max() == 1


@overlapping_deblender
def test_footprints_overlap_where_sources_do(make):
    blend = gaussian(29.0, 30.0, 20000) + gaussian(35.0, 30.0, 20000)
    segmentation = make()(make_batch([blend])).segmentation
    assert segmentation.sum(axis=1).max() == 2


def big_endian(images):
    return images.astype(images.dtype.newbyteorder(">"))


def fortran(images):
    return np.asfortranarray(images)


def transposed(images):
    return np.ascontiguousarray(images.T).T


def reversed_strides(images):
    return np.ascontiguousarray(images[::-1, :, ::-1, ::-1])[::-1, :, ::-1, ::-1]


def every_second(images):
    spread = np.zeros((*images.shape[:3], 2 * images.shape[3]), images.dtype)
    spread[..., ::2] = images
    return spread[..., ::2]


def misaligned(images):
    memory = np.zeros(images.nbytes + 1, np.uint8)
    memory[1:] = np.frombuffer(images.tobytes(), np.uint8)
    return memory[1:].view(images.dtype).reshape(images.shape)


def read_only(images):
    images = images.copy()
    images.flags.writeable = False
    return images


LAYOUTS = [big_endian, fortran, transposed, reversed_strides, every_second, misaligned, read_only]


@pytest.mark.parametrize("layout", LAYOUTS)
@our_deblender
def test_any_layout_in_memory(make, layout):
    plain = random_scenes(2, seed=12)[:, None]
    laid_out = layout(plain)
    np.testing.assert_array_equal(laid_out, plain)
    before = laid_out.tobytes()
    found = make()(make_batch(laid_out))
    assert_same(found, make()(make_batch(plain)))
    assert sum(map(len, found.catalog_list)) > 2
    assert laid_out.tobytes() == before


@pytest.mark.parametrize(
    "dtype", ["f2", "f4", ">f4", ">f8", np.longdouble, "i2", ">i4", "i8", "u2", "u8"]
)
@our_deblender
def test_any_kind_of_number(make, dtype):
    """Of whole numbers below 2048, which all of them hold exactly."""
    images = random_scenes(2, seed=12).round().clip(0, 2047)
    found = make()(make_batch(images.astype(dtype)))
    plain = images.astype(np.float32 if dtype in ("f4", ">f4") else np.float64)
    assert_same(found, make()(make_batch(plain)))
    assert sum(map(len, found.catalog_list)) > 2


@pytest.mark.parametrize("dtype", [bool, complex, object, "U3"])
@our_deblender
def test_what_is_no_number_is_named(make, dtype):
    batch = make_batch(np.zeros((1, 16, 16)).astype(dtype))
    with pytest.raises(InputTypeError, match="blend_images as real numbers, got dtype"):
        make()(batch)


SMALL = 48  # pixels


def hole(value):
    """Return two galaxies with a block of such pixels beside one, and what becomes of it."""

    def image():
        image = gaussian(14.0, 22.0, 20000, SMALL) + gaussian(34.0, 22.0, 20000, SMALL)
        image[18:26, 17:21] = value
        return image

    return image


def constant(value, dtype=float):
    return lambda: np.full((SMALL, SMALL), value, dtype)


def noise_and(sky):
    return lambda: random_scenes(1, seed=14, size=SMALL)[0] + sky


def alternating():
    return np.where(np.indices((SMALL, SMALL)).sum(axis=0) % 2, 1e30, -1e30)


# Images, and whether a detection beside bad pixels must be there, and flagged.
STRANGE_IMAGES = {
    "NaN": (hole(np.nan), True),
    "inf": (hole(np.inf), True),
    "-inf": (hole(-np.inf), True),
    "1e30": (hole(1e30), True),
    "-1e30": (hole(-1e30), True),
    "beyond float32": (hole(1e300), True),
    "1e24": (hole(1e24), False),
    "-1e24": (hole(-1e24), False),
    "1e15": (hole(1e15), False),
    "all NaN": (constant(np.nan), False),
    "all inf": (constant(np.inf), False),
    "all zero": (constant(0), False),
    "all 1e30": (constant(1e30), False),
    "all 1e24": (constant(1e24), False),
    "all 1e24, float32": (constant(1e24, np.float32), False),
    "all the largest int16": (constant(32767, np.int16), False),
    "all the smallest int16": (constant(-32768, np.int16), False),
    "subnormal": (constant(5e-324), False),
    "constant": (constant(1000), False),
    "negative constant": (constant(-1000), False),
    "negative sky": (noise_and(-200), False),
    "bright sky": (noise_and(1000), False),
    "alternating": (alternating, False),
}
ALWAYS_FINITE = ["p_detect", "x_peak", "y_peak", "x_err", "y_err"]


@pytest.mark.parametrize(
    ("image", "flagged"), [pytest.param(*row, id=name) for name, row in STRANGE_IMAGES.items()]
)
@our_deblender
def test_strange_images_are_survived(make, image, flagged):
    # With a plain one, which must not suffer.
    images = np.array([image(), np.zeros((SMALL, SMALL))], image().dtype)
    images[1] += gaussian(22.0, 22.0, 20000, SMALL).astype(images.dtype)
    with warnings.catch_warnings():
        # What is said aloud is no silent fault; of both, the flags tell too.
        warnings.filterwarnings("ignore", ".* images hold more detections", BtkPunetWarning)
        warnings.filterwarnings("ignore", ".*: the fit broke down in", BtkPunetWarning)
        found = call_method(make(), make_batch(images))
    for catalog in found.catalog_list:
        for name in set(ALWAYS_FINITE) & set(catalog.colnames):
            assert np.isfinite(catalog[name]).all(), name
        for name in ("x_peak", "y_peak"):
            assert ((catalog[name] > -1) & (catalog[name] < SMALL)).all()
    if flagged:
        beside = np.abs(found.catalog_list[0]["x_peak"] - 14) < 4
        assert beside.any()
        flags = found.catalog_list[0]["flags"][beside]
        assert (flags & DetectionFlag.BAD_PIXEL != 0).all()
    (place,) = found.catalog_list[1]["x_peak"]
    assert place == pytest.approx(22, abs=0.1)


@our_deblender
def test_saved_and_loaded(make, batch, tmp_path):
    deblended = make()(batch)
    deblended.save(str(tmp_path))
    assert_same(DeblendBatch.load(str(tmp_path)), deblended)
