"""detect: the same whatever the tiles, processes and stops; as ProbaUNetDeblender on a stamp."""

import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.table import QTable
from numpy.testing import assert_array_equal

from btk_punet import Detections, ProbaUNetDeblender, detect, image_batch
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.recipe import DetectionRecipe
from btk_punet.errors import InputError, InputTypeError, RunExistsError
from btk_punet.images import search
from btk_punet.simulation.fields import draw_field
from btk_punet.simulation.survey import background_variance, get_euclid_survey
from tests.deblending.test_evidence_network import linear

SURVEY = get_euclid_survey(4)
RMS = background_variance(SURVEY, SURVEY.get_filter("IE")) ** 0.5
GIVEN = {"rms": RMS, "gain": 1, "background": None, "zeropoint": 34.3, "progress": False}
FILES = ("catalog.fits", "catalog.parquet", "labels.fits", "probability.fits", "candidates.fits")


@pytest.fixture(scope="module")
def field():
    """A field of 200 x 168 pixels, its world coordinates, and what is in it."""
    image, truth, wcs = draw_field((200, 168), density_per_arcmin2=200, faintest=24.5, seed=5)
    return image, wcs, truth


@pytest.fixture(scope="module")
def found(field, network):
    """What is found in it in one piece."""
    return detect(field[0], wcs=field[1], weights=network, **GIVEN)


def columns_equal(one, other):
    assert one.colnames == other.colnames
    for name in one.colnames:
        assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=name)


def test_an_empty_sky(network):
    sky = np.random.default_rng(1).normal(0, 1, (40, 50)).clip(-2, 2)
    found = detect(sky, rms=2.5, background=None, weights=network, progress=False)
    assert len(found) == 0 and found.labels.shape == (40, 50) and not found.labels.any()
    assert found.probability["centre"].shape == (40, 50)
    assert [len(sample) for sample in found.sample_catalogs(2)] == [0, 0]
    assert "flux" in found.catalog.colnames


def test_what_is_told_of_the_galaxies_counts(field, network, tmp_path):
    network.save(tmp_path)
    DetectionRecipe(evidence=linear(real=-2.0)).save(tmp_path)
    number = {
        kind: len(detect(field[0], weights=tmp_path, **told, **GIVEN))
        for kind, told in [("default", {}), *((k, {"galaxies": k}) for k in ("real", "smooth"))]
    }
    assert number["default"] == number["real"] < number["smooth"]


def test_bright_sources_are_found_where_they_are(field, found):
    _, wcs, truth = field
    inside = (
        (truth["IE_ab"] < 23.5)
        & (np.abs(truth["x"] - 83.5) < 80)
        & (np.abs(truth["y"] - 99.5) < 96)
    )
    x, y = found.catalog["x_peak"].value, found.catalog["y_peak"].value
    for source in truth[inside]:
        distance = np.hypot(x - source["x"], y - source["y"])
        best = np.argmin(distance)
        assert distance[best] < 1
        sky = 3600 * np.abs(found.catalog["RA"][best].value - source["ra"])
        assert sky < 0.1 + 3 * found.catalog["RA_err"][best].value
    assert inside.sum() > 5


def test_catalog_labels_and_footprints_agree(found):
    catalog, labels = found.catalog, np.asarray(found.labels)
    assert (np.diff(catalog["p_detect"]) <= 0).all()
    assert_array_equal(catalog["id"], np.arange(1, len(catalog) + 1))
    x, y = (np.rint(catalog[name].value).astype(int) for name in ("x_peak", "y_peak"))
    assert set(np.unique(labels)) <= {0, *catalog["id"]}
    for row in range(len(catalog)):
        covered = found.footprint(int(catalog["id"][row]))
        assert covered.sum() == catalog["n_pixels"][row]
        assert covered[max(y[row] - 2, 0) : y[row] + 3, max(x[row] - 2, 0) : x[row] + 3].any()
    in_catalog = found.candidates["id"] > 0
    assert in_catalog.sum() == len(catalog)
    assert (found.candidates["p_detect"][~in_catalog] < 0.5).all()


def test_as_the_deblender_of_stamps(field, network):
    image = field[0][:96, :96]
    catalog = ProbaUNetDeblender(100, network)(image_batch(image, SURVEY)).catalog_list[0]
    found = detect(image, weights=network, **GIVEN).catalog
    assert len(found) == len(catalog) > 2
    order = np.lexsort((catalog["x_peak"], catalog["y_peak"]))
    own = np.lexsort((found["x_peak"].value, found["y_peak"].value))
    # Samples of a piece of an image have noise of their own.
    for name, tolerance in (("x_peak", 0.1), ("y_peak", 0.1), ("p_detect", 0.02)):
        np.testing.assert_allclose(
            np.asarray(found[name])[own], catalog[name][order], atol=tolerance
        )
    difference = np.abs(found["flux"].value[own] / catalog["flux"][order] - 1)
    assert np.median(difference) < 0.02


@pytest.mark.parametrize("tile", [64, 80])
def test_no_seams(field, network, found, tile, monkeypatch):
    monkeypatch.setattr(search, "TILE_PIXELS", tile)
    cut = detect(field[0], wcs=field[1], weights=network, **GIVEN)
    assert len(cut) == len(found)
    # A pixel that is as likely sky as source may turn with the last digit.
    assert np.mean(cut.labels != found.labels) < 1e-4
    for name, tolerance in (
        ("p_detect", 1e-3),
        ("p_blend", 1e-3),
        ("blend_id", 0),
        ("n_pixels", 2),
    ):
        np.testing.assert_allclose(
            np.asarray(cut.catalog[name]),
            np.asarray(found.catalog[name]),
            atol=tolerance,
            err_msg=name,
        )
    # The fit of a blend may end elsewhere where it begins with other neighbours far away.
    moved = np.hypot(*(cut.catalog[n].value - found.catalog[n].value for n in ("x_peak", "y_peak")))
    assert np.median(moved) < 1e-3
    np.testing.assert_allclose(cut.probability["centre"], found.probability["centre"], atol=1e-6)


def test_a_region_is_that_part_of_the_whole(field, network, found):
    part = detect(field[0], wcs=field[1], weights=network, region=np.s_[40:160, 24:], **GIVEN)
    assert part.labels.shape == (120, 144)
    x, y = found.catalog["x_peak"].value, found.catalog["y_peak"].value
    inside = (x > 30) & (y > 46) & (y < 154)
    own = (part.catalog["x_peak"].value > 30) & (np.abs(part.catalog["y_peak"].value - 100) < 54)
    assert abs(own.sum() - inside.sum()) <= 1 and inside.sum() > 3
    np.testing.assert_allclose(
        part.probability["centre"], found.probability["centre"][40:160, 24:], atol=1e-6
    )


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        (5, InputTypeError, "two slices"),
        (np.s_[0:0, 0:5], InputError, "the end of the rows"),
        (np.s_[0:500, 0:5], InputError, "the image's 200 rows, of which it has 0:500"),
        (np.s_[0:50:2, 0:5], InputError, "0:50:2"),
        (np.s_[0:50, -5:], InputError, "first of the columns"),
    ],
)
def test_regions_that_are_none(field, network, region, error, message):
    with pytest.raises(error, match=message):
        detect(field[0], weights=network, region=region, **GIVEN)


def test_masked_pixels_and_a_saturated_star(network):
    image, _, _ = draw_field((128, 128), density_per_arcmin2=200, faintest=24.5, seed=8)
    psf = SURVEY.get_filter("IE").psf
    psf = psf(SURVEY, SURVEY.get_filter("IE")) if callable(psf) else psf
    image[33:94, 41:102] += psf.withFlux(3e6).drawImage(nx=61, ny=61, scale=0.1).array
    image[20:110, 71] = np.maximum(image[20:110, 71], 1e6)  # its trail
    image = np.minimum(image, 5e4)
    image[:, 84] = np.nan
    found = detect(image, weights=network, saturate=5e4, **GIVEN)
    flags = np.asarray(found.catalog["flags"])
    x, y = found.catalog["x_peak"].value, found.catalog["y_peak"].value
    star = np.hypot(x - 71, y - 63) < 12
    assert star.sum() == 1
    assert flags[star][0] & DetectionFlag.SATURATED
    assert found.catalog["flux"][star][0].value == pytest.approx(3e6, rel=0.1)
    # No source is on the dead column, and those beside it say so.
    touching = [bool(found.footprint(int(i))[:, 83:86].any()) for i in found.catalog["id"]]
    assert (flags[touching] & DetectionFlag.BAD_PIXEL != 0).all() and any(touching)


def test_units_follow_what_is_known(field, network):
    image = field[0][:64, :64]
    plain = detect(image, rms=RMS, background=None, weights=network, progress=False)
    assert plain.wcs is None and "RA" not in plain.catalog.colnames
    assert plain.catalog["flux"].unit.is_equivalent("") and np.isnan(plain.catalog["mag_IE"]).all()
    known = detect(image, weights=network, **GIVEN)
    assert known.catalog["flux"].unit == "electron"
    for catalog in (plain.catalog, known.catalog):
        catalog.sort("flux_iso")
    np.testing.assert_allclose(plain.catalog["flux_iso"].value, known.catalog["flux_iso"].value)


def test_two_processes_give_the_same(field, network, tmp_path, monkeypatch):
    # A user's weights are in a folder: each process loads them.
    network.save(tmp_path / "weights")
    choices = {"wcs": field[1], "weights": tmp_path / "weights", **GIVEN}
    monkeypatch.setattr(search, "TILE_PIXELS", 64)
    one = detect(field[0], **choices, output=tmp_path / "one")
    two = detect(field[0], **choices, output=tmp_path / "two", jobs=2)
    columns_equal(one.catalog, two.catalog)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), (
            name
        )


SCRIPT = """
import numpy as np
from btk_punet import detect
from btk_punet.images import search
search.TILE_PIXELS = 32
image = np.load({image!r})
detect(image, weights={weights!r}, output={output!r}, rms={rms}, gain=1, background=None,
       zeropoint=34.3, progress=False)
"""


def test_killed_and_run_again(field, network, tmp_path, monkeypatch):
    network.save(tmp_path / "weights")
    np.save(tmp_path / "image.npy", field[0])
    paths = {"image": str(tmp_path / "image.npy"), "weights": str(tmp_path / "weights"), "rms": RMS}
    script = SCRIPT.format(**paths, output=str(tmp_path / "killed"))
    process = subprocess.Popen([sys.executable, "-c", script])
    parts = tmp_path / "killed" / "parts"
    for _ in range(1200):
        done = sorted(parts.glob("maps-*.npz"))
        if len(done) > 2 or process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert 0 < len(done) and not (tmp_path / "killed" / "catalog.fits").exists()
    times = {path: path.stat().st_mtime_ns for path in done}

    monkeypatch.setattr(search, "TILE_PIXELS", 32)
    choices = {"weights": str(tmp_path / "weights"), **GIVEN}
    written = []
    monkeypatch.setattr(
        search,
        "find_maps",
        lambda tile, *rest, own=search.find_maps: written.append(tile.number) or own(tile, *rest),
    )
    detect(field[0], **choices, output=tmp_path / "killed")
    assert len(written) < 7 * 6 and len(written) + len(times) <= 7 * 6
    quiet = detect(field[0], **choices, output=tmp_path / "quiet")
    for name in FILES:
        killed, other = (tmp_path / run / name for run in ("killed", "quiet"))
        assert killed.read_bytes() == other.read_bytes(), name
    assert not parts.exists()

    # Finished, it is read; with other choices it is another run.
    written.clear()
    again = detect(field[0], **choices, output=tmp_path / "killed")
    assert not written
    columns_equal(again.catalog, quiet.catalog)
    with pytest.raises(RunExistsError, match=r"another run \(of choices that differ\)"):
        detect(field[0], **choices, seed=3, output=tmp_path / "killed")
    assert len(Detections.read(tmp_path / "killed")) == len(quiet)
    assert len(QTable.read(tmp_path / "killed" / "catalog.fits")) == len(quiet)


def test_files_of_something_else_are_left_alone(field, network, tmp_path):
    (tmp_path / "thesis.tex").write_text("finished")
    with pytest.raises(RunExistsError, match="holds no run"):
        detect(field[0], weights=network, output=tmp_path, **GIVEN)
    assert (tmp_path / "thesis.tex").read_text() == "finished"


def test_several_bands_are_refused(field):
    keras = pytest.importorskip("keras")
    from btk_punet.model.proba_unet import ProbaUNet

    keras.utils.set_random_seed(0)
    with pytest.raises(InputError, match="trained on 3 bands"):
        detect(field[0], weights=ProbaUNet(n_bands=3, channels=(4, 6)), **GIVEN)
