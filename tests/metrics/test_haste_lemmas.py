"""The two lemmas of HASTE (2022, section 4.2 and appendix A.1) on random inputs.

Symbols as there: z a source class, y a target class, x a sample of the hard subset, P(y|z) what LEEP counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from muster.metrics import hard_subset, haste, leep, mahalanobis_hardness, nce
from muster.metrics.eep import eep

Numbers = np.ndarray[Any, Any]
SEEDS = range(25)


def made_up(seed: int) -> tuple[Numbers, Numbers]:
    """Source probabilities and labels of a hard subset of made-up samples, of random sizes and inverse_temperature."""
    generator = np.random.default_rng(seed)
    samples, sources, classes = (int(generator.integers(low, high)) for low, high in ((30, 150), (2, 9), (2, 7)))
    labels = generator.integers(0, classes, samples)
    labels[:classes] = np.arange(classes)
    means = generator.normal(size=(classes, sources)) * generator.uniform(0, 3)
    features = means[labels] + generator.normal(size=(samples, sources))
    scores = features * generator.uniform(0.3, 3)
    probs = np.exp(scores - scores.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    hard = hard_subset(mahalanobis_hardness(features, labels), 0.5)
    return probs[hard], labels[hard]


def fit_by_expectation_maximisation(probs: Numbers, labels: Numbers, steps: int = 3000) -> float:
    """Largest mean log-likelihood in K = {sum over z of A[y, z] p(z | x), A column-stochastic}; it is concave in A."""
    classes = int(labels.max()) + 1
    table = np.full((classes, probs.shape[1]), 1.0 / classes)
    of_class = np.eye(classes)[labels]
    for _ in range(steps):
        joint = table[labels] * probs
        expected = of_class.T @ (joint / joint.sum(axis=1, keepdims=True))
        table = expected / expected.sum(axis=0)
    return float(np.log((table[labels] * probs).sum(axis=1)).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_lemma_1_haste_leep_is_at_most_the_best_likelihood_on_the_hard_subset(seed: int) -> None:
    # Equation 8, left: LEEP is the likelihood of one of the tables that the fit can choose. Its right part, that the
    # best likelihood on the hard subset is at most that on all samples, is an observation and no theorem.
    probs, labels = made_up(seed)
    everything = np.arange(len(labels))
    assert haste(leep, everything, probs, labels) <= fit_by_expectation_maximisation(probs, labels) + 1e-9


def bound(probs: Numbers, labels: Numbers, given_source: Numbers, source_classes: Numbers) -> float:
    """Right side of equation 9 for one choice of a source class for every sample."""
    samples = np.arange(len(labels))
    with np.errstate(divide="ignore"):  # a class that never goes with a source class makes the bound trivial
        return float((np.log(given_source[labels, source_classes]) + np.log(probs[samples, source_classes])).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_lemma_2_holds_with_the_soft_table(seed: int) -> None:
    # log of a sum is at least log of one of its terms: so P(y|z) must be the table that LEEP itself uses. It holds for
    # any choice of source classes, that of the largest probability included.
    probs, labels = made_up(seed)
    joint = np.eye(int(labels.max()) + 1)[labels].T @ probs
    given_source = joint / joint.sum(axis=0)
    assert np.allclose(eep(probs, labels), probs @ given_source.T)
    generator = np.random.default_rng(seed)
    for chosen in (probs.argmax(axis=1), generator.integers(0, probs.shape[1], len(labels))):
        assert leep(probs, labels) >= bound(probs, labels, given_source, chosen) - 1e-12


def test_lemma_2_as_printed_does_not_hold() -> None:
    # As printed it has NCE, whose table is counted from the classes of largest probability. Here source class 0 is the
    # largest wherever the label is 0, and hardly so: the counted table is sure, the soft one is not. The appendix
    # equates the two tables without a word.
    probs = np.array([[0.6, 0.4]] * 5 + [[0.4, 0.6]] * 5)
    labels = np.repeat([0, 1], 5)
    largest = np.log(probs.max(axis=1)).mean()
    assert nce(probs, labels) == 0.0
    assert leep(probs, labels) == pytest.approx(np.log(0.52))  # P(0|0) = 0.6: 0.6 * 0.6 + 0.4 * 0.4
    # The lemma says that -0.654 is at least 0 + log 0.6 = -0.511.
    assert leep(probs, labels) < nce(probs, labels) + largest - 0.14
