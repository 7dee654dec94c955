"""The selection function from one call: its files, and that it resumes where it stopped."""

import json

import pandas as pd
import pytest
from astropy.table import Table as AstropyTable

from btk_punet import (
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    SepDeblender,
    get_euclid_survey,
    selection_function,
)
from btk_punet.cli import main
from btk_punet.errors import BatchFailedError, InputError, InputTypeError, RunExistsError


class FailsOnce(SepDeblender):
    """Fails on its fourth batch as long as a file is there."""

    def __init__(self, trigger):
        super().__init__(20)
        self._trigger, self._calls = str(trigger), 0

    def batch_call(self, blend_batch, njobs=1):
        self._calls += 1
        with open(self._trigger) as file:
            if self._calls == 4 and file.read() == "fail":
                raise ZeroDivisionError("broken")
        return super().batch_call(blend_batch, njobs)


def small_run(folder, deblenders, n_blends=8, **options):
    generator = EuclidGenerator(
        EuclidCatalog.simulate(2000, 1),
        EuclidGroupSampling(max_number=3),
        get_euclid_survey(),
        batch_size=4,
        seed=3,
    )
    options = {"generator": generator, "progress": False} | options
    return selection_function(folder, deblenders, n_blends=n_blends, **options)


def test_no_scenes(tmp_path):
    with pytest.raises(InputError, match="n_blends must be .* at least 1, got 0"):
        small_run(tmp_path, "sep", n_blends=0)
    with pytest.raises(InputTypeError, match="generator must be a SceneGenerator"):
        small_run(tmp_path, "sep", generator="groups")
    with pytest.raises(InputError, match="seed would be ignored, because generator settles"):
        small_run(tmp_path, "sep", seed=5)
    assert list(tmp_path.iterdir()) == []


def test_stopped_run_ends_with_the_same_tables(tmp_path, monkeypatch):
    trigger = tmp_path / "trigger"
    trigger.write_text("")
    whole = small_run(tmp_path / "whole", {"mine": FailsOnce(trigger), "sep": "sep"})
    assert whole.groupby("method", sort=False)["scene"].apply(list).to_dict() == {
        "mine": list(range(8)),
        "sep": list(range(8)),
    }
    trigger.write_text("fail")
    methods = {"mine": FailsOnce(trigger), "sep": "sep"}
    with pytest.raises(BatchFailedError, match="Batch 1 failed in mine: ZeroDivisionError"):
        small_run(tmp_path / "run", methods, fail_fast=True)
    assert (tmp_path / "run" / "batches" / "000000" / "summary.json").is_file()
    trigger.write_text("")
    pd.testing.assert_frame_equal(small_run(tmp_path / "run", methods), whole)
    files = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    names = ("selection", *(f"selection_by_{by}" for by in ("magnitude", "size")))
    assert files >= {f"{name}.{kind}" for name in names for kind in ("csv", "ecsv")}
    assert files >= {"selection.parquet", "selection.png", "selection.pdf", "run.json"}
    assert not (tmp_path / "run" / "batches").exists()
    # Again, it is read; of another run it is not.
    pd.testing.assert_frame_equal(small_run(tmp_path / "run", methods), whole)
    with pytest.raises(RunExistsError, match="max_mag: 28.0 there, 26.0 now"):
        small_run(tmp_path / "run", methods, max_mag=26.0)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "selection.parquet"), whole)


def test_command(tmp_path, capsys):
    options = ["-n", "3", "-j", "1", "-q", "-d", "sep", "--min-mag", "22", "--n-exposures", "1"]
    options += ["--mag-bins", "22", "25", "28", "--match-radius", "0.2"]
    assert main(["selection", "-o", str(tmp_path / "run"), *options]) == 0
    printed = capsys.readouterr().out
    assert "value_lo" in printed and str(tmp_path / "run" / "plots" / "selection.png") in printed
    bins = {(22, 25), (25, 28)}
    written = pd.read_csv(tmp_path / "run" / "tables" / "selection_by_magnitude.csv")
    assert set(zip(written["lo"], written["hi"], strict=True)) <= bins
    assert any(f"{low:.3f} {high:.3f}" in printed for low, high in bins)
    read = AstropyTable.read(tmp_path / "run" / "selection.parquet")
    assert str(read["magnitude"].unit) == "mag" and read["magnitude"].description
    table = pd.read_parquet(tmp_path / "run" / "selection.parquet")
    assert len(table) == 3 and table["magnitude"].between(22, 28).all()
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["status"] == "finished"
    assert run["parameters"]["survey"]["n_exposures"] == 1
    assert run["parameters"]["radius_arcsec"] == 0.2
    assert run["scenes"]["Scenes"].startswith("3 scenes of 6.4 x 6.4 arcsec")
