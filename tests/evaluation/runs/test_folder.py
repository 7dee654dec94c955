"""Whether a folder holds the same run, another one, or none; and what a run leaves in it."""

import json
import shutil

import galsim
import numpy as np
import pandas as pd
import pytest
from btk.sampling_functions import DefaultSamplingShear

from btk_punet import (
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    ProbaUNet,
    SepDeblender,
    compare,
    get_euclid_survey,
)
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.recipe import DetectionRecipe
from btk_punet.errors import (
    BatchFailedError,
    BtkPunetWarning,
    CatalogError,
    InputError,
    InputTypeError,
    RunExistsError,
)
from btk_punet.evaluation.studies.detection.result import Result
from tests.evaluation.oracle import Oracle
from tests.evaluation.runs.conftest import (
    FailsOnce,
    contents,
    small_run,
    with_unet,
)


def moffat_survey():
    """Return the default survey with another PSF of the same width."""
    return get_euclid_survey(psf=galsim.Moffat(beta=3, fwhm=0.16))


def untouched(folder):
    return (folder / "run.json").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_blends": 0}, InputError, "n_blends must be a whole number of at least 1, got 0"),
        ({"njobs": 0}, InputError, "njobs must be a whole number of at least 1, got 0"),
        ({"n_blends": 2.5}, InputError, "n_blends must be a whole number of at least 1, got 2.5"),
        ({"seed": -1}, InputError, "seed must be 0 or more, got -1"),
        ({"radius_arcsec": 0}, InputError, "matching radius must be above 0 arcsec, got 0"),
        ({"min_snr": 1.5}, InputError, "min_snr must be a number of at least 2, .* got 1.5"),
        ({"mag_bins": [22, 21]}, InputError, "edges must be two or more increasing numbers"),
        ({"distance_bins": [1]}, InputError, "edges must be two or more increasing numbers"),
        ({"studies": [int]}, InputTypeError, "studies must hold subclasses of Study"),
        ({"deblenders": "sextractr"}, InputError, "Unknown deblender 'sextractr': expected"),
        ({"deblenders": {"drawing": "sep"}}, InputError, "'drawing' is what the time of drawing"),
        ({"deblenders": {"number": 3}}, TypeError, "'number' is not an instance .* but int"),
        ({"deblenders": "probaunet:weights=nowhere"}, InputError, "'nowhere' without config.json"),
        ({"sampling": "clusters"}, InputError, "Unknown sampling 'clusters'"),
        ({"survey": "Roamn"}, InputError, "Unknown survey 'Roamn'"),
        (
            {"sampling": EuclidGroupSampling(0.3, max_radius=0.1)},
            InputError,
            "stamp of 0.3 arcsec is smaller than the PSF",
        ),
        ({"sampling": EuclidGroupSampling(min_mag=5, max_mag=6)}, CatalogError, "No source of"),
    ],
)
def test_bad_arguments_leave_no_folder(tmp_path, catalog, change, error, message):
    with pytest.raises(error, match=message):
        small_run(tmp_path / "run", catalog, **change)
    assert not (tmp_path / "run").exists()


def test_generator_in_place_of_the_scenes(tmp_path, catalog):
    with pytest.raises(InputTypeError, match="generator must be a SceneGenerator .* object"):
        compare(tmp_path / "run", "sep", generator=object())
    with pytest.raises(InputError, match="catalog, seed would be ignored, because generator"):
        compare(tmp_path / "run", "sep", catalog=catalog, seed=5, generator=object())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "holds another run .*seed: 0 there, 5 now"),
        ({"n_blends": 8}, "n_blends: 6 there, 8 now"),
        ({"psf": 0.2}, r"psf_fwhm_arcsec: 0.16 there, 0.2 now"),
        ({"min_snr": 10}, "min_snr: 5.0 there, 10 now"),
        ({"distance_bins": [0, np.inf]}, r'distance_bins: null there, \[0.0, "inf"\] now'),
        ({"studies": [Result]}, r'studies: null there, \["result"\] now'),
        ({"deblenders": {"sep": SepDeblender(20, 1.5)}}, "thresh: 1.2 there, 1.5 now"),
        ({"sampling": EuclidGroupSampling(max_radius=1.0)}, "max_radius: 1.6 there, 1.0 now"),
        ({"survey": moffat_survey()}, "psf: "),
        ({"outcomes": True}, "outcomes: false there, true now"),
    ],
)
def test_folder_of_another_run(plain, catalog, change, message):
    before = contents(plain.folder)
    with pytest.raises(RunExistsError, match=message):
        small_run(plain.folder, catalog, **change)
    assert contents(plain.folder) == before


def test_other_catalog_is_another_run(plain, catalog):
    with pytest.raises(RunExistsError, match="first_scene"):
        small_run(plain.folder, EuclidCatalog.simulate(500, seed=2))
    # A galaxy that no scene holds: what is drawn from the catalog tells nothing of it.
    table = catalog.table.copy()
    table["a_d"][np.argmax(table["IE_ab"])] *= 2
    with pytest.raises(RunExistsError, match=r"\(contents: .* there, .* now\)"):
        small_run(plain.folder, EuclidCatalog(table))


def test_options_of_the_generator_make_another_run(tmp_path, catalog):
    def generator(**options):
        sampling = DefaultSamplingShear(6.4, 2, max_shift=1.0, shear=(0.1, 0.0), mag_name="IE_ab")
        return EuclidGenerator(catalog, sampling, get_euclid_survey(), batch_size=2, **options)

    few = {"n_blends": 1, "progress": False, "outcomes": False, "report": False}
    compare(tmp_path / "run", "sep", generator=generator(), **few)
    with pytest.raises(RunExistsError, match="apply_shear: false there, true now"):
        compare(tmp_path / "run", "sep", generator=generator(apply_shear=True), **few)


class Levels(SepDeblender):
    """Has a parameter that is not a plain number."""

    def __init__(self, levels):
        super().__init__(20)
        self.levels = levels


def test_any_parameter_of_a_deblender_makes_another_run(tmp_path, catalog):
    folder, nan = tmp_path / "run", {"mine": Levels([1.0, float("nan")])}
    small_run(folder, catalog, nan, n_blends=1)
    before = untouched(folder)
    small_run(folder, catalog, nan, n_blends=1)  # NaN is the same as NaN
    assert untouched(folder) == before
    with pytest.raises(RunExistsError, match="contents: "):
        small_run(folder, catalog, {"mine": Levels([1.0, 2.0])}, n_blends=1)


def test_finished_run_is_not_run_again(plain, catalog):
    before = untouched(plain.folder)
    again = small_run(plain.folder, catalog)
    pd.testing.assert_frame_equal(again.truth, plain.truth)
    assert untouched(plain.folder) == before


def test_other_versions_are_told(tmp_path, catalog):
    folder, trigger = tmp_path / "run", tmp_path / "fail"
    trigger.touch()
    with pytest.raises(BatchFailedError):
        small_run(folder, catalog, {"mine": FailsOnce(trigger)}, fail_fast=True)
    run = json.loads((folder / "run.json").read_text())
    run["versions"]["sep"] = "0.1"
    (folder / "run.json").write_text(json.dumps(run))
    trigger.unlink()
    with pytest.warns(BtkPunetWarning, match='other versions .sep: "0.1" there'):
        small_run(folder, catalog, {"mine": FailsOnce(trigger)})


def test_finished_run_without_its_tables_is_run_again(tmp_path, catalog):
    folder, methods = tmp_path / "run", {"oracle": Oracle((0.9, 0.6, 0.3))}
    first = small_run(folder, catalog, methods, n_blends=2)
    for name in ("truth", "candidates"):
        (folder / f"{name}.parquet").unlink()
        again = small_run(folder, catalog, methods, n_blends=2)
        pd.testing.assert_frame_equal(again.collected.tidy[name], first.collected.tidy[name])


def test_output_that_cannot_be_a_run(tmp_path, catalog):
    (tmp_path / "file").touch()
    with pytest.raises(RunExistsError, match="is a file: give the path of a folder"):
        small_run(tmp_path / "file", catalog)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunExistsError, match="is not the JSON file of a run"):
        small_run(tmp_path, catalog)


def test_folder_with_other_files_is_never_touched(tmp_path, catalog):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    for overwrite in (False, True):
        with pytest.raises(RunExistsError, match="is not empty and holds no run of btk-punet"):
            small_run(tmp_path, catalog, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwrite_leaves_nothing_of_the_old_run(tmp_path, catalog):
    folder = tmp_path / "run"
    methods = {"sep": SepDeblender(20), "oracle": Oracle((0.9, 0.6, 0.3))}
    small_run(folder, catalog, methods, n_blends=1, outcomes=True, studies=None)
    (folder / "report.html").write_text("old")
    (folder / "plots").mkdir()
    (folder / "plots" / "old.png").touch()
    old = {path.stem for path in (folder / "tables").iterdir()}
    assert "outcomes" in old and (folder / "candidates.parquet").is_file()
    result = small_run(folder, catalog, "sep", n_blends=2, overwrite=True)
    assert set(result.truth["scene"]) == {0, 1}
    names = {path.name for path in folder.iterdir()}
    assert names == {*result.run["files"], "run.json", "tables", ".lock"}
    assert not names & {"regions.parquet", "candidates.parquet", "counts.parquet"}
    assert {path.stem for path in (folder / "tables").iterdir()} < old - {"outcomes"}


def test_run_json(run):
    text = (run.folder / "run.json").read_text()
    saved = json.loads(text)
    assert saved == run.run
    assert saved["status"] == "finished"
    assert saved["parameters"]["seed"] == 0
    assert saved["parameters"]["survey"]["n_exposures"] == 4
    assert saved["parameters"]["catalog"]["n_sources"] == 500
    assert saved["methods"]["pure"]["parameters"]["thresh"] == 3
    assert saved["versions"]["blending_toolkit"] == "1.0.9"
    assert set(saved["timing_ms_per_blend"]) == {"drawing", "sep", "pure", "unet"}
    assert saved["files"] == sorted(saved["files"], key=saved["files"].index)
    assert {*saved["files"]} == {path.name for path in run.folder.glob("*.parquet")}
    assert "Infinity" not in text and "NaN" not in text


class TestNetworks:
    def test_run_knows_the_weights_and_not_their_place(self, run, tmp_path, catalog, tiny_weights):
        before = untouched(run.folder)
        shutil.copytree(tiny_weights, tmp_path / "moved" / "model")
        small_run(run.folder, catalog, with_unet(tmp_path / "moved"), outcomes=True)
        assert untouched(run.folder) == before
        DetectionRecipe(position_scale=2.0).save(tmp_path / "moved" / "model")
        with pytest.raises(RunExistsError, match="weights: .* there, .* now"):
            small_run(run.folder, catalog, with_unet(tmp_path / "moved"), outcomes=True)

    def test_network_given_as_such(self, run, tmp_path, catalog, tiny_weights):
        def call(network):
            methods = {"unet": ProbaUNetDeblender(100, network, n_samples=2, threshold=0.03)}
            return small_run(tmp_path / "run", catalog, methods, n_blends=2, studies=[])

        network = ProbaUNet.load(tiny_weights)
        first = call(network).collected.tidy["candidates"]
        expected = run.collected.tidy["candidates"].query("scene < 2")
        pd.testing.assert_frame_equal(first, expected)
        # The same network, loaded once more, is another object with another name.
        before = untouched(tmp_path / "run")
        call(ProbaUNet.load(tiny_weights))
        assert untouched(tmp_path / "run") == before
        network.set_weights([2 * array for array in network.get_weights()])
        with pytest.raises(RunExistsError, match="weights: .* there, .* now"):
            call(network)
