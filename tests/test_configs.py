"""Every YAML file of configs/: its command can read it, and its head says how to use it."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from muster.commands.cli import build_parser
from muster.commands.main import COMMANDS, CONFIGS, Command

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").rglob("*.yaml"), key=str)
NAMES = [str(path.relative_to(ROOT / "configs")) for path in FILES]


def command_of(path: Path) -> Command:
    """What a file is for: the command that its folder is named for, or one of that command's actions."""
    action = f"{path.parent.name} {path.stem}"
    return COMMANDS[action if action in COMMANDS else path.parent.name]


def head_of(path: Path) -> str:
    """The comment that a file begins with."""
    return "\n".join(takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines()))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_is_read_by_its_command(path: Path) -> None:
    parser: ArgumentParser = build_parser(command_of(path).function(), path.parent.name, None)
    parser.instantiate(parser.parse_args(["--config", str(path)]))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_begins_with_the_command_the_time_and_the_result(path: Path) -> None:
    head = head_of(path)
    assert re.search(r"^#   (python|muster) ", head, re.MULTILINE)
    assert re.search(r"seconds|minute|hour", head)
    assert re.search(r"GPU|CPU", head)
    assert re.search(r"Expected:|Result:", head)


def test_the_package_has_the_same_files_by_a_relative_link() -> None:
    link = ROOT / "src" / "muster" / "configs"
    assert not link.readlink().is_absolute()
    assert link.resolve() == ROOT / "configs"
    assert [str(path.relative_to(link)) for path in sorted(link.glob("*/*.yaml"), key=str)] == NAMES
    assert CONFIGS.resolve() == ROOT / "configs"


def test_the_default_of_every_command_is_there() -> None:
    defaults = {name: command.default_config() for name, command in COMMANDS.items()}
    assert {name for name, path in defaults.items() if path} == {"train", "select", "finetune"}
    assert all(path is None or path.is_file() for path in defaults.values())


def test_the_papers_settings_are_those_of_the_papers() -> None:
    """A22 3.2, 4.1, 5.1 and B; M21 4.1 and A.2. What neither says is marked as chosen."""
    chosen = yaml.safe_load((ROOT / "configs/select/a22.yaml").read_text())
    told = {key: chosen[key] for key in ("size", "metric", "predictor", "train_images", "pixels_per_image")}
    assert told == {
        "size": 3, "metric": "soft_iou_eep", "predictor": "eep", "train_images": "auto", "pixels_per_image": 1000,
    }  # fmt: skip
    for name in ("finetune/a22.yaml", "train/small_real-a22.yaml"):
        text = (ROOT / "configs" / name).read_text()
        training = yaml.safe_load(text)["training"]
        told = {key: training[key] for key in ("batch_size", "schedule", "loss", "held_out_fraction")}
        assert told == {"batch_size": 32, "schedule": "step", "loss": "probabilities", "held_out_fraction": 0.2}
        assert len(training["learning_rates"]) == 3
        for unsaid in ("momentum", "weight_decay", "steps", "learning_rates", "held_out_fraction"):
            assert re.search(rf"^  {unsaid}: .*chosen", text, re.MULTILINE), (name, unsaid)
    assert yaml.safe_load((ROOT / "configs/finetune/a22.yaml").read_text())["head"]["optimizer"] == "sgd"
