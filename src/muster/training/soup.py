"""Soups: the weights of fine-tuned members of one architecture averaged to one network of the same cost as each.

Source: Wortsman et al., Model soups, 2022, https://arxiv.org/abs/2203.05482. Their networks were fine-tuned from one
start. Members of a pool were trained apart, and nothing promises that the mean of their weights is any good: it has to
be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from muster.models import SourceModel
from muster.training.finetuned_ensemble import Ensemble


@dataclass(frozen=True, eq=False)
class Soup:
    """Averaged networks.

    Attributes:
        names: The members whose weights were averaged, in the order in which they were taken.
        model: The network.
        held_out: Its mIoU on held-out training images, by which members were taken; ``None`` for a uniform soup.
    """

    names: tuple[str, ...]
    model: SourceModel
    held_out: float | None = None


def alike(ensemble: Ensemble) -> tuple[str, ...]:
    """The most members of an ensemble that share architecture and preprocessing.

    Args:
        ensemble: Any.

    Returns:
        Their names, in its order; of groups of one size the first. Empty if no two are alike.
    """
    groups: dict[str, list[str]] = {}
    for name, member in ensemble.models.items():
        shapes = {key: tuple(value.shape) for key, value in member.state_dict().items()}
        groups.setdefault(repr((member.blueprint, member.preprocessing, shapes)), []).append(name)
    largest = max(groups.values(), key=len)
    return tuple(largest) if len(largest) > 1 else ()


def averaged(models: Sequence[SourceModel]) -> SourceModel:
    """A network whose weights, and running statistics of normalisations, are the mean of others'.

    Args:
        models: Of one architecture; they stay as they are.

    Returns:
        A new network, in evaluation mode. Whole numbers are those of the first.
    """
    states = [model.state_dict() for model in models]
    made = deepcopy(models[0])
    made.load_state_dict({key: _mean([state[key] for state in states]) for key in states[0]})
    return made.eval()


def _mean(values: Sequence[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[0]
    return torch.stack([value.double() for value in values]).mean(dim=0).to(values[0].dtype)


def uniform_soup(models: Mapping[str, SourceModel]) -> Soup:
    """The mean of all.

    Args:
        models: By name, of one architecture.

    Returns:
        The soup.
    """
    return Soup(tuple(models), averaged(list(models.values())))


def greedy_soup(models: Mapping[str, SourceModel], result_of: Callable[[SourceModel], float]) -> Soup:
    """Begin with the best network, and take each further one, best first, if the mean does not get worse by it.

    Args:
        models: By name, of one architecture.
        result_of: mIoU of a network on held-out images.

    Returns:
        The soup; its ``held_out`` is at least that of the best network.
    """
    alone = {name: result_of(model) for name, model in models.items()}
    first, *others = sorted(models, key=lambda name: (-alone[name], name))
    taken, best, soup = [first], alone[first], averaged([models[first]])
    for name in others:
        tried = averaged([models[each] for each in (*taken, name)])
        reached = result_of(tried)
        if reached >= best:
            taken, best, soup = [*taken, name], reached, tried
    return Soup(tuple(taken), soup, best)
