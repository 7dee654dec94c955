"""Completeness and purity of `detect`, SExtractor and SEP against the masked share of an image.

    python benchmarks/masked_images.py [--size 1024] [--n-fields 4] [--csv FILE] [--figure FILE]

Fields of galaxies as dense as the sky, four exposures, masked in four ways: random pixels, dead
columns, saturated stars (discs with bleed trails), and tracks of cosmic rays, 5 to 30 pixels long.
A mask of 20% holds that of 10%. `detect` gets NaN in masked pixels and the noise; SEP its mask,
0 in masked pixels, and the noise; SExtractor 0 in masked pixels and a weight map of 0 and 1, with
its interpolation of masked pixels (INTERP_TYPE ALL, its default) and without. (A FLAG_IMAGE is left
out: it marks detections and changes none.) SEP and SExtractor run with a threshold of 1.2 sigma,
5 pixels and DEBLEND_MINCONT 5e-4, as `SepDeblender` does.

- Completeness: share of the sources of I_E < 25.5 in the field, under a mask or not, that have a
  detection within 3 pixels, one to one.
- Purity: share of the detections that have a source of I_E < 26.5 (all that are drawn) within
  3 pixels, one to one.
- Information: share of the sources of I_E < 25.5 whose signal-to-noise ratio in the pixels that are
  left, if they were alone, is above 5.
- Loss: how much of the completeness of the same fields without a mask is lost, with the standard
  error of the difference (source by source); and what of the information is lost.
"""

import argparse
import math
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import sep
from astropy.io import fits
from astropy.table import Table
from matplotlib.figure import Figure
from rows import add_row
from skimage.draw import disk, line

from btk_punet import Matcher, SourceExtractorDeblender, detect, draw_field, get_euclid_survey
from btk_punet.deblending.isophotal import SMOOTHING
from btk_punet.figures import PALETTE, write_figure
from btk_punet.simulation.rendering import source_components, stamp_renderer
from btk_punet.simulation.snr import COUNTS_SNR
from btk_punet.simulation.survey import (
    background_variance,
    magnitude,
    pixel_scale_arcsec,
)

SEED = 20_261_480
PSF_ARCSEC, FAINTEST, BRIGHT = 0.16, 26.5, 25.5
FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.4)
THRESH, MINAREA, DEBLEND_CONT, DEBLEND_NTHRESH = 1.2, 5, 5e-4, 64
SURVEY = get_euclid_survey(4, psf=PSF_ARCSEC)
BAND = SURVEY.get_filter("IE")
SCALE_ARCSEC = pixel_scale_arcsec(SURVEY)
VARIANCE = background_variance(SURVEY, BAND)
SIGMA = math.sqrt(VARIANCE)
# Rows and columns of one defect, which may reach beyond the image.
Defect = tuple[np.ndarray, np.ndarray]


def random_pixels(size: int, rng: np.random.Generator) -> Iterator[Defect]:
    """Yield single pixels, a thousandth of the image at once."""
    order = rng.permutation(size**2)
    for some in np.array_split(order, 1000):
        yield np.divmod(some, size)


def dead_columns(size: int, rng: np.random.Generator) -> Iterator[Defect]:
    """Yield whole columns, one pixel wide."""
    for column in rng.permutation(size):
        yield np.arange(size), np.full(size, column)


def saturated_stars(size: int, rng: np.random.Generator) -> Iterator[Defect]:
    """Yield discs of a radius of 5 to 30 pixels, with bleed trails four times as long."""
    while True:
        radius = round(5 * 6 ** rng.random() ** 2)  # small ones are more frequent
        row, column = rng.integers(size, size=2)
        half = max(radius // 8, 1)
        trail = np.mgrid[-4 * radius : 4 * radius + 1, -half : half + 1].reshape(2, -1)
        rows, columns = disk((0, 0), radius + 0.5)
        yield (
            np.concatenate([rows, trail[0]]) + row,
            np.concatenate([columns, trail[1]]) + column,
        )


def cosmic_rays(size: int, rng: np.random.Generator) -> Iterator[Defect]:
    """Yield straight tracks of 5 to 30 pixels in any direction."""
    while True:
        row, column = rng.integers(size, size=2)
        length, angle = rng.uniform(5, 30), rng.uniform(0, np.pi)
        down, right = round(length * math.sin(angle)), round(length * math.cos(angle))
        yield line(row, column, row + down, column + right)


KINDS: dict[str, Callable[[int, np.random.Generator], Iterator[Defect]]] = {
    "random pixels": random_pixels,
    "dead columns": dead_columns,
    "saturated stars": saturated_stars,
    "cosmic rays": cosmic_rays,
}


def masks(kind: str, size: int, seed: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the fractions and masks of a kind, each with all of the one before."""
    mask = np.zeros((size, size), bool)
    defects = KINDS[kind](size, np.random.default_rng(seed))
    for fraction in FRACTIONS:
        while mask.mean() < fraction:
            rows, columns = next(defects)
            inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
            mask[rows[inside], columns[inside]] = True
        yield fraction, mask.copy()


class Information:
    """The signal-to-noise ratio that each source would have alone, in the pixels that are left.

    Args:
        truth: The sources, as `draw_field` gives them.
        size: Side of the field [pixel].
    """

    def __init__(self, truth: Table, size: int) -> None:
        renderer = stamp_renderer(BAND.psf, SCALE_ARCSEC, SIGMA)
        self.parts = []
        for row in truth:
            source = dict(zip(truth.colnames, row, strict=True))
            components = source_components(source, float(source["flux"]))
            flux, rows, columns = renderer.draw(components, source["x"], source["y"], size)
            self.parts.append((rows, columns, flux**2 / (VARIANCE + np.maximum(flux, 0))))

    def snr(self, mask: np.ndarray) -> np.ndarray:
        """Return the ratio of each source, ``(n,)``."""
        return np.sqrt([each[~mask[rows, columns]].sum() for rows, columns, each in self.parts])


def detect_places(
    image: np.ndarray, mask: np.ndarray, weights: str = "euclid-vis"
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y [pixel] of what `detect` finds."""
    found = detect(
        np.where(mask, np.nan, image),
        rms=SIGMA,
        gain=1.0,
        background=None,
        psf=PSF_ARCSEC,
        zeropoint=float(magnitude(np.array(1.0), BAND)),
        pixel_scale_arcsec=SCALE_ARCSEC,
        weights=weights,
        galaxies="smooth",
        progress=False,
    ).catalog
    return found["x_peak"].value, found["y_peak"].value


def sep_places(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y [pixel] of what SEP finds."""
    sep.set_extract_pixstack(image.size + 1)
    found = sep.extract(
        np.where(mask, 0, image),
        THRESH,
        err=SIGMA,  # an array makes the filter a matched one, with another threshold
        mask=mask,
        minarea=MINAREA,
        deblend_cont=DEBLEND_CONT,
        deblend_nthresh=DEBLEND_NTHRESH,
    )
    return found["x"], found["y"]


def source_extractor_places(
    image: np.ndarray, mask: np.ndarray, interpolation: str = "ALL"
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y [pixel] of what the program SExtractor finds."""
    values = {
        "PARAMETERS_NAME": "columns.param",
        "FILTER_NAME": "filter.conv",
        "CATALOG_NAME": "catalog.fits",
        "CATALOG_TYPE": "FITS_1.0",
        "VERBOSE_TYPE": "QUIET",
        "THRESH_TYPE": "ABSOLUTE",
        "DETECT_THRESH": THRESH * SIGMA,
        "ANALYSIS_THRESH": THRESH * SIGMA,
        "DETECT_MINAREA": MINAREA,
        "DEBLEND_NTHRESH": DEBLEND_NTHRESH,
        "DEBLEND_MINCONT": DEBLEND_CONT,
        "BACK_TYPE": "MANUAL",
        "BACK_VALUE": 0.0,
        "MEMORY_PIXSTACK": 2 * image.size,
        "MEMORY_OBJSTACK": 10_000,
        "MEMORY_BUFSIZE": len(image),
        "WEIGHT_TYPE": "MAP_WEIGHT",
        "WEIGHT_IMAGE": "weight.fits",
        "WEIGHT_GAIN": "N",
        "INTERP_TYPE": interpolation,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        kernel = "\n".join(" ".join(map(str, row)) for row in SMOOTHING)
        (path / "filter.conv").write_text(f"CONV NORM\n{kernel}\n")
        (path / "columns.param").write_text("X_IMAGE\nY_IMAGE\n")
        (path / "config.sex").write_text("".join(f"{k} {v}\n" for k, v in values.items()))
        fits.writeto(path / "image.fits", np.where(mask, 0, image).astype(np.float32))
        fits.writeto(path / "weight.fits", (~mask).astype(np.float32))
        program = SourceExtractorDeblender(1)._find()
        command = [program, "image.fits", "-c", "config.sex"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        found = fits.getdata(path / "catalog.fits", 1, memmap=False)
        return found["X_IMAGE"] - 1.0, found["Y_IMAGE"] - 1.0  # FITS counts from 1


# What is drawn for the documentation, as docs/figures/NAME.png.
FIGURES = ("masked_images",)

METHODS: dict[str, Callable] = {
    "detect": detect_places,
    "SExtractor": source_extractor_places,
    "SEP": sep_places,
    "SExtractor, no interpolation": lambda *given: source_extractor_places(*given, "NONE"),
}


def is_matched(
    truth: Table, x: np.ndarray, y: np.ndarray, faintest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which sources brighter than a magnitude, and which detections, are matched."""
    sources = truth[truth["IE_ab"] < faintest]
    pairs = Matcher(3 * SCALE_ARCSEC, SCALE_ARCSEC).match_positions(
        sources["x"], sources["y"], x, y
    )
    found, right = np.zeros(len(sources), bool), np.zeros(len(x), bool)
    found[pairs[0]], right[pairs[1]] = True, True
    return found, right


def measure(size: int, seed: int, kinds: list[str], weights: str) -> pd.DataFrame:
    """Return the counts of one field, one row per kind of mask, fraction and method."""
    methods = METHODS | {"detect": partial(detect_places, weights=weights)}
    image, truth, _ = draw_field((size, size), None, SURVEY, faintest=FAINTEST, seed=seed)
    inside = np.all([(truth[c] >= -0.5) & (truth[c] < size - 0.5) for c in "xy"], axis=0)
    bright = truth[inside & (truth["IE_ab"] < BRIGHT)]
    information = Information(bright, size)
    rows = []
    for kind in kinds:
        for fraction, mask in masks(kind, size, seed):
            known = information.snr(mask) > COUNTS_SNR
            if fraction == 0 and rows:
                # The same for all kinds.
                rows += [row | {"kind": kind} for row in rows[: len(METHODS)]]
                continue
            for method, places in methods.items():
                x, y = places(image, mask)
                # Sources outside of the field are there to be matched, not to be found.
                found, _ = is_matched(bright, x, y, BRIGHT)
                _, right = is_matched(truth, x, y, FAINTEST)
                rows.append(
                    {
                        "kind": kind,
                        "fraction": fraction,
                        "method": method,
                        "masked": mask.mean(),
                        "found": found,
                        "known": known,
                        "n_right": right.sum(),
                        "n_detections": len(x),
                    }
                )
    return pd.DataFrame(rows)


def summary(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the table of all fields together."""
    rows = []
    for (kind, method), same in counts.groupby(["kind", "method"], sort=False):
        whole = same[same["fraction"] == 0]
        before = np.concatenate(list(whole["found"]))
        known_before = np.concatenate(list(whole["known"]))
        for fraction, some in same.groupby("fraction"):
            found = np.concatenate(list(some["found"]))
            known = np.concatenate(list(some["known"]))
            lost = before.astype(int) - found
            rows.append(
                {
                    "kind": kind,
                    "fraction": fraction,
                    "method": method,
                    "masked": some["masked"].mean(),
                    "n_sources": len(found),
                    "completeness": found.mean(),
                    "loss": lost.mean(),
                    "loss_err": lost.std() / math.sqrt(len(lost)),
                    "information": known.mean(),
                    "information_loss": (known_before & ~known).mean(),
                    "n_detections": some["n_detections"].sum(),
                    "purity": some["n_right"].sum() / some["n_detections"].sum(),
                }
            )
    table = pd.DataFrame(rows)
    table["kind"] = pd.Categorical(table["kind"], list(KINDS))
    table["method"] = pd.Categorical(table["method"], list(METHODS))
    return table.sort_values(["kind", "fraction", "method"], ignore_index=True)


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Draw completeness and purity against the masked fraction, a column per kind of mask."""
    kinds = list(table["kind"].unique())
    axes = figure.subplots(2, len(kinds), sharex=True, sharey="row", squeeze=False)
    for number, kind in enumerate(kinds):
        of_kind = table[table["kind"] == kind]
        for method, colour in zip(METHODS, PALETTE, strict=False):
            some = of_kind[of_kind["method"] == method]
            plain = {"color": colour, "marker": "o", "markersize": 3, "label": method}
            plain["linestyle"] = ":" if "no " in method else "-"
            for row, quantity in enumerate(("completeness", "purity")):
                axes[row, number].plot(some["masked"], some[quantity], **plain)
        some = of_kind[of_kind["method"] == next(iter(METHODS))]
        axes[0, number].plot(
            some["masked"], some["information"], color="black", linestyle="--", label="information"
        )
        axes[0, number].set_title(kind, fontsize="medium")
        axes[1, number].set_xlabel("masked fraction")
        for each in axes[:, number]:
            each.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"completeness, $I_E$ < {BRIGHT:g}")
    axes[1, 0].set_ylabel("purity")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)


def main() -> None:
    """Print the table, and write it as CSV and as a figure where these are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="side of a field [pixel]")
    parser.add_argument("--n-fields", type=int, default=4)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--weights", default="euclid-vis", help="of detect")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    parts = []
    for number in range(options.n_fields):
        parts.append(measure(options.size, SEED + number, options.kinds, options.weights))
        print(f"field {number + 1} of {options.n_fields} done", flush=True)
    table = summary(pd.concat(parts, ignore_index=True))
    print(table.to_string(float_format="{:.3f}".format, index=False))
    for each in table[table["fraction"] == 0.1].itertuples():
        case = f"{each.method}, 10% masked by {each.kind}"
        lost = each.loss - each.information_loss
        add_row(f"completeness lost beyond the information, {case}", lost, "share", seed=SEED)
    if options.csv:
        table.to_csv(options.csv, index=False, float_format="%.4f")
    if options.figure:
        width = 2.2 * len(options.kinds)
        write_figure(lambda figure: draw(figure, table), (width, 4.4), options.figure)


if __name__ == "__main__":
    main()
