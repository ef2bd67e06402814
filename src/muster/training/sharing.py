"""How many members are trained side by side on one GPU: as many as its memory and the processor cores allow.

A small network leaves most of a GPU idle. Eight members side by side on one H100 trained the pool of the demo in 36
seconds instead of 84.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from muster.errors import ConfigError
from muster.execution.executor import Executor
from muster.execution.one_job import ask
from muster.execution.placement import visible_gpus, worker_environments
from muster.machine import available_cores
from muster.models import SourceModel
from muster.records import parse_record
from muster.training.hardware import Hardware

MOST_SHARING = 8
"""Members on one GPU: sixteen gain nothing more where time is shared, only by MPS (docs/results/benchmarks.md)."""

CORES_EACH = 2
"""Processor cores that a member needs: one leads the GPU, one reads images."""

USED_FRACTION = 0.8
"""Share of a GPU's memory that is planned with: the allocator keeps more than is used."""

CONTEXT_BYTES = 1 << 30
"""What a process takes on a GPU before it computes anything, kernels and workspaces included."""

_WEIGHT_COPIES = 4  # weights, gradients, momentum, and room for the largest temporary
_SCORE_COPIES = 4  # upsampled scores, their softmax, its logarithm, and the gradient
_BYTES = 4  # float32, although half of it may do


def training_bytes(model: SourceModel, batch_size: int, crop_size: tuple[int, int], is_pooled: bool = False) -> int:
    """Memory that training a network takes on a GPU; rather too much than too little.

    Args:
        model: The network. It is neither run nor changed: only shapes are computed.
        batch_size: Crops of one step on the device.
        crop_size: Their rows and columns, in pixels.
        is_pooled: Whether one prediction is made for a whole crop, not one for each of its pixels.

    Returns:
        Bytes: weights with their gradients and momentum, the output of every layer for a batch in float32, the scores
        at the size of the crops, and what a process takes in any case.
    """
    weights = sum(value.numel() for value in model.parameters())
    return bytes_of(
        weights, layer_outputs(model, crop_size), model.num_classes, batch_size, places(crop_size, is_pooled)
    )


def places(crop_size: tuple[int, int], is_pooled: bool) -> int:
    """For how many places of a crop there are scores.

    Args:
        crop_size: Its rows and columns, in pixels.
        is_pooled: Whether one prediction is made for all of it.
    """
    return 1 if is_pooled else math.prod(crop_size)


def bytes_of(weights: int, outputs: int, num_classes: int, batch_size: int, scored: int) -> int:
    """See :func:`training_bytes`.

    Args:
        weights: Numbers that are trained.
        outputs: What :func:`layer_outputs` gives for such a crop.
        num_classes: Of the head.
        batch_size: Crops of one step on the device.
        scored: See :func:`places`.
    """
    scores = num_classes * scored * batch_size * _SCORE_COPIES
    return CONTEXT_BYTES + (weights * _WEIGHT_COPIES + outputs * batch_size + scores) * _BYTES


def layer_outputs(model: SourceModel, crop_size: tuple[int, int]) -> int:
    """Numbers that the layers give for one crop, all together.

    Args:
        model: It is neither run nor changed.
        crop_size: Rows and columns, in pixels.
    """
    counted = [0]

    def count(layer: nn.Module, arrived: object, given: object) -> None:  # noqa: ARG001 (a hook's)
        if isinstance(given, Tensor):
            counted[0] += given.numel()

    shapes = _without_numbers(model)
    for layer in shapes.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    with torch.no_grad():
        shapes.eval()(torch.zeros(1, model.in_channels, *crop_size, device="meta"))
    return counted[0]


def _without_numbers(model: SourceModel) -> SourceModel:
    """A copy that has shapes only."""
    return deepcopy(model).to("meta")


def workers_per_gpu(job_bytes: Sequence[int], gpu_bytes: int, cores: int, gpus: int) -> int:
    """How many members to train side by side on each GPU.

    Args:
        job_bytes: What each member takes, see :func:`training_bytes`; any of them may meet any other on a GPU.
        gpu_bytes: Memory of the smallest GPU.
        cores: Processor cores of this machine.
        gpus: How many GPUs there are.

    Returns:
        At least 1, even if a single member seems too large: what is known is an upper bound.

    Example:
        >>> workers_per_gpu([4 << 30, 2 << 30], gpu_bytes=80 << 30, cores=16, gpus=1)
        8
        >>> workers_per_gpu([30 << 30, 2 << 30], gpu_bytes=80 << 30, cores=16, gpus=1)
        2
    """
    if not job_bytes or gpus < 1:
        return 1
    by_memory = int(gpu_bytes * USED_FRACTION) // max(job_bytes)
    by_cores = cores // (gpus * CORES_EACH)
    return max(1, min(by_memory, by_cores, MOST_SHARING))


def workers_side_by_side(hardware: Hardware, job_bytes: Callable[[], Sequence[int]]) -> int:
    """How many fits run side by side on this machine.

    On GPUs one process for each ``devices`` of them, and where a fit takes a single one, as many on each as
    :func:`workers_per_gpu` says. On a CPU one single-threaded process a core: small models leave most of a second
    thread idle, so two fits side by side are done sooner than one after the other.

    Args:
        hardware: What one fit computes on.
        job_bytes: Tells what each takes on a GPU; asked only where several share one.
    """
    if hardware.resolved_device() != "cuda":
        return max(1, available_cores() // hardware.devices)
    gpus = torch.cuda.device_count()
    if hardware.devices > 1:
        return max(1, gpus // hardware.devices)
    memory = min(torch.cuda.get_device_properties(index).total_memory for index in range(gpus))
    return gpus * workers_per_gpu(job_bytes(), memory, available_cores(), gpus)


def environments_side_by_side(hardware: Hardware, count: int) -> list[dict[str, str]]:
    """The environment variables of the processes of such fits.

    Args:
        hardware: What one fit computes on.
        count: How many there are.
    """
    gpus = visible_gpus(torch.cuda.device_count()) if hardware.resolved_device() == "cuda" else []
    return worker_environments(count, hardware.devices, gpus)


_RESOLVE = "muster.training.sharing:resolve_hardware"


def resolve_hardware(content: str, tell: Callable[[str], None]) -> str:  # noqa: ARG001 (a task's)
    """Say what options of the hardware mean where the jobs of an executor run.

    Args:
        content: A :class:`muster.training.hardware.Hardware` as JSON.
        tell: Takes nothing.

    Returns:
        The same without ``auto`` for what a job's result may depend on, and for what other jobs share.
    """
    asked = parse_record(json.loads(content), Hardware, "hardware", ConfigError)
    precision, readers = asked.resolved_precision(), asked.resolved_num_workers()
    found = replace(asked, device=asked.resolved_device(), precision=precision, num_workers=readers)  # type: ignore[arg-type]  # names, and so Literals
    return json.dumps(asdict(found))


def hardware_of(executor: Executor, hardware: Hardware, folder: Path) -> Hardware:
    """What jobs of an executor compute on, which may be other machines: one of them is asked.

    Args:
        executor: Nothing waits in it.
        hardware: What was asked for.
        folder: Where the one job works that asks; it is gone afterwards.

    Returns:
        The same without ``auto`` for device, precision and readers.

    Raises:
        ConfigError: If the executor has no place that can do this, or not what was asked for.
    """
    answer = ask(executor, _RESOLVE, json.dumps(asdict(hardware)), folder)
    return parse_record(json.loads(answer), Hardware, "hardware", ConfigError)
