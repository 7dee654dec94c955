"""What posterior samples cost: 50 of them beside one, and beside 50 runs of the whole network.

The samples are summed as they come, which is what a deblender does with them.

python benchmarks/sampling.py [--batch 32] [--size 64]
"""

import argparse
import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np  # noqa: E402
from rows import add_row  # noqa: E402

from btk_punet.deblending.posterior import PosteriorMaps  # noqa: E402
from btk_punet.model.proba_unet import ProbaUNet  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    shape = (options.batch, options.size, options.size, 1)
    images = np.random.default_rng(1).normal(size=shape)
    for latent in ("grid", "global"):
        model = ProbaUNet(latent=latent)
        one, many = (milliseconds(model, images, n_samples) for n_samples in (1, 50))
        figure = f"50 samples beside one, {latent} latent"
        add_row(figure, many / one, "times", "<= 2.5" if latent == "grid" else "", 1, timed=True)
        print(
            f"{latent:>6} ({model.count_params()} weights): 1 sample {one:.2f}, 50 samples "
            f"{many:.2f} ms a stamp, ratio {many / one:.1f}; 50 runs of one sample would cost "
            f"{50 * one:.0f} ms"
        )


def milliseconds(model, images, n_samples, repeats=5):
    times = []
    for _ in range(repeats + 1):  # the first, which compiles, is not counted
        start = time.perf_counter()
        PosteriorMaps.from_network(model, images, n_samples)
        times.append(time.perf_counter() - start)
    return 1e3 * np.median(times[1:]) / len(images)


if __name__ == "__main__":
    main()
