"""Lists of members that never look at the target: a metric that cannot beat them is worth nothing.

Each is a score of single members, so that an ensemble has the sum of its members' scores, as it has of LogME or LEEP.
ImageNet accuracy of the pre-trained backbones is no order here: neither cards nor the installed libraries know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from muster.study.measures.candidates import facts_of
from muster.study.tables import CELL

OTHER_TARGETS = "other_targets"
"""The order by fine-tuned results on the other targets of the study."""

FROM_CARDS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.Series]]] = {
    "parameters": ("Order by parameters", lambda members: members["parameters"]),
    "source_images": ("Order by source images", lambda members: members["train_images"]),
    "source_result": ("Order by source test result", lambda members: members["test_result"]),
    "base": ("BASE", lambda members: members["test_result"] * members["train_images"] * members["num_classes"]),
    "pretrained_members": (
        "Order by pre-trained members",
        lambda members: (members["pretraining"] != "none").astype(float),
    ),
}
"""Orders that cards alone give: titles, and scores from the table of members (NaN where the card does not say)."""

STATIC_ORDERS: dict[str, str] = {
    **{name: title for name, (title, _) in FROM_CARDS.items()},
    OTHER_TARGETS: "Order by results on other targets",
}
"""Titles of all static orders by name; the names stand in the column ``metric``."""


def static_orders(members: pd.DataFrame, finetuned: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of all static orders, as further rows for a study's table of scores.

    Args:
        members: A study's table.
        finetuned: A study's table of fine-tuned members: which members each cell has, and their results.
        scores: A study's table, for the probe seeds of each cell. Orders that it has already (``base``) are not made.

    Returns:
        The columns of ``scores``, size 1, with an empty predictor, the same for every probe seed of a cell (0 where it
        has none). A member of which a card does not say what an order needs has no row of it.

    Raises:
        ValueError: If a member is not in the table of members, or is there twice.
    """
    known = set(scores["metric"])
    probe_seeds = {cell: sorted(set(table["probe_seed"])) for cell, table in scores.groupby(list(CELL))}
    past = past_results(finetuned)
    tables = [scores.head(0)]
    for cell, table in finetuned.groupby(list(CELL), sort=True):
        names = sorted(set(table["member"]))
        elsewhere = past[(past["target"] == cell[0]) & (past["regime"] == cell[1])].set_index("member")["score"]
        orders = {**_from_cards(members, names), OTHER_TARGETS: elsewhere.reindex(names)}
        tables += [
            _rows(cell, probe_seed, name, values.astype(float).dropna())
            for name, values in orders.items()
            if name not in known
            for probe_seed in probe_seeds.get(cell, [0])
        ]
    filled = [each for each in tables if len(each)]
    return pd.concat(filled, ignore_index=True).reindex(columns=scores.columns) if filled else tables[0]


def past_results(finetuned: pd.DataFrame) -> pd.DataFrame:
    """How each member did on all targets but one.

    A member that was trained on a target is no member there, and would gain or lose by whether that target is an easy
    one. So the mean over members is first taken off each target's results.

    Args:
        finetuned: A study's table of fine-tuned members.

    Returns:
        Columns ``target``, ``regime``, ``member`` and ``score``: the mean over the other targets in the same regime of
        the member's result (a mean over seeds) less that target's mean over members. No row where there is none.
    """
    key = ["target", "regime"]
    means = finetuned.groupby([*key, "member"])["result"].mean().reset_index()
    means["score"] = means["result"] - means.groupby(key)["result"].transform("mean")
    tables = []
    for (target, regime), _ in means.groupby(key, sort=True):
        others = means[(means["regime"] == regime) & (means["target"] != target)]
        score = others.groupby("member", as_index=False)["score"].mean()
        tables.append(score.assign(target=target, regime=regime)[[*key, "member", "score"]])
    return pd.concat(tables, ignore_index=True) if tables else means[[*key, "member", "score"]]


def _from_cards(members: pd.DataFrame, names: list[str]) -> dict[str, pd.Series]:
    facts_of(members, names, "pool")  # says who is missing
    facts = members.set_index("member").loc[names]
    return {name: order(facts) for name, (_, order) in FROM_CARDS.items()}


def _rows(cell: Sequence[object], probe_seed: int, metric: str, values: pd.Series) -> pd.DataFrame:
    same = {
        **dict(zip(CELL, cell, strict=True)),
        "probe_seed": probe_seed,
        "predictor": "",
        "metric": metric,
        "size": 1,
    }
    columns = {name: [value] * len(values) for name, value in same.items()}
    return pd.DataFrame({**columns, "members": values.index, "score": values.to_numpy()})
