"""One member of a pool: a folder with weights, a card, and a sample of its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from muster.errors import ConfigError, PoolError
from muster.files import read_record, sha256_of, whole_folder, write_record
from muster.models import Segmenter, build_model
from muster.outputs import MEMBER, require_ours
from muster.pool.card import FORMAT_VERSION, Card

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
    """

    folder: Path
    card: Card

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
            PoolError: If a file is missing or the card is not valid.
        """
        missing = [name for name in (CARD, WEIGHTS) if not (folder / name).is_file()]
        if missing:
            raise PoolError(
                f"Member folder {folder} is incomplete: {' and '.join(missing)} missing. "
                "Delete the folder, or run train.py on this pool again, which trains the member anew."
            )
        return cls(folder, read_record(folder / CARD, Card, FORMAT_VERSION, PoolError))

    def problem(self) -> str | None:
        """What is wrong with the member's files, or ``None``: checksum, weights, source sample."""
        try:
            self.load_model()
            self.load_source_sample()
        except PoolError as error:
            return str(error)
        return None

    def load_model(self, device: torch.device | str = "cpu") -> Segmenter:
        """Build the model and load its weights, after comparing them with the card.

        Args:
            device: Where to put it.

        Returns:
            The model in evaluation mode.

        Raises:
            PoolError: If the weights do not have the card's checksum or do not fit its architecture, or if that is not
                known.
        """
        path = self.folder / WEIGHTS
        self.verified_checksum()
        try:
            model = build_model(self.card.architecture, len(self.card.classes))
        except ConfigError as error:
            raise PoolError(f"Member {self.name!r}: {self.folder / CARD}: {error}") from error
        try:
            model.load_state_dict(_load_tensors(path, self.name))
        except RuntimeError as error:
            raise PoolError(f"Member {self.name!r}: {path} does not fit {self.card.architecture!r}: {error}") from error
        return model.to(device).eval()

    def verified_checksum(self) -> str:
        """SHA-256 of the weights, which is that of the card.

        Raises:
            PoolError: If it is not, or the weights cannot be read.
        """
        path = self.folder / WEIGHTS
        try:
            found = sha256_of(path)
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


def _load_tensors(path: Path, member: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise PoolError(f"Member {member!r}: {path} cannot be read as safetensors: {error}") from error


def write_member(
    folder: Path,
    model: Segmenter,
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
    with whole_folder(folder) as partial:
        tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        save_file(tensors, partial / WEIGHTS)
        save_file({name: value.contiguous() for name, value in source_sample.items()}, partial / SOURCE_SAMPLE)
        card = replace(card, checksum=sha256_of(partial / WEIGHTS))
        write_record(partial / CARD, card, FORMAT_VERSION)
        if history is not None:
            history(partial / HISTORY)
    return Member(folder, card)
