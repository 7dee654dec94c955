"""What turning and shifting an image changes, and what passes in several orientations cost.

    python benchmarks/symmetry.py [--weights MODEL] [--n-blends 200] [--orientations 1 2 8]

Groups of galaxies on stamps of 64 pixels (one exposure), turned and mirrored in all ways, and with
1e-6 of the noise added. For each number of orientations: the median over images of the largest
move of a detection that is found both times [pixel], in how many images the number of detections
changes, and the time of an image.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from rows import add_row
from scipy.spatial.distance import cdist

from btk_punet import EuclidCatalog, EuclidGenerator, EuclidGroupSampling, get_euclid_survey
from btk_punet.deblending.instances import find_candidates
from btk_punet.deblending.noise import noise_normalised
from btk_punet.deblending.posterior import PosteriorMaps
from btk_punet.model.proba_unet import open_network
from btk_punet.training.train import network_so_far

SEED = 20_261_131
MATCH_PIXELS, THRESHOLD = 3.0, 0.5


def places(network, images, orientations: int) -> list[np.ndarray]:
    """Return the detections of each image, x and y, ``(n, 2)``."""
    told = 18.0 if network.told_density else None
    maps = PosteriorMaps.from_network(network, images, 16, 0, None, told, orientations)
    found = find_candidates(maps.centre_probability)
    of_images = [found.of(i) for i in range(len(images))]
    return [np.stack([f.x, f.y], axis=1)[f.mass >= THRESHOLD] for f in of_images]


def turned(values: np.ndarray, bits: int, last: float, points: bool = False) -> np.ndarray:
    """Return images (or points on them) mirrored in x, in y, and with the axes swapped."""
    if points:
        x, y = (np.where(bits & 1 << n, last - v, v) for n, v in enumerate(values.T))
        return np.stack([y, x] if bits & 4 else [x, y], axis=1)
    values = values[:, :, ::-1] if bits & 1 else values
    values = values[:, ::-1] if bits & 2 else values
    return values.swapaxes(1, 2) if bits & 4 else values


def main() -> None:
    """Print a line for each number of orientations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="euclid-vis")
    parser.add_argument("--n-blends", type=int, default=200)
    parser.add_argument("--orientations", type=int, nargs="+", default=[1, 2, 8])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    run = Path(options.weights) / "checkpoint.npz"
    network = network_so_far(run.parent) if run.is_file() else open_network(options.weights)[0]
    generator = EuclidGenerator(
        EuclidCatalog.simulate(20_000, SEED),
        EuclidGroupSampling(seed=SEED),
        get_euclid_survey(1, 0.0),
        batch_size=options.n_blends,
        seed=SEED,
    )
    images = noise_normalised(next(generator)).astype("float32")
    last = images.shape[1] - 1
    for orientations in options.orientations:
        places(network, images, orientations)  # compiles, not timed
        start = time.perf_counter()
        before = places(network, images, orientations)
        milliseconds = 1e3 * (time.perf_counter() - start) / len(images)
        figure = f"network, {orientations} orientation(s)"
        add_row(figure, milliseconds, "ms an image", seed=SEED, timed=True)
        report = f"{orientations} orientation(s), {milliseconds:.1f} ms an image:"
        changes = {"turned": range(1, 8), "1e-6": [None]}
        for name, every in changes.items():
            moves, changed = [], []
            for bits in every:
                if bits is None:
                    others, expected = images + np.float32(1e-6), before
                else:
                    others = turned(images, bits, last)
                    expected = [turned(p, bits, last, points=True) for p in before]
                after = places(network, np.ascontiguousarray(others), orientations)
                for one, other in zip(expected, after, strict=True):
                    changed.append(len(one) != len(other))
                    if len(one) and len(other):
                        near = cdist(one, other).min(axis=1)
                        moves.append(near[near < MATCH_PIXELS].max(initial=0))
            if name == "turned":
                figure = f"largest move in an image that is turned, {orientations} orientation(s)"
                add_row(figure, np.median(moves), "pixel", seed=SEED)
            report += (
                f" {name} {np.median(moves):.3f} pixel, counts change in {np.mean(changed):.1%};"
            )
        print(report.rstrip(";"), flush=True)


if __name__ == "__main__":
    main()
