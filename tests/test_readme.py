"""The snippets of the README do what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from btk_punet import compare
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
