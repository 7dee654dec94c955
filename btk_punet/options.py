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


# What `detect` and the runs of the evaluation have in common: default, words, command line.
_SHARED: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "scheduler": (
        None,
        "address of a Dask scheduler that runs already, such as ``tcp://host:8786``, in place of "
        "processes of this machine",
        {"metavar": "ADDRESS"},
    ),
    "scheduler_file": (
        None,
        "the file that such a scheduler wrote, in place of its address",
        {"metavar": "FILE"},
    ),
    "overwrite": (
        False,
        "whether to throw away another run in the output folder",
        {"action": "store_true"},
    ),
    "progress": (True, "whether to show a progress bar", {}),
}


def shared_option(name: str, more: str = "") -> Any:
    """Return the field of an option that several commands have.

    Args:
        name: Its name, one of those above.
        more: What is to be said besides in one of the commands.
    """
    default, words, command_line = _SHARED[name]
    return option(default, words + more, **command_line)


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
