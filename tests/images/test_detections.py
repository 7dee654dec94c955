"""What `detect` returns: written, read again, drawn from."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from btk_punet.errors import InputError
from btk_punet.images.detections import Detections
from tests.images.hand_made import SHAPE, X, detections, sky_image, without_wcs

FILES = {"run.json", "catalog.fits", "catalog.parquet", "labels.fits", "probability.fits",
         "candidates.fits", "regions.reg", "overview.png", "index.html"}  # fmt: skip


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


class TestWrite:
    @pytest.mark.parametrize("wcs", ["default", None])
    def test_of_nothing(self, tmp_path, wcs):
        found = detections(0, wcs=wcs)
        found.write(tmp_path, samples=1)
        assert set(contents(tmp_path)) == FILES | {"samples/catalog_000.fits"}
        back = Detections.read(tmp_path)
        assert len(back) == 0 and back.catalog.colnames == found.catalog.colnames
        assert not back.labels.any()
        assert len(QTable.read(tmp_path / "samples/catalog_000.fits")) == 0

    def test_comes_back(self, tmp_path):
        region = slice(20, 150), slice(10, 200)
        found = detections(region=region)
        found.write(tmp_path)
        back = Detections.read(tmp_path)
        for name in found.catalog.colnames:
            np.testing.assert_array_equal(back.catalog[name], found.catalog[name])
        np.testing.assert_array_equal(back.labels, found.labels)
        np.testing.assert_array_equal(back.footprint(2), found.footprint(2))
        np.testing.assert_allclose(
            back.probability["isolated"], found.probability["isolated"], atol=1e-4
        )
        assert back.region == region and back.shape == SHAPE and back.image is None
        for one, other in zip(back.sample_catalogs(2), found.sample_catalogs(2), strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])
            np.testing.assert_allclose(one["RA"], other["RA"], rtol=1e-12)

    def test_same_results_give_the_same_bytes(self, tmp_path):
        for name in "ab":
            detections(image=sky_image()).write(tmp_path / name, samples=2, seed=3)
        assert contents(tmp_path / "a") == contents(tmp_path / "b")
        # Written where it was read from, too.
        data = {n: c for n, c in contents(tmp_path / "a").items() if n.endswith(("fits", "json"))}
        Detections.read(tmp_path / "a").write(tmp_path / "a", samples=2, seed=3)
        again = contents(tmp_path / "a")
        assert {name: again[name] for name in data} == data

    def test_ids_are_those_of_the_labels(self, tmp_path):
        detections().write(tmp_path)
        catalog, labels = QTable.read(tmp_path / "catalog.fits"), fits.getdata(
            tmp_path / "labels.fits"
        )  # fmt: skip
        x, y = (np.rint(catalog[name].value).astype(int) for name in ("x_peak", "y_peak"))
        np.testing.assert_array_equal(labels[y, x], catalog["id"])

    def test_a_failure_leaves_the_run_unfinished(self, tmp_path, monkeypatch):
        from btk_punet.images import detections as module

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, "write_images", full)
        with pytest.raises(OSError, match="No space left"):
            detections().write(tmp_path)
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
        with pytest.raises(InputError, match="Expected the folder of a finished run of detect"):
            Detections.read(tmp_path)


class TestSamples:
    def test_number(self, tmp_path):
        found = detections()
        for number, names in ((3, 3), (1, 1), (0, 0)):
            found.write_samples(tmp_path, number)
            there = sorted((tmp_path / "samples").glob("*"))
            assert [path.name for path in there] == [f"catalog_{i:03d}.fits" for i in range(names)]
        assert os.listdir(tmp_path) == []

    def test_are_those_of_sample_catalogs(self, tmp_path):
        found = detections()
        found.write_samples(tmp_path, 2, seed=5)
        written = QTable.read(tmp_path / "samples/catalog_001.fits")
        drawn = found.sample_catalogs(2, seed=5)[1]
        for name in drawn.colnames:
            np.testing.assert_array_equal(written[name].value, np.asarray(drawn[name]))

    def test_hold_each_source_as_often_as_it_is_probable(self):
        samples = detections().sample_catalogs(2000)
        ids = np.concatenate([np.asarray(table["id"]) for table in samples])
        share = np.bincount(ids, minlength=5)[1:] / 2000
        np.testing.assert_allclose(share, [0.99, 0.95, 0.8, 0.55], atol=0.03)
        x = np.concatenate([np.asarray(table["x"].value)[table["id"] == 1] for table in samples])
        assert np.mean(x) == pytest.approx(X[0], abs=0.01)
        assert np.std(x) == pytest.approx(0.1, abs=0.01)

    @pytest.mark.parametrize("n", [-1, 1.5])
    def test_numbers_that_are_none(self, tmp_path, n):
        with pytest.raises(Exception, match="samples must be"):
            detections().write(tmp_path / "run", samples=n)
        assert not (tmp_path / "run").exists()


class TestComplete:
    def test_what_is_missing_is_written(self, tmp_path):
        found = detections(image=sky_image())
        found.write(tmp_path)
        whole = contents(tmp_path)
        (tmp_path / "overview.png").unlink()
        found.complete(tmp_path)
        assert contents(tmp_path) == whole
        found.complete(tmp_path, samples=2)
        assert set(contents(tmp_path)) == FILES | {f"samples/catalog_00{i}.fits" for i in (0, 1)}
        assert b"catalog_001.fits" not in whole["index.html"]
        assert b"<code>001</code>" in (tmp_path / "index.html").read_bytes()

    def test_nothing_is_touched_without_need(self, tmp_path):
        detections().write(tmp_path, samples=2)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        Detections.read(tmp_path).complete(tmp_path, samples=1)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_pixels_of_several_sources():
    found = detections()
    assert found.footprint(2).sum() == (found.labels == 2).sum() + 3
    with pytest.raises(InputError, match="Expected the id of a source, 1 to 4, got 5"):
        found.footprint(5)


def test_without_world_coordinates():
    assert "RA" not in without_wcs().sample_catalogs(1)[0].colnames
