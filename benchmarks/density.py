"""What density ratio is estimated from images, against the true one.

    python benchmarks/density.py [--weights euclid-vis training] [--n-batches 4]

Batches of 50 groups or pairs (64 pixels), or of 4 fields (256 pixels), of simulated galaxies at one
and four exposures. The ratio of the sampling, that of the very scenes, from the true places of the
sources brighter than I_E = 25.3, and for each network mean and scatter over the batches of what
`ProbaUNetDeblender(density_ratio="auto")` estimates; for a network that is not told densities, that
times the density of its training. The seeds are neither the benchmark's nor those of training or
calibration.
"""

import argparse
import warnings

import numpy as np
from networks import opened
from rows import add_row

from btk_punet import (
    EuclidCatalog,
    EuclidFieldSampling,
    EuclidGenerator,
    EuclidGroupSampling,
    EuclidPairSampling,
    ProbaUNetDeblender,
    get_euclid_survey,
)
from btk_punet.deblending.density import UNTOLD_DENSITY_RATIO, expected_pairs
from btk_punet.deblending.instances import Candidates
from btk_punet.simulation.density import NEIGHBOUR_MAGNITUDE, SKY_NEIGHBOURS

SEED = 20_261_140
SAMPLINGS = {
    "groups": EuclidGroupSampling,
    "groups of 1 to 3": lambda: EuclidGroupSampling(max_number=3),
    "pairs": EuclidPairSampling,
    "fields": EuclidFieldSampling,
    "fields, three times as dense": lambda: EuclidFieldSampling(density=360.0),
    "sky": EuclidFieldSampling.sky,
}


def true_pairs(batch) -> np.ndarray:
    """Return the pairs of neighbours and the sources of a batch, as `expected_pairs` does."""
    rows = [
        (number, x, y)
        for number, table in enumerate(batch.catalog_list)
        for x, y, magnitude in table["x_peak", "y_peak", "IE_ab"].iterrows()
        if magnitude < NEIGHBOUR_MAGNITUDE
    ]
    image, x, y = np.array(rows).reshape(-1, 3).T
    ones = np.ones(len(image))
    sure = Candidates(image.astype(int), x, y, ones, ones, ones)
    return np.array(expected_pairs(sure, batch.image_size, 0.1))


def main() -> None:
    """Print a line for each kind of scenes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs="+", default=["euclid-vis"])
    parser.add_argument("--n-batches", type=int, default=4)
    parser.add_argument("--n-samples", type=int, default=4)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {
        weights: ProbaUNetDeblender(
            400, opened(weights), options.n_samples, density_ratio="auto", light=False
        )
        for weights in options.weights
    }
    catalog = EuclidCatalog.simulate(30_000, SEED, 18.0, 26.5)
    for name, make in SAMPLINGS.items():
        for n_exposures, read_noise in ((1, 0.0), (4, 4.4)):
            sampling = make()
            generator = EuclidGenerator(
                catalog,
                sampling,
                get_euclid_survey(n_exposures, read_noise, 0.165),
                batch_size=4 if isinstance(sampling, EuclidFieldSampling) else 50,
                seed=SEED + n_exposures,
            )
            found: dict[str, list[float]] = {weights: [] for weights in methods}
            pairs = np.zeros(2)
            for _ in range(options.n_batches):
                batch = next(generator)
                pairs += true_pairs(batch)
                for weights, method in methods.items():
                    ratio = method(batch).extra_data[0]["density_ratio"]
                    told = method.network.told_density
                    found[weights].append(ratio if told else ratio * UNTOLD_DENSITY_RATIO)
            estimates = "  ".join(
                f"{weights} {np.mean(each):.2f} +- {np.std(each):.2f}"
                for weights, each in found.items()
            )
            for weights, each in found.items():
                ratio = np.mean(each) / sampling.density_ratio
                case = f"{name}, {n_exposures} exposure(s), {weights}"
                add_row(f"estimated density over the true one, {case}", ratio, "times", seed=SEED)
            of_scenes = 2 * pairs[0] / pairs[1] / SKY_NEIGHBOURS
            print(
                f"{name}, {n_exposures} exposure(s): {sampling.density_ratio:.2f}, of these scenes "
                f"{of_scenes:.2f}, estimated {estimates}",
                flush=True,
            )


if __name__ == "__main__":
    main()
