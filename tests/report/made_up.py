"""Selections, pools and results with made-up numbers, for the tests of reports."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muster.data.spec import VOID, Dataset, DatasetSpec, Sample, Split
from muster.pool import Card, Member, Pool
from muster.report import LEARNED_HEAD, PLAIN_MEAN, Cost, Difference, FinetuneResult, ReportImage
from muster.scoring import Ranking
from muster.search import SearchStatus
from muster.selection import ProbeRecord, Selection

CLASSES = ('sky <b>"&amp;"</b>', "Straße & Gehweg", "$tree$", "木")
MEMBERS = ("alpha-<net>&", "béta'net", 'gamma"net"', "delta", "epsilon")
HEIGHT, WIDTH = 24, 32


def make_card(name: str, dataset: str = "harbour") -> Card:
    """A card with nothing special about it."""
    return Card(
        name=name, dataset=dataset, domain=f"domain of <{dataset}>", classes=("a", "b"), seen_datasets=(dataset,),
        architecture="small_fpn", pretraining="none", mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2), image_size=64,
        crop_size=64, parameters=1_234_567, depth=12, train_images=80, test_images=20, test_result=0.61,
        test_ious=(0.7, 0.52), majority_result=0.31, steps=100, batch_size=8, learning_rate=0.1, schedule="step",
        seed=0, training_seconds=5.0, precision="32-true", licence="x", citation="", versions={}, checksum="0" * 64,
    )  # fmt: skip


def make_pool(names: tuple[str, ...] = MEMBERS) -> Pool:
    """A pool of cards without weights."""
    cards = [make_card(name, f"source{place % 3}") for place, name in enumerate(sorted(names))]
    return Pool(Path("/pool"), tuple(Member(Path("/pool/members") / card.name, card) for card in cards))


def read_sample(identifier: str) -> Sample:
    """An image with bands of the four classes, the later the image the more of them, and a void corner."""
    index = int(identifier.split(" ")[-1])
    bands = torch.arange(WIDTH) * (index % 4 + 1) // WIDTH
    mask = bands.repeat(HEIGHT, 1).to(torch.uint8)
    mask[:4, :4] = VOID
    noise = torch.Generator().manual_seed(index)
    image = torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=noise)
    return Sample(identifier, image, mask)


def make_target(classes: tuple[str, ...] = CLASSES, images: int = 6) -> Dataset:
    """A target of small images."""
    spec = DatasetSpec("target <1>", "test", classes)
    split = Split(spec, "train", tuple(f"img <x> {index}" for index in range(images)), read_sample)
    return Dataset(spec, split, split, "/data/target")


def make_selection(
    names: tuple[str, ...] = MEMBERS, size: int = 3, classes: tuple[str, ...] = CLASSES, spread: float = 0.1
) -> Selection:
    """A selection whose ranking is drawn with a fixed seed.

    Args:
        names: The eligible members.
        size: Members per candidate.
        classes: The target's label space; the last class has no prediction.
        spread: How far the scores of the default metric lie apart.
    """
    generator = np.random.default_rng(0)
    names = tuple(sorted(names))
    rows = np.array(list(combinations(range(len(names)), size)))
    soft = 0.4 + spread * generator.random(len(rows))
    scores = {"soft_iou_eep": soft, "e_leep": soft - 2 + 0.01 * generator.random(len(rows)),
              "base": 1e5 * generator.random(len(rows))}  # fmt: skip
    ranking = Ranking(rows, scores)
    order = ranking.order("soft_iou_eep")

    def best(metric: str) -> tuple[str, ...]:
        return tuple(names[i] for i in rows[ranking.order(metric)[0]])

    return Selection(
        target="target <1>", target_reference="/data/target", classes=classes,
        train_images=make_target().train.identifiers, void_images=(), mean=(0.5, 0.5, 0.5), std=(0.3, 0.3, 0.3),
        image_size=32, pool="/pool", size=size, metric="soft_iou_eep", members=best("soft_iou_eep"),
        score=float(soft[order[0]]), margin=float(soft[order[0]] - soft[order[1]]) if len(order) > 1 else None,
        class_ious=(*np.linspace(0.1, 0.9, len(classes) - 1).tolist(), None),
        choices={metric: best(metric) for metric in scores}, single_best=names[0],
        member_scores={name: -0.3 - 0.1 * place for place, name in enumerate(names)},
        excluded={"bad <one>": "its predictions are NaN & <worse>"}, probe=ProbeRecord(6, 100, 32, 0),
        versions={"muster": "0.1.0"}, ranking=ranking,
        search=SearchStatus("exhaustive", len(rows), len(rows), "proven", float(soft[order[0]])),
    )  # fmt: skip


def listing_only(selection: Selection, count: int, **changes: Any) -> Selection:
    """The selection with the best few of its candidates, as a search or a limit leaves them.

    Args:
        selection: What to shorten.
        count: How many candidates to keep.
        changes: Other fields to replace.
    """
    ranking, names = selection.ranking, selection.member_names
    kept = ranking.only(np.isin(np.arange(len(ranking)), ranking.order(selection.metric)[:count]))
    choices = {metric: tuple(names[i] for i in kept.members[kept.order(metric)[0]]) for metric in kept.scores}
    margin = selection.margin if count > 1 else None
    return replace(selection, ranking=kept, choices=choices, margin=margin, **changes)


def make_image_of(names: tuple[str, ...], classes: int, seed: int = 0) -> ReportImage:
    """An image with random label maps."""
    sample = read_sample(f"img <x> {seed}")
    generator = torch.Generator().manual_seed(seed)
    maps = {name: torch.randint(0, classes, (HEIGHT, WIDTH), dtype=torch.uint8, generator=generator) for name in names}
    confidence = torch.rand((HEIGHT, WIDTH), generator=generator).masked_fill(sample.mask == VOID, torch.nan)
    return ReportImage(sample.identifier, sample.image, sample.mask, maps, confidence)


def make_result(classes: tuple[str, ...] = CLASSES, members: tuple[str, ...] = MEMBERS[:3]) -> FinetuneResult:
    """A fine-tuning in which the first class does not occur in the test split."""
    keys = (*members, "delta", PLAIN_MEAN, LEARNED_HEAD)
    ious = {
        key: (None, *(min(1.0, 0.2 + 0.1 * place + 0.5 * index / len(classes)) for index in range(1, len(classes))))
        for place, key in enumerate(keys)
    }
    results = {key: float(np.mean(values[1:])) for key, values in ious.items()}  # type: ignore[arg-type]
    single = {name: Cost(1, 1_234_567, 0.0123) for name in (*members, "delta")}
    together = Cost(len(members), 1_234_567 * len(members), 0.0123 * len(members))
    confusion = np.random.default_rng(0).integers(1, 50, (len(classes), len(classes)))
    confusion[0] = 0
    return FinetuneResult(
        target="target <1>", classes=classes, members=members, single_best="delta", train_images=6, test_images=4,
        steps=10, seconds=75.0, results=results, class_ious=ious, class_pixels=(0, *(10,) * (len(classes) - 1)),
        predicted={"soft_iou_eep": 0.3}, predicted_class_ious=(*(0.3,) * (len(classes) - 1), None),
        losses={name: [(0, 2.0), (5, 1.0), (9, 0.5)] for name in members},
        head_weights={name: [1.0] * len(classes) for name in members},
        head_biases={name: [0.0] * len(classes) for name in members},
        learning_rates=dict.fromkeys(members, 0.02), batch_size=16, schedule="step", image_size=96,
        precision="32-true",
        device="cpu (made up, 2 threads)", date="2026-01-31T12:34:56+00:00", versions={"muster": "0.1.0", "torch": "2"},
        resumed_at_steps=(4,), costs=single | {PLAIN_MEAN: together, LEARNED_HEAD: together},
        cost_measured="median of 5 forward passes <here>",
        result_intervals={key: (value - 0.05, value + 0.04) for key, value in results.items()},
        differences_to_single_best={
            key: Difference(value - results["delta"], value - results["delta"] - 0.01, value - results["delta"] + 0.02)
            for key, value in results.items() if key != "delta"
        },
        resamples=1000, confusion=tuple(tuple(row) for row in confusion.tolist()),
    )  # fmt: skip
