"""The network that weighs what is known of a candidate."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.special import expit, logit

from btk_punet.deblending import evidence_network as module
from btk_punet.deblending.evidence import Evidence
from btk_punet.deblending.evidence_network import N_INPUTS, EvidenceNetwork, Measures
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.surroundings import Surroundings
from btk_punet.errors import InputError

INPUTS = (
    "log_odds is_fitted gain log_gain log_share move log_excess depth density faint near doubt "
    "log_snr log_background log_isolated log_blended log_background_around log_isolated_around "
    "log_blended_around real"
).split()


def linear(added=0.0, **weights):
    """Return a network of one layer: what is added to the log odds, and the weights of inputs."""
    rows = ((added,), *((weights.get(name, 0.0),) for name in INPUTS))
    return EvidenceNetwork(((rows,),))


def measures(p, **given):
    """Return measures that are neutral but for those given."""
    p = np.asarray(p, float)
    neutral = {"is_fitted": np.zeros(len(p), bool)}
    ones = {"gain", "share", "snr", "background", "isolated", "blended"}
    for field in fields(Measures)[2:]:
        value = float(field.name.removesuffix("_around") in ones)
        neutral[field.name] = np.full(len(p), value)
    return Measures(p, **{**neutral, **{name: np.array(v) for name, v in given.items()}})


@pytest.mark.parametrize("network", [EvidenceNetwork(), linear(3.0, gain=1.0)])
def test_no_candidates(network):
    assert network(measures([])).shape == (0,)
    assert measures([]).inputs().shape == (0, N_INPUTS)


def test_without_members_nothing_changes():
    p = np.linspace(0, 1, 11)
    np.testing.assert_array_equal(EvidenceNetwork()(measures(p, gain=9 * p)), p)


def test_inputs_by_hand():
    assert len(INPUTS) == N_INPUTS
    some = measures(
        [0.5, 0.9, 1.0],
        is_fitted=[False, True, True],
        gain=[2.0, np.e, -7.0],
        share=[np.exp(-1.0), 0.0, 1.0],
        move=[0.5, 0.5, 9.0],
        excess=np.expm1([1.0, 0.0, 99.0]),
        depth=[0.1, 0.2, 0.3],
        snr=[np.e, -4.0, 1e9],
        blended=[np.exp(-2.0), 0.0, 1.0],
        background_around=[1.0, np.exp(-3.0), 0.0],
        real=[-1.0, 0.0, 1.0],
    )
    least = np.log(1e-3)
    expected = {
        "log_odds": [0, np.log(9), 8],
        "is_fitted": [0, 1, 1],
        "gain": [2, np.e, -2],
        "log_gain": [np.log(2), 1, np.log(0.1)],
        "log_share": [-1, least, 0],
        # What was not fitted did not move.
        "move": [0, 0.5, 3],
        "log_excess": [1, 0, np.log(1001)],
        "depth": [0.1, 0.2, 0.3],
        "log_snr": [1, np.log(0.3), np.log(300)],
        "log_blended": [-2, least, 0],
        "log_background_around": [0, -3, least],
        "real": [-1, 0, 1],
    }
    found = dict(zip(INPUTS, some.inputs().T, strict=True))
    for name, values in found.items():
        np.testing.assert_allclose(values, expected.get(name, 0.0), atol=1e-12, err_msg=name)


def test_measures_are_gathered():
    half = np.full(2, 0.5)
    candidates = Candidates(
        np.array([0, 1]), np.array([2.4, 0.0]), np.array([3.0, 5.0]), half, half, half
    )
    evidence = Evidence(np.array([True, False]), *np.arange(8.0).reshape(4, 2))
    surroundings = Surroundings(*np.arange(12.0).reshape(6, 2))
    maps = np.zeros((2, 3, 6, 9))
    maps[0, :, 3, 2] = 0.2, 0.5, 0.3
    maps[1, 0] = 1.0
    found = Measures.of(candidates, evidence, surroundings, maps, -1.0)
    np.testing.assert_array_equal(found.p_network, 0.5)
    np.testing.assert_array_equal(found.excess, [6, 7])
    np.testing.assert_array_equal(found.snr, [10, 11])
    np.testing.assert_array_equal(found.real, -1)
    np.testing.assert_allclose(found.isolated, [0.5, 0])
    np.testing.assert_allclose(found.background, [0.2, 1])
    # Rows 0 to 5 and columns 0 to 5 are inside of the first square, and all of the other is 1.
    np.testing.assert_allclose(found.isolated_around, [0.5 / 36, 0])
    np.testing.assert_allclose(found.background_around, [0.2 / 36, 1])
    assert found.take(np.array([1])).gain == [1]


def test_two_members_by_hand():
    hidden = ((0.5, 0.0), (2.0, -1.0), *[(0.0, 0.0)] * (N_INPUTS - 1))
    member = (hidden, ((0.1,), (1.0,), (3.0,)))
    x = logit(0.7)
    expected = x + 0.1 + np.tanh(0.5 + 2 * x) + 3 * np.tanh(-x)
    found = EvidenceNetwork((member,))(measures([0.7]))
    np.testing.assert_allclose(found, expit(expected), rtol=1e-5)
    # The mean is that of the log odds.
    both = EvidenceNetwork((member, *linear(2.0).members))(measures([0.7]))
    np.testing.assert_allclose(logit(both), (expected + x + 2.0) / 2, rtol=1e-5)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(module, "FIT_STEPS", 60)


@pytest.fixture(scope="module")
def outcomes():
    rng = np.random.default_rng(12)
    n = 4000
    some = measures(
        rng.uniform(0.05, 0.95, n),
        gain=rng.uniform(0.3, 6, n),
        depth=rng.random(n),
        is_fitted=rng.random(n) < 0.5,
    )
    # A product of two, which no line in them can follow.
    odds = 0.9 * logit(some.p_network) + some.is_fitted * (some.gain - 3) + some.depth - 1
    return some, expit(odds), rng.random(n) < expit(odds)


def test_fit_finds_what_no_line_can(outcomes):
    some, truth, outcome = outcomes
    network = EvidenceNetwork.fit(some, outcome)
    assert np.abs(network(some) - truth).mean() < 0.05
    assert np.abs(some.p_network - truth).mean() > 0.15
    assert EvidenceNetwork.fit(some, outcome) == network
    assert EvidenceNetwork.from_json(network.to_json()) == network
    assert repr(network) == "EvidenceNetwork(3 members)"


def test_few_outcomes_change_little(outcomes):
    some, truth, outcome = outcomes
    few = some.take(np.arange(10))
    network = EvidenceNetwork.fit(few, np.arange(10) < 5)
    assert np.abs(network(few) - few.p_network).mean() < 0.2
    assert np.abs(network(few) - few.p_network).mean() > 0


def test_weights_of_candidates_count(outcomes):
    """Those that count nothing may as well not be there."""
    some, _, outcome = outcomes
    counts = np.arange(len(some)) < 200
    turned = np.where(counts, outcome, ~outcome)
    network = EvidenceNetwork.fit(some, turned, counts.astype(float))
    right = (network(some) > 0.5) == outcome
    assert right[:200].mean() > 0.8
    assert right[200:].mean() > 0.6


@pytest.mark.parametrize("outcome", [[], [True] * 20, [True, False] * 4])
def test_too_few_outcomes_are_named(outcome):
    with pytest.raises(InputError, match=f"10 outcomes or more of both .* got {len(outcome)};"):
        EvidenceNetwork.fit(measures(np.full(len(outcome), 0.5)), np.array(outcome))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"slope": 1.0}, "lists of networks, layers and rows of numbers: it is a dict"),
        ([[["1 2", 3]]], "layers and rows of numbers: .*int"),
        ([[["1 2", "x"]]], "layers and rows of numbers: .*'x'"),
        ([[]], f"from {N_INPUTS} inputs to one output"),
        ([[[]]], "layers and rows of numbers: "),
        ([[["1"] * N_INPUTS]], f"from {N_INPUTS} inputs to one output"),
        ([[["1 2"] * (N_INPUTS + 1)]], f"from {N_INPUTS} inputs to one output"),
        ([[["1 2"] * N_INPUTS + ["1"], ["1"] * 3]], f"from {N_INPUTS} inputs to one output"),
        ([[["nan"] * (N_INPUTS + 1)]], "each weight of the evidence as a finite number, got nan"),
    ],
)
def test_other_content_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        EvidenceNetwork.from_json(content)
