"""Make a member of a pool of a model that others trained: read it, look at it, and put its folder on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from muster.data import ContentSketch, Dataset, ImageSize, content_prefixes, open_dataset, usual_preprocessing
from muster.errors import ConfigError
from muster.models import SOURCES, SourceModel
from muster.models.adoption import Adopted, Adoption
from muster.pool import MEMBERS, Card, card_of_adopted, write_member
from muster.tasks.adopted import task_of_network
from muster.tasks.source_sample import sample_source
from muster.tasks.task import in_classes, task_of
from muster.training.finished import digest_of
from muster.training.hardware import Hardware

_SEED = 0
"""Of the source sample."""

_IMAGE_SIZE = 512
"""Longer side in pixels, or number of characters, at which a source is looked at if nothing says how the model was
trained."""


@dataclass(frozen=True)
class AdoptionJob:
    """Everything that is needed to adopt one model.

    Attributes:
        pool: Folder of the pool.
        entry: What the user says of the model.
        hardware: What source images are looked at with.
        data_root: Folder below which its dataset is looked for.
    """

    pool: Path
    entry: Adoption
    hardware: Hardware = Hardware()  # noqa: RUF009 (frozen)
    data_root: Path | None = None

    @property
    def name(self) -> str:
        """The name of the member."""
        return self.entry.name

    @property
    def folder(self) -> Path:
        """Where it will lie."""
        return self.pool / MEMBERS / self.name

    @property
    def recipe_hash(self) -> str:
        """One word for what was asked for."""
        return digest_of(self.entry.to_mapping())

    @property
    def verb(self) -> str:
        """What is done to have the member."""
        return "adopt"

    def other_way(self, card: Card) -> str:
        """How a member of this name was made, if not as is now asked for.

        Args:
            card: The member's.

        Returns:
            The end of the sentence "kept the member, ..."; empty if it was made so.
        """
        return "made otherwise" if card.recipe != self.recipe_hash else ""


def adopt_member(job: AdoptionJob) -> None:
    """Adopt a model: its weights as safetensors, its card, and its source sample if its images are given.

    Args:
        job: What to adopt.

    Raises:
        MusterError: If the model or its dataset cannot be had, read or understood.
    """
    entry = job.entry
    adopted = SOURCES[entry.source].adopt(entry)
    source = None if entry.data is None else open_dataset(entry.data, job.data_root)
    sample: dict[str, Tensor] = {}
    if source is not None and adopted.classes:
        _require_same_classes(entry, adopted, source)
        device = job.hardware.resolved_device()
        sample = _sample(adopted.model.to(device), source, device)
    write_member(job.folder, adopted.model.cpu(), _card(job, adopted, source), sample)


def _require_same_classes(entry: Adoption, adopted: Adopted, source: Dataset) -> None:
    """The labels of the source mean what the model predicts."""
    classes, own = source.spec.classes, task_of_network(adopted.model, entry.task or adopted.task)
    if source.spec.task != own.name:
        both = task_of(source.spec).is_pooled and own.is_pooled
        say = f"say 'task: {source.spec.task}' if the model is for that too, " if both else ""
        raise ConfigError(
            f"plan.adopt, {entry.name!r}: data: {entry.data} is for {source.spec.task}, but the model is for "
            f"{own.name}. Give the dataset that it was trained on, {say}or leave data out."
        )
    if len(classes) != len(adopted.classes):
        raise ConfigError(
            f"plan.adopt, {entry.name!r}: data: {entry.data} has {len(classes)} classes, but the model predicts "
            f"{len(adopted.classes)}. Give the dataset with the model's own label space (a first class that the model "
            "does not predict, as in ADE20K, is to be void: ignore_index), or leave data out."
        )


def _sample(model: SourceModel, source: Dataset, device: torch.device | str) -> dict[str, Tensor]:
    own = model.preprocessing
    if own is None:  # of texts
        shown = usual_preprocessing(source.train, _IMAGE_SIZE)
    else:
        shown = replace(own, size=own.size or ImageSize(longer=_IMAGE_SIZE))
    return sample_source(model, in_classes(source.train), shown, _SEED, device)


def _card(job: AdoptionJob, adopted: Adopted, source: Dataset | None) -> Card:
    entry = job.entry
    name = entry.dataset or (source.spec.name if source is not None else "")
    domain = entry.domain or (source.spec.domain if source is not None else "")
    return replace(
        card_of_adopted(adopted, entry.name, name, domain, entry.task),
        pretraining=entry.pretraining or adopted.pretraining,
        train_images=None if source is None else len(source.train),
        licence="" if source is None else source.spec.licence,
        citation=entry.citation,
        recipe=job.recipe_hash,
        contents=() if source is None else (ContentSketch.of(name, content_prefixes(source.train)),),
        weights_licence=entry.licence or adopted.licence,
    )
