import dataclasses
import pickle

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import event, given, settings
from hypothesis import strategies as st

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.errors import BtkPunetError, InputError, InputTypeError
from btk_punet.images.sky_image import open_image
from btk_punet.simulation.images import image_batch
from btk_punet.simulation.survey import get_euclid_survey
from tests.images.scenes import celestial_header, noise, write

ESTIMATED = int(DetectionFlag.NOISE_ESTIMATED)


def whole(image):
    return image.tile(slice(0, image.shape[0]), slice(0, image.shape[1]))


def assert_same(tile, other):
    for field in dataclasses.fields(tile):
        one, two = getattr(tile, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(one, two, field.name)


def scene(shape=(300, 420)):
    """A sky of 100 +- 5 with a slope, a border of zeros, a NaN and a saturated star with trail."""
    values = 100 + noise(shape, sigma=5) + 0.02 * np.arange(shape[1])
    values[:, :30] = 0
    values[200, 100] = np.nan
    values[100:104, 300:304] = 5000
    values[104:290, 301] = 4000
    return values


def test_given_everything_it_is_a_change_of_unit():
    values = np.array([[10.0, 20.0], [30.0, np.nan]])
    rms = np.array([[1.0, 2.0], [3.0, 4.0]])
    image = open_image(values, rms=rms, gain=2.0, zeropoint=25.0, background=10.0, psf=0.2)
    tile = whole(image)
    np.testing.assert_array_equal(tile.electrons, [[0, 20], [40, 0]])
    np.testing.assert_array_equal(tile.variance[0], [4, 16])
    np.testing.assert_array_equal(tile.usable, [[True, True], [True, False]])
    edge, bad = int(DetectionFlag.EDGE), int(DetectionFlag.BAD_PIXEL)
    np.testing.assert_array_equal(tile.flags, [[edge, edge], [edge, edge | bad]])
    # 20 units at 25 mag are 25 - 2.5 log10(20), and so are 40 electrons.
    assert image.unit_magnitude - 2.5 * np.log10(40) == pytest.approx(25 - 2.5 * np.log10(20))
    assert image.gain_known and not image.noise_estimated and image.electrons_per_unit == 2


def test_without_a_gain_light_and_noise_keep_their_ratio_and_photon_noise_is_none():
    values = noise()
    image = open_image(values, rms=0.5, background=None, zeropoint=25.0)
    tile = whole(image)
    signal = tile.electrons / np.sqrt(tile.variance)
    np.testing.assert_allclose(signal, values / 0.5, rtol=1e-6)
    assert not image.gain_known and np.sqrt(tile.variance[0, 0]) == pytest.approx(1e6)
    assert image.unit_magnitude - 2.5 * np.log10(image.electrons_per_unit) == pytest.approx(25)


def test_noise_and_background_are_estimated_and_said():
    image = open_image(scene(), gain=2.0)
    tile = whole(image)
    assert image.noise_estimated and (tile.flags & ESTIMATED).all()
    np.testing.assert_allclose(np.sqrt(tile.variance), 10, rtol=0.05)
    assert np.median(tile.electrons[tile.usable]) == pytest.approx(0, abs=0.5)
    words = " ".join(image.notes)
    for said in ("No noise was given", "The background was estimated", "not usable", "PSF", "0.1"):
        assert said in words


def test_background_none_leaves_the_image_as_it_is():
    values = scene()
    image = open_image(values, gain=1.0, background=None)
    usable = whole(image).usable
    np.testing.assert_array_equal(whole(image).electrons[usable], values[usable].astype("f4"))
    assert not any("background" in note for note in image.notes)


@pytest.mark.parametrize("options", [{}, {"rms": 5.0}, {"saturate": 5000.0, "cosmic_rays": True}])
def test_a_pixel_is_the_same_in_every_tile(options):
    image = open_image(scene(), **options)
    tile = whole(image)
    for rows, columns in (
        (slice(0, 300), slice(0, 1)),
        (slice(97, 211), slice(25, 330)),
        (slice(299, 300), slice(290, 420)),
    ):
        cut = [getattr(tile, f.name)[rows, columns] for f in dataclasses.fields(tile)]
        assert_same(image.tile(rows, columns), type(tile)(*cut))
        part = image.background(rows, columns)
        everything = image.background(slice(0, 300), slice(0, 420))
        np.testing.assert_array_equal(part, everything[rows, columns])


def test_a_file_and_an_array_of_it_are_the_same(tmp_path):
    values = scene()
    plain = open_image(write(tmp_path, values))
    packed = open_image(write(tmp_path, values, name="image.fits.gz"))
    turned = open_image(np.asfortranarray(values).astype(">f8"))
    for other in (packed, turned, pickle.loads(pickle.dumps(packed))):
        assert_same(whole(plain), whole(other))
    assert plain.fingerprint() == packed.fingerprint() == turned.fingerprint()


def test_the_fingerprint_knows_contents_and_choices(tmp_path):
    values, mask = scene(), np.zeros((300, 420))
    changed = values.copy()
    changed[150, 150] += 1
    mask[5, 5] = 1
    header = celestial_header()
    prints = [open_image(values, **options).fingerprint() for options in ({}, {"gain": 2.0})]
    prints += [open_image(changed).fingerprint()]
    for options in (
        {"rms": 5.0},
        {"rms": 5.1},
        {"mask": mask + np.eye(300, 420)},
        {"zeropoint": 25.0},
        {"psf": 0.18},
        {"background": None},
        {"background": 3.0},
        {"wcs": header},
        {"saturate": 5000.0},
    ):
        prints.append(open_image(values, **options).fingerprint())
    assert len(set(prints)) == len(prints)
    assert open_image(values).fingerprint() == prints[0]


def test_saturation_by_the_header(tmp_path):
    header = fits.Header({"SATURATE": 5000.0})
    tile = whole(open_image(write(tmp_path, fits.PrimaryHDU(scene(), header))))
    saturated = (tile.flags & int(DetectionFlag.SATURATED)) != 0
    assert saturated[100:290, 301].all() and not tile.usable[saturated].any()
    assert saturated.sum() < 200 * 9


def test_a_level_that_no_pixel_reaches_is_told():
    assert "none reaches saturate (1e+06)" in " ".join(open_image(scene(), saturate=1e6).notes)


def test_a_blend_batch_has_no_sky_and_knows_its_noise():
    survey = get_euclid_survey()
    image = open_image(image_batch(noise(sigma=26.4), survey))
    np.testing.assert_array_equal(whole(image).electrons, noise(sigma=26.4).astype("f4"))
    assert not image.noise_estimated and image.notes == ()
    assert image.unit_magnitude == pytest.approx(25.92 + 2.5 * np.log10(4 * 565), abs=0.01)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (slice(0, 65), InputError),
        (slice(-3, 3), InputError),
        (slice(3, 3), InputError),
        (slice(0, 9, 2), InputError),
        (3, InputTypeError),
    ],
)
def test_tiles_beyond_the_image_are_refused(rows, error):
    image = open_image(noise(), rms=1.0)
    with pytest.raises(error, match="rows must be a slice"):
        image.tile(rows, slice(0, 64))


def test_without_coordinates_there_are_no_right_ascensions():
    with pytest.raises(InputError, match="no world coordinates"):
        open_image(noise(), rms=1.0).ra_dec(1, 2)


ODD = [0.0, -1.0, 1e30, -1e300, np.nan, np.inf, 1e-30, 255.0]


@st.composite
def odd_arrays(draw, shape):
    """Noise in some unit and type, of a shape or another, in which some values are odd."""
    if draw(st.integers(0, 9)) == 7:
        shape = draw(st.sampled_from([shape[::-1], shape[:1], (1, *shape), (0, 3), ()]))
    unit = draw(st.sampled_from([1.0, 1.0, 1e-20, 100.0, 1e12, 0.1]))
    values = draw(st.sampled_from([0.0, 0.0, 50.0])) + noise(shape, seed=draw(st.integers(0, 9)))
    values = np.array(values * unit)
    for odd in draw(st.lists(st.sampled_from(ODD), max_size=3)):
        pieces = [draw(st.tuples(st.integers(0, n), st.integers(0, n))) for n in shape]
        values[tuple(slice(min(piece), max(piece)) for piece in pieces)] = odd
    kind = draw(
        st.sampled_from(["f8", "f8", "f4", ">f4", "f2", "i2", ">i4", "u1", "u8", "?", "c8"])
    )
    with np.errstate(all="ignore"):
        values = values.astype(kind)
    return draw(st.sampled_from([values, np.asfortranarray(values), values.tolist()]))


@st.composite
def odd_arguments(draw):
    """Arguments of `open_image`, each with a chance to be wrong."""
    shape = draw(st.sampled_from([(40, 60), (31, 33), (1, 300), (64, 64), (128, 70), (3, 3)]))
    numbers = st.sampled_from([1.0, 2.5, 0.3, 1, None, *ODD, "a", True])
    arguments = {"image": draw(odd_arrays(shape))}
    for name in ("rms", "weight", "mask", "background"):
        if draw(st.integers(0, 3)) == 2:
            arguments[name] = draw(st.one_of(numbers, odd_arrays(shape)))
    for name in ("gain", "zeropoint", "saturate", "pixel_scale_arcsec", "psf"):
        if draw(st.integers(0, 9)) == 7:
            arguments[name] = draw(numbers)
    return arguments


@given(odd_arguments())
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@pytest.mark.filterwarnings("ignore::btk_punet.errors.BtkPunetWarning")
def test_whatever_comes_is_read_or_refused_in_words(arguments):
    try:
        image = open_image(**arguments)
    except BtkPunetError as error:
        event("refused")
        assert str(error).endswith((".", "?"))
        return
    event("read")
    tile = whole(image)
    assert np.isfinite(tile.electrons).all() and (tile.electrons[~tile.usable] == 0).all()
    assert np.isfinite(tile.variance).all() and (tile.variance > 0).all() and tile.usable.any()
