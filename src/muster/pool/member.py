"""One member of a pool: a folder with weights, a card, and a sample of its source."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from muster.data import DatasetSpec, ImageSize
from muster.errors import ConfigError, PoolError, UnfitMemberError
from muster.files import atomic_folder, sha256_of, sha256_once
from muster.model_page import PAGE
from muster.models import SourceModel, rebuild
from muster.models.tensors import write_tensors
from muster.output_kinds import MEMBER
from muster.outputs import require_ours
from muster.pool.card import FORMAT_VERSION, Card
from muster.pool.page import member_page
from muster.records import read_record, write_record
from muster.tasks.task import task_of
from muster.user_files import require_regular

WEIGHTS = "model.safetensors"
CARD = "card.yaml"
SOURCE_SAMPLE = "source_sample.safetensors"
HISTORY = "history.csv"


@dataclass(frozen=True)
class Member:
    """A trained source model on disk.

    Attributes:
        folder: Where it lies.
        card: What is known of it.
        target: What it is to be used for, which says channels and task; ``None`` for what it was trained on.
    """

    folder: Path
    card: Card
    target: DatasetSpec | None = None

    @property
    def name(self) -> str:
        """The name on the card."""
        return self.card.name

    @classmethod
    def open(cls, folder: Path) -> Member:
        """Read the card of one member; the weights are not touched yet.

        Args:
            folder: The member's folder.

        Returns:
            The member.

        Raises:
            PoolError: If it is no folder, a file is missing, or the card is not valid.
        """
        if (fault := fault_of(folder)) != "a folder":
            raise PoolError(f"{folder} is not the folder of a member: it is {fault or 'a file'}.")
        faults = {name: fault for name in (CARD, WEIGHTS) if (fault := fault_of(folder / name))}
        if faults:
            told = " and ".join(f"{name} is {fault}" for name, fault in faults.items())
            raise PoolError(
                f"Member folder {folder} is incomplete: {told}. Put back what belongs there, readable to you, or move "
                "the folder to a place outside the pool; train.py then trains the member anew."
            )
        card = read_record(folder / CARD, Card, FORMAT_VERSION, PoolError)
        try:
            for size in (card.image_size, card.crop_size):
                _ = size is None or ImageSize.of(size)
        except ConfigError as error:
            raise PoolError(f"{folder / CARD}: {error}") from error
        for sketch in card.contents:
            if problem := sketch.problem():
                raise PoolError(f"{folder / CARD}: contents of {sketch.dataset!r}: {problem}.")
        return cls(folder, card)

    def used_for(self, spec: DatasetSpec) -> Member:
        """The same member, its network fitted to the task and the images of a target when it is loaded.

        Args:
            spec: The target.

        Returns:
            A member that raises :class:`muster.errors.UnfitMemberError` if it cannot take such images.
        """
        return replace(self, target=spec)

    def problem(self) -> str | None:
        """What is wrong with the member's files, or ``None``: card, checksum, weights, source sample."""
        try:
            model = self.load_model()
            sample = self.load_source_sample()
        except PoolError as error:
            return str(error)
        if spoilt := _not_finite(vars(self.card)):
            return f"Member {self.name!r}: {self.folder / CARD}: {', '.join(spoilt)} should be a finite number."
        for file, tensors in ((WEIGHTS, model.state_dict()), (SOURCE_SAMPLE, sample)):
            bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
            if bad:
                return (
                    f"Member {self.name!r}: {self.folder / file} holds NaN or infinity in {len(bad)} of "
                    f"{len(tensors)} tensors, e.g. {bad[0]}: its training failed. Move the folder to a place outside "
                    "the pool, and train the member again."
                )
        return None

    def load_model(self, device: torch.device | str = "cpu") -> SourceModel:
        """Build the model and load its weights, after comparing them with the card.

        Args:
            device: Where to put it.

        Returns:
            The model in evaluation mode.

        Raises:
            PoolError: If the weights do not have the card's checksum or do not fit its architecture, or if that is not
                known.
        """
        self.verified_checksum()
        return self._load_model(device)

    def load_unverified(self, device: torch.device | str = "cpu") -> SourceModel:
        """The same before the weights were compared with the card, by who does that beside what the model is run for.

        No prediction of the model may be used, or written, before :meth:`verified_checksum` has returned.

        Args:
            device: Where to put it.

        Returns:
            The model in evaluation mode.

        Raises:
            PoolError: As :meth:`load_model`, as far as it shows.
        """
        try:
            return self._load_model(device)
        except PoolError:
            self.verified_checksum()  # a damaged file is the better reason
            raise

    def _load_model(self, device: torch.device | str) -> SourceModel:
        path = self.folder / WEIGHTS
        try:
            model = rebuild(self.card.built_by, len(self.card.classes))
        except ConfigError as error:
            raise PoolError(f"Member {self.name!r}: {self.folder / CARD}: {error}") from error
        try:
            model.load_state_dict(_load_tensors(path, self.name))
        except RuntimeError as error:
            raise PoolError(f"Member {self.name!r}: {path} does not fit {self.card.architecture!r}: {error}") from error
        model.preprocessing = self.card.preprocessing
        if self.target is not None:
            model = task_of(self.target).fitted(model)
            self._adapt(model, self.target.channels)
        return model.to(device).eval()

    def _adapt(self, model: SourceModel, channels: int) -> None:
        own = model.preprocessing
        if own is not None and len(own.statistics.mean) != channels:
            raise UnfitMemberError(
                f"Member {self.name!r} has a preprocessing of its own, for images of {len(own.statistics.mean)} "
                f"channels, but these have {channels}."
            )
        try:
            model.adapt_channels(channels)
        except ConfigError as error:
            raise UnfitMemberError(f"Member {self.name!r}: {error}") from error

    def verified_checksum(self) -> str:
        """SHA-256 of the weights, which is that of the card; see :func:`muster.files.sha256_once`.

        Raises:
            PoolError: If it is not, or the weights cannot be read.
        """
        path = self.folder / WEIGHTS
        try:
            found = sha256_once(path)
        except OSError as error:
            raise PoolError(f"Member {self.name!r}: {path} cannot be read ({error.strerror}).") from error
        if found != self.card.checksum:
            raise PoolError(
                f"Member {self.name!r}: {path} does not match its card. Expected SHA-256 {self.card.checksum[:16]}..., "
                f"but got {found[:16]}.... The file was damaged or exchanged; restore it, or train the member again."
            )
        return found

    def load_source_sample(self) -> dict[str, Tensor]:
        """The sample of source images as this member sees them, see :mod:`muster.tasks.source_sample`."""
        return _load_tensors(self.folder / SOURCE_SAMPLE, self.name)


def _not_finite(values: Mapping[str, object]) -> list[str]:
    """Names of the values that are, or hold, NaN or infinity."""

    def is_finite(value: object) -> bool:
        if isinstance(value, tuple):
            return all(map(is_finite, value))
        return not isinstance(value, float) or math.isfinite(value)

    return [name for name, value in values.items() if not is_finite(value)]


def fault_of(path: Path) -> str | None:
    """What is wrong with something that should be a regular file, in words.

    Args:
        path: Where it should be.

    Returns:
        For instance ``"missing"`` or ``"a link to X, which is not there"``; ``None`` for a regular file.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114 (pathlib raises where the name is too long)
            loops = error.errno == errno.ELOOP
            return "a link in a loop of links" if loops else f"a link to {path.readlink()}, which is not there"
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        return "missing" if gone else f"not to be looked at ({error.strerror})"
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"


def _load_tensors(path: Path, member: str) -> dict[str, Tensor]:
    try:
        require_regular(path)
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise PoolError(f"Member {member!r}: {path} cannot be read as safetensors: {error}") from error


def write_member(
    folder: Path,
    model: SourceModel,
    card: Card,
    source_sample: Mapping[str, Tensor],
    history: Callable[[Path], object] | None = None,
) -> Member:
    """Put a member on disk, whole or not at all.

    Args:
        folder: Where; replaced if it exists.
        model: Its weights are written.
        card: Written with the checksum of the weights filled in.
        source_sample: Tensors to go into ``source_sample.safetensors``.
        history: Writes the course of training to the path it is given.

    Returns:
        The member as it can be opened.

    Raises:
        PoolError: If the folder holds what is no part of a member, which would be lost.
        OutputError: If it cannot be written.
    """
    require_ours(folder, MEMBER, PoolError)
    with atomic_folder(folder) as partial:
        write_tensors(model, partial / WEIGHTS)
        save_file({name: value.contiguous() for name, value in source_sample.items()}, partial / SOURCE_SAMPLE)
        card = replace(card, checksum=sha256_of(partial / WEIGHTS))
        write_record(partial / CARD, card, FORMAT_VERSION)
        (partial / PAGE).write_text(member_page(card), "utf-8")
        if history is not None:
            history(partial / HISTORY)
    return Member(folder, card)
