"""What it takes to train one member of a pool, and the recipe that its weights depend on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from muster.data import ChannelStatistics, ImageSize
from muster.files import sha256_once, to_builtin_types
from muster.models import pretraining_statistics, weights_file
from muster.pool import MEMBERS, Card
from muster.training.finished import digest_of
from muster.training.hardware import Hardware
from muster.training.settings import SourceSettings

WORK = "work"
"""The folder of a pool below which unfinished members lie."""

_LATER = {
    "learning_rates": (),
    "held_out_fraction": 0.2,
    "tried_stops": 1,
    "loss": "scores",
    "sample_images": None,
    "normalisation": "source",
    "optimizer": "sgd",
    "warmup_steps": 0,
    "layer_decay": 1.0,
    "clip_norm": None,
    "ema_decay": None,
    "added_loss": "none",
    "added_loss_weight": 1.0,
    "label_smoothing": 0.0,
    "class_weighting": "none",
    "colour_jitter": 0.0,
    "adapt": "full",
    "lora_rank": 8,
    "patience": 10,
    "decay_after": (),
    "step_counts": (),
}
"""Settings that recipes have been given since the first release: the usual values leave a recipe what it was."""


_NO_RECIPE = {"hardware", "logger", "pool", "weights"}
"""What the weights of a member do not depend on; of a file that it starts from the content counts, not the place."""


@dataclass(frozen=True)
class MemberJob:
    """Everything a worker process must know to train one member.

    Attributes:
        name: The name of the member.
        pool: Folder of the pool.
        dataset: What :func:`muster.data.open_dataset` opens.
        architecture: What :func:`muster.models.build_model` builds.
        pretraining: What to start from; with ``weights`` a word for what they have learned.
        settings: How to train.
        hardware: What to compute on.
        logger: Kinds of loggers that curves go to besides the member's ``history.csv``.
        weights: The file that the pre-training is in, where a plan names one for an architecture.
        datasets: The sources of a multi-source member, in the order of its heads; ``dataset`` is empty then.
    """

    name: str
    pool: Path
    dataset: str
    architecture: str
    pretraining: str
    settings: SourceSettings
    hardware: Hardware
    logger: tuple[str, ...] = ("csv",)
    weights: Path | None = None
    datasets: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All datasets that it is trained on, likewise."""
        return self.datasets or (self.dataset,)

    @property
    def start(self) -> str:
        """The pre-training as :func:`muster.models.build_model` takes it."""
        return self.pretraining if self.weights is None else str(self.weights)

    @property
    def recipe(self) -> dict[str, Any]:
        """What the member's weights depend on, in plain values, the weights that it starts from included."""
        asked = {key: value for key, value in asdict(self).items() if key not in _NO_RECIPE}
        if not self.datasets:
            del asked["datasets"]  # recipes from before know of one dataset only
        path = weights_file(self.architecture, self.start)
        asked["settings"] = {key: value for key, value in asked["settings"].items() if _LATER.get(key, ...) != value}
        mapping: dict[str, Any] = to_builtin_types(asked | ({} if path is None else {"starts_from": sha256_once(path)}))
        return mapping

    @property
    def recipe_hash(self) -> str:
        """One word for the recipe."""
        return digest_of(self.recipe)

    @property
    def verb(self) -> str:
        """What is done to have the member."""
        return "train"

    def other_way(self, card: Card) -> str:
        """How a member of this name was trained, if not as is now asked for.

        Args:
            card: The member's.

        Returns:
            The end of the sentence "kept the member, ..."; empty if nothing is known to differ.
        """
        names = ("batch_size", "schedule", "seed")
        asked: dict[str, object] = {name: getattr(self.settings, name) for name in names}
        asked |= {"architecture": self.architecture, "image_size": self._image_size_like(card)}
        if not self.settings.tried_rates:  # otherwise the card has the one that was chosen
            asked["learning_rate"] = self.settings.initial_rate
        if self.settings.tried_stops == 1 and len(self.settings.step_counts) < 2:  # likewise
            asked["steps"] = max(self.settings.all_step_counts)
        other = {name: getattr(card, name) for name, value in asked.items() if getattr(card, name) != value}
        if other:
            return "trained with " + ", ".join(f"{name} {value} (now {asked[name]})" for name, value in other.items())
        return "trained in another way" if card.recipe and card.recipe != self.recipe_hash else ""

    def _image_size_like(self, card: Card) -> int | str:
        """The image size that is asked for, as a card has it: of texts a plain number is one of characters."""
        size = ImageSize.of(self.settings.image_size)
        of_texts = card.image_size is not None and ImageSize.of(card.image_size).characters is not None
        return (ImageSize(characters=size.longer) if of_texts and size.longer else size).setting

    def own_statistics(self) -> ChannelStatistics | None:
        """What the member's images are always normalised with; ``None`` for the statistics of each dataset.

        Raises:
            ConfigError: If those of its pre-training are asked for, but are not known.
        """
        if self.settings.normalisation == "source":
            return None
        return pretraining_statistics(self.architecture, self.start)

    @property
    def work(self) -> Path:
        """Where the member lies while it is being trained."""
        return self.pool / WORK / self.name

    @property
    def folder(self) -> Path:
        """Where it lies when it is done."""
        return self.pool / MEMBERS / self.name
