"""Scores of some candidates under many weightings of the probe images, in batched products on a device.

One image is taken at a time, under all weightings that hold it: EEPs are products of its source probabilities with the
tables P(y | z) of these weightings, in double precision, rounded as the metrics' definition rounds them. Only the sums
go to the host. Axis names as in :mod:`muster.scoring.resampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics.ensemble_block import first_largest
from muster.scoring.resampling import ResamplingProblem

_TABLE_NUMBERS = 1 << 27
"""Most entries of the tables of the weightings worked on at a time."""

_TILE_NUMBERS = 1 << 26
"""Most predictions, of members or of candidates, that are made at a time."""

Report = Callable[[int, int], None]


def resampled_scores(
    problem: ResamplingProblem, weights: Float[NumpyArray, "weightings images"], progress: Report
) -> Float[NumpyArray, "weightings candidates"]:
    """Score every candidate under every weighting of the images.

    Args:
        problem: Candidates and predictions, on any device that knows double precision.
        weights: How often each image counts, at least one more than 0 times in every row.
        progress: Told how much is done, and how much there is.

    Returns:
        The scores; larger is better. Equal to the processor's up to the rounding of sums.
    """
    device = problem.arrays[0].device
    on_device = torch.from_numpy(weights).to(device)
    if not problem.refits:
        of_images = [_image_states(problem, image, None)[0] for image in _told(problem, progress, 0, 1)]
        flat = on_device @ torch.stack(of_images).flatten(1)
        return problem.scores(flat.reshape(-1, *problem.state_shape).cpu().numpy(), weights)
    entries = int(problem.ends[-1]) * problem.num_classes
    shares = torch.split(on_device, max(1, _TABLE_NUMBERS // entries))
    states = []
    for number, share in enumerate(shares):
        tables = _tables(problem, share)
        total = torch.zeros(len(share), *problem.state_shape, dtype=torch.float64, device=device)
        for image in _told(problem, progress, number, len(shares)):
            _add_image(problem, image, share[:, image], tables, total)
        states.append(total.cpu())
    return problem.scores(torch.cat(states).numpy(), weights)


def _told(problem: ResamplingProblem, progress: Report, number: int, rounds: int) -> Iterator[int]:
    """Every image, and a report after each."""
    for image in range(problem.images):
        yield image
        progress(number * problem.images + image + 1, rounds * problem.images)


def _tables(
    problem: ResamplingProblem, weights: Float[Tensor, "weightings images"]
) -> Float[Tensor, "weightings sources classes"]:
    """P(y | z) under each weighting: weighted sums of the images' joint counts, divided by the mass of each source."""
    joints = torch.zeros(len(weights), int(problem.ends[-1]) * problem.num_classes, dtype=torch.float64)
    joints = joints.to(weights.device)
    at_once = max(1, _TABLE_NUMBERS // joints.shape[1])
    for low in range(0, problem.images, at_once):
        images = range(low, min(low + at_once, problem.images))
        own = torch.stack([_joint(problem, image).flatten() for image in images])
        joints += weights[:, low : images.stop] @ own
    joint = joints.reshape(len(weights), -1, problem.num_classes)
    mass = joint.sum(dim=2, keepdim=True)
    return torch.where(mass > 0, joint / mass, 0.0)


def _joint(problem: ResamplingProblem, image: int) -> Float[Tensor, "sources classes"]:
    """Sum of source probabilities over an image's pixels of each class."""
    pixels, labels = _pixels_of(problem, image)
    of_class = torch.nn.functional.one_hot(labels, problem.num_classes).double()
    return torch.cat([array[pixels].double().T @ of_class for array in problem.arrays])


def _pixels_of(problem: ResamplingProblem, image: int) -> tuple[Int[Tensor, " pixels"], Int[Tensor, " pixels"]]:
    """Places and labels of an image's pixels, on the device of the predictions."""
    pixels, device = problem.pixels_of(image), problem.arrays[0].device
    return torch.from_numpy(pixels).to(device), torch.from_numpy(problem.labels[pixels]).to(device)


def _add_image(
    problem: ResamplingProblem,
    image: int,
    weights: Float[Tensor, " weightings"],
    tables: Float[Tensor, "weightings sources classes"],
    total: Float[Tensor, "weightings ..."],
) -> None:
    """Add an image's sums under the weightings that hold it."""
    (held,) = torch.nonzero(weights, as_tuple=True)
    pixels = int(problem.starts[image + 1] - problem.starts[image])
    made = max(len(problem.arrays), len(problem.scored)) * pixels * problem.num_classes
    for some in torch.split(held, max(1, _TILE_NUMBERS // made)):
        states = _image_states(problem, image, tables[some])
        total[some] += states * weights[some].view(-1, *[1] * (states.ndim - 1))


def _image_states(
    problem: ResamplingProblem, image: int, tables: Float[Tensor, "weightings sources classes"] | None
) -> Float[Tensor, "weightings ..."]:
    """Sums over an image's pixels, see :attr:`ResamplingProblem.state_shape`; one row for predictions as they are."""
    pixels, labels = _pixels_of(problem, image)
    members = []
    for array, (low, high) in zip(problem.arrays, pairwise(problem.ends), strict=True):
        own = array[pixels]
        made = own[None] if tables is None else own.double() @ tables[:, low:high]
        members.append(made.to(problem.precision))
    predictions = torch.stack(members)  # members, weightings, pixels, classes
    true_class = predictions.gather(3, labels.expand(predictions.shape[:3])[..., None])[..., 0].double()
    rows = torch.from_numpy(problem.scored).to(labels.device)
    mean = _ascending(true_class, rows) / rows.shape[1]
    if problem.takes_logs:
        return mean.clamp_(min=problem.smallest).log_().sum(dim=2).T
    return _outcomes(problem, _ascending(predictions, rows), mean, labels)


def _ascending(values: Tensor, rows: Int[Tensor, "candidates size"]) -> Tensor:
    """Sum of what a candidate's members hold, in ascending order."""
    total = values[rows[:, 0]]
    for column in rows.T[1:]:
        total = total + values[column]
    return total


def _outcomes(
    problem: ResamplingProblem,
    sums: Float[Tensor, "candidates weightings pixels classes"],
    mean: Float[Tensor, "candidates weightings pixels"],
    labels: Int[Tensor, " pixels"],
) -> Float[Tensor, "weightings candidates entries"]:
    """Hits of each class, what was predicted wrongly as it, and what of it was missed."""
    winners = first_largest(sums.flatten(0, 2)).view(mean.shape)
    right, count = winners == labels, problem.num_classes
    hit = mean if problem.is_soft else torch.ones_like(mean)
    miss = 1.0 - mean if problem.is_soft else hit
    states = torch.zeros(*mean.shape[:2], 3 * count, dtype=torch.float64, device=labels.device)
    states.scatter_add_(2, torch.where(right, winners, winners + count), torch.where(right, hit, miss))
    states.scatter_add_(2, (labels + 2 * count).expand(mean.shape), torch.where(right, 0.0, miss))
    return states.transpose(0, 1)
