"""Run the commands of a page, smaller than they are written, in a folder made to fit."""

from __future__ import annotations

import re
import shlex
import shutil
from contextlib import redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.__main__ import main as benchmarks
from muster.commands.cli import build_parser
from muster.commands.main import COMMANDS, start
from muster.commands.program import CONSOLE
from tests.docs.snippets import ROOT
from tests.execution.this_process import without_workers

_CONFIGS = ROOT / "configs"
SCRIPTS = {"train.py": "train", "select.py": "select", "finetune.py": "finetune"}
"""Which command each script starts."""

STARTED = {**SCRIPTS, **{f"muster {name}": name for name in COMMANDS}}
"""By what a page types, the command that it starts."""

LAUNCHERS = {
    *("--nnodes", "--nproc_per_node", "--node_rank", "--master_addr", "--master_port"),  # torchrun's
    *("--nodes", "--ntasks", "--gpus", "--cpus", "--job", "--time", "--requeue", "--overlap", "--exclude"),  # SLURM's
    *("--head", "--port", "--address", "--include", "--block", "--generate"),  # those of ray, up to a hyphen
}
"""Options of programs that start muster, or what it runs on; up to a hyphen."""

_TRAINING = ("--training.steps", "2", "--training.train_images", "12", "--workers", "1")
_FEW_SOURCES = ("--plan.datasets", "[worlds/city_drive, worlds/night_drive, worlds/office, worlds/reef]")

_FEW_PIXELS = "train_images=40, pixels_per_image=50"
CODE_REDUCED = {
    "steps=200": "steps=2",
    "subset(150, ": "subset(40, ",
    '("runs/pools/worlds", "worlds/harbour_drive")': f'("runs/pools/worlds", "worlds/harbour_drive", {_FEW_PIXELS})',
    ", image_size=64)": ", image_size=64, train_images=8, pixels_per_image=50)",
    'folder="runs/selections/mine"': f'folder="runs/selections/mine", {_FEW_PIXELS}',
}
"""What is replaced in Python blocks; each must be found."""


def reduced(name: str, words: list[str]) -> list[str]:
    """What is appended to a command so that it takes seconds; nothing else about it is changed.

    Args:
        name: One of :data:`muster.commands.main.COMMANDS`.
        words: The options that the page gives.

    Returns:
        More options; they win over those before.
    """
    if name == "train":
        if "--list" in words or "--verify" in words:
            return []
        if "configs/train/scenes.yaml" in words:
            return [*_TRAINING, "--plan.datasets", "[scenes/land, scenes/waters]"]
        real = "--config" in words  # then small folders stand in for the real datasets, and two are enough
        return [*_TRAINING, *(("--plan.datasets", "[camvid, msrc21]") if real else _FEW_SOURCES)]
    if name == "select":
        return ["--train_images", "40", "--pixels_per_image", "50", "--resamples", "40"]
    if name == "finetune":
        return (
            []
            if "--predict" in words
            else ["--training.steps", "2", "--training.tried_stops", "1", "--equal_cost", "false", "--head.steps", "2"]
        )
    if name == "study":
        return [
            "--training.steps",
            "2",
            "--pixels_per_image",
            "50",
            "--metrics",
            "[soft_iou_eep, leep]",
            "--sizes",
            "[3]",
        ]
    return []


def split_command(command: str) -> tuple[str, list[str]]:
    """What a line of shell starts, and its words.

    Args:
        command: The line without its comment.

    Returns:
        A key of :data:`STARTED`, or ``make``, ``cp`` or ``-m MODULE``, and the words after it. Of ``torchrun`` it is
        the script that it starts.
    """
    first, *words = shlex.split(command)
    if first == "torchrun":
        place = next(number for number, word in enumerate(words) if word.endswith(".py"))
        return words[place], words[place + 1 :]
    if first == CONSOLE:
        length = 2 if " ".join(words[:2]) in COMMANDS else 1
        return " ".join([first, *words[:length]]), words[length:]
    if Path(first).name != "python":
        return first, words
    if words[:1] == ["-m"]:
        return f"-m {words[1]}", words[2:]
    return words[0], words[1:]


@cache
def options_of(script: str) -> frozenset[str]:
    """Every option of a script, as its help names them."""
    if script == "-m benchmarks":
        help_text = _benchmarks_help()
    else:
        command = COMMANDS[STARTED[script]]
        help_text = build_parser(command.function(), script, command.default_config(), use_default=False).format_help()
    return frozenset(re.findall(r"(?<![\w-])--[a-z_]+(?:\.[a-z_]+)*", help_text))


def _benchmarks_help() -> str:
    printed = StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        benchmarks(["--help"])
    return printed.getvalue()


def run_command(command: str) -> None:
    """Run one command of a page in the current folder, in this process, reduced.

    Args:
        command: A line of shell.

    Raises:
        AssertionError: If it fails, or is none of those known here.
    """
    script, words = split_command(command)
    if script == "make":
        require_target(words)
    elif script == "cp":
        source, target = words
        shutil.copy(source, target)
    else:
        assert script in STARTED, f"{command!r}: nobody knows here how to run that"
        name = STARTED[script]
        with without_workers():
            status = start(name, script, [*words, *reduced(name, words)])
        assert status == 0, f"{command!r} ended with status {status}"


def require_target(words: list[str]) -> None:
    """Check that the Makefile has such a target."""
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    assert set(words) <= targets, f"make {' '.join(words)}: the Makefile has {', '.join(sorted(targets))}"


def prepare(home: Path) -> None:
    """Make what the pages presuppose: configurations, datasets, images.

    Args:
        home: An empty folder in which their commands are started.
    """
    (home / "configs").symlink_to(_CONFIGS)
    # The dataset of the README's "Your own images" has the names of its sketch; dataset.yaml is the README's own.
    for split, count in (("train", 40), ("val", 2)):
        write_images(home / "path/to/mydata" / split, count)
    for name in ("camvid", "msrc21"):
        folder = home / "path/to/datasets" / name
        for split, count in (("train", 4), ("val", 2)):
            write_images(folder / split, count)
        description = f"name: {name}\ndomain: made up\nclasses: [road, car, tree]\n"
        (folder / "dataset.yaml").write_text(description, "utf-8")
    write_images(home / "path/to/more", 2)
    shutil.copy(next((home / "path/to/more/images").iterdir()), home / "photo.jpg")


def write_images(folder: Path, count: int) -> None:
    """Photographs of stripes in three colours with their masks, named ``a``, ``b``, ..."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        generator = np.random.default_rng(number)
        mask = (np.arange(48)[:, None] // 8 + number + np.zeros((1, 64), int)) % 3
        image = np.stack([mask * 90, 255 - mask * 90, mask * 0 + 60], axis=-1) + generator.integers(0, 40, (48, 64, 3))
        stem = chr(ord("a") + number % 26) * (1 + number // 26)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{stem}.jpg")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{stem}.png")
