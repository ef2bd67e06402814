"""Which kernels fit a metric: what its definition adds up over pixels."""

from __future__ import annotations

from muster.metrics.accumulators import Definition, HitsAndMisses, LogLikelihood
from muster.metrics.registry import Metric


def definition_of(metric: Metric) -> Definition:
    """The definition of a metric of ensembles."""
    assert metric.definition is not None  # those who ask have looked it up among the metrics of ensembles
    return metric.definition


def counts_outcomes(metric: Metric) -> bool:
    """Whether it is made of hits and misses."""
    return type(definition_of(metric).accumulator) is HitsAndMisses


def is_soft(metric: Metric) -> bool:
    """Whether hits and misses are probabilities."""
    accumulator = definition_of(metric).accumulator
    return type(accumulator) is HitsAndMisses and accumulator.soft


def adds_logs(metric: Metric) -> bool:
    """Whether it is made of logs of the probability of the true class."""
    return type(definition_of(metric).accumulator) is LogLikelihood


def has_exhaustive_kernels(metric: Metric) -> bool:
    """Whether exhaustive search has loops for what the metric adds up."""
    return adds_logs(metric) or (counts_outcomes(metric) and not definition_of(metric).sums_members)


def has_resampling_kernels(metric: Metric) -> bool:
    """Whether the bootstrap has loops for what the metric adds up."""
    return has_exhaustive_kernels(metric)
