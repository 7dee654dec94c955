import json

import numpy as np
import pandas as pd
import pytest

from btk_punet import BENCHMARK_SETS, benchmark_set, compare_benchmark
from btk_punet.errors import BtkPunetWarning, CatalogError, InputError
from btk_punet.model import weights
from btk_punet.simulation.density import galaxies_per_arcmin2
from btk_punet.simulation.survey import background_variance
from btk_punet.training.real_galaxies import part_of
from tests.evaluation.oracle import Oracle
from tests.training.test_real_galaxies import write

# What benchmark_set("groups").generator()._sample(0)["IE_ab"] gave when the set was made.
FIRST_GROUP_MAGNITUDES = [25.196303, 20.964461, 23.016563]
SIMULATED = [name for name, chosen in BENCHMARK_SETS.items() if not chosen.needs()]


@pytest.fixture(scope="module")
def generators():
    return {name: benchmark_set(name).generator() for name in SIMULATED}


def test_unknown_set():
    with pytest.raises(InputError, match="Unknown benchmark set 'group': expected one of"):
        benchmark_set("group")


def test_real_set_needs_a_folder():
    with pytest.raises(CatalogError, match="'real' needs real galaxies: give cosmos_dir"):
        benchmark_set("real").generator()


def test_the_sky_needs_a_file(tmp_path):
    with pytest.raises(CatalogError, match="'sky' needs real galaxies: give real_galaxies"):
        benchmark_set("sky").generator()
    with pytest.raises(CatalogError, match=r"'sky' needs real galaxies: give .*--real-galaxies"):
        compare_benchmark(tmp_path / "run", "sky", "sep", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_sky_holds_real_galaxies_to_measure_on(tmp_path):
    image = np.zeros((41, 41))
    image[15:26, 5:36] = 1.0
    names = [str(i) for i in range(60)]
    path = write(tmp_path / "real.npz", [image] * 60, names, scale=0.06)
    generator = benchmark_set("sky").generator(real_galaxies=path)
    (survey,) = generator.surveys.values()
    assert background_variance(survey, survey.get_filter("IE")) == pytest.approx(
        4 * (155.57 + 4.4**2), abs=0.02
    )
    assert generator.sampling_function.density_ratio == pytest.approx(1.0, abs=0.01)
    assert generator.max_real_mag == 24.5
    assert {galaxy.object_name for galaxy in generator.galaxies} == {
        f"toys/{name}" for name in names if part_of(f"toys/{name}") == "benchmark"
    }
    batch = generator.draw_batch(0, 1)
    assert batch.blend_images.shape == (1, 1, 256, 256)
    numbers = [len(generator._sample(scene)) for scene in range(100)]
    expected = (galaxies_per_arcmin2(26.5) - galaxies_per_arcmin2(18)) * (25.6 / 60) ** 2
    assert np.mean(numbers) == pytest.approx(expected, abs=4 * np.sqrt(expected / 100))


def test_seeds_differ():
    seeds = [chosen.seed for chosen in BENCHMARK_SETS.values()]
    assert len(set(seeds)) == len(seeds) == 7


@pytest.mark.parametrize(
    ("name", "variance", "fwhm_arcsec", "size", "n_scenes"),
    [
        ("groups", 155.57, 0.16, 64, 2000),
        ("pairs", 155.57, 0.16, 64, 2000),
        ("fields", 155.57, 0.16, 256, 100),
        ("deep", 4 * (155.57 + 4.4**2), 0.16, 64, 2000),
        ("psf", 155.57, 0.20, 64, 2000),
    ],
)
def test_depth_psf_and_size(generators, name, variance, fwhm_arcsec, size, n_scenes):
    (survey,) = generators[name].surveys.values()
    filt = survey.get_filter("IE")
    assert background_variance(survey, filt) == pytest.approx(variance, abs=0.005)
    assert filt.psf.calculateFWHM() == pytest.approx(fwhm_arcsec, abs=1e-3)
    assert benchmark_set(name).n_scenes == n_scenes
    assert generators[name].draw_batch(0, 1).blend_images.shape == (1, 1, size, size)


def test_population(generators):
    magnitudes, numbers, radii = [], [], []
    for scene in range(200):
        table = generators["groups"]._sample(scene)
        magnitudes.extend(table["IE_ab"])
        numbers.append(len(table))
        radii.extend(np.hypot(table["ra"], table["dec"]))
    assert 19.5 <= min(magnitudes) and max(magnitudes) < 25.3
    assert set(numbers) == {1, 2, 3, 4, 5, 6}
    assert max(radii) <= 1.6
    pairs = [generators["pairs"]._sample(scene) for scene in range(100)]
    separations = [np.hypot(*(np.ptp(pair[c]) for c in ("ra", "dec"))) for pair in pairs]
    assert 0.2 <= min(separations) and max(separations) <= 2.0
    assert max(pair["IE_ab"].max() for pair in pairs) < 25.0
    fields = [len(generators["fields"]._sample(scene)) for scene in range(100)]
    expected = 120 * (25.6 / 60) ** 2
    assert np.mean(fields) == pytest.approx(expected, abs=4 * np.sqrt(expected / 100))


def test_first_scene_stays_the_same(generators):
    """A change of this figure makes every published benchmark figure another one."""
    table = generators["groups"]._sample(0)
    np.testing.assert_allclose(table["IE_ab"], FIRST_GROUP_MAGNITUDES, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), InputError, "No benchmark set given: expected some of"),
        ((["groups", "grops"],), InputError, "Unknown benchmark set 'grops': expected one of"),
        (("real", "sep"), CatalogError, "'real' needs real galaxies: give cosmos_dir"),
    ],
)
def test_sets_that_are_none(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        compare_benchmark(tmp_path / "run", *arguments, progress=False)
    assert not (tmp_path / "run").exists()


def test_several_sets(tmp_path):
    summary = compare_benchmark(
        tmp_path,
        ["groups", "pairs"],
        "sep",
        n_blends=4,
        distance_bins=[0, 1, np.inf],
        report=False,
        progress=False,
    )
    assert list(summary["set"]) == ["groups", "pairs"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "groups",
        "pairs",
        "benchmark.csv",
        "benchmark_by_neighbour_distance.csv",
        "benchmark_by_neighbour_distance.png",
        "benchmark_ceiling_share.csv",
    }
    by_distance = pd.read_csv(tmp_path / "benchmark_by_neighbour_distance.csv")
    assert set(by_distance["hi"]) <= {1, np.inf} and set(by_distance["set"]) == {"groups", "pairs"}
    head = pd.read_csv(tmp_path / "benchmark.csv").set_index("set")
    own = pd.read_csv(tmp_path / "pairs" / "tables" / "headline.csv")
    assert head.loc["pairs", "completeness_n"] == own["completeness_n"].iloc[0]


def test_probabilities_of_all_sets(tmp_path):
    methods = {"SEP": "sep", "oracle": Oracle((0.9, 0.7))}
    with (
        pytest.warns(BtkPunetWarning, match="'real' is left out: it needs cosmos_dir"),
        pytest.warns(BtkPunetWarning, match="'sky' is left out: it needs real_galaxies"),
    ):
        summary = compare_benchmark(
            tmp_path, "all", methods, n_blends=3, report=False, progress=False
        )
    assert summary["set"].tolist() == [name for name in SIMULATED for _ in methods]
    assert not (tmp_path / "deep" / "report.html").exists()
    scores = pd.read_csv(tmp_path / "benchmark_probabilities.csv")
    assert scores["set"].tolist() == SIMULATED
    assert (scores["method"] == "oracle").all()
    margins = pd.read_csv(tmp_path / "benchmark_equal_purity.csv")
    assert margins.columns[:4].tolist() == ["set", "detector", "method", "neighbours"]
    assert set(margins["method"]) == {"SEP"}
    everything = margins[margins["neighbours"] == "all"]
    assert everything["set"].tolist() == SIMULATED
    assert (everything["completeness"] == 1).all()
    assert set(margins["neighbours"]) == {"all", "0.5-0.8 arcsec"}
    # Those of a set are what its own table says.
    own = pd.read_csv(tmp_path / "deep" / "tables" / "equal_purity.csv")
    of_deep = everything[everything["set"] == "deep"].iloc[0]
    assert of_deep["margin"] == own["margin"].iloc[0]
    close = pd.read_csv(tmp_path / "deep" / "tables" / "equal_purity_by_neighbour_distance.csv")
    of_deep = margins[(margins["set"] == "deep") & (margins["neighbours"] != "all")]
    assert of_deep["margin"].tolist() == close.loc[close["lo"] == 0.5, "margin"].tolist()


def test_default_methods_say_what_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "PRESETS", tmp_path)
    with pytest.warns(BtkPunetWarning, match="ProbaUNet is left out: the weights of its preset"):
        summary = compare_benchmark(
            tmp_path / "run", "pairs", n_blends=2, report=False, progress=False
        )
    assert summary["method"].str.startswith("SEP ").sum() == len(summary) == 5
    (note,) = json.loads((tmp_path / "run" / "pairs" / "run.json").read_text())["notes"]
    assert "ProbaUNet is left out" in note


def test_real_galaxies(tmp_path, cosmos_dir):
    summary = compare_benchmark(
        tmp_path, "real", "sep", n_blends=3, cosmos_dir=cosmos_dir, report=False, progress=False
    )
    assert list(summary["set"]) == ["real"]
    assert 0.3 < summary["completeness"].iloc[0] < 1.0
    assert 0.5 < summary["purity"].iloc[0] <= 1.0


def test_more_real_galaxies(tmp_path, cosmos_dir):
    image = np.zeros((41, 41))
    image[15:26, 5:36] = 1.0
    path = write(tmp_path / "real.npz", [image] * 60, [str(i) for i in range(60)], scale=0.06)
    methods = {"SEP": "sep", "oracle": Oracle((0.9, 0.7))}
    output = tmp_path / "run"
    compare_benchmark(
        output, "real", methods, n_blends=20, cosmos_dir=cosmos_dir, real_galaxies=path,
        report=False, progress=False,
    )  # fmt: skip
    scenes = pd.read_csv(output / "benchmark_equal_purity.csv")
    objects = pd.read_csv(output / "benchmark_equal_purity_objects.csv")
    both = scenes[scenes["neighbours"] == "all"].iloc[0], objects.iloc[0]
    assert both[0]["margin"] == both[1]["margin"] and both[1]["detector"] == "oracle"
    assert both[0]["margin_lo"] != both[1]["margin_lo"]
