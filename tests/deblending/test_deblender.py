"""ProbaUNetDeblender, with a network that finds the peaks of the smoothed image."""

import pickle
import tracemalloc
import warnings
from dataclasses import fields
from types import SimpleNamespace

import btk.survey
import galsim
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.deblend import DeblendGenerator, SepSingleBand
from btk.match import PixelHungarianMatcher
from btk.metrics.detection import Efficiency, Precision, Recall
from btk.metrics.segmentation import IoU
from scipy.special import expit, logit

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.density import UNTOLD_DENSITY_RATIO
from btk_punet.deblending.evidence_network import Measures
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.log_odds import LogitLine, SurroundingTerms, log_odds
from btk_punet.deblending.measure import MeasureGenerator
from btk_punet.deblending.noise import noise_normalised
from btk_punet.deblending.posterior import PosteriorMaps
from btk_punet.deblending.recipe import DetectionRecipe, reweighted
from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.surroundings import DEEP_VARIANCE, Surroundings
from btk_punet.errors import BtkPunetError, BtkPunetWarning, InputError, InputTypeError
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import EuclidGroupSampling, EuclidPairSampling
from btk_punet.simulation.survey import get_euclid_survey

from .conftest import SIGMA, gaussian, make_batch, random_scenes
from .equal import assert_equal
from .test_evidence_network import linear

COLUMNS = (
    "ra dec x_peak y_peak x_err y_err p_detect p_blend flux flux_err mag_IE mag_err_IE flux_iso "
    "half_light_radius e1 e2 n_pixels blend_id flags"
).split()
INTEGERS = dict.fromkeys(["n_pixels", "blend_id", "flags"], "i")
# Magnitudes there are of positive fluxes alone, and sizes and shapes where there is a fit.
ALWAYS_FINITE = set(COLUMNS) - {"mag_IE", "mag_err_IE", "half_light_radius", "e1", "e2"}


@pytest.fixture(scope="module")
def scenes():
    return random_scenes(6, seed=11)


@pytest.fixture
def deblender(network):
    return ProbaUNetDeblender(30, network, n_samples=4, threshold=0.2)


def two_sources(faint=5000):
    return gaussian(20.0, 30.0, faint) + gaussian(42.0, 28.0, 20000)


def generator(**options):
    catalog = EuclidCatalog.simulate(50, seed=3)
    survey = get_euclid_survey(n_exposures=1, read_noise=0.0)
    sampling = EuclidGroupSampling(stamp_size=6.4, seed=4)
    return EuclidGenerator(catalog, sampling, survey, batch_size=4, **options)


def assert_same(one, two, atol=0.0):
    """Compare two batches, position by position where a network's rounding may differ."""
    for a, b in zip(one.catalog_list, two.catalog_list, strict=True):
        assert a.colnames == b.colnames
        for name in a.colnames:
            np.testing.assert_allclose(a[name], b[name], rtol=atol, atol=atol, err_msg=name)
    np.testing.assert_array_equal(one.segmentation, two.segmentation)
    for a, b in zip(one.extra_data, two.extra_data, strict=True):
        assert list(a) == list(b)
        for key in set(a) - {"candidates", "evidence"}:
            np.testing.assert_allclose(a[key], b[key], rtol=atol, atol=atol, err_msg=key)


# -- what is returned --------------------------------------------------------------------------


def test_no_images(deblender):
    found = deblender(make_batch(np.zeros((0, 64, 64))))
    assert found.catalog_list == found.extra_data == []
    assert found.segmentation.shape == (0, 30, 64, 64)


def test_empty_image(deblender):
    found = deblender(make_batch(np.zeros((1, 64, 64))))
    (catalog,), (extra,) = found.catalog_list, found.extra_data
    assert len(catalog) == 0
    assert catalog.colnames == COLUMNS
    kinds = {name: catalog[name].dtype.kind for name in COLUMNS}
    assert kinds == dict.fromkeys(COLUMNS, "f") | INTEGERS
    assert len(extra["candidates"]) == 0
    np.testing.assert_array_equal(extra["count_posterior"], [1] + 30 * [0])
    np.testing.assert_array_equal(extra["class_mean"], 0)


def test_two_sources(deblender):
    batch = make_batch([two_sources()])
    found = deblender(batch)
    (catalog,), (extra,) = found.catalog_list, found.extra_data
    assert catalog.colnames == COLUMNS
    np.testing.assert_allclose(catalog["x_peak"], [42, 20], atol=0.05)
    np.testing.assert_allclose(catalog["y_peak"], [28, 30], atol=0.05)
    np.testing.assert_allclose(catalog["ra"], 0.1 * (catalog["x_peak"] - 31.5), atol=1e-6)
    np.testing.assert_allclose(catalog["dec"], 0.1 * (catalog["y_peak"] - 31.5), atol=1e-6)
    np.testing.assert_allclose(catalog["flux_iso"], [20000, 5000], rtol=0.15)
    expected = 25.92 - 2.5 * np.log10(catalog["flux"] / 565)
    np.testing.assert_allclose(catalog["mag_IE"], expected)
    error = 2.5 / np.log(10) * catalog["flux_err"] / catalog["flux"]
    np.testing.assert_allclose(catalog["mag_err_IE"], error)
    assert list(catalog["blend_id"]) == [0, 1]
    assert (catalog["p_detect"] > 0.9).all()
    assert (catalog["flags"] == 0).all()
    # Only the bright source has a core that the network takes for a blend.
    assert catalog["p_blend"][0] > 0.9
    posterior = extra["count_posterior"]
    missed = 1 - catalog["p_detect"]
    assert posterior[0] == pytest.approx(missed.prod(), rel=0.1)
    assert posterior.argmax() == 2
    assert posterior.sum() == pytest.approx(1)


def test_without_light(network):
    deblender = ProbaUNetDeblender(30, network, n_samples=4, threshold=0.2, light=False)
    found = deblender(make_batch([two_sources(), np.zeros((64, 64))]))
    catalog = found.catalog_list[0]
    assert found.deblended_images is None
    assert catalog.colnames == found.catalog_list[1].colnames == COLUMNS
    np.testing.assert_allclose(catalog["x_peak"], [42, 20], atol=0.05)
    # The mass is in one pixel.
    np.testing.assert_allclose(catalog["x_err"], np.sqrt(1 / 12), atol=0.05)
    np.testing.assert_allclose(catalog["flux_iso"], [20000, 5000], rtol=0.15)
    for name in "flux flux_err mag_IE mag_err_IE half_light_radius e1 e2".split():
        assert np.isnan(catalog[name]).all()
    assert (catalog["flags"] == 0).all()


def test_extra_data(deblender, scenes):
    found = deblender(make_batch(scenes))
    shapes = {
        "class_probability": (3, 64, 64),
        "class_mean": (64, 64),
        "class_variance": (64, 64),
        "centre_probability": (64, 64),
        "count_posterior": (31,),
    }
    for extra, catalog in zip(found.extra_data, found.catalog_list, strict=True):
        assert {key: extra[key].shape for key in shapes} == shapes
        of_light = {"evidence"} if deblender.light else set()
        assert set(extra) == {*shapes, "candidates", "density_ratio"} | of_light
        assert extra["density_ratio"] == 1.0
        np.testing.assert_allclose(extra["class_probability"].sum(axis=0), 1, atol=1e-5)
        assert extra["count_posterior"].sum() == pytest.approx(1)
        candidates = extra["candidates"]
        assert candidates.colnames == ["x_peak", "y_peak", "x_err", "y_err", "p_detect"]
        assert (candidates["p_detect"] >= 0.02).all()
        # The catalog is their beginning.
        for name in candidates.colnames:
            np.testing.assert_array_equal(candidates[name][: len(catalog)], catalog[name])
        assert (candidates["p_detect"][len(catalog) :] < deblender.threshold).all()


def test_evidence_of_the_pixels(network, scenes):
    """It is told of every candidate, and weighed as the recipe says; threshold or not."""
    batch = make_batch(scenes)
    plain = ProbaUNetDeblender(30, network, 4)
    terms = linear(-0.2, gain=0.1, move=-0.2, log_snr=0.1, log_background_around=0.1)
    weighing = plain.with_recipe(DetectionRecipe(evidence=terms))
    lower = ProbaUNetDeblender(30, network, 4, threshold=0.1).with_recipe(weighing.recipe)
    for before, after, same in zip(
        plain(batch).extra_data, weighing(batch).extra_data, lower(batch).extra_data, strict=True
    ):
        evidence, p = before["evidence"], before["candidates"]["p_detect"]
        assert evidence.colnames == [field.name for field in fields(Measures)]
        np.testing.assert_array_equal(evidence["p_network"], p)
        np.testing.assert_array_equal(evidence["is_fitted"], p >= 0.5)
        expected = terms(Measures(*(np.asarray(evidence[name]) for name in evidence.colnames)))
        kept = np.sort(expected[expected >= 0.02])[::-1]
        np.testing.assert_allclose(after["candidates"]["p_detect"], kept, rtol=1e-6)
        np.testing.assert_allclose(same["candidates"]["p_detect"], kept, rtol=1e-6)
        assert len(after["evidence"]) == len(after["candidates"])
        if len(p):
            expected_count = after["count_posterior"] @ np.arange(31)
            assert expected_count == pytest.approx(expected.sum(), abs=0.1)


def test_maps_are_those_of_the_posterior(deblender, network, scenes):
    batch = make_batch(scenes)
    maps = PosteriorMaps.from_network(network, noise_normalised(batch), 4, 0)
    for i, extra in enumerate(deblender(batch).extra_data):
        for name in ("class_probability", "class_mean", "class_variance", "centre_probability"):
            np.testing.assert_array_equal(extra[name], getattr(maps, name)[i])
    assert maps.class_variance.max() > 0.2


def test_sorted_by_probability_and_not_by_flux(deblender, scenes):
    catalogs = deblender(make_batch(scenes)).catalog_list
    for catalog in catalogs:
        assert (np.diff(catalog["p_detect"]) <= 0).all()
    assert any((np.diff(catalog["flux_iso"]) > 0).any() for catalog in catalogs)


def test_overlaps_belong_to_all_and_their_flux_is_shared(deblender):
    image = gaussian(29.0, 30.0, 20000) + gaussian(35.0, 30.0, 20000)
    batch = make_batch([image])
    found = deblender(batch)
    (catalog,), segmentation = found.catalog_list, found.segmentation[0]
    assert len(catalog) == 2
    both = segmentation[:2].all(axis=0)
    assert both.sum() > 10
    covered = segmentation.any(axis=0)
    assert catalog["flux_iso"].sum() == pytest.approx(image[covered].sum())
    np.testing.assert_allclose(catalog["flux_iso"], 20000, rtol=0.1)
    assert list(catalog["blend_id"]) == [0, 0]
    np.testing.assert_array_equal(catalog["n_pixels"], segmentation[:2].sum(axis=(1, 2)))
    np.testing.assert_allclose(catalog["p_blend"], catalog["p_blend"][0], rtol=0.05)


def test_threshold(network, scenes):
    batch = make_batch(scenes)

    def run(threshold):
        # Without the fit, in which each source's light hangs on what else is there.
        return ProbaUNetDeblender(30, network, threshold=threshold, light=False)(batch).catalog_list

    everything = run(0.0)
    for threshold in (0.3, 0.93):
        found = run(threshold)
        for some, all_ in zip(found, everything, strict=True):
            kept = all_["p_detect"] >= threshold
            np.testing.assert_array_equal(some["x_peak"], all_["x_peak"][kept])
    numbers = [sum(map(len, found)), sum(map(len, everything))]
    assert 0 < numbers[0] < numbers[1]


def test_density_ratio(network, scenes):
    batch = make_batch(scenes)
    usual, sparse = (
        ProbaUNetDeblender(30, network, threshold=0.0, density_ratio=ratio, light=False)(batch)
        for ratio in (1.0, 0.2)
    )
    for some, others in zip(usual.catalog_list, sparse.catalog_list, strict=True):
        np.testing.assert_array_equal(some["x_peak"], others["x_peak"])
        np.testing.assert_allclose(others["p_detect"], reweighted(some["p_detect"], 0.2))
    before, after = (
        float(found.extra_data[0]["count_posterior"] @ np.arange(31)) for found in (usual, sparse)
    )
    assert after < before
    with pytest.raises(InputError, match="odds_ratio must be a number above 0, got 0"):
        ProbaUNetDeblender(30, network, density_ratio=0)


def of(sampling):
    """Return what looks like the generator of a run."""
    return SimpleNamespace(sampling_function=sampling, catalog=None)


def test_a_network_that_is_told_the_density(told_network, scenes):
    told = told_network
    batch = make_batch(scenes)
    images = noise_normalised(batch)
    for given, ratio in ((1.0, 1.0), (20.0, 20.0), (None, 1.0)):
        # The maps are what is looked at: untrained weights find any number of sources.
        deblender = ProbaUNetDeblender(30, told, n_samples=2, density_ratio=given, threshold=1)
        found = deblender(batch)
        expected = told.sample(images, 2, density_ratio=ratio)["centre"].mean(axis=0)
        got = [extra["centre_probability"] for extra in found.extra_data]
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert {extra["density_ratio"] for extra in found.extra_data} == {ratio}


def test_a_run_tells_the_density_of_its_scenes(told_network, tmp_path):
    told = told_network
    told.save(tmp_path)
    for weights in (told, tmp_path):
        deblender = ProbaUNetDeblender(30, weights, n_samples=2)
        pairs = deblender.told_scenes(of(EuclidPairSampling()))
        assert pairs.density_ratio == 6.3 and deblender.density_ratio is None
        assert "density_ratio=6.3" in repr(pairs)
        assert pairs.fingerprint() != deblender.fingerprint()
        assert pairs.fingerprint() == (
            ProbaUNetDeblender(30, weights, 2, density_ratio=6.3).fingerprint()
        )
        assert "told that sources lie 6.3 times" in pairs.home_advantage(of(None))
        assert "told that sources lie 1 times" in deblender.home_advantage(of(None))
    assert pairs.network is not None and pairs.recipe == deblender.recipe


@pytest.mark.parametrize(
    ("given", "sampling"),
    [(2.0, EuclidPairSampling()), ("auto", EuclidPairSampling()), (None, object()),
     (None, EuclidGroupSampling(max_number=1))],
)  # fmt: skip
def test_where_a_run_has_nothing_to_tell(told_network, given, sampling):
    deblender = ProbaUNetDeblender(30, told_network, density_ratio=given)
    assert deblender.told_scenes(of(sampling)) is deblender


def test_a_network_that_is_not_told_stays_as_it_is(network):
    deblender = ProbaUNetDeblender(30, network)
    assert deblender.told_scenes(of(EuclidPairSampling())) is deblender
    assert "told" not in deblender.home_advantage(of(None))
    assert deblender.fingerprint()["density_ratio"] == 1.0


def drawing(kind):
    """Return something that draws galaxies of a kind."""
    return SimpleNamespace(sampling_function=None, kind_of_galaxies=kind, catalog=None)


@pytest.mark.parametrize(("kind", "number"), [("smooth", -1), ("real", 1)])
def test_a_run_tells_the_galaxies_of_its_scenes(network, scenes, kind, number):
    deblender = ProbaUNetDeblender(30, network, 2).with_recipe(
        DetectionRecipe(evidence=linear(real=-0.5))
    )
    told = deblender.told_scenes(drawing(kind))
    assert told.galaxies == kind and deblender.galaxies is None
    assert told.fingerprint() != deblender.fingerprint()
    batch = make_batch(scenes)
    for plain, one in zip(deblender(batch).extra_data, told(batch).extra_data, strict=True):
        assert (plain["evidence"]["real"] == 0).all() and (one["evidence"]["real"] == number).all()
        # The log odds by the network count to 8, as for every candidate.
        odds = np.clip(log_odds(np.asarray(one["evidence"]["p_network"])), -8, 8) - 0.5 * number
        np.testing.assert_allclose(
            one["candidates"]["p_detect"], -np.sort(-expit(odds))[: len(one["candidates"])]
        )


def test_what_was_told_is_said(told_network):
    deblender = ProbaUNetDeblender(30, told_network)
    told = deblender.told_scenes(drawing("real"))
    assert told.home_advantage(of(None)).endswith("as in the sky, and that galaxies are real")
    assert deblender.home_advantage(of(None)).endswith("as in the sky")


@pytest.mark.parametrize("given", ["unknown", "real"])
def test_galaxies_that_were_given_stay(network, given):
    deblender = ProbaUNetDeblender(30, network, galaxies=given)
    assert deblender.told_scenes(drawing("smooth")) is deblender
    nothing = ProbaUNetDeblender(30, network)
    assert nothing.told_scenes(drawing(None)) is nothing
    assert (given == "unknown") == (nothing.fingerprint() == deblender.fingerprint())


def test_galaxies_of_another_kind(network):
    expected = "galaxies must be 'smooth', 'real', 'unknown' or None, got 'clumpy'"
    with pytest.raises(InputError, match=expected):
        ProbaUNetDeblender(30, galaxies="clumpy")
    with pytest.raises(InputError, match=expected):
        ProbaUNetDeblender(30, network).told_scenes(drawing("clumpy"))
    with pytest.raises(InputError, match=r"'unknown' or None, got \['smooth'\]"):
        ProbaUNetDeblender(30, galaxies=["smooth"])


@pytest.mark.parametrize("is_told", [False, True])
def test_the_density_is_estimated_from_the_batch(network, told_network, scenes, is_told):
    batch = make_batch(scenes)
    deblender = ProbaUNetDeblender(
        400, told_network if is_told else network, 2, density_ratio="auto", light=False
    )
    found = deblender(batch)
    (ratio,) = {extra["density_ratio"] for extra in found.extra_data}
    assert 0 < ratio <= 50 and ratio != 1
    again = ProbaUNetDeblender(400, deblender.weights, 2, density_ratio=ratio, light=False)(batch)
    for one, two in zip(found.catalog_list, again.catalog_list, strict=True):
        np.testing.assert_array_equal(one["p_detect"], two["p_detect"])
    assert deblender.deblend(1, batch).extra_data["density_ratio"] == ratio
    assert "estimates from the images" in deblender.home_advantage(of(None))


def test_an_empty_batch_is_as_dense_as_the_sky(network):
    batch = make_batch(np.zeros((1, 32, 32)))
    found = ProbaUNetDeblender(30, network, 2, density_ratio="auto", light=False)(batch)
    # The sky, over the density of the training that an untold network takes for 1.
    assert found.extra_data[0]["density_ratio"] == 1 / UNTOLD_DENSITY_RATIO


def test_another_word_for_the_density():
    with pytest.raises(InputError, match="number above 0, 'auto' or None, got 'sky'"):
        ProbaUNetDeblender(30, density_ratio="sky")


def test_a_calibration_of_ones_own(network, scenes):
    batch = make_batch(scenes)
    usual = ProbaUNetDeblender(30, network, threshold=0.0, light=False)
    recipe = DetectionRecipe(p_detect=LogitLine(1.0, -2.0))
    for first in (True, False):  # before and after the network is loaded
        other = usual.with_recipe(recipe)
        assert other.recipe == recipe and usual.recipe != recipe
        assert other.fingerprint() != usual.fingerprint()
        for some, others in zip(usual(batch).catalog_list, other(batch).catalog_list, strict=True):
            np.testing.assert_allclose(others["p_detect"], recipe.p_detect(some["p_detect"]))
        assert pickle.loads(pickle.dumps(other)).recipe == recipe or first


def test_what_the_surroundings_say_is_added(network):
    images = random_scenes(3, seed=5)
    deep = make_batch(images, get_euclid_survey(4, 4.4, 0.17))
    usual = ProbaUNetDeblender(30, network, threshold=0.0, light=False)
    terms = SurroundingTerms(depth=-1.0, faint=-2.0, near=-3.0, doubt=-0.5)
    other = usual.with_recipe(DetectionRecipe(surroundings=terms))
    for i, (some, others) in enumerate(
        zip(usual(deep).extra_data, other(deep).extra_data, strict=True)
    ):
        before, after = some["candidates"], others["candidates"]
        assert (np.diff(after["p_detect"]) <= 0).all()
        around = Surroundings.measure(
            np.zeros(len(before), int),
            np.asarray(before["x_peak"]),
            np.asarray(before["y_peak"]),
            np.asarray(before["p_detect"]),
            noise_normalised(deep)[i : i + 1, ..., 0],
            DEEP_VARIANCE,
            1.0,
        )
        shift = -1 - 2 * around.faint - 3 * around.near - 0.5 * around.doubt
        expected = expit(logit(before["p_detect"]) + shift)
        kept = np.sort(expected[expected >= 0.02])[::-1]
        np.testing.assert_allclose(after["p_detect"], kept, rtol=1e-3)


def test_too_many_detections(network):
    crowded = gaussian(15, 15, 3000) + gaussian(45, 15, 1e4) + gaussian(30, 45, 3e4)
    batch = make_batch([crowded, gaussian(30, 30, 1e4), crowded])
    deblender = ProbaUNetDeblender(2, network)
    with pytest.warns(BtkPunetWarning, match=r"2 of 3 images .*\(up to 3\).*Raise max_n") as got:
        found = deblender(batch)
    assert len(got) == 1
    assert got[0].filename.endswith("deblend.py")  # BTK's, which called batch_call
    for ii in (0, 2):
        catalog = found.catalog_list[ii]
        np.testing.assert_allclose(catalog["x_peak"], [30, 45], atol=0.1)
        assert (catalog["flags"] & DetectionFlag.TRUNCATED != 0).all()
        assert found.extra_data[ii]["count_posterior"].shape == (3,)
        assert found.extra_data[ii]["count_posterior"][-1] > 0.9  # two or more
        assert len(found.extra_data[ii]["candidates"]) == 3
    assert list(found.catalog_list[1]["flags"]) == [0]


def test_edge_flag(deblender):
    image = gaussian(1.0, 30.0, 20000) + gaussian(40.0, 30.0, 10000)
    (catalog,) = deblender(make_batch([image])).catalog_list
    at_edge = catalog["x_peak"] < 5
    assert list(catalog["flags"][at_edge]) == [DetectionFlag.EDGE]
    assert list(catalog["flags"][~at_edge]) == [0]


def test_negative_flux_has_no_magnitude(network, scenes):
    batch = make_batch(scenes - 60)  # a sky that was taken for brighter than it is
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BtkPunetWarning)
        catalogs = ProbaUNetDeblender(30, network, threshold=0)(batch).catalog_list
    for catalog in catalogs:
        np.testing.assert_array_equal(np.isnan(catalog["mag_IE"]), catalog["flux"] <= 0)
        np.testing.assert_array_equal(np.isnan(catalog["mag_err_IE"]), catalog["flux"] <= 0)


# -- what the images may hold ------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e38, -1e38])
def test_dead_column(deblender, garbage):
    image = two_sources()
    (clean,) = deblender(make_batch([image])).catalog_list
    image[:, 22] = garbage
    (catalog,) = deblender(make_batch([image])).catalog_list
    near, far = catalog[catalog["x_peak"] < 31], catalog[catalog["x_peak"] >= 31]
    assert len(near) >= 1
    assert (near["flags"] & DetectionFlag.BAD_PIXEL != 0).all()
    for name in ALWAYS_FINITE:
        assert np.isfinite(catalog[name]).all()
        # The latent's noise is another for an image with other usable pixels.
        np.testing.assert_allclose(far[name], clean[name][:1], rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_garbage_alone_is_not_detected(deblender, garbage):
    dead, spots = np.full((64, 64), garbage), np.zeros((64, 64))
    spots[10:14, 20:25] = garbage
    found = deblender(make_batch([dead, spots]))
    assert [len(catalog) for catalog in found.catalog_list] == [0, 0]
    for extra in found.extra_data:
        assert np.isfinite(extra["class_mean"]).all()


def test_scattered_garbage_keeps_finite_catalogs(deblender, scenes):
    images = scenes.copy()
    images[np.random.default_rng(5).random(images.shape) < 0.05] = np.nan
    catalogs = deblender(make_batch(images)).catalog_list
    assert sum(map(len, catalogs)) > 5
    for catalog in catalogs:
        for name in ALWAYS_FINITE:
            assert np.isfinite(catalog[name]).all()


@pytest.mark.parametrize("size", [1, 5, 33, 63])
def test_any_size(deblender, size):
    images = np.zeros((2, size, size))
    images[1] = gaussian(size // 2, size // 2, 20000, size)
    found = deblender(make_batch(images))
    assert found.segmentation.shape == (2, 30, size, size)
    empty, bright = found.catalog_list
    assert len(empty) == 0
    assert len(bright) == 1
    np.testing.assert_allclose(bright["x_peak"], size // 2, atol=0.05)


def test_large_field_takes_little_memory(network):
    place = np.arange(12, 500, 24)
    image = np.zeros((504, 504))
    for x in place:
        for y in place[:10]:
            image[y - 12 : y + 12, x - 12 : x + 12] += gaussian(12, 12, 10000, 24)
    batch, deblender = make_batch([image]), ProbaUNetDeblender(210, network, n_samples=1)
    deblender(batch)  # what is loaded once does not count
    tracemalloc.start()
    try:
        found = deblender(batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.catalog_list[0]) == 210
    # The images of all sources are there once; else masks of all detections are bool.
    assert peak < found.deblended_images.nbytes + 4 * found.segmentation.nbytes


def test_other_exposure_times_are_other_noises(deblender):
    survey = get_euclid_survey(n_exposures=4, read_noise=4.4)
    variance = 4 * (155.57 + 4.4**2)
    batch = make_batch([two_sources()], survey)
    np.testing.assert_allclose(
        noise_normalised(batch)[..., 0], batch.blend_images[:, 0] / np.sqrt(variance), rtol=1e-3
    )
    # Deeper by as much as it is noisier, the network sees the same picture.
    same = make_batch([two_sources() * np.sqrt(variance) / SIGMA], survey)
    (deep,) = deblender(same).catalog_list
    (shallow,) = deblender(make_batch([two_sources()])).catalog_list
    for name in ("x_peak", "p_detect", "n_pixels"):
        np.testing.assert_allclose(deep[name], shallow[name], rtol=2e-3)
    four = -2.5 * np.log10(deep["flux_iso"] / shallow["flux_iso"])
    np.testing.assert_allclose(four, -2.5 * np.log10(np.sqrt(variance) / SIGMA), atol=1e-3)
    # Photon noise and what galaxies of the magnitude look like are others.
    four = deep["mag_IE"] - shallow["mag_IE"]
    np.testing.assert_allclose(four, 2.5 * np.log10(4 * SIGMA / np.sqrt(variance)), atol=0.03)


def test_other_number_of_bands_is_named(deblender):
    batch = make_batch(np.zeros((1, 6, 41, 41)), btk.survey.get_surveys("LSST"))
    with pytest.raises(InputError, match=r"trained on 1 band\(s\), and this batch has 6 \(.*\)"):
        deblender.batch_call(batch)
    with pytest.raises(InputError, match=r"trained on 1 band\(s\), and this batch has 6 \(.*\)"):
        deblender.deblend(0, batch)


def test_several_bands():
    keras = pytest.importorskip("keras")
    from btk_punet.model.proba_unet import ProbaUNet

    keras.utils.set_random_seed(0)
    network = ProbaUNet(n_bands=6, channels=(4, 6), centre_prior=0.02)
    images = np.random.default_rng(0).normal(0, 300, (2, 6, 24, 24))
    images[0, 2, :, 5] = np.nan  # one band alone: the pixel is not used in any
    deblender = ProbaUNetDeblender(200, network, threshold=0.01)
    survey = btk.survey.get_surveys("LSST")
    found = deblender(make_batch(images, survey))
    catalog, mask = found.catalog_list[0], found.segmentation[0]
    assert len(catalog) > 3
    band = survey.available_filters.index("i")
    assert "mag_i" in catalog.colnames
    light = np.where(np.isnan(images[0]).any(axis=0), 0, images[0, band])
    shared = mask / np.maximum(mask.sum(axis=0), 1)
    flux = (shared * light).sum(axis=(1, 2))[: len(catalog)]
    np.testing.assert_allclose(catalog["flux_iso"], flux, rtol=1e-6, atol=1e-6)
    assert found.deblended_images.shape == (2, 200, 6, 24, 24)


def test_noise_that_is_not_positive_is_named(deblender):
    survey = btk.survey.get_surveys("Euclid_VIS")
    survey.get_filter("IE").full_exposure_time = 0 * u.s
    with pytest.raises(InputError, match=r"background of each band must be positive.*'IE': 0\.0"):
        deblender(make_batch(np.zeros((1, 32, 32)), survey))


@pytest.mark.parametrize("call", ["batch_call", "deblend"])
def test_what_is_no_batch_is_named(deblender, call):
    batch = make_batch(np.zeros((1, 32, 32)))
    for wrong in ([batch], None, batch.blend_images):
        with pytest.raises(InputTypeError, match=f"BlendBatch, got {type(wrong).__name__}"):
            deblender.batch_call(wrong) if call == "batch_call" else deblender.deblend(0, wrong)


# -- conditions and calibration ----------------------------------------------------------------


@pytest.fixture
def folder(network, tmp_path):
    network.save(tmp_path / "weights")
    recipe = DetectionRecipe(LogitLine(0.5, 0.1), LogitLine(2.0), 1.5, 0.1, (0.14, 0.2))
    recipe.save(tmp_path / "weights")
    return tmp_path / "weights"


def survey_with(scale=0.1, fwhm=0.16):
    survey = get_euclid_survey(1, 0.0, psf=galsim.Gaussian(fwhm=fwhm))
    survey.pixel_scale = scale * u.arcsec
    return survey


@pytest.mark.parametrize("fwhm", [0.134, 0.16, 0.209])
def test_conditions_of_the_training_give_no_warning(folder, fwhm):
    deblender = ProbaUNetDeblender(5, folder)
    assert len(deblender(make_batch([two_sources()], survey_with(fwhm=fwhm))).catalog_list[0]) == 2


def test_other_psf_is_one_warning(folder):
    deblender, batch = ProbaUNetDeblender(5, folder), make_batch([two_sources()], survey_with())
    wide = make_batch([two_sources()], survey_with(fwhm=0.3))
    message = "PSF of IE has a FWHM of 0.300 arcsec, and the network was trained on 0.14 to 0.20"
    deblender(batch)
    with pytest.warns(BtkPunetWarning, match=message) as got:
        deblender(wide)
        deblender(batch)
        deblender(wide)
    assert len(got) == 1
    assert got[0].filename.endswith("deblend.py")


def test_psf_as_pixels(folder):
    """As BTK's `BlendBatch.load` gives it."""
    batch = make_batch([two_sources()], survey_with())
    for fwhm, known in ((0.19, True), (0.4, False)):
        psf = galsim.Gaussian(fwhm=fwhm).drawImage(nx=41, ny=41, scale=0.1, method="no_pixel")
        batch.psf = [psf.array]
        if known:
            ProbaUNetDeblender(5, folder)(batch)
        else:
            with pytest.warns(BtkPunetWarning, match="PSF of IE"):
                ProbaUNetDeblender(5, folder)(batch)


def test_other_pixel_is_one_warning(folder):
    deblender = ProbaUNetDeblender(5, folder)
    batch = make_batch([two_sources()], survey_with(scale=0.2))
    message = r"pixel is 0\.2 arcsec, and the network was trained on 0\.1 arcsec"
    with pytest.warns(BtkPunetWarning, match=message) as got:
        deblender(batch)
        deblender(batch)
    assert len(got) == 1


def test_btks_own_survey_with_another_psf_still_runs(folder):
    batch = make_batch([two_sources()])
    with pytest.warns(BtkPunetWarning, match="PSF of IE"):
        assert len(ProbaUNetDeblender(5, folder)(batch).catalog_list[0]) == 2


def test_calibration(folder, network, scenes):
    batch = make_batch(scenes, survey_with())
    raw = ProbaUNetDeblender(30, network, threshold=0, light=False)(batch)
    found = ProbaUNetDeblender(30, folder, threshold=0, light=False)(batch)
    seen = 0
    for one, two in zip(raw.catalog_list, found.catalog_list, strict=True):
        seen += len(one)
        np.testing.assert_allclose(two["p_detect"], LogitLine(0.5, 0.1)(one["p_detect"]))
        np.testing.assert_allclose(two["p_blend"], LogitLine(2.0)(one["p_blend"]), atol=1e-6)
        np.testing.assert_allclose(two["x_err"], 1.5 * one["x_err"])
    assert seen > 5
    # The count follows the calibrated probabilities.
    for one, two in zip(raw.extra_data, found.extra_data, strict=True):
        assert not np.allclose(one["count_posterior"], two["count_posterior"], atol=1e-4)


# -- how the weights are given -----------------------------------------------------------------


def run_folder(network, tmp_path):
    network.save(tmp_path / "run" / "model")
    DetectionRecipe(position_scale=2.0).save(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.mark.parametrize("kind", ["path", "text", "training run", "preset", "network"])
def test_weights_however_given_survive_pickle(network, folder, tmp_path, monkeypatch, kind):
    weights = {
        "path": folder,
        "text": str(folder),
        "training run": run_folder(network, tmp_path),
        "preset": "weights",
        "network": network,
    }[kind]
    monkeypatch.setattr("btk_punet.model.weights.PRESETS", tmp_path)
    deblender = ProbaUNetDeblender(5, weights, n_samples=3, threshold=0.4, seed=7, light=False)
    batch = make_batch([two_sources()], survey_with())
    fresh = pickle.loads(pickle.dumps(deblender))
    found = deblender(batch)
    assert len(found.catalog_list[0]) == 2
    scale = {"network": 1.0, "training run": 2.0}.get(kind, 1.5)
    assert deblender.recipe.position_scale == scale
    np.testing.assert_allclose(found.catalog_list[0]["x_err"], scale * 12**-0.5, rtol=0.1)
    assert repr(fresh) == repr(deblender)
    assert_same(fresh(batch), found)
    used = pickle.loads(pickle.dumps(deblender))
    assert used.recipe == deblender.recipe
    for one, two in zip(used.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_that_are_not_there_are_named(tmp_path):
    batch = make_batch(np.zeros((1, 16, 16)))
    with pytest.raises(InputError, match="without config.json and model.weights.h5"):
        ProbaUNetDeblender(5, tmp_path / "mistyped")(batch)
    with pytest.raises(InputError, match="got 'mistyped' without config.json"):
        ProbaUNetDeblender(5, "mistyped")(batch)
    with pytest.raises(InputTypeError, match="name of a preset; got int"):
        ProbaUNetDeblender(5, 3)(batch)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("detection.json", "detection.json' cannot be read as JSON"),
        ("config.json", "config.json' cannot be read as JSON"),
        ("model.weights.h5", "model.weights.h5' is damaged, or no file of weights"),
    ],
)
def test_damaged_files_are_named(folder, file, message):
    (folder / file).write_text("{")
    with pytest.raises(InputError, match=message):
        ProbaUNetDeblender(5, folder)(make_batch(np.zeros((1, 16, 16))))


def test_broken_weights_find_no_empty_sky(network):
    batch = make_batch(np.zeros((1, 16, 16)))
    broken = type(network).from_config(network.get_config())
    broken.set_weights(network.get_weights())
    deblender = ProbaUNetDeblender(5, broken)
    assert len(deblender(batch).catalog_list[0]) == 0
    broken.head.bias.assign([np.nan, 0, 0, 0])
    with pytest.raises(InputError, match=r"head_?\d*/bias' \(1 of 4 NaN or infinite\)"):
        ProbaUNetDeblender(5, broken)(batch)
    # Of one that has them already, what it says is looked at.
    with pytest.raises(InputError, match="got NaN from the network on image 0"):
        deblender(batch)


def test_representation():
    assert repr(ProbaUNetDeblender(5)) == "ProbaUNetDeblender(max_n_sources=5)"
    expected = "ProbaUNetDeblender(max_n_sources=5, weights='a/b', seed=3)"
    assert repr(ProbaUNetDeblender(5, weights="a/b", seed=3)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_n_sources": 0}, "max_n_sources must be an integer of at least 1, got 0"),
        ({"max_n_sources": 2.5}, "max_n_sources must be an integer"),
        ({"n_samples": 0}, "n_samples must be an integer of at least 1, got 0"),
        ({"n_samples": True}, "n_samples must be an integer"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"orientations": 3}, "orientations must be 1, 2, 4 or 8, .* got 3 and 16"),
        ({"orientations": 4, "n_samples": 6}, "n_samples a multiple of it, got 4 and 6"),
        ({"threshold": 1.5}, r"threshold must lie in \[0, 1\], got 1.5"),
        ({"threshold": np.nan}, r"threshold must lie in \[0, 1\], got nan"),
        ({"light": 1}, "light must be True or False, got 1"),
        ({"threshold": "half"}, r"threshold must be a number in \[0, 1\], got 'half'"),
    ],
)
def test_wrong_parameters_are_named(options, message):
    with pytest.raises(BtkPunetError, match=message):
        ProbaUNetDeblender(**{"max_n_sources": 5} | options)


# -- the same again ----------------------------------------------------------------------------


def test_seeds(network, scenes):
    batch = make_batch(scenes)

    def run(seed):
        return ProbaUNetDeblender(30, network, n_samples=3, seed=seed)(batch)

    one, other = run(1), run(2)
    assert_same(one, run(1))
    differences = [
        np.abs(a["class_variance"] - b["class_variance"]).max()
        for a, b in zip(one.extra_data, other.extra_data, strict=True)
    ]
    assert max(differences) > 0.1


def test_what_else_is_in_the_batch_changes_nothing(deblender, scenes):
    together = deblender(make_batch(scenes))
    order = [3, 0, 5, 1, 4, 2]
    permuted = deblender(make_batch(scenes[order]))
    for place, i in enumerate(order):
        alone = deblender(make_batch(scenes[i : i + 1]))
        for found, where in ((together, i), (permuted, place)):
            (a,), b = alone.catalog_list, found.catalog_list[where]
            for name in a.colnames:
                np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5, err_msg=name)
            np.testing.assert_array_equal(alone.segmentation[0], found.segmentation[where])


def test_one_image_is_as_in_the_batch(deblender, scenes):
    batch = make_batch(scenes)
    found = deblender(batch)
    example = deblender.deblend(2, batch)
    assert len(example.catalog) > 1
    for name in COLUMNS:
        np.testing.assert_allclose(
            example.catalog[name], found.catalog_list[2][name], rtol=1e-4, atol=1e-5
        )
    np.testing.assert_array_equal(example.segmentation, found.segmentation[2])
    assert list(example.extra_data) == list(found.extra_data[2])


# -- in BTK's and our pipelines ----------------------------------------------------------------


def test_with_btks_generator_and_several_processes(network):
    # SEP's processes are made while TensorFlow is loaded and has run.
    deblenders = [
        ProbaUNetDeblender(20, network, threshold=0.3),
        SepDeblender(20),
        SepSingleBand(20, use_band=0),
        ProbaUNetDeblender(20, network, threshold=0.8),
    ]
    pipeline = DeblendGenerator(deblenders, generator(), njobs=2)
    for _ in range(2):
        blend_batch, found = next(pipeline)
        assert len(found) == 4
        for deblender, result in zip(deblenders, found.values(), strict=True):
            assert result.batch_size == 4
            assert sum(map(len, result.catalog_list)) > 0
            expected = deblender.batch_call(blend_batch)
            for a, b in zip(result.catalog_list, expected.catalog_list, strict=True):
                np.testing.assert_allclose(a["ra"], b["ra"], atol=1e-9)


def test_saved_and_loaded_by_measure_generator(network, tmp_path):
    deblenders = {
        "network": ProbaUNetDeblender(20, network, threshold=0.3),
        "sep": SepDeblender(20),
    }
    measured = [next(MeasureGenerator(deblenders, generator(), save_path=tmp_path))]
    loaded = list(MeasureGenerator.load(tmp_path))
    assert len(loaded) == 1
    for (_, one), (_, two) in zip(measured, loaded, strict=True):
        assert sum(map(len, one["network"].catalog_list)) > 0
        assert_equal(one["network"].catalog_list, two["network"].catalog_list)
        assert_equal(one["network"].extra_data, two["network"].extra_data)
        np.testing.assert_array_equal(one["network"].segmentation, two["network"].segmentation)


def test_btks_matcher_and_metrics(network):
    images = np.array([two_sources(), two_sources(faint=10000)], np.float32)
    isolated = np.zeros((2, 3, 1, 64, 64), np.float32)
    for i, faint in enumerate((5000, 10000)):
        isolated[i, 0, 0], isolated[i, 1, 0] = gaussian(20, 30, faint), gaussian(42, 28, 20000)
    truth = Table({"x_peak": [20.0, 42.0], "y_peak": [30.0, 28.0]})
    truth["ra"], truth["dec"] = 0.1 * (truth["x_peak"] - 31.5), 0.1 * (truth["y_peak"] - 31.5)
    survey = get_euclid_survey(1, 0.0)
    psf = [survey.get_filter("IE").psf]
    batch = BlendBatch(2, 3, 6.45, survey, images[:, None], isolated, [truth, truth.copy()], psf)
    found = ProbaUNetDeblender(5, network)(batch)

    matching = PixelHungarianMatcher(pixel_max_sep=3.0)(batch.catalog_list, found.catalog_list)
    assert list(matching.tp) == list(matching.t) == list(matching.p) == [2, 2]
    assert Precision(2)(matching.tp, matching.t, matching.p) == 1
    assert Recall(2)(matching.tp, matching.t, matching.p) == 1
    assert Efficiency(2)(matching.tp, matching.t, matching.p)[2, 2] == 2
    matched = (
        matching.match_true_arrays(isolated[:, :, 0] > SIGMA).astype(bool),
        matching.match_pred_arrays(found.segmentation).astype(bool),
    )
    assert IoU(2)(*matched) > 0.6


def test_deblenders_of_the_same_weights_share_a_network(network, tmp_path):
    network.save(tmp_path / "one")
    network.save(tmp_path / "other")
    one, same = (ProbaUNetDeblender(5, tmp_path / "one", seed=seed) for seed in (0, 1))
    assert one.network is same.network
    # Other weights in the same place are another network.
    changed = ProbaUNetDeblender(5, tmp_path / "other").network
    changed.head.bias.assign(changed.head.bias + 1)
    changed.save(tmp_path / "one")
    other = ProbaUNetDeblender(5, tmp_path / "one").network
    assert other is not one.network
    np.testing.assert_array_equal(other.head.bias, changed.head.bias)
