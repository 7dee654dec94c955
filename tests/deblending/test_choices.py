import sys
from importlib.util import find_spec

import btk.survey
import numpy as np
import pytest
from btk.deblend import PeakLocalMax, SepSingleBand

from btk_punet import (
    PhotutilsDeblender,
    ProbaUNetDeblender,
    Scarlet2Deblender,
    SepDeblender,
    SourceExtractorDeblender,
    get_euclid_survey,
)
from btk_punet.deblending.choices import choose_deblenders, default_deblenders
from btk_punet.deblending.registry import DEBLENDERS
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError, MissingProgramError
from btk_punet.model import weights
from tests.test_package import printed_by

from .conftest import gaussian, make_batch, needs_scarlet2, needs_source_extractor

EUCLID = get_euclid_survey()
LSST = btk.survey.get_surveys("LSST")


@pytest.mark.parametrize("nothing", [[], {}, ()])
def test_no_deblender(nothing):
    with pytest.raises(InputError, match="No deblender given: expected some of"):
        choose_deblenders(nothing, 10, EUCLID)


def test_names_with_settings():
    chosen = choose_deblenders(["sep", "sep:thresh=1.5,minarea=3,deblend_cont=1e-4"], 10, EUCLID)
    first, second = chosen.values()
    assert list(chosen) == ["sep", "sep:thresh=1.5,minarea=3,deblend_cont=1e-4"]
    assert (first.max_n_sources, second.max_n_sources) == (10, 10)
    assert (second.thresh, second.minarea, second.deblend_cont) == (1.5, 3, 1e-4)
    assert isinstance(second.minarea, int)


def test_instances_and_dicts_are_taken_as_they_are():
    deblender = SepDeblender(7)
    assert choose_deblenders(deblender, 10, EUCLID) == {repr(deblender): deblender}
    assert choose_deblenders({"mine": deblender}, 10, EUCLID) == {"mine": deblender}
    assert choose_deblenders({"mine": "sep:thresh=3"}, 10, EUCLID)["mine"].thresh == 3


def test_btk_classes():
    chosen = choose_deblenders(
        ["btk-sep-single-band", "btk-peak-local-max:sky_level=155.57"], 10, EUCLID
    )
    single, peaks = chosen.values()
    assert isinstance(single, SepSingleBand)
    assert single.use_band == 0
    assert isinstance(peaks, PeakLocalMax)
    assert peaks.sky_level == 155.57


def test_photutils():
    (deblender,) = choose_deblenders("photutils:thresh=2", 10, EUCLID).values()
    assert isinstance(deblender, PhotutilsDeblender)
    assert deblender.thresh == 2


@pytest.mark.parametrize("name", ["sep", "btk-sep-single-band", "btk-peak-local-max:sky_level=100"])
def test_names_work_in_the_reference_band(name):
    images = np.zeros((1, 6, 41, 41), np.float32)
    images[0, LSST.available_filters.index("i")] = gaussian(20.0, 12.0, 1e6, size=41)
    (deblender,) = choose_deblenders(name, 10, LSST).values()
    (catalog,) = deblender(make_batch(images, LSST)).catalog_list
    np.testing.assert_allclose(catalog["x_peak"], [20], atol=0.02)


@pytest.mark.parametrize(
    "choice", ["sep:use_band=u", "btk-sep-single-band:use_band=0", SepSingleBand(10, use_band=0)]
)
def test_another_band_than_the_truth(choice):
    with pytest.warns(BtkPunetWarning, match="works in the band u, and the truth of LSST is .* i:"):
        choose_deblenders(choice, 10, LSST)


def test_a_band_that_is_not_there():
    for choice, message in [
        ("sep:use_band=9", "use_band must be below 6"),
        ("sep:use_band=IE", "use_band must be the name of a band of LSST, got 'IE'"),
        (SepSingleBand(10, use_band=9), "works in the band of index 9, and LSST has 6"),
    ]:
        with pytest.raises(InputError, match=message):
            choose_deblenders(choice, 10, LSST)


def test_weights_are_a_text():
    chosen = choose_deblenders("probaunet:weights=runs/7,n_samples=4,threshold=0.3", 10, EUCLID)
    (deblender,) = chosen.values()
    assert isinstance(deblender, ProbaUNetDeblender)
    assert (deblender.weights, deblender.n_samples, deblender.threshold) == ("runs/7", 4, 0.3)
    assert (
        choose_deblenders({"mine": "probaunet:weights=2026"}, 10, EUCLID)["mine"].weights == "2026"
    )


@needs_scarlet2
def test_peaks_of_scarlet2():
    (deblender,) = choose_deblenders("scarlet2:peaks=truth,max_iter=50,k=2", 10, EUCLID).values()
    assert isinstance(deblender, Scarlet2Deblender)
    assert (deblender.max_n_sources, deblender.peaks) == (10, "truth")
    assert (deblender.max_iter, deblender.k) == (50, 2)
    assert choose_deblenders({"mine": "scarlet2"}, 10, EUCLID)["mine"].peaks == "sep"
    peaks = choose_deblenders({"mine": "scarlet2:peaks=probaunet"}, 7, EUCLID)["mine"].peaks
    assert isinstance(peaks, ProbaUNetDeblender)
    assert peaks.max_n_sources == 7


@needs_scarlet2
@needs_source_extractor
def test_peaks_of_source_extractor_for_scarlet2():
    (deblender,) = choose_deblenders("scarlet2:peaks=source-extractor", 10, EUCLID).values()
    assert isinstance(deblender.peaks, SourceExtractorDeblender)


def test_defaults_exist():
    names, _ = default_deblenders(get_euclid_survey())
    assert set(choose_deblenders(names, 10, EUCLID)) >= {"sep"}


def test_preset_is_used_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "PRESETS", tmp_path)
    names, left_out = default_deblenders(get_euclid_survey())
    assert "probaunet" not in names
    assert "ProbaUNet is left out: the weights of its preset 'euclid-vis'" in left_out[-1]

    (tmp_path / "euclid-vis").mkdir()
    for name in ("config.json", "model.weights.h5"):
        (tmp_path / "euclid-vis" / name).touch()
    names, left_out = default_deblenders(get_euclid_survey())
    assert names[-1] == "probaunet"
    assert not any("ProbaUNet" in note for note in left_out)

    names, left_out = default_deblenders(btk.survey.get_surveys("LSST"))
    assert "probaunet" not in names
    assert "its preset is for the one band IE, and this survey has" in left_out[-1]


@pytest.mark.skipif(find_spec("scarlet") is not None, reason="scarlet is installed")
def test_missing_scarlet_tells_how_to_get_it():
    with pytest.raises(MissingProgramError, match=r"pip install .*peigen.*scarlet\.git"):
        choose_deblenders("btk-scarlet", 10, EUCLID)


MINE = """
from btk.deblend import Deblender, PeakLocalMax

class Mine(Deblender):
    def __init__(self, max_n_sources, thresh=1.5, model: str = "a", size: "int | str" = 3):
        super().__init__(max_n_sources)
        self.thresh, self.model, self.size = thresh, model, size
        if thresh < 0:
            raise ValueError("thresh below 0")

    def deblend(self, ii, blend_batch):
        raise NotImplementedError

    class Open(PeakLocalMax):
        def __init__(self, **settings):
            super().__init__(5, 1.0, use_band=0)
            self.settings = settings

class HalfDone(Deblender):
    pass

def function(max_n_sources):
    pass
"""


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    """A package of a user's, with a module that works and one that does not."""
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "__init__.py").touch()
    (tmp_path / "my_pkg" / "detectors.py").write_text(MINE)
    (tmp_path / "my_pkg" / "broken.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_pkg.detectors"
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_pkg"]:
        del sys.modules[name]


def test_class_of_a_user(my_module):
    (name, mine), *_ = choose_deblenders(f"{my_module}:Mine", 10, EUCLID).items()
    assert name == "my_pkg.detectors:Mine"
    assert (mine.max_n_sources, mine.thresh, mine.model, mine.size) == (10, 1.5, "a", 3)
    text = f"{my_module}:Mine:thresh=2,model=1,size=large"
    (mine,) = choose_deblenders(text, 10, EUCLID).values()
    assert (mine.thresh, mine.model, mine.size) == (2, "1", "large")
    (mine,) = choose_deblenders(f"{my_module}:Mine:size=4", 10, EUCLID).values()
    assert mine.size == 4
    (inner,) = choose_deblenders(f"{my_module}:Mine.Open:depth=3,name=b", 10, EUCLID).values()
    assert inner.settings == {"depth": 3, "name": "b"}
    (btks,) = choose_deblenders("btk.deblend:SepSingleBand", 10, LSST).values()
    assert btks.use_band == LSST.available_filters.index("i")


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ("my_pkg.detectors", InputError, "class of your own is given as 'my_pkg.detectors:CLASS'"),
        ("my_pkg.nowhere:Mine", InputError, "No module 'my_pkg.nowhere' .*run in the folder that"),
        ("no_such.detectors:Mine", InputError, "No module 'no_such.detectors' for the deblender"),
        (
            "my_pkg.broken:Mine",
            InputError,
            "'my_pkg.broken:Mine' cannot be imported: ModuleNotFoundError: .*no_such_package",
        ),
        ("my_pkg.detectors:Yours", InputError, r"no 'Yours': its deblenders are .*'Mine'\]"),
        ("my_pkg.detectors:function", InputTypeError, "btk.deblend.Deblender, got an instance of"),
        ("my_pkg.detectors:Mine.__name__", InputTypeError, "got an instance of str"),
        ("pathlib:Path", InputTypeError, "must be a subclass of btk.deblend.Deblender, got Path"),
        ("my_pkg.detectors:HalfDone", InputTypeError, r"is abstract: it must define \['deblend'"),
        ("my_pkg.detectors:Mine:tresh=1", InputError, r"no setting 'tresh': expected some of \['m"),
        ("my_pkg.detectors:Mine:thresh=-1", InputError, "cannot be made: ValueError: thresh below"),
        ("my_pkg.detectors:Mine:thresh=x", InputError, "Expected a number, true or false in 'thr"),
        ("my_pkg.detectors:Mine.Open:max_n_sources=3", InputError, "no setting 'max_n_sources'"),
        (
            "my pkg:Mine",
            InputError,
            "'my pkg:Mine' names no class: expected one of .* MODULE:CLASS",
        ),
    ],
)
def test_bad_class_of_a_user(my_module, choice, error, message):
    with pytest.raises(error, match=message):
        choose_deblenders(choice, 10, EUCLID)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", InputError, "must be one line of visible text, got ''"),
        (" ", InputError, "must be one line of visible text, got ' '"),
        ("two\nlines", InputError, "must be one line of visible text"),
        (b"sep", InputTypeError, "must be a string, got b'sep' .bytes"),
        (3, InputTypeError, "must be a string, got 3 .int"),
    ],
)
def test_what_cannot_be_a_name(name, error, message):
    with pytest.raises(error, match=message):
        choose_deblenders({name: "sep"}, 10, EUCLID)


def test_what_can_be_a_name():
    names = ["$x_1$", "a = b", "50% <b>&", "Größe"]
    assert list(choose_deblenders(dict.fromkeys(names, "sep"), 10, EUCLID)) == names


def test_choosing_loads_nothing_that_was_not_chosen():
    code = (
        "import sys; from btk_punet.deblending.choices import choose_deblenders; "
        "from btk_punet.simulation.survey import get_euclid_survey; "
        "choose_deblenders('sep', 10, get_euclid_survey()); heavy = "
        "('tensorflow', 'keras', 'jax', 'scarlet2', 'photutils', 'btk_punet.deblending.deblender');"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert printed_by(code) == "[]"


def test_registered_classes_are_there():
    for path in DEBLENDERS.values():
        module, _, name = path.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_choosing_loads_no_tensorflow():
    code = (
        "import sys; from btk_punet import get_euclid_survey; "
        "from btk_punet.deblending.choices import choose_deblenders, default_deblenders; "
        "survey = get_euclid_survey(); default_deblenders(survey); "
        "choose_deblenders('probaunet', 10, survey); "
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    assert printed_by(code) == "[]"


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        (SepDeblender, InputTypeError, "but ABCMeta; expected for example SepDeblender"),
        ("scarlet2:peaks=me", InputError, "peaks must be 'sep', 'truth' or a deblender, got 'me'"),
        ("scarlett", InputError, "Unknown deblender 'scarlett': expected one of .*'sep'"),
        (
            "sep:treshold=1",
            InputError,
            r"'sep' has no setting 'treshold': expected some of .*thresh",
        ),
        ("sep:thresh=high", InputError, "Expected a number, true or false in 'thresh=high'"),
        ("sep:thresh", InputError, "Expected KEY=VALUE in 'thresh' of 'sep'"),
        ("sep:thresh=1,thresh=2", InputError, "'sep' has the setting 'thresh' twice"),
        ("btk-sep-single-band:use_mean=false", InputError, "cannot be made: ValueError: Either"),
        (["sep", "sep"], InputError, "'sep' is given twice"),
        (b"sep", InputTypeError, "is not an instance of .* but bytes"),
        ("btk-peak-local-max", InputError, r"needs the setting\(s\) \['sky_level'\]"),
        (
            {"mine": object()},
            InputTypeError,
            "'mine' is not an instance of .* but object",
        ),
    ],
)
def test_bad_choice(choice, error, message):
    with pytest.raises(error, match=message):
        choose_deblenders(choice, 10, EUCLID)
