"""Places and fluxes of ProbaUNet beside their limits, SEP's Kron flux and scarlet2.

    python benchmarks/light.py [--scenes 1000] [--seed 20261321] [--scarlet2 100] [--sets isolated]

Sets of scenes of its own seeds, one exposure unless said: ``isolated`` galaxies; ``groups`` of
1-6; ``deep``, groups at four exposures; ``pairs`` of I_E 18-23, 0.2-2.0 arcsec apart. Prints for
each, by magnitude, by neighbour distance and by whether the scene has as many detections as sources
(what a detector misses or splits no fit can measure), over matched detections of sources that
count:

- place: 68% half-width of the errors over their limits (`limit_errors`; 1 is perfect), and the
  coverage of the stated errors (0.68 is right);
- flux: the same, with the coverage of twice the error (0.95), the bias (mean and median of
  dflux / flux), mean and median of |dflux / flux|, and the share of outliers over 0.75 mag;
- how many are matched at all, and how many fits failed;
- ``deblended_images``: medians of BTK's MSE (the root of it, in electrons), PSNR and StructSim, and
  mean and spread of what they leave of the image, over the noise;
- the same of SEP's own detections with FLUX_AUTO, and of scarlet2 on ProbaUNet's peaks (on the
  first scenes only: it is slow);
- the largest move of an image's detections under its eight orientations, with and without the fit
  (median over images);
- the time a blend takes.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
import sep
from btk.blend_batch import BlendBatch
from btk.metrics.utils import mse, psnr, struct_sim
from rows import add_row

from btk_punet import (
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    EuclidPairSampling,
    Matcher,
    ProbaUNetDeblender,
    Scarlet2Deblender,
    get_euclid_survey,
)
from btk_punet.deblending.base import told_scenes
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.evaluation.scoring.limit_errors import limit_errors
from btk_punet.evaluation.scoring.scenes import scene_truth
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import background_variance, flux_electrons

N_GALAXIES, BATCH_SIZE = 30_000, 50
MAGNITUDES = [16, 19, 20, 21, 22, 23, 24, 25, 27]
DISTANCES_ARCSEC = [0, 0.3, 0.5, 0.8, 1.2, 2, np.inf]
OUTLIER_MAG = 0.75
BRIGHT_MAG = (18.0, 23.0)


def generator_of(name: str, seed: int) -> EuclidGenerator:
    """Return the generator of a set."""
    bright = name == "pairs"
    low, high = BRIGHT_MAG if bright else (19.0, 26.5)
    catalog = EuclidCatalog.simulate(N_GALAXIES, seed, min_mag=low, max_mag=high)
    sampling = {
        "isolated": lambda: EuclidGroupSampling(max_number=1),
        "groups": EuclidGroupSampling,
        "deep": EuclidGroupSampling,
        "pairs": lambda: EuclidPairSampling(min_mag=low, max_mag=high),
    }[name]()
    exposures = (4, 4.4) if name == "deep" else (1, 0.0)
    survey = get_euclid_survey(*exposures)
    return EuclidGenerator(catalog, sampling, survey, batch_size=BATCH_SIZE, seed=seed + 1)


def truth_of(batch: BlendBatch) -> list[pd.DataFrame]:
    """Return what is true of the sources of each scene, with the limits of place and flux."""
    filt = batch.survey.get_filter("IE")
    tables = []
    for scene, catalog in enumerate(batch.catalog_list):
        truth = scene_truth(batch, scene, with_limit=False)
        limits = limit_errors(
            batch.isolated_images[scene][: len(catalog), 0],
            truth["x"],
            truth["y"],
            background_variance(batch.survey, filt),
        )
        truth["flux"] = flux_electrons(truth["magnitude"], filt)
        tables.append(truth.assign(limit_x=limits.x, limit_y=limits.y, limit_flux=limits.flux))
    return tables


def match_seen(
    truth: pd.DataFrame, found: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the sources that can be seen, and numbers of them and of the detections matched."""
    seen = truth[truth["alone_snr"] > NEIGHBOUR_SNR]
    sources, detections = Matcher().match_positions(
        seen["x"], seen["y"], found["x_peak"], found["y_peak"]
    )
    return seen, sources, detections


def matched(truth: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return the sources that count, with the detection that each is matched with."""
    seen, sources, detections = match_seen(truth, found)
    joined = truth.loc[seen.index].reset_index(drop=True).add_prefix("true_")
    partner = np.full(len(joined), -1)
    partner[sources] = detections
    of_sources = found.assign(detection=np.arange(len(found))).reindex(partner)
    joined = pd.concat([joined, of_sources.reset_index(drop=True)], axis=1)
    joined["matched"] = partner >= 0
    joined["excess"] = len(found) - len(seen)
    return joined[joined["true_counts"]]


def with_image_scores(
    pairs: pd.DataFrame, isolated: np.ndarray, deblended: np.ndarray | None
) -> pd.DataFrame:
    """Return pairs with BTK's scores of the image of each matched source.

    Args:
        pairs: From `matched`, of one scene.
        isolated: True images, ``(sources, H, W)``.
        deblended: Those of the detections, ``(detections, H, W)``; None if the method gives none.
    """
    if deblended is None:
        return pairs
    some = pairs[pairs["matched"]]
    # BTK takes no values below 0, which drawing by Fourier transforms leaves.
    true = np.maximum(isolated[some["true_source"]], 0)
    found = np.maximum(deblended[some["detection"].astype(int)], 0)
    scores = {"rmse": mse, "psnr": psnr, "ssim": struct_sim}
    for name, score in scores.items():
        pairs.loc[some.index, name] = score(true, found) if len(some) else np.zeros(0)
    return pairs


def kron(batch: BlendBatch) -> list[pd.DataFrame]:
    """Return SEP's detections at its usual settings with FLUX_AUTO, as SExtractor defines it."""
    sigma = np.sqrt(background_variance(batch.survey, batch.survey.get_filter("IE")))
    tables = []
    for image in np.ascontiguousarray(batch.blend_images[:, 0], np.float64):
        found, labels = sep.extract(
            image, 1.2, err=sigma, minarea=5, deblend_nthresh=64, deblend_cont=5e-4,
            segmentation_map=True,
        )  # fmt: skip
        names = ("x", "y", "a", "b", "theta")
        x, y, a, b, theta = (np.array(found[name]) for name in names)
        # Rounding leaves some of them outside of what SEP takes.
        theta, b = np.clip(theta, -np.pi / 2, np.pi / 2), np.maximum(b, 0.1)
        a = np.maximum(a, b)
        own = {"segmap": labels, "seg_id": np.arange(1, len(found) + 1)}
        radius, _ = sep.kron_radius(image, x, y, a, b, theta, 6.0, **own)
        radius = np.maximum(np.nan_to_num(radius), 1e-3)
        flux, _, _ = sep.sum_ellipse(image, x, y, a, b, theta, 2.5 * radius, subpix=5, **own)
        small = radius * np.sqrt(a * b) < 1.75
        circle, _, _ = sep.sum_circle(image, x, y, 1.75, subpix=5, **own)
        tables.append(
            pd.DataFrame({"x_peak": x, "y_peak": y, "flux": np.where(small, circle, flux)})
        )
    return tables


def scaled_residuals(batch: BlendBatch, deblended: np.ndarray) -> list[float]:
    """Return what deblended images leave of the blends, over the true noise, pixel by pixel."""
    background = background_variance(batch.survey, batch.survey.get_filter("IE"))
    noise = np.sqrt(background + batch.isolated_images.sum(axis=1))
    return ((batch.blend_images - deblended.sum(axis=1)) / noise).ravel().tolist()


def half_width(errors: np.ndarray) -> float:
    """Return the half-width that holds 68% of the errors."""
    errors = np.abs(errors[np.isfinite(errors)])
    return float(np.quantile(errors, 0.6827)) if len(errors) else np.nan


def summary(pairs: pd.DataFrame) -> dict[str, float]:
    """Return the figures of one bin."""
    pairs = pairs[pairs["matched"]]
    row: dict[str, float] = {"n": len(pairs)}
    if not len(pairs):
        return row
    if "x_err" in pairs:
        offset = np.stack([pairs[f"{a}_peak"] - pairs[f"true_{a}"] for a in "xy"])
        limit = np.stack([pairs[f"true_limit_{a}"] for a in "xy"])
        stated = np.stack([pairs[f"{a}_err"] for a in "xy"])
        row["place"] = half_width(offset)
        row["place/limit"] = half_width(offset / limit)
        row["place_cov"] = float((np.abs(offset) <= stated).mean())
    off = (pairs["flux"] - pairs["true_flux"]) / pairs["true_flux"]
    row |= {"mean": off.mean(), "median": off.median()}
    row |= {"|mean|": off.abs().mean(), "|median|": off.abs().median()}
    ratio = np.maximum(pairs["flux"] / pairs["true_flux"], 1e-9)
    row["outliers"] = float((np.abs(2.5 * np.log10(ratio)) > OUTLIER_MAG).mean())
    row["flux/limit"] = half_width((off / pairs["true_limit_flux"]).to_numpy())
    if "flux_err" in pairs:
        pull = off * pairs["true_flux"] / pairs["flux_err"]
        row |= {"cov68": float((pull.abs() <= 1).mean()), "cov95": float((pull.abs() <= 2).mean())}
    for name in ("rmse", "psnr", "ssim"):
        if name in pairs:
            row[name] = pairs[name].median()
    if "flags" in pairs:
        row["failed"] = float(
            (pairs["flags"].astype(int) & int(DetectionFlag.FIT_FAILED) > 0).mean()
        )
    return row


def show(pairs: pd.DataFrame, title: str) -> None:
    """Print the figures of a method, by magnitude and by neighbour distance."""
    rows = {"all": summary(pairs) | {"matched": pairs["matched"].mean()}}
    for column, edges, unit in (
        ("true_magnitude", MAGNITUDES, "mag"),
        ("true_neighbour_distance_arcsec", DISTANCES_ARCSEC, "arcsec"),
    ):
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            inside = pairs[(pairs[column] >= low) & (pairs[column] < high)]
            if column != "true_magnitude" and not np.isfinite(high):
                inside = pairs[pairs[column] >= low]
            if inside["matched"].sum() >= 5:
                row = summary(inside) | {"matched": inside["matched"].mean()}
                rows[f"{low:g}-{high:g} {unit}"] = row
    for name, inside in (
        ("too few found", pairs[pairs["excess"] < 0]),
        ("as many as are", pairs[pairs["excess"] == 0]),
        ("too many found", pairs[pairs["excess"] > 0]),
    ):
        if inside["matched"].sum() >= 5:
            rows[name] = summary(inside) | {"matched": inside["matched"].mean()}
    print(f"\n{title}")
    table = pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format, na_rep="-")
    print(table)


def largest_moves(batch: BlendBatch, deblender: ProbaUNetDeblender) -> list[float]:
    """Return the largest move [pixel] of each image's detections under its eight orientations.

    Over detections that are found, one to one within a pixel, in every orientation.
    """
    places = []
    size = batch.image_size
    for turn in range(4):
        for flip in (False, True):
            images = np.rot90(batch.blend_images, turn, axes=(2, 3))
            images = images[..., ::-1] if flip else images
            turned = BlendBatch(
                batch.batch_size, batch.max_n_sources, batch.stamp_size, batch.survey,
                np.ascontiguousarray(images), np.zeros_like(batch.isolated_images),
                batch.catalog_list, batch.psf,
            )  # fmt: skip
            # The place of each pixel before the turn.
            row, column = np.mgrid[:size, :size]
            where = [
                np.rot90(a, turn)[:, ::-1] if flip else np.rot90(a, turn) for a in (column, row)
            ]
            linear = [_plane(np.asarray(a, float)) for a in where]
            places.append(
                [
                    np.stack([a + b * c["x_peak"] + d * c["y_peak"] for a, b, d in linear], axis=1)
                    for c in deblender(turned).catalog_list
                ]
            )
    moves = []
    for scene, first in enumerate(places[0]):
        largest = 0.0
        for other in places[1:]:
            if len(first) and len(other[scene]):
                distance = np.linalg.norm(first[:, None] - other[scene][None], axis=2).min(axis=1)
                largest = max(largest, float(distance[distance < 1].max(initial=0)))
        moves.append(largest)
    return moves


def _plane(values: np.ndarray) -> tuple[float, float, float]:
    """Return value at the origin, and steps along columns and rows, of a linear map."""
    return values[0, 0], values[0, 1] - values[0, 0], values[1, 0] - values[0, 0]


def main() -> None:
    """Print the tables of each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20_261_321)
    parser.add_argument("--model", default="euclid-vis")
    parser.add_argument("--scarlet2", type=int, default=100, help="number of scenes")
    parser.add_argument("--sets", nargs="+", default=["isolated", "groups", "deep", "pairs"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.sets:
        generator = generator_of(name, options.seed)
        fitted, plain = (
            told_scenes(ProbaUNetDeblender(30, options.model, light=light), generator)
            for light in (True, False)
        )
        parts: dict[str, list[pd.DataFrame]] = {"ProbaUNet": [], "SEP Kron": [], "scarlet2": []}
        seconds, moves = {True: 0.0, False: 0.0}, {True: [], False: []}
        n_done, residuals = 0, []
        for _ in range(max(options.scenes // BATCH_SIZE, 1)):
            batch = next(generator)
            truth = truth_of(batch)
            tables: dict[str, list[pd.DataFrame]] = {"SEP Kron": kron(batch)}
            for light, deblender in ((False, plain), (True, fitted)):
                if n_done == 0:
                    deblender(batch)  # what is loaded once does not count
                    moves[light] = largest_moves(batch, deblender)
                start = time.perf_counter()
                found = deblender(batch)
                seconds[light] += time.perf_counter() - start
            tables["ProbaUNet"] = [c.to_pandas() for c in found.catalog_list]
            images = {"ProbaUNet": found.deblended_images}
            residuals += scaled_residuals(batch, found.deblended_images)
            if n_done < options.scarlet2:
                scarlet2 = Scarlet2Deblender(30, peaks=plain)(batch)
                images["scarlet2"] = scarlet2.deblended_images
                tables["scarlet2"] = [c.to_pandas() for c in scarlet2.catalog_list]
            for method, found_in in tables.items():
                for scene, both in enumerate(zip(truth, found_in, strict=True)):
                    deblended = images[method][scene, :, 0] if method in images else None
                    isolated = batch.isolated_images[scene, :, 0]
                    parts[method].append(with_image_scores(matched(*both), isolated, deblended))
            n_done += batch.batch_size
        print(f"\n===== {name}, {n_done} scenes, seed {options.seed}")
        if name == "pairs":
            for method, some in parts.items():
                both = [found["matched"].all() for found in some if len(found) == 2]
                if both:
                    print(f"{method}: both found in {np.mean(both):.3f} of {len(both)}")
        for method, some in parts.items():
            if some:
                show(pd.concat(some, ignore_index=True), f"{method} ({name})")
        print(
            f"what the deblended images leave, over the noise: mean {np.mean(residuals):.4f}, "
            f"spread {np.std(residuals):.4f}"
        )
        for light, which in ((False, "network"), (True, "with the fit")):
            cost = 1e3 * seconds[light] / n_done
            add_row(f"{which}, {name}", cost, "ms a blend", seed=options.seed, timed=True)
            print(
                f"{which}: {cost:.1f} ms a blend; largest move of an "
                f"image under its 8 orientations, median {np.median(moves[light]):.3f} pixel"
            )


if __name__ == "__main__":
    main()
