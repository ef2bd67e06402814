"""SimCLR as what Lightning trains.

Axis names: ``b`` images of one process, ``channels`` of a projection, ``side`` rows and columns of a view.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from muster.extras import needs_extra
from muster.models import Body
from muster.models.segmenter import embeddings_of
from muster.ranks import mean_over_ranks
from muster.training.modules import TrainingDivergedError, is_finite
from muster.training.optimizers import with_schedule
from muster.training.simclr.settings import SimCLRSettings

CURVE = "loss/simclr"

HISTORY_POINTS = 200
"""Points of the curve, about."""

_MOMENTUM = 0.9
_NEEDS = "Pre-training with SimCLR needs lightly"


class SimCLR(pl.LightningModule):
    """A body and the projection that the loss looks at.

    Attributes:
        body: What is pre-trained.
        projection: A perceptron on the mean of the body's last stage; thrown away at the end.
        settings: How.
        history: Points of the curve as (step, loss).
    """

    def __init__(self, body: Body, settings: SimCLRSettings) -> None:
        """Put a projection, with weights from the settings' seed, on a body.

        Args:
            body: It is changed.
            settings: See the class.

        Raises:
            ConfigError: If lightly is not installed.
        """
        super().__init__()
        heads = needs_extra("lightly.models.modules.heads", "pretrain", _NEEDS)
        losses = needs_extra("lightly.loss.ntx_ent_loss", "pretrain", _NEEDS)
        self.body, self.settings = body, settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.projection: nn.Module = heads.SimCLRProjectionHead(
                body.feature_channels, settings.hidden_channels, settings.projection_channels
            )
        self.loss: nn.Module = losses.NTXentLoss(settings.temperature, gather_distributed=True)
        self.history: list[tuple[int, float]] = []
        self._every = max(1, settings.steps // HISTORY_POINTS)

    def forward(self, images: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b channels"]:
        """Projections of normalised images."""
        (embedding,) = embeddings_of(self.body(images)[-1:], None)
        projected: Tensor = self.projection(embedding)
        return projected

    def contrast(
        self, views: UInt8[Tensor, "b 2 3 side side"], mean: Float[Tensor, "b 3 1 1"], std: Float[Tensor, "b 3 1 1"]
    ) -> Float[Tensor, ""]:
        """The loss of some images: minus the logarithm of how surely a view finds the other view of its image.

        All other views are what it is told from, those of other processes of a distributed run included.

        Args:
            views: Two of each image.
            mean: Of the channels of its dataset, from 0 to 1.
            std: Likewise.

        Returns:
            Its mean over the views; smaller is better.
        """
        images = (views.float() / 255 - mean[:, None]) / std[:, None]
        # One pass over all of them, so that batch normalisation cannot tell first views from second ones.
        projected = self(images.transpose(0, 1).flatten(0, 1))
        with torch.autocast(self.device.type, enabled=False):  # a temperature of 0.1 makes errors ten times as large
            first, second = projected.float().chunk(2)
            loss: Tensor = self.loss(first, second)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """One batch."""
        loss = self.contrast(*batch)
        if self.global_step % self._every == 0 or self.global_step + 1 == self.settings.steps:
            self._record(mean_over_ranks(loss.detach().cpu(), self.device).item())
        return loss

    def _record(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise TrainingDivergedError(
                f"The loss of SimCLR is {loss} at step {self.global_step}. A smaller training.learning_rate than "
                f"{self.settings.rate} usually helps."
            )
        self.history.append((self.global_step, loss))
        self.log_dict({CURVE: loss, "step": float(self.global_step)})  # Lightning takes "step" for the axis

    def on_train_end(self) -> None:
        """Refuse weights that the very last step spoilt: no loss was computed with them."""
        if not is_finite(self):
            self._record(float("nan"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curve, as plain values."""
        checkpoint["muster_history"] = [list(point) for point in self.history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curve up again."""
        self.history = [(int(step), float(loss)) for step, loss in checkpoint["muster_history"]]

    def configure_optimizers(self) -> Any:
        """LARS or AdamW; the rate rises in a line and falls as a cosine."""
        chosen = self.settings
        return with_schedule(self._optimizer(), "cosine", chosen.steps, chosen.warmup_steps)

    def _optimizer(self) -> Optimizer:
        chosen = self.settings
        learned = [value for value in self.parameters() if value.requires_grad]
        groups = [
            {"params": [value for value in learned if value.ndim > 1], "weight_decay": chosen.weight_decay},
            {"params": [value for value in learned if value.ndim <= 1], "weight_decay": 0.0},
        ]
        if chosen.optimizer == "adamw":
            return AdamW(groups, chosen.rate)
        lars = needs_extra("lightly.utils.lars", "pretrain", _NEEDS)
        made: Optimizer = lars.LARS(groups, chosen.rate, momentum=_MOMENTUM)
        return made
