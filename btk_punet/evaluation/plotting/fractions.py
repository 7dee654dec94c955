"""Completeness and purity in bins of one quantity, as lines with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import (
    POINTS,
    bin_label,
    draw_legend,
    error_lengths,
    method_styles,
    methods_of,
    plain_label,
    rows_by_method,
    some_bins,
    without_unknown_ceiling,
)
from btk_punet.evaluation.quantities import CEILING, OF_DETECTIONS, OF_SOURCES

# What the bins of each fraction may be of.
_BINNED_BY = {"completeness": OF_SOURCES, "purity": OF_DETECTIONS}
_GREY = "0.4"


class FractionDisplay(AxesDisplay):
    """Completeness or purity in bins of one quantity: one line per method, with 68% intervals.

    Args:
        table: ``completeness_by_*`` or ``purity_by_*`` of a comparison, or what the
            ``aggregate()`` of `Completeness` or `Purity` returns.
        quantity: ``"completeness"`` or ``"purity"``.
        by: What the table is binned by, a column of the truth table such as ``"magnitude"``.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        errorbars_: Matplotlib's container of each method's points and error bars, by its name.
        ceiling_: The dashed steps of the information ceiling, or None.
        legend_: The legend, or None.

    Magnitudes are drawn to scale. The bins of other quantities are of unequal width and may end
    in infinity; they stand side by side, each with its range below it.

    Example:
        >>> display = FractionDisplay(tables["purity_by_magnitude"], "purity", "magnitude")
        >>> display.plot().ax_.set_title("groups")  # doctest: +SKIP
    """

    size_inches = (7.8, 4.4)

    def __init__(self, table: pd.DataFrame, quantity: str, by: str):
        self.table = table
        self.quantity = quantity
        self.by = by

    def _plot(self, methods: Sequence[str] | None) -> None:
        label = self._label()
        table = self.table
        if "method" not in table:
            table = table.assign(method="")
        table = without_unknown_ceiling(table)
        drawn, styles = method_styles(methods_of(table), methods)
        bins = some_bins(table[table["method"] != CEILING])
        rows = rows_by_method(table, bins)
        left, right = self._draw_bins(bins, label)
        dark = np.isposinf(bins["lo"].to_numpy())

        # Side by side within the bin, so that intervals of equal values can all be seen.
        step = min(0.13, 0.6 / max(len(drawn), 1))
        self.errorbars_: dict[str, Any] = {}
        for i, name in enumerate(drawn):
            x = (left + right) / 2 + (i - (len(drawn) - 1) / 2) * step * (right - left)
            value = rows[name]["value"].to_numpy()
            lengths = error_lengths(rows[name])
            # No line leads to the detections that have no magnitude.
            for part, line in ((~dark, "-"), (dark, "none")):
                if part.any():
                    bars = self.ax_.errorbar(
                        x[part], value[part], lengths[:, part], linestyle=line,
                        **POINTS, **styles[name],
                    )  # fmt: skip
                    self.errorbars_.setdefault(name, bars)
        self.ceiling_ = None
        if CEILING in rows:
            self.ceiling_ = self.ax_.stairs(
                rows[CEILING]["value"].to_numpy(), np.append(left, right[-1:]), baseline=None,
                color="black", linestyle="--", linewidth=1.2, label=CEILING,
            )  # fmt: skip
        self._draw_numbers((left + right) / 2, {name: rows[name]["n"] for name in drawn})
        lowest = np.nanmin([1.0, *(rows[name]["value"].min() for name in drawn)])
        bottom = 0.5 if self.quantity == "purity" and lowest >= 0.5 else 0.0
        self.ax_.set_ylim(bottom - 0.02, 1.02)
        self.ax_.set_ylabel(self.quantity.capitalize())
        handles = {name: bars for name, bars in self.errorbars_.items() if name}
        if self.ceiling_ is not None:
            handles[CEILING] = self.ceiling_
        self.legend_ = draw_legend(self.ax_, handles)

    def _label(self) -> str:
        if self.quantity not in _BINNED_BY:
            raise InputError(f"quantity must be one of {list(_BINNED_BY)}, got {self.quantity!r}.")
        known = _BINNED_BY[self.quantity]
        if self.by not in known:
            raise InputError(
                f"by must be one of {list(known)} for {self.quantity}, got {self.by!r}."
            )
        return known[self.by].label

    def _draw_bins(self, bins: pd.DataFrame, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Lay the bins out along the axis; return where each begins and ends."""
        from matplotlib.ticker import MaxNLocator

        low, high = bins["lo"].to_numpy(float), bins["hi"].to_numpy(float)
        dark = np.isposinf(low)
        closed = np.isfinite(low) & np.isfinite(high)
        if self.by == "magnitude" and closed.any():
            # All that is brighter, or fainter, is drawn as one more bin.
            width = (high[closed] - low[closed]).max()
            low = np.where(np.isneginf(low), high - width, low)
            high = np.where(np.isposinf(high) & ~dark, low + width, high)
        if self.by == "magnitude" and np.isfinite([low[~dark], high[~dark]]).all() and any(~dark):
            # Detections without a positive flux have no magnitude: a place of their own, apart.
            width = (high[~dark] - low[~dark]).max()
            left = np.where(dark, high[~dark].max() + 1.5 * width, low)
            right = np.where(dark, left + width, high)
            locator = MaxNLocator(8, steps=[1, 2, 5, 10])
            ticks = np.asarray(locator.tick_values(left.min(), high[~dark].max()))
            ticks = ticks[(ticks >= left.min()) & (ticks <= high[~dark].max())]
            names = [f"{tick:g}" for tick in ticks]
            if dark.any():
                ticks = np.append(ticks, (left + right)[dark] / 2)
                names.append(bin_label(np.inf, np.inf))
            self.ax_.set_xticks(ticks, names)
        else:
            left = np.arange(len(bins), dtype=float) - 0.5
            right = left + 1
            names = [bin_label(*edges) for edges in zip(low, high, strict=True)]
            crowded = len(names) * (max(map(len, names), default=0) + 1) > 70
            turn: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
            self.ax_.set_xticks((left + right) / 2, names, **(turn if crowded else {}))
        if len(bins):
            margin = 0.3 * (right - left)[0]
            self.ax_.set_xlim(left[0] - margin, right[-1] + margin)
        self.ax_.set_xlabel(label)
        return left, right

    def _draw_numbers(self, centres: np.ndarray, numbers: dict[str, pd.Series]) -> None:
        """Write above the axes how many sources or detections each bin holds."""
        if not numbers:
            return
        counts = {name: n.fillna(0).to_numpy(int) for name, n in numbers.items()}
        same = all((n == next(iter(counts.values()))).all() for n in counts.values())
        lines = {"": next(iter(counts.values()))} if same else counts
        if len(lines) > 4:
            return
        size = "x-small" if len(centres) <= 14 else "xx-small"
        # Tick labels of an axis on top, because titles know how to stay clear of those.
        top = self.ax_.secondary_xaxis("top")
        top.set_xticks(centres, ["\n".join(str(n[i]) for n in lines.values())
                                 for i in range(len(centres))])  # fmt: skip
        top.tick_params(length=0, pad=2, labelsize=size, labelcolor=_GREY)
        top.spines["top"].set_visible(False)
        self.ax_.annotate(
            "\n".join(plain_label(f"N {name}".strip()) for name in lines), (0, 1), xytext=(-3, 2),
            xycoords="axes fraction", textcoords="offset points",
            ha="right", va="bottom", fontsize=size, color=_GREY,
        )  # fmt: skip
