"""What a selection costs as the pool grows: opening it, one more member's forward pass, room on disk, the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import comb, log
from pathlib import Path
from typing import Any

import torch

from benchmarks.apart import apart
from benchmarks.beyond_exhaustive import few_members, write_made_up
from benchmarks.requirements import scratch_folder
from benchmarks.timing import cost, peak_megabytes
from benchmarks.whole_path import made_up_card
from muster.data import ContentSketch, open_dataset
from muster.models import build_model
from muster.pool import CARD, MEMBERS, WEIGHTS, Pool
from muster.pool.card import FORMAT_VERSION
from muster.records import write_record
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.score import score_ensembles
from muster.search.greedy import greedy

_BYTES_A_NUMBER = 4
METRIC = "soft_iou_eep"
_MOST_CANDIDATES = 200_000
"""Sets that are all scored; above that the search is greedy."""


def pool_size(
    members: Sequence[int] = (10, 100, 1000),
    pixels: int = 45_000,
    classes: int = 12,
    size: int = 3,
    sketched_images: int = 300,
    architecture: str = "fpn:tu-tf_efficientnet_lite0",
    side: int = 192,
) -> dict[str, Any]:
    """Pools of 10, 100 and 1000 members: processor seconds to open one, of a forward pass, of the search; room on disk.

    Args:
        members: Sizes of the pools.
        pixels: Probe pixels: 150 images with 300 each.
        classes: Of the target.
        size: Members of an ensemble.
        sketched_images: Training images that each card tells apart from others.
        architecture: Of the member whose forward pass is timed.
        side: Of its square images, in pixels.

    Returns:
        Seconds for an image, for each number of members what it costs, and the exponent at which costs grow from one
        to the next (1 is linear).
    """
    found: dict[str, Any] = {"one_image": apart(measure_pass, architecture=architecture, side=side)}
    for count in members:
        with scratch_folder(count * pixels * (classes + 1) * _BYTES_A_NUMBER / 1e9) as folder:
            cards = apart(measure_cards, folder=str(folder), members=count, images=sketched_images)
            apart(write_made_up, folder=str(folder), members=count, pixels=pixels, classes=classes)
            searched = apart(measure_search, folder=str(folder), members=count, size=size)
        gigabytes = round(count * pixels * classes * _BYTES_A_NUMBER / 1e9, 3)
        found[f"{count} members"] = {**cards, "gigabytes_of_predictions": gigabytes, **searched}
    for fewer, more in pairwise(members):
        low, high = found[f"{fewer} members"], found[f"{more} members"]
        found[f"growth from {fewer} to {more}"] = {
            key: round(log(high[key] / low[key]) / log(more / fewer), 2)
            for key in (
                "processor_seconds_to_open",
                "processor_seconds_to_find_candidates",
                "processor_seconds_of_search",
            )
            if low[key] and high[key]
        }
    return found


def measure_pass(architecture: str, side: int) -> dict[str, Any]:
    """One image through one member, from random weights."""
    model = build_model(architecture, 21, seed=0).eval()
    images = torch.rand(8, 3, side, side)
    with torch.inference_mode():
        model(images)
        spent, _ = cost(lambda: model(images))
    return {
        "seconds": round(spent.seconds / len(images), 4),
        "processor_seconds": round(spent.processor_seconds / 8, 4),
    }


def measure_cards(folder: str, members: int, images: int) -> dict[str, Any]:
    """Opening a pool of cards, and asking who may be a candidate; weights are an empty file each."""
    root = Path(folder) / "pool"
    model, total = build_model("small_fpn", 21), 0
    for number in range(members):
        place = root / MEMBERS / f"member-{number:05d}"
        place.mkdir(parents=True)
        (place / WEIGHTS).touch()
        prefixes = [f"{number * images + image:016x}" for image in range(images)]
        card = made_up_card(place.name, model, 512)
        card = replace(card, contents=(ContentSketch.of(place.name, prefixes),), checksum="0" * 64)
        write_record(place / CARD, card, FORMAT_VERSION)
        total += (place / CARD).stat().st_size
    Pool.open(_first(root, Path(folder)))  # loads what reads cards
    opened, pool = cost(lambda: Pool.open(root))
    target = open_dataset("worlds/attic")
    target = replace(target, train=target.train.subset(2, seed=0))
    found, _ = cost(lambda: pool.eligible_for(target))
    return {
        "processor_seconds_to_open": round(opened.processor_seconds, 4),
        "processor_seconds_to_find_candidates": round(found.processor_seconds, 4),
        "megabytes_of_cards": round(total / 1e6, 2),
    }


def _first(pool: Path, folder: Path) -> Path:
    """A pool of its first member alone."""
    alone = folder / "one"
    (alone / MEMBERS).mkdir(parents=True)
    name = "member-00000"
    (alone / MEMBERS / name).symlink_to(pool / MEMBERS / name)
    return alone


def measure_search(folder: str, members: int, size: int) -> dict[str, Any]:
    """SoftIoU-EEP over all sets where they are few, and greedily beyond; in two threads."""
    candidates = comb(members, size)
    few, store = candidates <= _MOST_CANDIDATES, PredictionStore.open(Path(folder) / "store")
    predictions, labels = few_members(size)
    score_ensembles(predictions, labels, size, (METRIC,))  # compiles its loops, or loads them
    greedy(PredictionStore.of(predictions, labels), size, METRIC)
    if few:
        spent, _ = cost(lambda: score_ensembles(store, store.labels, size, (METRIC,)))
    else:
        spent, _ = cost(lambda: greedy(store, size, METRIC))
    return {
        "search": "all sets" if few else "greedy",
        "candidates": candidates,
        "processor_seconds_of_search": round(spent.processor_seconds, 2),
        "peak_megabytes": round(peak_megabytes()),
    }
