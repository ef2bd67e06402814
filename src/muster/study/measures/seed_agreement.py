"""How well two fine-tuning runs agree on the order of the candidates: what no metric of one run can be told from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from muster.study.measures.agreement import CORRELATIONS, correlations
from muster.study.measures.candidates import candidates_of
from muster.study.measures.intervals import LEVEL, tau_interval
from muster.study.measures.strata import LEAST_CANDIDATES, STRATA, strata_of
from muster.study.tables import CELL

COLUMNS = (
    *CELL,
    "size",
    "stratum",
    "value",
    "first_seed",
    "second_seed",
    *CORRELATIONS,
    "low",
    "high",
    "candidates",
    "members",
)


def seed_agreement(
    ensembles: pd.DataFrame,
    members: pd.DataFrame | None = None,
    facts: Sequence[str] = STRATA,
    draws: int = 0,
    seed: int = 0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Correlations between the results of each two fine-tuning seeds.

    Args:
        ensembles: A study's table. Leave out the members of the large pool first (:func:`without_pool`).
        members: A study's table, for strata.
        facts: Columns of ``members`` by which candidates are parted, as in :func:`muster.study.measures.agreement`.
        draws: Bootstrap draws over members for the interval of the weighted tau; 0 for none.
        seed: Of the draws.
        level: Of the interval, in 0..1.

    Returns:
        One row for each cell, size, stratum and pair of seeds; none for a cell with one seed. The correlations are
        between the candidates that both seeds have.

    Raises:
        ValueError: If the table says two things of one candidate, or ``members`` lacks one.
    """
    rows: list[dict[str, object]] = []
    for candidates in candidates_of(ensembles):
        for stratum in strata_of(candidates, members, facts):
            for first, second in combinations(range(len(candidates.seeds)), 2):
                left, right = candidates.results[:, first], candidates.results[:, second]
                kept = stratum.kept & np.isfinite(left) & np.isfinite(right)
                if kept.sum() < LEAST_CANDIDATES:
                    continue
                rows_kept, pair = candidates.rows[kept], (left[kept][None], right[kept])
                low, high = tau_interval(rows_kept, *pair, draws, seed, level)
                told = correlations(*pair)
                rows.append(
                    {
                        **candidates.key,
                        "stratum": stratum.fact,
                        "value": stratum.value,
                        "first_seed": candidates.seeds[first],
                        "second_seed": candidates.seeds[second],
                        **{name: told[name] for name in CORRELATIONS},
                        "low": low,
                        "high": high,
                        "candidates": int(kept.sum()),
                        "members": len(np.unique(rows_kept)),
                    }
                )
    return pd.DataFrame(rows, columns=list(COLUMNS))
