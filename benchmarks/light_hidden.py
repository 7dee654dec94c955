"""The odds that a candidate which was not called hides light: fitted, and tried on other scenes.

    python benchmarks/light_hidden.py [--scenes 1000] [--seed 770100] [--check-seed 770200]
        [--weights euclid-vis]

On the sets ``groups``, ``deep`` and ``pairs`` of ``light.py`` the deblender judges its candidates
below the threshold by the pixels (`btk_punet.deblending.light_hidden`). A candidate hides light
where one of the true sources without a detection is matched to it. To that the logarithm of the
odds is fitted by its terms, each set with the same weight. Prints the numbers that were fitted;
and, on the scenes of the second seed, for these and for those of the package: the log loss a
candidate, the expected calibration error, how many candidates are given a half or more, and how
many of them hide light.
"""

import argparse
import warnings
from collections.abc import Callable
from unittest import mock

import numpy as np
import pandas as pd
from light import BATCH_SIZE, generator_of, match_seen, truth_of
from rows import add_row
from scipy.special import expit

from btk_punet import Matcher, ProbaUNetDeblender
from btk_punet.deblending import light
from btk_punet.deblending.base import told_scenes
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light_fit import SourceFit
from btk_punet.deblending.light_hidden import Hidden
from btk_punet.deblending.log_odds import fit_log_odds
from btk_punet.evaluation.statistics.reliability import Reliability

SETS = ("groups", "deep", "pairs")
NETWORK_ODDS = 1  # which of the terms


class Recorder:
    """Judges, and keeps what was judged."""

    def __init__(self, judge: Callable[[SourceFit, Candidates], Hidden]):
        self._judge = judge

    def __call__(self, fit: SourceFit, doubtful: Candidates) -> Hidden:
        """Return what the judge returns."""
        self.doubtful, self.hidden = doubtful, self._judge(fit, doubtful)
        return self.hidden


def judged(name: str, weights: str, seed: int, n_scenes: int) -> pd.DataFrame:
    """Return terms and probability of each candidate of a set, and whether it hides light."""
    generator = generator_of(name, seed)
    deblender = told_scenes(ProbaUNetDeblender(30, weights), generator)
    tables = []
    for _ in range(max(n_scenes // BATCH_SIZE, 1)):
        batch = next(generator)
        recorder = Recorder(light.judge)
        with mock.patch.object(light, "judge", recorder):
            found = deblender(batch)
        doubtful, hidden = recorder.doubtful, recorder.hidden
        table = pd.DataFrame(hidden.terms).assign(p=hidden.probability, true=False)
        for image, (truth, catalog) in enumerate(
            zip(truth_of(batch), found.catalog_list, strict=True)
        ):
            seen, matched, _ = match_seen(truth, catalog)
            lost = seen.drop(index=seen.index[matched])
            (own,) = np.nonzero(doubtful.image == image)
            _, candidates = Matcher().match_positions(
                lost["x"], lost["y"], doubtful.x[own], doubtful.y[own]
            )
            table.loc[own[candidates], "true"] = True
        tables.append(table)
    return pd.concat(tables, ignore_index=True).assign(set=name)


def fitted(table: pd.DataFrame) -> np.ndarray:
    """Return the number of each term, by which the odds are most probable."""
    terms = terms_of(table)
    weight = 1 / table.groupby("set")["true"].transform("size").to_numpy()
    others = np.delete(terms, [0, NETWORK_ODDS], axis=1)
    line, numbers = fit_log_odds(
        expit(terms[:, NETWORK_ODDS]), table["true"], others.T, weight / weight.mean()
    )
    return np.insert(numbers, 0, [line.intercept, line.slope])


def terms_of(table: pd.DataFrame) -> np.ndarray:
    """Return the terms, shape (n, 5)."""
    return table[[column for column in table if isinstance(column, int)]].to_numpy()


def main() -> None:
    """Print the numbers and how well they do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=770_100)
    parser.add_argument("--check-seed", type=int, default=770_200)
    parser.add_argument("--weights", default="euclid-vis")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    first, second = (
        pd.concat([judged(name, options.weights, seed, options.scenes) for name in SETS])
        for seed in (options.seed, options.check_seed)
    )
    odds = fitted(first)
    print(f"fitted on {len(first)} candidates, seed {options.seed}: {odds.round(3).tolist()}")
    for name, own in second.groupby("set"):
        rows = {}
        for case, p in {
            "package": own["p"].to_numpy(),
            "fitted": expit(terms_of(own) @ odds),
            "network": expit(terms_of(own)[:, NETWORK_ODDS]),
        }.items():
            true, likely = own["true"].to_numpy(), p >= 0.5
            reliability = Reliability()
            reliability.add(p, true)
            rows[case] = {
                "log loss": reliability.log_loss(),
                "off": reliability.expected_calibration_error(),
                "p >= 0.5": int(likely.sum()),
                "of them true": true[likely].mean(),
                "expected": p.sum(),
                "true": int(true.sum()),
            }
        print(f"\n===== {name}: {len(own)} candidates, seed {options.check_seed}")
        print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))
        figure = f"calibration error of hidden light, {name}"
        add_row(figure, rows["package"]["off"], "share", seed=options.check_seed)


if __name__ == "__main__":
    main()
