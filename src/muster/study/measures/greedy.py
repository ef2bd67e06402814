"""Greedy ensembling of members that are all fine-tuned already: dear, and hard to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from muster.metrics.ties import first_best


def greedy_ensemble(losses: Mapping[str, float], names: Sequence[str], size: int) -> tuple[str, ...] | None:
    """Forward selection on the validation loss of ensembles.

    The first member is the best single one. Then comes whichever member lowers the ensemble's loss most, as long as one
    does. (Members are taken once: an ensemble of a study is a set.)

    Args:
        losses: Of candidates of all sizes up to ``size``, by the names of their members, ascending, between spaces.
        names: Members to choose from.
        size: The most members.

    Returns:
        The members, ascending; ``None`` if a loss is missing that had to be compared.

    Source:
        Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004, without replacement.

    Example:
        >>> greedy_ensemble({"a": 3.0, "b": 2.0, "c": 4.0, "a b": 2.5, "b c": 1.5}, ["a", "b", "c"], 2)
        ('b', 'c')
    """
    chosen: tuple[str, ...] = ()
    least = np.inf
    while len(chosen) < min(size, len(names)):
        larger = [tuple(sorted((*chosen, name))) for name in sorted(names) if name not in chosen]
        told = np.array([losses.get(" ".join(members), np.nan) for members in larger])
        if not np.isfinite(told).all():
            return None
        best = first_best(-told)
        if told[best] >= least:
            break
        chosen, least = larger[best], float(told[best])
    return chosen
