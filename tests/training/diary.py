"""A callback that writes down what a fit does to the weights."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor


class Diary(pl.Callback):
    """Writes down the weights after every step; breaks off before one of them, but not in a trial."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.stop_at = stop_at

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.stop_at and not pl_module.trial:
            raise InterruptedError

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.weights.append({name: value.clone() for name, value in pl_module.state_dict().items()})
