"""What each way to get a model costs, worked by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from muster.study.approach_costs import approach_costs
from muster.study.measures import StudiedChoice
from muster.study.tables import COLUMNS, StudyTables

CELL = {"target": "t", "regime": "few", "subset_seed": 0}
RUN = {**CELL, "finetuning_seed": 1}
SECONDS = {"a": 10.0, "b": 20.0, "c": 40.0, "start": 5.0}


def table(name: str, *rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{column: row.get(column) for column in COLUMNS[name]} for row in rows])


@pytest.fixture(scope="module")
def tables() -> StudyTables:
    return StudyTables.of(
        finetuned=table("finetuned", *({**RUN, "member": name, "seconds": each} for name, each in SECONDS.items())),
        heads=table("heads", {**RUN, "members": "a b", "seconds": 3.0}),
        equal_cost=table("equal_cost", {**RUN, "members": "a b", "member": "c", "seconds": 29.0}),
        costs=table("costs", *({**CELL, "probe_seed": seed, "predictor": "eep", "step": "scores", "seconds": each}
                               for seed, each in ((0, 6.0), (1, 8.0)))),
    )  # fmt: skip


def gains(predictor: str = "eep") -> pd.DataFrame:
    baselines = {"b1": "c", "random": "", "greedy": "a c", "oracle": "b c", "equal_cost": "c", "parameters": "b c",
                 "pre_training": "start", "pre_training_best": "start"}  # fmt: skip
    return pd.DataFrame(
        [{**RUN, "probe_seed": 0, "predictor": predictor, "metric": "e_leep", "size": 2, "members": "a b",
          "baseline": name, "baseline_members": members} for name, members in baselines.items()]
    )  # fmt: skip


def test_each_approach_pays_for_choosing_and_for_what_it_fine_tunes(tables: StudyTables) -> None:
    costs = approach_costs(gains(), tables, StudiedChoice("e_leep", "eep", 2, "few"))
    found = costs.set_index("approach")["seconds"].to_dict()
    assert found == {
        "choice": 7 + 10 + 20,
        "learned_head": 7 + 10 + 20 + 3,
        "b1": 7 + 40,
        "equal_cost": 7 + 29,
        "pre_training": 7 + 5,
        "pre_training_best": 5,
        "parameters": 20 + 40,
        "random": 2 * 75 / 4,
        "greedy": 75,
        "oracle": 75,
    }


def test_a_choice_that_the_study_lacks_is_refused(tables: StudyTables) -> None:
    with pytest.raises(ValueError, match=r"Unknown metric 'e_lep'.*e_leep"):
        approach_costs(gains(), tables, StudiedChoice("e_lep", "eep", 2, "few"))
    with pytest.raises(ValueError, match=r"a choice by e_leep with predictor 'eep', size 3 .*only eep 2 few"):
        approach_costs(gains(), tables, StudiedChoice("e_leep", "eep", 3, "few"))
