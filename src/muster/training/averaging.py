"""An exponential moving average of the weights, which evaluation sees and which is kept in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from muster.training.modules import EnsembleTraining


def averaging_decay(decay: float, updates: int) -> float:
    """Share of the average that an update keeps.

    Args:
        decay: Its limit.
        updates: Number of weights that the average is made of already.

    Returns:
        Less at the beginning: with the limit from the first step on, the average of a short fit would consist of
        little but the weights that it began with. The form (1 + n) / (10 + n) is TensorFlow's and timm's.
    """
    return min(decay, (1 + updates) / (10 + updates))


class Averaging(WeightAveraging):
    """Lightning's weight averaging with a decay that grows; statistics of batch normalisations are averaged as well.

    A checkpoint holds the average and the current weights, so a fit that is taken up again goes on exactly. A fit that
    was finished before also ends with the average, which Lightning's own callback leaves out.
    """

    def __init__(self, decay: float) -> None:
        """Average nothing yet.

        Args:
            decay: The limit of the decay.
        """

        def average(averaged: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
            """All tensors of one type at once: a thousand small ones one by one took longer than the step itself."""
            if not averaged[0].is_floating_point():  # how many batches a normalisation has seen
                torch._foreach_copy_(averaged, current)
                return
            assert self._average_model is not None
            # The number that is handed in is on the GPU, which would have to wait.
            updates = int(self._average_model.n_averaged)
            # where both are equal, nothing moves
            torch._foreach_lerp_(averaged, current, 1 - averaging_decay(decay, updates))

        super().__init__(multi_avg_fn=average)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 (a hook's)
        """Follow the weights to the device of the fit; the number of updates stays here, as it is asked for at each."""
        assert self._average_model is not None
        updates = self._average_model.n_averaged.cpu()
        self._average_model.to(pl_module.device)
        self._average_model.n_averaged = updates

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 (a hook's)
        """Hand the average over, also where no step was left to do."""
        self._copy_average_to_current(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average; a member whose training ends with this step takes its average over, and both stay as they are."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        assert self._average_model is not None
        module, averaged = cast("EnsembleTraining", pl_module), cast("EnsembleTraining", self._average_model.module)
        for place, name in enumerate(module.names):
            if module.stops.get(name) == trainer.global_step:
                module.members[place].load_state_dict(averaged.members[place].state_dict())

    @contextmanager
    def averaged(self, module: pl.LightningModule) -> Iterator[None]:
        """Within the block the module has the averaged weights."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)


def averaged_weights(trainer: pl.Trainer, module: pl.LightningModule) -> AbstractContextManager[None]:
    """Give a module its averaged weights within a block of a fit, if its weights are averaged at all.

    Args:
        trainer: Of the fit.
        module: What is trained.
    """
    found = next((callback for callback in trainer.callbacks if isinstance(callback, Averaging)), None)  # type: ignore[attr-defined]
    return nullcontext() if found is None else found.averaged(module)
