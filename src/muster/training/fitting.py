"""One Lightning fit: data, devices, precision, checkpoints, going on after an interruption."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import TorchCheckpointIO
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from muster.data import (
    VOID,
    ChannelStatistics,
    PreparedSplit,
    Split,
    TrainingStream,
    TrainingTransform,
    make_loader,
)
from muster.errors import ConfigError, OutputError
from muster.files import atomic_write, read_yaml, remove_partial, write_yaml
from muster.limits import MOST_PROCESSES, require_whole
from muster.machine import resolve_device
from muster.training.batch_norm import SynchronisedBatchNorm
from muster.training.checks import TakesCrops, require_shared_batches
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.settings import TrainingSettings

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]

CHECKPOINT = "last.ckpt"
DESCRIPTION = "job.yaml"


@dataclass(frozen=True)
class Hardware:
    """What to compute on.

    Attributes:
        device: ``auto`` takes a GPU if there is one.
        devices: How many of them work on one fit together (distributed data parallel).
        precision: ``auto`` is bf16-mixed on a GPU that has it, and 32-true elsewhere.
        num_workers: Processes that read and augment images for one fit; 0 does it in the training process.
    """

    device: Device = "auto"
    devices: int = 1
    precision: Precision = "auto"
    num_workers: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number is out of its range.
        """
        require_whole("hardware.devices", self.devices, 1, MOST_PROCESSES)
        require_whole("hardware.num_workers", self.num_workers, 0, MOST_PROCESSES)

    def resolved_devices(self) -> int:
        """How many devices of this machine work on a fit: what torchrun started, if it did."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.devices))

    def processes(self) -> int:
        """How many processes share a fit, on all machines together."""
        return self.resolved_devices() * _nodes()

    def require_devices(self, devices: int) -> None:
        """Check that this machine has so many devices.

        Args:
            devices: How many a fit asks for here.

        Raises:
            ConfigError: If it has fewer, or none of the kind.
        """
        there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(self.resolved_device(), devices)
        if devices > there:
            raise ConfigError(f"hardware.devices: expected at most the {there} of this machine, but got {devices}.")

    def resolved_device(self) -> str:
        """The device type that ``auto`` means here.

        Raises:
            ConfigError: If a device is asked for that is not there.
        """
        return resolve_device(self.device, "hardware.device", ("cuda", "mps")).type

    def resolved_precision(self) -> str:
        """The precision that ``auto`` means here."""
        if self.precision != "auto":
            return self.precision
        has_bf16 = self.resolved_device() == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bf16 else "32-true"

    def resolved_options(self) -> dict[str, str]:
        """What ``auto`` means here, by the names of the options, for the record of a run."""
        return {"hardware.device": self.resolved_device(), "hardware.precision": self.resolved_precision()}


def _nodes() -> int:
    """Machines that work on a fit: set by torchrun, like LOCAL_WORLD_SIZE."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))


class FitData(pl.LightningDataModule):
    """Random crops of the training images; whole validation images.

    The crops of step t depend on the seed and t alone, so a fit that is taken up again at step t sees what it
    would have seen.
    """

    def __init__(
        self,
        train: Split,
        statistics: ChannelStatistics,
        image_size: int,
        settings: TrainingSettings,
        num_workers: int = 0,
        validation: Split | None = None,
        validate_every: int = 100,
    ) -> None:
        """Keep what the loaders are made of.

        Args:
            train: Training images.
            statistics: What to normalise with.
            image_size: Longer side of the images before random rescaling, in pixels.
            settings: Crops, batches and steps.
            num_workers: Processes that read and augment; 0 does it in the training process.
            validation: Images for the validation curve, if it is wanted.
            validate_every: Steps between two points of it.
        """
        super().__init__()
        self.train, self.statistics, self.image_size, self.settings = train, statistics, image_size, settings
        self.num_workers, self.validation, self.validate_every = num_workers, validation, validate_every

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The steps that are left, this process's share of each."""
        chosen = self.settings
        transform = TrainingTransform(
            self.statistics, self.image_size, chosen.crop_for(self.image_size), chosen.scale_range
        )
        stream = TrainingStream(self.train, transform, chosen.steps, chosen.batch_size, chosen.seed)
        trainer = self.trainer
        assert trainer is not None  # Lightning sets it before it asks for loaders
        return make_loader(
            stream, chosen.batch_size, trainer.global_step, trainer.global_rank, trainer.world_size, self.num_workers
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[DataLoader[tuple[Tensor, Tensor]]]:
        """Whole images one by one, because each has its own size; this process's share of them."""
        trainer = self.trainer
        if self.validation is None or trainer is None:
            return []
        images = _ValidationShare(
            self.validation, self.statistics, self.image_size, trainer.global_rank, trainer.world_size
        )
        return DataLoader(images, batch_size=1, collate_fn=_one_image, num_workers=self.num_workers)


class _ValidationShare(Dataset[tuple[Tensor, Tensor]]):
    """One process's share of the validation images: as many items in each process, or Lightning's loops part ways.

    Where there are not enough images, the last item is an image again with nothing but void to be scored.
    """

    def __init__(
        self, split: Split, statistics: ChannelStatistics, image_size: int, rank: int, world_size: int
    ) -> None:
        self.places = range(rank, -(-len(split) // world_size) * world_size, world_size)
        self.images = PreparedSplit(split, statistics, image_size)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        place, count = self.places[position], len(self.images)
        _, image, mask = self.images[place % count]
        return image, mask.long() if place < count else torch.full_like(mask, VOID).long()


def _one_image(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    ((image, mask),) = items
    return image[None], mask[None]


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all.

    Lightning's own are first written to the system's temporary folder, and moved: where that is another file system,
    moving is copying, and a kill in the middle leaves half a file.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ARG002 (Lightning's signature)
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning collected.
            path: A local path.
            storage_options: Not used.

        Raises:
            OutputError: If it cannot be written; the checkpoint before stays.
        """
        with atomic_write(Path(path)) as partial:
            try:
                torch.save(checkpoint, partial)
            except RuntimeError as error:  # torch's word for a full disk, with the places of its own code
                raise OutputError(
                    f"{path} cannot be written.", "the disk is full, or a file may not be so long"
                ) from error


def keep_checkpoint_of(folder: Path, description: dict[str, Any]) -> None:
    """Delete a checkpoint that was made under another description: going on from it would mix the two.

    Args:
        folder: Where :func:`fit` keeps its checkpoint; created if it is missing.
        description: Everything that the result of the fit depends on, in plain values.
    """
    record = folder / DESCRIPTION
    with suppress(ConfigError):  # a record that cannot be read describes something else
        if record.is_file() and read_yaml(record, ConfigError) == description:
            return
    (folder / CHECKPOINT).unlink(missing_ok=True)
    write_yaml(record, description)


def require_plain(checkpoint: Path) -> None:
    """Check that a checkpoint can be read, and holds tensors and plain values only.

    Args:
        checkpoint: The file.

    Raises:
        ConfigError: If it is damaged, or holds an object; that is refused, not run.
    """
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(
            f"{checkpoint} is no checkpoint of tensors and plain values ({type(error).__name__}), and is not opened "
            "otherwise, as that could run code. Delete it to begin anew."
        ) from error


def fit(
    module: EnsembleTraining,
    data: FitData,
    folder: Path,
    hardware: Hardware,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> pl.Trainer:
    """Train to the last step, from the checkpoint in ``folder`` if there is one.

    Args:
        module: What to train.
        data: What to train it on.
        folder: Where checkpoints go.
        hardware: What to compute on.
        callbacks: Of the caller.
        loggers: Of the caller.

    Returns:
        The trainer, done.

    Raises:
        ConfigError: If the checkpoint is damaged or holds objects, the devices do not divide the batch, a member cannot
            take the crops, or memory is short.
        TrainingDivergedError: If the loss became infinite or NaN; the checkpoint is deleted, as it may be spoilt.
        KeyboardInterrupt: After Ctrl-C.
    """
    settings = module.settings
    hardware.require_devices(hardware.resolved_devices())
    require_shared_batches(settings, hardware.processes())
    checkpoint = folder / CHECKPOINT
    device, devices, nodes = hardware.resolved_device(), hardware.resolved_devices(), _nodes()
    keep = ModelCheckpoint(
        folder, Path(CHECKPOINT).stem, every_n_train_steps=settings.checkpoint_every, enable_version_counter=False
    )
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=hardware.resolved_precision(),  # type: ignore[arg-type]  # a str there, a Literal here
        max_steps=settings.steps,
        max_epochs=-1,
        val_check_interval=min(data.validate_every, settings.steps),
        limit_val_batches=1.0 if data.validation is not None else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders give each process its share
        log_every_n_steps=1,  # the module says when
        callbacks=[keep, *callbacks, TakesCrops()],
        plugins=[WholeCheckpoints(), *([SynchronisedBatchNorm()] if devices * nodes > 1 else [])],
        logger=list(loggers) or False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        _run(trainer, module, data, checkpoint)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise ConfigError(
            f"The training ran out of memory on {device}. A smaller batch_size ({settings.batch_size} now) or "
            f"crop_size ({settings.crop_for(data.image_size)} now) helps."
        ) from error
    return trainer


def fit_alone(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    folder: Path,
    hardware: Hardware,
    steps: int,
    loggers: Sequence[Logger] = (),
) -> None:
    """Train something small in this process on one device, from the checkpoint in ``folder`` if there is one.

    Args:
        module: What to train.
        data: What to train it on.
        folder: Where checkpoints go.
        hardware: Says which kind of device.
        steps: When to end. There are about ten checkpoints.
        loggers: Of the caller.

    Raises:
        ConfigError: If the checkpoint is damaged or holds objects.
        TrainingDivergedError: If the loss became infinite or NaN; the checkpoint is deleted, as it may be spoilt.
        KeyboardInterrupt: After Ctrl-C.
    """
    device = hardware.resolved_device()
    every = max(1, steps // 10)
    keep = ModelCheckpoint(folder, Path(CHECKPOINT).stem, every_n_train_steps=every, enable_version_counter=False)
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=1,
        precision="32-true",
        max_steps=steps,
        max_epochs=-1,
        limit_val_batches=0,
        log_every_n_steps=1,
        callbacks=[keep],
        plugins=[WholeCheckpoints()],
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
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in said
