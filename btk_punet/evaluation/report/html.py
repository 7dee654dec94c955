"""The report of a run: one HTML page that needs nothing else, to be read, printed and sent around.

It renders what the studies give it, and knows no study, table or figure by name.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.report.grid import Cell, Grid, bin_text, grids, is_nothing
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study
from btk_punet.evaluation.studies.table import Table
from btk_punet.figures import DOTS_PER_INCH
from btk_punet.files import write_file

REPORT_FILE = "report.html"
# Of a plot on the page, so that its text is about as large as the page's.
SHOWN_PIXELS_PER_INCH = 110
# Tables of more rows are folded away.
MOST_ROWS = 12
# The parts of the answer at the top, in this order.
ANSWERS = {"gain": "Gain", "price": "Price", "home": "Home advantage"}


@dataclass(frozen=True)
class Section:
    """What a study has to show.

    Attributes:
        study: The study.
        tables: Its tables by name.
        figures: Its figures.
        paths: The PNG file of each figure by its name.
    """

    study: Study
    tables: Mapping[str, Table]
    figures: Sequence[Figure] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)


class Shown(NamedTuple):
    """A table as the template shows it."""

    title: str
    how_to_read: str
    folded: bool
    parts: list[dict[str, Any]]


def write_report(
    folder: str | Path,
    run: Mapping[str, Any],
    sections: Sequence[Section],
    collected: Collected,
    missing: Sequence[str] = (),
) -> Path:
    """Write ``report.html``.

    Args:
        folder: Folder to write to; made if it does not exist.
        run: What was run, all keys optional: ``title``, ``status`` (``"finished"`` unless the run
            is partial), ``n_blends``, ``scenes`` (what they are, in words), ``home``, ``command``,
            ``parameters``, ``methods`` (name -> ``class``, ``parameters``), ``versions`` and
            ``notes``.
        sections: What each study has to show, in the order wanted.
        collected: What was collected in the run.
        missing: What is missing from the run, in sentences.

    Returns:
        The path of the page.
    """
    environment = Environment(
        loader=PackageLoader("btk_punet.evaluation.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    methods = run.get("methods") or {}
    page = environment.get_template("report.html.jinja").render(
        title=run.get("title") or "Comparison of detectors of blended galaxies",
        lead=_lead(run, methods),
        unfinished="" if run.get("status", "finished") == "finished" else run["status"],
        missing=list(missing),
        notes=list(run.get("notes") or []),
        answers=_answers(run, sections, collected),
        sections=[
            {"study": section.study, "items": items}
            for section in sections
            if (items := _items(section))
        ],
        definitions=list(_definitions(sections, collected)),
        scenes=list((run.get("scenes") or {}).items()),
        methods=[(name, _method(values)) for name, values in methods.items()],
        command=run.get("command") or "",
        parameters=list(_flat(run.get("parameters") or {})),
        versions=list(_flat(run.get("versions") or {})),
    )
    path = Path(folder) / REPORT_FILE
    write_file(path, page.encode())
    return path


def _answers(
    run: Mapping[str, Any], sections: Sequence[Section], collected: Collected
) -> list[tuple[str, str]]:
    """Return what is to be said on whether to use a detector, by what it is about."""
    found: dict[str, list[str]] = {name: [] for name in ANSWERS}
    for section in sections:
        for name, text in section.study.answers(collected, section.tables).items():
            if name not in found:
                raise InputError(
                    f"{type(section.study).__name__}.answers must speak of some of "
                    f"{list(ANSWERS)}, got {name!r}."
                )
            found[name].append(text)
    if run.get("home"):
        found["home"].append(run["home"])
    return [(ANSWERS[name], " ".join(texts)) for name, texts in found.items() if texts]


def _definitions(sections: Sequence[Section], collected: Collected) -> Iterator[Definition]:
    known = set()
    for section in sections:
        for definition in section.study.definitions(collected, section.tables):
            if definition.term not in known:
                known.add(definition.term)
                yield definition


def _items(section: Section) -> dict[str, dict[str, Any]]:
    """Return tables and figures by their titles: those of one title stand below one heading."""
    items: dict[str, dict[str, Any]] = {}
    for table in section.tables.values():
        if table.layout is not None and table.layout.in_report and len(table.page):
            items.setdefault(table.title, {}).setdefault("tables", []).append(_shown(table))
    for figure in section.figures:
        embedded = _embedded(figure, section.paths[figure.name])
        items.setdefault(figure.title, {}).setdefault("figures", []).append(embedded)
    return items


def _shown(table: Table) -> Shown:
    parts = [_part(grid) for grid in grids(table)]
    n_rows = sum(len(part["rows"]) for part in parts)
    folded = (table.layout is not None and table.layout.long) or n_rows > MOST_ROWS
    return Shown(table.title, table.how_to_read, folded, parts)


def _part(grid: Grid) -> dict[str, Any]:
    return {
        "title": grid.title,
        "head": [[(bin_text(h.name), h.span) for h in line] for line in grid.head],
        "rows": [
            {
                "names": [bin_text(name) for name in names],
                "cells": [_cell(cell) for cell in cells],
                "ceiling": bool(names) and names[0] == CEILING,
            }
            for names, cells in grid.rows
        ],
    }


def _cell(cell: Cell) -> tuple[str, str]:
    """Return a value and its interval as texts."""
    value, column, low, high = cell
    if is_nothing(value):
        return "–", ""
    if not column.format:
        return str(value), ""
    text = format(value, column.format).replace("-", "−")
    if np.isnan(low) or np.isnan(high):
        return text, ""
    ends = [format(end, column.format).replace("-", "−") for end in (low, high)]
    return text, f"({ends[0]} to {ends[1]})" if "−" in "".join(ends) else f"({'–'.join(ends)})"


def _embedded(figure: Figure, path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    # Where PNG has its size; with it the page does not jump while it is laid out.
    width, height = (
        round(pixels * SHOWN_PIXELS_PER_INCH / DOTS_PER_INCH) or 1
        for pixels in struct.unpack(">II", content[16:24])
    )
    return {
        "title": figure.title,
        "how_to_read": figure.how_to_read,
        "content": base64.b64encode(content).decode(),
        "width": width,
        "height": height,
    }


def _lead(run: Mapping[str, Any], methods: Mapping[str, Any]) -> str:
    """Return one line that says what was compared on what."""
    parts = [", ".join(map(str, methods))] if methods else []
    if run.get("n_blends") is not None:
        parts.append(f"{run['n_blends']:,} scenes")
    return " · ".join(parts)


def _method(values: Any) -> str:
    """Return how a method is written down: ``SepDeblender(thresh=1.2, minarea=5)``."""
    if not isinstance(values, Mapping):
        return _text(values)
    arguments = values.get("parameters") or {}
    listed = ", ".join(f"{name}={_text(value)}" for name, value in arguments.items())
    return f"{str(values.get('class', '')).rpartition('.')[2]}({listed})"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and value of each entry, those of inner mappings as ``outer.inner``."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)
