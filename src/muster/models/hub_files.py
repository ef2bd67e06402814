"""Models by path or by name on a hub: the files that are wanted, in a folder on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from muster.errors import ConfigError


def local_or_hub(model: str, files: Sequence[str]) -> Path:
    """The folder of a model.

    Args:
        model: A folder, or a name on the hub as OWNER/NAME, perhaps with ``@REVISION``.
        files: Patterns of the files that are wanted of a hub; code is never among them.

    Returns:
        The folder, or the local copy of the files.

    Raises:
        ConfigError: If it is neither, or cannot be had.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise ConfigError(
            f"model: there is no folder {path}. Give a folder, or the name of a model on a hub (OWNER/NAME)."
        )
    name, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(files)))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ConfigError(
            f"model: there is no folder {path}, and {model!r} cannot be had from the hub "
            f"({type(error).__name__}: {error})."
        ) from error


def licence_in(folder: Path) -> str:
    """The licence that a model's page names.

    Args:
        folder: A model's, perhaps with a README.md as hubs have it.

    Returns:
        For instance ``"apache-2.0"``; empty if it is not said.
    """
    try:
        head = (folder / "README.md").read_text("utf-8").split("---")
        content = yaml.safe_load(head[1]) if len(head) > 2 and not head[0].strip() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    licence = content.get("license", "") if isinstance(content, dict) else ""
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or "")
