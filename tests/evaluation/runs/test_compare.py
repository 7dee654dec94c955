"""A comparison from its arguments to its files: tables, figures, report."""

import html
import shutil

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table as AstropyTable
from btk.deblend import SepSingleBand
from btk.sampling_functions import DefaultSampling

from btk_punet import Comparison, EuclidGroupSampling, ProbaUNet, ProbaUNetDeblender, compare
from btk_punet.errors import InputError
from btk_punet.evaluation.runs.compare import write_comparison_report
from btk_punet.evaluation.studies.detection.false_detections import FalseDetections
from btk_punet.evaluation.studies.detection.found import Found
from btk_punet.evaluation.studies.detection.result import Result
from btk_punet.evaluation.studies.outlines.study import Outlines
from btk_punet.evaluation.studies.probabilities.study import Probabilities
from btk_punet.evaluation.studies.registry import STUDIES
from btk_punet.model import weights
from tests.evaluation.oracle import Oracle
from tests.evaluation.runs.conftest import OUTLINES, TABLES, contents, small_run

ON_BLENDS = ["regions.parquet", *OUTLINES]
OF_PROBABILITIES = ["candidates", *(table.name for table in Probabilities.collects)]


def test_empty_scenes_and_no_detection(tmp_path, catalog):
    class Nothing(EuclidGroupSampling):
        def __call__(self, table):
            return super().__call__(table)[:0]

    result = small_run(
        tmp_path / "run",
        catalog,
        "sep:thresh=50",
        sampling=Nothing(min_number=0),
        n_blends=2,
        outcomes=True,
    )
    assert len(result.truth) == len(result.detections) == 0
    head = result.tables["headline"]
    assert head["completeness_n"].tolist() == [0]
    assert np.isnan(head["completeness"]).all()


class TestEverything:
    def test_files(self, run):
        names = {path.name for path in run.folder.iterdir()}
        files = set(run.run["files"])
        assert names == {*files, "run.json", "report.html", "tables", "plots", ".lock"}
        assert files >= {*TABLES, *ON_BLENDS, *(f"{name}.parquet" for name in OF_PROBABILITIES)}
        written = {path.stem for path in (run.folder / "tables").glob("*.csv")}
        assert written == set(run.tables)
        for folder, kinds in (("tables", ".ecsv .csv .tex"), ("plots", ".png .pdf")):
            assert {p.suffix for p in (run.folder / folder).iterdir()} == set(kinds.split())

    def test_every_question_has_its_tables(self, run):
        assert list(run.tables_by_study) == [study.anchor for study in STUDIES]
        assert set(run.tables) >= {
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
        plots = {path.stem for path in (run.folder / "plots").iterdir()}
        assert plots >= {
            "outcomes_by_limit_snr",
            "segmentation_by_magnitude",
            "mask_curves",
            "purity_completeness",
            "calibration",
            "blend_identification",
        }

    def test_tables_are_tidy_and_count(self, run):
        assert list(dict.fromkeys(run.truth["method"])) == ["sep", "pure", "unet"]
        assert not run.truth.duplicated(["method", "scene", "source"]).any()
        assert not run.detections.duplicated(["method", "scene", "detection"]).any()
        assert set(run.truth["scene"]) == set(range(6))
        of_sep = run.truth[(run.truth["method"] == "sep") & run.truth["counts"]]
        head = run.tables["headline"].set_index("method")
        assert head.loc["sep", "completeness"] == of_sep["matched"].mean()
        assert head.loc["sep", "ceiling"] == (of_sep["limit_snr"] > 5).mean()

    def test_astropy_reads_units_and_descriptions(self, run):
        truth = AstropyTable.read(run.folder / "truth.parquet")
        units = {name: str(truth[name].unit) for name in ("x", "ra", "magnitude", "size_arcsec")}
        assert units == {"x": "pix", "ra": "arcsec", "magnitude": "mag", "size_arcsec": "arcsec"}
        detections = AstropyTable.read(run.folder / "detections.parquet")
        assert str(detections["aperture_flux"].unit) == "electron"
        for name in ("truth", "detections", "candidates", "regions", "source_outlines"):
            read = AstropyTable.read(run.folder / f"{name}.parquet")
            assert all(read[column].description for column in read.colnames), name
            assert list(read["method"]) == list(run.collected.tidy[name]["method"])

    def test_loaded_it_is_the_same(self, run):
        loaded = Comparison.load(run.folder)
        tidy = loaded.collected.tidy, run.collected.tidy
        for tables, those in (tidy, (loaded.tables, run.tables)):
            assert list(tables) == list(those)
            for name, table in those.items():
                pd.testing.assert_frame_equal(tables[name], table)
        value = run.tables["headline"]["completeness"][0]
        assert f"{value:.3f} (" in str(loaded)

    def test_report(self, run):
        page = (run.folder / "report.html").read_text()
        assert "<pre><code>btk-punet compare -d &#39;sep&#39; &amp; more</code></pre>" in page
        assert "sep, pure, unet · 6 scenes" in page
        text = html.unescape(page)
        for words in (*run.run["scenes"].values(), run.run["home"]):
            assert words and words in text
        for study in STUDIES:
            assert f'<section id="{study.anchor}">' in page

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

    def test_candidates_hold_the_detections(self, run):
        candidates = run.collected.tidy["candidates"]
        assert set(candidates["method"]) == {"unet"}
        assert (candidates["p_detect"] >= 0.02).all()
        assert (candidates["p_detect"] < 0.03).any()
        of_unet = run.detections[run.detections["method"] == "unet"]
        kept = candidates[candidates["p_detect"] >= 0.03]
        assert len(kept) > 0
        columns = ["scene", "x", "y", "ra", "dec", "p_detect"]
        pd.testing.assert_frame_equal(
            kept[columns].reset_index(drop=True), of_unet[columns].reset_index(drop=True)
        )

    def test_counts_are_those_of_the_truth(self, run):
        counts = run.collected.tidy["counts"]
        assert counts["scene"].tolist() == list(range(6))
        of_unet = run.truth[run.truth["method"] == "unet"]
        seen = of_unet[(of_unet["alone_snr"] > 2) & of_unet["x"].between(-0.5, 63.5)]
        seen = seen[seen["y"].between(-0.5, 63.5)]
        expected = seen.groupby("scene").size().reindex(range(6), fill_value=0)
        assert counts["true_count"].tolist() == expected.tolist()
        posterior = counts[[f"p_{k}" for k in range(101)]]
        np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-6)


def test_without_outcomes_and_probabilities(plain, run):
    files = set(plain.run["files"])
    assert {path.name for path in plain.folder.iterdir()} == {*files, "run.json", "tables", ".lock"}
    left_out = {"regions.parquet", *(f"{name}.parquet" for name in OF_PROBABILITIES)}
    assert files >= {*TABLES, *OUTLINES} and not files & left_out
    assert plain.run["parameters"]["outcomes"] is False
    assert "blends" not in plain.tables_by_study
    assert not {"equal_purity", "calibration", "outcomes"} & set(plain.tables)
    truth = run.truth[run.truth["method"] != "unet"].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain.truth, truth)


def test_other_seed_other_scenes(plain, tmp_path, catalog):
    other = small_run(tmp_path / "run", catalog, "sep", n_blends=2, seed=1, studies=[])
    assert other.truth["x"].tolist() != plain.truth["x"].tolist()[: len(other.truth)]


def test_report_is_added_to_a_finished_run(tmp_path, catalog):
    options = {"n_blends": 2, "studies": [Result, FalseDetections]}
    small_run(tmp_path / "run", catalog, **options)
    assert not (tmp_path / "run" / "plots").exists()
    before = contents(tmp_path / "run")
    small_run(tmp_path / "run", catalog, report=True, **options)
    small_run(tmp_path / "whole", catalog, report=True, **options)
    assert contents(tmp_path / "run") == before == contents(tmp_path / "whole")
    images, others = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("plots/*.png")}
        for name in ("run", "whole")
    )
    assert images == others and images
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_loaded_run_can_be_reported(plain):
    loaded = Comparison.load(plain.folder, studies=[Result])
    loaded.folder = plain.folder / "elsewhere"
    write_comparison_report(loaded)
    assert "Completeness and purity" in (loaded.folder / "report.html").read_text()
    shutil.rmtree(loaded.folder)


def test_load_of_no_run(tmp_path, plain):
    with pytest.raises(InputError, match="holds no finished comparison: run `btk-punet compare"):
        Comparison.load(tmp_path)
    shutil.copytree(plain.folder, tmp_path / "run")
    (tmp_path / "run" / "detections.parquet").unlink()
    with pytest.raises(InputError, match=r"has lost detections.parquet: run the same command"):
        Comparison.load(tmp_path / "run")


def test_bins_and_other_rules_reach_everything(tmp_path, catalog):
    rules = {"mag_bins": [20, 23, 26], "distance_bins": [0, 1, np.inf], "min_snr": 35}
    result = small_run(
        tmp_path / "run", catalog, "sep", radius_arcsec=0.1, studies=[Result, Found], **rules
    )
    saved = Comparison.load(tmp_path / "run", studies=[Result, Found])
    written = {"mag_bins": [20, 23, 26], "distance_bins": [0, 1, "inf"], "min_snr": 35}
    assert saved.run["parameters"].items() >= (written | {"radius_arcsec": 0.1}).items()
    assert saved.collected.rules == result.collected.rules
    for comparison in (result, saved):
        by_magnitude = comparison.tables["completeness_by_magnitude"]
        bins = set(zip(by_magnitude["lo"], by_magnitude["hi"], strict=True))
        assert (23, 26) in bins <= {(20, 23), (23, 26)}
        by_distance = comparison.tables["completeness_by_neighbour_distance"]
        assert 1 in set(by_distance["hi"]) <= {1, np.inf}
        efficiency = comparison.tables["efficiency"]
        assert set(efficiency["magnitude_lo"]) == {20, 23} and set(efficiency["lo"]) == {0, 1}
    truth = result.truth[result.truth["in_bounds"]]
    assert (truth["counts"] == (truth["alone_snr"] > 35)).all()
    assert truth["alone_snr"].between(5, 35).any()
    assert result.truth["match_distance_arcsec"].max() < 0.1


def test_btk_deblender_and_sampling(tmp_path, catalog):
    result = small_run(
        tmp_path / "run",
        catalog,
        {"btk": SepSingleBand(30, use_band=0)},
        sampling=DefaultSampling(6.4, 2, max_shift=1.0),
        n_blends=2,
    )
    assert result.tables["headline"]["method"].tolist() == ["btk"]
    assert result.detections["p_detect"].isna().all()
    assert result.tables["mask_curves"]["p_detect"].isna().all()


def test_without_outlines(tmp_path, catalog):
    both = small_run(tmp_path / "both", catalog, {"oracle": Oracle(), "sep": "sep"}, n_blends=2)
    for table in Outlines.collects:
        assert set(both.collected.tidy[table.name]["method"]) == {"sep"}
    assert both.tables["segmentation_scores"]["method"].tolist() == ["sep"]
    options = {"n_blends": 1, "studies": [Result, Outlines], "report": True}
    one = small_run(tmp_path / "one", catalog, {"oracle": Oracle()}, **options)
    assert not {table.name for table in Outlines.collects} & set(one.collected.tidy)
    assert list(one.tables) == ["headline"]
    assert Outlines.title not in (one.folder / "report.html").read_text()


def test_missing_programs_and_presets_are_said_in_a_line(tmp_path, catalog, monkeypatch):
    found = shutil.which
    monkeypatch.setattr(
        shutil,
        "which",
        lambda name, *a: None if name in ("source-extractor", "sex") else found(name),
    )
    monkeypatch.setattr(weights, "PRESETS", tmp_path)
    result = compare(
        tmp_path / "run",
        catalog=catalog,
        n_blends=1,
        notes=["A note."],
        studies=[],
        report=False,
        progress=False,
    )
    assert list(result.run["methods"]) == ["sep"]
    own, program, preset = result.run["notes"]
    assert own == "A note."
    assert "SExtractor is left out" in program and "apt-get install source-extractor" in program
    assert "ProbaUNet is left out: the weights of its preset" in preset


def test_a_network_is_told_the_density_of_the_scenes(tmp_path, catalog):
    ProbaUNet(channels=(4, 6), told_density=True).save(tmp_path / "told")
    methods = {
        "default": ProbaUNetDeblender(100, tmp_path / "told", 1, threshold=1.0),
        "given": ProbaUNetDeblender(100, tmp_path / "told", 1, threshold=1.0, density_ratio=2.0),
    }
    run = small_run(tmp_path / "run", catalog, methods).run
    ratios = {name: of["parameters"]["density_ratio"] for name, of in run["methods"].items()}
    assert ratios == {"default": 19.0, "given": 2.0}
    assert methods["default"].density_ratio is None
    assert "default was trained on" in run["home"]
    assert "It was told that sources lie 19 times as dense as in the sky" in run["home"]
    assert run["scenes"]["Density"].startswith("18.8 times as many neighbours")
