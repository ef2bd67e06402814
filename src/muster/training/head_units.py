"""What the members of an ensemble say at sampled units of its training images, and the head that fits them.

Axis names: ``s`` members, ``p`` sampled units, ``c`` classes; the four is the cells that interpolation mixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from muster.data import Split, map_views, prepared_images
from muster.probe import read_corners
from muster.ranks import rank, sum_over_ranks, world_size
from muster.tasks.task import Task
from muster.tasks.units import draw_units
from muster.training.finetuned_ensemble import Ensemble, EnsembleHead
from muster.training.head_training import distance_from_mean


class Reading(NamedTuple):
    """Predictions of one member at the sampled units.

    Attributes:
        cells: float32 ``[4, c, p]``: its scores in the four cells around each unit; ``[1, c, p]`` where they are those
            of the unit itself.
        shares: float32 ``[4, p]`` or ``[1, p]``: how much of each cell bilinear interpolation takes.
    """

    cells: Tensor
    shares: Tensor


@dataclass(frozen=True, eq=False)
class HeadUnits:
    """Sampled units of the training images.

    Attributes:
        readings: Of each member.
        truth: ``[p, ...]``.
        images: Place in the split of the image that each unit is of.
        numbers: How many units of its image were drawn before each.
    """

    readings: list[Reading]
    truth: Tensor
    images: Int64[Tensor, " p"]
    numbers: Int64[Tensor, " p"]

    def __len__(self) -> int:
        return len(self.truth)

    def of(self, chosen: Bool[Tensor, " p"]) -> HeadUnits:
        """Some of them."""
        readings = [Reading(cells[..., chosen], shares[..., chosen]) for cells, shares in self.readings]
        return HeadUnits(readings, self.truth[chosen], self.images[chosen], self.numbers[chosen])


@torch.no_grad()
def collect_units(
    ensemble: Ensemble, train: Split, seed: int, device: torch.device | str, batch_size: int, pixels_per_image: int
) -> HeadUnits:
    """One pass over the images. The processes of a distributed run share them, and all end with the same units.

    Args:
        ensemble: Its members predict.
        train: Target training images.
        seed: Which units.
        device: Where the ensemble is.
        batch_size: Images at a time.
        pixels_per_image: Units drawn of an image.

    Returns:
        In the order of the images; none of an image without a truth.
    """
    task, classes = ensemble.task, len(ensemble.classes)
    places, truths = [torch.zeros(0, dtype=torch.int64)], [task.known_units(train.mask(0))[1][:0]]
    parts = [[Reading(torch.zeros(4, classes, 0), torch.zeros(4, 0))] for _ in ensemble.names]
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
                parts[member].append(Reading(torch.stack(four), torch.stack(shares)))
    joined = [Reading(*(torch.cat([each.to(device) for each in values], dim=-1) for values in zip(*part, strict=True)))
              for part in parts]  # fmt: skip
    every = _EveryUnit(torch.cat(places), len(train) * pixels_per_image, torch.device(device))
    truth = torch.cat(truths)
    found = every.of(torch.ones(len(truth), dtype=torch.int64)).nonzero()[:, 0]
    readings = [Reading(every.of(part.cells)[..., found], every.of(part.shares)[..., found]) for part in joined]
    whole = every.of(every.places)[found]
    truth = every.of(truth.movedim(0, -1))[..., found].movedim(-1, 0)
    return HeadUnits(readings, truth, whole // pixels_per_image, whole % pixels_per_image)


class _EveryUnit:
    """Puts together what each process has of the units, in the order in which a single process draws them."""

    def __init__(self, places: Tensor, total: int, device: torch.device) -> None:
        self.places, self.total, self.device = places, total, device

    def of(self, values: Tensor) -> Tensor:
        """Values ``[..., p]`` of this process's units in, those of all units out."""
        if world_size() == 1:
            return values.to(self.device)
        whole = torch.zeros(*values.shape[:-1], self.total, dtype=values.dtype)
        whole[..., self.places] = values.cpu()
        return sum_over_ranks(whole, self.device).to(self.device)


def fit_to_units(task: Task, head: EnsembleHead, units: HeadUnits, penalty: float, steps: int) -> None:
    """Full-batch L-BFGS: there are a few dozen parameters, and every one concerns every unit.

    Args:
        task: Says what the loss is.
        head: Where to begin; it is changed.
        units: At least one.
        penalty: Of the squared distance from the plain mean.
        steps: At most so many iterations.
    """
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = units_loss(task, head, units) + penalty * distance_from_mean(head)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def units_loss(task: Task, head: EnsembleHead, units: HeadUnits) -> Float[Tensor, ""]:
    """Mean loss of the units: predictions in each cell, interpolation, mean over the members."""
    total = torch.zeros((), device=units.truth.device)
    for member, (cells, shares) in enumerate(units.readings):
        about = task.about_truth(_in_cells(task, head, member, cells), units.truth)
        total = total + (about * shares[:, None]).sum(dim=0)
    return task.unit_losses(total / len(units.readings), units.truth).mean()


@torch.no_grad()
def units_predictions(task: Task, head: EnsembleHead, units: HeadUnits) -> Float[Tensor, "c p"]:
    """What the ensemble predicts at the units."""
    total = torch.zeros((), device=units.truth.device)
    for member, (cells, shares) in enumerate(units.readings):
        total = total + (_in_cells(task, head, member, cells) * shares[:, None]).sum(dim=0)
    return total / len(units.readings)


def _in_cells(
    task: Task, head: EnsembleHead, member: int, cells: Float[Tensor, "cells c p"]
) -> Float[Tensor, "cells c p"]:
    """Predictions of one member in each cell."""
    scores = cells * head.weights[member, :, None] + head.biases[member, :, None]
    return task.activate(scores[..., None])[..., 0]  # a row of places, as maps have them
