"""The hooks: what a run asks of deblenders, those of users and of BTK included."""

import re
from importlib import metadata

import btk.survey
import numpy as np
import pytest
from btk.deblend import Deblender, SepMultiBand, SepSingleBand

from btk_punet import (
    ProbaUNetDeblender,
    Scarlet2Deblender,
    SepDeblender,
    SourceExtractorDeblender,
    get_euclid_survey,
)
from btk_punet.deblending import base
from btk_punet.errors import InputError, InputTypeError

from .conftest import make_batch, needs_scarlet2, needs_source_extractor


class Plain(Deblender):
    """A user's class that knows of no hook."""

    def __init__(self, depth=3):
        super().__init__(10)
        self.depth = depth
        self._cache = "of no importance"

    def deblend(self, ii, blend_batch):
        raise AssertionError("nobody asked for this")


class Telling(Plain):
    """A user's class that has something to say to every hook."""

    warmed = 0

    @classmethod
    def availability(cls, survey):
        return f"It knows nothing of {survey.name}."

    def warm_up(self, blend_batch):
        self.warmed += 1

    def fingerprint(self):
        return {"depth": self.depth, "model": "a hash"}

    def versions(self):
        return {"program": "2.1"}

    def detection_band(self, survey):
        return np.int64(len(survey.available_filters) - 1)

    def told_scenes(self, generator):
        return Telling(depth=generator)


def test_a_class_without_hooks():
    lsst = btk.survey.get_surveys("LSST")
    plain = Plain()
    base.warm_up(plain, None)
    assert base.availability(Plain, lsst) == ""
    assert base.fingerprint(plain) == {"max_n_sources": 10, "depth": 3}
    assert base.versions(plain) == {}
    assert base.detection_band(plain, lsst) is None
    assert base.told_scenes(plain, None) is plain


def test_a_class_with_hooks():
    lsst = btk.survey.get_surveys("LSST")
    telling = Telling()
    base.warm_up(telling, None)
    assert telling.warmed == 1
    assert base.availability(Telling, lsst) == "It knows nothing of LSST."
    assert base.fingerprint(telling) == {"depth": 3, "model": "a hash"}
    assert base.versions(telling) == {"program": "2.1"}
    assert base.detection_band(telling, lsst) == 5
    assert base.told_scenes(telling, 7).depth == 7 and telling.depth == 3


def test_an_attribute_of_the_name_is_no_hook():
    plain = Plain()
    plain.versions = "of what it was trained on"
    assert base.versions(plain) == {}


def test_the_package_of_a_class_without_hooks_is_what_it_depends_on(monkeypatch):
    monkeypatch.setattr(Plain, "__module__", "astropy.detection")
    assert base.versions(Plain()) == {"astropy": metadata.version("astropy")}


@pytest.mark.parametrize(
    ("hook", "answer", "message"),
    [
        ("availability", False, "must return a string, which is empty if it runs, got False"),
        ("fingerprint", ["depth"], "must return a dict of parameters, got ['depth']"),
        ("versions", "2.1", "must return a dict of names and strings, got '2.1'"),
        ("versions", {"program": 2.1}, "must return a dict of names and strings, got {'program"),
        ("told_scenes", None, "must return a deblender, got None"),
        ("detection_band", "r", "must return the index of a band, got 'r'"),
    ],
)
def test_wrong_answer(monkeypatch, hook, answer, message):
    survey = get_euclid_survey()
    monkeypatch.setattr(Telling, hook, lambda *_: answer)
    ask = {
        "availability": lambda: base.availability(Telling, survey),
        "detection_band": lambda: base.detection_band(Telling(), survey),
        "told_scenes": lambda: base.told_scenes(Telling(), None),
    }
    with pytest.raises(InputTypeError, match=re.escape(f"Telling.{hook} {message}")):
        ask.get(hook, lambda: getattr(base, hook)(Telling()))()


def test_classes_of_btk():
    single = SepSingleBand(10, use_band=2)
    assert base.versions(single) == {}
    assert base.detection_band(single, btk.survey.get_surveys("LSST")) == 2
    with pytest.raises(InputError, match="SepSingleBand works in the band of index 2, and Euclid"):
        base.detection_band(single, get_euclid_survey())
    assert base.detection_band(SepMultiBand(10), get_euclid_survey()) is None
    assert base.class_path(single) == "btk.deblend.SepSingleBand"
    assert base.fingerprint(single)["thresh"] == 1.5


def test_parameters_and_versions():
    assert base.fingerprint(SepDeblender(7, thresh=2.0))["thresh"] == 2.0
    assert base.versions(SepDeblender(7)) == {}


@needs_source_extractor
def test_version_of_source_extractor():
    program = SourceExtractorDeblender(7)
    assert base.versions(program) == {"source-extractor": program.version()}


def test_weights_are_known_by_their_contents(tmp_path):
    def fingerprint(folder, content):
        folder.mkdir()
        for name in ("config.json", "model.weights.h5"):
            (folder / name).write_text(content)
        return base.fingerprint(ProbaUNetDeblender(7, folder, n_samples=3))

    first = fingerprint(tmp_path / "a", "one")
    assert first["n_samples"] == 3
    assert fingerprint(tmp_path / "b", "one") == first
    assert fingerprint(tmp_path / "c", "two")["weights"] != first["weights"]


def test_a_network_is_known_by_its_contents(network):
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    first, same = (base.fingerprint(ProbaUNetDeblender(7, given)) for given in (network, copy))
    assert first == same
    copy.set_weights([2 * weight for weight in network.get_weights()])
    assert base.fingerprint(ProbaUNetDeblender(7, copy)) != first
    assert set(base.versions(ProbaUNetDeblender(7, copy))) == {"keras", "tensorflow"}


@needs_scarlet2
def test_scarlet2_speaks_for_its_peaks():
    peaks = Telling()
    deblender = Scarlet2Deblender(10, peaks, max_iter=1)
    assert base.fingerprint(deblender)["peaks"] == {
        "class": "tests.deblending.test_base.Telling",
        "depth": 3,
        "model": "a hash",
    }
    assert set(base.versions(deblender)) == {"scarlet2", "jax", "program"}
    base.warm_up(deblender, make_batch(np.zeros((0, 8, 8))))
    assert peaks.warmed == 1
    assert base.fingerprint(Scarlet2Deblender(10))["peaks"] == "sep"
