"""muster: predict which few of your trained segmentation models, fine-tuned together, will do best on a new dataset.

Importing this does no work: what is named below is loaded when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from muster.telemetry import switch_off

if TYPE_CHECKING:
    from muster.selection.rank import rank
    from muster.selection.record import Selection
    from muster.selection.run import select
    from muster.training import load_ensemble
    from muster.training.pretrained import from_pretrained, push_to_hub, save_pretrained

__all__ = [
    "Selection",
    "__version__",
    "from_pretrained",
    "load_ensemble",
    "push_to_hub",
    "rank",
    "save_pretrained",
    "select",
]

switch_off()  # before anything that would report on its use is imported

try:
    __version__ = version("muster")
except PackageNotFoundError:  # read from a source tree that was never installed
    __version__ = "unknown"

_HOMES = {
    "Selection": "muster.selection.record",
    "from_pretrained": "muster.training.pretrained",
    "load_ensemble": "muster.training",
    "push_to_hub": "muster.training.pretrained",
    "rank": "muster.selection.rank",
    "save_pretrained": "muster.training.pretrained",
    "select": "muster.selection.run",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'muster' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
