"""Learn how to combine fine-tuned members: the ensemble head of A22 5.1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
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
    images = _images_of(units)
    if len(images) < 2:
        return HeadChoice(None)
    no_tally = torch.zeros((), dtype=torch.int64, device=units.truth.device)
    tallies, folds = dict.fromkeys(_penalties(settings), no_tally), 0
    for left_out, heads in cross_fitted(task, plain, units, settings, seed):
        judged, folds = units.of(left_out), folds + 1
        for penalty, head in heads.items():
            found = tally_units(task, units_predictions(task, head, judged), judged.truth)
            tallies[penalty] = tallies[penalty] + found
    return _choice(task, tallies, len(images), folds)


def left_out_predictions(
    task: Task, plain: EnsembleHead, units: HeadUnits, settings: HeadSettings, seed: int
) -> tuple[HeadChoice, dict[float | None, Float[Tensor, "outputs units"]]]:
    """What an ensemble predicts of images that its head was not learned from.

    Args:
        task: Says what the result is.
        plain: The plain mean; it stays as it is.
        units: Of several images.
        settings: The least penalty, and the number of iterations.
        seed: Which images are left out together.

    Returns:
        The choice, as of :func:`judge_penalties`; and for each penalty the predictions, for ``None`` those of the plain
        mean.
    """
    outputs, folds = plain.weights.shape[1], 0
    found = {penalty: torch.zeros(outputs, len(units)) for penalty in _penalties(settings)}
    for left_out, heads in cross_fitted(task, plain, units, settings, seed):
        judged, folds = units.of(left_out), folds + 1
        for penalty, head in heads.items():
            found[penalty][:, left_out.cpu()] = units_predictions(task, head, judged).cpu()
    truth = units.truth.cpu()
    tallies = {penalty: tally_units(task, predictions, truth) for penalty, predictions in found.items()}
    return _choice(task, tallies, len(_images_of(units)), folds), found


def cross_fitted(
    task: Task, plain: EnsembleHead, units: HeadUnits, settings: HeadSettings, seed: int
) -> Iterator[tuple[Bool[Tensor, " units"], dict[float | None, EnsembleHead]]]:
    """Learn heads from all images but those of one part, for each part.

    Args:
        task: Says what the loss is.
        plain: The plain mean.
        units: Of several images.
        settings: The least penalty, and the number of iterations.
        seed: Which images are left out together.

    Yields:
        Which units are left out, and a head for each penalty; ``None`` is the plain mean.
    """
    for left_out in _folds(units, seed):
        learned_from, heads = units.of(~left_out & (units.numbers < FOLD_UNITS)), dict[float | None, EnsembleHead]()
        for penalty in _penalties(settings):
            heads[penalty] = plain
            if penalty is not None:
                heads[penalty] = EnsembleHead(*plain.weights.shape).to(plain.weights.device)
                fit_to_units(task, heads[penalty], learned_from, penalty, settings.steps)
        yield left_out, heads


def _penalties(settings: HeadSettings) -> tuple[float | None, ...]:
    return (None, settings.penalty, *(each for each in PENALTIES if each > settings.penalty))


def _images_of(units: HeadUnits) -> Int64[Tensor, " images"]:
    return torch.from_numpy(np.unique(units.images.cpu().numpy())).to(units.images.device)


def _choice(task: Task, tallies: Mapping[float | None, Tensor], images: int, folds: int) -> HeadChoice:
    mean, *learned = _results(task, list(tallies.values()))
    penalties = [penalty for penalty in tallies if penalty is not None]
    return HeadChoice.by(mean, dict(zip(penalties, learned, strict=True)), images, folds)


def _folds(units: HeadUnits, seed: int) -> Iterator[Bool[Tensor, " units"]]:
    """The units of each part of the images."""
    images = _images_of(units)
    shuffled = images[torch.from_numpy(np.random.default_rng(seed % 2**64).permutation(len(images))).to(images.device)]
    count = min(FOLDS, len(images))
    for fold in range(count):
        yield torch.isin(units.images, shuffled[fold::count])


def _results(task: Task, tallies: Sequence[Tensor]) -> list[float]:
    """Results of tallies, the same in all processes; minus infinity where there is none."""
    found = [-math.inf if tally_is_empty(tally) else task.result_of(tally) for tally in tallies]
    shared = from_rank_zero(torch.tensor(found, dtype=torch.float64), tallies[0].device)
    return [float(value) for value in shared]
