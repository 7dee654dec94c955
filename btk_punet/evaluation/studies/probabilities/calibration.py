"""Of all that is predicted with a probability of 0.8, are 8 in 10 true? And where are they not?

Quantities: ``p_detect`` (a candidate brings a match), ``p_blend`` (the source of a matched
detection is overlapped), ``count`` (the most probable number of sources is the true one) and the
classes ``background``, ``isolated`` and ``blended`` of pixels with p(background) < 0.9.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.quantities import WILSON, Column, Quantity
from btk_punet.evaluation.scoring.candidates import LOWEST_THRESHOLD
from btk_punet.evaluation.statistics.counts import most_probable_counts, posteriors_of
from btk_punet.evaluation.statistics.reliability import N_BINS, Reliability, error_by_chance
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.probabilities.counts import count_gap
from btk_punet.evaluation.studies.table import Layout, Table, all_described
from btk_punet.simulation.labels import CLASS_NAMES

QUANTITIES = ("p_detect", "p_blend", "count", *CLASS_NAMES)
# Candidates with a probability between these are doubtful.
DOUBTFUL = (0.1, 0.9)

# Columns of the sums of a class.
_SUMS = ("n", "k", "sum_probability", "sum_squared_error")

PROBABILITY = Quantity(
    "probability", "probability", "predicted probability", "Predicted probability",
    "Probability", "", tuple((np.arange(N_BINS + 1) / N_BINS).tolist()), even=True,
)  # fmt: skip
# Table -> quantity, what there are n of, what is true of k, title, and how to read the figure.
RELIABILITY = {
    "calibration": (
        "p_detect",
        "candidates in bounds",
        "they bring a match",
        "Calibration of the probability of a detection",
        "On the dashed line, as many candidates bring a match as predicted; points below it are "
        "of probabilities that are too high, and the steps show how many candidates there are.",
    ),
    "blend_calibration": (
        "p_blend",
        "matched detections in bounds",
        "their source is overlapped by another",
        "Calibration of the probability of a blend",
        "On the dashed line, as many of the matched detections are of overlapped sources as "
        "predicted; points below it are of probabilities that are too high, and the steps show "
        "how many detections there are.",
    ),
    "count_calibration": (
        "count",
        "scenes",
        "the most probable number of sources is the true one",
        "Calibration of the number of sources",
        "On the dashed line, the most probable number of sources in a scene is as often the true "
        "one as predicted; points below it are of probabilities that are too high, and the steps "
        "show how many scenes there are.",
    ),
}
PIXELS = "pixels with p(background) < 0.9"

MEAN = Column(
    "mean_probability", "mean predicted probability", heading="Mean predicted", format=".3f"
)
BASE_RATE = Column("base_rate", "observed fraction", heading="Observed fraction", format=".3f")
ERROR = Column(
    "expected_calibration_error",
    "mean distance of mean predicted probability and observed fraction in ten bins of the former",
    heading="Calibration error", format=".3f",
)  # fmt: skip
BRIER = Column(
    "brier_score", "mean squared difference of probability and outcome", heading="Brier score",
    format=".3f",
)  # fmt: skip
SKILL = Column(
    "brier_skill", "share of the Brier score of a constant probability that is gone",
    heading="Skill", format=".3f",
)  # fmt: skip
OF_CLASS = Column("class", "class of a pixel: covered by no footprint, one, or more")


def predictions_of_detections(
    tidy: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the rows in bounds of what is predicted of detections, by (method, quantity).

    Args:
        tidy: Tidy tables of a run, of which ``candidates`` and ``blend_probabilities`` are used.
        methods: Names of the methods, in the order wanted.

    Returns:
        The rows with the columns ``probability`` and ``outcome``: of ``p_detect`` the candidates
        of 0.02 or more, whatever the method's threshold; of ``p_blend`` the matched detections.
    """
    candidates = _by("method", tidy, "candidates")
    matched = _by("method", tidy, "blend_probabilities")
    found = {}
    for method in methods:
        if method in candidates:
            own = candidates[method]
            own = own[own["in_bounds"] & (own["p_detect"] >= LOWEST_THRESHOLD)]
            found[method, "p_detect"] = own.assign(probability=own["p_detect"])
        if method in matched:
            names = {"p_blend": "probability", "overlapped": "outcome"}
            found[method, "p_blend"] = matched[method].rename(columns=names)
    return found


def reliabilities(
    tidy: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> dict[tuple[str, str], Reliability]:
    """Return the reliability of each of `QUANTITIES` that a method predicts.

    Args:
        tidy: Tidy tables of a run.
        methods: Names of the methods, in the order wanted.

    Returns:
        Those that there are, by (method, quantity).
    """
    found = {
        key: reliability_of(rows["probability"], rows["outcome"])
        for key, rows in predictions_of_detections(tidy, methods).items()
    }
    for method, own in _by("method", tidy, "counts").items():
        of_most_probable = most_probable_counts(posteriors_of(own), own["true_count"].to_numpy(int))
        found[method, "count"] = reliability_of(*of_most_probable)
    for key, own in _by(["method", "class"], tidy, "class_probabilities").items():
        found[key] = Reliability.from_sums(*(own[name].to_numpy() for name in _SUMS))
    return {(m, q): found[m, q] for m in methods for q in QUANTITIES if (m, q) in found}


def reliability_of(probability: np.ndarray, outcome: np.ndarray) -> Reliability:
    """Return the reliability of probabilities with their outcomes, shape (n,) each."""
    reliability = Reliability()
    reliability.add(np.asarray(probability, float), np.asarray(outcome, bool))
    return reliability


def scores(reliability: Reliability) -> dict[str, float]:
    """Return the scores of the probabilities of one quantity, as a row of a table."""
    return {
        "n": reliability.n,
        "mean_probability": reliability.mean_probability,
        "base_rate": reliability.base_rate,
        "expected_calibration_error": reliability.expected_calibration_error(),
        "brier_score": reliability.brier_score(),
        "brier_skill": reliability.brier_skill(),
    }


def doubtful_scores(probability: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    """Return the calibration of doubtful candidates alone, those with 0.1 < p < 0.9.

    Most candidates are nearly sure, and hide in the error of all of them how wrong the doubtful
    ones are.

    Args:
        probability: Predicted probabilities, 0-1, shape (n,).
        outcome: What is true, booleans of shape (n,).

    Returns:
        ``n``, ``mean_probability``, ``base_rate`` (the observed fraction),
        ``expected_calibration_error`` and ``error_by_chance``, which right probabilities would
        have on average; NaN without any.
    """
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, bool)
    doubtful = (probability > DOUBTFUL[0]) & (probability < DOUBTFUL[1])
    row = scores(reliability_of(probability[doubtful], outcome[doubtful]))
    names = ("n", "mean_probability", "base_rate", "expected_calibration_error")
    return {
        **{name: row[name] for name in names},
        "error_by_chance": error_by_chance(probability[doubtful]),
    }


def keyed(tables: Mapping[Any, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Return tables as one, whose first columns hold the keys under these names."""
    joined = pd.concat(tables, names=names)
    return joined.reset_index(list(names)).reset_index(drop=True)


def reliability_columns(of: str, true: str) -> tuple[Column, ...]:
    """Return what the columns of a table of reliability hold: n of these, of which k are true."""
    return (
        Column("n", f"number of {of}", heading="N", format=",d"),
        Column("k", f"number of them of which it is true: {true}"),
        replace(MEAN, heading="Mean", format=".2f"),
        *fraction_column("Observed"),
    )


def fraction_column(heading: str, name: str = "value", description: str = "") -> tuple[Column, ...]:
    """Return what a fraction and the ends of its interval are."""
    column = Column(
        name, description or "observed fraction, k / n; NaN where n is 0", heading=heading,
        format=".2f", interval=WILSON,
    )  # fmt: skip
    return all_described([column])


def score_table(found: Mapping[tuple[str, str], Reliability]) -> Table:
    """Return the scores of each quantity of each method."""
    rows = {key: pd.DataFrame([scores(reliability)]) for key, reliability in found.items()}
    columns = (MEAN, BASE_RATE, ERROR, BRIER, SKILL)
    return Table(
        "calibration_scores",
        "Calibration of everything that is predicted with a probability",
        keyed(rows, ["method", "quantity"]),
        (
            Column(
                "quantity", "p_detect, p_blend, count, or the class of a pixel", heading="Quantity"
            ),
            Column(
                "n", "number of candidates, matched detections, scenes or pixels", heading="N",
                format=",d",
            ),
            *columns,
        ),
        Layout(("method", "quantity"), ("n", *(column.name for column in columns))),
        how_to_read=(
            "The mean predicted probability should be the observed fraction; the smaller the "
            "calibration error, the better, and it is larger by chance where there are few; a "
            "skill of 1 is perfect, and 0 is no better than always to predict that fraction."
        ),
        caption=(
            "Calibration of everything that is predicted with a probability: mean predicted "
            "probability, observed fraction, expected calibration error, Brier score and skill, "
            "of N candidates (p_detect), matched detections (p_blend), scenes (the most probable "
            f"count), and {PIXELS} (the classes)."
        ),
    )  # fmt: skip


def doubtful_table(run: Collected) -> Iterator[Table]:
    """Yield the calibration of the doubtful candidates of each method, if there are any."""
    parts = {
        method: pd.DataFrame([doubtful_scores(rows["probability"], rows["outcome"])])
        for (method, quantity), rows in predictions_of_detections(run.tidy, run.methods).items()
        if quantity == "p_detect"
    }
    if not parts:
        return
    columns = (
        Column(
            "n", "number of candidates in bounds with 0.1 < p_detect < 0.9", heading="N",
            format=",d",
        ),
        MEAN, BASE_RATE, ERROR,
        Column(
            "error_by_chance", "mean calibration error that right probabilities would have",
            heading="By chance", format=".3f",
        ),
    )  # fmt: skip
    yield Table(
        "doubtful_calibration",
        "Calibration of doubtful candidates",
        keyed(parts, ["method"]),
        columns,
        Layout(("method",), tuple(column.name for column in columns)),
        how_to_read=(
            "Of the candidates with 0.1 < p_detect < 0.9 alone, whose error the many sure ones "
            "hide; an error as small as that by chance is as good as none."
        ),
        caption=(
            "Calibration of the N candidates with 0.1 < p_detect < 0.9: mean predicted "
            "probability, observed fraction, expected calibration error, and that which right "
            "probabilities would have by chance."
        ),
    )


def probability_scores(
    run: Collected, found: Mapping[tuple[str, str], Reliability]
) -> Iterator[Table]:
    """Yield the scores of detections and counts, one row per method."""
    counts = run.by_method("counts")
    rows = []
    for method in run.methods:
        own = counts.get(method, pd.DataFrame())
        if (method, "p_detect") not in found and not len(own):
            continue
        of_detect = scores(found.get((method, "p_detect"), Reliability()))
        names = ("expected_calibration_error", "brier_score", "brier_skill")
        rows.append(
            {
                "method": method,
                "n_candidates": of_detect["n"],
                **{name: of_detect[name] for name in names},
                **count_gap(own),
            }
        )
    if not rows:
        return
    columns = (
        Column(
            "n_candidates", "number of candidates in bounds with p_detect of 0.02 or more",
            heading="Candidates", format=",d",
        ),
        ERROR, BRIER, SKILL,
        Column(
            "largest_count_gap",
            "largest gap between the transforms of the true counts and uniform ones",
            heading="Count gap", format=".3f",
        ),
        Column(
            "count_gap_by_chance",
            "gap that a right posterior of the count exceeds in one case of 20",
            heading="Count gap by chance", format=".3f",
        ),
    )  # fmt: skip
    yield Table(
        "probability_scores",
        "Scores of the probabilities",
        pd.DataFrame(rows),
        (*columns, Column("n_scenes", "number of scenes")),
        Layout(("method",), tuple(column.name for column in columns)),
        how_to_read=(
            "Small is better, but for the skill, which is 1 at best and 0 for a constant "
            "probability; a count gap below that by chance, which is exceeded in one case of 20, "
            "is as good as none."
        ),
        caption=(
            "Scores of the probabilities: expected calibration error, Brier score and skill of "
            "the candidates, and the largest gap of the transform of the count of sources, with "
            "that which chance alone exceeds in one case of 20."
        ),
    )


def reliability_table(name: str, found: Mapping[tuple[str, str], Reliability]) -> Iterator[Table]:
    """Yield one of the tables of `RELIABILITY`, if a method predicts its quantity."""
    wanted, of, true, title, _ = RELIABILITY[name]
    own = {method: r.table() for (method, quantity), r in found.items() if quantity == wanted}
    if own:
        yield Table(
            name,
            title,
            keyed(own, ["method"]),
            reliability_columns(of, true),
            Layout(("lo", "hi"), ("n", "mean_probability", "value"), ("method",), in_report=False),
            caption=(
                f"{title}: the number N of {of} in each bin, their mean predicted probability and "
                f"the fraction of which it is true ({true})."
            ),
            quantity=PROBABILITY,
        )


def class_calibration_table(found: Mapping[tuple[str, str], Reliability]) -> Iterator[Table]:
    """Yield the reliability of the classes of pixels, if a method predicts them."""
    own = {key: r.table() for key, r in found.items() if key[1] in CLASS_NAMES}
    if own:
        yield Table(
            "class_calibration",
            "Calibration of the class of a pixel",
            keyed(own, ["method", "class"]),
            (OF_CLASS, *reliability_columns(PIXELS, "they are of the class")),
            Layout(
                ("lo", "hi"), ("n", "mean_probability", "value"), ("method",), split="class",
                in_report=False,
            ),
            caption=(
                "Calibration of the probability that a pixel is of this class: the number N of "
                f"{PIXELS} in each bin, their mean predicted probability and the observed "
                "fraction. Neighbouring pixels are not independent, so that the intervals are too "
                "small."
            ),
            quantity=PROBABILITY,
        )  # fmt: skip


def _by(
    keys: str | list[str], tidy: Mapping[str, pd.DataFrame], name: str
) -> dict[Any, pd.DataFrame]:
    return dict(list(tidy[name].groupby(keys, sort=False))) if name in tidy else {}
