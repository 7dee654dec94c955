"""MeasureGenerator: what it yields, what it saves, and what it does when something fails."""

import itertools
import os
import warnings

import numpy as np
import pytest
from btk.blend_batch import BlendBatch, DeblendBatch, DeblendExample
from btk.catalog import CatsimCatalog, CosmosCatalog
from btk.deblend import (
    Deblender,
    DeblendGenerator,
    PeakLocalMax,
    SepMultiBand,
    SepSingleBand,
)
from btk.draw_blends import CatsimGenerator, CosmosGenerator
from btk.match import PixelHungarianMatcher
from btk.metrics.detection import Precision, Recall
from btk.metrics.segmentation import IoU
from btk.survey import get_surveys

from btk_punet.deblending.measure import MOST_DRAWING_FAILURES, MeasureGenerator
from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.deblending.storage import MeasuredBatches
from btk_punet.errors import (
    BatchFailedError,
    BtkPunetWarning,
    InputError,
    InputTypeError,
    RunExistsError,
)
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator, RealGalaxyGenerator
from btk_punet.simulation.sampling import EuclidGroupSampling
from btk_punet.simulation.survey import get_euclid_survey

from .conftest import SIGMA, make_batch, needs_source_extractor, random_scenes
from .equal import assert_equal

MAX_N_SOURCES = 40


# BTK 1.0.9 seeds GalSim with an array of one number.
btk_seeds_with_arrays = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0")


class Uncertain(Deblender):
    """Gives maps and tables in extra_data, as probabilistic deblenders do."""

    def deblend(self, ii, blend_batch):
        found = SepDeblender(self.max_n_sources).deblend(ii, blend_batch)
        image = blend_batch.blend_images[ii, 0]
        shape = (self.max_n_sources, 1, *image.shape)
        found.deblended_images = np.zeros(shape, np.float32)
        found.extra_data = {
            "class_probability": np.stack([image, image, image]).clip(0, 1).astype(np.float32),
            "count_posterior": np.linspace(0, 1, self.max_n_sources + 1),
            "candidates": found.catalog[:2],
            "notes": {"seed": ii, "threshold": 0.5, "mask": None},
        }
        return found


class FailsOn(Deblender):
    """Finds nothing, and raises on some of the batches that it is given."""

    def __init__(self, calls, error=RuntimeError):
        super().__init__(max_n_sources=5)
        self.calls, self.error, self.count = calls, error, itertools.count()

    def batch_call(self, blend_batch, njobs=1):
        if next(self.count) in self.calls:
            raise self.error("the network lost its weights")
        catalogs = [catalog[:0] for catalog in blend_batch.catalog_list]
        return DeblendBatch(blend_batch.batch_size, self.max_n_sources, catalogs)

    def deblend(self, ii, blend_batch):
        raise NotImplementedError


class FailsToDraw(EuclidGenerator):
    """Raises on some batches."""

    fails: tuple[int, ...] = ()

    def draw_batch(self, batch_number, size=None):
        if batch_number in self.fails:
            raise ValueError("a galaxy without a size")
        return super().draw_batch(batch_number, size)


@pytest.fixture(scope="module")
def catalog():
    return EuclidCatalog.simulate(300, seed=3)


def make_generator(catalog, kind=EuclidGenerator, **options):
    options = {"batch_size": 2, "seed": 7} | options
    return kind(catalog, EuclidGroupSampling(3.2, seed=5), get_euclid_survey(), **options)


@pytest.fixture
def generator(catalog):
    return make_generator(catalog)


def assert_same_results(one, two):
    assert_equal(one[0], two[0], "blends")
    assert_equal(one[1], two[1], "deblended")


# What it yields


def test_no_batches(tmp_path):
    measured = MeasureGenerator(SepDeblender(5), iter([]), save_path=tmp_path / "run")
    assert list(measured) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_deblenders_are_told_of_the_scenes(generator):
    class Told(SepDeblender):
        def told_scenes(self, generator):
            return SepDeblender(self.max_n_sources, thresh=generator.seed)

    given = {"told": Told(5), "plain": SepDeblender(5)}
    measured = MeasureGenerator(given, generator)
    assert measured.deblenders["told"].thresh == generator.seed == 7
    assert measured.deblenders["plain"] is given["plain"]


def test_batch_without_images():
    batch = make_batch(np.zeros((0, 32, 32)))
    ((blends, deblended),) = MeasureGenerator(SepDeblender(5), [batch])
    assert blends is batch
    assert deblended["SepDeblender"].catalog_list == []


def test_yields_what_btks_generator_yields(catalog):
    def deblenders():
        return [PeakLocalMax(MAX_N_SOURCES, SIGMA**2, use_band=0), SepDeblender(MAX_N_SOURCES)]

    ours = MeasureGenerator(deblenders(), make_generator(catalog))
    btks = DeblendGenerator(deblenders(), make_generator(catalog))
    for one, two in itertools.islice(zip(ours, btks, strict=True), 2):
        assert_equal(one[0], two[0])
        for a, b in zip(one[1].values(), two[1].values(), strict=True):
            assert_equal(a, b)
    assert ours.batch_size == 2


def test_nothing_is_drawn_before_it_is_asked_for(generator):
    measured = MeasureGenerator(SepDeblender(MAX_N_SOURCES), generator)
    assert iter(measured) is measured
    assert generator.batch_number == 0
    next(measured)
    assert generator.batch_number == 1


class Warns(FailsOn):
    """Warns of what it finds."""

    def batch_call(self, blend_batch, njobs=1):
        warnings.warn(f"{os.getpid()} found it", BtkPunetWarning, stacklevel=1)
        return super().batch_call(blend_batch, njobs)


def test_workers_measure_the_same_in_the_same_order(catalog):
    methods = {"sep": SepDeblender(MAX_N_SOURCES), "own": Uncertain(MAX_N_SOURCES)}
    one, two = (make_generator(catalog) for _ in range(2))
    plain, ahead = MeasureGenerator(methods, one), MeasureGenerator(methods, two, njobs=2)
    for number in range(4):
        if number == 3:
            one.batch_number = two.batch_number = 1  # set back
        (batch, found), (same_batch, same_found) = next(plain), next(ahead)
        assert one.batch_number == two.batch_number == (2 if number == 3 else number + 1)
        np.testing.assert_array_equal(batch.blend_images, same_batch.blend_images)
        np.testing.assert_array_equal(batch.isolated_images, same_batch.isolated_images)
        assert_same_results((batch, found), (same_batch, same_found))


def test_workers_take_batches_of_any_kind_and_failures_of_either():
    batches = [make_batch(np.full((1, 32, 32), value)) for value in (1.0, 2.0, 3.0)]
    methods = {"bad": FailsOn({0}), "good": Warns(())}
    measured = MeasureGenerator(methods, batches, njobs=2, on_error="warn")
    with pytest.warns(BtkPunetWarning) as caught:
        found = list(measured)
    assert [batch.blend_images[0, 0, 0, 0] for batch, _ in found] == [1.0, 2.0, 3.0]
    said = [str(warning.message) for warning in caught]
    # Each worker has a deblender of its own, which fails on the first batch that it gets.
    assert 1 <= sum("bad is left out" in text for text in said) <= 2
    own = [text for text in said if text.endswith("found it")]
    assert len(own) == 3 and not any(str(os.getpid()) in text for text in own)
    assert all(warning.filename == __file__ for warning in caught)
    with pytest.raises(InputTypeError, match="must give btk BlendBatch objects, got"):
        next(MeasureGenerator(FailsOn(()), [None], njobs=2))
    with pytest.raises(BatchFailedError, match="Batch 0 failed in the generator: ZeroDivisionErr"):
        next(MeasureGenerator(FailsOn(()), (1 / 0 for _ in range(2)), njobs=2))


def test_verbose(generator, capsys):
    deblender = SepDeblender(MAX_N_SOURCES)
    next(MeasureGenerator(deblender, generator))
    assert capsys.readouterr().out == ""
    next(MeasureGenerator(deblender, generator, verbose=True))
    assert capsys.readouterr().out.startswith("Batch 1: 2 blends, SepDeblender 0.")


def test_btks_metrics_take_what_it_yields(generator, tmp_path):
    measured = MeasureGenerator(SepSingleBand(generator.max_number, use_band=0), generator)
    measured.save_path = tmp_path
    for blends, deblended in (next(measured), MeasureGenerator.load(tmp_path)[0]):
        found = deblended["SepSingleBand"]
        matching = PixelHungarianMatcher(3.0)(blends.catalog_list, found.catalog_list)
        n_true = [len(catalog) for catalog in blends.catalog_list]
        np.testing.assert_array_equal(matching.n_true, n_true)
        assert 0 < Recall(2)(matching.tp, matching.t, matching.p) <= 1
        assert 0 < Precision(2)(matching.tp, matching.t, matching.p) <= 1
        truth = blends.isolated_images[:, :, 0] > SIGMA
        matched = (
            matching.match_true_arrays(truth).astype(bool),
            matching.match_pred_arrays(found.segmentation).astype(bool),
        )
        assert 0 < IoU(2)(*matched) < 1


# Names


@pytest.mark.parametrize(
    ("deblenders", "names"),
    [
        (SepDeblender(5), ["SepDeblender"]),
        ((SepDeblender(5),), ["SepDeblender"]),
        ([SepDeblender(5), SepMultiBand(5)], ["SepDeblender", "SepMultiBand"]),
        (
            [SepMultiBand(5), SepDeblender(5), SepMultiBand(6)],
            ["SepMultiBand_0", "SepDeblender", "SepMultiBand_1"],
        ),
        ({"b": SepDeblender(5), "a": SepDeblender(6)}, ["b", "a"]),
    ],
)
def test_names(deblenders, names):
    measured = MeasureGenerator(deblenders, [make_batch(np.zeros((1, 32, 32)))])
    assert measured.deblender_names == names
    # BTK's own cannot take an image without noise.
    if "SepMultiBand" not in "".join(names):
        assert list(next(measured)[1]) == names


# Input that cannot be used


@pytest.mark.parametrize("none", [[], (), {}])
def test_no_deblender(none):
    with pytest.raises(InputError, match="No deblender given"):
        MeasureGenerator(none, [])


@pytest.mark.parametrize(
    ("deblenders", "message"),
    [
        (SepDeblender, r"got the class SepDeblender: give SepDeblender\(...\)"),
        ("sep", "Expected instances of btk.deblend.Deblender, got str"),
        ([SepDeblender(5), 3], "Expected instances of btk.deblend.Deblender, got int"),
        ({1: SepDeblender(5)}, "name of a deblender must be a string, got 1 .int"),
    ],
)
def test_deblenders_of_another_type(deblenders, message):
    with pytest.raises(InputTypeError, match=message):
        MeasureGenerator(deblenders, [])


def test_two_deblenders_that_get_one_name():
    numbered = type("SepDeblender_1", (SepDeblender,), {})
    with pytest.raises(InputError, match="Two deblenders get one name .* give a dict of names"):
        MeasureGenerator([SepDeblender(5), SepDeblender(5), numbered(5)], [])


@pytest.mark.parametrize("generator", [EuclidGenerator, None, 3])
def test_generator_of_another_type(generator):
    with pytest.raises(InputTypeError, match="draw_blend_generator must be a BTK generator"):
        MeasureGenerator(SepDeblender(5), generator)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"njobs": 0}, InputError, "njobs must be at least 1, got 0"),
        ({"njobs": 1.5}, InputTypeError, "njobs must be a whole number, got 1.5"),
        ({"njobs": True}, InputTypeError, "njobs must be a whole number, got True"),
        ({"on_error": "skip"}, InputError, "on_error must be 'raise' or 'warn', got 'skip'"),
        ({"save_path": 3}, InputTypeError, "save_path must be the path of a folder or None"),
    ],
)
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        MeasureGenerator(SepDeblender(5), [], **options)


def test_several_surveys(catalog):
    surveys = [get_euclid_survey(), get_euclid_survey(1)]
    surveys[1].name = "one exposure"
    generator = EuclidGenerator(catalog, EuclidGroupSampling(3.2), surveys, batch_size=1)
    with pytest.raises(InputError, match="Expected blends of one survey, got 2"):
        MeasureGenerator(SepDeblender(5), generator)
    measured = MeasureGenerator(SepDeblender(5), (batch for batch in generator))
    with pytest.raises(InputError, match="Expected blends of one survey, got 2"):
        next(measured)


def test_something_else_than_blends():
    with pytest.raises(InputTypeError, match="must give btk BlendBatch objects, got ndarray"):
        next(MeasureGenerator(SepDeblender(5), [np.zeros((2, 1, 32, 32))]))


# Saved and loaded


DEBLENDERS = [
    pytest.param(lambda: SepDeblender(MAX_N_SOURCES), id="SepDeblender"),
    pytest.param(lambda: Uncertain(MAX_N_SOURCES), id="extra_data"),
    pytest.param(lambda: PeakLocalMax(MAX_N_SOURCES, SIGMA**2, use_band=0), id="PeakLocalMax"),
    pytest.param(lambda: SepSingleBand(MAX_N_SOURCES, use_band=0), id="SepSingleBand"),
    pytest.param(lambda: SepMultiBand(MAX_N_SOURCES), id="SepMultiBand"),
    pytest.param(
        lambda: SourceExtractorDeblender(MAX_N_SOURCES),
        id="SourceExtractorDeblender",
        marks=needs_source_extractor,
    ),
]


@pytest.mark.parametrize("make", DEBLENDERS)
def test_load_is_equal_for_every_deblender(make, catalog, tmp_path):
    measured = MeasureGenerator(make(), make_generator(catalog), save_path=tmp_path)
    results = [next(measured), next(measured)]
    loaded = MeasureGenerator.load(tmp_path)
    assert len(loaded) == 2
    for one, two in zip(results, loaded, strict=True):
        assert_same_results(one, two)
    assert any(len(found) for _, d in results for m in d.values() for found in m.catalog_list)


@btk_seeds_with_arrays
def test_load_is_equal_for_btks_catsim_generator(catalog, tmp_path):
    generator = CatsimGenerator(
        CatsimCatalog(catalog.table), EuclidGroupSampling(3.2), get_surveys("Euclid_VIS"), 2
    )
    result = next(MeasureGenerator(SepDeblender(5), generator, save_path=tmp_path))
    assert_same_results(MeasureGenerator.load(tmp_path)[0], result)


@btk_seeds_with_arrays
@pytest.mark.parametrize("kind", [RealGalaxyGenerator, CosmosGenerator])
def test_load_is_equal_for_real_galaxies(kind, cosmos_dir, tmp_path):
    stem = "real_galaxy_catalog_26_example"
    files = [str(cosmos_dir / f"{stem}{end}.fits") for end in ("", "_fits")]
    generator = kind(
        CosmosCatalog.from_file(files, exclusion_level="none"),
        EuclidGroupSampling(4.0, max_number=2, mag_name="MAG", max_mag=26.1),
        get_euclid_survey(),
        batch_size=2,
    )
    result = next(MeasureGenerator(Uncertain(MAX_N_SOURCES), generator, save_path=tmp_path))
    assert_same_results(MeasureGenerator.load(tmp_path)[0], result)


def test_loaded_batches_are_a_sequence_read_one_by_one(tmp_path):
    batches = [make_batch(scene[None]) for scene in random_scenes(4, seed=2, size=32)]
    results = list(MeasureGenerator(SepDeblender(9), batches, save_path=tmp_path))
    loaded = MeasureGenerator.load(str(tmp_path))
    assert len(loaded) == 4
    assert loaded.batch_numbers == [0, 1, 2, 3]
    assert_same_results(loaded[-1], results[-1])
    part = loaded[1:3]
    assert isinstance(part, MeasuredBatches)
    assert part.batch_numbers == [1, 2]
    with pytest.raises(IndexError):
        loaded[4]
    # Reading is lazy: a damaged batch hurts nobody who does not read it.
    loaded.paths[2].write_bytes(b"not a batch")
    assert_same_results(loaded[3], results[3])
    assert len(list(itertools.islice(loaded, 2))) == 2
    with pytest.raises(InputError, match=r"batch_000002.h5' is damaged"):
        loaded[2]


def test_loaded_batches_can_be_measured_again(tmp_path):
    batches = [make_batch(random_scenes(2, seed=4, size=32))]
    first = next(MeasureGenerator(SepDeblender(9), batches, save_path=tmp_path / "one"))
    blends = (batch for batch, _ in MeasureGenerator.load(tmp_path / "one"))
    second = next(MeasureGenerator(SepDeblender(9), blends, save_path=tmp_path / "two"))
    assert_same_results(second, first)
    assert_same_results(MeasureGenerator.load(tmp_path / "two")[0], first)


def test_load_where_nothing_is(tmp_path):
    with pytest.raises(InputError, match="is not a folder: expected the save_path"):
        MeasureGenerator.load(tmp_path / "missing")
    (tmp_path / "blend_0.hdf5").touch()
    with pytest.raises(InputError, match="holds no batch_000000.h5 or the like"):
        MeasureGenerator.load(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        MeasureGenerator.load(tmp_path / "blend_0.hdf5")


# Runs that stop and go on


def test_a_killed_run_leaves_whole_batches_only(tmp_path):
    batches = [make_batch(np.zeros((1, 32, 32)))] * 3
    killed = FailsOn({1}, error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        list(MeasureGenerator(killed, batches, save_path=tmp_path))
    # What a kill in the middle of writing would leave, under its temporary name.
    whole = (tmp_path / "batch_000000.h5").read_bytes()
    (tmp_path / ".batch_000001.h5.4711.part").write_bytes(whole[: len(whole) // 2])
    assert len(list(MeasureGenerator.load(tmp_path))) == 1


def test_a_run_goes_on_with_first_batch(catalog, tmp_path):
    deblender = SepDeblender(MAX_N_SOURCES)
    once = MeasureGenerator(deblender, make_generator(catalog), save_path=tmp_path / "once")
    results = [next(once), next(once)]
    next(MeasureGenerator(deblender, make_generator(catalog), save_path=tmp_path / "twice"))
    rest = make_generator(catalog, first_batch=1)
    next(MeasureGenerator(deblender, rest, save_path=tmp_path / "twice"))
    loaded = MeasureGenerator.load(tmp_path / "twice")
    assert loaded.batch_numbers == [0, 1]
    for one, two in zip(loaded, results, strict=True):
        assert_same_results(one, two)


def test_batches_are_not_overwritten_unless_asked_to(tmp_path):
    batches = [make_batch(np.zeros((1, 32, 32)))] * 3
    list(MeasureGenerator(SepDeblender(5), batches, save_path=tmp_path))
    with pytest.raises(RunExistsError, match=r"holds 3 batch.*Choose another save_path.*overwrite"):
        MeasureGenerator(SepDeblender(5), batches, save_path=tmp_path)
    measured = MeasureGenerator(
        {"other": SepDeblender(5)}, batches, save_path=tmp_path, overwrite=True
    )
    assert len(MeasureGenerator.load(tmp_path)) == 3  # nothing is lost before something is new
    next(measured)
    ((_, deblended),) = MeasureGenerator.load(tmp_path)
    assert list(deblended) == ["other"]
    next(measured)
    assert len(MeasureGenerator.load(tmp_path)) == 2


def test_a_generator_that_was_set_back_overwrites_nothing(generator, tmp_path):
    measured = MeasureGenerator(FailsOn(()), generator, save_path=tmp_path)
    next(measured)
    before = (tmp_path / "batch_000000.h5").read_bytes()
    generator.batch_number = 0
    with pytest.raises(RunExistsError, match="holds 1 batch.*may be overwritten .batch_000000"):
        next(measured)
    assert (tmp_path / "batch_000000.h5").read_bytes() == before


def test_what_cannot_be_saved_overwrites_nothing(generator, tmp_path):
    next(MeasureGenerator(FailsOn(()), [make_batch(np.zeros((1, 32, 32)))], save_path=tmp_path))
    before = (tmp_path / "batch_000000.h5").read_bytes()

    class Unsaved(Uncertain):
        def deblend(self, ii, blend_batch):
            found = super().deblend(ii, blend_batch)
            found.extra_data["model"] = self
            return found

    measured = MeasureGenerator(
        Unsaved(MAX_N_SOURCES), generator, save_path=tmp_path, overwrite=True
    )
    message = r"methods\['Unsaved'\]\['extra_data'\]\[0\]\['model'\] is a .*Unsaved, which cannot"
    with pytest.raises(InputTypeError, match=message):
        next(measured)
    assert (tmp_path / "batch_000000.h5").read_bytes() == before


def test_two_runs_share_the_batches_of_a_folder(catalog, tmp_path):
    parts = [make_generator(catalog, first_batch=first) for first in (0, 1)]
    runs = [MeasureGenerator(FailsOn(()), part, save_path=tmp_path) for part in parts]
    next(runs[1])
    next(runs[0])
    assert MeasureGenerator.load(tmp_path).batch_numbers == [0, 1]
    with pytest.raises(RunExistsError, match="may be overwritten .batch_000001"):
        next(runs[0])


def test_overwriting_keeps_the_batches_before(catalog, tmp_path):
    measured = MeasureGenerator(FailsOn(()), make_generator(catalog), save_path=tmp_path)
    for _ in range(3):
        next(measured)
    again = make_generator(catalog, first_batch=1)
    next(MeasureGenerator(FailsOn(()), again, save_path=tmp_path, overwrite=True))
    assert MeasureGenerator.load(tmp_path).batch_numbers == [0, 1]


def test_save_path_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunExistsError, match="is a file: give the path of a folder"):
        MeasureGenerator(SepDeblender(5), [], save_path=tmp_path / "file")


# Failures


def test_a_failing_method_is_reported_with_its_seeds(generator, tmp_path):
    measured = MeasureGenerator(
        {"good": SepDeblender(MAX_N_SOURCES), "bad": FailsOn({1})}, generator, save_path=tmp_path
    )
    next(measured)
    message = (
        r"Batch 1 failed in bad: RuntimeError: the network lost its weights -- Draw it again with "
        r"draw_batch\(1\) of the same EuclidGenerator \(scenes 2 to 3, seed 7, seed of the "
        r"sampling function 5\)\. The batches that were done are in '.*'"
    )
    with pytest.raises(BatchFailedError, match=message) as caught:
        next(measured)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert len(MeasureGenerator.load(tmp_path)) == 1
    # The batch can be drawn again as the message says, and the run can go on after it.
    assert isinstance(generator.draw_batch(1), BlendBatch)
    assert set(next(measured)[1]) == {"good", "bad"}
    assert MeasureGenerator.load(tmp_path).batch_numbers == [0, 2]


def test_the_run_goes_on_without_a_failing_method_if_asked_to(generator, tmp_path):
    measured = MeasureGenerator(
        {"bad": FailsOn({1}), "good": SepDeblender(MAX_N_SOURCES)},
        generator,
        save_path=tmp_path,
        on_error="warn",
    )
    results = [next(measured)]
    with pytest.warns(BtkPunetWarning, match=r"Batch 1 failed in bad.*bad is left out\.") as caught:
        results.append(next(measured))
    assert caught[0].filename == __file__
    results.append(next(measured))
    assert [list(found) for _, found in results] == [["bad", "good"], ["good"], ["bad", "good"]]
    for one, two in zip(MeasureGenerator.load(tmp_path), results, strict=True):
        assert_same_results(one, two)


class ReturnsExamples(FailsOn):
    def batch_call(self, blend_batch, njobs=1):
        return [DeblendExample(5, catalog[:0]) for catalog in blend_batch.catalog_list]


def test_a_method_that_returns_something_else():
    batch = make_batch(np.zeros((1, 32, 32)))
    with pytest.raises(
        BatchFailedError, match="ReturnsExamples must return a DeblendBatch, got list"
    ):
        next(MeasureGenerator(ReturnsExamples(()), [batch]))


@btk_seeds_with_arrays
def test_the_seed_of_btks_generator(catalog):
    generator = CatsimGenerator(
        CatsimCatalog(catalog.table),
        EuclidGroupSampling(3.2, seed=5),
        get_surveys("Euclid_VIS"),
        batch_size=1,
        seed=9,
    )
    measured = MeasureGenerator(FailsOn({1}), generator)
    next(measured)
    message = (
        r"make the same CatsimGenerator again \(seed 9, seed of the sampling function 5\) and take "
        "its batch 1, counted from 0"
    )
    with pytest.raises(BatchFailedError, match=message):
        next(measured)


def test_a_batch_that_cannot_be_drawn(catalog, tmp_path):
    generator = make_generator(catalog, FailsToDraw)
    generator.fails = (1,)
    measured = MeasureGenerator(FailsOn(()), generator, save_path=tmp_path)
    next(measured)
    message = r"Batch 1 failed in the generator: ValueError: a galaxy without.*draw_batch\(1\)"
    with pytest.raises(BatchFailedError, match=message):
        next(measured)
    next(measured)
    assert MeasureGenerator.load(tmp_path).batch_numbers == [0, 2]


def test_batches_that_cannot_be_drawn_are_left_out_if_asked_to(catalog, tmp_path):
    generator = make_generator(catalog, FailsToDraw)
    generator.fails = (1, 2)
    measured = MeasureGenerator(FailsOn(()), generator, save_path=tmp_path, on_error="warn")
    next(measured)
    with pytest.warns(
        BtkPunetWarning, match="failed in the generator.*The batch is left"
    ) as caught:
        next(measured)
    assert [str(warning.message)[:8] for warning in caught] == ["Batch 1 ", "Batch 2 "]
    assert caught[0].filename == __file__
    assert MeasureGenerator.load(tmp_path).batch_numbers == [0, 3]


def test_drawing_that_never_works_ends(catalog):
    generator = make_generator(catalog, FailsToDraw)
    generator.fails = tuple(range(100))
    measured = MeasureGenerator(FailsOn(()), generator, on_error="warn")
    message = f"It is number {MOST_DRAWING_FAILURES} in a row that cannot be drawn"
    with (
        pytest.warns(BtkPunetWarning, match="failed in the generator"),
        pytest.raises(BatchFailedError, match=message),
    ):
        next(measured)
    assert generator.batch_number == MOST_DRAWING_FAILURES


def test_an_iterable_that_fails():
    def batches():
        yield make_batch(np.zeros((1, 32, 32)))
        raise OSError("the disk is gone")

    measured = MeasureGenerator(SepDeblender(5), batches())
    next(measured)
    message = "Batch 1 failed in the generator: OSError.*It is batch 1, counted from 0, of a gen"
    with pytest.raises(BatchFailedError, match=message):
        next(measured)
    with pytest.raises(StopIteration):
        next(measured)
