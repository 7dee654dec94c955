"""Detection on real sky: deep images made Euclid-like, against detection on the images themselves.

    python benchmarks/real_fields.py FIELDS_DIR [-o FOLDER] [--weights MODEL ...]
        [--realisations 5] [--seed 1]

FIELDS_DIR holds JWST/NIRCam F115W of the UDS (`uds_f115w_sci.fits`, `uds_f115w_wht.fits`,
`uds_f115w_psf.fits` and the segmentation `uds_lw_seg.fits`, of F277W and redder; from
github.com/ivolabbe/mophongo) and HST/WFPC2 F814W of the Hubble Deep Field North
(`hdfn_f814w_sci.fits`; from github.com/uw-comphys/shapelets).

Made Euclid-like: in Fourier space the image's own PSF and pixel are divided out and Euclid's, of
FWHM 0.17 arcsec, and its pixel of 0.1 arcsec are multiplied in; as nothing of the result lies
beyond what the pixels of the original resolve, the new pixels follow exactly. Its PSF is sharper,
so that the ratio nowhere amplifies noise much; the largest ratio is printed. Magnitudes of the
other band are taken for I_E. The noise of the survey is added on top of what noise the original
has, whose share is printed.

The reference is what SExtractor finds in the original. It is no truth: its deblending decides too
what is one galaxy, and it misses what the original is too shallow for. A second reference for the
UDS is the segmentation that others made. Completeness: of the reference sources of I < 25.5.
Purity: of the detections, those within 0.3 arcsec of a reference source of I < 28.5, one to one.
Shredded: a reference source larger than 0.3 arcsec (half-light radius) and brighter than 23.5 with
more than one detection on its footprint, not counted those that are other reference sources.
Doubles are unmatched detections within 0.2 arcsec of a matched one.
"""

import argparse
import io
import itertools
import math
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.stats import mad_std
from astropy.table import Table
from astropy.wcs import WCS
from euclid_like import (
    FILES,
    ORIGINAL_SCALE,
    RATIO,
    SCALE,
    Field,
    degraded_wcs,
    euclid_like,
    original_pixels,
    read_fields,
    self_check,
)
from matplotlib.colors import to_rgb
from PIL import Image
from rows import add_row
from scipy import ndimage

from btk_punet import (
    Matcher,
    SepDeblender,
    SourceExtractorDeblender,
    detect,
    get_euclid_survey,
    image_batch,
)
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.simulation.survey import background_variance, euclid_psf

# The figures of the documentation that this script draws into FOLDER.
FIGURES = ("real_sky_large", "real_sky_crowded")
PSF_FWHM, READ_NOISE = 0.17, 4.4
EXPOSURES = (1, 4)
SETTINGS = ((1.2, 5, 5e-4), (1.5, 5, 0.005))
THRESHOLDS = (0.5, 0.9)  # of p_detect
# Magnitudes of the reference. Four exposures show a point source of 28.6 at 2 sigma, from where
# on a source can be matched.
COUNTED, MATCHED = 25.5, 28.5
MAGNITUDE_BINS = (0, 23.5, 24.5, 25.5, 26.5)
LARGE_ARCSEC, LARGE_MAGNITUDE = 0.3, 23.5
DOUBTFUL = 0.2, 0.8  # of p_detect
DOUBLE_PIXELS = 2.0  # nearer to a matched detection than any PSF can tell
EDGE = 10  # pixels of 0.1 arcsec, where the original's light from beyond is missing
# What SExtractor gets wrong in the originals, seen by eye before anything was detected in the
# degraded images; column, row and radius [pixel of 0.04 arcsec]. A faint face-on galaxy in the
# shallow part of the UDS is six pieces; two companions of the large galaxy in the HDF-N are missed.
ONE_GALAXY = {"UDS F115W": [(95, 356, 25)]}
COMPANIONS = {"HDF-N F814W": [(343, 142, 5), (355, 213, 5)]}
# NIRCam's spikes are not Euclid's: nothing counts around the one bright star.
STARS = {"UDS F115W": [(863, 331, 62)]}
# Of the original's pixels [1 / (10 nJy)^2]. Where the UDS is shallower its noise, which goes
# through Euclid's PSF with the sources and looks like them, is as much as that of 4 exposures.
LEAST_WEIGHT = 2000.0
REFERENCE_SETTINGS = {
    "DETECT_THRESH": 2.0,
    "ANALYSIS_THRESH": 2.0,
    "DETECT_MINAREA": 9,
    "DEBLEND_NTHRESH": 32,
    "DEBLEND_MINCONT": 0.005,
    "BACK_SIZE": 128,
    "BACK_FILTERSIZE": 3,
}


@dataclass(frozen=True)
class Reference:
    """What there is, as far as the original tells.

    Attributes:
        name: Who says so.
        table: ``x``, ``y`` [pixel of 0.1 arcsec], ``magnitude``, ``radius`` [arcsec].
        labels: Number of the row + 1 of each pixel of the original, 0 for none.
    """

    name: str
    table: pd.DataFrame
    labels: np.ndarray

    def footprint_of(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return on whose footprint places [pixel of 0.1 arcsec] lie: the row, or -1."""
        row, column = (
            np.clip(np.round(RATIO * v + 1).astype(int), 0, n - 1)
            for v, n in zip((y, x), self.labels.shape, strict=True)
        )
        return self.labels[row, column] - 1


def found_in_original(field: Field) -> Reference:
    """Return what SExtractor finds in the original."""
    program = shutil.which("source-extractor") or shutil.which("sex")
    columns = ("NUMBER", "X_IMAGE", "Y_IMAGE", "MAG_AUTO", "FLUX_RADIUS")
    smoothing = np.outer(*[np.exp(-0.5 * (np.arange(-2, 3) / 1.27) ** 2)] * 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.PrimaryHDU(field.image.astype(np.float32)).writeto(folder / "image.fits")
        lines = ["CONV NORM", *(" ".join(f"{v:.6f}" for v in row) for row in smoothing)]
        (folder / "filter.conv").write_text("\n".join(lines) + "\n")
        (folder / "columns.param").write_text("\n".join(columns) + "\n")
        settings = REFERENCE_SETTINGS | {
            "CATALOG_NAME": "catalog.fits",
            "CATALOG_TYPE": "FITS_1.0",
            "PARAMETERS_NAME": "columns.param",
            "FILTER_NAME": "filter.conv",
            "CHECKIMAGE_TYPE": "SEGMENTATION",
            "CHECKIMAGE_NAME": "labels.fits",
            "MAG_ZEROPOINT": field.zeropoint,
            "MEMORY_PIXSTACK": 2 * field.image.size,
            "VERBOSE_TYPE": "QUIET",
        }
        if field.weight is not None:
            fits.PrimaryHDU(field.weight.astype(np.float32)).writeto(folder / "weight.fits")
            settings |= {"WEIGHT_TYPE": "MAP_WEIGHT", "WEIGHT_IMAGE": "weight.fits"}
        (folder / "config.sex").write_text("".join(f"{k} {v}\n" for k, v in settings.items()))
        subprocess.run([program, "image.fits", "-c", "config.sex"], cwd=folder, check=True)
        rows = Table.read(folder / "catalog.fits", hdu=1).to_pandas()
        labels = fits.getdata(folder / "labels.fits").astype(int)
    rows = rows.sort_values("NUMBER")
    table = pd.DataFrame(
        {
            "x": (rows["X_IMAGE"] - 2) / RATIO,  # FITS counts from 1
            "y": (rows["Y_IMAGE"] - 2) / RATIO,
            "magnitude": rows["MAG_AUTO"],
            "radius": rows["FLUX_RADIUS"] * ORIGINAL_SCALE,
        }
    ).reset_index(drop=True)
    return corrected(Reference("SExtractor", table, labels), field)


def corrected(reference: Reference, field: Field) -> Reference:
    """Return the reference with what the eye sees in the original."""
    table, labels = reference.table.copy(), reference.labels.copy()
    for column, row, radius in ONE_GALAXY.get(field.name, []):
        x, y = (column - 1) / RATIO, (row - 1) / RATIO
        pieces = np.hypot(table["x"] - x, table["y"] - y) < radius / RATIO
        light = float((10 ** (-0.4 * table["magnitude"][pieces])).sum())
        first, *others = np.flatnonzero(pieces)
        distance = radius / 2 * ORIGINAL_SCALE
        table.loc[first] = [x, y, -2.5 * math.log10(light), distance]
        labels[np.isin(labels, np.array(others) + 1)] = first + 1
        table.loc[others, "magnitude"] = np.inf
    for column, row, radius in COMPANIONS.get(field.name, []):
        rows, columns = np.indices(labels.shape)
        distance = np.hypot(rows - row, columns - column)
        own, around = distance < radius, (distance >= radius) & (distance < 2 * radius)
        light = (field.image[own] - np.median(field.image[around])).sum()
        magnitude = field.zeropoint - 2.5 * math.log10(light)
        place = (column - 1) / RATIO, (row - 1) / RATIO
        table.loc[len(table)] = [*place, magnitude, radius / 2 * ORIGINAL_SCALE]
        labels[own] = len(table)
    return Reference(reference.name, table, labels)


def counted_area(field: Field, shape: tuple[int, int]) -> np.ndarray:
    """Return in which pixels of 0.1 arcsec sources and detections count."""
    area = np.zeros(shape, bool)
    area[EDGE:-EDGE, EDGE:-EDGE] = True
    y, x = np.indices(shape)
    for column, row, radius in STARS.get(field.name, []):
        distance = np.hypot(x - (column - 1) / RATIO, y - (row - 1) / RATIO)
        area &= distance > radius / RATIO
    if field.weight is not None:
        # The weights of single pixels scatter.
        weight = ndimage.median_filter(field.weight, 11)
        area &= weight[original_pixels(shape)] >= LEAST_WEIGHT
    return area


def given_segmentation(field: Field) -> Reference:
    """Return the sources of the segmentation of others, with their light in this image."""
    _, labels = np.unique(field.segmentation, return_inverse=True)
    labels = labels.reshape(field.segmentation.shape)
    rows = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[box] == number
        light = np.where(own, field.image[box], 0)
        positive = np.clip(light, 0, None)
        y, x = np.indices(own.shape)
        total = light.sum()
        if not (total > 0 and positive.sum() > 0):
            rows.append((0.0, 0.0, np.inf, 0.0))
            continue
        centre = [(positive * axis).sum() / positive.sum() for axis in (x, y)]
        distance = np.hypot(x - centre[0], y - centre[1])
        order = np.argsort(distance, axis=None)
        half = np.searchsorted(np.cumsum(positive.ravel()[order]), positive.sum() / 2)
        rows.append(
            (
                (box[1].start + centre[0] - 1) / RATIO,
                (box[0].start + centre[1] - 1) / RATIO,
                field.zeropoint - 2.5 * math.log10(total),
                distance.ravel()[order][half] * ORIGINAL_SCALE,
            )
        )
    columns = ["x", "y", "magnitude", "radius"]
    return Reference("given segmentation", pd.DataFrame(rows, columns=columns), labels)


def found_by_all(image: np.ndarray, survey, wcs: WCS, weights: list[str]) -> dict[str, Table]:
    """Return what each method finds: ``x``, ``y`` and, if it has one, ``p`` of its candidates."""
    band = survey.get_filter("IE")
    sigma = math.sqrt(background_variance(survey, band))
    zeropoint = band.zeropoint.value + 2.5 * math.log10(band.full_exposure_time.value)
    found = {}
    for name in weights:
        candidates = detect(
            image, rms=sigma, gain=1.0, zeropoint=zeropoint, psf=PSF_FWHM, wcs=wcs,
            background=None, weights=name, progress=False,
        ).candidates  # fmt: skip
        order = np.argsort(-np.asarray(candidates["p_detect"]), kind="stable")
        columns = {"x": "x", "y": "y", "p": "p_detect"}
        for threshold in THRESHOLDS:
            table = Table({key: candidates[column][order] for key, column in columns.items()})
            table.meta["threshold"] = threshold
            found[f"{label_of(name)} {threshold:g}"] = table
    # A batch is square; there is nothing in what is added.
    square = np.zeros((max(image.shape),) * 2)
    square[: image.shape[0], : image.shape[1]] = image
    for program, label in ((SepDeblender, "SEP"), (SourceExtractorDeblender, "SExtractor")):
        for setting in SETTINGS:
            catalog = program(2000, *setting)(image_batch(square, survey)).catalog_list[0]
            found[f"{label} {'/'.join(map(str, setting))}"] = Table(
                {"x": catalog["x_peak"], "y": catalog["y_peak"]}
            )
    return found


def compared(found: Table, reference: Reference, area: np.ndarray) -> tuple[dict, np.ndarray]:
    """Return the counts of one method on one image, and which of its detections are matched."""
    rows = reference.table
    can_match = np.flatnonzero(rows["magnitude"] < MATCHED)
    places = [rows[axis].to_numpy()[can_match] for axis in ("x", "y")]
    x, y = places_of(found)
    source, detection = Matcher().match_positions(*places, x, y)
    matched = np.zeros(len(x), bool)
    matched[detection] = True
    is_found = np.zeros(len(rows), bool)
    is_found[can_match[source]] = True
    magnitude = np.where(_within(area, rows["x"], rows["y"]), rows["magnitude"], np.inf)
    counted = magnitude < COUNTED
    large = (magnitude < LARGE_MAGNITUDE) & (rows["radius"] > LARGE_ARCSEC).to_numpy()
    owner = reference.footprint_of(x, y)
    of_source = np.full(len(x), -1)
    of_source[detection] = can_match[source]
    # Those that are other reference sources do not count.
    own = (owner >= 0) & (~matched | (of_source == owner))
    on_it = np.bincount(owner[own], minlength=len(rows))[large]
    inside = _within(area, x, y)
    extra = inside & ~matched
    near_matched = _nearest(x, y, x[matched], y[matched]) < DOUBLE_PIXELS
    # How many would match if nothing were where it is: the detections moved by 2 arcsec.
    moves = ((20, 0), (-20, 0), (0, 20), (0, -20))
    moved = [Matcher().match_positions(*places, x + dx, y + dy)[1] for dx, dy in moves]
    counts = {
        "reference": counted.sum(),
        "found": is_found[counted].sum(),
        "detections": inside.sum(),
        "matched": (inside & matched).sum(),
        "by_chance": np.mean([inside[pairs].sum() for pairs in moved]),
        "large": large.sum(),
        "shredded": (on_it > 1).sum(),
        "extra_on_large": np.clip(on_it - 1, 0, None).sum(),
        "doubles": (extra & near_matched).sum(),
        "unmatched_on_footprints": (extra & (owner >= 0)).sum(),
        "unmatched_elsewhere": (extra & (owner < 0)).sum(),
    }
    for low, high in itertools.pairwise(MAGNITUDE_BINS):
        in_bin = (magnitude >= low) & (magnitude < high)
        counts[f"reference_{low:g}_{high:g}"] = in_bin.sum()
        counts[f"found_{low:g}_{high:g}"] = is_found[in_bin].sum()
    if "p" in found.colnames:
        x, y, p = (np.asarray(found[name], float) for name in ("x", "y", "p"))
        doubtful = (p > DOUBTFUL[0]) & (p < DOUBTFUL[1]) & _within(area, x, y)
        counts |= {
            "doubtful": doubtful.sum(),
            "doubtful_expected": p[doubtful].sum(),
            "doubtful_true": Matcher().gains(*places, x, y)[doubtful].sum(),
        }
    return {name: float(value) for name, value in counts.items()}, matched


def _nearest(x: np.ndarray, y: np.ndarray, to_x: np.ndarray, to_y: np.ndarray) -> np.ndarray:
    """Return how far the nearest of some places is from each."""
    distance = np.hypot(x[:, None] - to_x, y[:, None] - to_y)
    return distance.min(axis=1, initial=np.inf)


def places_of(found: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows of the detections, those above the threshold."""
    sure = found[found["p"] >= found.meta["threshold"]] if "p" in found.colnames else found
    return np.asarray(sure["x"], float), np.asarray(sure["y"], float)


def _within(area: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which places lie in the area."""
    row, column = (np.round(np.asarray(v, float)).astype(int) for v in (y, x))
    in_image = (row >= 0) & (row < area.shape[0]) & (column >= 0) & (column < area.shape[1])
    return in_image & area[np.where(in_image, row, 0), np.where(in_image, column, 0)]


def noise_shares(
    light: np.ndarray, reference: Reference, area: np.ndarray, variance: float
) -> tuple[float, float]:
    """Return the original's own noise in the degraded image over Euclid's, where nothing is.

    Args:
        light: The degraded image before noise is added [electron].
        reference: Says where nothing is.
        area: What counts.
        variance: Euclid's, of a pixel [electron^2].

    Returns:
        Of the variance of a pixel; and of that of the light under Euclid's PSF, which is what
        matters for detection. It is larger, as the original's noise went through that PSF.
    """
    near = ndimage.binary_dilation(reference.labels > 0, iterations=10)
    blank = area & ~near[original_pixels(light.shape)]
    psf = euclid_psf(PSF_FWHM).drawImage(nx=15, ny=15, scale=SCALE, dtype=float).array
    under_psf = ndimage.convolve(light, psf)
    euclid = variance * (psf**2).sum()
    return (
        float(mad_std(light[blank]) ** 2 / variance),
        float(mad_std(under_psf[blank]) ** 2 / euclid),
    )


def star_residual(light: np.ndarray, reference: Reference, column: int, row: int) -> float:
    """Return the largest difference of a star from Euclid's PSF over its peak.

    Args:
        light: The degraded image before noise is added.
        reference: Says where exactly the star is.
        column: Of the star [pixel of the original], as the following.
        row: Of the star.
    """
    rows = reference.table
    star = rows.loc[
        np.hypot(rows["x"] - (column - 1) / RATIO, rows["y"] - (row - 1) / RATIO).idxmin()
    ]
    x, y = round(star["x"]), round(star["y"])
    near = light[y - 10 : y + 11, x - 10 : x + 11]
    shift = star["x"] - x, star["y"] - y
    psf = euclid_psf(PSF_FWHM).drawImage(nx=21, ny=21, scale=SCALE, offset=shift).array
    flux = (near * psf).sum() / (psf**2).sum()
    return float(np.abs(near - flux * psf).max() / near.max())


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """Return the fractions, of mean counts over realisations.

    The intervals are for as many independent sources as there are: realisations add none.
    """
    result = {}
    for name, n, k in (
        ("completeness", "reference", "found"),
        ("purity", "detections", "matched"),
        ("shredding", "large", "shredded"),
    ):
        part = fractions(table[n].round(), table[k].round())
        exact = (table[k] / table[n].where(table[n] > 0)).to_numpy()
        for column, values in (("", exact), ("_lo", part["value_lo"]), ("_hi", part["value_hi"])):
            result[f"{name}{column}"] = np.asarray(values, float)
    return pd.concat([table, pd.DataFrame(result, index=table.index)], axis=1)


def show(table: pd.DataFrame) -> None:
    """Print what was counted, as tables in Markdown."""
    bins = [f"{low:g}_{high:g}" for low, high in itertools.pairwise(MAGNITUDE_BINS)]
    head = ["method", f"found, I < {COUNTED}", *(f"I {b.replace('_', '-')}" for b in bins[1:])]
    head += ["pure", "by chance", "shredded", "extra on those", "doubles", "on footprints"]
    head += ["elsewhere", "0.2 < p < 0.8: true / expected / all"]
    for (reference, field, n), part in table.groupby(["against", "field", "exposures"], sort=False):
        print(f"\n{field}, {n} exposure(s), reference: {reference}\n")
        print("|", " | ".join(head), "|")
        print("|" + "---|" * len(head))
        for row in part.to_dict("records"):
            cells = [row["method"], _share(row, "completeness", "found", "reference")]
            cells += [f"{row[f'found_{b}']:.1f} of {row[f'reference_{b}']:.0f}" for b in bins[1:]]
            cells += [_share(row, "purity", "matched", "detections"), f"{row['by_chance']:.1f}"]
            cells.append(f"{row['shredded']:.1f} of {row['large']:.0f}")
            cells += [
                f"{row[name]:.1f}"
                for name in (
                    "extra_on_large", "doubles", "unmatched_on_footprints", "unmatched_elsewhere",
                )
            ]  # fmt: skip
            doubtful = [row[f"doubtful{name}"] for name in ("_true", "_expected", "")]
            cells.append("" if np.isnan(doubtful[0]) else " / ".join(f"{v:.1f}" for v in doubtful))
            print("|", " | ".join(cells), "|")


def _share(row: dict, name: str, number: str, whole: str) -> str:
    return (
        f"{row[name]:.3f} ({row[f'{name}_lo']:.2f}-{row[f'{name}_hi']:.2f}), "
        f"{row[number]:.1f} of {row[whole]:.1f}"
    )


@dataclass(frozen=True)
class Scene:
    """A field at one depth with what was found in it, for the pictures."""

    field: Field
    reference: Reference
    image: np.ndarray
    sigma: float
    area: np.ndarray
    found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


HALF_WINDOW = 34  # pixels of 0.1 arcsec
GREYS = 24
MARK_COLORS = ("gold", "deepskyblue", "gray", "red", "limegreen")


def chosen_places(scenes: list[Scene]) -> dict[str, list[tuple[Scene, float, float]]]:
    """Return the middles of the cut-outs: the largest galaxies; crowded and faint ones."""
    large, crowded, faint = [], [], []
    for scene in scenes:
        rows = scene.reference.table
        rows = rows[_within(scene.area, rows["x"], rows["y"])]
        for row in rows[rows["magnitude"] < COUNTED].itertuples():
            near = np.hypot(rows["x"] - row.x, rows["y"] - row.y) < HALF_WINDOW
            n_near = int((near & (rows["magnitude"] < MATCHED)).sum())
            place = scene, row.x, row.y
            if row.magnitude < LARGE_MAGNITUDE and row.radius > LARGE_ARCSEC:
                large.append((row.radius, place))
            crowded.append((n_near, place))
            if row.magnitude > 24 and not (near & (rows["magnitude"] < 23.5)).any():
                faint.append((n_near, place))
    crowded = _apart(crowded, [], 2)
    return {"large": _apart(large, [], 4), "crowded": crowded + _apart(faint, crowded, 1)}


def _apart(ranked: list, taken: list, n: int) -> list:
    """Return the first places by rank that do not overlap with each other, or with those taken."""
    chosen: list = []
    for _, place in sorted(ranked, key=lambda item: -item[0]):
        if len(chosen) < n and all(
            place[0] is not other[0] or math.dist(place[1:], other[1:]) > 1.2 * HALF_WINDOW
            for other in taken + chosen
        ):
            chosen.append(place)
    return chosen


def draw(places: list[tuple[Scene, float, float]], methods: list[str]) -> plt.Figure:
    """Draw cut-outs: the original with the reference, and the degraded image with each method's."""
    size = len(places), 1 + len(methods)
    figure, axes = plt.subplots(
        *size, figsize=(2.1 * size[1], 2.1 * size[0] + 0.3), squeeze=False, layout="constrained"
    )
    for line, (scene, x, y) in zip(axes, places, strict=True):
        image = scene.field.image
        noise = mad_std(image)
        height, width = image.shape
        # In pixels of 0.1 arcsec, as all of the picture.
        edges = [(v - 1) / RATIO for v in (-0.5, width - 0.5, -0.5, height - 0.5)]
        line[0].imshow(np.arcsinh(image / noise / 2), cmap="gray", vmin=-1, vmax=5, extent=edges,
                       origin="lower")  # fmt: skip
        rows = scene.reference.table
        for low, high, color in ((0, COUNTED, MARK_COLORS[0]), (COUNTED, MATCHED, MARK_COLORS[1])):
            part = rows[(rows["magnitude"] >= low) & (rows["magnitude"] < high)]
            line[0].scatter(part["x"], part["y"], s=70, facecolors="none", edgecolors=color)
        line[0].set_ylabel(f"{scene.field.name}\n({x:.0f}, {y:.0f})", fontsize="small")
        for axis, method in zip(line[1:], methods, strict=True):
            axis.imshow(np.arcsinh(scene.image / scene.sigma / 2), cmap="gray", vmin=-1, vmax=4,
                        origin="lower")  # fmt: skip
            found_x, found_y, matched = scene.found[method]
            counts = _within(scene.area, found_x, found_y)
            kinds = (~counts, counts & ~matched, counts & matched)
            for chosen, color, marker in zip(kinds, MARK_COLORS[2:], "xx+", strict=True):
                axis.scatter(found_x[chosen], found_y[chosen], s=40, marker=marker, color=color)
        for axis in line:
            axis.set(xlim=(x - HALF_WINDOW, x + HALF_WINDOW), xticks=[], yticks=[])
            axis.set_ylim(y - HALF_WINDOW, y + HALF_WINDOW)
    for axis, title in zip(axes[0], ["original", *methods], strict=True):
        axis.set_title(title, fontsize="small")
    return figure


def save(figure: plt.Figure, path: Path) -> None:
    """Write a picture with few colours: noise makes it large otherwise."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=75)
    plt.close(figure)
    greys = np.repeat(np.linspace(0, 255, GREYS).round()[:, None], 3, axis=1)
    marks = 255 * np.array([to_rgb(color) for color in MARK_COLORS])
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([greys, marks]).astype(np.uint8).tobytes())
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def label_of(weights: str) -> str:
    """Return how a network is called in tables."""
    path = Path(weights)
    return f"ProbaUNet {path.parent.name if path.name == 'model' else path.name}"


def main() -> None:
    """Print the tables, write them and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fields", type=Path, metavar="FIELDS_DIR")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", default=Path("real_fields"))
    parser.add_argument("--weights", nargs="+", default=["euclid-vis"])
    parser.add_argument("--realisations", type=int, default=5, help="of the noise")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if missing := [name for name in FILES if not (options.fields / name).is_file()]:
        parser.error(
            f"the real fields are not all in '{options.fields}', which lacks {', '.join(missing)}. "
            "They are no part of this repository; the top of this script says where they are from."
        )
    if not SourceExtractorDeblender.is_available():
        parser.error("the reference needs the program source-extractor; install it first.")
    if options.realisations < 1:
        parser.error(f"--realisations must be at least 1, got {options.realisations}.")
    warnings.simplefilter("ignore")
    self_check()
    options.output.mkdir(parents=True, exist_ok=True)
    counted, scenes = [], []
    for field in read_fields(options.fields):
        light, amplification = euclid_like(field.image, field.psf, euclid_psf(PSF_FWHM))
        area, wcs = counted_area(field, light.shape), degraded_wcs(field.wcs, light.shape)
        print(
            f"{field.name}: {light.shape[1]} x {light.shape[0]} pixels, {light.sum():.5g} of "
            f"{field.image.sum():.5g} units of light, no frequency amplified more than "
            f"{amplification:.2f} times; {area.mean():.0%} of the area counts"
        )
        references = [found_in_original(field)]
        if field.segmentation is not None:
            references.append(given_segmentation(field))
        for column, row, _ in STARS.get(field.name, []):
            residual = star_residual(light, references[0], column, row)
            print(f"The star differs from Euclid's PSF by up to {residual:.1%} of its peak")
        for n_exposures in EXPOSURES:
            survey = get_euclid_survey(n_exposures, READ_NOISE, PSF_FWHM)
            band = survey.get_filter("IE")
            variance = background_variance(survey, band)
            rate = 10 ** (0.4 * (band.zeropoint.value - field.zeropoint))
            electrons = light * rate * band.full_exposure_time.value
            shares = noise_shares(electrons, references[0], area, variance)
            print(
                f"{n_exposures} exposure(s): the variance of the original's noise over Euclid's is "
                f"{shares[0]:.1%} in a pixel, {shares[1]:.1%} under the PSF"
            )
            for number in range(options.realisations):
                rng = np.random.default_rng([options.seed, n_exposures, number])
                scatter = np.sqrt(variance + np.clip(electrons, 0, None))
                image = electrons + scatter * rng.standard_normal(electrons.shape)
                found = found_by_all(image, survey, wcs, options.weights)
                marks = {}
                for method, table in found.items():
                    for reference in references:
                        counts, matched = compared(table, reference, area)
                        who = {"against": reference.name, "field": field.name}
                        who |= {"exposures": n_exposures, "method": method}
                        counted.append(who | {"realisation": number} | counts)
                        if reference is references[0]:
                            marks[method] = (*places_of(table), matched)
                if number == 0 and n_exposures == EXPOSURES[-1]:
                    scene = Scene(field, references[0], image, math.sqrt(variance), area, marks)
                    scenes.append(scene)
    each = pd.DataFrame(counted)
    each.to_csv(options.output / "realisations.csv", index=False)
    keys = ["against", "field", "exposures", "method"]
    mean = each.drop(columns="realisation").groupby(keys, sort=False).mean().reset_index()
    own = mean[mean["against"] == "SExtractor"].drop(columns="field")
    both = own.groupby(["against", "exposures", "method"], sort=False).sum(min_count=1)
    table = rates(pd.concat([mean, both.reset_index().assign(field="both fields")]))
    table.to_csv(options.output / "real_fields.csv", index=False)
    whole = table[(table["field"] == "both fields") & (table["exposures"] == EXPOSURES[-1])]
    for each in whole.to_dict("records"):
        for quantity in ("completeness", "purity"):
            figure = f"{quantity} on real sky, {each['method']}"
            add_row(figure, each[quantity], "share", seed=options.seed)
    show(table)
    methods = [f"{label_of(name)} {THRESHOLDS[0]:g}" for name in options.weights]
    methods += [f"{name} {'/'.join(map(str, SETTINGS[0]))}" for name in ("SEP", "SExtractor")]
    for name, places in chosen_places(scenes).items():
        figure = draw(places, methods)
        save(figure, options.output / f"real_sky_{name}.png")
    print(f"\nWritten to {options.output}: real_fields.csv, realisations.csv and two pictures")


if __name__ == "__main__":
    main()
