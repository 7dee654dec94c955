from importlib.util import find_spec

import btk.survey
import pytest
from btk.deblend import PeakLocalMax, SepSingleBand

from btk_punet import (
    ProbaUNetDeblender,
    Scarlet2Deblender,
    SepDeblender,
    SourceExtractorDeblender,
    get_euclid_survey,
)
from btk_punet.deblending.choices import choose_deblenders, default_deblenders
from btk_punet.errors import InputError, InputTypeError, MissingProgramError
from btk_punet.model import weights
from tests.test_package import run_python

from .conftest import needs_scarlet2, needs_source_extractor


@pytest.mark.parametrize("nothing", [[], {}, ()])
def test_no_deblender(nothing):
    with pytest.raises(InputError, match="No deblender given: expected some of"):
        choose_deblenders(nothing, 10)


def test_names_with_settings():
    chosen = choose_deblenders(["sep", "sep:thresh=1.5,minarea=3,deblend_cont=1e-4"], 10)
    first, second = chosen.values()
    assert list(chosen) == ["sep", "sep:thresh=1.5,minarea=3,deblend_cont=1e-4"]
    assert (first.max_n_sources, second.max_n_sources) == (10, 10)
    assert (second.thresh, second.minarea, second.deblend_cont) == (1.5, 3, 1e-4)
    assert isinstance(second.minarea, int)


def test_instances_and_dicts_are_taken_as_they_are():
    deblender = SepDeblender(7)
    assert choose_deblenders(deblender, 10) == {repr(deblender): deblender}
    assert choose_deblenders({"mine": deblender}, 10) == {"mine": deblender}
    assert choose_deblenders({"mine": "sep:thresh=3"}, 10)["mine"].thresh == 3


def test_btk_classes():
    chosen = choose_deblenders(["btk-sep-single-band", "btk-peak-local-max:sky_level=155.57"], 10)
    single, peaks = chosen.values()
    assert isinstance(single, SepSingleBand)
    assert single.use_band == 0
    assert isinstance(peaks, PeakLocalMax)
    assert peaks.sky_level == 155.57


def test_weights_are_a_text():
    chosen = choose_deblenders("probaunet:weights=runs/7,n_samples=4,threshold=0.3", 10)
    (deblender,) = chosen.values()
    assert isinstance(deblender, ProbaUNetDeblender)
    assert (deblender.weights, deblender.n_samples, deblender.threshold) == ("runs/7", 4, 0.3)
    assert choose_deblenders({"mine": "probaunet:weights=2026"}, 10)["mine"].weights == "2026"


@needs_scarlet2
def test_peaks_of_scarlet2():
    (deblender,) = choose_deblenders("scarlet2:peaks=truth,max_iter=50,k=2", 10).values()
    assert isinstance(deblender, Scarlet2Deblender)
    assert (deblender.max_n_sources, deblender.peaks) == (10, "truth")
    assert (deblender.max_iter, deblender.k) == (50, 2)
    assert choose_deblenders({"mine": "scarlet2"}, 10)["mine"].peaks == "sep"
    peaks = choose_deblenders({"mine": "scarlet2:peaks=probaunet"}, 7)["mine"].peaks
    assert isinstance(peaks, ProbaUNetDeblender)
    assert peaks.max_n_sources == 7


@needs_scarlet2
@needs_source_extractor
def test_peaks_of_source_extractor_for_scarlet2():
    (deblender,) = choose_deblenders("scarlet2:peaks=source-extractor", 10).values()
    assert isinstance(deblender.peaks, SourceExtractorDeblender)


def test_defaults_exist():
    names, _ = default_deblenders(get_euclid_survey())
    assert set(choose_deblenders(names, 10)) >= {"sep"}


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
        choose_deblenders("btk-scarlet", 10)


def test_choosing_loads_no_tensorflow():
    code = (
        "import sys; from btk_punet import get_euclid_survey; "
        "from btk_punet.deblending.choices import choose_deblenders, default_deblenders; "
        "default_deblenders(get_euclid_survey()); choose_deblenders('probaunet', 10); "
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    assert run_python(code) == "[]"


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
        (["sep", "sep"], InputError, "'sep' is given twice"),
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
        choose_deblenders(choice, 10)
