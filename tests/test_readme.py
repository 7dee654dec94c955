"""The snippets of the README do what it says."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from btk_punet import ProbaUNetDeblender, compare
from btk_punet.cli import _parser
from btk_punet.model.weights import installed_presets

README = (Path(__file__).parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def snippet_with(text):
    (found,) = [snippet for snippet in SNIPPETS if text in snippet]
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    return compare(folder / "comparison", "sep", n_blends=30, progress=False)


def test_recounting_the_tables_with_pandas(run, monkeypatch, capsys):
    monkeypatch.chdir(run.folder.parent)
    names = {}
    exec(snippet_with("pd.cut"), names)
    capsys.readouterr()
    recounted = names["counted"].groupby(names["bins"], observed=False)["matched"]
    table = run.tables["completeness_by_neighbour_distance"]
    ours = table[table["method"] == "sep"]
    np.testing.assert_array_equal(recounted.size(), ours["n"])
    np.testing.assert_allclose(recounted.mean(), ours["value"])


def test_metric_in_a_loop(capsys):
    exec(
        snippet_with("metric.aggregate()").replace("20_000", "500").replace("range(4)", "range(1)")
    )
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("lo", "hi", "value_lo"))


def test_own_deblender(tmp_path, monkeypatch, capsys):
    from btk_punet import SepDeblender

    monkeypatch.chdir(tmp_path)
    exec(snippet_with("MyDeblender").replace("2000", "4"), {"MyDeblender": SepDeblender})
    assert "mine" in capsys.readouterr().out


@pytest.mark.skipif("euclid-vis" not in installed_presets(), reason="its weights are not there")
def test_probabilities_and_measured_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet_with("found.extra_data[0]").replace("20_000", "500").replace("=50", "=4"), names)
    assert "p_blend" in capsys.readouterr().out
    assert {"class_mean", "count_posterior"} <= set(names["maps"])
    exec(snippet_with("MeasureGenerator("), names)
    assert len(capsys.readouterr().out.splitlines()) == 1  # of one batch


def test_selection_function_of_an_image(tmp_path, monkeypatch, capsys):
    import matplotlib

    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = {}
    exec(snippet_with("image_batch(").replace("20_000", "2000").replace("* 400", "* 12"), names)
    assert "value_lo" in capsys.readouterr().out
    assert len(pd.read_parquet("selection.parquet")) == 12
    assert (tmp_path / "selection.png").is_file()


def test_reweighting():
    found = SimpleNamespace(catalog_list=[Table({"p_detect": [0.5, 0.8]})])
    names = {"found": found, "ProbaUNetDeblender": ProbaUNetDeblender}
    exec(snippet_with("reweighted("), names)
    np.testing.assert_allclose(names["p_detect"], [1 / 3, 2 / 3])
    assert names["sparse"].density_ratio == 0.5


def test_commands_are_ones_that_there_are():
    commands = re.findall(r"^btk-punet ([^#\n]*)", README, flags=re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        _parser().parse_args(shlex.split(command))  # which exits if one is not
