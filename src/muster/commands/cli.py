"""From a typed function to a command: its signature is the schema, its docstring the help."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentParser, get_loader, set_loader

from muster.errors import ConfigError, MusterError
from muster.user_files import parse_yaml, special_kind

CONFIGURATION = "configuration"
"""A command's parameter of this name is given the resolved configuration as YAML, to save with the results."""

_STRICT = "strict_yaml"
"""Our way of reading YAML, among those of the parser."""


def build_parser(
    function: Callable[..., Any],
    prog: str,
    default_config: Path | None,
    given: Collection[str] = (),
    use_default: bool = True,
) -> ArgumentParser:
    """The parser of a command.

    Args:
        function: Typed and documented; its parameters become options.
        prog: What the user typed to start it.
        default_config: YAML file with the values that options have when no ``--config`` is given.
        given: Parameters that the caller fills in: they are no options.
        use_default: Whether to take the values of that file.

    Returns:
        A parser that stops at unknown keys and wrong types with the key's path. Options are never abbreviated.
    """
    files: list[str | PathLike[str]] = [default_config] if default_config and use_default else []
    instead = f" Without it: {default_config}." if default_config else ""
    set_loader(_STRICT, _load_strictly, (yaml.YAMLError,))
    parser = ArgumentParser(
        prog=prog,
        description=_summary(function),
        default_config_files=files,
        allow_abbrev=False,
        parser_mode=_STRICT,
    )
    parser.add_argument("--config", action="config", help=f"YAML file with options; those after it win.{instead}")
    parser.add_function_arguments(function, as_group=False, fail_untyped=True, skip={CONFIGURATION, *given})
    return parser


def run(
    function: Callable[..., int],
    prog: str,
    default_config: Path | None = None,
    arguments: Sequence[str] | None = None,
    **given: Any,
) -> int:
    """Read the command line, run the command, and turn errors that users are meant to read into one message.

    Args:
        function: The command; returns an exit status.
        prog: What the user typed to start it.
        default_config: Used when no ``--config`` is given, not beneath one: mixing two experiments helps nobody.
        arguments: Command line; that of the process by default.
        given: Parameters of the command that are no options.

    Returns:
        Exit status: 0 for success, 2 for an error that the user can mend, 130 after Ctrl-C.
    """
    words = _spell_out_flags(function, sys.argv[1:] if arguments is None else arguments)
    # Without the default's values: the help is about the options, and they would bury it.
    instead = {"--config", "--help", "-h"}
    use_default = not any(word in instead or word.startswith("--config=") for word in words)
    parser = build_parser(function, prog, default_config, given, use_default)
    _quieten_lightning()
    try:
        _refuse_special_files(words)
        return function(**_read(parser, words), **given)
    except MusterError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{prog}: stopped. The same command goes on from here.", file=sys.stderr)
        return 130


def _load_strictly(text: str) -> Any:
    """As usual, but a key that is there twice is an error."""
    if ":" in text:  # otherwise it is no mapping
        parse_yaml(text)
    return get_loader("yaml")(text)


def _refuse_special_files(words: Sequence[str]) -> None:
    """No option takes a pipe or a device: to open one may wait for ever.

    Raises:
        ConfigError: Naming the option and what is there.
    """
    for option, word in zip(["", *words], words, strict=False):
        name, _, value = word.rpartition("=")
        kind = special_kind(Path(value))
        if kind is not None:
            named = name or (option if option.startswith("-") else "the command line")
            raise ConfigError(f"{named}: {value} is {kind}. Give a regular file or a folder.")


def _read(parser: ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """The command's arguments; settings that cannot work are refused while they are made."""
    parsed = parser.parse_args(words)
    # The dump is what the user could give as --config to get the same run again.
    configuration = parser.dump(parsed, skip_unset=False)
    options = parser.instantiate(parsed).as_dict()
    options.pop("config", None)
    return {name: options[name] for name in options if not name.startswith("__")} | {CONFIGURATION: configuration}


def _quieten_lightning() -> None:
    """Keep Lightning's banners, tips and warnings about its own use of torch from burying what a command prints."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\.")
    warnings.filterwarnings("ignore", module=r"torch\.distributed\.")


def _spell_out_flags(function: Callable[..., Any], words: Sequence[str]) -> list[str]:
    """Let ``--list`` alone mean ``--list=true``, for every option that is true or false."""
    flags = {f"--{name}" for name, kind in get_type_hints(function).items() if kind is bool}
    following = [*words[1:], ""][: len(words)]  # none for no words
    return [
        f"{word}=true" if word in flags and after not in {"true", "false"} else word
        for word, after in zip(words, following, strict=True)
    ]


def _summary(function: Callable[..., Any]) -> str:
    """The part of a docstring before its sections."""
    return (function.__doc__ or "").split("\n    Args:")[0].strip()
