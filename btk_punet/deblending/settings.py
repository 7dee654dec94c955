"""Settings in a string, ``thresh=1.5,minarea=3``, read as the signature of a class has them."""

import inspect
import re

from btk_punet.errors import InputError

Value = str | float | int | bool


def read_settings(name: str, kind: type, text: str) -> dict[str, Value]:
    """Return the settings of a class by their names.

    What a parameter's annotation allows decides how its value is read: ``int``, ``float`` or
    ``bool`` as a number, ``true`` or ``false``; ``str`` as a string without a comma; if both,
    a string where it is not a number. Where the annotation tells neither, the type of the default
    does; without a default, both are allowed.

    Args:
        name: What the class is called in errors.
        kind: The class.
        text: ``KEY=VALUE,...``, or empty.

    Raises:
        InputError: for a setting that the class does not have, has twice, or of the wrong kind.
    """
    parameters = inspect.signature(kind).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = {
        key: parameter
        for key, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and key != "max_n_sources"
    }
    values: dict[str, Value] = {}
    for setting in filter(None, text.split(",")):
        key, given, value = setting.partition("=")
        if not given:
            raise InputError(f"Expected KEY=VALUE in {setting!r} of {name!r}, as in 'thresh=1.5'.")
        if key in values:
            raise InputError(f"{name!r} has the setting {key!r} twice: give it once.")
        if key not in known and (not open_ended or key == "max_n_sources"):
            raise InputError(f"{name!r} has no setting {key!r}: expected some of {sorted(known)}.")
        values[key] = _read(value, known.get(key), setting)
    return values


def _read(text: str, parameter: inspect.Parameter | None, setting: str) -> Value:
    numbers, strings = _allowed(parameter)
    if numbers:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    if strings:
        return text
    raise InputError(f"Expected a number, true or false in {setting!r}, as in 'thresh=1.5'.")


def _allowed(parameter: inspect.Parameter | None) -> tuple[bool, bool]:
    """Return whether a parameter takes numbers (or true and false), and whether strings."""
    if parameter is None:
        return True, True
    annotation, default = parameter.annotation, parameter.default
    # A string itself, under `from __future__ import annotations`.
    written = "" if annotation is parameter.empty else inspect.formatannotation(annotation)
    words = set(re.findall(r"\w+", written))
    numbers, strings = bool(words & {"int", "float", "bool"}), "str" in words
    if numbers or strings:
        return numbers, strings
    return not isinstance(default, str), not isinstance(default, bool | int | float)
