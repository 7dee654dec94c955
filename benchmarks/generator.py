"""Speed and accuracy of `EuclidGenerator` beside BTK's `CatsimGenerator`.

Both draw the same sources of one catalog, at the same places, through the same survey and PSF,
without noise, in one process; the sampling was done before and is not timed. The clock is the
process's own CPU time; batches alternate between the two, and the median of the batches is given.
Differences are the largest of any pixel, in units of the background's noise; GalSim at high
accuracy then tells for the worst blend whose they are.

Then both as they are used: each with BTK's own sampling of four galaxies and with noise, all of it
in the time, by the clock on the wall.

    python benchmarks/generator.py [--batches 8] [--seed 1]
"""

import argparse
import time

import galsim
import numpy as np
from btk.catalog import CatsimCatalog
from btk.draw_blends import CatsimGenerator, get_catsim_galaxy
from btk.sampling_functions import DefaultSampling, SamplingFunction
from rows import add_row

from btk_punet import EuclidCatalog, EuclidGenerator, get_euclid_survey
from btk_punet.simulation.survey import background_variance

STAMP_SIZES_ARCSEC = (6.4, 12.8, 24.0)
GALAXIES_PER_BLEND = 6
BATCH_SIZE = 20
# As they are used: side of the stamp [arcsec], and how many times as fast ours should be.
USED = {12.8: ">= 5", 24.0: ">= 8"}
USED_GALAXIES = 4
ACCURATE = galsim.GSParams(
    folding_threshold=1e-4, maxk_threshold=1e-4, kvalue_accuracy=1e-6, maximum_fft_size=32768
)
CATSIM_COLUMNS = ("ra", "dec", "IE_ab", "fluxnorm_disk", "fluxnorm_bulge", "fluxnorm_agn")
CATSIM_COLUMNS += ("a_d", "b_d", "a_b", "b_b", "pa_disk", "pa_bulge")


class Replay(SamplingFunction):
    """Gives the scenes of a list, one after another."""

    def __init__(self, scenes, stamp_size):
        super().__init__(stamp_size, GALAXIES_PER_BLEND)
        self.scenes = iter([scene[list(CATSIM_COLUMNS)] for scene in scenes])

    def __call__(self, table):
        """Return the next scene."""
        return next(self.scenes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, default=8, help="timed batches of 20 blends")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    survey = get_euclid_survey(n_exposures=1, read_noise=0.0)
    # Every galaxy is bulge + disk, the only profile that both draw.
    catalog = EuclidCatalog.simulate(20_000, options.seed, bulge_disk_fraction=1.0)
    print(
        f"{options.batches} batches of {BATCH_SIZE} blends of {GALAXIES_PER_BLEND} galaxies, "
        f"seed {options.seed}; galaxies per CPU second, differences in units of the noise"
    )
    print(
        f"{'':>29}  largest difference in any pixel, and what of it is whose\n"
        f"{'stamp':>6} {'ours':>7} {'BTK':>7} {'ratio':>6}   "
        f"{'ours-BTK':>10} {'ours-exact':>10} {'BTK-exact':>10}"
    )
    for stamp_size in STAMP_SIZES_ARCSEC:
        print_row(stamp_size, survey, catalog, options)
    print(
        f"\nAs they are used, {USED_GALAXIES} galaxies a blend: ms a blend\n"
        f"{'stamp':>6} {'ours':>7} {'BTK':>7} {'ratio':>6}"
    )
    for stamp_size, aim in USED.items():
        print_used(stamp_size, aim, catalog, options)


def print_row(stamp_size, survey, catalog, options):
    sampling = DefaultSampling(
        stamp_size, GALAXIES_PER_BLEND, GALAXIES_PER_BLEND, 1.6, options.seed, 25.3, 19.5, "IE_ab"
    )
    common = {"batch_size": BATCH_SIZE, "add_noise": "none"}
    batches = options.batches + 1  # the first, which fills caches, is not timed
    scenes = [sampling(catalog.table) for _ in range(batches * BATCH_SIZE)]
    ours = EuclidGenerator(catalog, Replay(scenes, stamp_size), survey, **common)
    btk = CatsimGenerator(
        CatsimCatalog(catalog.table), Replay(scenes, stamp_size), survey, **common
    )
    seconds = {"ours": [], "btk": []}
    worst, worst_pair = 0.0, None
    for _ in range(batches):
        start = time.process_time()
        our_batch = next(ours)
        middle = time.process_time()
        btk_batch = next(btk)
        seconds["ours"].append(middle - start)
        seconds["btk"].append(time.process_time() - middle)
        difference = np.abs(our_batch.blend_images - btk_batch.blend_images).max(axis=(1, 2, 3))
        if difference.max() > worst:
            scene = difference.argmax()
            worst = difference[scene]
            images = [batch.blend_images[scene, 0].copy() for batch in (our_batch, btk_batch)]
            worst_pair = btk_batch.catalog_list[scene], images
    rate = {
        name: BATCH_SIZE * GALAXIES_PER_BLEND / np.median(times[1:])
        for name, times in seconds.items()
    }
    sigma = np.sqrt(background_variance(survey, survey.get_filter("IE")))
    exact = exact_blend(worst_pair[0], survey, our_batch.image_size)
    errors = [np.abs(image - exact).max() / sigma for image in worst_pair[1]]
    print(
        f'{stamp_size:5.1f}" {rate["ours"]:7.0f} {rate["btk"]:7.0f} '
        f"{rate['ours'] / rate['btk']:6.1f}   {worst / sigma:10.4f} {errors[0]:10.4f} "
        f"{errors[1]:10.4f}"
    )


def print_used(stamp_size, aim, catalog, options):
    survey = get_euclid_survey()
    ours, btk = (
        kind(
            table,
            DefaultSampling(
                stamp_size, USED_GALAXIES, USED_GALAXIES, None, options.seed, 25.3, 19.5, "IE_ab"
            ),
            survey,
            batch_size=BATCH_SIZE,
        )
        for kind, table in (
            (EuclidGenerator, catalog),
            (CatsimGenerator, CatsimCatalog(catalog.table)),
        )
    )
    times = []
    for _ in range(options.batches + 1):  # the first, which fills caches, is not timed
        start = time.perf_counter()
        next(ours)
        middle = time.perf_counter()
        next(btk)
        times.append((middle - start, time.perf_counter() - middle))
    ours_ms, btk_ms = 1e3 * np.median(times[1:], axis=0) / BATCH_SIZE
    ratio = btk_ms / ours_ms
    add_row(f"drawing beside BTK, {stamp_size} arcsec", ratio, "times", aim, options.seed, True)
    print(f'{stamp_size:5.1f}" {ours_ms:7.2f} {btk_ms:7.2f} {ratio:6.1f}')


def exact_blend(catalog, survey, size):
    """Return the noiseless image of a blend [electron], by GalSim at high accuracy."""
    filt = survey.get_filter("IE")
    image = np.zeros((size, size))
    for row in catalog:
        galaxy = get_catsim_galaxy(row, filt, survey)
        profile = galsim.Convolve(galaxy, filt.psf, gsparams=ACCURATE).shift(row["ra"], row["dec"])
        image += profile.drawImage(nx=size, ny=size, scale=0.1, dtype=float).array
    return image


if __name__ == "__main__":
    main()
