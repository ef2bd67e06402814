"""Optimizers and schedules of a fit: which parameter learns at what rate, and how rates change with the steps."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from muster.models import SourceModel, parameter_stages
from muster.training.settings import Schedule, TrainingSettings

LEAST_GAIN = 1e-4
"""A loss counts as smaller if it is so by this share."""


def make_optimizer(
    models: Sequence[SourceModel], rates: Sequence[float], settings: TrainingSettings, stops: Sequence[int] = ()
) -> Optimizer:
    """One optimizer over models that share no parameter.

    Args:
        models: What to train.
        rates: Initial rate of each.
        settings: Optimizer, weight decay and layer-wise decay.
        stops: Steps after which each is left as it is; if none are given, all steps are done. Gradients are 0 from then
            on, but momentum and weight decay would move weights on; with a rate of 0 nothing does.

    Returns:
        With one group for each model, or several where its parameters learn differently.
    """
    ends = stops or [settings.steps] * len(models)
    groups = [
        {**group, "stop": stop, "member": place}
        for place, (model, rate, stop) in enumerate(zip(models, rates, ends, strict=True))
        for group in _groups(model, rate, settings)
    ]
    if settings.optimizer == "adamw":
        return AdamW(groups, settings.initial_rate, weight_decay=settings.weight_decay)
    return SGD(groups, settings.initial_rate, settings.momentum, weight_decay=settings.weight_decay)


def _groups(model: SourceModel, rate: float, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Parameters of a model by rate and weight decay."""
    spares = settings.optimizer == "adamw"
    if settings.layer_decay == 1 and not spares:
        return [{"params": list(model.parameters()), "lr": rate}]
    exponents = _distances_from_the_head(model) if settings.layer_decay < 1 else dict.fromkeys(model.parameters(), 0)
    parts: dict[tuple[int, bool], list[Parameter]] = defaultdict(list)
    for parameter, exponent in exponents.items():
        # Biases and the weights of normalisations are vectors. To pull them to 0 does not simplify a network.
        parts[exponent, spares and parameter.ndim <= 1].append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * settings.layer_decay**exponent,
            "weight_decay": 0.0 if is_spared else settings.weight_decay,
        }
        for (exponent, is_spared), parameters in sorted(parts.items(), key=lambda part: part[0])
    ]


def _distances_from_the_head(model: SourceModel) -> dict[Parameter, int]:
    stages = parameter_stages(model)
    head = max(stages.values())
    return {parameter: head - stage for parameter, stage in stages.items()}


def with_schedule(
    optimizer: Optimizer,
    schedule: Schedule,
    steps: int,
    warmup_steps: int = 0,
    patience: int = 0,
    decay_after: Sequence[float] = (),
) -> dict[str, Any]:
    """An optimizer whose rates change with every step, as Lightning takes it.

    Args:
        optimizer: With the initial rates.
        schedule: ``step`` is a tenth after 2/3 of the steps (A22 B), ``poly`` is (1 - step / steps)^0.9 (M21 A.2),
            ``cosine`` is (1 + cos(pi step / steps)) / 2, ``constant`` is 1; so is ``plateau`` until
            :meth:`RateSchedule.watch` halves it.
        steps: Steps in all.
        warmup_steps: In step t < warmup_steps the rate is the (t + 1) / warmup_steps of the initial one, and the
            schedule spans the steps after these.
        patience: See :class:`muster.training.settings.TrainingSettings`.
        decay_after: Shares of the steps after which ``step`` divides by 10, where it is not 2/3.

    Returns:
        What ``configure_optimizers`` returns.
    """
    scheduler = RateSchedule(optimizer, schedule, steps, warmup_steps, patience, decay_after)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rate_factor(
    schedule: Schedule, step: int, steps: int, warmup_steps: int = 0, decay_after: Sequence[float] = ()
) -> float:
    """The rate of a step as a share of the initial one; see :func:`with_schedule`.

    Args:
        schedule: How rates fall.
        step: From 0 on.
        steps: Steps in all.
        warmup_steps: Steps at the beginning in which they rise.
        decay_after: See :func:`with_schedule`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done, span = step - warmup_steps, steps - warmup_steps
    if schedule in ("constant", "plateau"):
        return 1.0
    if schedule == "step":
        if decay_after:
            return float(10.0 ** -sum(done >= share * span for share in decay_after))
        return 1.0 if 3 * done < 2 * span else 0.1
    progress = min(1.0, done / span)
    return (1 - progress) ** 0.9 if schedule == "poly" else (1 + math.cos(math.pi * progress)) / 2


class RateSchedule(LRScheduler):
    """The rates of every step. All its state is plain values, so that a checkpoint opens with ``weights_only=True``.

    Attributes:
        halvings: For each member, how often its rate was halved.
        best: For each member, its smallest loss on held-out images.
        waited: For each member, how many looks at them came after that one, or after the last halving.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        steps: int,
        warmup_steps: int,
        patience: int,
        decay_after: Sequence[float] = (),
    ) -> None:
        """Begin at the initial rates; see :func:`with_schedule`."""
        self.schedule: Schedule = schedule
        self.decay_after = list(decay_after)
        self.steps, self.warmup_steps, self.patience = steps, warmup_steps, patience
        members = 1 + max(group.get("member", 0) for group in optimizer.param_groups)
        self.halvings, self.best, self.waited = [0] * members, [math.inf] * members, [0] * members
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]  # torch also allows tensors
        """The rates of the step at hand, by group."""
        factor = rate_factor(self.schedule, self.last_epoch, self.steps, self.warmup_steps, self.decay_after)
        return [
            0.0
            if self.last_epoch >= group.get("stop", math.inf)
            else float(base) * factor * 0.5 ** self.halvings[group.get("member", 0)]
            for base, group in zip(self.base_lrs, self.optimizer.param_groups, strict=True)
        ]

    def watch(self, losses: Sequence[float]) -> None:
        """Halve the rate of each member whose loss has stopped falling, from the step at hand on.

        Args:
            losses: On held-out images, by member; one that is not finite is not smaller than any.

        Source:
            torch's ``ReduceLROnPlateau`` in its usual form, with which a loss has to be a ten-thousandth smaller.
        """
        for member, loss in enumerate(losses):
            if loss < self.best[member] * (1 - LEAST_GAIN):
                self.best[member], self.waited[member] = loss, 0
            else:
                self.waited[member] += 1
            if self.waited[member] > self.patience:
                self.halvings[member], self.waited[member] = self.halvings[member] + 1, 0
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
