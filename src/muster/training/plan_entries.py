"""Entries of a pool's plan: networks that each name what they start from, and other settings for some members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from muster.errors import ConfigError, unknown_name
from muster.expected import find_misfit
from muster.files import as_file_name, to_builtin_types
from muster.training.settings import SourceSettings, TrainingSettings

Settings = TypeVar("Settings", bound=TrainingSettings)


class Override:
    """Other settings for some members; what is left out stays as it is for all.

    In YAML a mapping: ``{members: "attic-*", steps: 30, crop_size: null}``, or with ``datasets: [camvid]``.

    Attributes:
        members: Names of the members concerned; ``*`` and ``?`` are wildcards.
        datasets: Only members that are trained on one of these, written as in the plan; on any if none are named.
        settings: Any of :class:`muster.training.settings.SourceSettings`, by name.
    """

    def __init__(self, members: str = "*", datasets: Sequence[str] = (), **settings: object) -> None:
        """Keep what is named.

        Args:
            members: Names of the members concerned.
            datasets: What they are trained on.
            settings: What is other for them; ``None`` where that is a value of the setting.

        Raises:
            ConfigError: If a name is no setting, a value has the wrong type, or neither members nor datasets are named.
        """
        named = {"members": members, "datasets": datasets, **settings}
        require_settings(named, self.kinds(), f"plan.overrides for {members!r}")
        self.members, self.datasets, self.settings = members, tuple(datasets), settings

    @staticmethod
    def kinds() -> dict[str, Any]:
        """The keys of such a mapping, with their types: those of the settings, and which members are meant."""
        hints = get_type_hints(SourceSettings)
        return {
            "members": str,
            "datasets": tuple[str, ...],
            **{field.name: hints[field.name] for field in fields(SourceSettings)},
        }

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Override:
        """Read a mapping, as YAML gives it."""
        return cls(**content)

    def to_mapping(self) -> dict[str, Any]:
        """The mapping that gives the same again, in plain values."""
        of = {"datasets": self.datasets} if self.datasets else {}
        named: dict[str, Any] = to_builtin_types({"members": self.members, **of, **self.settings})
        return named

    def matches(self, member: str, references: Collection[str]) -> bool:
        """Whether a member is meant.

        Args:
            member: Its name.
            references: What it is trained on, as the plan writes it.
        """
        of = not self.datasets or any(reference in self.datasets for reference in references)
        return of and fnmatchcase(member, self.members)

    @property
    def told(self) -> str:
        """Which members are meant, for sentences."""
        return repr(self.members) + (f" on {', '.join(self.datasets)}" if self.datasets else "")

    def __eq__(self, other: object) -> bool:
        """Whether another is the same."""
        return isinstance(other, Override) and self.to_mapping() == other.to_mapping()

    def __hash__(self) -> int:
        """The hash of the members' names; equal overrides have the same."""
        return hash(self.members)

    def apply(self, settings: SourceSettings) -> SourceSettings:
        """The settings with what this override names put in.

        Raises:
            ConfigError: If a value is out of its range.
        """
        return with_settings(settings, self.settings, self.kinds(), f"plan.overrides for {self.members!r}")


def require_settings(named: Mapping[str, object], kinds: Mapping[str, Any], where: str) -> None:
    """Refuse what is no setting, and values of another type.

    Args:
        named: Values by name.
        kinds: All names there are, with their types.
        where: Beginning of the message.

    Raises:
        ConfigError: Naming the first of them.
    """
    for name, value in named.items():
        if name not in kinds:
            raise ConfigError(f"{where}: {unknown_name('training setting', name, kinds)}")
        if misfit := find_misfit(name, to_builtin_types(value), kinds[name]):
            raise ConfigError(f"{where}: {misfit.sentence}")


def with_settings(settings: Settings, named: Mapping[str, object], kinds: Mapping[str, Any], where: str) -> Settings:
    """Settings with other values for some.

    Args:
        settings: All of them.
        named: The other values by name, as YAML has them; see :func:`require_settings`.
        kinds: Types by name.
        where: Beginning of the message.

    Raises:
        ConfigError: If a value is out of its range.
    """
    given = {name: _as_kind(value, kinds[name]) for name, value in named.items()}
    try:
        return replace(settings, **given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _as_kind(value: object, kind: object) -> Any:
    """A value of YAML as a setting has it: YAML has lists where settings have tuples, and takes 1e-3 for a text."""
    if isinstance(value, list | tuple):
        return tuple(_as_kind(each, get_args(kind)[0]) for each in value)
    return float(value) if kind is float and isinstance(value, str | int) else value


@dataclass(frozen=True)
class Network:
    """An architecture and what it starts from.

    Attributes:
        architecture: A name as in the README, e.g. fpn:resnet18.
        pretraining: none, imagenet, simclr, or the path of a safetensors file; with weights, a word for what they have
            learned.
        weights: A safetensors file to start from, of the whole architecture or of its backbone alone.
        datasets: On which of the plan's datasets it is trained; on all of them unless some are named.
    """

    architecture: str
    pretraining: str = "none"
    weights: Path | None = None
    datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse weights that have learned nothing, and words that would not stand in a name.

        Raises:
            ConfigError: If there are weights, but no word for what they have learned.
        """
        if self.weights is not None and as_file_name(self.pretraining) != self.pretraining:
            raise ConfigError(
                f"plan: expected a word for what {str(self.weights)!r} has learned, such as "
                f"pretraining: imagenet, but got {self.pretraining!r}."
            )
        if self.weights is not None and self.pretraining == "none":
            raise ConfigError(
                f"plan: {self.architecture!r} starts from weights ({self.weights}): say what they have "
                "learned, such as pretraining: imagenet."
            )

    @property
    def start(self) -> str:
        """The pre-training as :func:`muster.models.build_model` takes it."""
        return self.pretraining if self.weights is None else str(self.weights)
