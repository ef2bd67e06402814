"""What a command takes when it is not told: the newest result of the one before it."""

from __future__ import annotations

from pathlib import Path

from muster.commands.program import short_name
from muster.errors import ConfigError
from muster.selection.record import RECORD
from muster.training.run_files import ENSEMBLE

SELECTIONS = Path("runs") / "selections"
FINETUNINGS = Path("runs") / "finetunings"


def newest_selection() -> Path:
    """The selection below :data:`SELECTIONS` that was written last.

    Raises:
        ConfigError: If there is none.
    """
    return _newest(SELECTIONS, RECORD, "selection", "select")


def newest_ensemble() -> Path:
    """The run below :data:`FINETUNINGS` whose ensemble was written last.

    Raises:
        ConfigError: If there is none.
    """
    return _newest(FINETUNINGS, f"{ENSEMBLE}/ensemble.yaml", "ensemble", "finetune")


def _newest(parent: Path, marker: str, what: str, command: str) -> Path:
    """The folder below ``parent`` whose marker file was written last."""
    # A leading dot is what an interrupted write leaves behind.
    found = sorted(parent.glob(f"[!.]*/{marker}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(
            f"There is no {what} below {parent} yet. Run {short_name(command)} first, or say which to take."
        )
    return parent / found[-1].relative_to(parent).parts[0]
