import json
import os
import subprocess
import sys

import pytest

from btk_punet.cli import main


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "compare" in capsys.readouterr().out


def test_no_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err


def test_compare_writes_a_report_and_prints_the_headline(tmp_path, capsys):
    folder = tmp_path / "run"
    status = main(["compare", "-o", str(folder), "-n", "4", "-j", "1", "-q", "-d", "sep"])
    printed = capsys.readouterr().out
    assert status == 0
    assert "completeness" in printed and "purity" in printed and "ceiling" in printed
    assert str(folder / "report.html") in printed
    assert (folder / "regions.parquet").is_file()
    page = (folder / "report.html").read_text()
    command = f"btk-punet compare -o {folder} -n 4 -j 1 -q -d sep"
    assert f"<pre><code>{command}</code></pre>" in page
    assert "4 scenes of 6.4 x 6.4 arcsec (64 x 64 pixels of 0.1 arcsec), seed 0" in page


def test_error_is_one_line_without_traceback(tmp_path, capsys):
    status = main(["compare", "-o", str(tmp_path / "run"), "-d", "nosuch"])
    printed = capsys.readouterr().err
    assert status == 2
    assert printed.startswith("btk-punet: Unknown deblender 'nosuch'")
    assert printed.count("\n") == 1


MINE = """
from btk_punet import SepDeblender

class Mine(SepDeblender):
    pass
"""


def test_deblender_in_this_folder(tmp_path, monkeypatch):
    (tmp_path / "detectors_of_mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", os.getcwd())])
    options = ["-n", "2", "-j", "1", "-q", "--no-outcomes", "--no-report"]
    options += ["-d", "detectors_of_mine:Mine:thresh=2"]
    assert main(["compare", "-o", "run", *options]) == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    method = run["methods"]["detectors_of_mine:Mine:thresh=2"]
    assert method["class"] == "detectors_of_mine.Mine"
    assert method["parameters"]["thresh"] == 2


def test_catalog_file(tmp_path, capsys):
    from btk_punet import EuclidCatalog

    EuclidCatalog.simulate(100, 1).table.write(tmp_path / "galaxies.fits")
    options = ["-n", "2", "-j", "1", "-q", "-d", "sep", "--sampling", "pairs", "--no-outcomes"]
    options += ["--no-report", "--catalog", str(tmp_path / "galaxies.fits")]
    assert main(["compare", "-o", str(tmp_path / "run"), *options]) == 0
    assert not (tmp_path / "run" / "regions.parquet").exists()
    assert main(["compare", "-o", str(tmp_path / "other"), "--catalog", "no.fits", "-q"]) == 2
    assert "'no.fits' does not exist" in capsys.readouterr().err


def test_rules_of_counting_and_command(tmp_path, capsys):
    """What is given on the command line is what the run says of itself."""
    folder = tmp_path / "a folder"
    options = ["-o", str(folder), "-n", "1", "-j", "1", "-q", "-d", "sep", "--no-report"]
    options += ["--no-outcomes", "--match-radius", "0.2", "--min-snr", "8", "--mag-bins", "20"]
    options += ["23", "26", "--distance-bins", "0", "1", "inf", "--n-exposures", "1"]
    assert main(["compare", *options]) == 0
    assert f"Tables: {folder / 'tables'}" in capsys.readouterr().out
    run = json.loads((folder / "run.json").read_text())
    rules = {"radius_arcsec": 0.2, "min_snr": 8.0, "mag_bins": [20.0, 23.0, 26.0]}
    assert run["parameters"].items() >= (rules | {"distance_bins": [0.0, 1.0, "inf"]}).items()
    assert run["parameters"]["survey"]["n_exposures"] == 1
    assert run["command"].startswith(f"btk-punet compare -o '{folder}' -n 1 -j 1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--benchmark", "groups", "--seed", "5"], "--seed would be ignored, because the scenes"),
        (
            ["--benchmark", "groups", "--read-noise", "0", "--psf", "0.2", "-n", "2"],
            "--read-noise, --psf would be ignored",
        ),
        # A value that is the default is ignored all the same.
        (["--benchmark", "groups", "--seed", "0"], "--seed would be ignored"),
        (["--cosmos-dir", "galaxies"], "--cosmos-dir would be ignored: it belongs to --benchmark"),
        (["--benchmark", "grops"], "Unknown benchmark set 'grops'"),
        (["--match-radius", "0"], "The matching radius must be above 0 arcsec, got 0.0"),
        (["--mag-bins", "25", "20"], "edges must be two or more increasing numbers"),
        (["-n", "0"], "n_blends must be a whole number of at least 1, got 0"),
    ],
)
def test_options_that_cannot_be(tmp_path, capsys, options, message):
    assert main(["compare", "-o", str(tmp_path / "run"), "-q", *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_real_galaxies(tmp_path, cosmos_dir, capsys):
    options = ["-n", "2", "-j", "1", "-q", "-d", "sep", "--catalog", f"cosmos:{cosmos_dir}"]
    options += ["--no-report", "--no-outcomes"]
    assert main(["compare", "-o", str(tmp_path / "run"), *options]) == 0
    assert "RealGalaxyGenerator" in (tmp_path / "run" / "run.json").read_text()


def test_benchmark_set(tmp_path, capsys):
    options = ["--benchmark", "pairs", "-n", "2", "-j", "1", "-q", "-d", "sep"]
    assert main(["compare", "-o", str(tmp_path), *options]) == 0
    assert "pairs" in capsys.readouterr().out
    assert (tmp_path / "pairs" / "report.html").is_file()
    assert not (tmp_path / "pairs" / "regions.parquet").exists()
    options += ["--outcomes", "--overwrite", "--no-report"]
    assert main(["compare", "-o", str(tmp_path), *options]) == 0
    assert (tmp_path / "pairs" / "regions.parquet").is_file()
    assert not (tmp_path / "pairs" / "report.html").exists()


@pytest.mark.parametrize(
    "command", ["compare", "detect", "uniformity", "selection", "evaluate", "train"]
)
def test_help_tells_no_default_that_is_none(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "--seed" in printed and "(default: " in printed
    assert not {"None", "False", "True"} & set(printed.replace(")", " ").split())


def test_help_loads_nothing_that_computes():
    code = (
        "import sys, btk_punet.cli as cli\n"
        "try: cli.main(['selection', '--help'])\n"
        "except SystemExit: pass\n"
        "print('loaded', [n for n in ('numpy', 'btk', 'matplotlib', 'keras') if n in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.endswith("loaded []\n")


def test_uniformity(tmp_path, capsys):
    options = ["-n", "2", "-j", "1", "-q", "-d", "sep", "--conditions", "n_exposures=1"]
    assert main(["uniformity", "-o", str(tmp_path), *options]) == 0
    printed = capsys.readouterr().out
    assert "lost_with_information" in printed and str(tmp_path / "uniformity.png") in printed
    assert (tmp_path / "n_exposures" / "1" / "truth.parquet").is_file()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("colour=1", "Unknown condition 'colour': expected some of ['psf_fwhm_arcsec',"),
        ("n_exposures=few", "Expected numbers in 'n_exposures=few', as in 'n_exposures=1,2'."),
        ("n_exposures=", "Expected numbers in 'n_exposures='"),
    ],
)
def test_conditions_that_are_none(tmp_path, capsys, condition, message):
    assert main(["uniformity", "-o", str(tmp_path / "run"), "--conditions", condition]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
