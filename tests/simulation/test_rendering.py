"""Stamps against GalSim's own drawing at high accuracy, and the sizes of the stamps."""

import galsim
import numpy as np
import pytest

from btk_punet.errors import CatalogError
from btk_punet.simulation.rendering import (
    STAMP_SIZES,
    Component,
    StampRenderer,
    source_components,
    stamp_renderer,
)
from btk_punet.simulation.survey import euclid_psf
from tests.simulation.conftest import SIGMA

# The promise: nothing is off by more than this, in units of the background's sigma.
TOLERANCE_SIGMA = 0.01

FINE = galsim.GSParams(
    folding_threshold=1e-3,
    maxk_threshold=1e-6,
    kvalue_accuracy=1e-7,
    xvalue_accuracy=1e-7,
    maximum_fft_size=16_384,
)


class Camera:
    """A PSF, a pixel and a background: our renderer and GalSim's drawing of the same."""

    def __init__(self, psf, scale, sigma):
        self.psf, self.scale, self.sigma = psf, scale, sigma
        self.renderer = StampRenderer(psf, scale, sigma)

    def draw(self, parts, x, y, size, transform=None):
        """Return our image, shape (size, size)."""
        image = np.zeros((size, size))
        drawn = self.renderer.draw(parts, x, y, size, transform)
        if drawn is not None:
            stamp, rows, cols = drawn
            image[rows, cols] = stamp
        return image

    def reference(self, parts, x, y, size, transform=None):
        """Return GalSim's image, cut out of a wide one so that no light folds back."""
        profile = galsim.Add([part.profile().withGSParams(FINE) for part in parts])
        if transform is not None:
            profile = galsim.Transform(profile, jac=transform)
        convolved = galsim.Convolve(profile, self.psf.withGSParams(FINE), gsparams=FINE)
        middle, margin = (size - 1) / 2, 64
        wide = convolved.shift((x - middle) * self.scale, (y - middle) * self.scale).drawImage(
            nx=size + 2 * margin, ny=size + 2 * margin, scale=self.scale, dtype=float
        )
        return wide.array[margin:-margin, margin:-margin]

    def error_sigma(self, parts, x, y, size, transform=None):
        """Return the largest difference of the two, in units of the background's sigma."""
        ours = self.draw(parts, x, y, size, transform)
        return np.abs(ours - self.reference(parts, x, y, size, transform)).max() / self.sigma


@pytest.fixture(scope="module")
def euclid():
    """One exposure, the shallowest background, in which errors show most."""
    return Camera(euclid_psf(0.16), 0.1, SIGMA)


@pytest.fixture(scope="module")
def ground():
    """A ground-based camera: atmosphere, wide pixels, bright sky."""
    return Camera(galsim.Kolmogorov(fwhm=0.7), 0.2, 150.0)


# At 22 mag one Euclid exposure collects 20,900 electrons.
FLUX = 20_900.0
PROFILES = {
    "star": [Component(FLUX)],
    "exponential": [Component(FLUX, 1.0, 0.4, 0.6, 30.0)],
    "de Vaucouleurs": [Component(FLUX, 4.0, 0.5, 0.8, 100.0)],
    "bulge + disk": [Component(0.6 * FLUX, 1.0, 0.4, 0.5, 70), Component(0.4 * FLUX, 4.0, 0.2)],
    "bulge + disk + point": [
        Component(0.5 * FLUX, 1.0, 0.4, 0.5, 70),
        Component(0.3 * FLUX, 4.0, 0.2, 0.9, 20),
        Component(0.2 * FLUX),
    ],
    "flattest Sersic": [Component(FLUX, 0.3, 0.3, 0.7, 45.0)],
    "Sersic 0.65": [Component(FLUX, 0.65, 0.2, 0.4, 160.0)],
    "Sersic 2.5": [Component(FLUX, 2.5, 0.3, 0.5, 80.0)],
    "steepest Sersic": [Component(FLUX, 4.5, 0.15)],
    "edge on": [Component(FLUX, 1.0, 0.5, 0.06, 10.0)],
    "smaller than a pixel": [Component(FLUX, 1.5, 0.02)],
    "faint": [Component(60.0, 1.2, 0.16, 0.7)],
}
SHEAR = galsim.Shear(g1=0.2, g2=-0.1).getMatrix()
ROTATION = np.array([[0.0, -1.0], [1.0, 0.0]])  # by 90 degrees


class TestAgainstGalSim:
    @pytest.mark.parametrize("size", [64, 65])
    @pytest.mark.parametrize("name", PROFILES)
    def test_every_profile_at_random_centres(self, euclid, name, size):
        rng = np.random.default_rng([size, *name.encode()])
        for x, y in rng.uniform(0.3 * size, 0.7 * size, (2, 2)):
            assert euclid.error_sigma(PROFILES[name], x, y, size) < TOLERANCE_SIGMA

    @pytest.mark.parametrize("name", ["star", "bulge + disk", "Sersic 0.65", "de Vaucouleurs"])
    @pytest.mark.parametrize("transform", [SHEAR, ROTATION, SHEAR @ ROTATION, 1.5 * SHEAR])
    def test_rotated_and_sheared(self, euclid, name, transform):
        x, y = 30.37, 33.81
        assert euclid.error_sigma(PROFILES[name], x, y, 64, transform) < TOLERANCE_SIGMA

    @pytest.mark.parametrize("name", ["star", "exponential", "bulge + disk", "flattest Sersic"])
    def test_ground_based(self, ground, name):
        # At 22 mag LSST's ten years collect about 400,000 electrons in i.
        bright = [part._replace(flux=20 * part.flux) for part in PROFILES[name]]
        assert ground.error_sigma(bright, 20.23, 22.71, 41) < TOLERANCE_SIGMA

    @pytest.mark.parametrize(
        "psf",
        [
            euclid_psf(0.14),
            euclid_psf(0.20),
            galsim.Gaussian(fwhm=0.16),
            galsim.Moffat(beta=3, fwhm=0.2),
            galsim.Airy(lam=750, diam=1.2, obscuration=0.36),
            galsim.Moffat(beta=4, fwhm=0.18).shear(g1=0.05, g2=0.02).shift(0.03, -0.02),
        ],
        ids=["0.14", "0.20", "Gaussian", "Moffat", "Airy", "sheared and off centre"],
    )
    def test_other_psfs(self, psf):
        camera = Camera(psf, 0.1, SIGMA)
        # 19.5 mag, the brightest of the benchmark sets.
        star, compact = [Component(209_000.0)], [Component(209_000.0, 1.0, 0.1)]
        for parts in (star, compact, PROFILES["bulge + disk"]):
            assert camera.error_sigma(parts, 30.28, 32.63, 64) < TOLERANCE_SIGMA

    @pytest.mark.parametrize(
        ("x", "y"), [(32.0, 32.0), (31.5, 31.5), (32.5, 31.5), (31.50001, 32.49999), (32.0, 31.25)]
    )
    def test_special_places_in_the_pixel(self, euclid, x, y):
        assert euclid.error_sigma(PROFILES["star"], x, y, 64) < TOLERANCE_SIGMA

    @pytest.mark.parametrize(
        ("x", "y"), [(0.0, 31.0), (-0.4, -0.4), (63.3, 2.0), (-6.2, 20.7), (70.0, 70.0)]
    )
    def test_cut_by_the_border_of_the_image(self, euclid, x, y):
        for name in ("star", "exponential", "bulge + disk"):
            assert euclid.error_sigma(PROFILES[name], x, y, 64) < TOLERANCE_SIGMA
        assert euclid.draw(PROFILES["exponential"], x, y, 64).max() > SIGMA

    def test_stamp_larger_than_the_image(self, euclid):
        assert euclid.renderer.stamp_size(PROFILES["de Vaucouleurs"]) > 24
        assert euclid.error_sigma(PROFILES["de Vaucouleurs"], 11.7, 12.2, 24) < TOLERANCE_SIGMA


class TestPlaceAndFlux:
    def test_no_image(self, euclid):
        assert euclid.renderer.draw(PROFILES["star"], 0.0, 0.0, 0) is None

    @pytest.mark.parametrize(("x", "y"), [(-500, 30), (30, 563), (1e6, -1e6)])
    def test_a_source_far_outside_draws_nothing(self, euclid, x, y):
        assert euclid.renderer.draw(PROFILES["exponential"], x, y, 64) is None

    def test_the_stamp_lies_around_the_centre(self, euclid):
        size = euclid.renderer.stamp_size(PROFILES["star"])
        for x, y in ((500.4, 499.6), (499.5, 500.49)):
            stamp, rows, cols = euclid.renderer.draw(PROFILES["star"], x, y, 1000)
            assert stamp.shape == (size, size)
            assert (rows.start, rows.stop) == (500 - size // 2, 500 + size // 2)
            assert (cols.start, cols.stop) == (500 - size // 2, 500 + size // 2)

    @pytest.mark.parametrize("name", PROFILES)
    def test_total_flux(self, euclid, name):
        parts = PROFILES[name]
        stamp, _, _ = euclid.renderer.draw(parts, 512.3, 511.8, 1024)
        # Periodic transforms lose no light: what would fall outside folds back, faintly.
        assert stamp.sum() == pytest.approx(sum(part.flux for part in parts), rel=1e-6)

    def test_a_centred_star_is_symmetric_about_its_pixel(self):
        camera = Camera(galsim.Gaussian(fwhm=0.2), 0.1, SIGMA)
        image = camera.draw(PROFILES["star"], 32, 20, 65)
        assert np.unravel_index(image.argmax(), image.shape) == (20, 32)  # row y, column x
        np.testing.assert_allclose(image[20, 27:32], image[20, 37:32:-1], atol=1e-6)
        np.testing.assert_allclose(image[15:20, 32], image[25:20:-1, 32], atol=1e-6)

    def test_the_angle_turns_from_x_to_y(self, euclid):
        image = euclid.draw([Component(FLUX, 1.0, 0.4, 0.2, 90.0)], 32, 32, 65)
        assert image[42, 32] > 5 * image[32, 42]

    def test_rotation_is_that_of_galsim(self, euclid):
        turned = euclid.draw([Component(FLUX, 1.0, 0.4, 0.2, 0.0)], 32, 32, 65, ROTATION)
        upright = euclid.draw([Component(FLUX, 1.0, 0.4, 0.2, 90.0)], 32, 32, 65)
        np.testing.assert_allclose(turned, upright, atol=1e-3 * SIGMA)

    def test_drawing_again_gives_the_same(self, euclid):
        first = euclid.draw(PROFILES["star"], 30.1, 30.2, 64)
        euclid.draw(PROFILES["de Vaucouleurs"], 10.0, 40.0, 64)
        np.testing.assert_array_equal(euclid.draw(PROFILES["star"], 30.1, 30.2, 64), first)


class TestStampSize:
    def test_grows_with_flux(self, euclid):
        for kind in (Component(1.0), Component(1.0, 1.0, 0.3), Component(1.0, 4.0, 0.3)):
            sizes = [
                euclid.renderer.stamp_size([kind._replace(flux=10.0**power)])
                for power in (1, 2, 3, 4, 5, 6)
            ]
            assert sizes == sorted(sizes)
            assert sizes[0] < sizes[3] < sizes[5]

    def test_is_one_of_the_sizes_and_no_larger_than_the_largest(self, euclid):
        assert euclid.renderer.stamp_size([Component(1.0)]) == STAMP_SIZES[0]
        assert euclid.renderer.stamp_size([Component(1e12, 4.0, 2.0)]) == STAMP_SIZES[-1]

    def test_grows_with_a_stretch(self, euclid):
        parts = [Component(FLUX, 1.0, 1.0)]
        assert euclid.renderer.stamp_size(parts, 2.0) > euclid.renderer.stamp_size(parts)

    def test_of_an_exponential_disk(self):
        # With a PSF that has no wings: where exp(-r / h) of the centre has fallen to 0.002 sigma.
        renderer = StampRenderer(galsim.Gaussian(fwhm=0.16), 0.1, 10.0)
        radius, flux = 0.5, 10_000.0
        scale_length = radius / 1.67834699
        central = flux / (2 * np.pi * scale_length**2) * 0.1**2  # electrons in a pixel
        expected = scale_length * np.log(central / 0.02)  # arcsec
        half_size = 0.5 * 0.1 * renderer.stamp_size([Component(flux, 1.0, radius)])
        sizes = np.array(STAMP_SIZES)
        assert half_size == 0.05 * sizes[0.05 * sizes >= expected][0]

    def test_nothing_is_brighter_than_its_limit_at_the_border(self, euclid):
        for name in ("star", "exponential", "bulge + disk", "Sersic 2.5"):
            parts = PROFILES[name]
            size = euclid.renderer.stamp_size(parts)
            wide = euclid.reference(parts, size, size, 2 * size + 1)
            inner = wide[size // 2 : -(size // 2), size // 2 : -(size // 2)]
            border = max(abs(inner[[0, -1]]).max(), abs(inner[:, [0, -1]]).max())
            # Disk and PSF each keep to 0.002 sigma; where both are broad they add.
            assert border < 0.004 * SIGMA


class TestComponents:
    def test_no_flux_anywhere(self):
        row = {"fluxnorm_disk": 0.0, "fluxnorm_bulge": 0.0, "fluxnorm_agn": 0.0}
        assert source_components(row, 100.0) == []

    ROW = {
        "fluxnorm_disk": 3.0,
        "fluxnorm_bulge": 1.0,
        "fluxnorm_agn": 1.0,
        "a_d": 0.8,
        "b_d": 0.2,
        "a_b": 0.5,
        "b_b": 0.5,
        "pa_disk": 30.0,
        "pa_bulge": 60.0,
    }

    def test_parts_share_the_flux(self):
        disk, bulge, point = source_components(self.ROW, 100.0)
        assert disk == pytest.approx((60.0, 1.0, 0.4, 0.25, 30.0))
        assert bulge == pytest.approx((20.0, 4.0, 0.5, 1.0, 60.0))
        assert point == Component(20.0)

    def test_a_sersic_profile_takes_the_disks_axes_and_all_the_flux(self):
        (part,) = source_components({**self.ROW, "sersic_n": 2.5}, 100.0)
        assert part == pytest.approx((100.0, 2.5, 0.4, 0.25, 30.0))

    def test_a_star_is_a_point(self):
        assert source_components({**self.ROW, "is_star": True}, 7.0) == [Component(7.0)]

    @pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.5, 0.0), (0.2, 0.5), (np.nan, 0.1)])
    def test_axes_that_cannot_be_drawn(self, a, b):
        with pytest.raises(CatalogError, match="flux in its disk.*a_d >= b_d > 0 arcsec, got"):
            source_components({**self.ROW, "a_d": a, "b_d": b}, 100.0)
        with pytest.raises(CatalogError, match="flux in its bulge.*a_b >= b_b > 0 arcsec, got"):
            source_components({**self.ROW, "a_b": a, "b_b": b}, 100.0)

    def test_axes_of_a_part_without_flux_do_not_matter(self):
        row = {**self.ROW, "fluxnorm_bulge": 0.0, "a_b": 0.0, "b_b": 0.0}
        assert len(source_components(row, 100.0)) == 2

    @pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0])
    def test_radius_at_a_surface_brightness(self, n):
        part = Component(1000.0, n, 0.5, 0.6, 0.0)
        radius = part.radius_at(3.0)  # along x, the long axis
        assert part.profile().xValue(radius, 0.0) == pytest.approx(3.0, rel=1e-3)

    def test_radius_of_what_is_fainter_everywhere(self):
        assert Component(1000.0, 1.0, 0.5).radius_at(1e5) == 0.0
        assert Component(1000.0).radius_at(1.0) == 0.0  # a point


def test_a_renderer_is_made_once():
    psf = galsim.Gaussian(fwhm=0.2)
    same = galsim.Gaussian(fwhm=0.2)
    assert stamp_renderer(psf, 0.1, 12.0) is stamp_renderer(same, 0.1, 12.0)
    assert stamp_renderer(psf, 0.1, 12.0) is not stamp_renderer(psf, 0.2, 12.0)
