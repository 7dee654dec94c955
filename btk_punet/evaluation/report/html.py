"""The report of a comparison: plots as files, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader

from btk_punet.evaluation.plotting.fractions import FractionDisplay
from btk_punet.evaluation.plotting.style import methods_of
from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.report.questions import MORE, QUESTIONS, question_of
from btk_punet.evaluation.report.sections import (
    DEFINITIONS,
    PROBABILITY_DEFINITIONS,
    ceiling_share_section,
    fraction_tables,
    headline_table,
    probability_sections,
)
from btk_punet.evaluation.studies.blends.display import OutcomesDisplay
from btk_punet.evaluation.studies.blends.plots import blend_plots
from btk_punet.evaluation.studies.blends.sections import blend_definitions, blend_sections
from btk_punet.evaluation.studies.detection.matrices import CountMatrixDisplay, EfficiencyDisplay
from btk_punet.evaluation.studies.outlines.display import MaskPrecisionDisplay
from btk_punet.evaluation.studies.positions import PositionDisplay
from btk_punet.evaluation.studies.probabilities.calibration_plots import OF_PANELS
from btk_punet.evaluation.studies.probabilities.calibration_sections import calibration_definitions
from btk_punet.evaluation.studies.probabilities.probability_plots import probability_plots
from btk_punet.figures import DOTS_PER_INCH, write_figure
from btk_punet.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MATCHING_RADIUS_ARCSEC = 0.3
REPORT_FILE = "report.html"
# Of a plot on the page, so that its text is about as large as the page's.
SHOWN_PIXELS_PER_INCH = 110

_READ_CEILING = (
    "Higher is better; the dashed line is the information ceiling, reached by finding just the "
    "sources that can be told from their neighbours at 5 sigma, and the grey numbers on top are "
    "those of the true sources."
)
_READ_PURITY = "Higher is better; the grey numbers on top are those of the detections"
_READ_POSITIONS = (
    "On the left lower is better: 68% of the matched positions are off by less than this; on the "
    "right, stated errors that are right lie on the dashed line, and below it they are too small."
)
_FRACTION_PLOTS = (
    ("completeness", "magnitude", "Completeness by magnitude", _READ_CEILING),
    (
        "completeness",
        "neighbour_distance_arcsec",
        "Completeness by distance to the nearest neighbour",
        _READ_CEILING,
    ),
    (
        "completeness",
        "limit_snr",
        "Completeness by information limit",
        "Higher is better; above 5, where the dashed line is 1, a method below it misses sources "
        "that can be told from their neighbours.",
    ),
    ("purity", "magnitude", "Purity by magnitude", f"{_READ_PURITY}."),
    (
        "purity",
        "neighbour_distance_arcsec",
        "Purity by distance to the nearest other detection",
        f"{_READ_PURITY}, and low purity at small distances means shredded galaxies.",
    ),
)

# What draws in a figure instead of axes.
_OF_PANELS = (
    EfficiencyDisplay,
    CountMatrixDisplay,
    PositionDisplay,
    OutcomesDisplay,
    MaskPrecisionDisplay,
    *OF_PANELS,
)


class Plot(NamedTuple):
    """A plot that was written: its title, one sentence on how to read it, and its PNG file."""

    title: str
    how_to_read: str
    path: Path


def write_plots(
    tables: Mapping[str, pd.DataFrame],
    folder: str | Path,
    formats: Sequence[str] = ("png",),
) -> list[Plot]:
    """Draw the main plots of a comparison into files.

    The same tables give the same bytes, whatever the user's matplotlib settings are.

    Args:
        tables: Tables of `summary_tables`. Plots of missing and empty tables are left out.
        folder: Folder to write to; made if it does not exist.
        formats: File formats, such as ``"pdf"``; PNG is always written, for the report.

    Returns:
        The plots, in the order of the report.
    """
    jobs: list[tuple[str, str, str, Any]] = []
    for quantity, by, title, how_to_read in _FRACTION_PLOTS:
        name = f"{quantity}_by_{SHORT[by]}"
        if name in tables and (tables[name]["n"] > 0).any():
            jobs.append((name, title, how_to_read, FractionDisplay(tables[name], quantity, by)))
    if "efficiency" in tables and (tables["efficiency"]["n"] > 0).any():
        title = "Completeness by magnitude and neighbour distance"
        how_to_read = (
            "Bright is better; each cell holds the completeness and, below it, the number of true "
            "sources, and is hatched where there are none."
        )
        jobs.append(("efficiency", title, how_to_read, EfficiencyDisplay(tables["efficiency"])))
    if "count_matrix" in tables and tables["count_matrix"].query("scenes > 0")["n_true"].any():
        title = "How many of the sources of a scene are found"
        how_to_read = (
            "An ideal method has all scenes in the outlined cells; each cell holds the fraction "
            "of the scenes of its column, with the number of scenes where there is room."
        )
        jobs.append(
            ("count_matrix", title, how_to_read, CountMatrixDisplay(tables["count_matrix"]))
        )
    for by in ("magnitude", "neighbour_distance_arcsec"):
        name = f"positions_by_{SHORT[by]}"
        if name in tables and (tables[name]["pairs"] > 0).any():
            title = f"Positions by {SHORT[by].replace('_', ' ')}"
            jobs.append((name, title, _READ_POSITIONS, PositionDisplay(tables[name], by)))
    jobs.extend(blend_plots(tables))
    jobs.extend(probability_plots(tables))
    plots = []
    for name, title, how_to_read, display in jobs:
        for ending in sorted({"png", *formats}):
            path = Path(folder) / f"{name}.{ending}"
            write_figure(partial(_draw, display), display.size_inches, path)
        plots.append(Plot(title, how_to_read, Path(folder) / f"{name}.png"))
    return plots


def write_report(
    folder: str | Path,
    run: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    plots: Sequence[tuple[str, str, Path]] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write ``report.html``: one page that can be read, printed and sent around by itself.

    Args:
        folder: Folder to write to; made if it does not exist.
        run: What was run, all keys optional: ``title``, ``status`` (``"finished"`` unless the run
            is partial), ``n_blends``, ``parameters``, ``methods`` (name -> ``class``,
            ``parameters``), ``versions``, ``timing_ms_per_blend`` (name -> ms), ``notes``.
        tables: Tables of `summary_tables`.
        plots: Title, one sentence on how to read it and PNG file of each plot, as `write_plots`
            returns them.
        notes: What the reader must know before the figures, a sentence each.

    Returns:
        The path of the page.
    """
    environment = Environment(
        loader=PackageLoader("btk_punet.evaluation.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parameters = dict(run.get("parameters") or {})
    radius = parameters.get("radius_arcsec", MATCHING_RADIUS_ARCSEC)
    methods = run.get("methods") or {}
    definitions = DEFINITIONS + blend_definitions(tables)
    if "probability_scores" in tables:
        definitions += PROBABILITY_DEFINITIONS
    definitions += calibration_definitions(tables)
    page = environment.get_template("report.html.jinja").render(
        title=run.get("title") or "Comparison of detectors of blended galaxies",
        lead=_lead(run, tables),
        unfinished="" if run.get("status", "finished") == "finished" else run["status"],
        notes=[*(run.get("notes") or []), *notes],
        headline=headline_table(tables, run.get("timing_ms_per_blend") or {}),
        questions=_questions(tables, [Plot(*plot) for plot in plots]),
        definitions=[(term, text.format(radius=radius)) for term, text in definitions],
        summary=list(_summary(run, tables)),
        methods=[(name, _method(values)) for name, values in methods.items()],
        parameters=list(_flat(parameters)),
        versions=list(_flat(run.get("versions") or {})),
    )
    path = Path(folder) / REPORT_FILE
    write_file(path, page.encode())
    return path


def _questions(tables: Mapping[str, pd.DataFrame], plots: Sequence[Plot]) -> list[dict[str, Any]]:
    """Return the sections of the page: the tables and plots that answer each question."""
    sections = []
    for question in (*QUESTIONS, MORE):
        own = {name: table for name, table in tables.items() if question_of(name) is question}
        # A table and a plot of one title stand below one heading.
        items: dict[str, dict[str, Any]] = {}
        for table in (
            *ceiling_share_section(own),
            *fraction_tables(own),
            *blend_sections(own),
            *probability_sections(own),
        ):
            items.setdefault(table["title"], {})["table"] = table
        for plot in plots:
            if question_of(Path(plot.path).stem) is question:
                items.setdefault(plot.title, {}).setdefault("plots", []).append(_embedded(plot))
        if items:
            sections.append({"question": question, "items": items})
    return sections


def _draw(display: Any, figure: Figure) -> None:
    display.plot(figure if isinstance(display, _OF_PANELS) else figure.subplots())


def _embedded(plot: Plot) -> dict[str, Any]:
    content = Path(plot.path).read_bytes()
    # Where PNG has its size; with it the page does not jump while it is laid out.
    width, height = (
        round(pixels * SHOWN_PIXELS_PER_INCH / DOTS_PER_INCH) or 1
        for pixels in struct.unpack(">II", content[16:24])
    )
    return {
        "title": plot.title,
        "how_to_read": plot.how_to_read,
        "content": base64.b64encode(content).decode(),
        "width": width,
        "height": height,
    }


def _lead(run: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """Return one line that says what was compared on what."""
    names = list(run.get("methods") or {})
    if not names and "headline" in tables:
        names = methods_of(tables["headline"])
    parts = []
    if names:
        parts.append(", ".join(map(str, names)))
    if run.get("n_blends") is not None:
        parts.append(f"{run['n_blends']} blends")
    if "headline" in tables and len(tables["headline"]):
        parts.append(f"{tables['headline']['completeness_n'].iloc[0]:,} sources that count")
    return " · ".join(parts)


def _summary(
    run: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, str]]:
    """Yield what a reader must know of the scenes, as far as the run says so."""
    parameters = run.get("parameters") or {}
    sampling, survey, catalog = (
        value if isinstance(value := parameters.get(name), Mapping) else {}
        for name in ("sampling", "survey", "catalog")
    )
    if run.get("n_blends") is not None:
        drawn = f", drawn by {sampling['class']}" if "class" in sampling else ""
        seed = f", seed {parameters['seed']}" if "seed" in parameters else ""
        yield "Scenes", f"{run['n_blends']:,}{drawn}{seed}"
    if "class" in catalog:
        yield "Galaxies", f"{catalog['class']} of {catalog.get('n_sources', 0):,}"
    if "name" in survey:
        exposures = survey.get("n_exposures")
        each = f", {exposures} exposure{'s' * (exposures != 1)}" if exposures else ""
        yield "Survey", f"{survey['name']}{each}"
    for name, band in (survey.get("bands") or {}).items():
        yield (
            f"Band {name}",
            f"PSF of {band['psf_fwhm_arcsec']:g} arcsec (FWHM), background noise of "
            f"{band['background_variance_electron2'] ** 0.5:.1f} electrons a pixel",
        )
    head = tables.get("headline")
    if head is not None and len(head):
        yield "True sources", f"{head['completeness_n'].iloc[0]:,} that count"


def _method(values: Any) -> str:
    """Return how a method is written down: ``SepDeblender(thresh=1.2, minarea=5)``."""
    if not isinstance(values, Mapping):
        return _shown(values)
    arguments = values.get("parameters") or {}
    listed = ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())
    return f"{str(values.get('class', '')).rpartition('.')[2]}({listed})"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return name and value of each entry, those of inner mappings as ``outer.inner``."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)
