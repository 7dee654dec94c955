"""How ProbaUNet does on a population and a PSF that are not those of its training.

    python benchmarks/generalisation.py [--model euclid-vis] [--scenes 1000] [--seed 20261211]

Groups of 1-6 galaxies at one exposure, as in the benchmark, but of another kind: bulge + disk
galaxies twice as flattened whose sizes hardly depend on their magnitudes, with flatter counts; and
a Moffat PSF with wings and an ellipticity of 0.08 instead of a space telescope's. Prints, for each
of the two and for both at once, the margin of ProbaUNet over SEP at equal purity (the five settings
of the benchmark), and the scores of its probabilities.
"""

import argparse
import tempfile
from pathlib import Path

import galsim
import numpy as np
from astropy.table import Table
from rows import add_row

from btk_punet import (
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    SepDeblender,
    compare,
    get_euclid_survey,
)
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.evaluation.runs.benchmark import SEP_SETTINGS

N_GALAXIES = 30_000
MAGNITUDES, SLOPE_DEX_PER_MAG = (19.0, 26.5), 0.25
# Median half-light radius at I_E = 23 [arcsec], its change with magnitude, and its scatter.
RADIUS_ARCSEC, RADIUS_DEX_PER_MAG, RADIUS_SCATTER_DEX = 0.28, -0.04, 0.2


def other_population(seed: int) -> EuclidCatalog:
    """Return galaxies with other sizes, shapes, profiles and counts than those of the training."""
    rng = np.random.default_rng(seed)
    low, high = (10 ** (SLOPE_DEX_PER_MAG * edge) for edge in MAGNITUDES)
    magnitude = np.log10(rng.uniform(low, high, N_GALAXIES)) / SLOPE_DEX_PER_MAG
    radius = RADIUS_ARCSEC * 10 ** (
        RADIUS_DEX_PER_MAG * (magnitude - 23.0) + rng.normal(0, RADIUS_SCATTER_DEX, N_GALAXIES)
    )
    root_ratio = np.sqrt(rng.uniform(0.15, 1.0, N_GALAXIES))  # of disks at any inclination
    bulge, bulge_radius = rng.beta(1, 3, N_GALAXIES), radius * rng.uniform(0.15, 0.8, N_GALAXIES)
    angle = rng.uniform(0, 180, N_GALAXIES)
    return EuclidCatalog(
        Table(
            {
                "ra": rng.uniform(0, 1, N_GALAXIES),
                "dec": rng.uniform(0, 1, N_GALAXIES),
                "IE_ab": magnitude,
                "fluxnorm_disk": 1 - bulge,
                "fluxnorm_bulge": bulge,
                "a_d": radius / root_ratio,
                "b_d": radius * root_ratio,
                "a_b": bulge_radius,
                "b_b": 0.8 * bulge_radius,
                "pa_disk": angle,
                "pa_bulge": angle,
            }
        )
    )


def main() -> None:
    """Print the margins and scores of each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="euclid-vis")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20_261_211)
    parser.add_argument("--njobs", "-j", type=int, default=1)
    options = parser.parse_args()
    usual = EuclidCatalog.simulate(N_GALAXIES, options.seed)
    other = other_population(options.seed)
    moffat = galsim.Moffat(beta=3.0, fwhm=0.17).shear(g1=0.08, g2=0.0)
    cases = {
        "another population": (other, 0.16),
        "another PSF": (usual, moffat),
        "another population and PSF": (other, moffat),
    }
    methods = {
        f"SEP {thresh}/{minarea}/{deblend_cont:g}": SepDeblender(30, thresh, minarea, deblend_cont)
        for thresh, minarea, deblend_cont in SEP_SETTINGS
    }
    methods["ProbaUNet"] = ProbaUNetDeblender(30, options.model)
    for name, (catalog, psf) in cases.items():
        generator = EuclidGenerator(
            catalog,
            EuclidGroupSampling(),
            get_euclid_survey(1, 0.0, psf),
            batch_size=50,
            seed=options.seed,
        )
        with tempfile.TemporaryDirectory() as folder:
            run = compare(
                Path(folder) / "run",
                methods,
                generator=generator,
                n_blends=options.scenes,
                outcomes=False,
                report=False,
                njobs=options.njobs,
            )
        ceiling = run.tables["headline"]["ceiling"].iloc[0]
        print(f"\n{name} (information ceiling {ceiling:.3f})")
        names = {"completeness_other": "SEP", "completeness": "ProbaUNet"}
        margins = run.tables["equal_purity"].set_index("method").rename(columns=names)
        scores = run.tables["probability_scores"].iloc[0]
        for setting, margin in margins["margin"].items():
            figure = f"completeness gained at equal purity over {setting}, {name}"
            add_row(figure, margin, "share", ">= 0", options.seed)
        figure = f"calibration error of p_detect, {name}"
        add_row(figure, scores["expected_calibration_error"], "share", seed=options.seed)
        shown = margins[["purity", *names.values(), "margin", "margin_lo", "margin_hi"]]
        print(shown.to_string(float_format="{:.3f}".format))
        print(
            f"calibration error of p_detect {scores['expected_calibration_error']:.3f}, largest "
            f"count gap {scores['largest_count_gap']:.3f}"
        )


if __name__ == "__main__":
    main()
