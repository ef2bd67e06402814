"""Keep a head that was learned step by step only if images that it did not learn from come out better with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from muster.data import Split, Views
from muster.training.evaluation import count_split
from muster.training.finetuned_ensemble import Ensemble, EnsembleHead
from muster.training.hardware import Hardware
from muster.training.head_training import fit_head
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, HeadChoice
from muster.training.settings import HeadSettings

HELD_OUT = 0.2
"""Share of the training images that the head is judged on."""

JUDGED = "judged"
"""Folder of the checkpoint of the fit that is judged."""


def fit_kept_head(
    ensemble: Ensemble,
    train: Split,
    settings: HeadSettings,
    seed: int,
    folder: Path,
    hardware: Hardware,
    loggers: Sequence[Logger] = (),
    steps_before: int = 0,
) -> list[dict[str, float]]:
    """Fine-tune the head of an ensemble as :func:`muster.training.head_training.fit_head` does, if it is of use.

    With ``keep: if_better`` a first fit leaves a fifth of the images out. Where the ensemble reaches more with that
    head than without on the fifth, the head is fine-tuned again, on all images; otherwise the plain mean stays. The
    ensemble's ``head_choice`` tells it. That costs at most another fit of the head and a look at the fifth.

    Args:
        ensemble: Its head is changed.
        train: Target training images.
        settings: How to learn.
        seed: The seed of the order of the images, and of those left out.
        folder: Where checkpoints go; created if it is missing.
        hardware: What to compute on.
        loggers: For the curve of the fit on all images.
        steps_before: Of the members, where the curve begins.

    Returns:
        The points of the curve; none if the plain mean stays.

    Raises:
        TrainingDivergedError: If the loss became infinite or NaN.
    """
    if settings.keep == "if_better":
        ensemble.head_choice = _judged(ensemble, train, settings, seed, folder / JUDGED, hardware)
        plain = EnsembleHead(len(ensemble.names), len(ensemble.classes))
        ensemble.head.load_state_dict(plain.state_dict())
        if not ensemble.head_choice.kept:
            return []
    return fit_head(ensemble, train, settings, seed, folder, hardware, loggers, steps_before)


def _judged(
    ensemble: Ensemble, train: Split, settings: HeadSettings, seed: int, folder: Path, hardware: Hardware
) -> HeadChoice:
    if len(train) < 2:
        return HeadChoice(None)
    kept, held = train.hold_out(HELD_OUT, seed)
    fit_head(ensemble, kept, settings, seed, folder, hardware)

    def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        maps, task = ensemble.member_maps(images), ensemble.task
        plain = [task.predictions(scores, size, part) for scores, part in maps]
        return {
            PLAIN_MEAN: task.decide(torch.stack(plain).mean(dim=0)),
            LEARNED_HEAD: task.decide(ensemble.combine(maps, size)),
        }

    device = hardware.resolved_device()
    counts = count_split(predict, held, ensemble.preprocessing, device, owns=ensemble.owns)
    if counts[PLAIN_MEAN].is_empty:
        return HeadChoice(None)
    learned = {settings.penalty: counts[LEARNED_HEAD].result}
    return HeadChoice.by(counts[PLAIN_MEAN].result, learned, len(held), 1)
