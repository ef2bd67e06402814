"""Results on images that are held out from a fit: at its end, and at some steps on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from muster.data import Preprocessing, Split
from muster.errors import DatasetError
from muster.tasks.task import task_of
from muster.training.averaging import averaged_weights
from muster.training.evaluation import count_split, models_predictor
from muster.training.modules import EnsembleTraining, is_finite

HeldOutResults = dict[str, float | None]
"""mIoU by member; ``None`` for one that diverged."""


@torch.no_grad()
def held_out_results(
    module: EnsembleTraining, held: Split, preprocessing: Preprocessing, device: torch.device | str
) -> HeldOutResults:
    """Evaluate every member on held-out images; the processes of a distributed run share them, and all know the result.

    Args:
        module: Its members' training goes on as if they had not been evaluated.
        held: The images.
        preprocessing: How they are shown.
        device: Where to compute.

    Returns:
        mIoU by member.

    Raises:
        DatasetError: If the images have no labelled pixel.
    """
    module.to(device).eval()
    predict = models_predictor(module.models, task_of(held.spec))
    counts = count_split(predict, held, preprocessing, device, owns=module.owns)
    if all(each.is_empty for each in counts.values()):
        task = task_of(held.spec)
        raise DatasetError(
            f"The {len(held)} training {task.holds} of dataset {held.spec.name!r} held out to choose a learning rate "
            f"or the number of steps by have no labelled {task.unit}. Give a larger held_out_fraction, another seed, "
            "or a single learning_rate and tried_stops 1."
        )
    module.train()
    # The checkpoint of a finished trial does not say which members diverged.
    return {
        name: None if name in module.diverged or not is_finite(member) else counts[name].result
        for name, member in module.models.items()
    }


class HeldOutCurve(Callback):
    """Evaluates the members at some steps of a fit, with the weights that a fit ending there would keep.

    Where weights are averaged, these are the averaged ones. What was found before an interruption is in the checkpoint.

    Attributes:
        found: mIoU of the members, by step.
    """

    def __init__(self, stops: Collection[int], evaluate: Callable[[EnsembleTraining], HeldOutResults]) -> None:
        """Say when to evaluate, and how.

        Args:
            stops: Numbers of steps that have been done.
            evaluate: Evaluates a module.
        """
        self.stops, self.evaluate = frozenset(stops), evaluate
        self.found: dict[int, HeldOutResults] = {}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002 (all of these are the hook's)
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Evaluate after a step that is one of the stops; it comes after the callback that averages."""
        step = trainer.global_step
        if step in self.stops and step not in self.found:
            with averaged_weights(trainer, pl_module):
                self.found[step] = self.evaluate(cast("EnsembleTraining", pl_module))

    def state_dict(self) -> dict[str, Any]:
        """What was found, in plain values."""
        return {"found": self.found}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was found before."""
        self.found = dict(state_dict["found"])


def stops_of(steps: int, count: int) -> tuple[int, ...]:
    """Evenly spaced numbers of steps, the last of which is all.

    Args:
        steps: Steps of the fit.
        count: How many; in a fit of fewer steps, all of them.

    Returns:
        In ascending order.
    """
    count = min(count, steps)
    return tuple(-(-steps * number // count) for number in range(1, count + 1))
