"""Pictures of what was found: the image with marks, and where it is crowded from near by."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import KDTree

from btk_punet.figures import new_axes, write_figure
from btk_punet.files import write_file
from btk_punet.images.marks import GRADES, grades, is_flagged, places, radii
from btk_punet.images.tiles import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from btk_punet.images.detections import Detections

# So many blocks are shown along the longer side of an image.
MOST_BLOCKS = 1400
# Pixels along a side that are read at once.
_PIECE = 1024
# Side of what is shown from near by [pixel], and in how many places.
ZOOM_PIXELS, MOST_ZOOMS = 128, 3
# More sources than these are not numbered.
_MOST_NUMBERS = 60
_UNUSABLE = "#CC79A7"
# Marks as polygons, of radius 1: thousands of them are drawn at once.
_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_SQUARE = np.repeat([[1, 1], [-1, 1], [-1, -1], [1, -1]], 8, axis=0)
# From this least radius on, marks are small on the page, and their lines thin [pixel].
_SMALL_MARKS = 5.0
_NICE_LENGTHS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class Backdrop:
    """What sources are drawn over, in blocks of pixels.

    Attributes:
        values: ``arcsinh(S/N / 3)`` of each block; without the image, the probability that it
            belongs to a source. ``(h, w)``.
        unusable: Blocks of which most pixels are not usable, bool ``(h, w)``.
        range: Values shown white and black.
        extent: Edges of the blocks [pixel]: left, right, bottom, top.
    """

    values: np.ndarray
    unusable: np.ndarray
    range: tuple[float, float]
    extent: tuple[float, float, float, float]


def backdrop(detections: Detections, box: Box, factor: int = 1) -> Backdrop:
    """Return what is drawn behind the sources of a box, read piece by piece.

    Args:
        detections: What was found.
        box: Rows and columns, within the region of the maps.
        factor: Rows and columns of a block.
    """
    rows, columns = box
    shape = [math.ceil((lines.stop - lines.start) / factor) for lines in box]
    values, unusable = np.zeros(shape, np.float32), np.zeros(shape, bool)
    piece = max(_PIECE // factor, 1)
    for top in range(0, shape[0], piece):
        for left in range(0, shape[1], piece):
            lines = [
                slice(
                    whole.start + first * factor,
                    min(whole.start + (first + piece) * factor, whole.stop),
                )
                for whole, first in ((rows, top), (columns, left))
            ]
            part = lines[0], lines[1]
            shown, bad = _piece(detections, part, factor)
            there = np.s_[top : top + shown.shape[0], left : left + shown.shape[1]]
            values[there], unusable[there] = shown, bad
    extent = (
        columns.start - 0.5,
        columns.start - 0.5 + factor * shape[1],
        rows.start - 0.5,
        rows.start - 0.5 + factor * shape[0],
    )
    if detections.image is None:
        return Backdrop(values, unusable, (0.0, 1.6), extent)
    # From below the noise to all but the brightest stars, or to 15 sigma where all is faint; no
    # pixel is quite black, so that marks can be seen on each.
    seen = values[~unusable]
    brightest = max(float(np.quantile(seen, 0.999)) if len(seen) else 0.0, math.asinh(5.0))
    return Backdrop(values, unusable, (-0.6, 1.4 * brightest), extent)


def _piece(detections: Detections, part: Box, factor: int) -> tuple[np.ndarray, np.ndarray]:
    image = detections.image
    if image is None:
        inside = tuple(
            slice(lines.start - first.start, lines.stop - first.start)
            for lines, first in zip(part, detections.region, strict=True)
        )
        background = np.asarray(detections.probability["background"][inside], np.float32)
        number = _sums(np.ones_like(background), factor)
        return 1 - _sums(background, factor) / number, np.zeros(number.shape, bool)
    tile = image.tile(*part)
    snr = np.where(tile.usable, tile.electrons / np.sqrt(tile.variance), 0)
    number = _sums(tile.usable.astype(np.float32), factor)
    bad = number < 0.5 * _sums(np.ones(snr.shape, np.float32), factor)
    return np.arcsinh(_sums(snr, factor) / np.sqrt(np.maximum(number, 1)) / 3), bad


def _sums(values: np.ndarray, factor: int) -> np.ndarray:
    """Return the sums of blocks, those at the end smaller."""
    starts = [np.arange(0, length, factor) for length in values.shape]
    return np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)


class OverviewDisplay:
    """An image and the sources found in it.

    The image is shown in units of its noise, as ``arcsinh(S/N / 3)``, bright sources dark; a large
    one in blocks of pixels. Circles are sources, of the colour of their ``p_detect``; squares are
    those with flags of their own. Pixels that cannot be used are tinted.

    Args:
        detections: What was found.
        box: Rows and columns to show; all of the searched region if None.
        outlines: Whether to draw the outlines of the labels in place of circles.

    Attributes:
        ax_, figure_: What was drawn in.
    """

    ax_: Axes
    figure_: Any

    def __init__(
        self, detections: Detections, box: Box | None = None, outlines: bool = False
    ) -> None:
        self.detections, self.outlines = detections, outlines
        self.box = detections.region if box is None else box

    def plot(self, ax: Axes | None = None) -> OverviewDisplay:
        """Draw in axes, or in those of a new figure.

        Args:
            ax: Axes to draw in; those of a new figure if None.
        """
        if ax is None:
            height, width = (lines.stop - lines.start for lines in self.box)
            ax = new_axes((8.0, float(np.clip(8.0 * height / width, 2.0, 12.0))))
        self.ax_, self.figure_ = ax, ax.figure
        rows, columns = self.box
        longer = max(rows.stop - rows.start, columns.stop - columns.start)
        behind = backdrop(self.detections, self.box, math.ceil(longer / MOST_BLOCKS))
        low, high = behind.range
        shown: dict[str, Any] = {"origin": "lower", "extent": behind.extent}
        ax.imshow(behind.values, cmap="gray_r", vmin=low, vmax=high, **shown)
        if behind.unusable.any():
            from matplotlib.colors import to_rgba

            tint = np.zeros((*behind.unusable.shape, 4), np.float32)
            tint[behind.unusable] = to_rgba(_UNUSABLE, 0.7)
            ax.imshow(tint, interpolation="nearest", **shown)
        if self.outlines:
            self._draw_outlines(ax)
        self._draw_marks(ax, least=0.0 if self.outlines else longer / 400)
        ax.set(
            xlim=(columns.start - 0.5, columns.stop - 0.5),
            ylim=(rows.start - 0.5, rows.stop - 0.5),
            xlabel="x [pixel]",
            ylabel="y [pixel]",
        )
        return self

    def _draw_marks(self, ax: Axes, least: float) -> None:
        from matplotlib.collections import PolyCollection

        catalog, rows, columns = self.detections.catalog, *self.box
        x, y = places(catalog)
        within = (
            (x > columns.start - 0.5)
            & (x < columns.stop - 0.5)
            & (y > rows.start - 0.5)
            & (y < rows.stop - 0.5)
        )
        grade, flagged = grades(catalog["p_detect"]), is_flagged(catalog)
        radius = np.maximum(1.2 * radii(catalog) + 1, least)
        for index, kind in enumerate(GRADES):
            own = within & (grade == index)
            if self.outlines:
                for squares, marker in ((False, "o"), (True, "s")):
                    some = own & (flagged == squares)
                    ax.plot(x[some], y[some], marker, ms=3, color=kind.colour, mec="white", mew=0.5)
                continue
            some = np.flatnonzero(own)
            if len(some):
                corners = np.where(flagged[some, None, None], _SQUARE, _CIRCLE)
                middle = np.stack([x[some], y[some]], axis=1)[:, None]
                marks = PolyCollection(
                    middle + radius[some, None, None] * corners, facecolor="none",
                    edgecolor=kind.colour, linewidth=0.7 if least < _SMALL_MARKS else 0.5,
                )  # fmt: skip
                ax.add_collection(marks)
                marks.set_in_layout(False)  # nor need the layout look at each
        if self.outlines and within.sum() <= _MOST_NUMBERS:
            for i in np.flatnonzero(within):
                ax.annotate(
                    str(catalog["id"][i]), (x[i], y[i]), (2, 2), textcoords="offset points",
                    fontsize=6, color=GRADES[grade[i]].colour, annotation_clip=True, clip_on=True,
                    path_effects=_white_behind(), in_layout=False,
                )  # fmt: skip

    def _draw_outlines(self, ax: Axes) -> None:
        """Draw the edges between pixels of different labels."""
        from matplotlib.collections import LineCollection

        rows, columns = self.box
        top, left = (lines.start for lines in self.detections.region)
        labels = np.asarray(
            self.detections.labels[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        )
        colours = np.array([kind.colour for kind in GRADES])
        of_source = colours[grades(self.detections.catalog["p_detect"])]
        for axis in (0, 1):
            one, other = (
                np.take(labels, np.arange(start, labels.shape[axis] - 1 + start), axis)
                for start in (0, 1)
            )
            row, column = np.nonzero(one != other)
            owner = np.maximum(one, other)[row, column]  # of two sources, the less probable
            y, x = row + rows.start, column + columns.start
            if axis == 0:
                ends = [(x - 0.5, y + 0.5), (x + 0.5, y + 0.5)]
            else:
                ends = [(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)]
            segments = np.stack([np.stack(end, axis=1) for end in ends], axis=1)
            if len(segments):
                edges = of_source[owner - 1]
                lines = LineCollection(list(segments), colors=edges, linewidths=0.8)
                ax.add_collection(lines)
                lines.set_in_layout(False)


def crowded_boxes(detections: Detections) -> list[Box]:
    """Return where most sources are: up to three squares that do not overlap, in order.

    None where the searched region is hardly larger than one.
    """
    rows, columns = detections.region
    half = ZOOM_PIXELS // 2
    cells = [(lines.stop - lines.start) // half for lines in detections.region]
    if min(cells) < 2 or max(cells) < 4:
        return []
    x, y = places(detections.catalog)
    column, row = ((x - columns.start) // half).astype(int), ((y - rows.start) // half).astype(int)
    counts = np.zeros((max(cells[0], row.max(initial=0) + 1),
                       max(cells[1], column.max(initial=0) + 1)), int)  # fmt: skip
    np.add.at(counts, (row.clip(0), column.clip(0)), 1)
    counts = counts[: cells[0], : cells[1]]  # what is left at the end is no whole cell
    squares = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    boxes: list[Box] = []
    while len(boxes) < MOST_ZOOMS and squares.max() > 0:
        top, left = np.unravel_index(np.argmax(squares), squares.shape)
        first = rows.start + int(top) * half, columns.start + int(left) * half
        boxes.append((slice(first[0], first[0] + ZOOM_PIXELS),
                      slice(first[1], first[1] + ZOOM_PIXELS)))  # fmt: skip
        squares[max(top - 1, 0) : top + 2, max(left - 1, 0) : left + 2] = 0
    return boxes


def write_overview(detections: Detections, path: Path) -> None:
    """Write the picture of the whole image, with what is most crowded from near by.

    Args:
        detections: What was found.
        path: A PNG file.
    """
    boxes = crowded_boxes(detections)
    height, width = (lines.stop - lines.start for lines in detections.region)
    main = float(np.clip(8.8 * height / width, 1.2, 13.0))
    zooms = 3.4 if boxes else 0.0

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(
            2 if boxes else 1, max(len(boxes), 1), height_ratios=[main, zooms] if boxes else None
        )
        ax = figure.add_subplot(grid[0, :])
        OverviewDisplay(detections).plot(ax)
        _draw_scale(ax, detections)
        if detections.wcs is not None:
            _draw_compass(ax, detections)
        ax.set_title(_title(detections), fontsize="medium")
        for index, box in enumerate(boxes):
            name = "ABC"[index]
            _draw_frame(ax, box, name)
            zoom = figure.add_subplot(grid[1, index])
            OverviewDisplay(detections, box, outlines=True).plot(zoom)
            zoom.set_title(f"{name}: outlines and ids", fontsize="small")
            zoom.tick_params(labelsize="x-small")
            zoom.set(xlabel="", ylabel="")
        figure.legend(
            handles=_legend(detections), loc="outside lower center", ncols=6, frameon=False,
            fontsize="small",
        )  # fmt: skip

    write_figure(draw, (10.0, main + zooms + 1.0), path)
    _reduce_colours(path)


def _reduce_colours(path: Path) -> None:
    """Write a picture again with the colours that matter, in a fifth of the bytes.

    They are greys, and those of the marks, pure and on what is behind them.
    """
    from matplotlib.colors import to_rgb
    from PIL import Image

    greys = [np.full(3, level) for level in range(0, 256, 5)]
    marks = [255 * np.array(to_rgb(c)) for c in (*(kind.colour for kind in GRADES), _UNUSABLE)]
    mixed = [
        share * mark + (1 - share) * behind
        for mark in marks
        for share in (0.25, 0.5, 0.75, 1.0)
        for behind in (40, 140, 200, 255)
    ]
    palette = np.rint(np.stack([*greys, *mixed])).astype(np.uint8)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    codes, where = np.unique(pixels @ [1 << 16, 1 << 8, 1], return_inverse=True)
    seen = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    nearest = KDTree(palette.astype(float)).query(seen)[1].astype(np.uint8)
    few = Image.fromarray(nearest[where].reshape(pixels.shape[:2]))
    few.putpalette(palette.tobytes())
    content = io.BytesIO()
    few.save(content, format="PNG")
    write_file(path, content.getvalue())


def _title(detections: Detections) -> str:
    height, width = (lines.stop - lines.start for lines in detections.region)
    name = str(detections.about.get("name", "")).replace("$", r"\$")
    number = len(detections)
    text = f"{number} source{'' if number == 1 else 's'} in {height} × {width} pixels"
    return f"{name}: {text}" if name else text


def _legend(detections: Detections) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    none: dict[str, Any] = {"linestyle": "none", "markersize": 7, "fillstyle": "none"}
    handles: list[Any] = [
        Line2D([], [], marker="o", color=kind.colour, label=kind.label, **none) for kind in GRADES
    ]
    handles.append(Line2D([], [], marker="s", color="0.3", label="with flags", **none))
    words = ("not usable", _UNUSABLE) if detections.image is not None else ("p of a source", "0.5")
    return [*handles, Patch(label=words[0], facecolor=words[1], alpha=0.7)]


def _draw_frame(ax: Axes, box: Box, name: str) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = box
    corner = (columns.start - 0.5, rows.start - 0.5)
    sides = columns.stop - columns.start, rows.stop - rows.start
    ax.add_patch(Rectangle(corner, *sides, fill=False, edgecolor="black", linewidth=1.0))
    ax.annotate(
        name, (columns.start, rows.stop), (2, -2), textcoords="offset points", va="top",
        fontweight="bold", path_effects=_white_behind(),
    )  # fmt: skip


def _draw_scale(ax: Axes, detections: Detections) -> None:
    """Draw a bar of a round length of about a fifth of the image."""
    scale = detections.about.get("pixel_scale_arcsec")
    if not scale:
        return
    rows, columns = detections.region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    arcsec = max((n for n in _NICE_LENGTHS if n <= 0.25 * width * scale), default=0)
    if not arcsec:
        return
    x = columns.start + 0.03 * width
    y = rows.start + 0.03 * height
    bar = ax.plot([x, x + arcsec / scale], [y, y], color="black", linewidth=2.5)[0]
    bar.set_path_effects(_white_behind())
    text = f"{arcsec // 60} arcmin" if arcsec >= 60 else f"{arcsec} arcsec"
    ax.annotate(text, (x, y), (0, 4), textcoords="offset points", path_effects=_white_behind())


def _draw_compass(ax: Axes, detections: Detections) -> None:
    """Draw arrows to north and east at the middle of the image, in its upper right corner."""
    rows, columns = detections.region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    x, y = columns.start + width / 2, rows.start + height / 2
    arms = compass(detections.wcs, x, y)
    if arms is None:
        return
    length = 0.07 * min(height, width)
    start = np.array([columns.stop - 1 - 2 * length, rows.stop - 1 - 2 * length])
    for name, direction in zip("NE", arms, strict=True):
        end = start + length * direction
        ax.annotate(
            "", tuple(end), tuple(start), path_effects=_white_behind(),
            arrowprops={"arrowstyle": "->", "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        where = start + 1.35 * length * direction
        ax.text(where[0], where[1], name, ha="center", va="center", path_effects=_white_behind())


def compass(wcs: Any, x: float, y: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the directions (x, y) of north and east at a pixel, each of length 1.

    None where the world coordinates are not those of a known system of the sky, or not finite.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    sky = wcs.celestial.pixel_to_world(x, y)
    if not isinstance(sky, SkyCoord):
        return None
    sky, arms = sky.icrs, []
    for angle in (0 * u.deg, 90 * u.deg):
        there = sky.directional_offset_by(angle, 1 * u.arcsec)
        step = np.array(wcs.celestial.world_to_pixel(there), float) - (x, y)
        length = np.hypot(*step)
        if not np.isfinite(length) or length == 0:
            return None
        arms.append(step / length)
    return arms[0], arms[1]


def _white_behind() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]
