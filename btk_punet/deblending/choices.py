"""Deblenders by name, with settings: ``sep:thresh=1.5,minarea=3``, ``my_package.detectors:Mine``.

A name is one of `DEBLENDERS`, or ``module:Class`` for a class of one's own.
"""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import Any

from btk.deblend import Deblender
from btk.survey import Survey

from btk_punet.deblending.base import availability, check_name, detection_band
from btk_punet.deblending.registry import DEBLENDERS, DEFAULTS, NEEDED_PACKAGES
from btk_punet.deblending.settings import read_settings
from btk_punet.errors import (
    BtkPunetError,
    BtkPunetWarning,
    InputError,
    InputTypeError,
    MissingProgramError,
)
from btk_punet.simulation.survey import reference_band


def default_deblenders(survey: Survey) -> tuple[list[str], list[str]]:
    """Return the methods of the default comparison that can run here, and why others cannot.

    Args:
        survey: What the images are of.

    Returns:
        Names of `DEBLENDERS`; and for each method that is left out a sentence that says so.
    """
    why_not = {name: why_left_out(name, survey) for name in DEFAULTS}
    return (
        [name for name, why in why_not.items() if not why],
        [why for why in why_not.values() if why],
    )


def why_left_out(name: str, survey: Survey) -> str:
    """Return why a deblender of `DEBLENDERS` cannot run on a survey; empty if it can."""
    return availability(_class_of(DEBLENDERS[name]), survey)


def choose_deblenders(
    choice: str | Deblender | Iterable[str | Deblender] | Mapping[str, str | Deblender],
    max_n_sources: int,
    survey: Survey,
) -> dict[str, Deblender]:
    """Return deblenders by their names in tables.

    A deblender that works in another band than the survey's reference band, in which the truth is
    measured, gives a `BtkPunetWarning`.

    Args:
        choice: A dict of name and deblender; or one or several deblenders. Each is an instance or
            a name of `DEBLENDERS` or ``module:Class``, with settings after a colon
            (``"sep:thresh=1.5,deblend_cont=0.005"``).
        max_n_sources: Most sources in an image, for those that are given by name.
        survey: What the images are of.

    Raises:
        InputError: for an unknown name or setting, the same name twice, or no deblender.
        InputTypeError: for something that is not a BTK deblender, or a name that is not a string.
    """
    if isinstance(choice, Mapping):
        named = list(choice.items())
    elif isinstance(choice, Iterable) and not isinstance(choice, str | bytes):
        named = [(str(item), item) for item in choice]
    else:
        named = [(str(choice), choice)]
    chosen = {}
    for name, item in named:
        check_name(name)
        if name in chosen:
            raise InputError(
                f"The deblender {name!r} is given twice. To run two of the same class, give a dict "
                "of name and deblender."
            )
        chosen[name] = (
            parse_deblender(item, max_n_sources, survey) if isinstance(item, str) else item
        )
    if not chosen:
        raise InputError(f"No deblender given: expected some of {list(DEBLENDERS)}.")
    for name, deblender in chosen.items():
        if not isinstance(deblender, Deblender):
            raise InputTypeError(
                f"{name!r} is not an instance of a btk.deblend.Deblender class but "
                f"{type(deblender).__name__}; expected for example SepDeblender(max_n_sources=20)."
            )
        _warn_of_another_band(name, deblender, survey)
    return chosen


def parse_deblender(text: str, max_n_sources: int, survey: Survey) -> Deblender:
    """Return the deblender that a string names.

    Args:
        text: ``NAME`` or ``NAME:KEY=VALUE,...``, where the name is one of `DEBLENDERS` or
            ``module:Class``; as in ``sep:thresh=1.5,minarea=3``, ``scarlet2:peaks=probaunet`` or
            ``my_package.detectors:Mine:thresh=2``. How values are read: see `read_settings`.
        max_n_sources: Most sources in an image.
        survey: What the images are of.

    Raises:
        InputError: for an unknown name or setting, a value of the wrong kind, or a class that
            cannot be imported or made.
        InputTypeError: for a class that is not one of a BTK deblender.
        MissingProgramError: for something that is not installed.
    """
    name, settings = _split(text)
    kind = _class_of(DEBLENDERS.get(name, name))
    values: dict[str, Any] = read_settings(name, kind, settings)
    parameters = inspect.signature(kind).parameters
    # A value where a deblender may stand, such as the peaks of scarlet2, may name one.
    for key, value in values.items():
        if (
            value in DEBLENDERS
            and value != parameters[key].default
            and "Deblender" in str(parameters[key].annotation)
        ):
            values[key] = parse_deblender(value, max_n_sources, survey)
    # BTK's classes want a band to be named, or the mean of all.
    if "use_mean" in parameters and not {"use_band", "use_mean"} & set(values):
        values["use_band"] = reference_band(survey)
    if "max_n_sources" in parameters:
        values["max_n_sources"] = max_n_sources
    required = (
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )
    if missing := [key for key in required if key not in values]:
        raise InputError(
            f"{name!r} needs the setting(s) {missing}, as in "
            f"'{name}:{','.join(f'{key}=...' for key in missing)}'."
        )
    package, remedy = NEEDED_PACKAGES.get(name, ("", ""))
    if package and find_spec(package) is None:
        raise MissingProgramError(f"{name!r} needs {package}, which {remedy}")
    try:
        return kind(**values)
    except BtkPunetError:
        raise
    except Exception as error:
        raise InputError(
            f"{text!r} cannot be made: {type(error).__name__}: {error} -- Check its settings."
        ) from error


def _split(text: str) -> tuple[str, str]:
    """Return the name (one of `DEBLENDERS`, or ``module:Class``) and the settings of a string."""
    name, _, settings = text.partition(":")
    if name in DEBLENDERS:
        return name, settings
    of_class, _, more = settings.partition(":")
    if of_class and "=" not in of_class:
        return f"{name}:{of_class}", more
    hint = f" A class of your own is given as '{name}:CLASS'." if "." in name else ""
    raise InputError(
        f"Unknown deblender {name!r}: expected one of {list(DEBLENDERS)}, or MODULE:CLASS.{hint}"
    )


def _class_of(path: str) -> type[Deblender]:
    """Return the class of deblenders that ``module:Class`` names."""
    module_name, _, class_name = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *class_name.split(".")]):
        raise InputError(
            f"{path!r} names no class: expected one of {list(DEBLENDERS)}, or MODULE:CLASS as in "
            "'my_package.detectors:Mine'."
        )
    try:
        module = import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise InputError(
                f"No module {module_name!r} for the deblender {path!r}: install its package, or "
                f"run in the folder that holds it. Names without a module: {list(DEBLENDERS)}."
            ) from error
        raise InputError(
            f"The module of the deblender {path!r} cannot be imported: {type(error).__name__}: "
            f"{error} -- It fails in the same way with `import {module_name}`."
        ) from error
    try:
        kind = attrgetter(class_name)(module)
    except AttributeError as error:
        there = [
            name
            for name, value in vars(module).items()
            if _is_deblender(value) and not inspect.isabstract(value)
        ]
        raise InputError(
            f"The module {module_name!r} has no {class_name!r}: its deblenders are {there}."
        ) from error
    if not _is_deblender(kind):
        what = kind.__name__ if inspect.isclass(kind) else f"an instance of {type(kind).__name__}"
        raise InputTypeError(f"{path!r} must be a subclass of btk.deblend.Deblender, got {what}.")
    if inspect.isabstract(kind):
        raise InputTypeError(
            f"{path!r} is abstract: it must define {sorted(kind.__abstractmethods__)}."
        )
    return kind


def _is_deblender(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Deblender)


def _warn_of_another_band(name: str, deblender: Deblender, survey: Survey) -> None:
    band, reference = detection_band(deblender, survey), reference_band(survey)
    if band is not None and band != reference:
        bands = survey.available_filters
        warnings.warn(
            f"{name!r} works in the band {bands[band]}, and the truth of {survey.name} is measured "
            f"in {bands[reference]}: a faint source there may be bright here. Leave use_band out, "
            f"or set it to {reference}, to have both in the same band.",
            BtkPunetWarning,
            stacklevel=3,
        )
