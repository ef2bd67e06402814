"""One Lightning fit: devices, precision, checkpoints, going on after an interruption."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, ModelCheckpoint
from pytorch_lightning.loggers import Logger

from muster.errors import ConfigError
from muster.files import remove_partial
from muster.launch import launched_nodes
from muster.tasks.task import task_of
from muster.training.averaging import Averaging
from muster.training.batch_norm import SynchronisedBatchNorm
from muster.training.checkpoints import CHECKPOINT, WholeCheckpoints, require_plain
from muster.training.checks import require_shared_batches
from muster.training.cluster import cluster_environment
from muster.training.fit_data import FitData
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.plateau import HalvesRates
from muster.training.takes_crops import TakesCrops


def fit(
    module: EnsembleTraining,
    data: FitData,
    folder: Path,
    hardware: Hardware,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    after: Sequence[Callback] = (),
    until: int | None = None,
) -> pl.Trainer:
    """Train to the last step, from the checkpoint in ``folder`` if there is one.

    Args:
        module: What to train.
        data: What to train it on.
        folder: Where checkpoints go.
        hardware: What to compute on.
        callbacks: The callbacks of the caller.
        loggers: The loggers of the caller.
        after: Callbacks that come after those of this function, e.g. after weights were averaged.
        until: Stop after so many steps; rates fall as if all steps of the settings came. ``None`` takes all steps. A
            checkpoint is there in any case then, to go on from.

    Returns:
        The trainer, done.

    Raises:
        ConfigError: If the checkpoint is damaged or holds objects, the devices do not divide the batch, a member cannot
            take the crops, a loss is none for the task, or memory is short.
        TrainingDivergedError: If the loss became infinite or NaN; the checkpoint is deleted, as it may be spoilt.
        KeyboardInterrupt: After Ctrl-C.
    """
    settings = module.settings
    task_of(data.train.spec).require_losses(settings.loss, settings.added_loss, settings.class_weighting)
    data.channels_last, module.compiles = hardware.resolved_channels_last(), hardware.resolved_compile()
    module.class_weights = data.class_weights(module.num_classes)
    hardware.require_devices(hardware.resolved_devices())
    require_shared_batches(settings, hardware.processes())
    checkpoint = folder / CHECKPOINT
    device, devices, nodes = hardware.resolved_device(), hardware.resolved_devices(), launched_nodes()
    keep = ModelCheckpoint(
        folder, Path(CHECKPOINT).stem, every_n_train_steps=settings.checkpoint_every, enable_version_counter=False
    )
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=hardware.resolved_precision(),  # type: ignore[arg-type]  # a str there, a Literal here
        max_steps=until or module.last_step,
        max_epochs=-1,
        val_check_interval=min(data.validate_every, module.last_step),
        limit_val_batches=1.0 if data.validation is not None else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders give each process its share
        log_every_n_steps=1,  # the module says when
        callbacks=[keep, *callbacks, TakesCrops(), *_own_callbacks(module, data, hardware, checkpoint, until), *after],
        plugins=[
            WholeCheckpoints(),
            cluster_environment(),
            *([SynchronisedBatchNorm()] if devices * nodes > 1 else []),
        ],
        logger=list(loggers) or False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        with hardware.fast_products():
            _run(trainer, module, data, checkpoint)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        rows, columns = settings.crop_for(data.preprocessing.known_size)
        raise ConfigError(
            f"The training ran out of memory on {device}. A smaller batch_size ({settings.batch_size} now) or "
            f"crop_size ({rows} x {columns} now) helps."
        ) from error
    return trainer


class KeepsStep(Checkpoint):
    """Writes the checkpoint after one step, whichever steps have theirs anyway.

    It does so within the fit: callbacks may change the weights at its end.
    """

    def __init__(self, path: Path, step: int) -> None:
        """Say when and where."""
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Write it if this is the step."""
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def _own_callbacks(
    module: EnsembleTraining, data: FitData, hardware: Hardware, checkpoint: Path, until: int | None
) -> list[Callback]:
    """Those that come after whatever chooses members."""
    decay = module.settings.ema_decay
    return [
        *([ChannelsLast()] if data.channels_last else []),
        *([Averaging(decay)] if decay is not None else []),
        *([HalvesRates(data, hardware)] if module.settings.schedule == "plateau" else []),
        *([KeepsStep(checkpoint, until)] if until is not None else []),
    ]


class ChannelsLast(Callback):
    """Lays the weights of a module out as its images are; it comes after whatever chooses members."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002 (a hook's)
        """Change the layout before anything else holds the weights."""
        pl_module.to(memory_format=torch.channels_last)


def fit_steps(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    folder: Path,
    hardware: Hardware,
    steps: int,
    loggers: Sequence[Logger] = (),
    precision: str = "32-true",
    every: int | None = None,
) -> None:
    """Train a module that has nothing but steps, from the checkpoint in ``folder`` if there is one.

    Args:
        module: What to train.
        data: What to train it on.
        folder: Where checkpoints go.
        hardware: Says which devices, and how many share the fit.
        steps: When to end.
        loggers: The loggers of the caller.
        precision: By Lightning's name of it.
        every: Steps from one checkpoint to the next; by default there are about ten.

    Raises:
        ConfigError: If the checkpoint is damaged or holds objects.
        TrainingDivergedError: If the loss became infinite or NaN; the checkpoint is deleted, as it may be spoilt.
        KeyboardInterrupt: After Ctrl-C.
    """
    device = hardware.resolved_device()
    shared = hardware.processes() > 1
    keep = ModelCheckpoint(
        folder,
        Path(CHECKPOINT).stem,
        every_n_train_steps=every or max(1, steps // 10),
        enable_version_counter=False,
    )
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=hardware.resolved_devices(),
        num_nodes=launched_nodes(),
        strategy="ddp" if shared else "auto",
        precision=precision,  # type: ignore[arg-type]  # a str there, a Literal here
        max_steps=steps,
        max_epochs=-1,
        limit_val_batches=0,
        use_distributed_sampler=False,  # the loader gives each process its share
        log_every_n_steps=1,
        callbacks=[keep],
        plugins=[WholeCheckpoints(), cluster_environment(), *([SynchronisedBatchNorm()] if shared else [])],
        logger=list(loggers) or False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    _run(trainer, module, data, folder / CHECKPOINT)


def _run(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, checkpoint: Path) -> None:
    """Fit from the checkpoint on, if there is one."""
    if checkpoint.is_file():
        require_plain(checkpoint)
    remove_partial(checkpoint.parent)  # a kill while a checkpoint was written leaves one
    try:
        trainer.fit(module, data, ckpt_path=str(checkpoint) if checkpoint.is_file() else None, weights_only=True)
    except SystemExit as stop:
        if not trainer.interrupted:
            raise
        # Lightning makes a silent exit of Ctrl-C, and has the signal ignored from then on.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stop
    except TrainingDivergedError:
        checkpoint.unlink(missing_ok=True)  # it may be spoilt already
        raise


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory was short; torch has a class for that on a GPU, but only words on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
