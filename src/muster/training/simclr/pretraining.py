"""From images without labels to a file of weights that a pool names."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from safetensors.torch import save_file
from torch import Tensor

from muster.data import ContentSketch, Split, content_prefixes
from muster.errors import PretrainingError
from muster.files import atomic_write, sha256_of, to_builtin_types
from muster.machine import device_label, now
from muster.models import Segmenter, build_model, weights_file
from muster.models.build import family_of
from muster.pool import software_versions
from muster.ranks import rank
from muster.records import write_record
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.fitting import fit_steps
from muster.training.hardware import Hardware
from muster.training.pretraining_record import (
    FORMAT_VERSION,
    RECORD,
    PretrainingRecord,
    PretrainingSource,
    read_pretraining,
)
from muster.training.seen_weights import seen_by_weights
from muster.training.simclr.images import ViewData, ViewPairs
from muster.training.simclr.module import SimCLR
from muster.training.simclr.settings import SimCLRSettings

METHOD = "simclr"

WEIGHTS = "weights.safetensors"

WORK = "work"
"""The folder of checkpoints, below that of the run."""


def pretrain_simclr(
    splits: Sequence[Split],
    architecture: str,
    start: str,
    settings: SimCLRSettings,
    folder: Path,
    hardware: Hardware,
    loggers: Sequence[Logger] = (),
) -> PretrainingRecord:
    """Pre-train a network, and write its weights and their record; taken up again if it was interrupted.

    Of a network with a decoder the encoder alone is trained: its last map is what an image is known by.

    Args:
        splits: The images; labels are not looked at.
        architecture: What :func:`muster.models.build_model` builds.
        start: What it starts from: ``none``, or whatever else that takes for ``pretraining``.
        settings: How to train.
        folder: Where ``weights.safetensors`` and ``pretraining.yaml`` go, and checkpoints until then.
        hardware: What to compute on.
        loggers: Are told of the course.

    Returns:
        The record. One that is there already of the very same pre-training is what is returned, and nothing is done.

    Raises:
        ConfigError: If settings, architecture and devices do not go together, or lightly is not installed.
        PretrainingError: If the weights to start from cannot be had.
        TrainingDivergedError: If the loss became infinite or NaN.
    """
    before = seen_by_weights(weights_file(architecture, start))
    whole = build_model(architecture, 1, start, settings.seed)
    encoder = Segmenter(architecture, whole.body.without_decoder(), 1)  # knows which parameters it does not need
    settings.require_fitting(encoder.body, hardware.processes())
    hardware.require_devices(hardware.resolved_devices())
    description = _description(splits, architecture, whole, settings)
    if (there := _finished(folder, description)) is not None:
        return there
    module = SimCLR(encoder.body, settings)
    data = ViewData(ViewPairs(splits, settings), hardware.resolved_num_workers())
    keep_checkpoint_of(folder / WORK, {"pretraining": METHOD, "description": description})
    begun = time.monotonic()
    precision = hardware.resolved_precision()
    with hardware.fast_products():
        fit_steps(module, data, folder / WORK, hardware, settings.steps, loggers, precision, settings.checkpoint_every)
    record = PretrainingRecord(
        method=METHOD,
        architecture=architecture,
        holds="network" if encoder.body is whole.body else "backbone",
        started_from=whole.started_from,
        datasets=tuple(_source(split) for split in splits),
        images=data.stream.images,
        steps=settings.steps,
        settings=to_builtin_types(asdict(settings)),
        losses=tuple(module.history),
        contents=(*(ContentSketch.of(each.spec.name, content_prefixes(each)) for each in splits), *before),
        description=description,
        sha256="",
        device=device_label(hardware.resolved_device(), hardware.processes()),
        seconds=round(time.monotonic() - begun, 1),
        date=now(),
        versions=software_versions(),
    )
    return _write(record, whole, folder) if rank() == 0 else record


def _source(split: Split) -> PretrainingSource:
    return PretrainingSource(split.spec.name, len(split), split.spec.licence, split.spec.citation)


def _description(splits: Sequence[Split], architecture: str, start: Segmenter, settings: SimCLRSettings) -> str:
    """A digest of all that the result depends on."""
    digest = hashlib.sha256(repr((architecture, sorted(_of_the_result(settings).items()))).encode())
    for split in splits:
        digest.update(repr((split.spec.name, split.identifiers, content_prefixes(split))).encode())
    for name, value in start.body.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _of_the_result(settings: SimCLRSettings) -> dict[str, Any]:
    """The settings that the weights depend on: all but how often checkpoints are written."""
    return {name: value for name, value in asdict(settings).items() if name != "checkpoint_every"}


def _finished(folder: Path, description: str) -> PretrainingRecord | None:
    """What is there already, if it is of the same pre-training and whole."""
    if not (folder / WEIGHTS).is_file() or not (folder / RECORD).is_file():
        return None
    try:
        record = read_pretraining(folder / WEIGHTS)
    except PretrainingError:
        return None  # damaged, or half of two: it is made anew
    return record if record.description == description else None


def _write(record: PretrainingRecord, model: Segmenter, folder: Path) -> PretrainingRecord:
    """Write weights and record; the record comes last, and names the weights by their checksum."""
    named = ", ".join(each.name for each in record.datasets)
    said = {
        "format": "pt",
        "source": f"SimCLR on {record.images} images of {named}",
        "licence": "; ".join(record.licences),
        "pretraining": METHOD,
        "architecture": record.architecture,
    }
    (folder / RECORD).unlink(missing_ok=True)
    with atomic_write(folder / WEIGHTS) as partial:
        save_file(_tensors(record, model), partial, said)
    written = replace(record, sha256=sha256_of(folder / WEIGHTS))
    write_record(folder / RECORD, written, FORMAT_VERSION)
    return written


def _tensors(record: PretrainingRecord, model: Segmenter) -> dict[str, Tensor]:
    """The whole network by its own names; or the backbone by those that timm, torchvision or SMP give."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.body.state_dict().items()}
    if record.holds == "network":
        return {f"body.{name}": value for name, value in state.items()}
    keys = family_of(record.architecture).backbone_keys(model.body)
    return {public: state[name] for name, public in keys.items()}
