"""Tables and figures as files. The same numbers give the same bytes, to be compared with diff."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.report.text import csv, ecsv
from btk_punet.evaluation.studies.base import Figure
from btk_punet.evaluation.studies.table import Table
from btk_punet.figures import write_figure
from btk_punet.files import write_file

# Ending of the files -> what writes a table so.
FORMATS = {"ecsv": ecsv, "csv": csv, "tex": latex_table}


def write_tables(tables: Iterable[Table], folder: str | Path) -> list[Path]:
    """Write each table as ``<name>.ecsv``, ``<name>.csv`` and ``<name>.tex``.

    Args:
        tables: The tables.
        folder: Folder to write to; made if it does not exist.

    Returns:
        The paths of the files. A table that is too wide or long for a page has no ``.tex``.
    """
    paths = []
    for table in tables:
        for ending, written in FORMATS.items():
            text = written(table)
            if text:
                paths.append(Path(folder) / f"{table.name}.{ending}")
                write_file(paths[-1], text.encode())
    return paths


def write_figures(
    figures: Iterable[Figure], folder: str | Path, formats: Sequence[str] = ("png", "pdf")
) -> dict[str, Path]:
    """Draw each figure into files ``<name>.<format>``.

    Args:
        figures: The figures.
        folder: Folder to write to; made if it does not exist.
        formats: File formats; PNG is always written, for the report.

    Returns:
        The PNG file of each figure, by its name.
    """
    paths = {}
    for figure in figures:
        for ending in sorted({"png", *formats}):
            path = Path(folder) / f"{figure.name}.{ending}"
            write_figure(figure.display.draw, figure.display.size_inches, path)
        paths[figure.name] = Path(folder) / f"{figure.name}.png"
    return paths
