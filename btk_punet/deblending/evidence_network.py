"""The small network that weighs what is known of a candidate, and the measures that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from btk_punet.deblending.columns import Columns
from btk_punet.deblending.evidence import LEAST_SHARE, Evidence
from btk_punet.deblending.instances import Candidates, nearest_pixels
from btk_punet.deblending.log_odds import check_number, check_outcomes, log_odds
from btk_punet.deblending.surroundings import Surroundings, squares
from btk_punet.errors import InputError
from btk_punet.simulation.labels import CLASS_NAMES

# Side of the square over which the classes around a candidate are averaged [pixel].
AROUND_PIXELS = 7
# Between which values measures count: beyond them there are no candidates to fit to, or they say no
# more.
_LOG_ODDS, _GAIN, _MOVE = (-8.0, 8.0), (-2.0, 12.0), (0.0, 3.0)
_LOG_GAIN, _SHARE, _EXCESS, _SNR = (0.1, 1e4), (LEAST_SHARE, 1.0), (0.0, 1000.0), (0.3, 300.0)
_CLASS = (1e-3, 1.0)

# Several small networks that begin elsewhere: their mean is right where each errs its own way.
N_MEMBERS, HIDDEN_UNITS = 3, (32, 32)
# Width of the prior of each weight, about 0: without outcomes probabilities stay as they are. With
# so many steps, found on scenes that were neither fitted nor measured on (see
# `docs/concepts/calibration.md`).
WEIGHT_SIGMA, FIT_STEPS = 0.2, 300
# Digits of the weights that are kept.
_DIGITS = 6


@dataclass(frozen=True)
class Measures(Columns):
    """What is known of ``m`` candidates when their light has been fitted, ``(m,)`` each.

    Attributes:
        p_network: Calibrated probability by the network alone.
        is_fitted: As in `Evidence`.
        gain: The same.
        share: The same.
        move: The same.
        excess: The same.
        depth: As in `Surroundings`.
        density: The same.
        faint: The same.
        near: The same.
        doubt: The same.
        snr: The same.
        background: Probability that the pixel of its centre is background, by the network.
        isolated: That it is of one source.
        blended: That it is of several.
        background_around: Mean of the same over a square of `AROUND_PIXELS`.
        isolated_around: The same.
        blended_around: The same.
        real: What is told of the galaxies: 1 that they are real, -1 that they are smooth, else 0.
    """

    p_network: np.ndarray
    is_fitted: np.ndarray
    gain: np.ndarray
    share: np.ndarray
    move: np.ndarray
    excess: np.ndarray
    depth: np.ndarray
    density: np.ndarray
    faint: np.ndarray
    near: np.ndarray
    doubt: np.ndarray
    snr: np.ndarray
    background: np.ndarray
    isolated: np.ndarray
    blended: np.ndarray
    background_around: np.ndarray
    isolated_around: np.ndarray
    blended_around: np.ndarray
    real: np.ndarray

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        evidence: Evidence,
        surroundings: Surroundings,
        class_probability: np.ndarray,
        real: float,
    ) -> Measures:
        """Return the measures of candidates.

        Args:
            candidates: With the probabilities by the network alone.
            evidence: What the pixels say of each.
            surroundings: Of each.
            class_probability: The network's maps, ``(b, 3, H, W)``.
            real: What is told of the galaxies (see `Measures`).
        """
        image, shape = candidates.image, class_probability.shape[2:]
        place = nearest_pixels(candidates.x, candidates.y, shape)
        inside = squares(np.ones((1, *shape)), 0 * image, *place, AROUND_PIXELS)
        maps = [class_probability[:, number] for number in range(3)]
        around = [squares(one, image, *place, AROUND_PIXELS) / inside for one in maps]
        return cls(
            candidates.mass,
            **vars(evidence),
            **vars(surroundings),
            **dict(zip(CLASS_NAMES, (one[(image, *place)] for one in maps), strict=True)),
            **dict(zip((f"{name}_around" for name in CLASS_NAMES), around, strict=True)),
            real=np.full(len(candidates), float(real)),
        )

    def inputs(self) -> np.ndarray:
        """Return what an `EvidenceNetwork` takes, ``(m, 20)``: within limits, as logarithms."""
        names = [f"{name}{place}" for place in ("", "_around") for name in CLASS_NAMES]
        columns = [
            np.clip(log_odds(self.p_network), *_LOG_ODDS),
            self.is_fitted,
            np.clip(self.gain, *_GAIN),
            np.log(np.clip(self.gain, *_LOG_GAIN)),
            np.log(np.clip(self.share, *_SHARE)),
            self.is_fitted * np.clip(self.move, *_MOVE),
            np.log1p(np.clip(self.excess, *_EXCESS)),
            self.depth,
            self.density,
            self.faint,
            self.near,
            self.doubt,
            np.log(np.clip(self.snr, *_SNR)),
            *(np.log(np.clip(getattr(self, name), *_CLASS)) for name in names),
            self.real,
        ]
        return np.stack([np.asarray(column, float) for column in columns], axis=1)


N_INPUTS, _OF_LOG_ODDS = 20, 0


@dataclass(frozen=True)
class EvidenceNetwork:
    """What becomes of a candidate's probability by what is known of it (see `Measures`).

    The mean of small networks with hidden layers of tanh is added to the log odds.

    Attributes:
        members: Each a tuple of layers; a layer has a row for each of its inputs, and before these
            that of what is added, of a number for each of its outputs. Without members
            nothing is added.

    Raises:
        InputError: for layers that do not fit together, or weights that are not finite.
    """

    members: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...] = ()

    def __post_init__(self) -> None:
        """Check the weights."""
        for member in self.members:
            for row in (row for layer in member for row in layer):
                for value in row:
                    check_number("each weight of the evidence", value)
            ends = [N_INPUTS, *(len(layer[0]) for layer in member)]
            found = [{len(row) for row in layer} for layer in member]
            if (
                ends[-1] != 1
                or [len(layer) - 1 for layer in member] != ends[:-1]
                or found != [{end} for end in ends[1:]]
            ):
                raise InputError(
                    f"expected layers of the evidence from {N_INPUTS} inputs to one output, each "
                    "with the inputs that the one before gives; calibrate the network again "
                    "(btk-punet calibrate)"
                )

    def __repr__(self) -> str:
        """Return how many members it has: their weights are thousands of numbers."""
        return f"EvidenceNetwork({len(self.members)} members)"

    def __call__(self, measures: Measures) -> np.ndarray:
        """Return the probabilities of candidates, ``(m,)``."""
        if not self.members:
            return np.asarray(measures.p_network, float)
        inputs = measures.inputs()
        single = inputs.astype(np.float32)
        added = np.mean([_forward(one, single)[1] for one in self._arrays], axis=0)
        return expit(inputs[:, _OF_LOG_ODDS] + added)

    @cached_property
    def _arrays(self) -> list[list[np.ndarray]]:
        return [[np.array(layer, np.float32) for layer in member] for member in self.members]

    @classmethod
    def fit(
        cls,
        measures: Measures,
        outcome: np.ndarray,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> EvidenceNetwork:
        """Return the network of largest posterior probability, as far as `FIT_STEPS` lead.

        Args:
            measures: Of candidates.
            outcome: Whether each came true, ``(m,)``.
            weight: Of each, ``(m,)``; 1 of each if None.
            seed: Of the weights from which the fit begins.

        Raises:
            InputError: if all outcomes are the same, or there are fewer than 10.
        """
        check_outcomes(outcome)
        inputs, outcome = measures.inputs(), np.asarray(outcome, float)
        mean, width = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
        scaled = ((inputs - mean) / width).astype(np.float32)
        weight = np.ones(len(outcome)) if weight is None else weight
        members = []
        for number in range(N_MEMBERS):
            first, *others = _fit_member(
                scaled, inputs[:, _OF_LOG_ODDS], outcome, weight / weight.sum(), seed + number
            )
            # As weights of the inputs as they are.
            first[1:] /= width[:, None]
            first[0] -= mean @ first[1:]
            members.append(tuple(_plain(layer) for layer in (first, *others)))
        return cls(tuple(members))

    def to_json(self) -> list[list[list[str]]]:
        """Return the weights as JSON has them: a line for each row of a layer."""
        return [
            [[" ".join(map(repr, row)) for row in layer] for layer in member]
            for member in self.members
        ]

    @classmethod
    def from_json(cls, content: object) -> EvidenceNetwork:
        """Return what `to_json` wrote.

        Raises:
            InputError: for something else.
        """
        try:
            if not isinstance(content, list):
                raise TypeError(f"it is a {type(content).__name__}")
            return cls(tuple(tuple(map(_read_layer, member)) for member in content))
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"expected the evidence as lists of networks, layers and rows of numbers: {error}"
            ) from error


def _fit_member(
    inputs: np.ndarray, before: np.ndarray, outcome: np.ndarray, share: np.ndarray, seed: int
) -> list[np.ndarray]:
    """Return the layers of one network, by L-BFGS from weights drawn at random.

    Args:
        inputs: Of mean 0 and width 1, float32 ``(m, n)``.
        before: Log odds to which its own are added, ``(m,)``.
        outcome: Of each, ``(m,)``.
        share: What each counts, of sum 1, ``(m,)``.
        seed: Of the weights at the beginning.
    """
    ends = [inputs.shape[1], *HIDDEN_UNITS, 1]
    shapes = [(n_in + 1, n_out) for n_in, n_out in pairwise(ends)]
    rng = np.random.default_rng(seed)
    start = [rng.normal(0, 1 / np.sqrt(rows - 1), (rows, n)) for rows, n in shapes]
    for layer in start:
        layer[0] = 0
    decay = 1 / (2 * WEIGHT_SIGMA**2 * len(outcome))

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        layers = list(_layers(numbers, shapes))
        single = [layer.astype(np.float32) for layer in layers]
        hidden, added = _forward(single, inputs)
        odds = before + added
        total = float(share @ (np.logaddexp(0, odds) - outcome * odds))
        slope = (share * (expit(odds) - outcome)).astype(np.float32)[:, None]
        slopes: list[np.ndarray] = []
        for number in reversed(range(len(layers))):
            own = np.concatenate([slope.sum(axis=0)[None], hidden[number].T @ slope]).astype(float)
            own[1:] += 2 * decay * layers[number][1:]
            total += decay * float((layers[number][1:] ** 2).sum())
            slopes.insert(0, own)
            if number:
                slope = (slope @ single[number][1:].T) * (1 - hidden[number] ** 2)
        return total, _flat(slopes)

    found = minimize(
        loss,
        _flat(start),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": FIT_STEPS, "maxfun": 2 * FIT_STEPS, "maxcor": 20},
    )
    return list(_layers(found.x, shapes))


def _forward(layers: list[np.ndarray], inputs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return what goes into each layer, and what comes out of the last, float64 ``(m,)``."""
    hidden = [inputs]
    for layer in layers[:-1]:
        hidden.append(np.tanh(hidden[-1] @ layer[1:] + layer[0]))
    return hidden, (hidden[-1] @ layers[-1][1:] + layers[-1][0])[:, 0].astype(float)


def _layers(numbers: np.ndarray, shapes: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True):
        yield part.reshape(shape).copy()


def _flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def _read_layer(rows: list[str]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row.split())) for row in rows)


def _plain(layer: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{_DIGITS}g}") for value in row) for row in layer)
