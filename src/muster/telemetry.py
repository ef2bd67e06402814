"""Libraries that report on their use are told not to, before any of them is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and what asks it: transformers, datasets
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",  # also keeps `ray start` from asking
    "WANDB_ERROR_REPORTING": "false",  # reports of crashes; runs go where their owner sends them
}
"""What each library reads, and the value that keeps it quiet."""

EVERYBODY = "DO_NOT_TRACK"
"""What several libraries read."""


def switch_off(environment: MutableMapping[str, str] | None = None) -> None:
    """Switch telemetry off wherever the user has said nothing.

    A variable that is set keeps its value, whatever that is. The one that speaks for all libraries is set only if none
    of them is set: it would go over what a user said of one.

    Args:
        environment: Variables by name; those of the process, and so of its workers, by default.

    Example:
        >>> found = {"HF_HUB_DISABLE_TELEMETRY": "0"}
        >>> switch_off(found)
        >>> found["HF_HUB_DISABLE_TELEMETRY"], found["MLFLOW_DISABLE_TELEMETRY"], "DO_NOT_TRACK" in found
        ('0', 'true', False)
    """
    found = os.environ if environment is None else environment
    if not set(QUIET) & set(found):
        found.setdefault(EVERYBODY, "true")
    for name, value in QUIET.items():
        found.setdefault(name, value)
