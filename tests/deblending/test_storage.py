"""A batch in a file: it comes back whole and equal, and what is not such a file says so."""

import galsim
import h5py
import numpy as np
import pytest
from astropy.table import Table
from btk.blend_batch import DeblendBatch
from btk.survey import get_surveys

from btk_punet.deblending.hdf5_values import write_value
from btk_punet.deblending.measure import MeasureGenerator
from btk_punet.deblending.storage import MeasuredBatches, batch_files, read_batch, write_batch
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError
from btk_punet.simulation.survey import background_variance, get_euclid_survey

from .conftest import make_batch
from .equal import assert_equal

RNG = np.random.default_rng(3)
N, SIZE, MAX_N = 2, 16, 4


def make_catalog(n):
    catalog = Table({"ra": RNG.normal(size=n), "dec": RNG.normal(size=n)})
    catalog["flags"] = np.arange(n, dtype=np.int32)
    catalog["name"] = np.array(["a", "longer", "c"][:n], "U6")
    return catalog


def make_uncertainty():
    """What a probabilistic deblender says of one image."""
    return {
        "class_probability": RNG.random((3, SIZE, SIZE), np.float32),
        "class_mean": RNG.random((SIZE, SIZE)),
        "class_variance": RNG.random((SIZE, SIZE)),
        "centre_probability": RNG.random((SIZE, SIZE)),
        "count_posterior": RNG.random(MAX_N + 1),
        "candidates": make_catalog(3),
        "settings": {"n_samples": 16, "weights": "euclid-vis", "mask": None, "bands": [0]},
    }


def make_deblended(**fields):
    return DeblendBatch(N, MAX_N, [make_catalog(n) for n in range(N)], **fields)


def saved_and_read(folder, blend_batch, deblended):
    path = folder / "batch_000000.h5"
    write_batch(path, blend_batch, deblended)
    return read_batch(path)


@pytest.fixture
def blend_batch():
    return make_batch(RNG.normal(size=(N, SIZE, SIZE)).astype(np.float32), get_euclid_survey())


def test_batch_without_images_or_methods(tmp_path):
    empty = make_batch(np.zeros((0, SIZE, SIZE)))
    again, deblended = saved_and_read(tmp_path, empty, {})
    assert_equal(again, empty)
    assert deblended == {}


def test_no_files(tmp_path):
    assert batch_files(tmp_path) == []
    assert len(MeasuredBatches([])) == 0


def test_blends(tmp_path, blend_batch):
    again, _ = saved_and_read(tmp_path, blend_batch, {})
    assert_equal(again, blend_batch)
    assert again.image_size == blend_batch.image_size
    np.testing.assert_array_equal(again.get_numpy_psf(), blend_batch.get_numpy_psf())
    # BTK's own load gives the survey of that name, of one exposure.
    survey = again.survey
    assert (survey.n_exposures, survey.read_noise) == (4, 4.4)
    assert survey.sky_electrons == blend_batch.survey.sky_electrons
    variance = background_variance(survey, survey.get_filter("IE"))
    assert variance == pytest.approx(4 * (155.57 + 4.4**2), abs=0.01)


def test_read_batches_can_be_saved_again(tmp_path, blend_batch):
    deblended = {"method": make_deblended(extra_data=[make_uncertainty(), {}])}
    first = saved_and_read(tmp_path, blend_batch, deblended)
    second = saved_and_read(tmp_path, *first)
    assert_equal(second[0], blend_batch)
    assert_equal(second[1], deblended)


def test_six_bands_and_attributes_of_the_user(tmp_path):
    survey = get_surveys("LSST")
    survey.season = {"year": 2026, "seeing": np.linspace(0.6, 0.9, 6)}
    survey.get_filter("i").calibration = "preliminary"
    batch = make_batch(RNG.normal(size=(N, 6, SIZE, SIZE)), survey)
    again, _ = saved_and_read(tmp_path, batch, {})
    assert_equal(again, batch)
    assert again.survey.available_filters == list("ugrizy")
    assert again.survey.get_filter("i").calibration == "preliminary"


def test_psf_of_a_function_is_the_one_that_was_drawn(tmp_path, blend_batch):
    psf = galsim.Gaussian(fwhm=0.2)
    blend_batch.survey.get_filter("IE").psf = lambda survey, filt: psf
    blend_batch.psf = [psf]
    again, _ = saved_and_read(tmp_path, blend_batch, {})
    assert again.psf == [psf]
    assert again.survey.get_filter("IE").psf == psf


class OwnProfile(galsim.Gaussian):
    def __repr__(self):
        return "OwnProfile()"


def test_psf_without_a_text_is_drawn(tmp_path, blend_batch):
    blend_batch.psf = [OwnProfile(fwhm=0.16)]
    with pytest.warns(BtkPunetWarning, match="PSF of Euclid_VIS IE .OwnProfile. has no exact text"):
        again, _ = saved_and_read(tmp_path, blend_batch, {})
    drawn, expected = (
        batch.psf[0].drawImage(nx=32, ny=32, scale=0.1).array for batch in (again, blend_batch)
    )
    np.testing.assert_allclose(drawn, expected, atol=1e-3 * expected.max())


def test_psf_that_is_an_image(tmp_path, blend_batch):
    blend_batch.psf = [galsim.Image(SIZE, SIZE)]
    with pytest.raises(InputTypeError, match="PSF of Euclid_VIS IE is a Image, expected a galsim"):
        write_batch(tmp_path / "batch_000000.h5", blend_batch, {})


def test_deblended(tmp_path, blend_batch):
    segmentation = RNG.random((N, MAX_N, SIZE, SIZE)) < 0.1
    images = RNG.normal(size=(N, MAX_N, 2, SIZE, SIZE)).astype(np.float32)
    deblended = {
        "catalog only": make_deblended(),
        "segmentation": make_deblended(image_size=SIZE, segmentation=segmentation),
        "all": make_deblended(
            n_bands=2,
            image_size=SIZE,
            segmentation=segmentation,
            deblended_images=images,
            extra_data=[make_uncertainty() for _ in range(N)],
        ),
        "a/b": make_deblended(extra_data=[None, {"alone": np.float32(2.5)}]),
    }
    _, again = saved_and_read(tmp_path, blend_batch, deblended)
    assert_equal(again, deblended)
    assert again["catalog only"].n_bands is None
    assert again["catalog only"].segmentation is None
    assert again["all"].segmentation.dtype == bool


def test_what_cannot_be_saved_leaves_no_file(tmp_path, blend_batch):
    path = tmp_path / "batch_000000.h5"
    bad = make_deblended(extra_data=[{}, {"model": object()}])
    where = r"methods\['mine'\]\['extra_data'\]\[1\]\['model'\] is a builtins.object"
    with pytest.raises(InputTypeError, match=where):
        write_batch(path, blend_batch, {"mine": bad})
    assert list(tmp_path.iterdir()) == []
    write_batch(path, blend_batch, {})
    with pytest.raises(InputTypeError, match=where):
        write_batch(path, blend_batch, {"mine": bad})
    assert read_batch(path)[1] == {}


def test_files_of_that_name_elsewhere_are_let_be(tmp_path, blend_batch, monkeypatch):
    (tmp_path / "batch_000000.h5").write_bytes(b"other")
    monkeypatch.chdir(tmp_path)
    write_batch(tmp_path / "run" / "batch_000000.h5", blend_batch, {})
    assert (tmp_path / "batch_000000.h5").read_bytes() == b"other"


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="is damaged, or is not a file.*No such file"):
        read_batch(tmp_path / "batch_000000.h5")


@pytest.mark.parametrize("kept", [0, 7, 0.1, 0.5, 0.999])
def test_cut_off_file(tmp_path, blend_batch, kept):
    path = tmp_path / "batch_000000.h5"
    write_batch(path, blend_batch, {"method": make_deblended()})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content) if kept < 1 else kept)])
    with pytest.raises(
        InputError, match="is damaged, or is not a file of MeasureGenerator .OSError"
    ):
        read_batch(path)


def test_damaged_pixels(tmp_path):
    path = tmp_path / "batch_000000.h5"
    batch = make_batch(RNG.normal(size=(1, 64, 64)))
    write_batch(path, batch, {})
    with h5py.File(path) as file:
        dataset = file["blend/blend_images"]
        assert dataset.compression == "gzip"
        place = dataset.id.get_chunk_info(0).byte_offset + 100
    content = bytearray(path.read_bytes())
    content[place : place + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_batch(path)


def test_lacking_part(tmp_path, blend_batch):
    path = tmp_path / "batch_000000.h5"
    write_batch(path, blend_batch, {})
    with h5py.File(path, "a") as file:
        del file["blend/survey/pixel_scale"]
    with pytest.raises(InputError, match="is damaged.*pixel_scale"):
        read_batch(path)


def test_foreign_hdf5_file(tmp_path, blend_batch):
    blend_batch.save(str(tmp_path))  # BTK's
    with pytest.raises(InputError, match="is an HDF5 file of another kind"):
        read_batch(tmp_path / "blend_0.hdf5")


def test_newer_version(tmp_path, blend_batch):
    path = tmp_path / "batch_000000.h5"
    write_batch(path, blend_batch, {})
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 2
        file.attrs["btk_punet_version"] = "9.0"
    with pytest.raises(InputError, match="version 2 of the format.*written by btk_punet 9.0"):
        read_batch(path)


def test_code_in_a_file_is_not_run(tmp_path, blend_batch):
    path, trace = tmp_path / "batch_000000.h5", tmp_path / "trace"
    write_batch(path, blend_batch, {})
    with h5py.File(path, "a") as file:
        del file["blend/psf/0/text"]
        write_value(file["blend/psf/0"], "text", f"open({str(trace)!r}, 'w')")
    with pytest.raises(InputError, match="Expected numbers, lists, arrays and profiles of GalSim"):
        read_batch(path)
    assert not trace.exists()


def external_storage(file, other):
    del file["blend/blend_images"]
    dataset = file["blend"].create_dataset(
        "blend_images", (1, 1, 4, 4), "f8", external=[(str(other), 0, 128)]
    )
    dataset.attrs["kind"] = "array"


def external_link(file, other):
    file["methods/mine"] = h5py.ExternalLink(str(other), "/")


def python_objects(file, other):
    del file["drawn_from"], file["blend/stamp_size"]
    pickled = write_value(file["blend"], "stamp_size", np.frombuffer(b"pickle", "S6"))
    pickled.attrs["dtype"] = repr("|O")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (external_storage, "'/blend/blend_images' keeps its values in another file .*secret'"),
        (external_link, "'/methods/mine' is a link to somewhere else"),
        (python_objects, r"/blend/stamp_size says that it holds Python objects \(object\)"),
    ],
)
def test_files_that_lead_elsewhere_are_not_read(tmp_path, blend_batch, spoil, message):
    (tmp_path / "secret").write_bytes(bytes(128))
    write_batch(tmp_path / "batch_000000.h5", blend_batch, {})
    with h5py.File(tmp_path / "batch_000000.h5", "a") as file:
        spoil(file, tmp_path / "secret")
    with pytest.raises(InputError, match=message):
        MeasureGenerator.load(tmp_path)[0]


def test_files_are_ordered_by_number(tmp_path):
    names = ["batch_1000000.h5", "batch_000010.h5", "batch_000009.h5"]
    others = [".batch_000011.h5.77.part", "batch_12.h5", "batch_000013.hdf5", "notes.txt"]
    for name in names + others:
        (tmp_path / name).touch()
    assert [path.name for path in batch_files(tmp_path)] == names[::-1]
    assert [path.name for path in batch_files(tmp_path, 10)] == names[1::-1]
    assert MeasuredBatches(batch_files(tmp_path)).batch_numbers == [9, 10, 1000000]
