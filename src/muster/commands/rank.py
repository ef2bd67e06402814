"""The command ``muster rank``: which of some models suits a dataset best, without fine-tuning any."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from muster.commands.spread import Spread
from muster.commands.words import Asked
from muster.data import DataSettings
from muster.files import write_table
from muster.launch import only_helps
from muster.remote import sent_back
from muster.selection.rank import PROBE_OPTIONS, RANK_METRICS, rank
from muster.selection.settings import ProbeSettings

_IDLE = tuple(field.name for field in fields(ProbeSettings) if field.name not in PROBE_OPTIONS)


def rank_models(
    target: str,
    models: tuple[str, ...],
    by: tuple[str, ...] = RANK_METRICS,
    table: Path | None = None,
    probe: Spread[ProbeSettings] = ProbeSettings(),  # noqa: B008 (frozen)
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Rank single models for a dataset; muster.rank in Python takes modules and entries of a pool plan as well.

    Args:
        target: A folder, or worlds/NAME. Only its training images are looked at.
        models: Folders of pools, of members, or that save_pretrained of transformers or SMP wrote, also in an object
            store (s3://...); names on a hub.
        by: What to rank by, first, and what to show beside: linear_probe (accuracy of a linear classifier on the
            features, on images that it was not fitted on), or metrics of single models of docs/metrics.md.
        table: Keep the table as a CSV file.
        probe: How models look at the dataset.
        data: Where datasets lie.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0.

    Raises:
        ConfigError: If a metric is none, or no model gives numbers.
    """
    asked.require_effect(_IDLE, "on a ranking of single models")
    if only_helps():
        return 0
    options = {field.name: getattr(probe, field.name) for field in fields(probe) if field.name in PROBE_OPTIONS}
    found = rank(models, target, by, data_root=data.data_root, **options)
    if table is not None:
        with sent_back(table.parent):
            write_table(table, found, index=True)
    return 0
