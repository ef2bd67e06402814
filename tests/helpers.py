"""Tiny pools and datasets that several test modules use. The members are not trained: only their numbers matter."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from muster.data import (
    VOID,
    ChannelStatistics,
    ContentSketch,
    Dataset,
    DatasetSpec,
    ImageSize,
    Preprocessing,
    Sample,
    Split,
    channel_statistics,
    content_prefixes,
)
from muster.data.content import prefix_of_text
from muster.locks import LOCK
from muster.models import build_model
from muster.pool import Card, Member, Pool, software_versions, write_member
from muster.selection.record import SelectionRecord
from muster.training.evaluation import Predictor, count_split


@contextmanager
def at_work_elsewhere(folder: Path) -> Iterator[None]:
    """Lock a folder as another process does that is at work there: a second open file is enough to collide."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        (folder / LOCK).unlink()


def make_member(
    pool: Path,
    name: str,
    seed: int,
    *,
    dataset: str = "elsewhere",
    classes: int = 4,
    architecture: str = "small_fpn",
    image_size: int = 64,
    broken: bool = False,
    trained_on: Dataset | None = None,
) -> Member:
    """Write a member with seeded random weights and a made-up card below ``pool/members``.

    Its training images are made up too, or those of the dataset that it is ``trained_on``.
    """
    if trained_on is None:
        content = ContentSketch.of(dataset, [prefix_of_text(f"{dataset} {number}") for number in range(100 + seed)])
    else:
        dataset = trained_on.spec.name
        content = ContentSketch.of(dataset, content_prefixes(trained_on.train))
    model = build_model(architecture, classes, seed=seed)
    with torch.no_grad():
        model.head.weight *= 20 if not broken else float("nan")  # fresh heads hardly tell places apart
    card = Card(
        name=name,
        dataset=dataset,
        domain="made up",
        classes=tuple(f"class {i}" for i in range(classes)),
        seen_datasets=(dataset,),
        architecture=architecture,
        pretraining="none",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        image_size=image_size,
        crop_size=64,
        parameters=model.num_parameters,
        depth=model.depth,
        train_images=100 + seed,
        test_images=10,
        test_result=0.3 + 0.01 * seed,
        test_ious=(0.3,) * classes,
        majority_result=0.1,
        steps=1,
        batch_size=1,
        learning_rate=0.1,
        schedule="step",
        seed=seed,
        training_seconds=1.0,
        precision="32-true",
        licence="",
        citation="",
        versions=software_versions(),
        checksum="",
        contents=(content,),
    )
    return write_member(pool / "members" / name, model, card, {"nothing": torch.zeros(1)})


def make_pool(folder: Path, count: int = 5) -> Pool:
    """Write ``count`` different members named ``a``, ``b``, ..."""
    for seed in range(count):
        make_member(folder, "abcdefghij"[seed], seed, classes=3 + seed % 3)
    return Pool.open(folder)


@dataclass(frozen=True)
class _Reader:
    """Blobs of three classes with a colour each, and noise; images differ in size; one may be all void."""

    void: tuple[str, ...]
    highest: int
    channels: int = 3

    def __call__(self, identifier: str) -> Sample:
        number = int(identifier)
        generator = np.random.default_rng(number)
        height, width = (40, 56) if number % 2 else (48, 33)
        rows, columns = np.mgrid[:height, :width]
        mask = (rows * 3 // height + (columns > width * generator.random())) % (self.highest + 1)
        image = np.stack([mask * 60 + 40, 200 - mask * 50, rows * 3], axis=0) + generator.integers(
            0, 30, (3, height, width)
        )
        image = np.concatenate([image] * -(-self.channels // 3))[: self.channels]
        mask[:2] = VOID
        if identifier in self.void:
            mask[:] = VOID
        return Sample(identifier, torch.from_numpy(image.astype(np.uint8)), torch.from_numpy(mask.astype(np.uint8)))


def make_target(
    images: int = 6, *, name: str = "tiny", void: tuple[str, ...] = (), highest: int = 2, channels: int = 3
) -> Dataset:
    """A dataset of three classes; ``highest`` is the largest that occurs, ``void`` names images that are all void."""
    spec = DatasetSpec(name, "made up", ("ground", "wall", "sky"), channels=channels)
    reader = _Reader(void, highest, channels)
    train = Split(spec, "train", tuple(f"{i:02}" for i in range(images)), reader)
    test = Split(spec, "test", ("90", "91"), reader)
    return Dataset(spec, train, test, f"made-up/{name}")


def undated(record: SelectionRecord) -> dict[str, Any]:
    """A selection in plain values, but for the time at which it was written."""
    content = record.to_mapping()
    del content["date"]
    return content


def shown(images: Split | ChannelStatistics, side: int) -> Preprocessing:
    """How images are shown: with the statistics of a split, or given ones, and a longer side."""
    statistics = images if isinstance(images, ChannelStatistics) else channel_statistics(images)
    return Preprocessing(statistics, ImageSize(side))


def upsampled(maps: Tensor, seen: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Maps of images that a network saw padded to multiples of 32, brought to a size: sampled pixel by pixel.

    In double precision, at the centres of the pixels, by none of the code that is tested.

    Args:
        maps: ``[b, c, h, w]``.
        seen: Rows and columns of the images before they were padded.
        size: Wanted rows and columns.
    """
    rows, columns = (
        (torch.arange(wanted).double() + 0.5) * (side / wanted) * 2 / (-(-side // 32) * 32) - 1
        for side, wanted in zip(seen, size, strict=True)
    )
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1).expand(len(maps), -1, -1, -1)
    return functional.grid_sample(maps.double(), grid, padding_mode="border", align_corners=False)


def confusion_matrices(
    predict: Predictor, split: Split, preprocessing: Preprocessing, **options: Any
) -> dict[str, Tensor]:
    """The confusion matrix of each model over a split."""
    counts = count_split(predict, split, preprocessing, **options)
    return {name: each.confusion for name, each in counts.items()}
