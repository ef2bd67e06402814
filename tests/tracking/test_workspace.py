"""The definition of a W&B workspace; opening it would need the server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from wandb_workspaces.workspaces import Workspace

from muster.errors import ConfigError
from muster.report import finetuning_numbers, selection_numbers
from muster.tracking.workspace import make_workspace
from tests.report.made_up import make_result, make_selection

MEASURES = ("metrics", "xAxis", "yAxis")


def measures_in(part: Any) -> Iterator[str]:
    """Every measure that a panel shows."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in MEASURES and value:
                yield from value if isinstance(value, list) else [value]
            yield from measures_in(value)
    elif isinstance(part, list):
        for each in part:
            yield from measures_in(each)


def test_it_shows_what_runs_send() -> None:
    workspace = make_workspace("me", pool="worlds", target="harbour drive")
    panels = [panel._to_model().model_dump(by_alias=True) for part in workspace.sections for panel in part.panels]
    shown = {name.removeprefix("summary:") for name in measures_in([panel["config"] for panel in panels])} - {"_step"}
    sent = {*selection_numbers(make_selection()), *finetuning_numbers(make_result())}
    assert shown - sent == {"miou/source test", "miou/majority", "parameters"}  # these are sent by members
    assert {"miou/ensemble", "miou/B1", "beyond B1", "predicted/soft_iou_eep"} <= shown
    assert workspace.name == "muster worlds harbour drive"


def test_it_groups_and_filters_by_pool_and_target_and_survives_w_and_bs_own_format() -> None:
    before = make_workspace("me", "project", pool="worlds")
    after = Workspace._from_model(before._to_model())
    assert after.runset_settings.filters == before.runset_settings.filters == "Config(\"pool\") == 'worlds'"
    assert [group.name for group in after.runset_settings.groupby] == ["pool", "target", "job"]
    assert [section.name for section in after.sections] == [section.name for section in before.sections]
    assert [len(section.panels) for section in after.sections] == [3, 2, 2, 1, 1]
    assert make_workspace("me").runset_settings.filters == ""


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(ConfigError, match=r'pip install "muster\[workspaces\]"'):
        make_workspace("me")
