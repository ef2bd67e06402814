"""A command line and its configuration files, looked at before they are parsed, for messages that help."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from muster.commands.spread import spread_parameters
from muster.errors import ConfigError
from muster.expected import find_misfit, is_list_of_names
from muster.files import read_yaml, to_builtin_types
from muster.remote import named
from muster.selection.idle_options import PLACES

CONFIG = "config"
_HELP = ("-h", "--help", "--print_config")


@dataclass(frozen=True)
class Options:
    """The options of a command.

    Attributes:
        prog: What the user types to start it.
        kinds: The type of each, by its name; those of a group have a dot in it.
        groups: Names of groups, such as ``training``.
        defaults: Values of those that may be left out, in plain values.
    """

    prog: str
    kinds: dict[str, Any]
    groups: frozenset[str]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, function: Callable[..., Any], prog: str, skip: Collection[str]) -> Options:
        """The options that a function's parameters become.

        Args:
            function: Typed; parameters of a dataclass type become groups, unless they are spread.
            prog: What the user types to start it.
            skip: Parameters that are no options.

        Returns:
            The options.
        """
        hints, kinds, groups, defaults = get_type_hints(function), dict[str, Any](), set[str](), dict[str, Any]()
        spread = spread_parameters(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if name in skip:
                continue
            given = {} if parameter.default is parameter.empty else {name: parameter.default}
            if dataclasses.is_dataclass(hints[name]):
                prefix = "" if name in spread else f"{name}."
                groups |= {name} - set(spread)
                kinds |= {f"{prefix}{field}": kind for field, kind in _field_hints(hints[name]).items()}
                given = dict(_field_defaults(prefix, hints[name]))
            else:
                kinds[name] = hints[name]
            defaults |= {key: to_builtin_types(value) for key, value in given.items()}
        return cls(prog, kinds, frozenset(groups), defaults)

    def require_known(self, name: str, shown: str, where: str) -> None:
        """Refuse a name that is no option, and say which is near.

        Args:
            name: What came.
            shown: The same as the user wrote it.
            where: Beginning of the message.

        Raises:
            ConfigError: If it is none.
        """
        if name in self.kinds or name in self.groups or name == CONFIG:
            return
        last = name.rpartition(".")[2]
        elsewhere = [key for key in self.kinds if key.rpartition(".")[2] == last]  # in another group, or in none
        close = get_close_matches(name, elsewhere, n=1, cutoff=0.0)
        close = close or get_close_matches(name, [*self.kinds, *self.groups], n=1, cutoff=0.7)
        if not close:  # perhaps the group was left out
            ends = {key.rpartition(".")[2]: key for key in self.kinds}
            close = [ends[end] for end in get_close_matches(last, ends, n=1, cutoff=0.7)]
        dashes = "--" if shown.startswith("--") else ""
        hint = f" Did you mean {dashes}{close[0]}?" if close else ""
        raise ConfigError(f"{where}{shown} is no option.{hint} ({self.prog} --help shows all.)")


def _field_hints(record: Any) -> dict[str, Any]:
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record) if field.init}


def _field_defaults(prefix: str, record: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(record):
        if field.default is not dataclasses.MISSING:
            yield f"{prefix}{field.name}", field.default
        elif field.default_factory is not dataclasses.MISSING:
            yield f"{prefix}{field.name}", field.default_factory()


_ALLOWED_IN_ANY_FILE = PLACES | {"training.learning_rate"}
"""Options that a configuration file may hold in any case: where things lie, and the rate for runs that try only one."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for, apart from what holds without being asked for.

    Attributes:
        typed: Options on the command line.
        filed: Options in a ``--config`` file whose value there is not the default.
    """

    typed: frozenset[str] = frozenset()
    filed: frozenset[str] = frozenset()

    def require_effect(self, names: Collection[str], why: str, files: bool = True) -> None:
        """Refuse options that would change nothing.

        Args:
            names: Options without effect; a group's name stands for all in it.
            why: End of the sentence "--size has no effect".
            files: Whether those in configuration files count too. A file that describes a whole run may be given to a
                command that uses little of it, such as ``--list``.

        Raises:
            ConfigError: If the user gave one.
        """
        asked = self.typed | self.filed if files else self.typed
        idle = sorted(key for key in asked if key in names or key.partition(".")[0] in names)
        if idle:
            has = "has" if len(idle) == 1 else "have"
            raise ConfigError(f"{', '.join(f'--{key}' for key in idle)} {has} no effect {why}.")

    def refuse(self, idle: Mapping[str, str]) -> None:
        """Refuse the first of some options that would change nothing.

        Args:
            idle: Options without effect, and why; see :meth:`require_effect`.

        Raises:
            ConfigError: If the user gave one.
        """
        for name, why in idle.items():
            self.require_effect({name}, why, files=name not in _ALLOWED_IN_ANY_FILE)


@dataclass(frozen=True)
class CommandLine:
    """A command line that was looked at.

    Attributes:
        words: The same for the parser: flags and lists spelled out.
        typed: Names and values of options on it, those of groups one by one, in order.
        filed: Likewise of ``--config`` files.
        has_config: Whether there is such a file.
    """

    words: tuple[str, ...]
    typed: tuple[tuple[str, Any], ...]
    filed: tuple[tuple[str, Any], ...]
    has_config: bool

    def asked(self, options: Options) -> Asked:
        """What the user asked for."""
        typed = frozenset(key for key, _ in self.typed)
        missing = object()
        differs = (key for key, value in self.filed if to_builtin_types(value) != options.defaults.get(key, missing))
        return Asked(typed, frozenset(differs))

    def explain(self, options: Options, default_config: Path | None) -> str | None:
        """Why a parser refuses it, in our words; ``None`` if that is not found out."""
        for key, value in self.typed:
            tried = [find_misfit(f"--{key}", each, options.kinds[key]) for each in (value, _as_yaml(value))]
            if None not in tried and (misfit := tried[1]):
                return misfit.sentence
        for key, value in self.filed:
            if misfit := find_misfit(key, value, options.kinds[key]):
                return f"--config: {misfit.sentence}"
        there = {key for key, _ in (*self.typed, *self.filed)}
        if default_config is not None and not self.has_config:
            there |= {key for key, _ in _flat(read_yaml(default_config, ConfigError), options, str(default_config))}
        lacking = [key for key in options.kinds if key not in options.defaults and key not in there]
        if lacking:
            names = ", ".join(f"--{key}" for key in lacking)
            return f"{names} missing: give it on the command line, or in a file with --config."
        return None


def read_command_line(words: Sequence[str], options: Options) -> CommandLine:
    """Look at a command line.

    Args:
        words: What was typed after the command.
        options: The options of the command.

    Returns:
        What is on it.

    Raises:
        ConfigError: If a word is no option, or an option has no value, or a ``--config`` file cannot be read.
    """
    spelled, typed, filed, left = list[str](), list[tuple[str, Any]](), list[tuple[str, Any]](), [*words]
    has_config = False
    while left:
        word = left.pop(0)
        if word.partition("=")[0] in _HELP:
            spelled.append(word)
            continue
        name, value = _option(word, left, options)
        if name == CONFIG:
            has_config = True
            filed += _flat(read_yaml(Path(value), ConfigError), options, f"{value}: ")
        elif name in options.groups:
            typed += _group(name, value, options)
        else:
            typed.append((name, value))
        dashed = word.partition("=")[0]
        spelled.append(f"{dashed}={value}")
    return CommandLine(tuple(spelled), tuple(typed), tuple(filed), has_config)


def _option(word: str, left: list[str], options: Options) -> tuple[str, str]:
    """The option that a word names, and its value, which may be the next word."""
    if not word.startswith("--"):
        raise ConfigError(
            f"{word!r} is not expected here: options begin with --, and each takes one value. A list is written a,b or "
            "'[a, b]'."
        )
    dashed, equals, value = word.partition("=")
    name = dashed.removeprefix("--").removesuffix("+")
    options.require_known(name, dashed, "")
    kind = options.kinds.get(name)
    if not equals and kind is bool:
        value = left.pop(0) if left and left[0].lower() in {"true", "false"} else "true"
    elif not equals:
        if not left or left[0].startswith("--"):
            raise ConfigError(f"{dashed}: expected a value after it, but got {left[0] if left else 'nothing'}.")
        value = left.pop(0)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{dashed}: {value!r} holds bytes that are no text in UTF-8. Give the file or folder another name."
        ) from None
    if is_list_of_names(kind) and not value.lstrip().startswith("["):
        # pathlib raises for a text that is too long to be a name.
        names = [value] if os.path.exists(value) else [part.strip() for part in value.split(",")]  # noqa: PTH110
        value = json.dumps([each for each in names if each], ensure_ascii=False)
    return name, value


def _group(name: str, value: str, options: Options) -> list[tuple[str, Any]]:
    """The options of a group that was given as a whole, in YAML or in a file."""
    content = _as_yaml(value)
    if isinstance(content, str) and os.path.isfile(content):  # noqa: PTH113 (as above)
        content = read_yaml(Path(content), ConfigError)
    if not isinstance(content, Mapping):
        raise ConfigError(f"--{name}: expected a mapping, such as {{key: value}}, or a YAML file, but got {value!r}.")
    return _flat({name: content}, options, f"--{name}: ")


def _flat(content: Mapping[str, Any], options: Options, where: str) -> list[tuple[str, Any]]:
    """Names and values of options, those of groups one by one; names that are none are refused."""
    found = list[tuple[str, Any]]()
    for name, value in content.items():
        options.require_known(str(name), str(name), where)
        if name in options.groups and isinstance(value, Mapping):
            for inner, each in value.items():
                options.require_known(f"{name}.{inner}", f"{name}.{inner}", where)
                found.append((f"{name}.{inner}", each))
        elif name in options.kinds:
            found.append((str(name), value))
    return found


def _as_yaml(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _place(content: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The mapping that holds an option, and its key there."""
    group, dot, key = name.partition(".")
    return (content.get(group) or {}, key) if dot else (content, name)


def record_of(configuration: str, without: Collection[str], resolved: Mapping[str, Any]) -> str:
    """The configuration that ran: what had no effect is left out, and what was found out is filled in.

    Args:
        configuration: As the parser resolved it, YAML; may be empty.
        without: Options that had no effect; with a dot for one of a group.
        resolved: Values that options came to mean, likewise.

    Returns:
        YAML that gives the same run again as a ``--config`` file.
    """
    content = yaml.safe_load(configuration) or {}
    for name in without:
        group, key = _place(content, name)
        group.pop(key, None)
    for name, value in resolved.items():
        group, key = _place(content, name)
        if key in group:
            group[key] = to_builtin_types(named(value) if isinstance(value, Path) else value)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120) if content else ""
