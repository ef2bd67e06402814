"""Where and when a result was computed, in words, for records and reports; and how much room there is."""

from __future__ import annotations

import math
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from muster.errors import ConfigError
from muster.launch import local_rank

_PROCESSORS = Path("/proc/cpuinfo")
"""Where Linux names the processor; other systems tell Python."""


def now() -> str:
    """The present moment in ISO 8601, to the second and in UTC, so that records of different machines compare."""
    return datetime.now(UTC).isoformat(timespec="seconds")


CORES = "MUSTER_CORES"
"""Environment variable with the processor cores of this process, where it shares a machine and is not tied to any."""


def available_cores() -> int:
    """Processor cores that this process may use."""
    if told := os.environ.get(CORES):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_bytes(device: torch.device) -> float:
    """Memory that tensors of this process can still have on a device; not limited on a CPU, where nobody knows.

    Args:
        device: Where.

    Returns:
        Bytes; infinity for anything but a GPU. What torch holds in reserve counts as free.
    """
    if device.type != "cuda":
        return math.inf
    free, _ = torch.cuda.mem_get_info(device)
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def resolve_device(
    device: torch.device | str, option: str = "device", automatic: tuple[str, ...] = ("cuda",)
) -> torch.device:
    """The device that an option means, here and in this process.

    Args:
        device: A torch device, its name, or ``"auto"``.
        option: What messages call the option.
        automatic: Kinds of devices that ``"auto"`` takes if there is one, the first first; otherwise it is the CPU.

    Returns:
        The device; of several GPUs that ``"auto"`` may take, the one of this process.

    Raises:
        ConfigError: If it is no device, or not there.
    """
    if device == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        kind = next((kind for kind in automatic if there[kind]), "cpu")
        return torch.device(kind, local_rank()) if kind == "cuda" else torch.device(kind)
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{option}: this machine has no usable {str(device)!r} ({reason}). Use cpu, or auto."
        ) from error
    return wanted


def device_label(device: torch.device | str, count: int = 1) -> str:
    """A device for people.

    Args:
        device: What was computed on.
        count: How many of it.

    Returns:
        For example ``cpu (AMD EPYC 7763, 2 threads)`` or ``2 x cuda (NVIDIA H100)``.
    """
    kind = torch.device(device)
    if kind.type == "cuda":
        name = f"cuda ({torch.cuda.get_device_name(kind)})"
    elif kind.type == "cpu":
        threads = torch.get_num_threads()
        name = f"cpu ({_processor()}, {threads} thread{'s' if threads != 1 else ''})"
    else:
        name = f"{kind.type} ({_processor()})"
    return f"{count} x {name}" if count > 1 else name


def _processor() -> str:
    """The processor's name; that of its architecture where the system does not tell."""
    try:
        lines = _PROCESSORS.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "unknown processor"
