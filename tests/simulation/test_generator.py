import copy
import pickle

import btk.survey
import galsim
import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import BlendBatch, MultiResolutionBlendBatch
from btk.catalog import CatsimCatalog
from btk.draw_blends import CatsimGenerator, render_single_catsim_galaxy
from btk.sampling_functions import (
    BasicSampling,
    DefaultSampling,
    DefaultSamplingShear,
    DensitySampling,
    PairSampling,
    RandomSquareSampling,
    SamplingFunction,
)

from btk_punet.errors import BtkPunetError, CatalogError, InputError, InputTypeError
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import (
    EuclidFieldSampling,
    EuclidGroupSampling,
    EuclidPairSampling,
)
from btk_punet.simulation.survey import background_variance, euclid_psf, get_euclid_survey
from tests.simulation.conftest import SIGMA, SKY_ELECTRONS, FixedSampling, make_scene

# GalSim's defaults let half a per cent of the light fold back; BTK draws well with these.
FINE = galsim.GSParams(folding_threshold=1e-3, maxk_threshold=1e-6, kvalue_accuracy=1e-7)


def draw(scene, survey, stamp_size=6.4, **options):
    """Draw one scene, without noise unless `options` say so."""
    options = {"batch_size": 1, "add_noise": "none", **options}
    generator = EuclidGenerator(
        CatsimCatalog(make_scene([0.0], [0.0], 22.0)),
        FixedSampling(scene, stamp_size),
        survey,
        **options,
    )
    return next(generator)


class Mixture(SamplingFunction):
    """Groups or pairs, by the toss of a coin."""

    def __init__(self):
        super().__init__(3.2, max_number=3, min_number=1)
        self.choices = [EuclidGroupSampling(3.2, 3), EuclidPairSampling(3.2)]

    def inner(self):
        return self.choices

    def __call__(self, table):
        return self.choices[self.rng.integers(2)](table)


class Wrapper(SamplingFunction):
    """Groups, each moved by a pixel."""

    def __init__(self):
        super().__init__(3.2, max_number=3, min_number=1)
        self.groups = EuclidGroupSampling(3.2, 3)

    def inner(self):
        return [self.groups]

    def __call__(self, table):
        scene = self.groups(table)
        scene["ra"] += 0.1
        return scene


def assert_same_scenes(one, two):
    np.testing.assert_array_equal(one.blend_images, two.blend_images)
    np.testing.assert_array_equal(one.isolated_images, two.isolated_images)
    assert len(one.catalog_list) == len(two.catalog_list)
    for first, second in zip(one.catalog_list, two.catalog_list, strict=True):
        assert first.colnames == second.colnames
        for name in first.colnames:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture
def groups(catalog, one_exposure):
    """Return a function that makes generators of groups; its arguments are the options."""

    def make(**options):
        sampling = options.pop("sampling", None) or EuclidGroupSampling(3.2, max_number=3)
        survey = options.pop("survey", one_exposure)
        return EuclidGenerator(catalog, sampling, survey, **options)

    return make


class TestEmpty:
    def test_empty_catalog(self, one_exposure):
        empty = CatsimCatalog(make_scene([], [], []))
        with pytest.raises(CatalogError, match="catalog is empty"):
            EuclidGenerator(empty, EuclidGroupSampling(), one_exposure)

    def test_empty_scenes(self, one_exposure):
        batch = draw(make_scene([], [], []), one_exposure)
        assert batch.blend_images.shape == (1, 1, 64, 64)
        assert not batch.blend_images.any()
        for name in ("x_peak", "y_peak", "not_drawn_IE", "btk_rotation", "outside_stamp"):
            assert len(batch.catalog_list[0][name]) == 0

    def test_a_field_of_density_0_is_noise(self, groups):
        sampling = EuclidFieldSampling(3.2, density=0, cluster_radius=1.0)
        batch = next(groups(sampling=sampling, batch_size=2))
        assert batch.isolated_images.shape == (2, 0, 1, 32, 32)
        assert batch.blend_images.std() == pytest.approx(SIGMA, rel=4 / np.sqrt(2 * 2 * 32**2))


class TestBlendBatch:
    def test_shapes_and_columns_are_those_of_btk(self, catalog, one_exposure):
        sampling = DefaultSampling(stamp_size=3.2, max_number=3, mag_name="IE_ab")
        arguments = (CatsimCatalog(catalog.table), sampling, one_exposure)
        options = {"batch_size": 2, "add_noise": "none"}  # BTK's noise warns with NumPy 2
        ours = next(EuclidGenerator(*arguments, **options))
        btks = next(CatsimGenerator(*arguments, **options))
        assert type(ours) is BlendBatch
        assert ours.blend_images.shape == btks.blend_images.shape == (2, 1, 32, 32)
        assert ours.isolated_images.shape == btks.isolated_images.shape == (2, 3, 1, 32, 32)
        assert (ours.batch_size, ours.max_n_sources) == (btks.batch_size, btks.max_n_sources)
        assert (ours.stamp_size, ours.image_size) == (btks.stamp_size, btks.image_size)
        assert ours.psf == btks.psf
        assert ours.survey is one_exposure
        for one, two in zip(ours.catalog_list, btks.catalog_list, strict=True):
            assert set(one.colnames) - set(two.colnames) == {"outside_stamp"}
            assert set(two.colnames) <= set(one.colnames)
            for name in two.colnames:
                assert one[name].dtype == two[name].dtype, name

    def test_isolated_images_add_up_to_the_blend(self, groups):
        batch = next(groups(add_noise="none"))
        np.testing.assert_allclose(batch.isolated_images.sum(axis=1), batch.blend_images, atol=1e-9)
        for isolated, scene in zip(batch.isolated_images, batch.catalog_list, strict=True):
            assert np.all(isolated[: len(scene)].sum(axis=(1, 2, 3)) > 0)
            assert not isolated[len(scene) :].any()

    def test_peaks_are_where_the_light_is(self, one_exposure):
        # The middle of a stamp of 64 pixels is at 31.5; 0.1 arcsec a pixel; x is the column.
        scene = make_scene([0.0, 1.05, -2.15], [0.0, -0.55, 1.05], 19.0)
        batch = draw(scene, one_exposure)
        table = batch.catalog_list[0]
        np.testing.assert_allclose(table["x_peak"], [31.5, 42.0, 10.0], atol=1e-6)
        np.testing.assert_allclose(table["y_peak"], [31.5, 26.0, 42.0], atol=1e-6)
        for source, peak in ((1, (26, 42)), (2, (42, 10))):
            image = batch.isolated_images[0, source, 0]
            assert np.unravel_index(image.argmax(), image.shape) == peak

    @pytest.mark.parametrize(
        ("stamp_size", "pixels"), [(8.2, 82), (6.4, 64), (4.1, 41), (2.9, 29), (6.45, 64)]
    )
    def test_stamp_sizes_are_not_cut_short(self, one_exposure, stamp_size, pixels):
        batch = draw(make_scene([0.0], [0.0], 22.0), one_exposure, stamp_size)
        assert batch.blend_images.shape == (1, 1, pixels, pixels)
        assert batch.image_size == pixels
        assert batch.stamp_size == pytest.approx(stamp_size, rel=1e-12)
        # The centre of the stamp is the centre of the image.
        assert batch.catalog_list[0]["x_peak"][0] == pytest.approx((pixels - 1) / 2)

    def test_a_stamp_a_hair_too_small_is_rounded_quickly(self, one_exposure):
        batch = draw(make_scene([0.0], [0.0], 22.0), one_exposure, 6.4 - 5e-8)
        assert batch.image_size == 64

    def test_save_and_load_by_btk(self, groups, tmp_path):
        batch = next(groups(batch_size=3, survey=get_euclid_survey()))
        batch.save(str(tmp_path), 4)
        assert_same_scenes(BlendBatch.load(str(tmp_path), 4), batch)

    def test_a_source_without_flux_is_flagged(self, one_exposure):
        # 40 mag is less than one electron; a magnitude that is missing counts as none.
        batch = draw(make_scene([0.0] * 3, [0.0] * 3, [22.0, 40.0, np.nan]), one_exposure)
        np.testing.assert_array_equal(batch.catalog_list[0]["not_drawn_IE"], [0, 1, 1])
        assert batch.isolated_images[0, 0].sum() > 0
        assert not batch.isolated_images[0, 1:].any()

    def test_a_source_outside_the_stamp(self, one_exposure):
        # Half a pixel beyond the border (3.2 arcsec), just within it, and out of sight.
        scene = make_scene([3.25, 0.0, 500.0], [0.0, -3.19, 0.0], 20.0)
        batch = draw(scene, one_exposure)
        outside = batch.catalog_list[0]["outside_stamp"]
        assert outside.tolist() == [True, False, True]
        light = batch.isolated_images[0, :, 0].sum(axis=(1, 2))
        flux = 10 ** (-0.4 * (20 - 25.92)) * 565
        assert 0.3 * flux < light[0] < 0.5 * flux  # a little less than half falls in
        assert light[2] == 0
        assert batch.catalog_list[0]["not_drawn_IE"].tolist() == [0, 0, 0]


class TestScenesHaveTheirOwnSeeds:
    def test_batch_k_is_the_kth_next(self, groups):
        generator = groups(batch_size=2)
        in_turn = [next(generator) for _ in range(3)]
        fresh = groups(batch_size=2)
        for number in (2, 0, 1):
            assert_same_scenes(fresh.draw_batch(number), in_turn[number])

    def test_scenes_by_their_numbers(self, groups):
        some = groups(batch_size=2).draw_scenes([4, 1])
        for index, number in enumerate((4, 1)):
            alone = groups(batch_size=1).draw_batch(number)
            np.testing.assert_array_equal(some.blend_images[index], alone.blend_images[0])
            np.testing.assert_array_equal(some.isolated_images[index], alone.isolated_images[0])

    @pytest.mark.parametrize("numbers", [[], [3, -1]])
    def test_scenes_that_there_are_not(self, groups, numbers):
        with pytest.raises(InputError, match="one scene or more, numbered from 0, got"):
            groups().draw_scenes(numbers)

    def test_draw_batch_does_not_move_next(self, groups):
        generator = groups(batch_size=2)
        generator.draw_batch(5)
        assert_same_scenes(next(generator), groups(batch_size=2).draw_batch(0))

    def test_first_batch(self, groups):
        assert_same_scenes(
            next(groups(batch_size=2, first_batch=3)), groups(batch_size=2).draw_batch(3)
        )

    def test_iteration(self, groups):
        generator = groups(batch_size=1)
        assert iter(generator) is generator
        batches = [batch for _, batch in zip(range(2), generator, strict=False)]
        assert_same_scenes(batches[1], groups(batch_size=1).draw_batch(1))

    @pytest.mark.parametrize("batch_size", [1, 2, 3])
    def test_batch_size_does_not_matter(self, groups, batch_size):
        whole = next(groups(batch_size=6, augment_data=True))
        generator = groups(batch_size=batch_size, augment_data=True)
        parts = [next(generator) for _ in range(6 // batch_size)]
        np.testing.assert_array_equal(
            np.concatenate([part.blend_images for part in parts]), whole.blend_images
        )
        scenes = [scene for part in parts for scene in part.catalog_list]
        for one, two in zip(scenes, whole.catalog_list, strict=True):
            np.testing.assert_array_equal(one["btk_rotation"], two["btk_rotation"])

    def test_a_last_batch_may_be_smaller(self, groups):
        whole, part = groups(batch_size=4), groups(batch_size=4)
        last = part.draw_batch(1, size=1)
        assert last.batch_size == 1
        np.testing.assert_array_equal(last.blend_images[0], whole.draw_batch(1).blend_images[0])

    def test_two_jobs_draw_the_same(self, groups):
        one = groups(batch_size=3, augment_data=True).draw_batch(1)
        generator = groups(batch_size=3, augment_data=True, njobs=2)
        assert_same_scenes(generator.draw_batch(1), one)
        # More jobs than scenes.
        assert_same_scenes(
            generator.draw_batch(1, size=1),
            groups(batch_size=3, augment_data=True).draw_batch(1, size=1),
        )

    def test_scenes_differ(self, groups):
        generator = groups(batch_size=16, add_noise="none")
        images = np.concatenate([next(generator).blend_images for _ in range(3)])
        assert len(np.unique(images.reshape(48, -1), axis=0)) == 48

    def test_noise_differs_from_scene_to_scene(self, one_exposure):
        scene = make_scene([0.0], [0.0], 21.0)
        images = draw(scene, one_exposure, batch_size=2, add_noise="all").blend_images
        clean = draw(scene, one_exposure, batch_size=2).blend_images
        noise = (images - clean).reshape(2, -1)
        assert abs(np.corrcoef(noise)[0, 1]) < 4 / 64

    @pytest.mark.parametrize("which", ["generator", "sampling"])
    def test_both_seeds_count(self, groups, which):
        def first(seed):
            if which == "generator":
                return next(groups(batch_size=1, seed=seed))
            return next(groups(batch_size=1, sampling=EuclidGroupSampling(3.2, 3, seed=seed)))

        assert_same_scenes(first(1), first(1))
        assert not np.array_equal(first(1).blend_images, first(2).blend_images)

    def test_the_users_sampling_is_not_changed(self, groups):
        sampling = EuclidGroupSampling(3.2, 3, seed=9)
        state = copy.deepcopy(sampling.rng.bit_generator.state)
        attributes = dict(vars(sampling))
        next(groups(sampling=sampling, batch_size=2))
        assert vars(sampling) == attributes
        assert sampling.rng.bit_generator.state == state

    def test_a_table_that_the_sampling_keeps_is_not_changed(self, one_exposure):
        scene = make_scene([0.0], [0.0], 22.0)
        names = list(scene.colnames)
        draw(scene, one_exposure)
        assert scene.colnames == names

    @pytest.mark.parametrize("kind", [Mixture, Wrapper])
    def test_samplings_within_a_sampling(self, groups, kind):
        outer = kind()
        states = [copy.deepcopy(inner.rng.bit_generator.state) for inner in outer.inner()]
        generator = groups(sampling=outer, batch_size=3)
        later = generator.draw_batch(1)
        generator.draw_batch(0)
        assert_same_scenes(generator.draw_batch(1), later)
        assert [inner.rng.bit_generator.state for inner in outer.inner()] == states
        scenes = [scene for k in (0, 1) for scene in generator.draw_batch(k).catalog_list]
        assert len({scene["ra"][0] for scene in scenes}) == 6

    def test_pickling(self, groups):
        generator = groups(batch_size=2)
        next(generator)
        second = next(pickle.loads(pickle.dumps(generator)))
        assert_same_scenes(second, groups(batch_size=2).draw_batch(1))

    def test_a_pickle_holds_no_fourier_transforms(self, groups):
        generator = groups(batch_size=2)
        before = len(pickle.dumps(generator))
        next(generator)
        assert len(pickle.dumps(generator)) == pytest.approx(before, abs=100)


class TestNoise:
    # A galaxy that fills the image, so that every pixel has photon noise.
    SCENE = make_scene([0.0], [0.0], 17.0, a_d=4.0, b_d=4.0)

    def noise(self, survey, kind, seed=3):
        options = {"stamp_size": 12.8, "seed": seed}
        noisy = draw(self.SCENE, survey, add_noise=kind, **options).blend_images[0, 0]
        return noisy - draw(self.SCENE, survey, **options).blend_images[0, 0]

    @pytest.mark.parametrize(
        ("n_exposures", "read_noise"), [(1, 0.0), (4, 4.4), (2, 30.0)], ids=["sky", "wide", "read"]
    )
    def test_variance_is_background_plus_signal(self, n_exposures, read_noise):
        survey = get_euclid_survey(n_exposures, read_noise)
        signal = draw(self.SCENE, survey, 12.8).blend_images[0, 0]
        background = n_exposures * (SKY_ELECTRONS + read_noise**2)
        n = signal.size
        expected = {
            "background": np.full(signal.shape, background),
            "galaxy": signal,
            "all": background + signal,
        }
        for kind, variance in expected.items():
            pull = self.noise(survey, kind) / np.sqrt(variance)
            assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(n)), kind
            # The kurtosis of Poisson noise (1 / its mean) adds to the standard error.
            error = np.sqrt((2 + np.mean(1 / variance)) / n)
            assert pull.var() == pytest.approx(1, abs=4 * error), kind

    def test_galaxy_and_background_noise_are_independent(self, one_exposure):
        # BTK draws both from one seed. Random streams of one seed part after some pixels, so the
        # first pixel of many scenes is what tells; in it are some 400 photons.
        scene, n = make_scene([0.0], [0.0], 20.0), 300

        def first_pixels(kind):
            options = {"stamp_size": 0.8, "batch_size": n, "seed": 3}
            noisy = draw(scene, one_exposure, add_noise=kind, **options).blend_images
            return (noisy - noisy.mean(axis=0))[:, 0, 0, 0]

        galaxy, background = first_pixels("galaxy"), first_pixels("background")
        assert galaxy.std() > 10
        assert abs(np.corrcoef(galaxy, background)[0, 1]) < 4 / np.sqrt(n)

    def test_all_is_the_sum_of_the_two(self, one_exposure):
        both = self.noise(one_exposure, "galaxy") + self.noise(one_exposure, "background")
        np.testing.assert_allclose(self.noise(one_exposure, "all"), both, atol=1e-6)

    def test_none(self, one_exposure):
        assert not self.noise(one_exposure, "none").any()

    def test_isolated_images_are_without_noise(self, one_exposure):
        noisy = draw(self.SCENE, one_exposure, 12.8, add_noise="all")
        clean = draw(self.SCENE, one_exposure, 12.8)
        np.testing.assert_array_equal(noisy.isolated_images, clean.isolated_images)

    def test_noise_of_pixels_is_independent(self, one_exposure):
        noise = self.noise(one_exposure, "background")
        for a, b in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])):
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)

    def test_unknown_option(self, groups):
        with pytest.raises(ValueError, match="options for add_noise are"):
            groups(add_noise="some")


class TestAgainstBtk:
    @pytest.fixture(scope="class")
    @classmethod
    def survey(cls):
        return get_euclid_survey(1, 0.0, psf=euclid_psf(0.16).withGSParams(FINE))

    @pytest.fixture(scope="class")
    @classmethod
    def scene(cls):
        """A scene that BTK can draw: bulge + disk and stars only."""
        table = EuclidCatalog.simulate(
            12, seed=3, min_mag=20, max_mag=24, star_fraction=0.2, bulge_disk_fraction=1.0
        ).table
        rng = np.random.default_rng(5)
        table["ra"], table["dec"] = rng.uniform(-2.8, 2.8, (2, len(table)))
        assert 0 < table["is_star"].sum() < len(table)
        return table

    @staticmethod
    def worst_sigma(batch, oracle):
        return np.abs(batch.isolated_images - oracle).max() / SIGMA

    def test_catsim_generator(self, survey, scene):
        # BTK draws large FFTs on a wide stamp, of which ours is the same.
        arguments = (CatsimCatalog(scene), FixedSampling(scene, 12.8), survey)
        options = {"batch_size": 1, "add_noise": "none"}
        ours = next(EuclidGenerator(*arguments, **options))
        btks = next(CatsimGenerator(*arguments, **options))
        assert self.worst_sigma(ours, btks.isolated_images) < 0.01
        assert np.abs(ours.blend_images - btks.blend_images).max() < 0.02 * SIGMA
        for name in btks.catalog_list[0].colnames:
            np.testing.assert_array_equal(ours.catalog_list[0][name], btks.catalog_list[0][name])

    @pytest.mark.parametrize("apply_shear", [False, True])
    def test_rotation_and_shear(self, survey, scene, apply_shear):
        sheared = scene.copy()
        rng = np.random.default_rng(8)
        sheared["g1"], sheared["g2"] = rng.uniform(-0.2, 0.2, (2, len(scene)))
        batch = draw(sheared, survey, 12.8, augment_data=True, apply_shear=apply_shear)
        table = batch.catalog_list[0]
        assert len(np.unique(table["btk_rotation"])) == len(table)
        filt = survey.get_filter("IE")
        oracle = [
            render_single_catsim_galaxy(row, filt, survey, filt.psf, 128, apply_shear).array
            for row in table
        ]
        assert self.worst_sigma(batch, np.array(oracle)[None, :, None]) < 0.01
        unsheared = draw(sheared, survey, 12.8, augment_data=True)
        is_different = np.abs(unsheared.isolated_images - batch.isolated_images).max() > SIGMA
        assert is_different == apply_shear

    def test_six_bands_of_lsst(self):
        survey = btk.survey.get_surveys("LSST")
        for band in survey.available_filters:
            filt = survey.get_filter(band)
            filt.psf = filt.psf.withGSParams(FINE)
        scene = make_scene(
            [0.3, -2.0, 1.1], [0.1, 1.5, -2.2], 24.0, a_b=0.2, b_b=0.15, fluxnorm_bulge=0.5
        )
        for number, band in enumerate(survey.available_filters):
            scene[f"{band}_ab"] = [23.0 + 0.3 * number, 25.0 - 0.2 * number, 26.0]
        # A table of CatSim: without our own columns.
        scene.remove_columns(["IE_ab", "sersic_n", "is_star"])
        arguments = (CatsimCatalog(scene), FixedSampling(scene, 24.0), survey)
        options = {"batch_size": 1, "add_noise": "none"}
        ours = next(EuclidGenerator(*arguments, **options))
        btks = next(CatsimGenerator(*arguments, **options))
        assert ours.isolated_images.shape == (1, 3, 6, 120, 120)
        sigma = np.sqrt(
            [background_variance(survey, survey.get_filter(b)) for b in survey.available_filters]
        )
        difference = np.abs(ours.isolated_images - btks.isolated_images).max(axis=(0, 1, 3, 4))
        assert np.all(difference < 0.01 * sigma)
        assert {f"not_drawn_{band}" for band in "ugrizy"} <= set(ours.catalog_list[0].colnames)

    def test_shear_needs_its_columns(self, survey, scene):
        with pytest.raises(CatalogError, match="apply_shear=True needs the columns g1 and g2"):
            draw(scene, survey, apply_shear=True)

    def test_btks_shear_sampling(self, catalog, survey):
        sampling = DefaultSamplingShear(stamp_size=6.4, shear=(0.1, -0.05))
        options = {"batch_size": 1, "add_noise": "none"}
        sheared = next(EuclidGenerator(catalog, sampling, survey, apply_shear=True, **options))
        assert np.all(sheared.catalog_list[0]["g1"] == 0.1)
        plain = next(EuclidGenerator(catalog, sampling, survey, **options))
        assert np.abs(sheared.blend_images - plain.blend_images).max() > 0.1 * SIGMA

    def test_a_rotation_for_each_galaxy_of_each_blend(self, groups):
        batch = next(groups(sampling=EuclidPairSampling(3.2), augment_data=True))
        rotations = np.concatenate([scene["btk_rotation"] for scene in batch.catalog_list])
        assert len(np.unique(rotations)) == 2 * 8
        assert np.all((rotations >= 0) & (rotations < 360))
        plain = next(groups(sampling=EuclidPairSampling(3.2)))
        for one, two in zip(batch.catalog_list, plain.catalog_list, strict=True):
            np.testing.assert_array_equal(one["ra"], two["ra"])
            assert not two["btk_rotation"].any()


class TestBtksSamplings:
    @pytest.fixture(scope="class")
    @classmethod
    def sky(cls):
        """A catalog that covers a piece of the sky of 36 arcsec, as CatSim does."""
        table = EuclidCatalog.simulate(400, seed=1, min_mag=20, max_mag=27.5).table
        rng = np.random.default_rng(2)
        table["ra"], table["dec"] = rng.uniform(10, 10.01, (2, len(table)))
        return EuclidCatalog(table)

    # BTK's PairSampling adds an array of one to a number, of which NumPy 2 warns.
    @pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")
    @pytest.mark.parametrize(
        "sampling",
        [
            DefaultSampling(stamp_size=6.4, max_number=4),
            BasicSampling(stamp_size=6.4, max_number=4),
            DensitySampling(stamp_size=6.4),
            PairSampling(stamp_size=6.4),
            RandomSquareSampling(stamp_size=6.4, max_number=40),
        ],
        ids=lambda sampling: type(sampling).__name__,
    )
    def test_is_drawn_and_can_be_repeated(self, sky, one_exposure, sampling):
        generator = EuclidGenerator(sky, sampling, one_exposure, batch_size=3)
        np.random.seed(5)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        first = generator.draw_batch(1)
        assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
        np.random.seed(6)  # noqa: NPY002
        generator.draw_batch(0)
        assert_same_scenes(generator.draw_batch(1), first)
        assert sum(len(scene) for scene in first.catalog_list) > 0
        # The scenes are not the same one three times.
        assert len({tuple(scene["IE_ab"]) for scene in first.catalog_list}) == 3


class TestSurveys:
    def test_two_at_once(self, catalog, one_exposure, tmp_path):
        table = catalog.table.copy()
        for band in "ugrizy":
            table[f"{band}_ab"] = table["IE_ab"]
        surveys = [one_exposure, btk.survey.get_surveys("LSST")]
        sampling = EuclidGroupSampling(6.4, 3)
        batch = next(EuclidGenerator(EuclidCatalog(table), sampling, surveys, batch_size=2))
        assert type(batch) is MultiResolutionBlendBatch
        assert batch.survey_names == ["Euclid_VIS", "LSST"]
        assert batch["Euclid_VIS"].blend_images.shape == (2, 1, 64, 64)
        assert batch["LSST"].blend_images.shape == (2, 6, 32, 32)
        for euclid, lsst in zip(
            batch["Euclid_VIS"].catalog_list, batch["LSST"].catalog_list, strict=True
        ):
            np.testing.assert_array_equal(euclid["ra"], lsst["ra"])
            # The same place on the sky, in pixels of 0.1 and of 0.2 arcsec.
            np.testing.assert_allclose(euclid["x_peak"] - 31.5, 2 * (lsst["x_peak"] - 15.5))
            assert "not_drawn_u" not in euclid.colnames
            assert "not_drawn_IE" not in lsst.colnames
        # Euclid's images are those of Euclid alone.
        alone = next(EuclidGenerator(EuclidCatalog(table), sampling, one_exposure, batch_size=2))
        assert_same_scenes(alone, batch["Euclid_VIS"])
        batch.save(str(tmp_path))
        saved = BlendBatch.load(str(tmp_path / "0" / "LSST"))
        np.testing.assert_array_equal(saved.blend_images, batch["LSST"].blend_images)

    def test_bands_and_surveys_have_their_own_noise(self, catalog):
        table = catalog.table.copy()
        for band in "ugrizy":
            table[f"{band}_ab"] = 40.0
        lsst, copied = btk.survey.get_surveys(["LSST", "LSST"])
        copied.name = "LSST again"
        batch = next(
            EuclidGenerator(
                EuclidCatalog(table), EuclidGroupSampling(12.8), [lsst, copied], batch_size=1
            )
        )
        noise = np.concatenate([batch[k].blend_images[0] for k in (0, 1)]).reshape(12, -1)
        correlation = np.corrcoef(noise) - np.eye(12)
        assert np.abs(correlation).max() < 5 / 64

    def test_same_name_twice(self, groups):
        surveys = [get_euclid_survey(1), get_euclid_survey(4)]
        with pytest.raises(
            InputError, match=r"several with different names.*got 2 of \['Euclid_VIS'\]"
        ):
            groups(survey=surveys)
        surveys[1].name = "Euclid_VIS deep"
        assert groups(survey=surveys, batch_size=1).draw_batch(0).survey_names == [
            "Euclid_VIS",
            "Euclid_VIS deep",
        ]

    def test_no_survey(self, groups):
        with pytest.raises(InputError, match="Expected one survey, or several"):
            groups(survey=[])

    def test_something_else(self, groups):
        with pytest.raises(TypeError, match="surveys must be a Survey object"):
            groups(survey="Euclid_VIS")
        with pytest.raises(TypeError, match="surveys must be a Survey object"):
            groups(survey=["Euclid_VIS"])

    def test_a_psf_function_is_asked_once_a_batch(self, groups):
        # As BTK's get_psf_from_file, which picks a file at random: the PSF of the batch must be
        # the PSF of its images.
        calls = []

        def psf(survey, filt):
            calls.append(1)
            return galsim.Gaussian(fwhm=0.15 + 0.02 * len(calls))

        survey = get_euclid_survey(1, 0.0, psf=psf)
        generator = EuclidGenerator(
            CatsimCatalog(make_scene([0.0], [0.0], 22.0)),
            FixedSampling(make_scene([0.05], [0.05], 20.0, is_star=True)),
            survey,
            batch_size=3,
            add_noise="none",
        )
        for _ in range(2):
            before = len(calls)
            batch = next(generator)
            assert len(calls) == before + 1
            flux = np.floor(10 ** (-0.4 * (20 - 25.92)) * 565)
            star = batch.psf[0].withGSParams(FINE).withFlux(flux).shift(0.05, 0.05)
            expected = star.drawImage(nx=64, ny=64, scale=0.1).array
            np.testing.assert_allclose(batch.blend_images[:, 0], [expected] * 3, atol=0.1)

    def test_a_psf_function_that_gives_no_psf(self, groups):
        with pytest.raises(TypeError, match="is not a galsim object"):
            groups(survey=get_euclid_survey(psf=lambda survey, filt: 3))

    def test_another_depth_is_not_drawn_with_the_first_ones_renderer(self, catalog):
        sampling = EuclidGroupSampling(6.4, 2)
        images = [
            next(EuclidGenerator(catalog, sampling, get_euclid_survey(n, psf=p), add_noise="none"))
            for n, p in ((1, 0.16), (4, 0.16), (1, 0.2))
        ]
        np.testing.assert_allclose(
            4 * images[0].blend_images, images[1].blend_images, rtol=1e-3, atol=10
        )
        assert images[0].blend_images.max() > images[2].blend_images.max() + SIGMA


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"batch_size": 0}, InputError, "batch_size must be a whole number of at least 1"),
            ({"batch_size": 2.5}, InputError, "batch_size must be a whole number"),
            ({"njobs": 0}, InputError, "njobs must be a whole number of at least 1, got 0"),
            ({"seed": -1}, InputError, "seed must be 0 or more, got -1"),
            ({"seed": None}, InputTypeError, "seed must be a whole number, got None"),
            ({"seed": 1.0}, InputTypeError, "seed must be a whole number"),
        ],
    )
    def test_wrong_options(self, groups, options, error, match):
        with pytest.raises(error, match=match) as caught:
            groups(**options)
        assert isinstance(caught.value, BtkPunetError)

    @pytest.mark.parametrize(("number", "size"), [(-1, 2), (0, 0), (0, 3)])
    def test_wrong_batch(self, groups, number, size):
        with pytest.raises(InputError, match="a size of 1 to 2"):
            groups(batch_size=2).draw_batch(number, size)

    def test_stamp_smaller_than_the_psf(self, catalog, one_exposure):
        with pytest.raises(InputError, match="stamp of 0.3 arcsec is smaller than the PSF"):
            EuclidGenerator(catalog, EuclidGroupSampling(0.3, max_radius=0.1), one_exposure)

    @pytest.mark.parametrize("psf", [galsim.DeltaFunction(), galsim.Gaussian(sigma=1e-8)])
    def test_psf_far_sharper_than_a_pixel(self, groups, psf):
        with pytest.raises(InputError, match="PSF of Euclid_VIS IE is far sharper than the pixels"):
            groups(survey=get_euclid_survey(psf=psf))

    @pytest.mark.parametrize("name", ["fluxnorm_agn", "a_d", "b_b", "pa_bulge"])
    def test_catalog_without_a_needed_column(self, one_exposure, name):
        table = make_scene([0.0], [0.0], 22.0)
        table.remove_column(name)
        with pytest.raises(CatalogError, match=rf"lacks the column\(s\) \['{name}'\]"):
            EuclidGenerator(CatsimCatalog(table), EuclidGroupSampling(), one_exposure)

    def test_catalog_without_the_magnitudes_of_the_survey(self, catalog):
        with pytest.raises(CatalogError, match=r"\['u_ab', 'g_ab', 'r_ab', 'z_ab', 'y_ab'\]"):
            EuclidGenerator(catalog, EuclidGroupSampling(), btk.survey.get_surveys("LSST"))

    def test_another_kind_of_catalog(self, one_exposure):
        class OtherCatalog(CatsimCatalog):
            pass

        other = OtherCatalog(make_scene([0.0], [0.0], 22.0))
        with pytest.raises(CatalogError, match="got OtherCatalog. For real galaxies: RealGalaxy"):
            EuclidGenerator(other, EuclidGroupSampling(), one_exposure)

    def test_a_source_of_a_catsim_catalog_that_cannot_be_drawn(self, one_exposure):
        with pytest.raises(CatalogError, match="a_d >= b_d > 0 arcsec, got 0.3 and 0.4"):
            draw(make_scene([0.0], [0.0], 22.0, b_d=0.4), one_exposure)

    @pytest.mark.parametrize(
        ("number", "match"), [(4, "less than max_number: 4 <= 3"), (1, ">= 2")]
    )
    def test_sampling_that_breaks_its_own_limits(self, groups, number, match):
        sampling = FixedSampling(make_scene([0.0] * number, [0.0] * number, 22.0))
        sampling.min_number, sampling.max_number = 2, 3
        with pytest.raises(ValueError, match=match):
            next(groups(sampling=sampling))

    def test_sampling_without_a_limit(self, catalog, one_exposure):
        with pytest.raises(AttributeError, match="attribute 'max_number'"):
            EuclidGenerator(catalog, lambda table: table, one_exposure)

    def test_nothing_in_the_magnitude_range(self, groups):
        sampling = EuclidGroupSampling(3.2, min_mag=10, max_mag=11)
        with pytest.raises(CatalogError, match="No source of the catalog"):
            next(groups(sampling=sampling))


def test_render_single_is_the_isolated_image(one_exposure):
    """BTK's own entry point draws what the batch holds."""
    scene = make_scene([0.3], [-0.2], 21.0)
    generator = EuclidGenerator(
        CatsimCatalog(scene), FixedSampling(scene), one_exposure, batch_size=1
    )
    batch = next(generator)
    filt = one_exposure.get_filter("IE")
    image = generator.render_single(batch.catalog_list[0][0], filt, filt.psf, one_exposure)
    assert isinstance(image, galsim.Image)
    np.testing.assert_array_equal(image.array, batch.isolated_images[0, 0, 0])
    assert isinstance(batch.catalog_list[0], Table)
