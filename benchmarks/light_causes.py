"""Why fluxes are off by more than their limits: which share of the excess is which cause.

    python benchmarks/light_causes.py [--scenes 400] [--seed 770300] [--sets groups deep pairs]

The detections of ProbaUNet on the sets of ``light.py`` are fitted again, each time with one thing
more known, and the same matched sources are compared:

- ``as called``: the detections alone, as if no other candidate were there;
- ``judged``: as the deblender does it, the pixels asked about each candidate;
- ``all found``: the detections, and every true source that has none;
- ``true sources``: the true ones at their true places, and nothing else.

What then is left is the fit's own: ``sigma / limit`` is what it costs not to know the source's own
profile (the median of the fit's errors over the limits), and ``error / sigma`` what profiles,
priors and steps add. ``flux/limit`` is the 68% half-width of the errors over the limits, as in
``light.py``.
"""

import argparse
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from light import BATCH_SIZE, generator_of, half_width, match_seen, matched, truth_of

from btk_punet import ProbaUNetDeblender
from btk_punet.deblending.base import told_scenes
from btk_punet.deblending.conditions import batch_conditions
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.scenes import Light, measure_light
from btk_punet.deblending.recipe import LightCalibration

# Errors as they come from the covariance.
PLAIN = LightCalibration(1.0, 0.0, 1.0, 0.0)


def fitted(images: np.ndarray, conditions, sources: pd.DataFrame) -> Light:
    """Return the light of sources, given by image, x, y, flux and p, and of no others."""
    x, y, flux, p = (sources[name].to_numpy(float) for name in ("x", "y", "flux", "p"))
    where = Candidates(sources["image"].to_numpy(int), x, y, 0 * x, 0 * y, p)
    usable = np.ones(images[:, 0].shape, bool)
    return measure_light(images, usable, conditions, 0, where, flux, PLAIN)[0]


def batch_errors(batch, found) -> pd.DataFrame:
    """Return the flux of each matched source by each of the fits."""
    called, missing, pairs = [], [], []
    for image, (truth, catalog) in enumerate(zip(truth_of(batch), found.catalog_list, strict=True)):
        table = catalog.to_pandas()
        seen, sources, detections = match_seen(truth, table)
        own = pd.DataFrame(
            {"image": image, "x": table["x_peak"], "y": table["y_peak"], "p": table["p_detect"]}
        ).assign(flux=table["flux_iso"], number=np.arange(len(table)), matched=False)
        own = own.assign(true_x=own["x"], true_y=own["y"])
        own.loc[detections, "matched"] = True
        own.loc[detections, ["true_x", "true_y"]] = seen[["x", "y"]].to_numpy()[sources]
        called.append(own)
        lost = seen.iloc[np.setdiff1d(np.arange(len(seen)), sources)]
        missing.append(lost[["x", "y", "flux"]].assign(image=image, p=1.0, number=-1))
        both = matched(truth, table)
        pairs.append(both[both["matched"]].assign(image=image))
    called, missing, pairs = (
        pd.concat(some, ignore_index=True) for some in (called, missing, pairs)
    )
    true = called[called["matched"]].assign(p=1.0, x=called["true_x"], y=called["true_y"])
    images, conditions = np.asarray(batch.blend_images, float), batch_conditions(batch)
    has_failed = pairs["flags"].astype(int) & int(DetectionFlag.FIT_FAILED) > 0
    pairs["judged flux"] = pairs["flux"].mask(has_failed)
    pairs["judged sigma"] = pairs["flux_err"]
    for name, sources in (
        ("as called", called),
        ("all found", pd.concat([called, missing], ignore_index=True)),
        ("true sources", pd.concat([true, missing], ignore_index=True)),
    ):
        light = fitted(images, conditions, sources)
        own = sources[["image", "number"]].assign(
            flux=np.where(light.failed, np.nan, light.flux), sigma=light.flux_err
        )
        own = own[own["number"] >= 0].set_index(["image", "number"])
        rows = pd.MultiIndex.from_arrays([pairs["image"], pairs["detection"].astype(int)])
        for column in ("flux", "sigma"):
            pairs[f"{name} {column}"] = own[column].reindex(rows).to_numpy()
    return pairs


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=770_300)
    parser.add_argument("--weights", default="euclid-vis")
    parser.add_argument("--sets", nargs="+", default=["isolated", "groups", "deep", "pairs"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.sets:
        generator = generator_of(name, options.seed)
        usual = ProbaUNetDeblender(30, options.weights)
        plain = usual.with_recipe(replace(usual.recipe, light=PLAIN))
        deblender = told_scenes(plain, generator)
        parts = []
        for _ in range(max(options.scenes // BATCH_SIZE, 1)):
            batch = next(generator)
            parts.append(batch_errors(batch, deblender(batch)))
        pairs = pd.concat(parts, ignore_index=True)
        limit = pairs["true_flux"] * pairs["true_limit_flux"]
        rows = {}
        for fit in ("as called", "judged", "all found", "true sources"):
            off, sigma = pairs[f"{fit} flux"] - pairs["true_flux"], pairs[f"{fit} sigma"]
            rows[fit] = {
                "flux/limit": half_width((off / limit).to_numpy()),
                "sigma / limit": (sigma / limit).median(),
                "error / sigma": half_width((off / sigma).to_numpy()),
                "|mean|": (off / pairs["true_flux"]).abs().mean(),
                "failed": off.isna().mean(),
            }
        print(f"\n===== {name}: {len(pairs)} matched sources, seed {options.seed}")
        print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
