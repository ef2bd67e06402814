"""A check of the members of a fit that is made when they are known, whoever chose them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from muster.data import ImageSize
from muster.training.checks import require_trainable


class TakesCrops(Callback):
    """Checks the members of a fit right before its first step, whoever chose them."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse members that cannot take the crops.

        Args:
            trainer: Its data module knows the images.
            pl_module: An :class:`EnsembleTraining`.

        Raises:
            ConfigError: See :func:`muster.training.checks.require_trainable`.
        """
        module: Any = pl_module
        image_size: ImageSize = trainer.datamodule.preprocessing.known_size  # type: ignore[attr-defined]
        models = dict(zip(module.names, module.members, strict=True))
        require_trainable(models, module.settings, image_size)
