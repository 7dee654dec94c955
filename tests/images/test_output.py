"""`detect` and its folder: checked before anything is computed, kept when writing fails."""

import errno
import gc
import os
import warnings

import numpy as np
import pytest

pytest.importorskip("keras")

from astropy.table import QTable  # noqa: E402

from btk_punet import Detections, detect  # noqa: E402
from btk_punet.errors import InputError, RunExistsError  # noqa: E402
from tests.deblending.conftest import network  # noqa: E402, F401
from tests.images.hand_made import world  # noqa: E402


@pytest.fixture
def search(network):  # noqa: F811
    """Detect with the network made by hand, on two stars in noise."""
    row, column = np.mgrid[:70, :80]
    image = np.random.default_rng(1).normal(0, 2, (70, 80))
    for x, y in ((20.0, 30.0), (60.0, 40.0)):
        image += 60 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 8)

    def run(folder=None, **options):
        known = {"rms": 2.0, "background": None, "gain": 1.0, "zeropoint": 25.0, "wcs": world()}
        known |= {"psf": 0.16, "progress": False, "weights": network, "n_samples": 4}
        return detect(image, output=folder, **known | options)

    return run


def test_results_can_be_written_and_drawn_without_a_folder(search, tmp_path):
    found = search()
    assert len(found) == 2 and found.image is not None
    assert found.catalog["p_detect"].info.description == "probability that a source is there"
    found.write(tmp_path / "late")
    assert len(Detections.read(tmp_path / "late")) == 2


def test_folder_of_its_own_is_removed_with_what_was_found(search, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = search()
    labels = found.labels
    assert len(os.listdir(tmp_path)) == 1 and labels.max() == 2
    del found
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_background_none_is_a_word_too(search):
    found = search(background="none")
    assert found.about["image"] == search(background=None).about["image"]


def test_samples_and_pages_of_a_run(search, tmp_path):
    found = search(tmp_path / "run", samples=2, seed=3)
    drawn = found.sample_catalogs(2, seed=3)[1]
    written = QTable.read(tmp_path / "run/samples/catalog_001.fits")
    np.testing.assert_array_equal(written["x"].value, drawn["x"].value)
    assert not (tmp_path / "run" / "parts").exists()
    assert (tmp_path / "run" / ".lock").read_bytes() == b""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(QTable.read(tmp_path / "run/catalog.fits")) == 2


def test_finished_run_gets_what_is_asked_for_later(search, tmp_path, monkeypatch):
    search(tmp_path / "run")
    (tmp_path / "run" / "overview.png").unlink()
    catalog = (tmp_path / "run" / "catalog.fits").stat().st_mtime_ns
    monkeypatch.setattr("btk_punet.images.search.search", None)  # nothing is searched again
    search(tmp_path / "run", samples=3)
    assert len(os.listdir(tmp_path / "run" / "samples")) == 3
    assert (tmp_path / "run" / "overview.png").is_file()
    assert (tmp_path / "run" / "catalog.fits").stat().st_mtime_ns == catalog


def test_another_working_directory_and_links_move_nothing(search, tmp_path, monkeypatch):
    from btk_punet.images import search as searching

    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to("disk")
    elsewhere = {name: tmp_path / f"mine-{name}" for name in ("centre.npy", "catalog.fits")}
    monkeypatch.chdir(tmp_path)
    find_maps = searching.TileWork.find_maps

    def moving(work, tile):
        monkeypatch.chdir("/")
        return find_maps(work, tile)

    with monkeypatch.context() as patch:
        patch.setattr(searching.TileWork, "find_objects", None)  # which stops it half-way
        with pytest.raises(TypeError):
            search("run")
    for path in (tmp_path / "disk/parts").iterdir():
        path.unlink()
    for name, mine in elsewhere.items():
        with mine.open("wb") as file:
            np.save(file, np.zeros((70, 80), np.float32))
        folder = "disk/parts" if name.endswith("npy") else "disk"
        (tmp_path / folder / name).symlink_to(mine)
    before = [mine.read_bytes() for mine in elsewhere.values()]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(searching.TileWork, "find_maps", moving)
    assert len(search("run")) == 2
    assert [mine.read_bytes() for mine in elsewhere.values()] == before
    assert len(Detections.read(tmp_path / "disk")) == 2
    assert not any(path.is_symlink() for path in (tmp_path / "disk").iterdir())


def test_a_write_that_fails_loses_nothing(search, tmp_path, monkeypatch):
    from btk_punet.images import detections
    from btk_punet.images import search as searching

    write = detections.write_images

    def full(path, *arguments):
        if path.name == "probability.fits":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(detections, "write_images", full)
        with pytest.raises(OSError, match=r"No space left on device\. What was computed is kept"):
            search(tmp_path / "run")
    assert (tmp_path / "run" / "parts").is_dir()

    def again(*_):
        raise AssertionError("What was computed is computed again.")

    monkeypatch.setattr(searching.TileWork, "find_maps", again)
    monkeypatch.setattr(searching.TileWork, "find_objects", again)
    assert len(search(tmp_path / "run")) == 2
    assert not (tmp_path / "run" / "parts").exists()


@pytest.mark.parametrize("name", ["parts", "samples"])
def test_no_folder_is_written_to_through_a_link(search, tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path)
    with pytest.raises(InputError, match=f"{name}' is a symbolic link, through which nothing"):
        search(tmp_path / "run")


def test_folders_that_cannot_be_are_refused_before_the_image_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunExistsError, match="is a file"):
        detect("no.fits", output=tmp_path / "file")
    with pytest.raises(InputError, match="samples would be ignored without output"):
        detect("no.fits", samples=1)
    with pytest.raises(InputError, match="jobs must be"):
        detect("no.fits", jobs=0)
    assert os.listdir(tmp_path) == ["file"]
