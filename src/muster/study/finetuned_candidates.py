"""Fine-tune the members of the chosen candidates once, and evaluate every ensemble of them.

The protocol of A22 section 4: each member is fine-tuned by itself, an ensemble is the mean of its members'
probabilities, so that one pass over the test split gives the result of every candidate.

Axis names: ``s`` members, ``b`` images, ``c`` classes.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data import Dataset, prepared_images, require_usable, view_for
from muster.files import to_builtin_types, write_table, write_yaml
from muster.metrics import kendall, pearson, weighted_kendall
from muster.models import ImageMap, SourceModel, build_model, upsample_probabilities
from muster.pool import Pool
from muster.ranks import rank, sum_over_ranks, world_size
from muster.selection.record import Selection
from muster.tasks.segmentation import confusion_of, mean_iou
from muster.training.clock import Clock, Progress
from muster.training.finetuning import (
    WORK,
    TargetData,
    build_ensemble,
    evaluate,
    fit_members,
    load_members,
    require_fittable,
    target_data,
)
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD
from muster.training.settings import HeadSettings, TrainingSettings

FINETUNED_MIOU = "finetuned_miou"
"""The column of ``ensembles.csv`` with the mIoU of an ensemble's plain mean, each member fine-tuned by itself."""

RANDOM = "random"
SCRATCH = "scratch-"


@dataclass(frozen=True)
class StudyResult:
    """Fine-tuned mIoU on the target's test split.

    Attributes:
        target: Name of the target.
        train_images: Number of target training images.
        test_images: Number of target test images.
        members: mIoU of every member that was fine-tuned, and of the networks trained from scratch.
        leeps: LEEP of the members, before fine-tuning.
        choices: For each metric, and at random, the ensemble that it chose.
        plain_means: For each choice, mIoU of the mean of its members' probabilities.
        learned_heads: For each choice, mIoU with the learned head.
        single_best: B1: the best single member by LEEP.
        miou_range: Least, mean and greatest mIoU over all ensembles of the members that were fine-tuned.
        ensembles: How many these are.
        correlations: For each metric, its agreement with the results over these ensembles.
        parameters: The parameters of every member that was fine-tuned, and of the networks trained from scratch.
    """

    target: str
    train_images: int
    test_images: int
    members: dict[str, float]
    leeps: dict[str, float]
    choices: dict[str, tuple[str, ...]]
    plain_means: dict[str, float]
    learned_heads: dict[str, float]
    single_best: str
    miou_range: tuple[float, float, float]
    ensembles: int
    correlations: dict[str, dict[str, float]]
    parameters: dict[str, int] = field(default_factory=dict)


def run_study(
    selection: Selection,
    pool: Pool,
    dataset: Dataset,
    settings: TrainingSettings,
    hardware: Hardware,
    folder: Path,
    members: Literal["chosen", "all"] = "chosen",
    scratch: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
) -> StudyResult:
    """Fine-tune members of a pool once, and compare all their ensembles with what was predicted.

    The processes of a distributed run share the fit and the images that are evaluated; the first one writes.

    Args:
        selection: Scores of all candidates.
        pool: What was chosen from.
        dataset: The target.
        settings: How to fine-tune.
        hardware: What to compute on.
        folder: Where checkpoints, ``study.yaml`` and ``ensembles.csv`` go.
        members: Fine-tune those that any metric chose (and B1, and a random ensemble), or all eligible ones.
        scratch: Architectures to train on the target from random weights, for comparison.
        seed: The seed of the random ensemble.
        progress: Told about the course of fine-tuning.
        head: How the heads are learned.

    Returns:
        The fine-tuned mIoU of members, choices and all candidates.
    """
    target = target_data(selection, dataset)
    require_usable(target.train)
    require_usable(dataset.test)
    choices = {**selection.choices, RANDOM: _random_choice(selection, seed)}
    wanted = {selection.single_best}.union(*choices.values())
    names = tuple(name for name in selection.member_names if members == "all" or name in wanted)
    module = _module(pool, names, scratch, target, settings)
    require_fittable(module, target, hardware)
    clock = [Clock(progress)] if progress else ()
    writes = fit_members(module, target, folder, hardware, clock, reload=partial(_load, pool, target, settings))
    with hardware.autocast():
        singles, ensembles = _evaluate_all(module, names, selection.size, target, hardware)
    table = _table(selection, ensembles)
    mious = table[FINETUNED_MIOU].to_numpy()
    result = StudyResult(
        target=selection.target,
        train_images=len(target.train),
        test_images=len(dataset.test),
        members=singles,
        leeps=selection.member_scores,
        choices=choices,
        plain_means={metric: ensembles[chosen] for metric, chosen in choices.items()},
        learned_heads=_learned_heads(module, choices, target, hardware, head, folder),
        single_best=selection.single_best,
        miou_range=(float(mious.min()), float(mious.mean()), float(mious.max())),
        ensembles=len(table),
        correlations={metric: _correlations(table[metric].to_numpy(), mious) for metric in selection.ranking.scores},
        parameters=_parameters(module),
    )
    if writes:
        _write(folder, result, table, module)
        shutil.rmtree(folder / WORK)
    return result


def _parameters(module: EnsembleTraining) -> dict[str, int]:
    return {name: model.num_parameters for name, model in module.models.items()}


def _random_choice(selection: Selection, seed: int) -> tuple[str, ...]:
    names = np.array(selection.member_names)
    return tuple(sorted(np.random.default_rng(seed).choice(names, selection.size, replace=False).tolist()))


def _module(
    pool: Pool, names: Sequence[str], scratch: Sequence[str], target: TargetData, settings: TrainingSettings
) -> EnsembleTraining:
    module = EnsembleTraining(settings, target.dataset.spec.num_classes)
    everyone = [*names, *(SCRATCH + architecture for architecture in scratch)]
    module.set_members(everyone, _load(pool, target, settings, everyone))
    return module


def _load(pool: Pool, target: TargetData, settings: TrainingSettings, names: Sequence[str]) -> list[SourceModel]:
    """Members of the pool, and networks with random weights."""
    channels = target.dataset.spec.channels
    models = [
        build_model(name.removeprefix(SCRATCH), target.dataset.spec.num_classes, seed=settings.seed)
        if name.startswith(SCRATCH)
        else load_members(pool.for_channels(channels), [name])[0]
        for name in names
    ]
    for model in models:
        model.adapt_channels(channels)
    return models


@torch.no_grad()
def _evaluate_all(
    module: EnsembleTraining, names: Sequence[str], size: int, target: TargetData, hardware: Hardware
) -> tuple[dict[str, float], dict[tuple[str, ...], float]]:
    """Give the mIoU of every fine-tuned model, and of the plain mean of every ``size`` of the named ones."""
    device, classes = hardware.resolved_device(), target.dataset.spec.num_classes
    candidates = list(combinations(names, size))
    confusions: dict[str | tuple[str, ...], Tensor] = {}
    test = target.dataset.test
    mine = range(rank(), len(test), world_size())
    for batch in prepared_images(test, target.preprocessing, indices=mine, owns=module.owns):
        maps = {}
        for name, model in module.models.items():
            images = view_for(batch.images, model.preprocessing)
            maps[name] = ImageMap(model.predict(images.to(device)), model.part_of(images))
        for place, mask in enumerate(batch.masks):
            full = {
                name: upsample_probabilities(values[place : place + 1], (mask.shape[0], mask.shape[1]), part)[0]
                for name, (values, part) in maps.items()
            }
            for key, total in _sums(full, candidates):
                # On a CPU max gives the same indices as argmax in a quarter of the time.
                counted = confusion_of(total.max(dim=0).indices.cpu(), mask, classes)
                confusions[key] = counted + confusions[key] if key in confusions else counted
    nothing = torch.zeros(classes, classes, dtype=torch.int64)
    keys: list[str | tuple[str, ...]] = [*module.names, *candidates]
    counted_here = torch.stack([confusions.get(key, nothing) for key in keys])
    confusions = dict(zip(keys, sum_over_ranks(counted_here, torch.device(device)), strict=True))
    singles = {name: mean_iou(confusions[name]) for name in module.names}
    return singles, {candidate: mean_iou(confusions[candidate]) for candidate in candidates}


def _sums(
    full: Mapping[str, Tensor], candidates: Sequence[tuple[str, ...]]
) -> Iterator[tuple[str | tuple[str, ...], Tensor]]:
    """Probabilities of every model alone, and summed over every candidate."""
    yield from full.items()
    for candidate in candidates:
        yield candidate, reduce(torch.add, (full[name] for name in candidate))


def _learned_heads(
    module: EnsembleTraining,
    choices: Mapping[str, tuple[str, ...]],
    target: TargetData,
    hardware: Hardware,
    head: HeadSettings,
    folder: Path,
) -> dict[str, float]:
    with_head: dict[tuple[str, ...], float] = {}
    for chosen in choices.values():
        if chosen not in with_head:
            ensemble = build_ensemble(module, chosen, target, hardware, head, folder)
            with_head[chosen] = mean_iou(evaluate(module, ensemble, target, hardware)[LEARNED_HEAD].confusion)
    return {metric: with_head[chosen] for metric, chosen in choices.items()}


def _table(selection: Selection, ensembles: Mapping[tuple[str, ...], float]) -> pd.DataFrame:
    """One row an evaluated ensemble: members, the score of every metric, and its fine-tuned mIoU."""
    rows = {selection.names_of(row): row for row in range(len(selection.ranking))}
    places = [rows[names] for names in ensembles]
    scores = {metric: values[places] for metric, values in selection.ranking.scores.items()}
    return pd.DataFrame(
        {"members": [" ".join(names) for names in ensembles], **scores, FINETUNED_MIOU: ensembles.values()}
    )


def _correlations(scores: Float[NumpyArray, " rows"], mious: Float[NumpyArray, " rows"]) -> dict[str, float]:
    if len(mious) < 2:
        return dict.fromkeys(("weighted_kendall", "kendall", "pearson"), math.nan)
    return {
        name: correlation(scores, mious)
        for name, correlation in (("weighted_kendall", weighted_kendall), ("kendall", kendall), ("pearson", pearson))
    }


def _write(folder: Path, result: StudyResult, table: pd.DataFrame, module: EnsembleTraining) -> None:
    write_yaml(folder / "study.yaml", to_builtin_types(asdict(result)))
    for name, content in (("ensembles.csv", table), ("history.csv", pd.DataFrame(module.history))):
        write_table(folder / name, content)
