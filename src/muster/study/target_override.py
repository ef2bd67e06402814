"""Other settings for some targets of a study: each dataset has a resolution of its own (M21 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from muster.data import ImageSize, SizeSetting
from muster.files import to_builtin_types
from muster.training.plan_entries import require_settings, with_settings
from muster.training.settings import TrainingSettings


class TargetOverride:
    """Other settings for some targets; what is left out stays as it is for all.

    In YAML a mapping: ``{targets: [camvid], image_size: "shorter:624", crop_size: 624x832}``.

    Attributes:
        targets: The targets concerned, as the study names them.
        image_size: Size at which members see their images; ``None`` for that of all targets.
        settings: Any of :class:`muster.training.settings.TrainingSettings` but the seed, by name.
    """

    def __init__(self, targets: Sequence[str], image_size: SizeSetting | None = None, **settings: object) -> None:
        """Keep what is named.

        Args:
            targets: See the class.
            image_size: See the class.
            settings: What is other for them; ``None`` where that is a value of the setting.

        Raises:
            ConfigError: If a name is no setting, or a value has the wrong type.
        """
        named = {"targets": targets, "image_size": image_size, **settings}
        require_settings(named, self.kinds(), f"per_target for {targets}")
        if image_size is not None:
            ImageSize.of(image_size)
        self.targets, self.image_size, self.settings = tuple(targets), image_size, settings

    @staticmethod
    def kinds() -> dict[str, Any]:
        """The keys of such a mapping, with their types."""
        hints = get_type_hints(TrainingSettings)
        named = {field.name: hints[field.name] for field in fields(TrainingSettings) if field.name != "seed"}
        return {"targets": tuple[str, ...], "image_size": SizeSetting | None, **named}

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> TargetOverride:
        """Read a mapping, as YAML gives it."""
        return cls(**content)

    def to_mapping(self) -> dict[str, Any]:
        """The mapping that gives the same again, in plain values."""
        size = {} if self.image_size is None else {"image_size": self.image_size}
        named: dict[str, Any] = to_builtin_types({"targets": self.targets, **size, **self.settings})
        return named

    def __eq__(self, other: object) -> bool:
        """Whether another is the same."""
        return isinstance(other, TargetOverride) and self.to_mapping() == other.to_mapping()

    def __hash__(self) -> int:
        """The hash of the targets' names; equal overrides have the same."""
        return hash(self.targets)

    def apply(self, settings: TrainingSettings) -> TrainingSettings:
        """The settings with what this override names put in.

        Raises:
            ConfigError: If a value is out of its range.
        """
        return with_settings(settings, self.settings, self.kinds(), f"per_target for {', '.join(self.targets)}")
