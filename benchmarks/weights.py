"""Are new weights better than others? Both on the same scenes, which the benchmark does not hold.

    python benchmarks/weights.py OUTPUT --real-galaxies FILE --weights euclid-vis training
        [--n-blends 200] [--sets groups real sky ...]

Sets, each with seeds and galaxies of its own: ``groups``, ``deep``, ``pairs`` and ``fields`` as in
the benchmark; ``real``, groups of the real galaxies that training never saw; ``sky``, fields of the
sky's density with those galaxies down to I_E = 24.5, at four exposures; ``bright``, pairs of
18 to 23 mag. A network that is told the density of sources is told that of the set. For each set
the completeness at the purity of SEP, how far p_detect is off, and the same of those in doubt.
"""

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from btk_punet import (
    EuclidCatalog,
    EuclidFieldSampling,
    EuclidGenerator,
    EuclidGroupSampling,
    EuclidPairSampling,
    ProbaUNetDeblender,
    SepDeblender,
    compare,
    get_euclid_survey,
)
from btk_punet.model.proba_unet import open_network
from btk_punet.simulation.density import SKY_DENSITY_PER_ARCMIN2
from btk_punet.training.generator import HeldOutGalaxyGenerator
from btk_punet.training.train import network_so_far

SEED = 20_261_130
GALAXIES = 30_000
SEP = {"1.5/5/0.005": (1.5, 5, 0.005), "1.2/5/5e-4": (1.2, 5, 5e-4), "1.0/5/1e-4": (1.0, 5, 1e-4)}
# Probabilities between these are in doubt.
DOUBT = (0.1, 0.9)


@dataclass(frozen=True)
class Scenes:
    """A set: what is drawn, how, and how dense it is, over the sky."""

    sampling: object
    density_ratio: float
    n_exposures: int = 1
    real: bool = False
    fields: bool = False


# Ratios: the others within 2 arcsec of a source that the sampling gives, over the sky's 0.16.
SETS = {
    "groups": Scenes(EuclidGroupSampling(seed=SEED + 1), 18.0),
    "deep": Scenes(EuclidGroupSampling(seed=SEED + 2), 18.0, n_exposures=4),
    "pairs": Scenes(EuclidPairSampling(seed=SEED + 3), 6.2),
    "bright": Scenes(EuclidPairSampling(9.6, min_mag=18.0, max_mag=23.0, seed=SEED + 4), 6.2),
    "real": Scenes(EuclidGroupSampling(seed=SEED + 5), 18.0, real=True),
    "fields": Scenes(EuclidFieldSampling(seed=SEED + 6), 1.4, fields=True),
    "sky": Scenes(
        EuclidFieldSampling(
            density=SKY_DENSITY_PER_ARCMIN2, clustered_fraction=0.0, min_mag=18.0, seed=SEED + 7
        ),
        1.0,
        n_exposures=4,
        real=True,
        fields=True,
    ),
}


def generator(name: str, real_galaxies: Path):
    """Return the generator of a set."""
    chosen = SETS[name]
    number = list(SETS).index(name)
    survey = get_euclid_survey(chosen.n_exposures, 0.0 if chosen.n_exposures == 1 else 4.4, 0.165)
    options = {"batch_size": 4 if chosen.fields else 50, "seed": SEED + 100 + number}
    catalog = EuclidCatalog.simulate(GALAXIES, SEED + number, 18.0, 26.5)
    if chosen.real:
        return HeldOutGalaxyGenerator(
            catalog, chosen.sampling, survey, real_galaxies=real_galaxies, **options
        )
    return EuclidGenerator(catalog, chosen.sampling, survey, **options)


def opened(weights: str):
    """Return what `ProbaUNetDeblender` takes: of a run that is not done, the network so far."""
    folder = Path(weights)
    if (folder / "checkpoint.npz").is_file() and not (folder / "model").is_dir():
        return network_so_far(folder)
    return weights


def calibration_errors(candidates: pd.DataFrame) -> tuple[float, float]:
    """Return the expected calibration error of all candidates, and of those in doubt."""
    kept = candidates[candidates["in_bounds"]]
    doubtful = kept[kept["p_detect"].between(*DOUBT)]
    errors = []
    for some in (kept, doubtful):
        bins = np.minimum((some["p_detect"] * 10).astype(int), 9)
        by_bin = some.groupby(bins)[["p_detect", "outcome"]].agg(["sum"])
        off = (by_bin["p_detect", "sum"] - by_bin["outcome", "sum"]).abs()
        errors.append(float(off.sum() / max(len(some), 1)))
    return errors[0], errors[1]


def main() -> None:
    """Print a line for each set and network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--real-galaxies", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", default=["euclid-vis"])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--n-blends", type=int, default=200, help="a field counts as ten")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    networks = {weights: opened(weights) for weights in options.weights}
    for name in options.sets:
        chosen = SETS[name]
        methods = {f"SEP {key}": SepDeblender(400, *setting) for key, setting in SEP.items()}
        for weights, network in networks.items():
            told = open_network(network)[0].told_density
            methods[weights] = ProbaUNetDeblender(
                400, network, density_ratio=chosen.density_ratio if told else 1.0
            )
        run = compare(
            options.output / name,
            methods,
            generator=generator(name, options.real_galaxies),
            n_blends=max(options.n_blends // (10 if chosen.fields else 1), 1),
            outcomes=False,
            report=False,
            overwrite=True,
            progress=False,
        )
        candidates = pd.read_parquet(options.output / name / "candidates.parquet")
        equal = run.tables["equal_purity"]
        headline = run.tables["headline"].set_index("method")
        print(f"{name}: {run.tables['headline']['ceiling'].iloc[0]:.3f} at most can be found")
        for weights in networks:
            error, doubtful = calibration_errors(candidates[candidates["method"] == weights])
            rows = equal[equal["detector"] == weights]
            margins = "  ".join(
                f"{row.method} {row.margin:+.3f} ({row.margin_lo:+.3f} to {row.margin_hi:+.3f})"
                for row in rows.itertuples()
            )
            own = headline.loc[weights]
            print(
                f"  {weights}: completeness {own['completeness']:.3f}, purity {own['purity']:.3f}, "
                f"off by {error:.3f}, in doubt by {doubtful:.3f}; over SEP at its purity {margins}",
                flush=True,
            )


if __name__ == "__main__":
    main()
