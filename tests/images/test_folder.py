"""The folder of a run: where it may be, whose it is, and that its files can be read by others."""

import errno
import os
import platform
import shutil
import warnings
from collections import namedtuple

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.errors import InputError, RunExistsError
from btk_punet.images.folder import (
    DATA_FILES,
    PARTS,
    SAMPLES,
    SHOWN_FILES,
    check_room,
    map_header,
    open_folder,
    read_about,
    read_table,
    write_about,
    write_images,
    write_table,
)
from tests.images.hand_made import SHAPE, detections, world

ABOUT = {"kind": "detect", "image": "a", "shape": [3, 4], "region": [], "choices": {}}


class TestTables:
    def test_empty(self, tmp_path):
        table = detections(0).catalog
        write_table(table, tmp_path / "t.fits", "CATALOG")
        back = read_table(tmp_path / "t.fits", "CATALOG")
        assert len(back) == 0 and back.colnames == table.colnames
        assert back["flux"].unit == u.electron

    def test_come_back_with_units_and_what_columns_are(self, tmp_path):
        table = detections().catalog
        write_table(table, tmp_path / "t.fits", "CATALOG")
        back = read_table(tmp_path / "t.fits", "CATALOG")
        for name in table.colnames:
            np.testing.assert_array_equal(back[name], table[name])
            assert back[name].unit == table[name].unit, name
            assert back[name].info.description, name

    def test_others_read_them_without_a_warning(self, tmp_path):
        write_table(detections().catalog, tmp_path / "t.fits", "CATALOG")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = QTable.read(tmp_path / "t.fits")
            with fits.open(tmp_path / "t.fits") as hdus:
                hdus.verify("exception")
                header = hdus["CATALOG"].header
        units = [str(table[name].unit) for name in ("RA", "RA_err", "x_peak", "flux", "mag_IE")]
        assert units == ["deg", "arcsec", "pix", "ct", "mag"]
        assert header["TCOMM2"] == "right ascension"

    def test_file_that_is_none(self, tmp_path):
        (tmp_path / "t.fits").write_bytes(b"SIMPLE  = nothing")
        with pytest.raises(InputError, match=r"is not a table of btk-punet detect .*Run detect ag"):
            read_table(tmp_path / "t.fits", "CATALOG")


class TestImages:
    def test_empty(self, tmp_path):
        write_images(tmp_path / "i.fits", [(fits.Header(), np.zeros((0, 0), np.int32))])
        assert fits.getdata(tmp_path / "i.fits").shape == (0, 0)

    def test_of_integers_with_world_coordinates_of_the_region(self, tmp_path):
        labels = np.arange(12, dtype=np.int32).reshape(3, 4) - 5
        region = slice(10, 13), slice(20, 24)
        write_images(tmp_path / "i.fits", [(map_header(world(), region), labels)])
        np.testing.assert_array_equal(fits.getdata(tmp_path / "i.fits"), labels)
        header = fits.getheader(tmp_path / "i.fits")
        here = WCS(header).pixel_to_world_values(1, 2)
        np.testing.assert_allclose(here, world().pixel_to_world_values(21, 12), atol=1e-9)
        assert (header["LTV1"], header["LTV2"]) == (-20, -10)

    def test_of_probabilities_to_a_step_of_16_bits(self, tmp_path):
        values = np.random.default_rng(0).random((600, 7)).astype(np.float32)
        region = slice(0, 600), slice(0, 7)
        maps = [(map_header(None, region, n), k * values) for n, k in (("centre", 1),
                ("class_mean", 2))]  # fmt: skip
        write_images(tmp_path / "i.fits", maps)
        with fits.open(tmp_path / "i.fits") as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "CENTRE", "CLASS_MEAN"]
            np.testing.assert_allclose(hdus["CENTRE"].data, values, atol=0.6 / 32767)
            np.testing.assert_allclose(hdus["CLASS_MEAN"].data, 2 * values, atol=1.2 / 32767)

    def test_that_fail_leave_what_was_there(self, tmp_path, monkeypatch):
        path = tmp_path / "i.fits"
        path.write_bytes(b"old")

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("btk_punet.images.folder._write_values", full)
        with pytest.raises(OSError, match="No space left"):
            write_images(path, [(fits.Header(), np.zeros(SHAPE, np.int32))])
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["i.fits"]

    def test_links_are_replaced_not_followed(self, tmp_path):
        mine = tmp_path / "mine"
        mine.write_bytes(b"mine")
        (tmp_path / "out").mkdir()
        for name in ("i.fits", f".i.fits.{platform.node()}.{os.getpid()}.part"):
            (tmp_path / "out" / name).symlink_to(mine)
        write_images(tmp_path / "out" / "i.fits", [(fits.Header(), np.ones((2, 2), np.int32))])
        assert mine.read_bytes() == b"mine"
        assert not (tmp_path / "out" / "i.fits").is_symlink()
        assert os.listdir(tmp_path / "out") == ["i.fits"]


class TestRoom:
    def test_disk_without_room(self, tmp_path, monkeypatch):
        usage = namedtuple("usage", "total used free")(2e9, 1e9, 1e9)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        check_room(tmp_path / "parts", 1_000_000)
        check_room(tmp_path / "parts", 50_000_000, only_parts=True)
        with pytest.raises(OSError, match=r"need about 1,700\.0 MB .* there are 1,000\.0 MB free"):
            check_room(tmp_path / "parts", 50_000_000)


class TestRun:
    def test_folder_is_made(self, tmp_path):
        assert open_folder(tmp_path / "run", ABOUT, overwrite=False) is False
        assert read_about(tmp_path / "run")["status"] == "running"

    def test_same_run_resumes(self, tmp_path):
        open_folder(tmp_path, ABOUT, False)
        (tmp_path / PARTS).mkdir()
        assert open_folder(tmp_path, ABOUT, False) is False
        assert (tmp_path / PARTS).is_dir()
        write_about(tmp_path, ABOUT, "finished")
        assert open_folder(tmp_path, ABOUT, False) is False  # its files are not there
        for name in DATA_FILES:
            (tmp_path / name).write_bytes(b"")
        write_about(tmp_path, ABOUT, "finished")
        assert open_folder(tmp_path, ABOUT, False) is True

    def test_other_run_is_kept_or_thrown_away_whole(self, tmp_path):
        open_folder(tmp_path, ABOUT, False)
        for name in (*DATA_FILES, *SHOWN_FILES, "mine.txt"):
            (tmp_path / name).write_bytes(b"")
        for name in (PARTS, SAMPLES):
            (tmp_path / name).mkdir()
        other = ABOUT | {"image": "b"}
        with pytest.raises(RunExistsError, match=r"another run \(of image that differ\).*overwr"):
            open_folder(tmp_path, other, False)
        assert open_folder(tmp_path, other, True) is False
        assert sorted(os.listdir(tmp_path)) == ["mine.txt", "run.json"]

    def test_folder_with_something_else(self, tmp_path):
        (tmp_path / "mine.txt").write_bytes(b"")
        for overwrite in (False, True):
            with pytest.raises(RunExistsError, match="holds no run of btk-punet detect"):
                open_folder(tmp_path, ABOUT, overwrite)


def test_parquet_has_units_for_astropy_and_is_plain_for_pandas(tmp_path):
    pd = pytest.importorskip("pandas")
    found = detections()
    found.write(tmp_path)
    table = QTable.read(tmp_path / "catalog.parquet")
    assert table["flux"].unit == u.electron and table["mag_IE"].unit == u.ABmag
    frame = pd.read_parquet(tmp_path / "catalog.parquet")
    assert list(frame.columns) == found.catalog.colnames
    np.testing.assert_array_equal(frame["RA"], found.catalog["RA"].value)
    assert isinstance(Table.read(tmp_path / "catalog.parquet")["id"][0], np.int32)
