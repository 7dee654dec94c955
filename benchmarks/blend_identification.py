"""How well blends are flagged as such, on scenes to I_E < 25.2, the depth of Blendinator's own.

python benchmarks/blend_identification.py [--model euclid-vis] [--scenes 1000] [--seed 20261201]

Prints purity and completeness of the flag (see `btk_punet.BlendIdentification`) as its threshold
rises, for groups, pairs and fields at one exposure and at the four of the Euclid
Wide Survey, and the threshold at which the lesser of the two is largest.
"""

import argparse

import pandas as pd
from rows import add_row
from tqdm.auto import tqdm

from btk_punet import (
    BlendIdentification,
    EuclidCatalog,
    EuclidFieldSampling,
    EuclidGenerator,
    EuclidGroupSampling,
    EuclidPairSampling,
    ProbaUNetDeblender,
    get_euclid_survey,
)
from btk_punet.deblending.base import told_scenes

FAINTEST = 25.2
BATCH_SIZE = 50
SAMPLINGS = {
    "groups": (EuclidGroupSampling, 1),
    "pairs": (EuclidPairSampling, 1),
    "fields": (EuclidFieldSampling, 16),  # a field is as large as 16 of the others
}


def main() -> None:
    """Print a curve for each kind of scene and depth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="euclid-vis")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20_261_201)
    options = parser.parse_args()
    catalog = EuclidCatalog.simulate(30_000, options.seed)
    deblender = ProbaUNetDeblender(400, options.model)
    for name, (sampling, size) in SAMPLINGS.items():
        for n_exposures, read_noise in ((1, 0.0), (4, 4.4)):
            generator = EuclidGenerator(
                catalog,
                sampling(max_mag=FAINTEST),
                get_euclid_survey(n_exposures, read_noise),
                batch_size=max(BATCH_SIZE // size, 1),
                seed=options.seed,
            )
            told = told_scenes(deblender, generator)
            metric = BlendIdentification()
            n_batches = max(options.scenes // (size * generator.batch_size), 1)
            for _ in tqdm(range(n_batches), f"{name}, {n_exposures} exposures", leave=False):
                batch = next(generator)
                metric(batch, told(batch))
            show(f"{name}, {n_exposures} exposures", metric, options.seed)


def show(title: str, metric: BlendIdentification, seed: int) -> None:
    """Print the curve of a kind of scenes."""
    table = metric.aggregate()
    curve = table.pivot(index="threshold", columns="quantity", values="value")
    n_blends = int(table.loc[table["quantity"] == "completeness", "n"].iloc[0])
    missed, n_regions = (int(metric.missed()[name].iloc[0]) for name in ("k", "n"))
    best = curve.min(axis=1).idxmax()
    purity, completeness = curve.loc[best, ["purity", "completeness"]]
    # The best that Blendinator reached is 0.69 and 0.69.
    for figure, value in (("purity", purity), ("completeness", completeness)):
        add_row(f"{figure} of the blend flag, {title}", value, "share", ">= 0.69", seed)
    print(
        f"\n{title}: {n_blends} objects that are blends, {missed} of {n_regions} blended "
        f"regions on no object\nat t = {best:.2f} purity {purity:.3f}, completeness "
        f"{completeness:.3f}"
    )
    with pd.option_context("display.precision", 3):
        print(curve[["purity", "completeness"]].T.to_string())


if __name__ == "__main__":
    main()
