"""Choose the members of an ensemble before its training starts."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch.utils.hooks import RemovableHandle

from muster.data import Dataset
from muster.errors import SelectionError
from muster.models import SourceModel
from muster.output_kinds import SELECTION
from muster.outputs import held, require_apart
from muster.pool import Pool
from muster.selection.candidates import leading_candidates, members_of
from muster.selection.member_scoring import Progress
from muster.selection.record import Selection, SelectionRecord, require_replaceable
from muster.selection.run import select
from muster.selection.settings import SelectionSettings
from muster.training.finetuning import load_members, with_baseline


class EnsembleModule(Protocol):
    """What the callback asks of the module that is trained."""

    members_chosen: bool

    def set_members(self, names: Sequence[str], models: Sequence[SourceModel]) -> None:
        """Take the members, each to get a new head for the target's classes."""


class EnsembleSelection(pl.Callback):
    """Hands an ensemble module without members those that :func:`muster.select` chooses.

    It does so in the ``setup`` hook: optimizers, the wrapping for distributed training and the loading of a checkpoint
    all come later and see the members. A module that has its members already is left alone. A fit that is resumed from
    a checkpoint takes the members that the checkpoint names and chooses nothing, even if the pool has changed since.

    Lightning tells no callback which checkpoint a fit resumes from before that checkpoint is loaded, so whoever resumes
    says it here too: ``EnsembleSelection(..., checkpoint=path)`` and ``trainer.fit(..., ckpt_path=path)``. One without
    the other is an error.

    Attributes:
        record: The selection in plain values, once there is one.
    """

    def __init__(
        self,
        pool: Pool | Path | str,
        target: Dataset | str,
        folder: Path | str,
        settings: SelectionSettings | None = None,
        *,
        baseline: bool = False,
        candidates: int = 1,
        checkpoint: Path | str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        """Say what to choose from, and for what.

        Args:
            pool: A pool, or its folder.
            target: The dataset, or what :func:`muster.data.open_dataset` opens.
            folder: A folder of its own for the selection; rank zero writes it.
            settings: How to choose, as :func:`muster.select` takes it; its device ``"auto"`` is the Trainer's.
            baseline: Also hand over the single best member by LEEP (B1), to be fine-tuned likewise for comparison.
            candidates: Hand over the members of so many leading candidates, to be compared by fine-tuning (see
                :mod:`muster.training.confirmation`); the record names the best of them by the metric.
            checkpoint: What the fit resumes from. If there is no such file yet, the fit is a new one.
            progress: Told how far the choice is.
            options: Single options by name, in place of those in ``settings``.

        Raises:
            ConfigError: If an option is none, or out of range.
            SelectionError: If the folder holds something that is no selection, or lies in the pool or the target.
        """
        super().__init__()
        self.pool, self.target, self.folder = pool, target, Path(folder)
        self.settings = (settings or SelectionSettings()).having(options)
        self.baseline, self.candidates, self.progress = baseline, candidates, progress
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.record: SelectionRecord | None = None
        self._promised: Path | None = None
        self._refusal: RemovableHandle | None = None
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
            SelectionError: If nothing can be chosen, another process is at work on the folder, or the Trainer has a
                checkpoint that was not given here.
        """
        module, self._promised = cast("EnsembleModule", pl_module), None
        if stage != "fit" or module.members_chosen:
            return
        pool = self.pool if isinstance(self.pool, Pool) else Pool.open(self.pool)
        if self.checkpoint is not None and self.checkpoint.is_file():
            self.record = recorded_selection(self.checkpoint, self.state_key)
            self._promised = self.checkpoint
        else:
            _require_no_checkpoint(trainer)
            self.record = self._choose(trainer, pool)
            # A checkpoint that is loaded all the same belongs to other members; torch would only name other weights.
            self._refusal = pl_module.register_load_state_dict_pre_hook(_refuse_checkpoint)  # type: ignore[no-untyped-call]
        names = with_baseline(self.record) if self.baseline else self.record.members
        if self.candidates > 1:
            names = tuple(sorted({*names, *self._members_of_leading()}))
        module.set_members(names, load_members(pool.used_for(self.record.spec), names))

    def _members_of_leading(self) -> tuple[str, ...]:
        """Members of the leading candidates; the record of a checkpoint names only the best, so the folder is read."""
        selection = self.record if isinstance(self.record, Selection) else Selection.load(self.folder)
        return members_of(leading_candidates(selection, self.candidates))

    def _choose(self, trainer: pl.Trainer, pool: Pool) -> SelectionRecord:
        given = self.settings
        settings = replace(given, device=str(trainer.strategy.root_device)) if given.device == "auto" else given
        # Locked before hours go into it, by the one process that writes.
        locks = held(self.folder, SELECTION, SelectionError) if trainer.is_global_zero else nullcontext()
        with locks:
            selection = select(pool, self.target, settings, progress=self.progress)
            if trainer.is_global_zero:
                selection.save(self.folder)
        return selection

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 (Lightning's)
        """Check that a fit whose members are those of a checkpoint has resumed from it.

        Args:
            trainer: The Trainer.
            pl_module: The module.

        Raises:
            SelectionError: If it has not.
        """
        self._forget_refusal()
        if self._promised is not None:
            raise SelectionError(
                f"The members are those of the checkpoint {self._promised}, but the fit does not resume from it. Give "
                "it to the Trainer too: trainer.fit(..., ckpt_path=...); or leave it out here to choose anew."
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Let the module load whatever it is told to, once the fit is over.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            stage: The stage of the Trainer.
        """
        self._forget_refusal()

    def _forget_refusal(self) -> None:
        if self._refusal is not None:
            self._refusal.remove()
            self._refusal = None

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
        self.record, self._promised = record, None


def _require_no_checkpoint(trainer: pl.Trainer) -> None:
    """A path that the Trainer shows now was set by its user, or is left over from a fit before."""
    if trainer.ckpt_path is not None:
        raise SelectionError(
            f"trainer.ckpt_path is {trainer.ckpt_path}, and whether this fit resumes from it is not known yet. To "
            "resume, say so with EnsembleSelection(..., checkpoint=...) and trainer.fit(..., ckpt_path=...); to choose "
            "anew, set trainer.ckpt_path = None first."
        )


def _refuse_checkpoint(*_: object) -> None:
    raise SelectionError(
        "This fit resumes from a checkpoint that EnsembleSelection was not given, so members were chosen anew. Give it "
        "the same path, EnsembleSelection(..., checkpoint=...), and start with a module without members."
    )


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
        reason = str(error).splitlines()[0]
        raise SelectionError(f"Cannot resume from {checkpoint}: {reason}. Give a checkpoint of this fit.") from error
    state = content.get("callbacks", {}).get(state_key)
    if not state:
        raise SelectionError(
            f"Cannot resume from {checkpoint}: it does not say which members were chosen. "
            "Give a checkpoint of a fit with EnsembleSelection, or start anew without a checkpoint."
        )
    return SelectionRecord.from_mapping(state, str(checkpoint))
