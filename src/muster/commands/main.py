"""The console command ``muster``, and what the scripts start: every command there is, in one table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import muster
from muster.commands.program import CONSOLE
from muster.commands.terminal import make_console, print_error

CONFIGS = Path(muster.__file__).parent / "configs"
"""The YAML files: a link to the repository's folder, and a copy of it in an installation."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        place: The typed function behind it, as ``module:name``; imported when it is started.
        summary: What it does, for the list of all.
        config: The YAML file with its default values, below :data:`CONFIGS`; empty if there is none.
        first: The option that a word without one stands for; empty if there is none.
    """

    place: str
    summary: str
    config: str = ""
    first: str = ""

    def function(self) -> Callable[..., int]:
        """The function, imported."""
        module, _, name = self.place.partition(":")
        found: Callable[..., int] = getattr(import_module(module), name)
        return found

    def default_config(self) -> Path | None:
        """The file with its default values, if it has one."""
        return CONFIGS / self.config if self.config else None


COMMANDS: dict[str, Command] = {
    "train": Command("muster.commands.train:train", "train, list or verify a pool", "train/worlds.yaml"),
    "select": Command(
        "muster.commands.select:select_ensemble", "choose an ensemble for a dataset", "select/default.yaml"
    ),
    "rank": Command("muster.commands.rank:rank_models", "rank single models for a dataset", first="target"),
    "finetune": Command(
        "muster.commands.finetune:finetune", "fine-tune and combine what was chosen", "finetune/modern.yaml"
    ),
    "predict": Command("muster.commands.predict:predict", "predict images or texts", first="images"),
    "evaluate": Command(
        "muster.commands.evaluate:evaluate", "compare fine-tuned ensembles on a labelled dataset", first="ensemble"
    ),
    "export": Command("muster.commands.export:export", "write a fine-tuned ensemble as one file", first="ensemble"),
    "check": Command("muster.commands.check:check", "look at a dataset before anything is trained", first="dataset"),
    "convert": Command("muster.commands.convert:convert", "copy a dataset so that it is read faster", first="dataset"),
    "distil": Command("muster.commands.distil:distil", "bring an ensemble down to one network", first="ensemble"),
    "pretrain": Command("muster.commands.pretrain:pretrain", "pre-train a network on images without labels"),
    "study": Command("muster.commands.study:study", "compare what metrics say with fine-tuned mIoU"),
    "study sources": Command("muster.commands.study_sources:sources", "show the source mIoU of the members of pools"),
    "study recipes": Command(
        "muster.commands.study_recipes:compare", "compare recipes of fine-tuning on several targets"
    ),
    "weights convert": Command("muster.commands.weights:convert", "make a safetensors file of published weights"),
    "weights list": Command("muster.commands.weights:list_weights", "list pre-trained weights on this machine"),
}
"""The commands by what is typed after ``muster``; where several begin alike, the longest is meant."""


def start(name: str, prog: str = "", arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        name: One of :data:`COMMANDS`.
        prog: What the user typed to start it; by default ``muster NAME``.
        arguments: What is typed after it; the rest of the process's command line by default.

    Returns:
        Exit status, see :func:`muster.commands.cli.run`.
    """
    from muster.commands.cli import run  # here, because it loads torch, which the list of commands can do without

    command = COMMANDS[name]
    words = list(sys.argv[1:] if arguments is None else arguments)
    if command.first and words:
        words = _with_first(words, command.first)
    return run(command.function(), prog or f"{CONSOLE} {name}", command.default_config(), words)


def _with_first(words: list[str], option: str) -> list[str]:
    """Give the first word that is neither an option nor the value of one its option."""
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        takes = before.startswith("--") and "=" not in before
        if not word.startswith("-") and not takes:
            return [*words[:index], f"--{option}={word}", *words[index + 1 :]]
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console command ``muster``.

    Args:
        arguments: What is typed after ``muster``; that of the process by default.

    Returns:
        Exit status: 2 if no command is named, otherwise that of the command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return start(name, arguments=words[length:])
    if words and words[0] in {"-h", "--help", "--version"}:
        make_console().print(f"{CONSOLE} {muster.__version__}" if words[0] == "--version" else _overview())
        return 0
    if not words:
        print_error(f"{CONSOLE}: error: expected a command: {', '.join(COMMANDS)}. {CONSOLE} --help explains them.")
        return 2
    close = get_close_matches(words[0], COMMANDS, n=1)
    hint = f" Did you mean {close[0]}?" if close else f" The commands are {', '.join(COMMANDS)}."
    print_error(f"{CONSOLE}: error: {words[0]!r} is no command.{hint} ({CONSOLE} --help explains them.)")
    return 2


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {CONSOLE} COMMAND [--option value ...]",
            "",
            *lines,
            "",
            f"{CONSOLE} COMMAND --help shows every option of a command.",
        ]
    )
