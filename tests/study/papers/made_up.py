"""A study's tidy frames with made-up numbers of plausible size, for tests of tables and figures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

DATASETS = {  # domain, training images, classes
    "camvid": ("driving", 367, 11), "kitti": ("driving", 150, 19), "idd": ("driving", 7000, 26),
    "isprs": ("aerial", 4000, 6), "isaid": ("aerial", 27000, 16),
    "sun": ("indoor", 5000, 37), "scannet": ("indoor", 19000, 41),
}  # fmt: skip
ARCHITECTURES = {"fpn:lite0": (3_900_000, 52), "fpn:lite2": (6_200_000, 70)}
PRETRAININGS = ("imagenet", "none")
NOISE = 0.012


@dataclass(frozen=True)
class MadeUp:
    """The frames of one study."""

    members: pd.DataFrame
    targets: pd.DataFrame
    finetuned: pd.DataFrame
    ensembles: pd.DataFrame
    scores: pd.DataFrame
    distances: pd.DataFrame


def members_frame() -> pd.DataFrame:
    """Members of every source, both architectures and pre-trainings, several sources, and none at all."""
    rows: list[dict[str, Any]] = []
    for architecture, (parameters, depth) in ARCHITECTURES.items():
        for pretraining in PRETRAININGS:
            sources = {name: (name, *facts, "single-source") for name, facts in DATASETS.items()}
            sources["all"] = (" ".join(DATASETS), "several", 62_000, 156, "multi-source")
            sources["start"] = ("", "", 0, 0, "pre-training")
            for name, (dataset, domain, images, classes, kind) in sources.items():
                rows.append(
                    {"member": f"{name}-{architecture.split(':')[1]}-{pretraining}", "pool": "made-up", "kind": kind,
                     "dataset": dataset, "domain": domain, "architecture": architecture, "pretraining": pretraining,
                     "parameters": parameters, "depth": depth, "train_images": images, "num_classes": classes,
                     "test_result": 0.5 if kind != "pre-training" else float("nan")}
                )  # fmt: skip
    return pd.DataFrame(rows)


def targets_frame() -> pd.DataFrame:
    """Every dataset is a target too."""
    rows = [{"target": name, "domain": domain, "num_classes": classes, "train_images": images, "test_images": 100}
            for name, (domain, images, classes) in DATASETS.items()]  # fmt: skip
    return pd.DataFrame(rows)


def qualities(members: pd.DataFrame, target: str) -> dict[str, float]:
    """What each member that may be chosen gets on a target, but for noise."""
    domain, _, classes = DATASETS[target]
    base = 0.75 - 0.05 * np.log(classes)
    found = {}
    for row in members.itertuples():
        if target in str(row.dataset).split() and row.kind == "single-source":
            continue
        value = base + (0.0 if row.pretraining == "imagenet" else -0.10) + 0.0012 * (row.depth - 60)
        if row.kind == "single-source":
            value += 0.008 * np.log(row.train_images / 1000) + (0.03 if row.domain == domain else -0.015)
        found[str(row.member)] = value + (0.02 if row.kind == "multi-source" else 0.0)
    return found


def made_up(
    targets: tuple[str, ...] = ("camvid", "kitti", "isprs", "sun"),
    kept: int = 8,
    regimes: tuple[str, ...] = ("few", "all"),
    sizes: tuple[int, ...] = (1, 2, 3),
    seed: int = 0,
) -> MadeUp:
    """A study of a few targets; ensembles of ``kept`` members of each."""
    random = np.random.default_rng(seed)
    members, all_targets = members_frame(), targets_frame()
    finetuned, ensembles, scores = [], [], []
    for target in targets:
        quality = qualities(members, target)
        names = sorted(quality)
        chosen = sorted(random.choice(names, kept, replace=False))
        for regime in regimes:
            lift = 0.10 if regime == "all" else 0.0
            cell = {"target": target, "regime": regime, "subset_seed": 0}
            for finetuning_seed in (0, 1):
                reached = {name: quality[name] * (1 - 4 * lift) + 0.6 * 4 * lift + random.normal(0, NOISE)
                           for name in names}  # fmt: skip
                finetuned += [{**cell, "finetuning_seed": finetuning_seed, "member": name, "result": result}
                              for name, result in reached.items()]  # fmt: skip
                for size in sizes:
                    for group in combinations(chosen, size):
                        result = np.mean([reached[name] for name in group]) + 0.02 * np.log(size)
                        about = {
                            "size": size,
                            "members": " ".join(group),
                            "result": result,
                            "validation_loss": 1 - result,
                        }
                        ensembles.append({**cell, "finetuning_seed": finetuning_seed, **about})
            for probe_seed in (0, 1):
                told = {name: quality[name] + random.normal(0, 0.03) for name in names}
                for metric, spoiled in (("leep", 0.02), ("logme", 0.01)):
                    scores += [{**cell, "probe_seed": probe_seed, "predictor": "linear_probe", "metric": metric,
                                "size": 1, "members": name, "score": 4 * (value - 1) + random.normal(0, spoiled)}
                               for name, value in told.items()]  # fmt: skip
                for metric, spoiled in (("e_leep", 0.02), ("soft_iou_eep", 0.005)):
                    scores += [{**cell, "probe_seed": probe_seed, "predictor": "linear_probe", "metric": metric,
                                "size": 3, "members": " ".join(group),
                                "score": np.mean([told[name] for name in group]) + random.normal(0, spoiled)}
                               for group in combinations(chosen, 3)]  # fmt: skip
    return MadeUp(members, all_targets, pd.DataFrame(finetuned), pd.DataFrame(ensembles), pd.DataFrame(scores),
                  distances_frame(random))  # fmt: skip


def distances_frame(random: np.random.Generator) -> pd.DataFrame:
    """Short distances within a domain."""
    rows = []
    for target, (domain, _, _) in DATASETS.items():
        for source, (other, _, _) in DATASETS.items():
            if target != source:
                near = (0.25 if domain == other else 0.6) + random.uniform(0, 0.15)
                far = near + random.uniform(0, 0.2)
                found = {"one_to_one": far + 0.1, "target_to_source": near, "source_to_target": far,
                         "symmetric": (near + far) / 2}  # fmt: skip
                rows += [{"target": target, "source": source, "assignment": each, "distance": distance}
                         for each, distance in found.items()]  # fmt: skip
    return pd.DataFrame(rows)
