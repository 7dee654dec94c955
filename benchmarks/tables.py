"""The benchmark's tables in Markdown, as they stand in docs/benchmark.md.

btk-punet compare -o FOLDER --benchmark all --cosmos-dir DIR --no-report
python benchmarks/tables.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

SEP = {"first": "SEP 1.2/5/0.0005", "second": "SEP 1.0/5/0.0001", "purest": "SEP 1.5/5/0.005"}
EDGES = ["0-0.3", "0.3-0.5", "0.5-0.8", "0.8-1.2", "1.2-2", "> 2"]


def show(head: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    print("|", " | ".join(head), "|")
    print("|" + "---|" * len(head))
    for row in rows:
        print("|", " | ".join(row), "|")
    print()


def interval(row: pd.Series, ends: str = "") -> str:
    """Return a margin with its interval."""
    return (
        f"{row['margin']:+.3f} ({row[f'margin_lo{ends}']:+.3f} to {row[f'margin_hi{ends}']:+.3f})"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    read = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
    margins = read["benchmark_equal_purity"].set_index(["set", "method", "neighbours"])
    whole = read["benchmark"].set_index(["set", "method"])
    sets = list(dict.fromkeys(read["benchmark"]["set"]))
    for setting in ("first", "second"):
        rows = []
        for name in sets:
            row = margins.loc[(name, SEP[setting], "all")]
            ceiling = whole.loc[(name, "ProbaUNet"), "ceiling"]
            numbers = [row["purity"], row["completeness_other"], row["completeness"]]
            cells = ["never as pure" if np.isnan(n) else f"{n:.3f}" for n in numbers]
            rows.append([f"`{name}`", *cells, interval(row), f"{ceiling:.3f}"])
        print(SEP[setting])
        show(["set", "purity", "SEP", "ProbaUNet", "margin (68%)", "ceiling"], rows)
    rows = []
    for name in sets:
        close = [
            f"{margins.loc[(name, SEP[s], '0.5-0.8 arcsec'), 'margin']:+.3f}"
            for s in ("first", "second")
        ]
        row = margins.loc[(name, SEP["purest"], "all")]
        last = f"{interval(row, '_95')} at purity {row['purity']:.3f}"
        if not row["reached"]:
            last = f"never as pure: no margin at purity {row['purity']:.3f}"
        rows.append([f"`{name}`", *close, last])
    print("Close neighbours, and the purest setting (95%)")
    show(
        ["set", "0.5-0.8, (1.2, 5, 5e-4)", "0.5-0.8, (1.0, 5, 1e-4)", "all, (1.5, 5, 0.005)"], rows
    )
    scores = read["benchmark_probabilities"].set_index("set")
    print("Calibration")
    show(
        ["set", "calibration error of `p_detect`", "largest count gap"],
        [
            [f"`{name}`", *(f"{scores.loc[name, c]:.3f}" for c in (
                "expected_calibration_error", "largest_count_gap"))]
            for name in sets
        ],
    )  # fmt: skip
    share, rows = read["benchmark_ceiling_share"], []
    for name in sets:
        own = share[share["set"] == name].set_index("method")
        of_sep = own[own.index.str.startswith("SEP") & own["reached"]]
        cells = ["none", ""]
        if len(of_sep):
            best = of_sep.loc[of_sep["completeness"].idxmax()]
            cells = [f"{best['completeness']:.3f}", _share(best)]
        row = own.loc["ProbaUNet"]
        cells += [f"{row['completeness']:.3f}", _share(row)] if row["reached"] else [
            "never as pure", ""]  # fmt: skip
        rows.append([f"`{name}`", f"{row['ceiling']:.3f}", *cells])
    print("Share of the ceiling at purity 0.95")
    show(["set", "ceiling", "best SEP", "share", "ProbaUNet", "share"], rows)
    by_distance, rows = read["benchmark_by_neighbour_distance"], []
    for name in sets:
        own = by_distance[by_distance["set"] == name]
        values = {
            method: own[own["method"] == method].set_index("lo")["value"]
            for method in (SEP["first"], "ProbaUNet", "information ceiling")
        }
        cells = []
        for low in (0.0, 0.3, 0.5, 0.8, 1.2, 2.0):
            numbers = [value.get(low, np.nan) for value in values.values()]
            empty = any(np.isnan(number) for number in numbers)
            cells.append("" if empty else " / ".join(f"{number:.2f}" for number in numbers))
        rows.append([f"`{name}`", *cells])
    print("By distance to the nearest neighbour")
    show(["set", *EDGES], rows)


def _share(row: pd.Series) -> str:
    return f"{row['share']:.3f} ({row['share_lo']:.3f} to {row['share_hi']:.3f})"


if __name__ == "__main__":
    main()
