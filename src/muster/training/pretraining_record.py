"""What lies beside pre-trained weights: how they were made, and of which images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muster.data import ContentSketch
from muster.errors import PretrainingError
from muster.files import sha256_once
from muster.records import read_record

RECORD = "pretraining.yaml"

FORMAT_VERSION = 1


@dataclass(frozen=True)
class PretrainingSource:
    """One of the datasets.

    Attributes:
        name: What it is called.
        images: How many of its images were seen.
        licence: Its terms; empty if they are not known.
        citation: What to cite.
    """

    name: str
    images: int
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class PretrainingRecord:
    """How weights were pre-trained.

    Attributes:
        method: ``simclr``.
        architecture: What :func:`muster.models.build_model` builds.
        holds: What the file has weights of: ``network``, everything before the head; or ``backbone``, without the
            decoder.
        started_from: Where the weights before came from, as :class:`muster.models.pretraining.StartedBody` has it.
        datasets: What was seen.
        images: How many images in all.
        steps: Optimiser steps.
        settings: All settings, in plain values.
        losses: Points of the curve as (step, loss).
        contents: What is remembered of the images, and of those that the weights before had seen.
        description: Digest of all that the result depends on.
        sha256: Of the weights file.
        device: What it was computed on.
        seconds: How long the last part took, after an interruption if there was one.
        date: When, ISO 8601.
        versions: Software it was made with.
    """

    method: str
    architecture: str
    holds: str
    started_from: dict[str, str]
    datasets: tuple[PretrainingSource, ...]
    images: int
    steps: int
    settings: dict[str, Any]
    losses: tuple[tuple[int, float], ...]
    contents: tuple[ContentSketch, ...]
    description: str
    sha256: str
    device: str
    seconds: float
    date: str
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def licences(self) -> tuple[str, ...]:
        """Terms of what was seen, each once; what is not known says so."""
        return tuple(dict.fromkeys(each.licence or f"unknown ({each.name})" for each in self.datasets))


def read_pretraining(weights: Path) -> PretrainingRecord:
    """Read what lies beside pre-trained weights.

    Args:
        weights: The weights file.

    Returns:
        The record.

    Raises:
        PretrainingError: If it cannot be read, or the weights are not those that it speaks of.
    """
    path = weights.parent / RECORD
    record = read_record(path, PretrainingRecord, FORMAT_VERSION, PretrainingError)
    found = sha256_once(weights)
    if found != record.sha256:
        raise PretrainingError(
            f"{path} speaks of other weights than {weights}: expected SHA-256 {record.sha256[:16]}..., but got "
            f"{found[:16]}.... Keep both together as `muster pretrain` wrote them, or move the weights elsewhere."
        )
    return record
