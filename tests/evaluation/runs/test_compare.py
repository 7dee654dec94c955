import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings

import galsim
import numpy as np
import pandas as pd
import pytest
from btk.deblend import Deblender, SepSingleBand
from btk.sampling_functions import DefaultSampling, DefaultSamplingShear

from btk_punet import (
    Comparison,
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
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
from btk_punet.evaluation.studies.probabilities.study import Probabilities
from btk_punet.model import weights
from tests.evaluation.oracle import Oracle

TABLES = ["truth.parquet", "detections.parquet"]
OUTLINES = ["source_outlines.parquet", "detection_outlines.parquet", "class_pixels.parquet"]
ON_BLENDS = ["regions.parquet", *OUTLINES]


@pytest.fixture(scope="module")
def catalog():
    return EuclidCatalog.simulate(500, seed=1)


def small_run(folder, catalog, **options):
    """Compare two settings of SEP on six blends in three batches."""
    settings = {"n_blends": 6, "batch_size": 2, "progress": False, "report": False, **options}
    deblenders = settings.pop("deblenders", {"sep": SepDeblender(20), "pure": SepDeblender(20, 3)})
    return compare(folder, deblenders, catalog=catalog, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory, catalog):
    return small_run(tmp_path_factory.mktemp("runs") / "run", catalog, report=True)


def moffat_survey():
    """Return the default survey with another PSF of the same width."""
    return get_euclid_survey(psf=galsim.Moffat(beta=3, fwhm=0.16))


def contents(folder):
    """Return the bytes of everything that must be the same: the tidy and the efficiency tables."""
    paths = sorted(folder.glob("*.parquet")) + sorted((folder / "tables").iterdir())
    assert {path.name for path in paths} >= set(TABLES)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_empty_scenes_and_no_detection(tmp_path, catalog):
    class Nothing(EuclidGroupSampling):
        def __call__(self, table):
            return super().__call__(table)[:0]

    result = small_run(
        tmp_path / "run", catalog, sampling=Nothing(min_number=0), deblenders="sep:thresh=50"
    )
    assert len(result.truth) == len(result.detections) == 0
    head = result.tables["headline"]
    assert head["completeness_n"].tolist() == [0]
    assert np.isnan(head["completeness"]).all()


def test_files(run):
    names = {path.name for path in run.folder.iterdir()}
    assert names == {*TABLES, *ON_BLENDS, "run.json", "report.html", "tables", "plots"}
    assert {path.suffix for path in (run.folder / "tables").iterdir()} == {".ecsv", ".csv", ".tex"}
    assert {path.suffix for path in (run.folder / "plots").iterdir()} == {".png", ".pdf"}


def test_tables_are_tidy_and_count(run):
    assert list(dict.fromkeys(run.truth["method"])) == ["sep", "pure"]
    assert not run.truth.duplicated(["method", "scene", "source"]).any()
    assert not run.detections.duplicated(["method", "scene", "detection"]).any()
    assert set(run.truth["scene"]) == set(range(6))
    of_sep = run.truth[(run.truth["method"] == "sep") & run.truth["counts"]]
    head = run.tables["headline"].set_index("method")
    assert head.loc["sep", "completeness"] == of_sep["matched"].mean()
    assert head.loc["sep", "ceiling"] == (of_sep["limit_snr"] > 5).mean()


def test_run_json(run):
    saved = json.loads((run.folder / "run.json").read_text())
    assert saved["status"] == "finished"
    assert saved["parameters"]["seed"] == 0
    assert saved["parameters"]["survey"]["n_exposures"] == 4
    assert saved["methods"]["pure"]["parameters"]["thresh"] == 3
    assert saved["versions"]["blending_toolkit"] == "1.0.9"
    assert set(saved["timing_ms_per_blend"]) == {"drawing", "sep", "pure"}


def test_load_and_print(run):
    loaded = Comparison.load(run.folder)
    pd.testing.assert_frame_equal(loaded.truth, run.truth)
    pd.testing.assert_frame_equal(loaded.detections, run.detections)
    value = run.tables["headline"]["completeness"][0]
    assert f"{value:.3f} (" in str(loaded)


def test_load_of_no_run(tmp_path):
    with pytest.raises(InputError, match="holds no finished comparison: run `btk-punet compare"):
        Comparison.load(tmp_path)


def test_report_is_added_to_a_finished_run(run, tmp_path, catalog):
    plain = small_run(tmp_path / "run", catalog)
    assert {path.name for path in plain.folder.iterdir()} == {
        *TABLES, *ON_BLENDS, "run.json", "tables"
    }  # fmt: skip
    before = contents(plain.folder)
    small_run(tmp_path / "run", catalog, report=True)
    assert contents(plain.folder) == before
    images = [
        {path.name: path.read_bytes() for path in folder.glob("plots/*.png")}
        for folder in (plain.folder, run.folder)
    ]
    assert images[0] == images[1]
    assert (plain.folder / "report.html").is_file()


def test_same_seed_same_tables_whatever_the_number_of_jobs(run, tmp_path, catalog):
    again = small_run(tmp_path / "run", catalog, njobs=2)
    assert contents(again.folder) == contents(run.folder)


def test_figures_do_not_depend_on_the_batch_size(run, tmp_path, catalog):
    again = small_run(tmp_path / "run", catalog, batch_size=4)
    pd.testing.assert_frame_equal(again.truth, run.truth)
    pd.testing.assert_frame_equal(again.detections, run.detections)


def test_other_seed_other_scenes(run, tmp_path, catalog):
    other = small_run(tmp_path / "run", catalog, seed=1)
    assert not other.truth["x"].equals(run.truth["x"])


def test_finished_run_is_not_run_again(run, catalog):
    before = (run.folder / "run.json").stat().st_mtime_ns
    again = small_run(run.folder, catalog)
    pd.testing.assert_frame_equal(again.truth, run.truth)
    assert (run.folder / "run.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "holds another run .*seed: 0 there, 5 now"),
        ({"n_blends": 8}, "n_blends: 6 there, 8 now"),
        ({"psf": 0.2}, r"psf_fwhm_arcsec: 0.16 there, 0.2 now"),
        ({"deblenders": {"sep": SepDeblender(20, 1.5)}}, "thresh: 1.2 there, 1.5 now"),
        ({"sampling": EuclidGroupSampling(max_radius=1.0)}, "max_radius: 1.6 there, 1.0 now"),
        ({"survey": moffat_survey()}, "psf: "),
        ({"outcomes": False}, "outcomes: true there, false now"),
    ],
)
def test_folder_of_another_run(run, catalog, change, message):
    before = contents(run.folder)
    with pytest.raises(RunExistsError, match=message):
        small_run(run.folder, catalog, **change)
    assert contents(run.folder) == before


def test_other_catalog_is_another_run(run, catalog):
    with pytest.raises(RunExistsError, match="first_scene"):
        small_run(run.folder, EuclidCatalog.simulate(500, seed=2))
    # A galaxy that no scene holds: what is drawn from the catalog tells nothing of it.
    table = catalog.table.copy()
    table["a_d"][np.argmax(table["IE_ab"])] *= 2
    with pytest.raises(RunExistsError, match=r"\(contents: .* there, .* now\)"):
        small_run(run.folder, EuclidCatalog(table))


def test_options_of_the_generator_make_another_run(tmp_path, catalog):
    def generator(**options):
        sampling = DefaultSamplingShear(6.4, 2, max_shift=1.0, shear=(0.1, 0.0), mag_name="IE_ab")
        return EuclidGenerator(catalog, sampling, get_euclid_survey(), batch_size=2, **options)

    plain = {"n_blends": 2, "progress": False}
    compare(tmp_path / "run", "sep", generator=generator(), **plain)
    with pytest.raises(RunExistsError, match="apply_shear: false there, true now"):
        compare(tmp_path / "run", "sep", generator=generator(apply_shear=True), **plain)


class Levels(SepDeblender):
    """Has a parameter that is not a plain number."""

    def __init__(self, levels):
        super().__init__(20)
        self.levels = levels


def test_any_parameter_of_a_deblender_makes_another_run(tmp_path, catalog):
    nan = {"mine": Levels([1.0, float("nan")])}
    small_run(tmp_path / "run", catalog, n_blends=2, deblenders=nan)
    small_run(tmp_path / "run", catalog, n_blends=2, deblenders=nan)  # NaN is the same as NaN
    with pytest.raises(RunExistsError, match="contents: "):
        small_run(tmp_path / "run", catalog, n_blends=2, deblenders={"mine": Levels([1.0, 2.0])})


def test_other_versions_are_told(tmp_path, catalog):
    folder = tmp_path / "run"
    (tmp_path / "fail").touch()
    with pytest.raises(BatchFailedError):
        small_run(folder, catalog, deblenders={"mine": FailsOnce(tmp_path / "fail")})
    run = json.loads((folder / "run.json").read_text())
    run["versions"]["sep"] = "0.1"
    (folder / "run.json").write_text(json.dumps(run))
    (tmp_path / "fail").unlink()
    with pytest.warns(BtkPunetWarning, match='other versions .sep: "0.1" there'):
        small_run(folder, catalog, deblenders={"mine": FailsOnce(tmp_path / "fail")})


def test_finished_run_without_its_tables_is_run_again(tmp_path, catalog):
    first = small_run(tmp_path / "run", catalog, n_blends=2)
    (tmp_path / "run" / "truth.parquet").unlink()
    again = small_run(tmp_path / "run", catalog, n_blends=2)
    pd.testing.assert_frame_equal(again.truth, first.truth)


def test_output_that_cannot_be_a_run(tmp_path, catalog):
    (tmp_path / "file").touch()
    with pytest.raises(RunExistsError, match="is a file: give the path of a folder"):
        small_run(tmp_path / "file", catalog)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunExistsError, match="is not the JSON file of a run"):
        small_run(tmp_path, catalog)


def test_run_that_never_finished_a_batch_may_be_corrected(tmp_path, catalog):
    with pytest.raises(InputError, match="radius_arcsec must be above 0"):
        small_run(tmp_path / "run", catalog, radius_arcsec=0)
    assert not (tmp_path / "run").exists()


def test_folder_with_other_files_is_never_touched(tmp_path, catalog):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    for overwrite in (False, True):
        with pytest.raises(RunExistsError, match="is not empty and holds no run of btk-punet"):
            small_run(tmp_path, catalog, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwrite(tmp_path, catalog):
    small_run(tmp_path / "run", catalog, n_blends=2)
    result = small_run(tmp_path / "run", catalog, n_blends=4, overwrite=True)
    assert set(result.truth["scene"]) == set(range(4))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_blends": 0}, InputError, "n_blends must be a whole number of at least 1, got 0"),
        ({"njobs": 0}, InputError, "njobs must be a whole number of at least 1, got 0"),
        ({"n_blends": 2.5}, InputError, "n_blends must be a whole number of at least 1, got 2.5"),
        ({"seed": -1}, InputError, "seed must be 0 or more, got -1"),
        ({"generator": object()}, InputTypeError, "generator must be a SceneGenerator .* object"),
        ({"deblenders": "sextractr"}, InputError, "Unknown deblender 'sextractr': expected"),
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


class FailsOnce(SepDeblender):
    """Fails on the third batch as long as a file is there."""

    def __init__(self, trigger):
        super().__init__(20)
        self._trigger = trigger
        self._calls = 0

    def batch_call(self, blend_batch, njobs=1):
        self._calls += blend_batch.max_n_sources > 1  # not of sources alone
        if self._calls == 3 and self._trigger.exists():
            raise ZeroDivisionError("broken")
        return super().batch_call(blend_batch, njobs)


def test_failing_deblender_is_named_and_nothing_is_lost(tmp_path, catalog):
    trigger = tmp_path / "fail"
    trigger.touch()
    folder = tmp_path / "run"
    with pytest.raises(
        BatchFailedError, match=r"Batch 2 failed in mine: ZeroDivisionError: broken"
    ):
        small_run(folder, catalog, deblenders={"mine": FailsOnce(trigger)})
    done = sorted(path.name for path in (folder / "batches").glob("*.json"))
    assert done == ["000000.json", "000001.json"]
    trigger.unlink()
    # A batch that is done is not run again: what its file says is believed.
    kept = folder / "batches" / "000001.json"
    summary = json.loads(kept.read_text())
    kept.write_text(json.dumps({**summary, "warnings": ["believed"]}))
    result = small_run(folder, catalog, deblenders={"mine": FailsOnce(trigger)})
    assert set(result.truth["scene"]) == set(range(6))
    assert "believed" in result.run["notes"]


def test_killed_run_goes_on_to_the_same_tables(tmp_path):
    """A real kill -9 of the real command, in the middle of its work."""
    command = [sys.executable, "-m", "btk_punet.cli", "compare", "-d", "sep", "-n", "24"]
    command += ["--batch-size", "2", "--quiet", "--jobs"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "2", "-o", whole], check=True, env=environment, capture_output=True)

    with subprocess.Popen(
        [*command, "1", "-o", killed], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while len(list(killed.glob("batches/*.json"))) < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(list(killed.glob("batches/*.json"))) < 12
    # A kill in the middle of writing leaves half a file, which must not be taken for a result.
    (killed / "batches" / ".000011.truth.parquet.99.part").write_bytes(b"half")
    (killed / "batches" / "000011.truth.parquet").write_bytes(b"half")

    subprocess.run([*command, "1", "-o", killed], check=True, env=environment, capture_output=True)
    assert contents(killed) == contents(whole)


def test_btk_deblender_and_sampling(tmp_path, catalog):
    result = small_run(
        tmp_path / "run",
        catalog,
        deblenders={"btk": SepSingleBand(30, use_band=0)},
        sampling=DefaultSampling(6.4, 2, max_shift=1.0),
    )
    assert result.tables["headline"]["method"].tolist() == ["btk"]
    assert result.detections["p_detect"].isna().all()
    assert result.tables["mask_curves"]["p_detect"].isna().all()


def test_warnings_of_deblenders_are_kept_as_notes(tmp_path, catalog):
    result = small_run(tmp_path / "run", catalog, deblenders={"one": SepDeblender(1)})
    assert any("more detections than max_n_sources=1" in note for note in result.run["notes"])
    assert (result.detections["flags"] == 1).any()


def test_what_one_library_warns_another_of_is_no_note(tmp_path, catalog):
    class Warns(SepDeblender):
        def batch_call(self, blend_batch, njobs=1):
            warnings.warn("For authors.", DeprecationWarning, stacklevel=2)
            warnings.warn("For readers.", UserWarning, stacklevel=2)
            return super().batch_call(blend_batch)

    result = small_run(tmp_path / "run", catalog, deblenders={"one": Warns(20)}, outcomes=False)
    assert result.run["notes"] == ["UserWarning: For readers."]


def test_missing_programs_and_presets_are_said_in_a_line(tmp_path, catalog, monkeypatch):
    found = shutil.which
    monkeypatch.setattr(
        shutil,
        "which",
        lambda name, *a: None if name in ("source-extractor", "sex") else found(name),
    )
    monkeypatch.setattr(weights, "PRESETS", tmp_path)
    result = small_run(tmp_path / "run", catalog, deblenders=None, notes=["A note."])
    assert list(result.run["methods"]) == ["sep"]
    own, program, preset = result.run["notes"]
    assert own == "A note."
    assert "SExtractor is left out" in program and "apt-get install source-extractor" in program
    assert "ProbaUNet is left out: the weights of its preset" in preset
    assert result.probabilities == {}


class TestBlends:
    def test_tables_of_the_run(self, run):
        written = {path.stem for path in (run.folder / "tables").glob("*.csv")}
        assert written == set(run.tables)
        assert written >= {
            "outcomes",
            "outcomes_by_neighbour_distance",
            "outcomes_by_magnitude_difference",
            "outcomes_by_limit_snr",
            "outcome_combinations",
            "segmentation_by_magnitude",
            "segmentation_by_neighbour_distance",
            "segmentation_scores",
            "segmentation_classes",
            "mask_precision",
            "mask_curves",
        }
        plots = {path.stem for path in (run.folder / "plots").iterdir()}
        assert plots >= {"outcomes_by_limit_snr", "segmentation_by_magnitude", "mask_curves"}

    def test_every_figure_comes_from_the_files_by_a_line_of_pandas(self, run):
        regions, sources, found, pixels = (pd.read_parquet(run.folder / name) for name in ON_BLENDS)
        truth = pd.read_parquet(run.folder / "truth.parquet")
        shares = regions.groupby("method")["outcome"].value_counts(normalize=True)
        outcomes = run.tables["outcomes"].set_index(["method", "outcome"])["value"]
        assert outcomes[outcomes > 0].to_dict() == pytest.approx(shares.to_dict())
        of_sep = run.tables["segmentation_scores"].set_index("method").loc["sep"]
        sources, found, pixels = (t[t["method"] == "sep"] for t in (sources, found, pixels))
        assert of_sep["mean_iou"] == pytest.approx(sources["iou"].mean())
        asked = sources[sources["overlapped"]].dropna()
        assert of_sep["outlined_worse"] == pytest.approx(asked["outlined_worse"].mean())
        # Outlines of SEP never overlap.
        assert of_sep["blended_region_iou"] == 0 == pixels["blended_as_blended"].sum()
        assert of_sep["blended_region_iou_n"] == pixels.filter(like="blended_as").to_numpy().sum()
        precision = run.tables["mask_precision"].query("method == 'sep' and iou_threshold == 0.5")
        counted = found[found["at_50"] >= 0]
        assert precision["purity"].tolist() == [counted["at_50"].mean()]
        assert precision["completeness"].tolist() == [(found["at_50"] == 1).sum() / len(sources)]
        by_distance = run.tables["segmentation_by_neighbour_distance"].query("method == 'sep'")
        row = by_distance.loc[by_distance["n"].idxmax()]
        distance = sources.merge(truth)["neighbour_distance_arcsec"]
        near = sources["iou"].to_numpy()[distance.between(row["lo"], row["hi"], inclusive="left")]
        assert row["n"] == np.isfinite(near).sum() > 0
        assert row["value"] == pytest.approx(np.nanmean(near))

    def test_load(self, run):
        loaded = Comparison.load(run.folder)
        pd.testing.assert_frame_equal(loaded.collected.tidy["regions"], run.collected.tidy["regions"])
        assert list(loaded.outlines) == list(run.outlines)
        for name, table in run.tables.items():
            pd.testing.assert_frame_equal(loaded.tables[name], table)

    def test_without_outcomes(self, run, tmp_path, catalog):
        plain = small_run(tmp_path / "run", catalog, outcomes=False)
        assert {path.name for path in plain.folder.glob("*.parquet")} == {*TABLES, *OUTLINES}
        assert plain.collected.tidy["regions"] is None
        left = {name for name in run.tables if name.startswith("outcome")}
        assert set(run.tables) - set(plain.tables) == left
        pd.testing.assert_frame_equal(plain.truth, run.truth)
        assert plain.run["parameters"]["outcomes"] is False

    def test_without_outlines(self, tmp_path, catalog):
        methods = {"oracle": Oracle(), "sep": SepDeblender(20)}
        both = small_run(tmp_path / "both", catalog, deblenders=methods)
        for table in both.outlines.values():
            assert set(table["method"]) == {"sep"}
        assert both.tables["segmentation_scores"]["method"].tolist() == ["sep"]
        assert set(both.collected.tidy["regions"]["method"]) == {"oracle", "sep"}
        alone = {"oracle": Oracle()}
        one = small_run(tmp_path / "one", catalog, n_blends=2, deblenders=alone, report=True)
        assert one.outlines == {}
        assert not any(name.startswith(("segmentation", "mask")) for name in one.tables)
        assert "Outlines" not in (one.folder / "report.html").read_text()

    def test_times_are_without_the_extra_pass(self, tmp_path, catalog, monkeypatch):
        clock = time.perf_counter
        slow = SlowAlone(20)
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + SlowAlone.seconds)
        result = small_run(tmp_path / "run", catalog, deblenders={"slow": slow})
        assert SlowAlone.seconds >= 1000
        assert result.run["timing_ms_per_blend"]["slow"] < 1e5
        assert result.run["notes"] == []

    def test_failure_on_single_sources_says_how_to_do_without(self, tmp_path, catalog):
        fails = {"mine": FailsAlone(20)}
        with pytest.raises(
            BatchFailedError,
            match=r"in the outcomes of blends \(with .*--no-outcomes the run goes on",
        ):
            small_run(tmp_path / "run", catalog, deblenders=fails)
        result = small_run(tmp_path / "run", catalog, deblenders=fails, outcomes=False)
        assert result.collected.tidy["regions"] is None and len(set(result.truth["scene"])) == 6


class SlowAlone(SepDeblender):
    """Takes a quarter of an hour for images of single sources, by its own clock, and warns."""

    seconds = 0.0

    def batch_call(self, blend_batch, njobs=1):
        if blend_batch.max_n_sources == 1:
            type(self).seconds += 1000
            warnings.warn("A single source.", stacklevel=2)
        return super().batch_call(blend_batch, njobs)


class FailsAlone(SepDeblender):
    """Fails on images of single sources."""

    def batch_call(self, blend_batch, njobs=1):
        if blend_batch.max_n_sources == 1:
            raise ZeroDivisionError("alone")
        return super().batch_call(blend_batch, njobs)


def test_not_a_deblender(tmp_path, catalog):
    assert not issubclass(int, Deblender)
    with pytest.raises(TypeError, match="'number' is not an instance .* but int"):
        small_run(tmp_path / "run", catalog, deblenders={"number": 3})


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory):
    """Weights of a network that was never trained: its candidates have p_detect of 0.02-0.04."""
    import keras

    from btk_punet import ProbaUNet

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    keras.utils.set_random_seed(0)
    ProbaUNet(channels=(4, 6)).save(folder)
    return folder


def probabilistic_run(folder, catalog, weights, **options):
    unet = ProbaUNetDeblender(100, weights, n_samples=2, threshold=0.03)
    return small_run(folder, catalog, deblenders={"sep": SepDeblender(20), "unet": unet}, **options)


def oracle_run(folder, catalog, first=None, **options):
    deblenders = {"sep": first or SepDeblender(20), "oracle": Oracle((0.9, 0.6, 0.3))}
    return small_run(folder, catalog, deblenders=deblenders, **options)


@pytest.fixture(scope="module")
def unet_run(tmp_path_factory, catalog, tiny_weights):
    folder = tmp_path_factory.mktemp("runs") / "unet"
    return probabilistic_run(folder, catalog, tiny_weights, report=True)


class TestProbabilities:
    def test_files(self, unet_run):
        names = {path.name for path in unet_run.folder.glob("*.parquet")}
        more = {f"{name}.parquet" for name in ["candidates", *(t.name for t in Probabilities.collects)]}
        assert names == {*TABLES, *ON_BLENDS, *more} == set(unet_run.run["files"])
        tables = {path.stem for path in (unet_run.folder / "tables").glob("*.csv")}
        assert tables == set(unet_run.tables)
        assert tables >= {
            "equal_purity",
            "equal_purity_by_neighbour_distance",
            "purity_completeness",
            "calibration",
            "blend_identification",
            "probability_scores",
            "count_calibration",
            "class_calibration",
            "calibration_by_magnitude",
            "calibration_scores",
            "class_errors",
            "class_error_curves",
        }
        plots = {path.stem for path in (unet_run.folder / "plots").iterdir()}
        assert plots >= {"purity_completeness", "calibration", "blend_identification"}

    def test_candidates_hold_the_detections(self, unet_run):
        candidates = unet_run.collected.tidy["candidates"]
        assert set(candidates["method"]) == {"unet"}
        assert (candidates["p_detect"] >= 0.02).all()
        assert (candidates["p_detect"] < 0.03).any()
        of_unet = unet_run.detections[unet_run.detections["method"] == "unet"]
        kept = candidates[candidates["p_detect"] >= 0.03]
        assert len(kept) > 0
        columns = ["scene", "x", "y", "ra", "dec", "p_detect"]
        pd.testing.assert_frame_equal(
            kept[columns].reset_index(drop=True), of_unet[columns].reset_index(drop=True)
        )

    def test_counts_are_those_of_the_truth(self, unet_run):
        counts = unet_run.collected.tidy["counts"]
        assert counts["scene"].tolist() == list(range(6))
        of_unet = unet_run.truth[unet_run.truth["method"] == "unet"]
        seen = of_unet[(of_unet["alone_snr"] > 2) & of_unet["x"].between(-0.5, 63.5)]
        seen = seen[seen["y"].between(-0.5, 63.5)]
        expected = seen.groupby("scene").size().reindex(range(6), fill_value=0)
        assert counts["true_count"].tolist() == expected.tolist()
        posterior = counts[[f"p_{k}" for k in range(101)]]
        np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-6)

    def test_load(self, unet_run):
        loaded = Comparison.load(unet_run.folder)
        assert list(loaded.probabilities) == list(unet_run.probabilities)
        for name, table in unet_run.tables.items():
            pd.testing.assert_frame_equal(loaded.tables[name], table)

    def test_nothing_depends_on_the_number_of_jobs(self, unet_run, tmp_path, catalog, tiny_weights):
        again = probabilistic_run(tmp_path / "run", catalog, tiny_weights, njobs=2)
        assert contents(again.folder) == contents(unet_run.folder)

    def test_stopped_run_goes_on_to_the_same_tables(self, tmp_path, catalog):
        (tmp_path / "fail").touch()
        fails = FailsOnce(tmp_path / "fail")
        with pytest.raises(BatchFailedError):
            oracle_run(tmp_path / "run", catalog, fails)
        kept = tmp_path / "run" / "batches"
        assert len(list(kept.glob("*.candidates.parquet"))) == 2
        (kept / "000002.candidates.parquet").write_bytes(b"half")
        (tmp_path / "fail").unlink()
        result = oracle_run(tmp_path / "run", catalog, fails)
        whole = oracle_run(tmp_path / "whole", catalog)
        assert contents(result.folder) == contents(whole.folder)
        assert set(whole.probabilities) == {"candidates", "counts"}

    def test_run_knows_the_weights_and_not_their_place(
        self, unet_run, tmp_path, catalog, tiny_weights
    ):
        before = (unet_run.folder / "run.json").stat().st_mtime_ns
        shutil.copytree(tiny_weights, tmp_path / "moved" / "model")
        probabilistic_run(unet_run.folder, catalog, tmp_path / "moved")
        assert (unet_run.folder / "run.json").stat().st_mtime_ns == before
        DetectionRecipe(position_scale=2.0).save(tmp_path / "moved" / "model")
        with pytest.raises(RunExistsError, match="weights: .* there, .* now"):
            probabilistic_run(unet_run.folder, catalog, tmp_path / "moved")

    def test_network_given_as_such(self, unet_run, tmp_path, catalog, tiny_weights):
        from btk_punet import ProbaUNet

        network = ProbaUNet.load(tiny_weights)
        folder = tmp_path / "run"
        first = probabilistic_run(folder, catalog, network, n_blends=2)
        expected = unet_run.collected.tidy["candidates"].query("scene < 2")
        pd.testing.assert_frame_equal(first.collected.tidy["candidates"], expected)
        # The same network, loaded once more, is another object with another name.
        before = (folder / "run.json").stat().st_mtime_ns
        probabilistic_run(folder, catalog, ProbaUNet.load(tiny_weights), n_blends=2)
        assert (folder / "run.json").stat().st_mtime_ns == before
        network.set_weights([2 * array for array in network.get_weights()])
        with pytest.raises(RunExistsError, match="weights: .* there, .* now"):
            probabilistic_run(folder, catalog, network, n_blends=2)

    def test_weights_that_are_not_there_leave_no_folder(self, tmp_path, catalog):
        with pytest.raises(InputError, match="got 'elsewhere' without config.json"):
            small_run(tmp_path / "run", catalog, deblenders="probaunet:weights=elsewhere")
        assert not (tmp_path / "run").exists()

    def test_overwrite_leaves_no_old_table(self, tmp_path, catalog):
        folder = tmp_path / "run"
        oracle_run(folder, catalog, n_blends=2)
        # Without one of its tables it is run again.
        (folder / "candidates.parquet").unlink()
        assert len(oracle_run(folder, catalog, n_blends=2).collected.tidy["candidates"]) > 0
        small_run(folder, catalog, n_blends=2, overwrite=True)
        assert {path.name for path in folder.glob("*.parquet")} == {*TABLES, *ON_BLENDS}
