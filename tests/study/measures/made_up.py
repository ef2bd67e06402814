"""Tables of a study that nobody ran: members of known quality, noise of known size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

CELL = ["target", "regime", "subset_seed"]
ENSEMBLES = [*CELL, "finetuning_seed", "size", "members", "result", "validation_loss"]
SCORES = [*CELL, "probe_seed", "predictor", "metric", "size", "members", "score"]
FINETUNED = [*CELL, "finetuning_seed", "member", "result"]


@dataclass
class MadeUp:
    """A pool, and what it did on some targets. An ensemble is the mean of its members."""

    names: Sequence[str]
    targets: Sequence[str] = ("a",)
    sizes: Sequence[int] = (1, 3)
    seeds: Sequence[int] = (0, 1)
    noise: float = 0.02
    truth_deviation: float = 0.05
    random: int = 0
    truth: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.random)
        for target in self.targets:
            if target not in self.truth:
                self.truth[target] = self.generator.normal(0.5, self.truth_deviation, len(self.names))
        self.results = {
            (target, seed): self.truth[target] + self.generator.normal(0, self.noise, len(self.names))
            for target in self.targets
            for seed in self.seeds
        }

    def candidates(self, sizes: Sequence[int] | None = None) -> list[tuple[int, ...]]:
        return [row for size in sizes or self.sizes for row in combinations(range(len(self.names)), size)]

    def text(self, row: Sequence[int]) -> str:
        return " ".join(self.names[place] for place in row)

    def ensembles(self) -> pd.DataFrame:
        rows = [
            (target, "few", 0, seed, len(row), self.text(row), results[list(row)].mean(), 1 - results[list(row)].mean())
            for (target, seed), results in self.results.items()
            for row in self.candidates()
        ]
        return pd.DataFrame(rows, columns=ENSEMBLES)

    def finetuned(self) -> pd.DataFrame:
        rows = [
            (target, "few", 0, seed, name, result)
            for (target, seed), results in self.results.items()
            for name, result in zip(self.names, results, strict=True)
        ]
        return pd.DataFrame(rows, columns=FINETUNED)

    def scores(
        self,
        metric: str,
        of_candidate: Callable[[str, int, tuple[int, ...]], float],
        sizes: Sequence[int] | None = None,
        probe_seeds: Sequence[int] = (0,),
        predictor: str = "linear_probe",
    ) -> pd.DataFrame:
        """``of_candidate`` is given the target, the probe seed and the members' places."""
        rows = [
            (target, "few", 0, seed, predictor, metric, len(row), self.text(row), of_candidate(target, seed, row))
            for target in self.targets
            for seed in probe_seeds
            for row in self.candidates(sizes)
        ]
        return pd.DataFrame(rows, columns=SCORES)

    def members(self, **columns: Any) -> pd.DataFrame:
        count = len(self.names)
        facts = {
            "member": list(self.names),
            "pool": "pool",
            "kind": "single-source",
            "architecture": "fpn",
            "pretraining": "none",
            "parameters": np.arange(count) + 1,
            "train_images": np.arange(count) * 10 + 10,
            "num_classes": 2,
            "test_result": np.linspace(0.2, 0.8, count),
        }
        return pd.DataFrame({**facts, **columns})
