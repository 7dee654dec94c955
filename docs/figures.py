"""Draws the figures of the documentation into docs/figures: ``python docs/figures.py [NAME ...]``.

Each function is one figure. All of them together take some minutes on two cores.
"""

import argparse
import tempfile
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from surveycodex.utilities import mean_sky_level

from btk_punet import (
    Comparison,
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    EuclidPairSampling,
    FractionDisplay,
    ProbaUNetDeblender,
    PurityCompletenessDisplay,
    ReliabilityDisplay,
    SceneDisplay,
    SepDeblender,
    StructuredEuclidGenerator,
    alone_snr,
    batch_tables,
    compare,
    get_euclid_survey,
    limit_snr,
    purity_completeness_curve,
)

FOLDER = Path(__file__).parent / "figures"
SEP_SETTINGS = [(1.5, 5, 0.005), (1.5, 5, 5e-4), (1.2, 5, 5e-4), (1.0, 5, 1e-4), (1.5, 3, 1e-4)]
SURVEY = get_euclid_survey()
BACKGROUND = mean_sky_level(SURVEY, SURVEY.get_filter("IE")).to_value("electron")
SIGMA = np.sqrt(BACKGROUND)


@cache
def run_of_groups() -> Comparison:
    """Return the comparison of the README: 1000 groups at the depth of the Wide Survey, seed 0."""
    return compare(
        Path(tempfile.mkdtemp()) / "groups",
        {"SEP": "sep", "SExtractor": "source-extractor", "ProbaUNet": "probaunet"},
        outcomes=False,
        report=False,
        njobs=2,
    )


def comparison() -> plt.Figure:
    """Draw a blend, its detections, the network's map, and what is found of a thousand blends."""
    sampling = EuclidGroupSampling(4.8, max_number=5, max_radius=1.3)
    generator = EuclidGenerator(
        EuclidCatalog.simulate(20_000, seed=1), sampling, SURVEY, batch_size=60, seed=7
    )
    blends = next(generator)
    network = ProbaUNetDeblender(20, density_ratio=sampling.density_ratio, galaxies="smooth")
    found = {"SEP": SepDeblender(20)(blends), "ProbaUNet": network(blends)}
    truth, detections = batch_tables(blends, found)
    # The scene with most sources among those in which every one is found by the network.
    rows = truth[truth["counts"] & (truth["method"] == "ProbaUNet")].groupby("scene")["matched"]
    scene = int(rows.sum()[rows.all()].idxmax())

    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(13, 3.9), layout="constrained", width_ratios=(1, 1, 1.4)
    )
    image = blends.blend_images[scene, 0]
    display = SceneDisplay.from_tables(image, truth, detections, SIGMA, scene)
    display.plot(left, legend=False)
    left.legend(display.detections_.values(), display.detections_.keys(), loc="upper left")
    left.set_title("Galaxies (circles), detections")
    maps = found["ProbaUNet"].extra_data[scene]
    drawn = middle.imshow(maps["class_mean"], origin="lower", vmin=0, vmax=2)
    figure.colorbar(drawn, ax=middle, ticks=(0, 0.5, 1, 1.5, 2), shrink=0.92)
    middle.set(title="Galaxies in each pixel: mean", xlabel="x [pixel]")
    table = run_of_groups().tables["completeness_by_neighbour_distance"]
    FractionDisplay(table, "completeness", "neighbour_distance_arcsec").plot(right)
    right.set_title("1000 groups of galaxies")
    return figure


def twins(magnitude: float, separation: float, n_pairs: int):
    """Return a batch of pairs of equal round galaxies of half-light radius 0.2 arcsec."""
    galaxy = {"ra": [0.0], "dec": [0.0], "IE_ab": [magnitude], "a_d": [0.2], "b_d": [0.2]}
    sampling = EuclidPairSampling(3.2, min_separation=separation, max_separation=separation)
    catalog = EuclidCatalog(Table(galaxy))
    return next(EuclidGenerator(catalog, sampling, SURVEY, batch_size=n_pairs, seed=3))


def information_ceiling() -> plt.Figure:
    """Draw pairs of twins, and how well one of them can be told to be there."""
    figure, axes = plt.subplot_mosaic(
        [["1.0", "0.5", "0.2", "curve"]], figsize=(12, 3.6), layout="constrained",
        width_ratios=(1, 1, 1, 2),
    )  # fmt: skip
    for name in ("1.0", "0.5", "0.2"):
        image = twins(23.5, float(name), 1).blend_images[0, 0]
        axes[name].imshow(np.arcsinh(image / (3 * SIGMA)), cmap="gray_r", origin="lower")
        axes[name].set(title=f"{name} arcsec apart", xticks=[], yticks=[])
    separations = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.4])
    colours = {22.5: "#0072B2", 23.5: "#D55E00", 24.5: "#009E73"}
    for magnitude, colour in colours.items():
        limits = []
        for separation in separations:
            batch = twins(magnitude, separation, 8)
            scenes = zip(batch.isolated_images, batch.catalog_list, strict=True)
            limits.append(
                np.mean([
                    limit_snr(isolated[:, 0], catalog["x_peak"], catalog["y_peak"], BACKGROUND)
                    for isolated, catalog in scenes
                ])
            )  # fmt: skip
        alone = alone_snr(batch.isolated_images[0][:, 0], BACKGROUND).mean()
        axes["curve"].plot(separations, limits, "o-", color=colour, markersize=4)
        axes["curve"].axhline(alone, color=colour, linestyle=":", linewidth=1)
        axes["curve"].annotate(
            f"$I_E$ = {magnitude}", (separations[-1], limits[-1]), (4, -12),
            textcoords="offset points", color=colour, ha="right",
        )  # fmt: skip
    axes["curve"].axhline(5, color="black", linestyle="--", linewidth=1)
    axes["curve"].text(1.4, 5.4, "detectable in principle: above 5", ha="right")
    axes["curve"].set(
        xlabel="separation [arcsec]", ylabel="limit_snr of one twin", yscale="log", ylim=(0.5, 250)
    )
    return figure


def equal_purity() -> plt.Figure:
    """Draw the curve of a detector with a threshold, and the settings of one without as points."""
    names = [f"SEP {setting}".replace("0.0005", "5e-4") for setting in SEP_SETTINGS]
    names = [name.replace("0.0001", "1e-4") for name in names]
    deblenders = {
        name: SepDeblender(25, thresh=thresh, minarea=minarea, deblend_cont=contrast)
        for name, (thresh, minarea, contrast) in zip(names, SEP_SETTINGS, strict=True)
    }
    run = compare(
        Path(tempfile.mkdtemp()) / "settings",
        {**deblenders, "ProbaUNet": ProbaUNetDeblender(25)},
        outcomes=False,
        report=False,
        njobs=2,
    )
    truth = run.truth[run.truth["method"] == "ProbaUNet"]
    curve = purity_completeness_curve(truth, run.collected.tidy["candidates"])
    headline = run.tables["headline"]
    figure, ax = plt.subplots(figsize=(7, 4.8), layout="constrained")
    PurityCompletenessDisplay({"ProbaUNet": curve}, headline).plot(ax)
    point = headline.set_index("method").loc[names[2]]
    reached = np.interp(point["purity"], *curve[["purity", "completeness"]].to_numpy().T)
    ends = {"xytext": (point["purity"], point["completeness"]), "xy": (point["purity"], reached)}
    ax.annotate("", **ends, arrowprops={"arrowstyle": "<->", "color": "black"})
    ax.annotate(
        f"{reached - point['completeness']:+.2f} at the same purity",
        (point["purity"], (reached + point["completeness"]) / 2), (-8, 0),
        textcoords="offset points", ha="right", va="center",
    )  # fmt: skip
    return figure


def calibration() -> plt.Figure:
    """Draw the reliability of p_detect, on smooth galaxies and on galaxies with structure."""
    kinds = {
        "smooth galaxies": EuclidGenerator,
        "with clumps, arms and patches": StructuredEuclidGenerator,
    }
    tables = {}
    for name, kind in kinds.items():
        run = compare(
            Path(tempfile.mkdtemp()) / "calibration",
            {"ProbaUNet": ProbaUNetDeblender(25)},
            generator=kind(
                EuclidCatalog.simulate(20_000, seed=1),
                EuclidGroupSampling(),
                SURVEY,
                batch_size=50,
                seed=5,
            ),
            n_blends=600,
            outcomes=False,
            report=False,
            njobs=2,
        )
        error = run.tables["probability_scores"]["expected_calibration_error"].item()
        tables[f"{name}: error {error:.3f}"] = run.tables["calibration"]
    figure, ax = plt.subplots(figsize=(5.6, 6), layout="constrained")
    ReliabilityDisplay(tables).plot(ax)
    ax.set_title("p_detect in 600 groups of galaxies")
    return figure


def uncertainty() -> plt.Figure:
    """Draw three samples of twins at some separations, and what all samples say together."""
    separations, rows = (0.8, 0.5, 0.4, 0.2), 6
    ratio = EuclidPairSampling(3.2).density_ratio
    deblender = ProbaUNetDeblender(20, n_samples=32, threshold=0.05, density_ratio=ratio)
    figure, axes = plt.subplots(
        len(separations), rows, figsize=(11, 7.2), layout="constrained", sharex=True, sharey=True
    )
    titles = ["image", "sample 1", "sample 2", "sample 3", "variance of class", "p(centre)"]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    for row, separation in zip(axes, separations, strict=True):
        blends = twins(23.5, separation, 5)
        maps = deblender(blends).extra_data[4]
        image = blends.blend_images[4, 0] / SIGMA
        samples = deblender.network.sample(
            image[None, :, :, None], n_samples=3, seed=0, density_ratio=ratio
        )["class"]
        row[0].imshow(np.arcsinh(image / 3), origin="lower", cmap="gray_r")
        for ax, sample in zip(row[1:4], samples, strict=True):
            ax.imshow(sample[0].argmax(axis=-1), origin="lower", vmin=0, vmax=2)
        row[4].imshow(maps["class_variance"], origin="lower", vmin=0, vmax=0.25)
        row[5].imshow(maps["centre_probability"], origin="lower", vmin=0, vmax=0.3, cmap="magma")
        row[0].set_ylabel(f"{separation:g} arcsec")
        catalog = blends.catalog_list[4]
        row[0].plot(catalog["x_peak"], catalog["y_peak"], "x", color="tab:orange")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    return figure


FIGURES = (comparison, information_ceiling, equal_purity, calibration, uncertainty)


def main() -> None:
    """Draw the figures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = {figure.__name__: figure for figure in FIGURES}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    for name in parser.parse_args().names or known:
        if name not in known:
            parser.error(f"unknown figure {name!r}; known are {', '.join(known)}")
        with plt.style.context("default"):
            known[name]().savefig(
                FOLDER / f"{name}.png", dpi=100, bbox_inches="tight", metadata={"Software": None}
            )
        plt.close("all")
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
