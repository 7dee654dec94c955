"""Which real galaxies are taken apart: those held out of training, each alone on its stamp.

    python benchmarks/real_galaxies_held_out.py FILE [--weights MODEL ...] [--n-galaxies 200]
        [--part benchmark]

FILE holds real galaxies as `btk_punet.training.real_galaxies` reads them; those of the part
"benchmark" were seen neither by training nor by calibration. The calibration that lies beside the
weights is used, and a network that is told the density of sources is told the sky's. Galaxies of
I_E 19.5 to 23.5, as many in each half magnitude and of the sizes that simulated ones have, are
drawn at one and four exposures through a PSF of 0.16 arcsec. A detection is on the light of a
galaxy where the noiseless image exceeds half a sigma of the background, in the part that holds the
centre. For every method: the share of galaxies with more than one detection on their light, the
mean number of those beyond the first, and the share with a detection within 0.3 arcsec of the
centre of light.
"""

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from networks import opened
from rows import add_row
from scipy import ndimage

from btk_punet import EuclidCatalog, ProbaUNetDeblender, SepDeblender, get_euclid_survey
from btk_punet.evaluation.runs.benchmark import SEP_SETTINGS
from btk_punet.simulation.sampling import EuclidInjectionSampling
from btk_punet.simulation.survey import background_variance
from btk_punet.training.generator import HeldOutGalaxyGenerator

STAMP_ARCSEC, BATCH = 9.6, 50
MAGNITUDES = (19.5, 23.5)
CATALOG_GALAXIES = 20_000
ON_LIGHT_SIGMA, MATCH_PIXELS = 0.5, 3.0


class OneInTheMiddle(EuclidInjectionSampling):
    """One galaxy, every half magnitude as likely, within a pixel of the stamp's middle."""

    def _place(self, scene, x_arcsec, y_arcsec):
        middle = [values * 0.1 / self.stamp_size for values in (x_arcsec, y_arcsec)]
        return super()._place(scene, *middle)


def light_of(isolated: np.ndarray, sigma: float, x: float, y: float) -> np.ndarray:
    """Return the pixels of a galaxy's light, ``(H, W)``."""
    labels, _ = ndimage.label(isolated > ON_LIGHT_SIGMA * sigma)
    own = labels[round(y), round(x)]
    return labels == own if own else np.zeros(isolated.shape, bool)


def measured(batch, method) -> list[dict]:
    """Return what a method makes of each galaxy of a batch."""
    band = batch.survey.get_filter("IE")
    sigma, rows = math.sqrt(background_variance(batch.survey, band)), []
    for isolated, truth, found in zip(
        batch.isolated_images, batch.catalog_list, method(batch).catalog_list, strict=True
    ):
        centre = float(truth["x_peak"][0]), float(truth["y_peak"][0])
        x, y = (np.asarray(found[name], float) for name in ("x_peak", "y_peak"))
        inside = np.clip(np.round([y, x]).astype(int), 0, batch.image_size - 1)
        on_light = int(light_of(isolated[0, 0], sigma, *centre)[tuple(inside)].sum())
        near = np.hypot(x - centre[0], y - centre[1]) < MATCH_PIXELS
        rows.append({"split": on_light > 1, "extra": max(on_light - 1, 0), "found": near.any()})
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--weights", nargs="+", default=["euclid-vis"], help="of networks, or folders of trainings"
    )
    parser.add_argument("--density-ratio", type=float, nargs="+", default=[1.0])
    parser.add_argument(
        "--galaxies", nargs="+", default=["unknown", "real"], help="what is told of the galaxies"
    )
    parser.add_argument("--part", default="benchmark", choices=("benchmark", "calibration", "all"))
    parser.add_argument("--n-galaxies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=991)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {
        f"ProbaUNet {weights} density {ratio:g} {kind} galaxies": ProbaUNetDeblender(
            60, opened(weights), density_ratio=ratio, galaxies=kind
        )
        for weights in options.weights
        for ratio in options.density_ratio
        for kind in options.galaxies
    }
    for setting in SEP_SETTINGS:
        methods[f"SEP {setting}"] = SepDeblender(60, *setting)
    catalog = EuclidCatalog.simulate(CATALOG_GALAXIES, options.seed, *MAGNITUDES)
    for n_exposures, read_noise in ((1, 0.0), (4, 4.4)):
        generator = HeldOutGalaxyGenerator(
            catalog,
            OneInTheMiddle(STAMP_ARCSEC, *MAGNITUDES, seed=options.seed),
            get_euclid_survey(n_exposures, read_noise, 0.16),
            batch_size=BATCH,
            seed=options.seed + n_exposures,
            real_galaxies=options.file,
            part=None if options.part == "all" else options.part,
        )
        rows: dict[str, list[dict]] = {name: [] for name in methods}
        for _ in range(-(-options.n_galaxies // BATCH)):
            batch = next(generator)
            for name, method in methods.items():
                rows[name] += measured(batch, method)
        table = pd.DataFrame({n: pd.DataFrame(r).mean() for n, r in rows.items()}).T
        for method, share in table["split"].items():
            case = f"{method}, {n_exposures} exposure(s)"
            add_row(f"real galaxies taken apart, {case}", share, "share", seed=options.seed)
        print(f"{n_exposures} exposure(s), {len(rows[name])} galaxies")
        print(table.round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
