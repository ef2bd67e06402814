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
    groups = [
        {**group, "stop": stop}
        for model, rate, stop in zip(models, rates, stops or [settings.steps] * len(models), strict=True)
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


def with_schedule(optimizer: Optimizer, schedule: Schedule, steps: int, warmup_steps: int = 0) -> dict[str, Any]:
    """An optimizer whose rates change with every step, as Lightning takes it.

    Args:
        optimizer: With the initial rates.
        schedule: ``step`` is a tenth after 2/3 of the steps (A22 B), ``poly`` is (1 - step / steps)^0.9 (M21 A.2),
            ``cosine`` is (1 + cos(pi step / steps)) / 2.
        steps: Steps in all.
        warmup_steps: In step t < warmup_steps the rate is the (t + 1) / warmup_steps of the initial one, and the
            schedule spans the steps after these.

    Returns:
        What ``configure_optimizers`` returns.
    """
    scheduler = _EveryStep(optimizer, schedule, steps, warmup_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rate_factor(schedule: Schedule, step: int, steps: int, warmup_steps: int = 0) -> float:
    """The rate of a step as a share of the initial one; see :func:`with_schedule`.

    Args:
        schedule: How rates fall.
        step: From 0 on.
        steps: Steps in all.
        warmup_steps: Steps at the beginning in which they rise.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done, span = step - warmup_steps, steps - warmup_steps
    if schedule == "step":
        return 1.0 if 3 * done < 2 * span else 0.1
    progress = min(1.0, done / span)
    return (1 - progress) ** 0.9 if schedule == "poly" else (1 + math.cos(math.pi * progress)) / 2


class _EveryStep(LRScheduler):
    """All its state is plain values, so that a checkpoint opens with ``weights_only=True``."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule, steps: int, warmup_steps: int) -> None:
        self.schedule: Schedule = schedule
        self.steps, self.warmup_steps = steps, warmup_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]  # torch also allows tensors
        """The rates of the step at hand, by group."""
        factor = rate_factor(self.schedule, self.last_epoch, self.steps, self.warmup_steps)
        groups = zip(self.base_lrs, self.optimizer.param_groups, strict=True)
        return [
            0.0 if self.last_epoch >= group.get("stop", math.inf) else float(base) * factor for base, group in groups
        ]
