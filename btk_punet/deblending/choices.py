"""Deblenders by name, with settings: ``sep:thresh=1.5,minarea=3``."""

import inspect
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from btk import deblend
from btk.deblend import Deblender

from btk_punet.deblending.sep import SepDeblender
from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import InputError, InputTypeError, MissingProgramError

DEBLENDERS: dict[str, type[Deblender]] = {
    "sep": SepDeblender,
    "source-extractor": SourceExtractorDeblender,
    "btk-peak-local-max": deblend.PeakLocalMax,
    "btk-sep-single-band": deblend.SepSingleBand,
    "btk-sep-multi-band": deblend.SepMultiBand,
    "btk-scarlet": deblend.Scarlet,
}


def default_deblenders() -> list[str]:
    """Return the names of the methods of the default comparison that can run here."""
    names = ["sep"]
    if SourceExtractorDeblender.is_available():
        names.append("source-extractor")
    return names


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
            false.
    """
    name, _, settings = text.partition(":")
    if name not in DEBLENDERS:
        raise InputError(f"Unknown deblender {name!r}: expected one of {list(DEBLENDERS)}.")
    kind = DEBLENDERS[name]
    known = set(inspect.signature(kind).parameters) - {"max_n_sources"}
    values = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in known:
            raise InputError(f"{name!r} has no setting {key!r}: expected some of {sorted(known)}.")
        values[key] = _number(value, setting)
    if name in ("btk-peak-local-max", "btk-sep-single-band") and "use_mean" not in values:
        values.setdefault("use_band", 0)
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
            f"{name!r} needs scarlet, which is not on PyPI: install it from its repository, "
            "github.com/pmelchior/scarlet, with autograd<1.9."
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
