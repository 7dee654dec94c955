"""Parameters that are explained once: for Python, for the command line and for the docs.

The words stand in the metadata of a dataclass's field. `documented` writes them into the docstring
of a function, and the command line reads the same words for its help.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def option(default: Any, words: str, **command_line: Any) -> Any:
    """Return a field with its default and its words.

    Args:
        default: Its default.
        words: What it is, for docstrings and help; ``Name`` in the docstrings' markup.
        command_line: Further arguments of ``ArgumentParser.add_argument``: ``type``, ``choices``,
            ``nargs``, ``metavar``, and ``flags`` for other names than ``--its-name``.
    """
    return dataclasses.field(default=default, metadata={"words": words, **command_line})


def documented(*kinds: type, but: Iterable[str] = ()) -> Callable[[Function], Function]:
    """Write the words of options into a docstring, in place of a line ``{NameOfTheClass}``.

    Args:
        kinds: Classes of options, such as `Scenes`.
        but: Names of options that the function does not have.
    """

    def decorate(function: Function) -> Function:
        text = inspect.getdoc(function) or ""
        for kind in kinds:
            lines = [
                textwrap.fill(
                    f"{spec.name}: {_sentence(spec.metadata['words'])}",
                    96,
                    initial_indent="    ",
                    subsequent_indent="        ",
                )
                for spec in dataclasses.fields(kind)
                if spec.name not in but
            ]
            text = text.replace(f"    {{{kind.__name__}}}", "\n".join(lines))
        function.__doc__ = text
        return function

    return decorate


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
