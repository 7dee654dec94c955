"""Which real galaxies are taken apart: those held out of training, each alone on its stamp.

    python benchmarks/real_galaxies_held_out.py FILE [--weights MODEL ...] [--n-galaxies 300]

FILE holds real galaxies as `btk_punet.training.real_galaxies` reads them. Galaxies of I_E 19.5 to
23.5, as many in each half magnitude and with the sizes of the simulated sky, are drawn at one and
four exposures through a PSF of 0.16 arcsec. A detection is on the light of a galaxy where the
noiseless image exceeds half a sigma of the background, in the part that holds the centre. For
every method: the share of galaxies with more than one detection on their light, the mean number of
those beyond the first, and the share with a detection within 0.3 arcsec of the centre of light.
"""

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.survey import make_wcs
from scipy import ndimage

from btk_punet import EuclidCatalog, ProbaUNetDeblender, SepDeblender, get_euclid_survey
from btk_punet.simulation.catalog import half_light_radius_arcsec
from btk_punet.simulation.noise import background_noise
from btk_punet.simulation.rendering import StampRenderer
from btk_punet.simulation.survey import background_variance, pixel_scale_arcsec
from btk_punet.training.real_galaxies import read_real_galaxies, real_parts
from btk_punet.training.train import network_so_far

STAMP_PIXELS, BATCH = 96, 50
MAGNITUDES, STEP = (19.5, 23.5), 0.5
ON_LIGHT_SIGMA, MATCH_PIXELS = 0.5, 3.0


def batches(path: Path, n_galaxies: int, n_exposures: int, seed: int):
    """Yield batches of one real galaxy a stamp, and the masks of their light."""
    galaxies = read_real_galaxies(path, held_out=True)
    survey = get_euclid_survey(n_exposures, 0.0 if n_exposures == 1 else 4.4, 0.16)
    band = survey.get_filter("IE")
    sigma, scale = math.sqrt(background_variance(survey, band)), pixel_scale_arcsec(survey)
    renderer = StampRenderer(survey.get_filter("IE").psf, scale, sigma)
    steps = np.arange(*MAGNITUDES, STEP)
    rows = [
        row
        for number, low in enumerate(steps)
        for row in zip(*_sizes(-(-n_galaxies // len(steps)), seed + number, low), strict=True)
    ]
    rng = np.random.default_rng(seed)
    rng.shuffle(rows)
    rows = rows[:n_galaxies]
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        isolated = np.zeros((len(some), 1, 1, STAMP_PIXELS, STAMP_PIXELS))
        images, catalogs = np.zeros((len(some), 1, STAMP_PIXELS, STAMP_PIXELS)), []
        for i, (magnitude, radius) in enumerate(some):
            rate = 10 ** (-0.4 * (magnitude - band.zeropoint.to_value("mag")))
            flux = rate * survey.n_exposures * 565.0
            parts = real_parts(galaxies, radius, flux, rng) or real_parts(galaxies, 0.3, flux, rng)
            x, y = (STAMP_PIXELS - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
            drawn, r, c = renderer.draw(parts, x, y, STAMP_PIXELS)
            isolated[i, 0, 0][r, c] = np.maximum(drawn, 0)
            photons = isolated[i, 0, 0]
            images[i, 0] = rng.poisson(photons) + background_noise(survey, band, photons.shape, rng)
            wcs = make_wcs(scale, photons.shape)
            ra, dec = (3600 * np.asarray(v) for v in wcs.pixel_to_world_values(x, y))
            catalogs.append(
                Table({"ra": [ra], "dec": [dec], "x_peak": [x], "y_peak": [y], "IE": [magnitude]})
            )
        yield (
            BlendBatch(
                len(some),
                1,
                STAMP_PIXELS * scale,
                survey,
                images,
                isolated,
                catalogs,
                [band.psf],
            ),
            [_light(image[0, 0], sigma, t) for image, t in zip(isolated, catalogs, strict=True)],
        )


def _opened(weights: str):
    """Return what `ProbaUNetDeblender` takes: of a run that is not done, the network so far."""
    folder = Path(weights)
    if (folder / "checkpoint.npz").is_file() and not (folder / "model").is_dir():
        return network_so_far(folder)
    return weights


def _sizes(number: int, seed: int, low: float) -> tuple[np.ndarray, np.ndarray]:
    table = EuclidCatalog.simulate(number, seed, low, low + STEP).table
    return np.asarray(table["IE_ab"]), half_light_radius_arcsec(table)


def _light(image: np.ndarray, sigma: float, catalog: Table) -> np.ndarray:
    labels, _ = ndimage.label(image > ON_LIGHT_SIGMA * sigma)
    own = labels[round(catalog["y_peak"][0]), round(catalog["x_peak"][0])]
    return labels == own if own else np.zeros(image.shape, bool)


def measured(batch: BlendBatch, light: list[np.ndarray], method) -> list[dict]:
    """Return what a method makes of each galaxy of a batch."""
    rows = []
    for truth, own, found in zip(
        batch.catalog_list, light, method(batch).catalog_list, strict=True
    ):
        x, y = (np.asarray(found[name], float) for name in ("x_peak", "y_peak"))
        inside = np.clip(np.round([y, x]).astype(int), 0, STAMP_PIXELS - 1)
        on_light = int(own[tuple(inside)].sum())
        distance = np.hypot(x - truth["x_peak"][0], y - truth["y_peak"][0])
        rows.append(
            {
                "split": on_light > 1,
                "extra": max(on_light - 1, 0),
                "found": bool((distance < MATCH_PIXELS).any()),
            }
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--weights", nargs="+", default=["euclid-vis"], help="of networks, or folders of trainings"
    )
    parser.add_argument("--density-ratio", type=float, nargs="+", default=[1.0])
    parser.add_argument("--n-galaxies", type=int, default=300)
    parser.add_argument("--seed", type=int, default=991)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {
        f"ProbaUNet {weights} density {ratio:g}": ProbaUNetDeblender(
            60, _opened(weights), density_ratio=ratio
        )
        for weights in options.weights
        for ratio in options.density_ratio
    }
    for setting in ((1.2, 5, 5e-4), (1.5, 5, 0.005)):
        methods[f"SEP {setting}"] = SepDeblender(60, *setting)
    for n_exposures in (1, 4):
        rows: dict[str, list[dict]] = {name: [] for name in methods}
        for batch, light in batches(
            options.file, options.n_galaxies, n_exposures, options.seed + 100 * n_exposures
        ):
            for name, method in methods.items():
                rows[name] += measured(batch, light, method)
        table = pd.DataFrame({n: pd.DataFrame(r).mean() for n, r in rows.items()}).T
        print(f"{n_exposures} exposure(s), {options.n_galaxies} galaxies")
        print(table.round(3).to_string())


if __name__ == "__main__":
    main()
