"""What is written beside the weights of a fine-tuned ensemble, to open it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from muster.data import Preprocessing
from muster.errors import MusterError
from muster.models import Blueprint, TTASettings
from muster.models.pooled import POOLED
from muster.records import read_record
from muster.remote import fetched
from muster.tasks.adopted import usual_task
from muster.training.ensemble_page import ensemble_page
from muster.training.results import HeadChoice

FORMAT_VERSION = 1
CARD = "ensemble.yaml"


class EnsembleError(MusterError):
    """A fine-tuned ensemble cannot be read."""


@dataclass(frozen=True)
class EnsembleCard:
    """What is needed to open an ensemble again.

    Attributes:
        target: Name of the dataset that it was fine-tuned for.
        classes: Its label space.
        mean: Channel means that images are normalised with, of pixels scaled to 0..1.
        std: Channel standard deviations, likewise.
        image_size: Size at which members see an image, as :meth:`muster.data.ImageSize.of` reads it.
        members: Names of the members.
        architectures: What a reader calls each.
        checksums: SHA-256 of every file of tensors.
        versions: Software it was made with.
        preprocessings: The own preprocessing of each member, ``None`` for one without; empty if no member has one.
        tta: In which ways an image is predicted.
        task: What it predicts, see :mod:`muster.tasks.task`; empty in cards from before.
        stored_size: Rows and columns of a usual training image as stored; ``None`` in cards from before.
        blueprints: How each is built; none in cards from before, when :func:`muster.models.build_model` built all.
        licences: Terms of the data and weights that it is made from, by what they are of; none in cards from before.
        head_choice: How it was decided whether the learned head is kept; ``None`` where nobody had to decide.
    """

    target: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | str
    members: tuple[str, ...]
    architectures: tuple[str, ...]
    checksums: dict[str, str]
    versions: dict[str, str]
    preprocessings: tuple[Preprocessing | None, ...] = ()
    blueprints: tuple[Blueprint, ...] = ()
    tta: TTASettings = TTASettings()  # noqa: RUF009 (frozen)
    licences: dict[str, str] = field(default_factory=dict)
    stored_size: tuple[int, int] | None = None
    task: str = ""
    head_choice: HeadChoice | None = None

    @property
    def known_task(self) -> str:
        """What it predicts, as far as a card from before says it."""
        pooled = any(blueprint.source == POOLED for blueprint in self.blueprints)
        return self.task or usual_task(pooled).name

    @property
    def built_by(self) -> tuple[Blueprint, ...]:
        """How each member is built."""
        return self.blueprints or tuple(Blueprint("native", architecture) for architecture in self.architectures)

    def page(self) -> str:
        """The content of the ensemble's README.md."""
        members = dict(zip(self.members, self.architectures, strict=True))
        facts = self.target, self.classes, members, self.image_size, self.licences, self.versions, self.known_task
        return ensemble_page(*facts, self.head_choice is None or self.head_choice.kept)


def read_card(path: Path | str) -> EnsembleCard:
    """What is written about a fine-tuned ensemble, without its weights.

    Args:
        path: As for :func:`muster.training.finetuned_ensemble.load_ensemble`.

    Returns:
        Its card.

    Raises:
        EnsembleError: If it is missing or damaged.
    """
    card = folder_of(Path(path)) / CARD
    if not card.exists() and not card.is_symlink():
        said = f"Give what finetune.py or muster distil wrote; a selection is fine-tuned first ({CARD} is missing)"
        raise EnsembleError(f"{path} holds no fine-tuned ensemble. {said}.")
    return read_record(card, EnsembleCard, FORMAT_VERSION, EnsembleError)


def folder_of(path: Path) -> Path:
    """Where the ensemble of a run lies."""
    path = fetched(path, EnsembleError)
    inner = path / "ensemble"
    return inner if not (path / CARD).is_file() and (inner / CARD).is_file() else path


def page_of(folder: Path) -> str:
    """The page of an ensemble, for folders from before that have none.

    Args:
        folder: The ensemble's.

    Returns:
        The content of its README.md.

    Raises:
        EnsembleError: If its card cannot be read.
    """
    return read_record(folder / CARD, EnsembleCard, FORMAT_VERSION, EnsembleError).page()
