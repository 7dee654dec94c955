"""The command `btk-punet detect`, with a network made by hand."""

import os
import sys

import numpy as np
import pytest

pytest.importorskip("keras")

from astropy.io import fits  # noqa: E402

from btk_punet import Detections  # noqa: E402
from btk_punet.cli import main  # noqa: E402
from tests.deblending.conftest import network  # noqa: E402, F401
from tests.images.hand_made import world  # noqa: E402


@pytest.fixture
def command(network, tmp_path, monkeypatch):  # noqa: F811
    """Run the command in a folder with `empty.fits`, only noise, and `field.fits`, two stars."""
    monkeypatch.chdir(tmp_path)
    network.save(tmp_path / "model")
    row, column = np.mgrid[:70, :80]
    noise = np.random.default_rng(1).normal(0, 2, (70, 80)).astype(np.float32)
    stars = sum(
        60 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 8) for x, y in ((20, 30), (60, 40))
    )
    header = world().to_header()
    fits.writeto("empty.fits", noise, header)
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(noise, header, "NOISE"),
         fits.ImageHDU(noise + stars, header, "STARS")]
    ).writeto("field.fits")  # fmt: skip

    def run(*arguments):
        known = ["--weights", "model", "--n-samples", "2", "--psf", "0.16", "-q"]
        return main(["detect", *known, *arguments])

    return run


def test_empty(command, capsys):
    assert command("empty.fits", "--rms", "2", "--background", "none") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("0 sources in 70 x 80 pixels, in ")
    assert "Flags" not in printed
    assert printed.endswith(f"Catalog, maps and page: {os.path.join('detections', 'index.html')}\n")
    assert len(Detections.read("detections")) == 0


def test_says_what_was_found_assumed_and_flagged(command, capsys):
    mask = np.zeros((70, 80), np.uint8)
    mask[30, 23] = 1
    fits.writeto("mask.fits", mask)
    options = ["--mask", "mask.fits", "--samples", "2", "--zeropoint", "25", "-o", "run"]
    assert command("field.fits[STARS]", *options) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 sources in 70 x 80 pixels")
    assert "No noise was given: it was estimated from the image" in printed
    assert "photon noise of the sources is neglected" in printed
    assert "1 pixels (0.02%) are not usable." in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.startswith("  ")}
    assert lines["BAD_PIXEL"].split()[1] == "1"
    assert lines["NOISE_ESTIMATED"].split()[1] == "2"
    assert lines["BAD_PIXEL"].endswith("a pixel without a usable value.")
    assert sorted(os.listdir("run/samples")) == ["catalog_000.fits", "catalog_001.fits"]


def test_region_counts_from_1_and_columns_first(command):
    options = ["--rms", "2", "--background", "none", "-o", "run", "--no-light"]
    assert command("field.fits[2]", "--region", "41:80,21:60", *options) == 0
    found = Detections.read("run")
    assert found.region == (slice(20, 60), slice(40, 80))
    assert len(found) == 1
    assert found.catalog["x_peak"][0].value == pytest.approx(60, abs=1)
    assert np.isnan(found.catalog["half_light_radius"]).all()


def test_same_command_again_computes_nothing(command, capsys, monkeypatch):
    options = ["field.fits[STARS]", "--rms", "2", "-o", "run"]
    assert command(*options) == 0
    monkeypatch.setattr("btk_punet.images.search.search", None)
    assert command(*options) == 0
    assert capsys.readouterr().out.count("2 sources in") == 2
    assert command(*options, "--threshold", "0.9") == 2
    assert "another run (of choices that differ)" in capsys.readouterr().err


@pytest.mark.filterwarnings("default::btk_punet.errors.BtkPunetWarning")  # as in a shell
def test_doubts_are_one_line_as_well(command, capsys):
    assert command("field.fits[STARS]", "--rms", "200") == 0
    printed = capsys.readouterr().err
    assert printed.startswith("btk-punet: warning: The noise in the image is 0.0")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.fits"], "There is no file 'no.fits' to take as image"),
        (["field.fits"], "holds several images"),
        (["empty.fits", "--rms", "0"], "rms must be above 0"),
        (["empty.fits", "--mask", "no.fits"], "There is no file 'no.fits' to take as mask"),
        (["empty.fits", "--region", "1:500,1:5"], "region must lie within the image's 80 columns"),
        (["empty.fits", "-o", "field.fits"], "field.fits' is a file"),
        (["empty.fits", "--samples", "-1"], "samples must be"),
        (["empty.fits", "--weights", "nosuch"], "nosuch"),
    ],
)
def test_errors_are_one_line(command, capsys, arguments, message):
    assert command(*arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("btk-punet: ") and message in printed
    assert printed.count("\n") == 1
    assert not os.path.exists("detections")


def test_section_that_is_none(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        command("empty.fits", "--region", "0:5,1:5")
    assert "expected first and last column, first and last row" in capsys.readouterr().err


def test_stopped_by_hand(command, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("btk_punet.images.search.search", stop)
        assert command("field.fits[STARS]", "--rms", "2") == 130
    assert "the same command resumes from here" in capsys.readouterr().err
    assert command("field.fits[STARS]", "--rms", "2") == 0


def test_help_loads_nothing_that_computes():
    import subprocess

    code = (
        "import sys, btk_punet.cli as cli\n"
        "try: cli.main(['detect', '--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('numpy', 'btk', 'astropy', 'keras') if n in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.endswith("[]\n")
