"""From a typed function to a command: its signature is the schema, its docstring the help."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from io import TextIOWrapper
from os import PathLike
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, get_loader, set_loader
from jsonargparse.typing import register_type

from muster.cancel import Cancelled
from muster.commands.program import started_as
from muster.commands.spread import spread_parameters
from muster.commands.terminal import our_warnings, print_error
from muster.commands.words import CommandLine, Options, read_command_line
from muster.errors import ConfigError, MusterError
from muster.models.adoption import Adoption
from muster.outputs import cause_of
from muster.remote import with_copies
from muster.study.target_override import TargetOverride
from muster.training.plan_entries import Override
from muster.user_files import parse_yaml, special_kind

CONFIGURATION = "configuration"
"""A command's parameter of this name is given the resolved configuration as YAML, to save with the results."""

ASKED = "asked"
"""A command's parameter of this name is given what the user asked for, see :class:`muster.commands.words.Asked`."""

_STRICT = "strict_yaml"
"""Our way of reading YAML, among those of the parser."""

# Mappings with keys of their own: those of other settings, and `from`, which is no name in Python.
register_type(Adoption, Adoption.to_mapping, Adoption.from_mapping, (ConfigError, TypeError))
register_type(TargetOverride, TargetOverride.to_mapping, TargetOverride.from_mapping, (ConfigError, TypeError))
register_type(Override, Override.to_mapping, Override.from_mapping, (ConfigError, TypeError))

_BROKEN_PIPE = 141  # as a shell gives it for a program that nobody reads any more


def build_parser(
    function: Callable[..., Any],
    prog: str,
    default_config: Path | None,
    use_default: bool = True,
) -> ArgumentParser:
    """The parser of a command.

    Args:
        function: Typed and documented; its parameters become options.
        prog: What the user typed to start it.
        default_config: YAML file with the values that options have when no ``--config`` is given.
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
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help=f"YAML file with options; those after it win.{instead}")
    spread = spread_parameters(function)
    parser.add_function_arguments(function, as_group=False, fail_untyped=True, skip={CONFIGURATION, ASKED, *spread})
    for settings in spread.values():
        parser.add_class_arguments(settings, as_group=False, fail_untyped=True, instantiate=False)
    return parser


def run(
    function: Callable[..., int],
    prog: str,
    default_config: Path | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Read the command line, run the command, and turn errors that users are meant to read into one message.

    Args:
        function: The command; returns an exit status.
        prog: What the user typed to start it.
        default_config: Used when no ``--config`` is given, not beneath one: mixing two experiments helps nobody.
        arguments: Command line; that of the process by default.

    Returns:
        Exit status: 0 for success, 2 for an error that the user can mend, 130 after Ctrl-C, 141 if whatever read the
        output has closed it.
    """
    _write_any_character()
    words = sys.argv[1:] if arguments is None else list(arguments)
    with our_warnings(), started_as(prog):
        _quieten_lightning()
        try:
            _refuse_special_files(words)
            status = function(**_read(function, prog, default_config, words))
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would try once more to write what is left, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _BROKEN_PIPE
        except MusterError as error:
            print_error(f"{prog}: error: {error}")
            return 2
        except OSError as error:
            _drop_what_cannot_be_written()
            print_error(f"{prog}: error: {cause_of(error, 'a file or the standard output')}")
            return 2
        except (KeyboardInterrupt, Cancelled):
            print_error(f"{prog}: stopped. The same command goes on from here.")
            return 130
    return status


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


def _read(function: Callable[..., int], prog: str, default_config: Path | None, words: Sequence[str]) -> dict[str, Any]:
    """The command's arguments; settings that cannot work are refused while they are made."""
    options = Options.of(function, prog, {CONFIGURATION, ASKED})
    line = read_command_line(words, options)
    # Without the default's values: the help is about the options, and they would bury it.
    use_default = not line.has_config and not {"--help", "-h"} & set(words)
    parser = build_parser(function, prog, default_config, use_default)
    parsed = _parse(parser, line, options, default_config)
    # The dump is what the user could give as --config to get the same run again.
    configuration = parser.dump(parsed, skip_unset=False)
    values = with_copies(parser.instantiate(parsed).as_dict())
    values.pop("config", None)
    for name, settings in spread_parameters(function).items():
        values[name] = settings(**{field.name: values.pop(field.name) for field in fields(settings)})
    also = {CONFIGURATION: configuration, ASKED: line.asked(options)}
    wanted = {name: value for name, value in also.items() if name in function.__annotations__}
    return {name: values[name] for name in values if not name.startswith("__")} | wanted


def _parse(parser: ArgumentParser, line: CommandLine, options: Options, default_config: Path | None) -> Any:
    try:
        return parser.parse_args(list(line.words))
    except ArgumentError as error:
        raise ConfigError(line.explain(options, default_config) or _without_types(str(error))) from error


def _without_types(message: str) -> str:
    """A message of the library without names of Python's types, for what we have no words of our own for."""
    message = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", message)
    return message.replace("NoneType", "null").replace("collections.abc.", "").replace("typing.", "")


def _write_any_character() -> None:
    """A terminal that has not all letters shows escapes instead of stopping the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_what_cannot_be_written() -> None:
    """If the output goes to a full disk, what is buffered for it would end in a traceback when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _quieten_lightning() -> None:
    """Keep Lightning's banners, tips and warnings about its own use of torch from burying what a command prints."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\.")
    warnings.filterwarnings("ignore", module=r"torch\.distributed\.")


def _summary(function: Callable[..., Any]) -> str:
    """The part of a docstring before its sections."""
    return (function.__doc__ or "").split("\n    Args:")[0].strip()
