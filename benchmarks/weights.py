"""Are new weights better than others? Both on the same scenes, which the benchmark does not hold.

    btk-punet calibrate -m training --real-galaxies FILE
    python benchmarks/weights.py OUTPUT --real-galaxies FILE --weights euclid-vis training
        [--n-blends 200] [--sets groups real sky ...]

Sets, each with seeds and galaxies of its own: ``groups``, ``deep``, ``pairs`` and ``fields`` as in
the benchmark; ``real``, groups of the real galaxies that neither training nor calibration saw (the
part "benchmark"), and ``real_deep``, the same at four exposures; ``sky``, fields of the sky's
density with those galaxies down to I_E = 24.5, at four exposures; ``bright``, pairs of 18 to 23
mag; ``touching``, pairs of those real galaxies from 18 to 22.5 mag, 0.3 to 3 arcsec apart, at
four exposures. A network that is told the density of sources is told that of the set, and the
calibration that lies beside its weights is used. Tables, of each set and network: completeness and
purity at the default threshold, how far p_detect is off, the same of those with 0.1 < p < 0.9 and
the error that right ones would have by chance, the largest gap of the counts and that by chance;
and the completeness at the purity of SEP, less SEP's, at five settings, with 68% intervals.
"""

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from networks import opened
from rows import add_row

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
from btk_punet.evaluation.runs.benchmark import SEP_SETTINGS
from btk_punet.training.generator import HeldOutGalaxyGenerator

SEED = 20_261_130
GALAXIES = 30_000
FIELDS_COUNT_AS = 10


@dataclass(frozen=True)
class Scenes:
    """A set: what is drawn, and how."""

    sampling: object
    n_exposures: int = 1
    real: bool = False
    fields: bool = False


SETS = {
    "groups": Scenes(EuclidGroupSampling(seed=SEED + 1)),
    "deep": Scenes(EuclidGroupSampling(seed=SEED + 2), n_exposures=4),
    "pairs": Scenes(EuclidPairSampling(seed=SEED + 3)),
    "bright": Scenes(EuclidPairSampling(9.6, min_mag=18.0, max_mag=23.0, seed=SEED + 4)),
    "real": Scenes(EuclidGroupSampling(seed=SEED + 5), real=True),
    "real_deep": Scenes(EuclidGroupSampling(seed=SEED + 8), n_exposures=4, real=True),
    "fields": Scenes(EuclidFieldSampling(seed=SEED + 6), fields=True),
    "sky": Scenes(EuclidFieldSampling.sky(seed=SEED + 7), n_exposures=4, real=True, fields=True),
    "touching": Scenes(
        EuclidPairSampling(12.8, 0.3, 3.0, min_mag=18.0, max_mag=22.5, seed=SEED + 9),
        n_exposures=4,
        real=True,
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
            catalog,
            chosen.sampling,
            survey,
            real_galaxies=real_galaxies,
            part="benchmark",
            **options,
        )
    return EuclidGenerator(catalog, chosen.sampling, survey, **options)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--real-galaxies", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", default=["euclid-vis"])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--n-blends", type=int, default=200, help="a field counts as ten")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {
        f"SEP {thresh}/{minarea}/{cont:g}": SepDeblender(400, thresh, minarea, cont)
        for thresh, minarea, cont in SEP_SETTINGS
    } | {weights: ProbaUNetDeblender(400, opened(weights)) for weights in options.weights}
    scores, margins = [], []
    for name in options.sets:
        chosen = SETS[name]
        run = compare(
            options.output / name,
            methods,
            generator=generator(name, options.real_galaxies),
            n_blends=max(options.n_blends // (FIELDS_COUNT_AS if chosen.fields else 1), 1),
            outcomes=False,
            report=False,
            progress=False,
        )
        scores.append(scores_of(run.tables, options.weights).assign(set=name))
        margins.append(margins_of(run.tables["equal_purity"]).assign(set=name))
        for each in run.tables["equal_purity"].itertuples():
            case = f"{each.detector} over {each.method}, {name}"
            add_row(f"completeness gained at equal purity, {case}", each.margin, "share", seed=SEED)
        for table in (scores[-1], margins[-1]):
            print(table.set_index(["set", table.columns[0]]).to_string(), "\n", flush=True)
    for table, file in ((scores, "weights_scores.csv"), (margins, "weights_margins.csv")):
        pd.concat(table).to_csv(options.output / file, index=False)


def scores_of(tables: dict[str, pd.DataFrame], weights: list[str]) -> pd.DataFrame:
    """Return one row per network: what it does by itself on a set."""
    head = tables["headline"].set_index("method")
    whole = tables["probability_scores"].set_index("method")
    doubtful = tables["doubtful_calibration"].set_index("method")
    columns = {
        "completeness": head["completeness"],
        "purity": head["purity"],
        "ceiling": head["ceiling"],
        "off": whole["expected_calibration_error"],
        "off in doubt": doubtful["expected_calibration_error"],
        "by chance": doubtful["error_by_chance"],
        "n in doubt": doubtful["n"],
        "count gap": whole["largest_count_gap"],
        "gap by chance": whole["count_gap_by_chance"],
    }
    table = pd.DataFrame({name: column.reindex(weights) for name, column in columns.items()})
    return table.round(3).rename_axis("weights").reset_index()


def margins_of(equal_purity: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network: its margins over each setting of SEP."""
    equal_purity = equal_purity[equal_purity["method"].str.startswith("SEP ")]
    text = [
        f"{row.margin:+.3f} ({row.margin_lo:+.3f} to {row.margin_hi:+.3f})"
        for row in equal_purity.itertuples()
    ]
    wide = equal_purity.assign(text=text).pivot(index="detector", columns="method", values="text")
    return wide[list(dict.fromkeys(equal_purity["method"]))].rename_axis("weights").reset_index()


if __name__ == "__main__":
    main()
