"""Choose the members of an ensemble before its training starts."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, Unpack, cast

import pytorch_lightning as pl
import torch

from muster.data import Dataset
from muster.errors import SelectionError
from muster.models import Segmenter
from muster.outputs import SELECTION, held, require_apart
from muster.pool import Pool
from muster.selection.record import SelectionRecord, require_replaceable
from muster.selection.run import SelectOptions, select
from muster.training.finetuning import load_members, with_baseline


class EnsembleModule(Protocol):
    """What the callback asks of the module that is trained."""

    members_chosen: bool

    def set_members(self, names: Sequence[str], models: Sequence[Segmenter]) -> None:
        """Take the members, each to get a new head for the target's classes."""


class EnsembleSelection(pl.Callback):
    """Hands an ensemble module without members those that :func:`muster.select` chooses.

    It does so in the ``setup`` hook: optimizers, the wrapping for distributed training and the loading of a checkpoint
    all come later and see the members. A module that has its members already is left alone. A fit that is resumed from
    a checkpoint takes the members that the checkpoint names and chooses nothing, even if the pool has changed since.

    Attributes:
        record: The selection in plain values, once there is one.
    """

    def __init__(
        self,
        pool: Pool | Path | str,
        target: Dataset | str,
        folder: Path | str,
        baseline: bool = False,
        **options: Unpack[SelectOptions],
    ) -> None:
        """Say what to choose from, and for what.

        Args:
            pool: A pool, or its folder.
            target: The dataset, or what :func:`muster.data.open_dataset` opens.
            folder: A folder of its own for the selection; rank zero writes it.
            baseline: Also hand over the single best member by LEEP (B1), to be fine-tuned likewise for comparison.
            options: Options of :func:`muster.select`; the device is the Trainer's unless one is named.

        Raises:
            SelectionError: If the folder holds something that is no selection, or lies in the pool or the target.
        """
        super().__init__()
        self.pool, self.target, self.folder, self.options = pool, target, Path(folder), options
        self.baseline = baseline
        self.record: SelectionRecord | None = None
        require_replaceable(self.folder)
        read = {
            "the pool": pool.folder if isinstance(pool, Pool) else pool,
            "the target": target.reference if isinstance(target, Dataset) else target,
        }
        require_apart(self.folder, read, "The folder", SelectionError)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Choose, or look up what was chosen, and hand the members over.

        Args:
            trainer: The Trainer; its process group, if any, is up already.
            pl_module: An :class:`EnsembleModule`.
            stage: Only ``"fit"`` matters.

        Raises:
            SelectionError: If nothing can be chosen, or another process is at work on the folder.
        """
        module = cast("EnsembleModule", pl_module)
        if stage != "fit" or module.members_chosen:
            return
        pool = self.pool if isinstance(self.pool, Pool) else Pool.open(self.pool)
        checkpoint = _checkpoint_to_resume(trainer)
        if checkpoint is not None:
            self.record = recorded_selection(checkpoint, self.state_key)
        else:
            options = SelectOptions(device=trainer.strategy.root_device)
            options.update(self.options)
            # Locked before hours go into it, by the one process that writes.
            locks = held(self.folder, SELECTION, SelectionError) if trainer.is_global_zero else nullcontext()
            with locks:
                selection = select(pool, self.target, **options)
                if trainer.is_global_zero:
                    selection.save(self.folder)
            self.record = selection
        names = with_baseline(self.record) if self.baseline else self.record.members
        module.set_members(names, load_members(pool, names))

    def state_dict(self) -> dict[str, Any]:
        """The selection in plain values, for the checkpoint."""
        return {} if self.record is None else self.record.to_mapping()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read back what :meth:`state_dict` gave.

        Raises:
            SelectionError: If it names other members than those that are being trained.
        """
        record = SelectionRecord.from_mapping(state_dict, "the checkpoint")
        if self.record is not None and self.record.members != record.members:
            raise SelectionError(
                f"The checkpoint belongs to the ensemble of {', '.join(record.members)}, but this fit has "
                f"{', '.join(self.record.members)}. Resume with a new callback and a module without members."
            )
        self.record = record


def _checkpoint_to_resume(trainer: pl.Trainer) -> Path | None:
    """The checkpoint that this fit continues from, if any."""
    path = trainer.ckpt_path
    # Lightning sets `trainer.ckpt_path` only after the setup hooks (unless the user did), and may still show that of an
    # earlier fit. Until then the path is an argument of a call to the Trainer that is under way, so it is looked up
    # there; where it cannot be, `load_state_dict` refuses a fit that chose other members than its checkpoint has.
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_locals.get("self") is trainer and "ckpt_path" in frame.f_locals:
            path = frame.f_locals["ckpt_path"]
            break
        frame = frame.f_back
    return None if path is None else Path(path)


def recorded_selection(checkpoint: Path, state_key: str) -> SelectionRecord:
    """The selection that a checkpoint was trained with.

    Args:
        checkpoint: Written by a Trainer with :class:`EnsembleSelection`. Objects in it are refused, not run.
        state_key: Under which the callback's state is kept.

    Returns:
        The record.

    Raises:
        SelectionError: If the checkpoint cannot be read, or names no members.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        said = str(error).splitlines()[0]
        raise SelectionError(f"Cannot resume from {checkpoint}: {said}. Give a checkpoint of this fit.") from error
    state = content.get("callbacks", {}).get(state_key)
    if not state:
        raise SelectionError(
            f"Cannot resume from {checkpoint}: it does not say which members were chosen. "
            "Give a checkpoint of a fit with EnsembleSelection, or start anew without a checkpoint."
        )
    return SelectionRecord.from_mapping(state, str(checkpoint))
