"""What to compute on, and how: devices, precision, memory layout, and the processes that read images."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch

from muster.errors import ConfigError
from muster.launch import launched_nodes, launched_on_this_machine
from muster.limits import MOST_PROCESSES, require_whole
from muster.machine import available_cores, resolve_device
from muster.precision import Precision, autocast, fast_products, is_mixed, resolve_precision

Device = Literal["auto", "cpu", "cuda", "mps"]
Switch: TypeAlias = bool | Literal["auto"]

MOST_READERS = 8
"""``num_workers`` that ``auto`` takes at most: a worker draws about 80 crops of 512 pixels a second."""


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
        return launched_on_this_machine() or self.devices

    def processes(self) -> int:
        """How many processes share a fit, on all machines together."""
        return self.resolved_devices() * launched_nodes()

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
        """The precision that ``auto`` means here; any other is itself, wherever the device is."""
        device = self.resolved_device() if self.precision == "auto" else "cpu"
        return resolve_precision(self.precision, torch.device(device))

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

    def beside(self, count: int) -> Hardware:
        """The same for one of several fits that share this machine: with its share of the processes that read images.

        Args:
            count: Fits side by side.
        """
        return replace(self, num_workers=self.resolved_num_workers(beside=count))

    def resolved_channels_last(self) -> bool:
        """The memory layout that ``auto`` means here."""
        if self.channels_last != "auto":
            return self.channels_last
        return self.resolved_device() == "cuda" and is_mixed(self.resolved_precision())

    def resolved_compile(self) -> bool:
        """Whether networks are compiled: only on request, as no measurement speaks for more yet."""
        return self.compile is True

    def resolved_options(self) -> dict[str, str]:
        """What ``auto`` means here, by the names of the options, for the record of a run."""
        return {"hardware.device": self.resolved_device(), "hardware.precision": self.resolved_precision()}

    def autocast(self) -> AbstractContextManager[object]:
        """Compute within the block in the precision of training, as Lightning does in a fit."""
        return autocast(self.resolved_precision(), torch.device(self.resolved_device()))

    def fast_products(self) -> AbstractContextManager[object]:
        """Let a GPU that trains in mixed precision round the float32 products that are left to 10 bits (TF32).

        In 32-true nothing is changed: whoever asks for it wants these digits.
        """
        mixed_on_gpu = self.resolved_device() == "cuda" and is_mixed(self.resolved_precision())
        return fast_products() if mixed_on_gpu else nullcontext()
