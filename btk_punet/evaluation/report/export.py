"""Tables of a comparison as files: ECSV and CSV for programs, LaTeX for papers.

The same tables give the same bytes, so that two runs can be compared with ``diff``.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table

from btk_punet.evaluation.plotting.style import decimals_of, without_unknown_ceiling
from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.report.export_blends import blend_description, blend_parts
from btk_punet.evaluation.report.export_calibration import (
    calibration_description,
    calibration_parts,
)
from btk_punet.evaluation.report.export_matrices import count_matrix_parts, efficiency_parts
from btk_punet.evaluation.report.export_probabilities import DESCRIPTIONS, probability_parts
from btk_punet.evaluation.report.old_latex import (
    INTERVALS,
    NOTHING,
    Part,
    escape_latex,
    latex_bin,
    latex_value,
    plain_cell,
    tabular,
)
from btk_punet.files import write_file

FRACTION_COLUMNS = {"method", "lo", "hi", "n", "k", "value", "value_lo", "value_hi"}
POSITION_COLUMNS = {"method", "lo", "hi", "pairs", "scatter", "value"}
HEADLINE_COLUMNS = {"method", "completeness", "purity", "ceiling"}

# Quantity, by its short name in the name of a table: unit, heading in LaTeX, what the bins are of.
_QUANTITIES = {
    "magnitude": ("mag", "Magnitude", "true magnitude"),
    "neighbour_distance": ("arcsec", "Distance [arcsec]", "distance to the nearest neighbour"),
    "magnitude_difference": ("mag", "Difference [mag]", "magnitude difference"),
    "size": ("arcsec", r"$r_\mathrm{h}$ [arcsec]", r"half-light radius $r_\mathrm{h}$"),
    "alone_snr": ("", "S/N", "signal-to-noise ratio that a source would have alone"),
    "limit_snr": ("", "S/N", "signal-to-noise ratio of a source among unknown neighbours"),
    "blendedness": ("", "Blendedness", "blendedness"),
}
_OF_DETECTIONS = {
    "magnitude": "magnitude in an aperture of 0.5 arcsec radius",
    "neighbour_distance": "distance to the nearest other detection",
}
_DESCRIPTIONS = {
    "method": "method, or the information ceiling",
    "lo": "lower edge of the bin; infinite, as is hi, for detections without a positive flux",
    "hi": "upper edge of the bin, which is not in it",
    "magnitude_lo": "lower edge of the magnitude bin",
    "magnitude_hi": "upper edge of the magnitude bin, which is not in it",
    "n": "number of sources (completeness) or detections (purity)",
    "k": "of them matched",
    "value": "k / n; NaN where n is 0",
    "value_lo": "lower end of the 68% Wilson interval",
    "value_hi": "upper end of the 68% Wilson interval",
    "n_matched": "number of sources found in a scene",
    "n_true": "number of true sources that count in a scene",
    "scenes": "number of scenes with these numbers",
    "fraction": "scenes / scenes with this n_true",
    "completeness": "completeness (recall): matched sources / sources that count",
    "purity": "purity (precision): matched detections / detections",
    "share": "completeness / ceiling, at this purity",
    "reached": "whether the method is as pure as asked for",
    "pairs": "number of matched sources that count",
    "bias_x": "mean error of their x [pixel]",
    "bias_y": "mean error of their y [pixel]",
    "bias_err": "standard error of bias_x and bias_y [pixel]",
    "scatter": "half-width that holds 68% of the errors of both axes [pixel]",
    "ceiling": "information ceiling: completeness of finding just the sources with limit_snr > 5",
}
_SUFFIXES = {
    "n": "number of trials",
    "k": "number of successes",
    "lo": "lower end of the 68% Wilson interval",
    "hi": "upper end of the 68% Wilson interval",
}
_CEILING = (
    "The information ceiling is the completeness of finding just the sources that can be told "
    "from unknown neighbours at $5\\sigma$. "
)


def write_tables(
    tables: Mapping[str, pd.DataFrame],
    folder: str | Path,
    captions: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write each table as ``<name>.ecsv``, ``<name>.csv`` and ``<name>.tex``.

    ECSV and CSV hold every column in full precision, ECSV its unit and description as well.
    LaTeX is a ``table`` that needs no package: methods as columns, a row a bin.

    Args:
        tables: Tables by name, those of `summary_tables` or any others.
        folder: Folder to write to; made if it does not exist.
        captions: LaTeX captions by the name of the table, in place of the usual ones.

    Returns:
        The paths of the files. A table that is too wide or long for a page has no ``.tex``.
    """
    paths = []
    for name, table in tables.items():
        caption = (captions or {}).get(name)
        texts = {
            "ecsv": _as_text(astropy_table(name, table), "ascii.ecsv"),
            "csv": _as_text(astropy_table(name, table), "ascii.csv"),
            "tex": latex_table(name, table, caption),
        }
        for ending, text in texts.items():
            if text:
                paths.append(Path(folder) / f"{name}.{ending}")
                write_file(paths[-1], text.encode())
    return paths


def astropy_table(name: str, table: pd.DataFrame) -> Table:
    """Return a table of a comparison with units, descriptions and its name in ``meta``."""
    result = Table(meta={"name": name})
    units = _units(name, table)
    for column in table.columns:
        values = table[column].to_numpy()
        is_number = values.dtype.kind in "biuf"
        result[column] = values if is_number else np.array([str(v) for v in values], dtype=str)
        result[column].unit = units.get(column)
        result[column].description = _description(name, column)
    return result


def latex_table(name: str, table: pd.DataFrame, caption: str | None = None) -> str:
    """Return a table as a LaTeX ``table``, or as several where a page is needed for each method.

    Empty for count matrices too wide for a page, and for curves too long for one.

    Args:
        name: Name of the table, which says what it is binned by and becomes the label.
        table: The table.
        caption: LaTeX of the caption; the usual one of such a table if None.
    """
    columns = set(table.columns)
    kinds = (probability_parts, calibration_parts, blend_parts)
    special = next(
        (p for p in (parts_of(name, table) for parts_of in kinds) if p is not None), None
    )
    if special is not None:
        parts = special
    elif "share" in columns:
        parts = _ceiling_share(table)
    elif columns >= HEADLINE_COLUMNS:
        parts = _headline(table)
    elif columns >= FRACTION_COLUMNS | {"magnitude_lo", "magnitude_hi"}:
        parts = efficiency_parts(table)
    elif columns >= POSITION_COLUMNS:
        parts = _positions(name, table)
    elif columns >= FRACTION_COLUMNS:
        parts = _fractions(name, table)
    elif columns >= {"method", "n_matched", "n_true", "scenes"}:
        parts = count_matrix_parts(table)
    else:
        parts = [Part("", f"{escape_latex(name.replace('_', ' ').capitalize())}.", _plain(table))]
    texts = []
    for number, part in enumerate(parts, 1):
        label = name if len(parts) == 1 else f"{name}:{number}"
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{part.title}{part.caption if caption is None else caption}}}",
            rf"\label{{tab:{label}}}",
            # Close columns, and rows high enough for errors above and below.
            r"\setlength{\tabcolsep}{4pt}",
            r"\renewcommand{\arraystretch}{1.2}",
            *part.tabular,
            r"\end{table}",
        ]
        texts.append("\n".join(lines) + "\n")
    return "\n".join(texts)


def _headline(table: pd.DataFrame) -> list[Part]:
    rows = []
    for _, row in table.iterrows():
        values = {
            q: latex_value(row[q], row[f"{q}_lo"], row[f"{q}_hi"], 3)
            for q in ("completeness", "ceiling", "purity")
        }
        rows.append(
            [escape_latex(row["method"]), row["completeness_n"], values["completeness"],
             values["ceiling"], row["purity_n"], values["purity"]]
        )  # fmt: skip
    head = ["Method", "Sources", "Completeness", "Ceiling", "Detections", "Purity"]
    caption = (
        "Completeness (recall) and purity (precision) over all sources and detections. "
        f"{_CEILING}{INTERVALS}"
    )
    return [Part("", caption, tabular("lrrrrr", [head], rows))]


def _ceiling_share(table: pd.DataFrame) -> list[Part]:
    rows = []
    for _, row in table.iterrows():
        purity, completeness = (
            NOTHING if np.isnan(row[name]) else f"{row[name]:.3f}"
            for name in ("purity", "completeness")
        )
        share = latex_value(row["share"], row["share_lo"], row["share_hi"], 3)
        rows.append([escape_latex(row["method"]), purity, completeness, share])
    caption = (
        "Completeness at one purity (of a method without probabilities, at its own if as high), "
        f"and its share of the information ceiling. {_CEILING}{INTERVALS}"
    )
    head = [["Method", "Purity", "Completeness", "Share of the ceiling"]]
    return [Part("", caption, tabular("lrrr", head, rows))]


def _fractions(name: str, table: pd.DataFrame) -> list[Part]:
    quantity, _, by = name.partition("_by_")
    _, heading, words = _QUANTITIES.get(by, ("", escape_latex(by or "Bin"), escape_latex(by)))
    words = _OF_DETECTIONS.get(by, words) if quantity == "purity" else words
    decimals = decimals_of(table[["lo", "hi"]].to_numpy().ravel()) if by == "magnitude" else None
    table = without_unknown_ceiling(table)
    methods = list(dict.fromkeys(table["method"]))
    of_bin = list(table.groupby(["lo", "hi"], sort=True))
    same_n = all(rows["n"].nunique() == 1 for _, rows in of_bin)
    body = []
    for (low, high), rows in of_bin:
        rows = rows.set_index("method").reindex(methods)
        line = [latex_bin(low, high, decimals)]
        if same_n:
            line.append(str(rows["n"].iloc[0]))
        for _, row in rows.iterrows():
            if not same_n:
                line.append(NOTHING if np.isnan(row["n"]) else f"{row['n']:.0f}")
            line.append(latex_value(row["value"], row["value_lo"], row["value_hi"]))
        body.append(line)
    names = ["Ceiling" if m == CEILING else escape_latex(m) for m in methods]
    if same_n:
        layout, head = "lr" + "r" * len(methods), [[heading, "$N$", *names]]
    else:
        layout = "l" + "rr" * len(methods)
        head = [
            ["", *(rf"\multicolumn{{2}}{{c}}{{{name}}}" for name in names)],
            [heading, *["$N$", quantity.capitalize()] * len(names)],
        ]
    means = {"completeness": " (recall)", "purity": " (precision)"}.get(quantity, "")
    counted = {"purity": "detections"}.get(quantity, "sources")
    caption = (
        f"{escape_latex(quantity).capitalize()}{means} by {words}, with the number $N$ of "
        f"{counted}. {_CEILING if CEILING in methods else ''}{INTERVALS}"
    )
    return [Part("", caption, tabular(layout, head, body))]


def _positions(name: str, table: pd.DataFrame) -> list[Part]:
    _, heading, words = _QUANTITIES[name.partition("_by_")[2]]
    decimals = decimals_of(table[["lo", "hi"]].to_numpy().ravel()) if "mag" in name else None
    methods = list(dict.fromkeys(table["method"]))
    body = []
    for (low, high), rows in table.groupby(["lo", "hi"], sort=True):
        line = [latex_bin(low, high, decimals)]
        for _, row in rows.set_index("method").reindex(methods).iterrows():
            line.append(NOTHING if np.isnan(row["scatter"]) else f"{row['scatter']:.2f}")
            line.append(latex_value(row["value"], row["value_lo"], row["value_hi"]))
        body.append(line)
    names = [rf"\multicolumn{{2}}{{c}}{{{escape_latex(method)}}}" for method in methods]
    head = [["", *names], [heading, *["Scatter", "Coverage"] * len(methods)]]
    caption = (
        f"Positions of matched sources by {words}: the half-width that holds 68\\% of the errors "
        f"in either axis [pixel], and the fraction of them that the stated errors cover (0.68 if "
        f"they are right). {INTERVALS}"
    )
    return [Part("", caption, tabular("l" + "rr" * len(methods), head, body))]


def _plain(table: pd.DataFrame) -> list[str]:
    """Return any other table, number by number."""
    layout = "".join("r" if table[c].dtype.kind in "iuf" else "l" for c in table.columns)
    head = [[escape_latex(column) for column in table.columns]]
    body = [[plain_cell(value) for value in row] for row in table.itertuples(index=False)]
    return tabular(layout, head, body)


def _units(name: str, table: pd.DataFrame) -> dict[str, str]:
    by = "neighbour_distance" if name == "efficiency" else name.partition("_by_")[2]
    unit = _QUANTITIES[by][0] if by in _QUANTITIES else ""
    units = {"magnitude_lo": "mag", "magnitude_hi": "mag"}
    return units | {"lo": unit, "hi": unit} if unit else units


def _description(name: str, column: str) -> str | None:
    special = calibration_description(name, column) or blend_description(name, column)
    if special is not None:
        return special
    if column in _DESCRIPTIONS:
        return _DESCRIPTIONS[column]
    if column in DESCRIPTIONS:
        return DESCRIPTIONS[column]
    quantity, _, suffix = column.rpartition("_")
    if quantity in _DESCRIPTIONS and suffix in _SUFFIXES:
        return f"{_SUFFIXES[suffix]} of the {quantity}"
    return None


def _as_text(table: Table, kind: str) -> str:
    stream = io.StringIO()
    table.write(stream, format=kind)
    return stream.getvalue().replace("\r\n", "\n")
