"""Checkpoints of a fit: whole or absent, of tensors and plain values, and taken up by the same fit only."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from muster.errors import ConfigError, OutputError
from muster.files import atomic_write, read_yaml, to_builtin_types, write_yaml

CHECKPOINT = "last.ckpt"
DESCRIPTION = "job.yaml"


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


def keep_checkpoint_of(folder: Path, description: Mapping[str, Any]) -> None:
    """Delete a checkpoint that was made under another description: going on from it would mix the two.

    Args:
        folder: Where :func:`fit` keeps its checkpoint; created if it is missing.
        description: Everything that the result of the fit depends on, in plain values, or what
            :func:`muster.files.to_builtin_types` makes plain.
    """
    record, plain = folder / DESCRIPTION, to_builtin_types(description)
    with suppress(ConfigError):  # a record that cannot be read describes something else
        if record.is_file() and read_yaml(record, ConfigError) == plain:
            return
    (folder / CHECKPOINT).unlink(missing_ok=True)
    write_yaml(record, plain)


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
