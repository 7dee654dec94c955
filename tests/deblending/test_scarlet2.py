"""What is special to fitting a model of each source."""

import btk.survey
import galsim
import numpy as np
import pytest
from astropy.table import Table
from btk.deblend import PeakLocalMax

from btk_punet import (
    DetectionFlag,
    EuclidCatalog,
    EuclidGenerator,
    EuclidPairSampling,
    get_euclid_survey,
)
from btk_punet.deblending import scarlet2
from btk_punet.deblending.scarlet2 import Scarlet2Deblender
from btk_punet.deblending.sep import SepDeblender
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError, MissingProgramError
from btk_punet.simulation.survey import background_variance
from tests.test_package import printed_by

from .conftest import SIGMA, add_noise, make_batch, needs_scarlet2

# Two galaxies 2.4 arcsec apart: x, y [pixel], flux [electron], half-light radius [arcsec].
PAIR = [(20.0, 30.0, 20000.0, 0.25), (44.3, 33.6, 8000.0, 0.25)]


@pytest.fixture(scope="module")
def survey():
    return get_euclid_survey(1, 0.0)  # the noise of one exposure, SIGMA


def draw(galaxies, survey, band="IE", size=64):
    """Return exponential disks of a shear of 0.1, seen through the survey's PSF."""
    psf = survey.get_filter(band).psf
    image = np.zeros((size, size))
    for x, y, flux, radius_arcsec in galaxies:
        galaxy = galsim.Exponential(half_light_radius=radius_arcsec, flux=flux).shear(g1=0.1, g2=0)
        offset = (x - (size - 1) / 2, y - (size - 1) / 2)
        image += (
            galsim.Convolve(galaxy, psf)
            .drawImage(nx=size, ny=size, scale=survey.pixel_scale.to_value("arcsec"), offset=offset)
            .array
        )
    return image


def batch_of(images, survey, galaxies=PAIR):
    """Wrap images in a batch whose truth is that of the galaxies."""
    batch = make_batch(images, survey)
    x, y = np.array(galaxies).reshape(-1, 4)[:, :2].T
    batch.catalog_list = [Table({"x_peak": x, "y_peak": y}) for _ in images]
    return batch


@needs_scarlet2
@pytest.mark.parametrize("peaks", ["sep", "truth"])
def test_no_sources(peaks, survey):
    deblended = Scarlet2Deblender(3, peaks)(batch_of(np.zeros((2, 64, 64)), survey, []))
    assert [len(catalog) for catalog in deblended.catalog_list] == [0, 0]
    assert deblended.deblended_images.shape == (2, 3, 1, 64, 64)
    assert not deblended.deblended_images.any()


@needs_scarlet2
def test_fluxes_and_positions_without_noise(survey):
    (catalog,) = Scarlet2Deblender(5)(batch_of([draw(PAIR, survey)], survey)).catalog_list
    x, y, flux, _ = np.array(PAIR).T
    # 0.97 and 0.98: scarlet2's profile is what the PSF of the model has blurred already, so the
    # fitted one is flatter than the galaxy, in the core and hence in the wings.
    np.testing.assert_allclose(catalog["flux"], flux, rtol=0.04)
    np.testing.assert_allclose(catalog["x_peak"], x, atol=0.01)
    np.testing.assert_allclose(catalog["y_peak"], y, atol=0.01)


@needs_scarlet2
def test_errors_cover_what_noise_does(survey):
    rng = np.random.default_rng(1)
    image = draw(PAIR, survey)
    batch = batch_of([add_noise(image, rng) for _ in range(40)], survey)
    catalogs = Scarlet2Deblender(5, "truth")(batch).catalog_list
    for row, (x, y, flux, _) in enumerate(PAIR):
        for name, true in (("x", x), ("y", y), ("flux", flux)):
            found = [
                catalog[name if name == "flux" else f"{name}_peak"][row] for catalog in catalogs
            ]
            errors = [catalog[f"{name}_err"][row] for catalog in catalogs]
            pulls = (np.array(found) - true) / errors
            assert 0.7 < np.std(pulls) < 1.4  # 0.86 to 1.03, to 11%, which 40 scenes leave open
            # 2 in flux: the missing 3%, in scenes bright enough to see them.
            assert abs(np.mean(pulls)) < (3 if name == "flux" else 0.6)


@needs_scarlet2
def test_models_add_up_and_make_the_segmentation(survey):
    close = [(28.0, 30.0, 20000.0, 0.3), (35.0, 31.0, 15000.0, 0.3)]
    image = add_noise(draw(close, survey), np.random.default_rng(2))
    for k in (1.0, 3.0):
        deblended = Scarlet2Deblender(5, k=k)(batch_of([image], survey))
        models = deblended.deblended_images[0, :, 0]
        np.testing.assert_array_equal(deblended.segmentation[0], models > k * SIGMA)
        assert deblended.segmentation[0].sum(axis=0).max() == 2
        (catalog,) = deblended.catalog_list
        np.testing.assert_allclose(models[:2].sum(axis=(1, 2)), catalog["flux"], rtol=1e-5)
        variance = SIGMA**2 + draw(close, survey)
        assert 0.9 < ((image - models.sum(axis=0)) ** 2 / variance).mean() < 1.1


@needs_scarlet2
def test_fit_is_that_of_scarlet2(survey):
    """The same source in a scene of scarlet2, fitted by its own function."""
    import jax.numpy as jnp
    import optax
    import scarlet2 as package

    from btk_punet.deblending import scarlet2_fit

    size, n_steps, variance = 24, 20, SIGMA**2
    image = draw([(8.2, 10.0, 8000.0, 0.2)], survey, size=size)[None]
    psf = survey.get_filter("IE").psf.drawImage(nx=21, ny=21, scale=0.1).array[None]
    row, column = 10, 8
    model = scarlet2_fit.SceneModel(psf, (size, size), n_steps, max_shift=2.0)
    peaks = np.array([(row, column)], float)
    ours = model.fit(image, np.ones_like(image, bool), np.array([variance]), peaks)

    before = package.validation_utils.VALIDATION_SWITCH
    package.set_validation(False)
    try:
        with package.Scene(model.scene.frame) as scene:
            profile = scarlet2_fit._PeakSersic((size, size))
            object.__setattr__(profile, "peak", jnp.array([row, column], float))
            light = jnp.array([image[0, row, column] / scarlet2_fit._PEAK_OVER_UNIT])
            source = package.Source(jnp.array([size // 2, size // 2]), light, profile)
        nodes = {
            "ellipticity": profile.ellipticity,
            "index": profile.n,
            "shift": profile.shift,
            "size": profile.size,
            "spectrum": source.spectrum,
        }
        with package.Parameters(scene):
            for name, node in nodes.items():
                constraint = model.parameters[name][1].constraint
                step = scarlet2_fit._STEP[name]
                package.Parameter(node, name=name, constraint=constraint, stepsize=step)
        observation = package.Observation(
            image, np.full_like(image, 1 / variance), psf=psf, wcs=scene.frame.wcs
        )
        schedule = optax.cosine_decay_schedule(1.0, n_steps)
        theirs = scene.fit(
            observation, schedule=schedule, max_iter=n_steps, e_rel=0, progress_bar=False
        )
    finally:
        package.set_validation(before)
    expected = np.asarray(observation.render(theirs()))
    np.testing.assert_allclose(ours.models[0], expected, atol=1e-3 * expected.max())


@needs_scarlet2
def test_pairs_of_galaxies(survey):
    generator = EuclidGenerator(
        EuclidCatalog.simulate(500, seed=3),
        EuclidPairSampling(stamp_size=6.4),
        survey,
        batch_size=3,
        seed=5,
    )
    batch = next(generator)
    from_sep, from_truth = (Scarlet2Deblender(10, peaks)(batch) for peaks in ("sep", "truth"))
    seps = SepDeblender(10)(batch)
    for ii, true in enumerate(batch.catalog_list):
        assert len(from_truth.catalog_list[ii]) == len(true) == 2
        assert len(from_sep.catalog_list[ii]) == len(seps.catalog_list[ii]) > 0
        residual = batch.blend_images[ii] - from_truth.deblended_images[ii].sum(axis=0)
        noise = SIGMA**2 + batch.isolated_images[ii].sum(axis=0)
        assert 0.9 < (residual**2 / noise).mean() < 1.1


@needs_scarlet2
def test_several_bands():
    survey = btk.survey.get_surveys("LSST")
    bands = survey.available_filters
    colours = {"u": (1.0, 6.0), "g": (2.0, 5.0), "r": (3.0, 4.0)}
    fluxes = {band: 1e5 * np.array(colours.get(band, (4.0, 4.0))) for band in bands}
    places = [(10.2, 15.0, 0.6), (21.0, 16.4, 0.6)]
    images = [
        draw([(x, y, f, r) for (x, y, r), f in zip(places, fluxes[b], strict=True)], survey, b, 32)
        for b in bands
    ]
    batch = make_batch(np.array([images]), survey)
    batch.catalog_list = [Table({"x_peak": [10.0, 21.0], "y_peak": [15.0, 16.0]})]
    deblended = Scarlet2Deblender(4, "truth")(batch)
    (catalog,) = deblended.catalog_list
    assert "mag_i" in catalog.colnames
    first, second = np.argsort(catalog["x_peak"])
    for row, column in ((first, 0), (second, 1)):
        found = deblended.deblended_images[0, row].sum(axis=(1, 2))
        true = [fluxes[band][column] for band in bands]
        # 0.90 to 1.01: the first, a sixth of its neighbour in u, is still on its way there.
        np.testing.assert_allclose(found, true, rtol=0.12)
        assert catalog["flux"][row] == pytest.approx(found[bands.index("i")], rel=1e-5)


@needs_scarlet2
def test_pixels_without_a_value(survey):
    image = add_noise(draw(PAIR, survey), np.random.default_rng(3))
    spoiled = image.copy()
    spoiled[29:31, 21:23] = np.nan
    spoiled[50:, 50:] = np.inf
    (whole, holed) = Scarlet2Deblender(5, "truth")(batch_of([image, spoiled], survey)).catalog_list
    assert list(whole["flags"]) == [0, 0]
    assert list(holed["flags"]) == [DetectionFlag.BAD_PIXEL, 0]
    # 0.25 and 0.01 standard deviations; the hole holds 8% of the light.
    assert (np.abs(holed["flux"] - whole["flux"]) < whole["flux_err"]).all()
    assert holed["flux_err"][0] > whole["flux_err"][0]


@needs_scarlet2
def test_peak_on_pixels_without_a_value(survey):
    image = draw(PAIR, survey)
    image[25:35, 15:25] = np.nan
    everywhere = np.full((64, 64), np.nan)
    catalogs = Scarlet2Deblender(5, "truth")(batch_of([image, everywhere], survey)).catalog_list
    for catalog in catalogs:
        assert len(catalog) == 2
        assert np.isfinite([catalog["flux"], catalog["x_err"], catalog["flux_err"]]).all()


@needs_scarlet2
def test_a_fit_that_breaks_down_spoils_no_other(survey):
    image = draw(PAIR, survey)
    broken = image.copy()
    broken[10, 10] = 1e24  # a value, but its square is beyond single precision
    deblender = Scarlet2Deblender(5, "truth")
    with pytest.warns(BtkPunetWarning, match="the fit broke down in 1 of 2 images") as warned:
        failed, fine = deblender(batch_of([broken, image], survey)).catalog_list
    assert len(warned) == 1
    assert (failed["flags"] & DetectionFlag.FIT_FAILED != 0).all()
    np.testing.assert_array_equal(failed["x_peak"], [x for x, *_ in PAIR])
    np.testing.assert_array_equal(failed["flux"], 0)
    np.testing.assert_allclose(failed["flux_err"], 64 * SIGMA, rtol=1e-3)
    np.testing.assert_array_equal(failed["x_err"], deblender.max_shift)
    assert np.isnan(failed["mag_IE"]).all()
    (alone,) = deblender(batch_of([image], survey)).catalog_list
    for name in alone.colnames:
        np.testing.assert_array_equal(fine[name], alone[name])


@needs_scarlet2
def test_peaks_outside_are_left_out(survey):
    galaxies = [*PAIR, (-0.6, 10.0, 1.0, 0.2), (10.0, 64.0, 1.0, 0.2), (np.nan, 5.0, 1.0, 0.2)]
    batch = batch_of([draw(PAIR, survey)], survey, galaxies)
    with pytest.warns(BtkPunetWarning, match="left out 3 peaks outside of their images"):
        (catalog,) = Scarlet2Deblender(5, "truth")(batch).catalog_list
    assert len(catalog) == 2


@needs_scarlet2
def test_too_many_peaks(survey):
    batch = batch_of([draw(PAIR, survey)], survey)
    with pytest.warns(BtkPunetWarning, match="kept the first in the catalog of its peaks"):
        (catalog,) = Scarlet2Deblender(1, SepDeblender(10))(batch).catalog_list
    assert list(catalog["flags"]) == [DetectionFlag.TRUNCATED]
    # SEP truncates, and says so itself; that the list is cut short is not lost.
    with pytest.warns(BtkPunetWarning, match="SepDeblender.* kept the brightest"):
        (catalog,) = Scarlet2Deblender(1)(batch).catalog_list
    assert list(catalog["flags"]) == [DetectionFlag.TRUNCATED]


@needs_scarlet2
def test_peaks_of_a_deblender_of_btk(survey):
    """It gives sky positions only."""
    peaks = PeakLocalMax(5, SIGMA**2, use_band=0)
    (catalog,) = Scarlet2Deblender(5, peaks)(batch_of([draw(PAIR, survey)], survey)).catalog_list
    np.testing.assert_allclose(catalog["x_peak"], [x for x, *_ in PAIR], atol=0.01)


@needs_scarlet2
def test_no_noise():
    survey = get_euclid_survey(1, 0.0)
    survey.get_filter("IE").sky_brightness = 60 * survey.get_filter("IE").sky_brightness.unit
    assert background_variance(survey, survey.get_filter("IE")) == 0
    with pytest.raises(InputError, match="background of each band must be positive.*'IE': 0.0"):
        Scarlet2Deblender(5)(make_batch(np.zeros((1, 64, 64)), survey))


@needs_scarlet2
def test_wrong_batch(survey):
    with pytest.raises(InputTypeError, match="Scarlet2Deblender needs a btk BlendBatch, got list"):
        Scarlet2Deblender(5).batch_call([])
    with pytest.raises(InputError, match="njobs must be an integer of at least 1, got 0"):
        Scarlet2Deblender(5).batch_call(batch_of([draw(PAIR, survey)], survey), njobs=0)


@needs_scarlet2
def test_making_one_loads_no_jax():
    code = (
        "import sys; from btk_punet import Scarlet2Deblender; Scarlet2Deblender(5); "
        "print([name for name in ('jax', 'scarlet2') if name in sys.modules])"
    )
    assert printed_by(code) == "[]"


def test_missing_package(monkeypatch):
    monkeypatch.setattr(scarlet2, "find_spec", lambda name: None)
    assert not Scarlet2Deblender.is_available()
    with pytest.raises(MissingProgramError, match=r'pip install "btk_punet\[scarlet2\]"'):
        Scarlet2Deblender(5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_n_sources": 0}, InputError, "max_n_sources must be an integer of at least 1, got 0"),
        ({"max_iter": 0}, InputError, "max_iter must be an integer of at least 1, got 0"),
        ({"max_shift": 0}, InputError, "max_shift must be a positive number, got 0"),
        ({"max_shift": np.nan}, InputError, "max_shift must be a positive number, got nan"),
        ({"k": "1"}, InputError, "k must be a positive number, got '1'"),
        ({"peaks": "sepp"}, InputError, "'sep', 'truth' or a deblender, got 'sepp'"),
        ({"peaks": SepDeblender}, InputTypeError, "instance of .* class, got ABCMeta"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Scarlet2Deblender(**({"max_n_sources": 5} | arguments))


@needs_scarlet2
def test_its_peaks_are_told_of_the_scenes():
    class Told(SepDeblender):
        def told_scenes(self, generator):
            return SepDeblender(self.max_n_sources, thresh=generator)

    by_sep, by_told = Scarlet2Deblender(5), Scarlet2Deblender(5, peaks=Told(5))
    assert by_sep.told_scenes(4.0) is by_sep
    assert by_told.told_scenes(4.0).peaks.thresh == 4.0
    assert isinstance(by_told.peaks, Told)
