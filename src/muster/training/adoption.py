"""Make a member of a pool of a model that others trained: read it, look at it, and put its folder on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from muster.data import ContentSketch, Dataset, ImageSize, content_prefixes, open_dataset
from muster.errors import ConfigError
from muster.models import SOURCES, SourceModel
from muster.models.adoption import Adopted, Adoption
from muster.pool import MEMBERS, Card, software_versions, write_member
from muster.tasks.source_sample import sample_source
from muster.training.finished import digest_of
from muster.training.hardware import Hardware

_SEED = 0
"""Of the source sample."""

_IMAGE_SIZE = 512
"""Longer side, in pixels, at which source images are looked at if nothing says at which the model was trained."""


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
    """The masks of the source mean what the model predicts."""
    classes = source.spec.classes
    if len(classes) != len(adopted.classes):
        raise ConfigError(
            f"plan.adopt, {entry.name!r}: data: {entry.data} has {len(classes)} classes, but the model predicts "
            f"{len(adopted.classes)}. Give the dataset with the model's own label space (a first class that the model "
            "does not predict, as in ADE20K, is to be void: ignore_index), or leave data out."
        )


def _sample(model: SourceModel, source: Dataset, device: torch.device | str) -> dict[str, Tensor]:
    assert model.preprocessing is not None  # every source gives one
    shown = replace(model.preprocessing, size=model.preprocessing.size or ImageSize(longer=_IMAGE_SIZE))
    return sample_source(model, source.train, shown, _SEED, device)


def _card(job: AdoptionJob, adopted: Adopted, source: Dataset | None) -> Card:
    entry, model = job.entry, adopted.model
    own = model.preprocessing
    assert own is not None  # every source gives one
    name = entry.dataset or (source.spec.name if source is not None else "")
    seen = () if source is None else (ContentSketch.of(name, content_prefixes(source.train)),)
    return Card(
        name=entry.name,
        dataset=name,
        domain=entry.domain or (source.spec.domain if source is not None else ""),
        classes=adopted.classes,
        seen_datasets=(name,) if name else (),
        architecture=model.architecture,
        pretraining=entry.pretraining or adopted.pretraining,
        mean=own.statistics.mean,
        std=own.statistics.std,
        parameters=model.num_parameters,
        depth=model.depth,
        versions=software_versions(),
        checksum="",  # write_member knows it
        image_size=None if own.size is None else own.size.setting,
        train_images=None if source is None else len(source.train),
        licence="" if source is None else source.spec.licence,
        citation=entry.citation,
        recipe=job.recipe_hash,
        contents=seen,
        blueprint=model.blueprint,
        started_from=getattr(model, "started_from", {}),
        weights_licence=entry.licence or adopted.licence,
        preprocessing=own,
    )
