"""SEP, and what it shares with SExtractor and photutils."""

import warnings

import btk.survey
import numpy as np
import pytest
import sep
from btk.deblend import DeblendGenerator

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.photutils import PhotutilsDeblender
from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError

from .conftest import (
    SIGMA,
    add_noise,
    gaussian,
    make_batch,
    needs_source_extractor,
    random_scenes,
)

each_program = pytest.mark.parametrize(
    "program",
    [
        SepDeblender,
        pytest.param(SourceExtractorDeblender, marks=needs_source_extractor),
        PhotutilsDeblender,
    ],
)


@pytest.fixture
def small_sep_buffers():
    stack, limit = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_extract_pixstack(100)
    sep.set_sub_object_limit(1)
    yield
    sep.set_extract_pixstack(stack)
    sep.set_sub_object_limit(limit)


@each_program
def test_two_gaussians(program):
    image = gaussian(20.3, 30.0, 5000) + gaussian(40.0, 28.6, 20000)
    (catalog,) = program(10)(make_batch([image])).catalog_list
    np.testing.assert_allclose(catalog["x_peak"], [40.0, 20.3], atol=0.02)
    np.testing.assert_allclose(catalog["y_peak"], [28.6, 30.0], atol=0.02)
    np.testing.assert_allclose(catalog["flux"], [20000, 5000], rtol=0.15)
    assert (catalog["flags"] == 0).all()
    # Zeropoint of 1 electron a second and the exposure of BTK's Euclid_VIS.
    expected = 25.92 - 2.5 * np.log10(catalog["flux"] / 565)
    np.testing.assert_allclose(catalog["mag_IE"], expected)
    variance = catalog["n_pixels"] * SIGMA**2 + catalog["flux"]
    np.testing.assert_allclose(catalog["flux_err"], np.sqrt(variance))


@each_program
def test_position_error_is_the_scatter_of_the_positions(program):
    rng = np.random.default_rng(3)
    images = [add_noise(gaussian(31.2, 32.4, 20000), rng) for _ in range(60)]
    catalogs = program(100, thresh=3)(make_batch(images)).catalog_list
    pulls = [(c["x_peak"][0] - 31.2) / c["x_err"][0] for c in catalogs]
    pulls += [(c["y_peak"][0] - 32.4) / c["y_err"][0] for c in catalogs]
    assert 0.8 < np.std(pulls) < 1.3


@each_program
def test_errors_hold_the_noise_of_the_survey_and_not_of_the_image(program):
    image = gaussian(31.0, 33.0, 20000)  # has no noise
    deblended = program(10)(make_batch([image]))
    (catalog,), footprint = deblended.catalog_list, deblended.segmentation[0, 0]
    column = np.mgrid[:64, :64][1][footprint]
    variance = ((SIGMA**2 + image[footprint]) * (column - 31.0) ** 2).sum()
    expected = np.sqrt(variance) / image[footprint].sum()
    np.testing.assert_allclose(catalog["x_err"], expected, rtol=0.15)


@each_program
def test_negative_ra(program):
    (catalog,) = program(10)(make_batch([gaussian(11.5, 51.5, 20000)])).catalog_list
    np.testing.assert_allclose(catalog["ra"], -2.0, atol=1e-3)
    np.testing.assert_allclose(catalog["dec"], 2.0, atol=1e-3)


@each_program
def test_edge_flag(program):
    image = gaussian(1.0, 30.0, 20000) + gaussian(40.0, 30.0, 10000)
    (catalog,) = program(10)(make_batch([image])).catalog_list
    assert list(catalog["flags"]) == [DetectionFlag.EDGE, 0]


@each_program
def test_too_many_detections(program):
    xy = [(15.0, 15.0), (45.0, 15.0), (30.0, 45.0)]
    crowded = sum(gaussian(x, y, 1e4 * (i + 1)) for i, (x, y) in enumerate(xy))
    batch = make_batch([crowded, gaussian(30.0, 30.0, 1e4), crowded])
    deblender = program(2)
    with pytest.warns(BtkPunetWarning, match=r"2 of 3 images .*\(up to 3\).*Raise max_n") as got:
        deblended = deblender(batch)
    assert len(got) == 1
    for ii in (0, 2):
        catalog = deblended.catalog_list[ii]
        np.testing.assert_allclose(catalog["x_peak"], [30, 45], atol=0.1)
        assert (catalog["flags"] == DetectionFlag.TRUNCATED).all()
        assert deblended.segmentation[ii, 0, 45, 30]
        assert deblended.segmentation[ii, 1, 15, 45]
    assert list(deblended.catalog_list[1]["flags"]) == [0]


@each_program
def test_as_many_detections_as_allowed_is_no_warning(program):
    deblended = program(1)(make_batch([gaussian(30.0, 30.0, 1e4)]))
    assert list(deblended.catalog_list[0]["flags"]) == [0]


@each_program
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e38, -1e38])
def test_dead_column(program, garbage):
    image = gaussian(20.0, 30.0, 20000) + gaussian(45.0, 30.0, 10000)
    image[:, 22] = garbage
    (catalog,) = program(10)(make_batch([image])).catalog_list
    near = catalog[catalog["x_peak"] < 32]
    far = catalog[catalog["x_peak"] >= 32]
    assert len(near) >= 1
    assert (near["flags"] & DetectionFlag.BAD_PIXEL != 0).all()
    # The column does not spread: the other source is as it is without it.
    (clean,) = program(10)(make_batch([gaussian(45.0, 30.0, 10000)])).catalog_list
    assert list(far["flags"]) == [0]
    for name in ("x_peak", "y_peak", "x_err", "flux", "n_pixels"):
        np.testing.assert_allclose(far[name], clean[name], rtol=1e-5)


@each_program
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_garbage_alone_is_not_detected(program, garbage):
    dead, spots = np.full((64, 64), garbage), np.zeros((64, 64))
    spots[10:14, 20:25] = garbage
    deblended = program(10)(make_batch([dead, spots]))
    assert [len(catalog) for catalog in deblended.catalog_list] == [0, 0]


@each_program
def test_scattered_garbage_keeps_finite_catalogs(program):
    rng = np.random.default_rng(5)
    images = random_scenes(4, seed=5)
    images[rng.random(images.shape) < 0.05] = np.nan
    for catalog in program(100)(make_batch(images)).catalog_list:
        assert len(catalog)
        for name in ("ra", "dec", "x_peak", "y_peak", "x_err", "y_err", "flux", "flux_err"):
            assert np.isfinite(catalog[name]).all()


@each_program
def test_bright_everywhere(program):
    (catalog,) = program(10)(make_batch([np.full((64, 64), 1e4)])).catalog_list
    assert list(catalog["n_pixels"]) == [64 * 64]


@each_program
def test_crowded_field(program):
    rng = np.random.default_rng(8)
    image = np.zeros((256, 256))
    for x, y in rng.uniform(0, 256, (300, 2)):
        image += gaussian(x, y, 10 ** rng.uniform(3, 4.5), 256, 3.0)
    (catalog,) = program(500)(make_batch([add_noise(image, rng)])).catalog_list
    assert 150 < len(catalog) < 400


@each_program
def test_the_band(program):
    survey = btk.survey.get_surveys("LSST")
    assert survey.available_filters == ["u", "g", "r", "i", "z", "y"]
    images = np.zeros((1, 6, 41, 41))
    for band in range(6):
        images[0, band] = gaussian(8.0 + 4 * band, 12.0, 1e6, size=41)
    batch = make_batch(images, survey)
    # By default that of the reference band, in which truth is measured.
    for use_band, index in [(None, 3), (0, 0), (np.int64(4), 4), ("y", 5)]:
        deblender = program(5, use_band=use_band)
        assert deblender.detection_band(survey) == index
        (catalog,) = deblender(batch).catalog_list
        np.testing.assert_allclose(catalog["x_peak"], 8.0 + 4 * index, atol=0.02)
        assert f"mag_{survey.available_filters[index]}" in catalog.colnames
    for use_band, message in [
        (6, "use_band must be below 6, the number of bands of LSST, got 6"),
        ("IE", "use_band must be the name of a band of LSST, got 'IE'"),
    ]:
        with pytest.raises(InputError, match=f"{message}. The bands are u, .*to take i"):
            program(5, use_band=use_band)(batch)


def test_negative_flux_has_no_magnitude():
    # Smoothing lifts the rim of a dark pixel over the threshold, and that pixel with it.
    image = gaussian(12.0, 12.0, 10000)
    image[45:48, 45:48] = 1000
    image[46, 46] = -8500
    catalog = SepDeblender(5, thresh=0.5, minarea=1).deblend(0, make_batch([image])).catalog
    negative = catalog["flux"] <= 0
    assert negative.any()
    assert not negative.all()
    np.testing.assert_array_equal(np.isnan(catalog["mag_IE"]), negative)


@pytest.mark.parametrize(
    ("thresh", "minarea", "deblend_cont"), [(1.2, 5, 5e-4), (1.5, 5, 0.005), (1.0, 5, 1e-4)]
)
def test_sep_equals_the_direct_call(thresh, minarea, deblend_cont):
    batch = make_batch(random_scenes(20, seed=1))
    deblended = SepDeblender(200, thresh, minarea, deblend_cont)(batch)
    for ii in range(20):
        found, labels = sep.extract(
            batch.blend_images[ii, 0],
            thresh,
            err=SIGMA,
            minarea=minarea,
            deblend_cont=deblend_cont,
            deblend_nthresh=64,
            segmentation_map=True,
        )
        order = np.argsort(-found["flux"], kind="stable")
        catalog = deblended.catalog_list[ii]
        np.testing.assert_array_equal(catalog["x_peak"], found["x"][order])
        np.testing.assert_array_equal(catalog["y_peak"], found["y"][order])
        np.testing.assert_array_equal(catalog["flux"], found["flux"][order])
        np.testing.assert_array_equal(catalog["n_pixels"], found["npix"][order])
        # Photons of the source add to the errors, which the direct call leaves out.
        assert (catalog["x_err"] >= np.sqrt(found["errx2"][order])).all()
        for row, label in enumerate(order + 1):
            np.testing.assert_array_equal(deblended.segmentation[ii, row], labels == label)


def test_sep_buffers_grow_when_they_are_full(small_sep_buffers):
    images = random_scenes(2, seed=2)
    small = SepDeblender(50)(make_batch(images))
    assert 100 < sep.get_extract_pixstack() <= 64 * 64 + 1
    assert 1 < sep.get_sub_object_limit() <= 64 * 64
    sep.set_extract_pixstack(300000)
    sep.set_sub_object_limit(1024)
    large = SepDeblender(50)(make_batch(images))
    np.testing.assert_array_equal(small.segmentation, large.segmentation)


def test_other_errors_of_sep_come_through(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(sep, "extract", fail)
    with pytest.raises(RuntimeError, match="something else"):
        SepDeblender(5)(make_batch(np.zeros((1, 64, 64))))


@each_program
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_n_sources": 0}, "max_n_sources must be an integer of at least 1, got 0"),
        ({"max_n_sources": 2.5}, "max_n_sources must be an integer of at least 1, got 2.5"),
        ({"thresh": 0.0}, "thresh must be a positive number of background sigmas, got 0.0"),
        ({"thresh": np.nan}, "thresh must be a positive number of background sigmas, got nan"),
        ({"thresh": "1.5"}, "thresh must be a positive number of background sigmas, got '1.5'"),
        ({"minarea": 0}, "minarea must be an integer of at least 1, got 0"),
        ({"deblend_cont": -0.1}, r"deblend_cont must lie in \[0, 1\], got -0.1"),
        ({"deblend_cont": 1.1}, r"deblend_cont must lie in \[0, 1\], got 1.1"),
        ({"deblend_nthresh": 0}, "deblend_nthresh must be an integer of at least 1, got 0"),
        ({"use_band": 1.0}, "use_band must be an integer of at least 0, got 1.0"),
        ({"use_band": -1}, "use_band must be an integer of at least 0, got -1"),
    ],
)
def test_bad_parameters(program, parameters, message):
    with pytest.raises(InputError, match=message):
        program(**{"max_n_sources": 5, **parameters})


def test_bad_calls():
    deblender = SepDeblender(5)
    batch = make_batch(np.zeros((2, 64, 64)))
    with pytest.raises(InputTypeError, match="needs a btk BlendBatch, got ndarray"):
        deblender.batch_call(np.zeros((2, 1, 64, 64)))
    with pytest.raises(InputTypeError, match="needs a btk BlendBatch, got NoneType"):
        deblender.deblend(0, None)
    with pytest.raises(InputError, match="njobs must be an integer of at least 1, got 0"):
        deblender.batch_call(batch, njobs=0)
    with pytest.raises(IndexError):
        deblender.deblend(2, batch)


def test_survey_without_noise():
    survey = btk.survey.get_surveys("Euclid_VIS")
    survey.get_filter("IE").sky_brightness = 99 * survey.get_filter("IE").sky_brightness.unit
    with pytest.raises(InputError, match="background of band IE must be positive"):
        SepDeblender(5)(make_batch(np.zeros((1, 64, 64)), survey))


def test_repr_shows_what_is_not_default():
    assert str(SepDeblender(5)) == "SepDeblender(max_n_sources=5)"
    assert repr(SepDeblender(5, thresh=1.5)) == "SepDeblender(max_n_sources=5, thresh=1.5)"


@needs_source_extractor
def test_several_settings_in_one_generator():
    class Draw:
        batch_size = 2

        def __next__(self):
            return make_batch(random_scenes(2, seed=6))

    deblenders = [SepDeblender(50), SepDeblender(50, thresh=3), SourceExtractorDeblender(50)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, deblended = next(DeblendGenerator(deblenders, Draw()))
    assert list(deblended) == [
        "SepDeblender(max_n_sources=50)",
        "SepDeblender(max_n_sources=50, thresh=3)",
        "SourceExtractorDeblender(max_n_sources=50)",
    ]
    default, strict, _ = deblended.values()
    assert len(strict.catalog_list[0]) < len(default.catalog_list[0])
