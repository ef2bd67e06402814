"""The schedule plateau: held-out images are looked at every so many steps, and rates are halved by what they tell."""

from __future__ import annotations

from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from muster.data import Preprocessing, Split, as_numbers, map_views, prepared_images
from muster.errors import DatasetError
from muster.ranks import apart, rank, sum_over_ranks, world_size
from muster.tasks.task import task_of
from muster.training.averaging import averaged_weights
from muster.training.fit_data import FitData
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.optimizers import RateSchedule


class HalvesRates(Callback):
    """Looks at held-out images and tells the schedule, which remembers; it comes after the callback that averages.

    A checkpoint of a step is written after the look at that step, so a fit that goes on from it misses none.
    """

    def __init__(self, data: FitData, hardware: Hardware) -> None:
        """Say what to look at.

        Args:
            data: With the images, and how they are shown.
            hardware: What to compute on.
        """
        assert data.watched is not None  # whoever lets a user ask for the schedule holds images out
        self.held, self.preprocessing, self.hardware = data.watched, data.preprocessing, hardware

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002 (all of these are the hook's)
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Look, where it is time for it."""
        module = cast("EnsembleTraining", pl_module)
        if trainer.global_step % module.settings.validate_every:
            return
        with averaged_weights(trainer, module), self.hardware.autocast():
            losses = held_out_losses(module, self.held, self.preprocessing)
        schedule = cast("RateSchedule", module.lr_schedulers())
        schedule.watch(losses)
        rates = [module.rate_of(name) * 0.5**count for name, count in zip(module.names, schedule.halvings, strict=True)]
        told = dict(zip(module.names, zip(losses, rates, strict=True), strict=True))
        module.note(
            {f"held_out_loss/{name}": loss for name, (loss, _) in told.items()}
            | {f"rate/{name}": rate for name, (_, rate) in told.items()}
        )


@torch.no_grad()
def held_out_losses(module: EnsembleTraining, held: Split, preprocessing: Preprocessing) -> list[float]:
    """The mean over held-out images of each member's training loss on the whole image.

    The processes of a distributed run share the images, and all know the result, which is the same for any number.

    Args:
        module: Its members' training goes on as if they had not been evaluated.
        held: The images.
        preprocessing: How they are shown.

    Returns:
        By member; images without a truth are left out.

    Raises:
        DatasetError: If none has a truth.
    """
    task = task_of(held.spec)
    losses = torch.zeros(len(module.names) + 1, len(held), dtype=torch.float64)  # the last row: whether it is known
    mine = range(rank(), len(held), world_size())
    module.eval()
    with apart():  # of a loss that the processes share, each would have to do as many steps as the others
        for batch in prepared_images(held, preprocessing, 1, indices=mine, owns=module.owns) if mine else ():
            truth = as_numbers(batch.masks[0])[None].to(module.device)
            if bool(task.is_known(truth).any()):
                images = map_views(batch.images, lambda view: view.to(module.device))
                found = [loss.double().cpu() for loss in module.losses_on(images, truth)]
                losses[:, batch.indices[0]] = torch.stack([*found, torch.ones((), dtype=torch.float64)])
    module.train()
    losses = sum_over_ranks(losses, module.device)
    known = losses[-1] > 0
    if not bool(known.any()):
        raise DatasetError(
            f"The {len(held)} training {held.spec.holds} of dataset {held.spec.name!r} held out for schedule plateau "
            "have nothing labelled. Hold more out, give another seed, or another schedule."
        )
    return [float(value) for value in losses[:-1, known].mean(dim=1)]
