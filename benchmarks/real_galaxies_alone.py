"""Which real galaxies are taken apart: each HST stamp of the benchmark alone, at several angles.

    python benchmarks/real_galaxies_alone.py DIR [--density-ratio 1] [--angles 8] [--seed 77]

DIR holds real galaxies in GalSim's format. Prints the mean number of detections of ProbaUNet and of
SEP (1.5, 5, 0.005) for every galaxy in which ProbaUNet finds more than one on average, and the mean
over all galaxies. Angles and noise come from the seed; one exposure, PSF of 0.16 arcsec.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from btk.sampling_functions import SamplingFunction
from rows import add_row

from btk_punet import ProbaUNetDeblender, RealGalaxyGenerator, SepDeblender, get_euclid_survey
from btk_punet.evaluation.runs.benchmark import REAL_LEFT_OUT
from btk_punet.simulation.choices import open_cosmos


class OneAlone(SamplingFunction):
    """One given galaxy of a catalog, near the middle of the stamp."""

    def __init__(self, ident: int):
        super().__init__(6.4, 1, 1)
        self.ident = ident

    def __call__(self, table):
        """Return its row."""
        row = table[table["IDENT_1"] == self.ident]
        row["ra"], row["dec"] = self.rng.uniform(-0.05, 0.05, (2, 1))
        return row


def main() -> None:
    """Print a line a galaxy that is taken apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--density-ratio", type=float, default=1.0, help="what ProbaUNet is told")
    parser.add_argument("--angles", type=int, default=8)
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()
    catalog, survey = open_cosmos(options.folder), get_euclid_survey(1, 0.0)
    catalog.table = catalog.table[~np.isin(catalog.table["IDENT_1"], list(REAL_LEFT_OUT))]
    unet = ProbaUNetDeblender(30, density_ratio=options.density_ratio)
    methods = {"ProbaUNet": unet, "SEP": SepDeblender(30, 1.5, 5, 0.005)}
    rows = []
    for number, galaxy in enumerate(catalog.table):
        generator = RealGalaxyGenerator(
            catalog,
            OneAlone(int(galaxy["IDENT_1"])),
            survey,
            batch_size=options.angles,
            seed=options.seed + number,
            augment_data=True,
        )
        batch = next(generator)
        rows.append(
            {"IDENT": int(galaxy["IDENT_1"]), "MAG": float(galaxy["MAG"])}
            | {
                name: np.mean([len(found) for found in method(batch).catalog_list])
                for name, method in methods.items()
            }
        )
    table = pd.DataFrame(rows).sort_values("ProbaUNet", ascending=False)
    for name in methods:
        told = f" density {options.density_ratio:g}" if name == "ProbaUNet" else ""
        figure = f"detections of an HST galaxy alone, {name}{told}"
        add_row(figure, table[name].mean(), "a galaxy", seed=options.seed)
    print(table[table["ProbaUNet"] > 1].round(2).to_string(index=False))
    print(f"mean of {len(table)} galaxies: " + str(table[list(methods)].mean().round(2).to_dict()))


if __name__ == "__main__":
    main()
