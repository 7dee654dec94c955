"""Tables of a comparison as files: ECSV and CSV for programs, LaTeX for papers.

The same tables give the same bytes, so that two runs can be compared with ``diff``.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table

from btk_punet.evaluation.display import MAX_ANNOTATED, bin_label, methods_of
from btk_punet.evaluation.summary import CEILING

FRACTION_COLUMNS = {"method", "lo", "hi", "n", "k", "value", "value_lo", "value_hi"}
HEADLINE_COLUMNS = {"method", "completeness", "purity", "ceiling"}

# Quantity, by its short name in the name of a table: unit, heading in LaTeX, what the bins are of.
_QUANTITIES = {
    "magnitude": ("mag", r"$I_\mathrm{E}$", "magnitude"),
    "neighbour_distance": ("arcsec", "Distance [arcsec]", "distance to the nearest neighbour"),
    "size": ("arcsec", "Half-light radius [arcsec]", "half-light radius"),
    "alone_snr": ("", "Signal-to-noise ratio", "signal-to-noise ratio that it would have alone"),
    "limit_snr": (
        "",
        "Signal-to-noise ratio",
        "signal-to-noise ratio at which it can be told from unknown neighbours",
    ),
    "blendedness": ("", "Blendedness", "blendedness"),
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
    "ceiling": "information ceiling: completeness of finding just the sources with limit_snr > 5",
}
_SUFFIXES = {
    "n": "number of trials",
    "k": "number of successes",
    "lo": "lower end of the 68% Wilson interval",
    "hi": "upper end of the 68% Wilson interval",
}
_INTERVALS = "The intervals are 68\\% Wilson intervals."
_NOTHING = "--"


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
        The paths of the files. A table that is too wide for a page has no ``.tex``.
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


def write_file(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def astropy_table(name: str, table: pd.DataFrame) -> Table:
    """Return a table of a comparison with units, descriptions and its name in ``meta``."""
    result = Table(meta={"name": name})
    units = _units(name, table)
    for column in table.columns:
        values = table[column].to_numpy()
        result[column] = values if values.dtype.kind in "biuf" else [str(v) for v in values]
        if len(table) == 0 and values.dtype.kind not in "biuf":
            result[column] = np.zeros(0, str)
        result[column].unit = units.get(column)
        result[column].description = _description(column)
    return result


def latex_table(name: str, table: pd.DataFrame, caption: str | None = None) -> str:
    """Return a table as a LaTeX ``table``; empty for count matrices too wide for a page.

    Args:
        name: Name of the table, which says what it is binned by and becomes the label.
        table: The table.
        caption: LaTeX of the caption; the usual one of such a table if None.
    """
    columns = set(table.columns)
    if columns >= HEADLINE_COLUMNS:
        usual, body = _headline(table)
    elif columns >= FRACTION_COLUMNS | {"magnitude_lo", "magnitude_hi"}:
        usual, body = _efficiency(table)
    elif columns >= FRACTION_COLUMNS:
        usual, body = _fractions(name, table)
    elif columns >= {"method", "n_matched", "n_true", "scenes"}:
        usual, body = _count_matrix(table)
    else:
        usual, body = f"{escape_latex(name.replace('_', ' ').capitalize())}.", _plain(table)
    if not body:
        return ""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{usual if caption is None else caption}}}",
        rf"\label{{tab:{name}}}",
        *body,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    r"""Return a text with LaTeX's special characters escaped: ``a_1`` becomes ``a\_1``."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    return re.sub(
        r"[\\~^<>|&%$#_{}]", lambda found: special.get(found[0], "\\" + found[0]), str(text)
    )


def latex_value(value: float, low: float, high: float, decimals: int | None = None) -> str:
    """Return ``$0.85^{+0.01}_{-0.02}$``, or ``--`` for NaN.

    Args:
        value: The value.
        low: Lower end of its interval.
        high: Upper end.
        decimals: Number of decimals; 2, or 3 where both errors are below 0.01, if None.
    """
    if np.isnan(value):
        return _NOTHING
    above, below = max(high - value, 0.0), max(value - low, 0.0)
    if decimals is None:
        decimals = 2 if max(above, below) >= 0.01 else 3
    return f"${value:.{decimals}f}^{{+{above:.{decimals}f}}}_{{-{below:.{decimals}f}}}$"


def _headline(table: pd.DataFrame) -> tuple[str, list[str]]:
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
        "Completeness (recall) and purity (precision) over all sources and detections. The "
        "information ceiling is the completeness of finding just the sources that can be told "
        f"from unknown neighbours at 5$\\sigma$. {_INTERVALS}"
    )
    return caption, _tabular("lrrrrr", [head], rows)


def _fractions(name: str, table: pd.DataFrame) -> tuple[str, list[str]]:
    quantity, _, by = name.partition("_by_")
    _, heading, words = _QUANTITIES.get(by, ("", escape_latex(by or "Bin"), escape_latex(by)))
    decimals = 1 if by == "magnitude" else None
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
                line.append(_NOTHING if np.isnan(row["n"]) else f"{row['n']:.0f}")
            line.append(latex_value(row["value"], row["value_lo"], row["value_hi"]))
        body.append(line)
    names = [escape_latex(m.capitalize() if m == CEILING else m) for m in methods]
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
        f"{counted}. {_INTERVALS}"
    )
    return caption, _tabular(layout, head, body)


def _efficiency(table: pd.DataFrame) -> tuple[str, list[str]]:
    some = table[table["n"] > 0]
    if some.empty:
        some = table
    magnitudes = sorted(set(zip(some["magnitude_lo"], some["magnitude_hi"], strict=True)))
    distances = sorted(set(zip(some["lo"], some["hi"], strict=True)))
    cells = table.set_index(["method", "magnitude_lo", "lo"])
    body: list[list[str] | str] = []
    methods = methods_of(table)
    for method in [*methods, None]:
        # The number of sources is the same for all methods, and has the last section.
        title = "Number of sources" if method is None else escape_latex(method)
        body += [r"\hline", rf"\multicolumn{{{len(distances) + 1}}}{{l}}{{{title}}} \\"]
        for magnitude in magnitudes:
            line = [latex_bin(*magnitude, decimals=1)]
            for low, _ in distances:
                cell = cells.loc[(method or methods[0], magnitude[0], low)]
                line.append(
                    f"{cell['n']:.0f}"
                    if method is None
                    else latex_value(cell["value"], cell["value_lo"], cell["value_hi"])
                )
            body.append(line)
    head = [[r"$I_\mathrm{E}$", *(latex_bin(*edges) for edges in distances)]]
    caption = (
        "Completeness (recall) by magnitude (rows) and distance to the nearest neighbour in "
        f"arcsec (columns). {_INTERVALS}"
    )
    return caption, _tabular("l" + "r" * len(distances), head, body)


def _count_matrix(table: pd.DataFrame) -> tuple[str, list[str]]:
    some = table[table["scenes"] > 0]
    if some.empty or some["n_true"].max() - some["n_true"].min() >= MAX_ANNOTATED:
        return "", []
    true = range(some["n_true"].min(), some["n_true"].max() + 1)
    found = range(some["n_matched"].min(), some["n_matched"].max() + 1)
    body: list[list[str] | str] = []
    for method in methods_of(table):
        rows = table[table["method"] == method]
        counts = rows.pivot(index="n_matched", columns="n_true", values="scenes")
        counts = counts.reindex(index=found, columns=true).fillna(0).astype(int)
        title = escape_latex(method)
        body += [r"\hline", rf"\multicolumn{{{len(true) + 1}}}{{l}}{{{title}}} \\"]
        body += [[str(k), *map(str, counts.loc[k])] for k in found]
    caption = (
        "Number of scenes by the number of true sources (columns) and of those found (rows)."
    )
    head = [["", *map(str, true)]]
    return caption, _tabular("r" * (len(true) + 1), head, body)


def _plain(table: pd.DataFrame) -> list[str]:
    """Return any other table, number by number."""
    layout = "".join("r" if table[c].dtype.kind in "iuf" else "l" for c in table.columns)
    head = [[escape_latex(column) for column in table.columns]]
    body = [[_plain_cell(value) for value in row] for row in table.itertuples(index=False)]
    return _tabular(layout, head, body)


def _plain_cell(value: object) -> str:
    if not isinstance(value, float | np.floating):
        return escape_latex(str(value))
    if np.isnan(value):
        return _NOTHING
    if np.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    return f"${value:.4g}$" if "e" not in f"{value:.4g}" else rf"\texttt{{{value:.4g}}}"


def latex_bin(low: float, high: float, decimals: int | None = None) -> str:
    """Return how LaTeX writes a bin: ``22.0--22.5``, ``$>2$`` or ``flux $\\le 0$``."""
    text = bin_label(low, high, decimals).replace("–", "--")
    if "≤" in text:
        return r"flux $\le 0$"
    return f"${text.replace(' ', '')}$" if text[0] in "<>" else text


def _tabular(
    layout: str, head: Sequence[Sequence[str]], body: Iterable[Sequence[object] | str]
) -> list[str]:
    """Return the lines of a ``tabular``; strings in the body are whole lines of their own."""
    lines = [rf"\begin{{tabular}}{{{layout}}}", r"\hline"]
    lines += [" & ".join(row) + r" \\" for row in head]
    rows = [row if isinstance(row, str) else " & ".join(map(str, row)) + r" \\" for row in body]
    if not rows or rows[0] != r"\hline":
        lines.append(r"\hline")
    return [*lines, *rows, r"\hline", r"\end{tabular}"]


def _units(name: str, table: pd.DataFrame) -> dict[str, str]:
    by = "neighbour_distance" if name == "efficiency" else name.partition("_by_")[2]
    unit = _QUANTITIES[by][0] if by in _QUANTITIES else ""
    units = {"magnitude_lo": "mag", "magnitude_hi": "mag"}
    return units | {"lo": unit, "hi": unit} if unit else units


def _description(column: str) -> str | None:
    if column in _DESCRIPTIONS:
        return _DESCRIPTIONS[column]
    quantity, _, suffix = column.rpartition("_")
    if quantity in _DESCRIPTIONS and suffix in _SUFFIXES:
        return f"{_SUFFIXES[suffix]} of the {quantity}"
    return None


def _as_text(table: Table, kind: str) -> str:
    stream = io.StringIO()
    table.write(stream, format=kind)
    return stream.getvalue().replace("\r\n", "\n")
