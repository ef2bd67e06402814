"""What a user says of a model that others trained, and what a model source makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import torch

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.errors import ConfigError, unknown_name
from muster.expected import find_misfit
from muster.files import as_file_name, to_builtin_types
from muster.models.source_model import SourceModel

_KEYS = {"source": "from"}  # what is written where the word is taken in Python


@dataclass(frozen=True)
class Adoption:
    """A model that others trained, to become a member.

    In YAML a mapping: ``{name: unet-street, from: smp, model: FOLDER, dataset: cityscapes}``.

    Attributes:
        name: The member's name.
        source: The model source, ``from`` in YAML: a file of :mod:`muster.models.sources`.
        model: What the source calls it: a folder, a name on a hub, a builder, a file.
        weights: A file of tensors, or the name of published weights, where ``model`` does not hold them.
        architecture: What to build, for sources that have to be told.
        encoder: Its encoder, if it is not part of ``architecture``.
        arguments: Other arguments of the library's builder.
        layer: The layer whose output is the model's features, where the last linear layer cannot be found or is not
            what scores are made of.
        pretraining: What a backbone's weights are, as for trained members.
        classes: The source classes in the order of the scores, or a file with one a line; by default those of the
            model's own config.
        mean: Channel means of its images, for pixels scaled to 0..1, in place of those of its config.
        std: Channel standard deviations, likewise.
        image_size: Longer side, ``shorter:N`` or ``ROWSxCOLUMNS``, in place of what its config says; after a slash what
            is cut out of the middle, for classifiers of whole images (``shorter:256/224x224``).
        channel_order: ``rgb`` or ``bgr``, likewise.
        dataset: Name of the dataset that it was trained on.
        domain: Its visual domain.
        data: Folder of that dataset, to note which images the model has seen and to draw its source sample.
        licence: Terms of the weights.
        citation: What to cite for them.
        task: Name of the task that it was trained for, where its scores do not tell: ``multilabel`` for a classifier
            whose classes do not exclude one another.
    """

    name: str
    source: str
    model: str = ""
    weights: str | None = None
    architecture: str | None = None
    encoder: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None
    pretraining: str = ""
    classes: Sequence[str] | str = ()
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    image_size: int | str | None = None
    channel_order: str | None = None
    dataset: str = ""
    domain: str = ""
    data: str | None = None
    licence: str = ""
    citation: str = ""
    task: str = ""

    where: ClassVar[str] = "plan.adopt"
    """Where such mappings are written, for errors."""

    def __post_init__(self) -> None:
        """Refuse names that are no folder, and values that are none.

        Raises:
            ConfigError: If the name does not serve as a folder's, or a value is out of its range.
        """
        if not self.name or self.name != as_file_name(self.name):
            raise ConfigError(f"{self.where}: name {self.name!r} does not serve as the name of a folder.")
        if self.channel_order not in (None, "rgb", "bgr"):
            raise self.error(f"channel_order: expected rgb or bgr, but got {self.channel_order!r}")
        if (self.mean is None) != (self.std is None):
            raise self.error("mean and std: give both or none")

    def error(self, what: str) -> ConfigError:
        """An error that names this entry.

        Args:
            what: What is wrong, without a full stop.

        Returns:
            To be raised.
        """
        return ConfigError(f"{self.where}, {self.name!r}: {what}.")

    def required(self, *names: str) -> None:
        """Check that the source is told what it needs.

        Args:
            names: Attributes that must not be empty.

        Raises:
            ConfigError: If one is.
        """
        missing = [name for name in names if not getattr(self, name)]
        if missing:
            raise self.error(f"from: {self.source} needs {', '.join(missing)}")

    def unused(self, *names: str) -> None:
        """Refuse what has no effect with this source.

        Args:
            names: Attributes that it does not look at.

        Raises:
            ConfigError: If one is given.
        """
        if given := [name for name in names if getattr(self, name)]:
            raise self.error(
                f"{', '.join(given)} {'have' if len(given) > 1 else 'has'} no effect with from: {self.source}"
            )

    def class_names(self, count: int, known: Sequence[str] = ()) -> tuple[str, ...]:
        """The source classes.

        Args:
            count: How many score maps the model has.
            known: What its own config calls them.

        Returns:
            As many names.

        Raises:
            ConfigError: If there are others than ``count``, or none is known.
        """
        names = tuple(_lines_of(self.classes, self)) or tuple(known)
        if not names:
            raise self.error(
                f"classes: the model has {count} and does not say what they are. Name them in their order, in a list "
                "or in a file with one name a line"
            )
        if len(names) != count:
            raise self.error(f"classes: expected {count}, as many as the model scores, but got {len(names)}")
        return names

    def preprocessing(self, own: Preprocessing | None = None) -> Preprocessing | None:
        """How the model wants its images.

        Args:
            own: What its own config says.

        Returns:
            That, with what the user says in its place. A kind of entry whose images need not be known gives ``None``.

        Raises:
            ConfigError: If nobody says mean and std.
        """
        if self.mean is not None and self.std is not None:
            statistics = ChannelStatistics(_three(self.mean, self), _three(self.std, self))
        elif own is not None:
            statistics = own.statistics
        else:
            raise self.error(
                "mean and std are not known. Give those of the images that it was trained on, for pixels scaled to "
                "0..1, e.g. ImageNet's: mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"
            )
        size = own.size if own is not None else None
        return Preprocessing(
            statistics,
            size if self.image_size is None else ImageSize.of(self.image_size),
            self.channel_order or ("rgb" if own is None else own.channel_order),  # type: ignore[arg-type]
            "bilinear" if own is None else own.interpolation,
        )

    def complete(
        self, model: SourceModel, own: Preprocessing | None = None, known: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Give a model its preprocessing, and say what its classes are.

        Args:
            model: It is changed.
            own: What its own config says of preprocessing.
            known: What its own config calls the classes.

        Returns:
            The source classes.

        Raises:
            ConfigError: That names all that is missing, not the first thing alone.
        """
        problems: list[str] = []
        classes: tuple[str, ...] = ()
        try:
            model.preprocessing = self.preprocessing(own)
        except ConfigError as error:
            problems.append(str(error))
        try:
            classes = self.class_names(model.num_classes, known)
        except ConfigError as error:
            problems.append(str(error).removeprefix(f"{self.where}, {self.name!r}: ") if problems else str(error))
        if problems:
            raise ConfigError(" ".join(problems))
        self._require_taken(model)
        return classes

    @torch.no_grad()
    def _require_taken(self, model: SourceModel) -> None:
        """A network that takes one size takes no other, whatever the user says."""
        own = model.preprocessing
        if self.image_size is None or own is None or own.size is None:
            return
        try:
            model(torch.zeros(1, model.in_channels, *own.size.of_a_square))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise self.error(f"image_size: the network takes no images of {own.size} ({error})") from error

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        """The keys of such a mapping, with their types."""
        hints = get_type_hints(cls)
        return {_KEYS.get(each.name, each.name): hints[each.name] for each in fields(cls)}

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Adoption:
        """Read a mapping, as YAML gives it.

        Args:
            content: Keys and values.

        Returns:
            The entry.

        Raises:
            ConfigError: If a key is not known or missing, or a value has the wrong type.
        """
        if isinstance(content, Adoption):
            return content
        kinds, called = cls.kinds(), repr(content.get("name") or content.get("model") or "?")
        for key, value in content.items():
            if key not in kinds:
                raise ConfigError(f"{cls.where}, {called}: {unknown_name('key', key, kinds)}")
            if misfit := find_misfit(key, to_builtin_types(value), kinds[key]):
                raise ConfigError(f"{cls.where}, {called}: {misfit.sentence}")
        if missing := [key for key in ("name", "from") if key not in content]:
            raise ConfigError(f"{cls.where}, {called}: missing key(s) {', '.join(missing)}.")
        names = {key: name for name, key in _KEYS.items()}
        return cls(**{names.get(key, key): value for key, value in content.items()})

    def to_mapping(self) -> dict[str, Any]:
        """The mapping that gives the same again, in plain values, without what is left at its default."""
        defaults = {each.name: each.default for each in fields(self)} | {"arguments": {}}
        said = {name: value for name, value in vars(self).items() if value != defaults[name]}
        mapping: dict[str, Any] = to_builtin_types({_KEYS.get(name, name): value for name, value in said.items()})
        return mapping


@dataclass(frozen=True, eq=False)
class Adopted:
    """What a source makes of an entry.

    Attributes:
        model: The network with its weights and its preprocessing, on the CPU, in evaluation mode.
        classes: Its source classes; none for a backbone.
        licence: Terms of the weights, where the model says them.
        pretraining: What its own training started from, if it is known.
        task: Name of the task that it was trained for, where the model says that and its scores do not.
    """

    model: SourceModel
    classes: tuple[str, ...]
    licence: str = ""
    pretraining: str = ""
    task: str = ""


def _lines_of(classes: Sequence[str] | str, entry: Adoption) -> list[str]:
    """Names from a list, or from a file with one a line."""
    if not isinstance(classes, str):
        return list(classes)
    path = Path(classes).expanduser()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise entry.error(f"classes: {path} cannot be read as a list of names, one a line ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _three(values: Sequence[float], entry: Adoption) -> tuple[float, float, float]:
    if len(values) != 3:
        raise entry.error(f"mean and std: expected 3 numbers each, but got {list(values)}")
    red, green, blue = map(float, values)
    return red, green, blue
