"""`SepDeblender` in BTK's classes beside `sep.extract` called directly, on a benchmark set.

Prints the completeness and purity of both at each of the five settings, and the largest
difference of any position: the wrapping should change nothing.

    python benchmarks/sep_agreement.py [--set groups] [--scenes 500]
"""

import argparse

import numpy as np
import sep
from rows import add_row

from btk_punet import Matcher, SepDeblender, alone_snr, benchmark_set
from btk_punet.evaluation.runs.benchmark import SEP_SETTINGS
from btk_punet.simulation.survey import background_variance


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--set", default="groups", help="a set of simulated galaxies")
    parser.add_argument("--scenes", type=int, default=500)
    options = parser.parse_args()
    generator = benchmark_set(options.set).generator()
    (survey,) = generator.surveys.values()
    background = background_variance(survey, survey.get_filter("IE"))
    wrapped = {
        setting: SepDeblender(100, setting[0], setting[1], setting[2]) for setting in SEP_SETTINGS
    }
    # setting -> sources that count, matched ones, detections, matched ones; wrapped and direct
    counts = {setting: np.zeros((2, 4), int) for setting in SEP_SETTINGS}
    farthest = 0.0
    done = 0
    while done < options.scenes:
        batch = next(generator)
        for setting, deblender in wrapped.items():
            found = deblender(batch)
            for scene in range(min(batch.batch_size, options.scenes - done)):
                rows = sep.extract(
                    batch.blend_images[scene, 0],
                    setting[0],
                    err=np.sqrt(background),
                    minarea=setting[1],
                    deblend_cont=setting[2],
                    deblend_nthresh=64,
                )
                catalog = found.catalog_list[scene]
                ours = np.stack([catalog["x_peak"], catalog["y_peak"]], axis=1)
                direct = np.stack([rows["x"], rows["y"]], axis=1)
                direct = direct[np.argsort(-rows["flux"], kind="stable")]
                farthest = max(farthest, np.abs(ours - direct).max(initial=0.0))
                for which, positions in enumerate((ours, direct)):
                    counts[setting][which] += count(batch, scene, positions, background)
        done += batch.batch_size
    print(f"{options.set}, {min(done, options.scenes)} scenes")
    print(f"{'thresh, minarea, cont':>22}  {'completeness':>15}  {'purity':>15}")
    print(f"{'':>22}  {'ours':>7} {'direct':>7}  {'ours':>7} {'direct':>7}")
    for setting, ((n, k, m, j), (nd, kd, md, jd)) in counts.items():
        print(f"{setting!s:>22}  {k / n:7.4f} {kd / nd:7.4f}  {j / m:7.4f} {jd / md:7.4f}")
    add_row(
        "SepDeblender's places beside sep.extract's, largest difference", farthest, "pixel", "<= 0"
    )
    print(f"largest difference of a position: {farthest:.2e} pixel")


def count(batch, scene, positions, background):
    """Count without the tables: match first, cut afterwards."""
    catalog = batch.catalog_list[scene]
    truth = np.stack([catalog["x_peak"], catalog["y_peak"]], axis=1)
    snr = alone_snr(batch.isolated_images[scene, : len(catalog), 0], background)
    (candidates,) = np.nonzero(snr > 2)
    source, detection = Matcher().match_positions(*truth[candidates].T, *positions.T)
    matched_truth = np.isin(np.arange(len(truth)), candidates[source])
    matched = np.isin(np.arange(len(positions)), detection)
    last = batch.image_size - 3
    counted = (snr > 5) & ((truth >= 2) & (truth <= last)).all(axis=1)
    inside = ((positions >= 2) & (positions <= last)).all(axis=1)
    return counted.sum(), (counted & matched_truth).sum(), inside.sum(), (inside & matched).sum()


if __name__ == "__main__":
    main()
