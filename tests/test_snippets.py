"""The snippets of the README and of the documentation's pages do what the pages say."""

import re
import shlex
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from btk_punet import SepDeblender, compare
from btk_punet.cli import _parser
from btk_punet.model.weights import installed_presets

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = {
    str(path.relative_to(REPOSITORY)): path.read_text()
    for path in [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md"))]
}
# What makes the snippets of a page small enough for a test.
SMALLER = {
    "README.md": {"2000": "4", "njobs=2": "report=False, progress=False"},
    "docs/first_steps.md": {"20_000": "500", "range(4)": "range(1)"},
    "docs/tasks/compare.md": {
        "n_blends=2000,\n    njobs=2": "n_blends=4, outcomes=False, report=False, progress=False",
        "20_000": "500",
        "batch_size=50": "batch_size=2",
    },
    "docs/tasks/add_a_detector.md": {"n_blends=2000": "n_blends=8, report=False, progress=False"},
    "docs/tasks/add_a_study.md": {
        "n_blends=20": "n_blends=4, outcomes=False, report=False, progress=False"
    },
    "docs/tasks/uniformity_and_selection.md": {"20_000": "2000", "* 400": "* 12"},
    "docs/tasks/uncertainty.md": {"20_000": "500", "batch_size=50": "batch_size=4"},
    "docs/tasks/light.md": {"20_000": "500", "batch_size=50": "batch_size=2"},
    "docs/tasks/train.md": {
        "n_stamps=100_000": "model={'channels': [4, 6]}, n_stamps=16, batch_size=8, stamp_size=16, "
        "n_galaxies=40, report_stamps=16, validation_stamps=8, precision='float32'",
        "config)": "config, progress=False)",
    },
    "docs/tasks/calibrate.md": {
        "20_000": "500", "batch_size=50": "batch_size=6", "range(4)": "range(1)",
    },
    "docs/tasks/real_images.md": {},
    "docs/tasks/whole_images.md": {"(1000, 1000)": "(150, 160)", 'samples=2': "progress=False"},
}  # fmt: skip

needs_preset = pytest.mark.skipif(
    "euclid-vis" not in installed_presets(), reason="the weights of its preset are not there"
)


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```$", PAGES[page], flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def run_page(tmp_path, monkeypatch, capsys):
    """Run the snippets of a page, one after the other, in an empty folder."""

    def run(page, **names):
        matplotlib.use("Agg")
        for snippet in snippets(page):
            for long, short in SMALLER[page].items():
                snippet = snippet.replace(long, short)
            exec(compile(snippet, page, "exec"), names)
        return names, capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    return run


def test_every_page_with_snippets_is_run():
    assert {page for page in PAGES if snippets(page)} == set(SMALLER)
    for page, shorter in SMALLER.items():
        for long in shorter:
            assert any(long in snippet for snippet in snippets(page)), (page, long)


@needs_preset
def test_light(run_page):
    names, printed = run_page("docs/tasks/light.md")
    assert "flux_err" in printed
    assert names["alone"].shape == (64, 64)
    assert names["good"].any()


def test_add_a_study(run_page):
    run_page("docs/tasks/add_a_study.md")
    assert len(pd.read_parquet("run/brightness.parquet")) == 4
    assert len(pd.read_csv("run/tables/mean_light.csv")) == 1


def test_readme(run_page):
    names, printed = run_page("README.md", MyDeblender=SepDeblender)
    assert "mine" in printed
    assert names["result"].run["n_blends"] == 4


def test_first_steps(run_page):
    run = compare("comparison", "sep", n_blends=30, progress=False, report=False)
    names, printed = run_page("docs/first_steps.md")
    assert all(name in printed for name in ("lo", "hi", "value_lo"))
    recounted = names["counted"].groupby(names["bins"], observed=False)["matched"]
    table = run.tables["completeness_by_neighbour_distance"]
    ours = table[table["method"] == "sep"]
    np.testing.assert_array_equal(recounted.size(), ours["n"])
    np.testing.assert_allclose(recounted.mean(), ours["value"])


@needs_preset
def test_compare(run_page):
    names, printed = run_page("docs/tasks/compare.md")
    assert set(names["result"].tables["headline"]["method"]) == {"SEP", "ProbaUNet"}
    assert len(re.findall(r"^\d+ \d+$", printed, flags=re.MULTILINE)) == 1  # of one batch


def test_add_a_detector(run_page):
    names, printed = run_page("docs/tasks/add_a_detector.md")
    headline = names["result"].tables["headline"].set_index("method")
    assert headline.loc["mine", "completeness"] > 0.5
    assert "mine" in printed


def test_uniformity_and_selection(run_page):
    _, printed = run_page("docs/tasks/uniformity_and_selection.md")
    assert "value_lo" in printed
    assert len(pd.read_parquet("selection.parquet")) == 12
    assert Path("selection.png").is_file()


@needs_preset
def test_uncertainty(run_page):
    names, printed = run_page("docs/tasks/uncertainty.md")
    assert "p_blend" in printed
    assert {"class_mean", "count_posterior"} <= set(names["maps"])
    p = names["found"].catalog_list[0]["p_detect"]
    np.testing.assert_allclose(names["p_detect"] / (1 - names["p_detect"]), 0.5 * p / (1 - p))
    assert names["crowded"].density_ratio == 18


def test_train(run_page):
    names, _ = run_page("docs/tasks/train.md")
    assert names["config"].seed == 7
    for file in re.findall(r"([a-z]+\.(?:json|csv|png))", PAGES["docs/tasks/train.md"]):
        assert Path("training", file).is_file()
    assert Path("training/model/model.weights.h5").is_file()


@needs_preset
def test_calibrate(run_page):
    _, printed = run_page("docs/tasks/calibrate.md")
    assert 0 < float(printed) < 0.5


@needs_preset
def test_real_images(run_page):
    _, printed = run_page("docs/tasks/real_images.md")
    assert "p_detect" in printed


@needs_preset
def test_whole_images(run_page):
    names, printed = run_page("docs/tasks/whole_images.md")
    assert len(names["found"]) == len(names["table"]) == len(names["frame"]) > 0
    assert names["labels"].shape == (150, 160)
    assert "sources brighter than 25" in printed
    page = PAGES["docs/tasks/whole_images.md"]
    there = {path.name for path in Path("detections").iterdir()} | {"samples"}
    for file in re.findall(r"`([a-z_]+\.(?:fits|parquet|reg|png|html|json))`", page):
        assert file in there, file


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_ones_that_there_are(page):
    commands = re.findall(r"^(?:.*&& )?(?:\.venv/bin/)?btk-punet ([^#\n]*)", PAGES[page], re.M)
    for command in commands:
        _parser().parse_args(shlex.split(command))  # which exits if one is not
    assert commands or "```bash\nbtk-punet" not in PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_pages_link_to_are_there(page):
    folder = (REPOSITORY / page).parent
    for target in re.findall(r"\]\(([^)#:]+\.\w+)(?:#[\w-]+)?\)", PAGES[page]):
        copied = DOCS / "notebooks"  # which the build makes
        there = REPOSITORY / "notebooks" / Path(target).name
        path = (folder / target).resolve()
        assert path.is_file() or (path.parent == copied and there.is_file()), target
