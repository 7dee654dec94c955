"""Deblenders by name, with settings: ``sep:thresh=1.5,minarea=3``, ``probaunet:weights=FOLDER``."""

import inspect
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from btk import deblend
from btk.deblend import Deblender
from btk.survey import Survey

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.scarlet2 import Scarlet2Deblender
from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import InputError, InputTypeError, MissingProgramError
from btk_punet.model.weights import installed_presets

DEBLENDERS: dict[str, type[Deblender]] = {
    "sep": SepDeblender,
    "source-extractor": SourceExtractorDeblender,
    "probaunet": ProbaUNetDeblender,
    "scarlet2": Scarlet2Deblender,
    "btk-peak-local-max": deblend.PeakLocalMax,
    "btk-sep-single-band": deblend.SepSingleBand,
    "btk-sep-multi-band": deblend.SepMultiBand,
    "btk-scarlet": deblend.Scarlet,
}


# Settings whose value is a text, whatever it looks like.
_TEXT_SETTINGS = {"weights", "peaks", "galaxies"}
_PRESET = "euclid-vis"
_PRESET_BANDS = ["IE"]
_NO_SOURCE_EXTRACTOR = (
    "SExtractor is left out: the program source-extractor is not installed "
    "(apt-get install source-extractor)."
)


def default_deblenders(survey: Survey) -> tuple[list[str], list[str]]:
    """Return the methods of the default comparison that can run here, and why others cannot.

    Args:
        survey: What the images are of.

    Returns:
        Names of `DEBLENDERS`; and for each method that is left out a sentence that says so.
    """
    names, left_out = ["sep"], []
    if SourceExtractorDeblender.is_available():
        names.append("source-extractor")
    else:
        left_out.append(_NO_SOURCE_EXTRACTOR)
    why_not = why_no_probaunet(survey)
    if why_not:
        left_out.append(why_not)
    else:
        names.append("probaunet")
    return names, left_out


def why_no_probaunet(survey: Survey) -> str:
    """Return why the preset of `ProbaUNetDeblender` cannot be used on a survey; empty if it can."""
    bands = list(survey.available_filters)
    if bands != _PRESET_BANDS:
        return (
            f"ProbaUNet is left out: its preset is for the one band {_PRESET_BANDS[0]}, and this "
            f"survey has {', '.join(bands)}. Train a network on it (btk-punet train --survey) and "
            "name that: probaunet:weights=FOLDER."
        )
    if _PRESET not in installed_presets():
        return (
            f"ProbaUNet is left out: the weights of its preset {_PRESET!r} are not installed. "
            "Train a network (btk-punet train) and name it: probaunet:weights=FOLDER."
        )
    return ""


def choose_deblenders(
    choice: str | Deblender | Iterable[str | Deblender] | Mapping[str, str | Deblender],
    max_n_sources: int,
) -> dict[str, Deblender]:
    """Return deblenders by their names in tables.

    Args:
        choice: A dict of name and deblender; or one or several deblenders. Each is an instance or
            a name of `DEBLENDERS`, with settings after a colon
            (``"sep:thresh=1.5,deblend_cont=0.005"``).
        max_n_sources: Most sources in an image, for those that are given by name.

    Raises:
        InputError: for an unknown name or setting, the same name twice, or no deblender.
        InputTypeError: for something that is not a BTK deblender.
    """
    if isinstance(choice, Mapping):
        named = list(choice.items())
    elif isinstance(choice, Iterable) and not isinstance(choice, str):
        named = [(str(item), item) for item in choice]
    else:
        named = [(str(choice), choice)]
    chosen = {}
    for name, item in named:
        if name in chosen:
            raise InputError(
                f"The deblender {name!r} is given twice. To run two of the same class, give a dict "
                "of name and deblender."
            )
        chosen[name] = parse_deblender(item, max_n_sources) if isinstance(item, str) else item
    if not chosen:
        raise InputError(f"No deblender given: expected some of {list(DEBLENDERS)}.")
    for name, deblender in chosen.items():
        if not isinstance(deblender, Deblender):
            raise InputTypeError(
                f"{name!r} is not an instance of a btk.deblend.Deblender class but "
                f"{type(deblender).__name__}; expected for example SepDeblender(max_n_sources=20)."
            )
    return chosen


def parse_deblender(text: str, max_n_sources: int) -> Deblender:
    """Return the deblender that a text like ``sep:thresh=1.5,minarea=3`` names.

    Raises:
        InputError: for an unknown name or setting, or a value that is not a number, true or
            false (but for ``weights`` and ``peaks``, which are texts without a comma; that of
            ``peaks`` may name another deblender, as in ``scarlet2:peaks=probaunet``).
    """
    name, _, settings = text.partition(":")
    if name not in DEBLENDERS:
        raise InputError(f"Unknown deblender {name!r}: expected one of {list(DEBLENDERS)}.")
    kind = DEBLENDERS[name]
    known = set(inspect.signature(kind).parameters) - {"max_n_sources"}
    values: dict[str, str | float | int | bool | Deblender] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in known:
            raise InputError(f"{name!r} has no setting {key!r}: expected some of {sorted(known)}.")
        values[key] = value if key in _TEXT_SETTINGS else _number(value, setting)
    if name in ("btk-peak-local-max", "btk-sep-single-band") and "use_mean" not in values:
        values.setdefault("use_band", 0)
    peaks = values.get("peaks")
    if isinstance(peaks, str) and peaks in DEBLENDERS and peaks != "sep":
        values["peaks"] = parse_deblender(peaks, max_n_sources)
    missing = [
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.name not in {"max_n_sources", *values}
    ]
    if missing:
        raise InputError(
            f"{name!r} needs the setting(s) {missing}, as in "
            f"'{name}:{','.join(f'{key}=...' for key in missing)}'."
        )
    if kind is deblend.Scarlet and find_spec("scarlet") is None:
        raise MissingProgramError(
            f"{name!r} needs scarlet, which is not on PyPI: "
            'pip install "autograd<1.9" pybind11 peigen setuptools wheel, then '
            "pip install --no-build-isolation git+https://github.com/pmelchior/scarlet.git."
        )
    return kind(max_n_sources, **values)


def _number(text: str, setting: str) -> float | int | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InputError(f"Expected a number, true or false in {setting!r}, as in 'thresh=1.5'.")
