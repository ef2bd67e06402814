"""What the three commands say to mistakes, and how they explain themselves; in this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from muster.commands.main import COMMANDS
from muster.commands.main import start as start_command
from muster.commands.terminal import make_console
from muster.commands.words import Options
from muster.errors import ConfigError
from muster.execution.progress import TrainingProgress
from muster.output_kinds import POOL
from muster.outputs import mark
from muster.training.hardware import Hardware
from muster.training.pool_plan import PoolPlan, plan_jobs
from muster.training.pool_training import train_pool
from muster.training.settings import SourceSettings
from tests.helpers import at_work_elsewhere

ROOT = Path(__file__).parents[2]
SCRIPTS = ("train", "select", "finetune")
FUNCTIONS: dict[str, Callable[..., int]] = {name: COMMANDS[name].function() for name in SCRIPTS}


def start(name: str, *arguments: str) -> int:
    """A command as its script starts it."""
    return start_command(name, f"{name}.py", arguments)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stops_with(name: str, *arguments: str) -> int:
    """Exit status; the parser itself ends the process after help."""
    try:
        return start(name, *arguments)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_begins_with_the_summary_and_shows_every_option(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert stops_with(name, "--help") == 0
    printed = capsys.readouterr().out
    first = (FUNCTIONS[name].__doc__ or "").splitlines()[0]
    assert first in printed
    assert "Args:" not in printed
    shown = set(re.findall(r"(?<![\w-])--([a-z_]+(?:\.[a-z_]+)*)", printed))
    options = Options.of(FUNCTIONS[name], name, {"configuration", "asked"})  # which it fills in itself
    assert {"pool", "output"} & set(options.kinds)
    assert set(options.kinds) <= shown
    assert not shown & {"settings", "choice", "tracking", "data", "configuration", "asked"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_printed_configuration_can_be_given_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"train": ["--training.steps", "7"], "select": ["--size", "2"], "finetune": ["--size", "2"]}[name]
    assert stops_with(name, *change, "--print_config") == 0
    printed = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(printed)
    assert stops_with(name, "--config", str(tmp_path / "mine.yaml"), "--print_config") == 0
    again = capsys.readouterr().out
    assert again == printed
    content = yaml.safe_load(again)
    assert (content["training"]["steps"] == 7) if name == "train" else (content["size"] == 2)


@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        ("train", ["--training.stepps", "3"], "training.stepps"),
        ("train", ["--training.steps", "many"], "training.steps"),
        ("train", ["--training.schedule", "quadratic"], "training.schedule"),
        ("train", ["--trai", "{}"], "--trai"),
        ("train", ["--hardware.device", "abacus"], "hardware.device"),
        ("train", ["--plan.overrides", "[{members: '*', step: 3}]"], "plan.overrides"),
        ("select", ["--sise", "3"], "--sise"),
        ("finetune", ["--training.crop_size", "big"], "crop_size"),
        ("finetune", ["--pred", "x"], "--pred"),
    ],
)
def test_unknown_keys_wrong_types_and_abbreviations_stop(
    name: str, arguments: list[str], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stops_with(name, *arguments) != 0
    assert key in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"training": {"steps": 5, "stepps": 5}}, "stepps"),
        ({"training": {"batch_size": "many"}}, "training.batch_size"),
        ({"plan": {"datasets": ["worlds/reef"]}}, "one architecture"),
    ],
)
def test_a_faulty_configuration_file_stops_and_names_the_key(
    content: dict[str, object], key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = {"output": "pool", "plan": {"datasets": ["worlds/reef"], "architectures": ["small_fpn"]}}
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(full | content))
    assert stops_with("train", "--config", "faulty.yaml") != 0
    assert key in capsys.readouterr().err
    assert not Path("pool").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["--plan.architectures", "[small_fnp]"], "small_fpn"),
        ("train", ["--plan.architectures", "[fpn:resnet81]"], "resnet18"),
        ("train", ["--plan.datasets", "[worlds/reeef]"], "Did you mean 'reef'?"),
        ("train", ["--output", "occupied"], "A pool goes into a folder, but"),
        ("train", ["--output", "occupied/inside"], "--output: cannot write to"),
        ("train", ["--workers", "0"], "--workers: expected a positive number"),
        ("train", ["--hardware.devices", "0"], "hardware.devices: expected a whole number, from 1"),
        pytest.param(
            "train",
            ["--hardware.device", "cuda"],
            "hardware.device: this machine has no usable 'cuda'",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        ("train", ["--training.steps", "0"], "steps: expected a whole number"),
        ("train", ["--training.crop_size", "0"], "crop_size: expected a whole number"),
        ("train", ["--list"], "There is no pool"),
        ("train", ["--verify"], "There is no pool"),
        ("finetune", [], "There is no selection below runs/selections yet. Run select.py first"),
        ("finetune", ["--predict", "."], "There is no ensemble below runs/finetunings yet. Run finetune.py first"),
        (
            "finetune",
            ["--target", "worlds/reef"],
            "--target goes with --pool, and members are then chosen at the start; or with --selection",
        ),
        ("finetune", ["--ensemble", "runs/x"], "--ensemble is what --predict predicts with"),
        ("finetune", ["--selection", "nowhere"], "nowhere"),
        ("finetune", ["--pool", "nowhere", "--target", "worlds/reef"], "There is no pool"),
    ],
)
def test_mistakes_are_one_clear_message_before_any_training(
    name: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("occupied").write_text("mine")
    if name == "train" and arguments[0] == "--workers":
        arguments = [*arguments, "--plan.datasets", "[worlds/reef]", "--plan.overrides", "[]"]
    assert start(name, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert Path("occupied").read_text() == "mine"
    assert not list(Path().glob("**/members"))


def test_what_an_interrupted_select_left_is_no_selection(capsys: pytest.CaptureFixture[str]) -> None:
    left = Path("runs/selections/.partial-x")
    left.mkdir(parents=True)
    (left / "selection.yaml").write_text("half")
    assert start("finetune") == 2
    assert "There is no selection" in capsys.readouterr().err


def test_two_processes_do_not_train_one_pool_at_a_time(tmp_path: Path) -> None:
    plan = PoolPlan(["worlds/attic"], ["small_fpn"])
    jobs = plan_jobs(plan, SourceSettings(), tmp_path / "pool", Hardware(device="cpu"))
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "config.yaml").write_text("of the first")
    mark(tmp_path / "pool", POOL)
    with (
        at_work_elsewhere(tmp_path / "pool"),
        pytest.raises(ConfigError, match="another process is at work on a pool"),
    ):
        train_pool(jobs, 1, TrainingProgress(make_console(quiet=True)), "of the second", patience=0.3)
    assert (tmp_path / "pool" / "config.yaml").read_text() == "of the first"
    assert not (tmp_path / "pool" / "members").exists()


def test_only_the_first_process_of_torchrun_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert start("train", "--output", "pool") == 0
    assert capsys.readouterr().out == ""
    assert not Path("pool").exists()
