"""What to compute on: the device, how many of them, and in which precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from muster.errors import ConfigError
from muster.limits import MOST_PROCESSES, require_whole

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Hardware:
    """What to compute on.

    Attributes:
        device: ``auto`` takes a GPU if there is one.
        devices: How many of them work on one fit together (distributed data parallel).
        precision: ``auto`` is bf16-mixed on a GPU that has it, and 32-true elsewhere.
        num_workers: Processes that read and augment images for one fit; 0 does it in the training process.
    """

    device: Device = "auto"
    devices: int = 1
    precision: Precision = "auto"
    num_workers: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number is out of its range.
        """
        require_whole("hardware.devices", self.devices, 1, MOST_PROCESSES)
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
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not there.get(self.device, True):
            raise ConfigError(f"hardware.device: this machine has no usable {self.device!r}. Use cpu, or auto.")
        if self.device != "auto":
            return self.device
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def resolved_precision(self) -> str:
        """The precision that ``auto`` means here."""
        if self.precision != "auto":
            return self.precision
        has_bf16 = self.resolved_device() == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bf16 else "32-true"

    def resolved_options(self) -> dict[str, str]:
        """What ``auto`` means here, by the names of the options, for the record of a run."""
        return {"hardware.device": self.resolved_device(), "hardware.precision": self.resolved_precision()}


def node_count() -> int:
    """Machines that work on a fit: set by torchrun, like LOCAL_WORLD_SIZE."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))
