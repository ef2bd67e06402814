"""What to compute on, and how: devices, precision, memory layout, and the processes that read images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from muster.errors import ConfigError
from muster.execution.placement import available_cores
from muster.limits import MOST_PROCESSES, require_whole
from muster.machine import resolve_device

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Switch: TypeAlias = bool | Literal["auto"]

MOST_READERS = 8
"""``num_workers`` that ``auto`` takes at most: a worker draws about 80 crops of 512 pixels a second."""

_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """What to compute on.

    Attributes:
        device: ``auto`` takes a GPU if there is one.
        devices: How many of them work on one fit together (distributed data parallel).
        precision: The precision of training, evaluation, the head and prediction alike; ``auto`` is bf16-mixed on a GPU
            that has it, and 32-true elsewhere. Probabilities, losses and weights are float32 in any case.
        num_workers: Processes that read and augment images for one fit; 0 does it in the training process. ``auto``
            takes the processor cores that there are for each device on a GPU, up to 8, and 0 elsewhere, where the fit
            needs the cores.
        channels_last: Whether the channels of a place lie side by side in memory; ``auto`` does so on a GPU in half
            precision, where convolutions are the faster for it.
        compile: Whether networks are compiled before they are trained, which takes a minute each; ``auto`` does not.
    """

    device: Device = "auto"
    devices: int = 1
    precision: Precision = "auto"
    num_workers: int | Literal["auto"] = "auto"
    channels_last: Switch = "auto"
    compile: Switch = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number is out of its range.
        """
        require_whole("hardware.devices", self.devices, 1, MOST_PROCESSES)
        if self.num_workers != "auto":
            require_whole("hardware.num_workers", self.num_workers, 0, MOST_PROCESSES)

    def resolved_devices(self) -> int:
        """How many devices of this machine work on a fit: what torchrun started, if it did."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.devices))

    def processes(self) -> int:
        """How many processes share a fit, on all machines together."""
        return self.resolved_devices() * node_count()

    def require_devices(self, devices: int) -> None:
        """Check that this machine has so many devices.

        Args:
            devices: How many a fit asks for here.

        Raises:
            ConfigError: If it has fewer, or none of the kind.
        """
        there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(self.resolved_device(), devices)
        if devices > there:
            raise ConfigError(f"hardware.devices: expected at most the {there} of this machine, but got {devices}.")

    def resolved_device(self) -> str:
        """The device type that ``auto`` means here.

        Raises:
            ConfigError: If a device is asked for that is not there.
        """
        return resolve_device(self.device, "hardware.device", ("cuda", "mps")).type

    def resolved_precision(self) -> str:
        """The precision that ``auto`` means here."""
        return resolve_precision(self.resolved_device(), self.precision)

    def resolved_num_workers(self, beside: int = 1) -> int:
        """The processes that read images for one device.

        Args:
            beside: Fits that share this machine with this one, itself included.
        """
        if self.num_workers != "auto":
            return self.num_workers
        if self.resolved_device() != "cuda":
            return 0
        return max(1, min(MOST_READERS, available_cores() // (beside * self.resolved_devices())))

    def resolved_channels_last(self) -> bool:
        """The memory layout that ``auto`` means here."""
        if self.channels_last != "auto":
            return self.channels_last
        return self.resolved_device() == "cuda" and self.resolved_precision() in _HALF

    def resolved_compile(self) -> bool:
        """Whether networks are compiled: only on request, as no measurement speaks for more yet."""
        return self.compile is True

    def resolved_options(self) -> dict[str, str]:
        """What ``auto`` means here, by the names of the options, for the record of a run."""
        return {"hardware.device": self.resolved_device(), "hardware.precision": self.resolved_precision()}

    def autocast(self) -> AbstractContextManager[object]:
        """Compute within the block in the precision of training, as Lightning does in a fit."""
        return autocast(self.resolved_device(), self.resolved_precision())

    @contextmanager
    def fast_products(self) -> Iterator[None]:
        """Let a GPU that trains in mixed precision round the float32 products that are left to 10 bits (TF32).

        In 32-true nothing is changed: whoever asks for it wants these digits.
        """
        if self.resolved_device() != "cuda" or self.resolved_precision() not in _HALF:
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def resolve_precision(device: torch.device | str, precision: Precision = "auto") -> str:
    """The precision that ``auto`` means on a device: bf16-mixed on a GPU that has it, and 32-true elsewhere."""
    if precision != "auto":
        return precision
    has_bf16 = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has_bf16 else "32-true"


def autocast(device: torch.device | str, precision: str) -> AbstractContextManager[object]:
    """Compute within a block in mixed precision, if that is asked for.

    Args:
        device: Where.
        precision: A resolved one, as of :meth:`Hardware.resolved_precision`.

    Returns:
        The context; it does nothing for ``32-true``.
    """
    return torch.autocast(torch.device(device).type, _HALF[precision]) if precision in _HALF else nullcontext()


def node_count() -> int:
    """Machines that work on a fit: set by torchrun, like LOCAL_WORLD_SIZE."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))
