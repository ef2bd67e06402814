"""Learn how to combine fine-tuned members: the ensemble head of A22 5.1.

Axis names: ``s`` members, ``p`` sampled pixels, ``c`` classes; the four is the cells that interpolation mixes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from muster.data import Split, map_views, prepared_images
from muster.probe import read_corners
from muster.ranks import from_rank_zero, rank, sum_over_ranks, world_size
from muster.tasks.task import Task
from muster.tasks.units import draw_units
from muster.training.finetuned_ensemble import Ensemble, EnsembleHead
from muster.training.head_training import distance_from_mean
from muster.training.settings import HeadSettings


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

    Args:
        ensemble: Its head is changed.
        train: Target training images.
        seed: Which pixels.
        device: Where the ensemble is.
        batch_size: Images at a time.
        settings: How many pixels of each image, how many iterations, and the penalty.

    Returns:
        The loss before and after; the one after is not larger. (0, 0) if every pixel is void. Where the loss before is
        not finite, the plain mean stays.
    """
    task = ensemble.task
    readings, truth = _collect(ensemble, train, seed, device, batch_size, settings.pixels_per_image)
    if len(truth) == 0:
        return 0.0, 0.0
    head = ensemble.head
    start = {name: value.clone() for name, value in head.state_dict().items()}
    with torch.no_grad():
        before = float(_loss(task, head, readings, truth))
    if not math.isfinite(before):  # a member went astray, and there is nothing to go downhill on
        return before, before
    _minimise(task, head, readings, truth, settings)
    with torch.no_grad():
        after = float(_loss(task, head, readings, truth))
    if not after <= before:  # a line search that went astray: the plain mean stays
        head.load_state_dict(start)
        after = before
    for values in head.parameters():  # equal already, unless the processors differ
        values.data.copy_(from_rank_zero(values.detach().cpu(), torch.device(device)))
    return before, after


class _Reading(NamedTuple):
    """Predictions of one member at the sampled pixels.

    Attributes:
        cells: float32 ``[4, c, p]``: its scores in the four cells around each pixel.
        shares: float32 ``[4, p]``: how much of each cell bilinear interpolation takes.
    """

    cells: Tensor
    shares: Tensor


def _minimise(task: Task, head: EnsembleHead, readings: list[_Reading], truth: Tensor, settings: HeadSettings) -> None:
    """Full-batch L-BFGS: there are a few dozen parameters, and every one concerns every pixel."""
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=settings.steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _loss(task, head, readings, truth) + settings.penalty * distance_from_mean(head)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def _loss(task: Task, head: EnsembleHead, readings: list[_Reading], truth: Tensor) -> Tensor:
    """Mean loss of the units: predictions in each cell, interpolation, mean over the members."""
    total = torch.zeros((), device=truth.device)
    for member, (cells, shares) in enumerate(readings):
        scores = cells * head.weights[member, :, None] + head.biases[member, :, None]
        predictions = task.activate(scores[..., None])[..., 0]  # a row of places, as maps have them
        total = total + (task.about_truth(predictions, truth) * shares[:, None]).sum(dim=0)
    return task.unit_losses(total / len(readings), truth).mean()


@torch.no_grad()
def _collect(
    ensemble: Ensemble, train: Split, seed: int, device: torch.device | str, batch_size: int, pixels_per_image: int
) -> tuple[list[_Reading], Tensor]:
    """One pass over the images: predictions of each member at the sampled pixels, and the truths ``[p, ...]`` there."""
    task, classes = ensemble.task, len(ensemble.classes)
    places, truths = [torch.zeros(0, dtype=torch.int64)], [task.known_units(train.mask(0))[1][:0]]
    parts = [[_Reading(torch.zeros(4, classes, 0), torch.zeros(4, 0))] for _ in ensemble.names]
    mine = range(rank(), len(train), world_size())
    for batch in prepared_images(train, ensemble.preprocessing, batch_size, indices=mine, owns=ensemble.owns):
        maps = ensemble.member_maps(map_views(batch.images, lambda view: view.to(device)))
        for place, (index, mask) in enumerate(zip(batch.indices, batch.masks, strict=True)):
            drawn, truth = draw_units(task, mask, pixels_per_image, seed, index)
            truths.append(truth)
            places.append(index * pixels_per_image + torch.arange(len(drawn)))
            size = task.places_of(mask)
            rows, columns = drawn.to(device) // size[1], drawn.to(device) % size[1]
            for member, (scores, part) in enumerate(maps):
                four, across, down = read_corners(scores[place], rows, columns, size, part)
                shares = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
                parts[member].append(_Reading(torch.stack(four), torch.stack(shares)))
    joined = [_Reading(*(torch.cat([each.to(device) for each in values], dim=-1) for values in zip(*part, strict=True)))
              for part in parts]  # fmt: skip
    every = _EveryPixel(torch.cat(places), len(train) * pixels_per_image, torch.device(device))
    truth = torch.cat(truths)
    found = every.of(torch.ones(len(truth), dtype=torch.int64)).nonzero()[:, 0]
    readings = [_Reading(every.of(part.cells)[..., found], every.of(part.shares)[..., found]) for part in joined]
    return readings, every.of(truth.movedim(0, -1))[..., found].movedim(-1, 0)


class _EveryPixel:
    """Puts together what each process has of the pixels, in the order in which a single process draws them."""

    def __init__(self, places: Tensor, total: int, device: torch.device) -> None:
        self.places, self.total, self.device = places, total, device

    def of(self, values: Tensor) -> Tensor:
        """Values ``[..., p]`` of this process's pixels in, those of all pixels out."""
        if world_size() == 1:
            return values.to(self.device)
        whole = torch.zeros(*values.shape[:-1], self.total, dtype=values.dtype)
        whole[..., self.places] = values.cpu()
        return sum_over_ranks(whole, self.device).to(self.device)
