"""Learn how to combine fine-tuned members: the ensemble head of A22 5.1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from muster.data import Split
from muster.ranks import from_rank_zero
from muster.tasks.task import Task, tally_is_empty
from muster.tasks.units import tally_units
from muster.training.finetuned_ensemble import Ensemble, EnsembleHead
from muster.training.head_units import HeadUnits, collect_units, fit_to_units, units_loss, units_predictions
from muster.training.results import HeadChoice
from muster.training.settings import HeadSettings

PENALTIES = (1e-3, 1e-2, 1e-1)
"""Penalties that are tried besides the one of the settings, as far as they are larger. Beyond the last of them heads
hardly differ from the plain mean."""

FOLDS = 5
"""Parts of the training images that are left out one after the other."""

FOLD_UNITS = 50
"""Units of an image that heads are learned from while penalties are compared: a quarter, as there are many fits."""


def learn_head(
    ensemble: Ensemble,
    train: Split,
    seed: int,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
    settings: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
) -> tuple[float, float]:
    """Fit the head to the target training images by L-BFGS, with the members frozen.

    The members look at every image once, whole. Then the cross-entropy of the ensemble's prediction at seeded pixels,
    with a small penalty on leaving the plain mean, is minimised over the head alone. That takes seconds and loses
    nothing, as the head never sees a pixel's surroundings. The processes of a distributed run share the images, and end
    with the same head: every one of them must call this.

    With ``keep: if_better`` the images are divided into :data:`FOLDS` parts. Heads are learned from the others of each
    part, with several penalties, and compared with the plain mean by the task's result on all images, each left out
    once; the largest result decides, the ensemble's ``head_choice`` tells it. It is the result and not the loss,
    because the members know these images by heart: to make a head trust them more lowers the loss on any of them, and
    raises it on new images (docs/recipes.md has the numbers).

    Args:
        ensemble: Its head is changed.
        train: Target training images.
        seed: Which pixels, and which images are left out together.
        device: Where the ensemble is.
        batch_size: Images at a time.
        settings: How many pixels of each image, how many iterations, and the penalty.

    Returns:
        The loss before and after; the one after is not larger. (0, 0) if every pixel is void. Where the loss before is
        not finite, the plain mean stays.
    """
    task, head = ensemble.task, ensemble.head
    units = collect_units(ensemble, train, seed, device, batch_size, settings.pixels_per_image)
    if len(units) == 0:
        return 0.0, 0.0
    with torch.no_grad():
        before = float(units_loss(task, head, units))
    if not math.isfinite(before):  # a member went astray, and there is nothing to go downhill on
        return before, before
    penalty: float | None = settings.penalty
    if settings.keep == "if_better":
        ensemble.head_choice = judge_penalties(task, head, units, settings, seed)
        penalty = ensemble.head_choice.penalty
    after = before if penalty is None else _fit(task, head, units, penalty, settings.steps, before)
    if after == before and ensemble.head_choice is not None:
        ensemble.head_choice = replace(ensemble.head_choice, penalty=None)
    for values in head.parameters():  # equal already, unless the processors differ
        values.data.copy_(from_rank_zero(values.detach().cpu(), torch.device(device)))
    return before, after


def _fit(task: Task, head: EnsembleHead, units: HeadUnits, penalty: float, steps: int, before: float) -> float:
    """The loss after it, which is not larger."""
    start = {name: value.clone() for name, value in head.state_dict().items()}
    fit_to_units(task, head, units, penalty, steps)
    with torch.no_grad():
        after = float(units_loss(task, head, units))
    if after <= before:
        return after
    head.load_state_dict(start)  # a line search that went astray: the plain mean stays
    return before


def judge_penalties(task: Task, plain: EnsembleHead, units: HeadUnits, settings: HeadSettings, seed: int) -> HeadChoice:
    """Compare heads of several penalties, and the plain mean, on images that they were not learned from.

    Args:
        task: Says what the result is.
        plain: The plain mean; it stays as it is.
        units: Of all images, at least one.
        settings: The least penalty, and the number of iterations.
        seed: Which images are left out together.

    Returns:
        The choice; the plain mean if all units are of one image.
    """
    images = torch.from_numpy(np.unique(units.images.cpu().numpy())).to(units.images.device)
    if len(images) < 2:
        return HeadChoice(None)
    penalties = (settings.penalty, *(each for each in PENALTIES if each > settings.penalty))
    tallies = [torch.zeros((), dtype=torch.int64, device=units.truth.device)] * (1 + len(penalties))
    folds = list(_folds(units, images, seed))
    for left_out in folds:
        learned_from = units.of(~left_out & (units.numbers < FOLD_UNITS))
        heads = [plain, *_path(task, plain, learned_from, penalties, settings.steps)]
        judged = units.of(left_out)
        tallies = [
            tally + tally_units(task, units_predictions(task, head, judged), judged.truth)
            for tally, head in zip(tallies, heads, strict=True)
        ]
    mean, *learned = _results(task, tallies)
    return HeadChoice.by(mean, dict(zip(penalties, learned, strict=True)), len(images), len(folds))


def _folds(units: HeadUnits, images: Tensor, seed: int) -> Iterator[Bool[Tensor, " p"]]:
    """The units of each part of the images."""
    count = min(FOLDS, len(images))
    shuffled = images[torch.from_numpy(np.random.default_rng(seed % 2**64).permutation(len(images))).to(images.device)]
    for fold in range(count):
        yield torch.isin(units.images, shuffled[fold::count])


def _path(
    task: Task, plain: EnsembleHead, units: HeadUnits, penalties: Sequence[float], steps: int
) -> Iterator[EnsembleHead]:
    """A head for each penalty."""
    for penalty in penalties:
        head = EnsembleHead(*plain.weights.shape).to(plain.weights.device)
        fit_to_units(task, head, units, penalty, steps)
        yield head


def _results(task: Task, tallies: Sequence[Tensor]) -> list[float]:
    """Results of tallies, the same in all processes; minus infinity where there is none."""
    found = [-math.inf if tally_is_empty(tally) else task.result_of(tally) for tally in tallies]
    shared = from_rank_zero(torch.tensor(found, dtype=torch.float64), tallies[0].device)
    return [float(value) for value in shared]
