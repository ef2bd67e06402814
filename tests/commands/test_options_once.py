"""Every option has one home: the settings class that declares it, with its text; whoever needs it takes that class."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import muster
from muster.callbacks import EnsembleSelection
from muster.commands.cli import build_parser
from muster.commands.main import COMMANDS, start
from muster.commands.words import Options
from muster.data import DataSettings
from muster.errors import ConfigError
from muster.selection.record import Selection
from muster.selection.settings import (
    CacheSettings,
    MetricSettings,
    PredictorSettings,
    ProbeSettings,
    SearchSettings,
    SelectionSettings,
)
from muster.tracking import TrackingSettings
from muster.training.fitting import Hardware
from muster.training.settings import ComparisonSettings, HeadSettings, SourceSettings, TrainingSettings
from muster.training.simclr import SimCLRSettings
from tests.odd_inputs.bench import Bench

PARTS = (DataSettings, CacheSettings, ProbeSettings, PredictorSettings, MetricSettings, SearchSettings)
UNGROUPED = (SelectionSettings, ComparisonSettings, TrackingSettings)
GROUPED = (TrainingSettings, SourceSettings, HeadSettings, SimCLRSettings, Hardware)
CALLS = [*(command.function() for command in COMMANDS.values()), muster.select, EnsembleSelection]


def declared(settings: type) -> set[str]:
    """The options that a class declares itself, apart from those that it inherits."""
    return set(vars(settings)["__annotations__"])


def test_each_option_is_declared_by_one_class() -> None:
    counted = Counter(name for settings in (*PARTS, *UNGROUPED) for name in declared(settings))
    assert {name: count for name, count in counted.items() if count > 1} == {}
    assert set(counted) == {field.name for settings in UNGROUPED for field in fields(settings)}
    assert not declared(SourceSettings) & declared(TrainingSettings)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.__module__}.{call.__name__}")
def test_no_call_declares_one_again(call: object) -> None:
    known = {field.name for settings in UNGROUPED for field in fields(settings)}
    assert not known & set(inspect.signature(call).parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [*PARTS, *UNGROUPED, *GROUPED], ids=lambda settings: settings.__name__)
def test_each_is_explained_where_it_is_declared(settings: type) -> None:
    text = inspect.cleandoc(settings.__doc__ or "")
    assert all(f"\n    {name}: " in text for name in declared(settings))


@pytest.mark.parametrize("name", ["select", "finetune"])
def test_the_help_says_what_the_class_says(name: str) -> None:
    shown = " ".join(build_parser(COMMANDS[name].function(), name, None).format_help().split())
    assert "Layers of a network that add 1 to its score, for metrics with +l." in shown
    assert "Bootstrap samples of the probe images, for the confidence of the choice; 0 for none." in shown


def test_finetune_understands_every_option_of_select() -> None:
    kinds = {name: Options.of(COMMANDS[name].function(), name, ()).kinds for name in ("select", "finetune")}
    assert {field.name for field in fields(SelectionSettings)} <= set(kinds["finetune"])
    alone = {name.partition(".")[0] for name in set(kinds["select"]) - set(kinds["finetune"])}
    assert alone == {"clear_cache", "executor", "ray", "workers"}


def test_a_choice_at_the_start_of_a_fit_is_that_of_select(
    stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    bench, target = Bench(tmp_path, stock), str(stock / "tiny")
    choice = ["--predictor", "eep", "--search", "greedy", "--size", "2", "--metric", "e_leep", "--metrics", "nce,base"]
    choice += ["--pixels_per_image", "60", "--seed", "3", "--resamples", "40", "--train_images", "3"]
    common = ["--pool", str(stock / "pool"), "--target", target]
    assert start("select", arguments=[*common, *choice, "--output", "alone"]) == 0
    _, *words = bench.finetuning(*common, *choice, selection="")
    assert start("finetune", arguments=words) == 0
    alone, within = Selection.load(Path("alone")), Selection.load(Path("tuned/selection"))
    assert within.members == alone.members
    assert within.to_mapping() | {"date": ""} == alone.to_mapping() | {"date": ""}
    saved = yaml.safe_load(Path("tuned/config.yaml").read_text())
    assert (saved["predictor"], saved["search"], saved["seed"]) == ("eep", "greedy", 3)


def test_an_option_that_is_none_or_has_a_wrong_type_stops_a_python_call(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'size'"):
        muster.select(tmp_path, "worlds/attic", sise=2)
    with pytest.raises(ConfigError, match="size: expected a whole number or auto, but got 'three'"):
        EnsembleSelection(tmp_path / "pool", "worlds/attic", tmp_path / "s", size="three")
    with pytest.raises(ConfigError, match="hard_fraction: expected more than 0"):
        SelectionSettings(hard_fraction=0.0)
