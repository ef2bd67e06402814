"""What ``--dry_run`` shows: what a command would do and take, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from muster.data.spec import TEXTS, all_held
from muster.errors import ConfigError
from muster.limits import require_whole
from muster.study.forecast import TargetForecast
from muster.training.forecast import MemberForecast, timed_steps_of
from muster.training.hardware import Hardware

MOST_TIMED = 1000
"""Steps that are timed of each kind of training."""


@dataclass(frozen=True)
class DryRun:
    """Whether a command only says what it would do.

    Attributes:
        dry_run: Only show what would be done and what it would take: steps, memory, disk and, where steps are timed,
            hours. Published datasets need not be at hand, and nothing is written.
        timed_steps: Steps of each kind of training that a dry run times for its hours; by default 3 on a GPU, and on a
            CPU none, as they may take minutes each.
    """

    dry_run: bool = False
    timed_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse a number of steps that cannot be timed.

        Raises:
            ConfigError: If it is no number from 0 on, or nothing is timed at all.
        """
        if self.timed_steps is None:
            return
        require_whole("timed_steps", self.timed_steps, 0, MOST_TIMED)
        if not self.dry_run:
            raise ConfigError("--timed_steps has no effect without --dry_run.")

    def steps(self, hardware: Hardware) -> int:
        """How many steps are timed."""
        return timed_steps_of(hardware, self.timed_steps)


def print_pool_forecast(
    console: Console, members: Sequence[MemberForecast], hardware: Hardware, workers: int | None, adopted: int
) -> None:
    """Show what the training of a pool will take.

    Args:
        console: Where to.
        members: Those that are trained.
        hardware: What one training computes on.
        workers: How many trainings run side by side, if somebody says so.
        adopted: How many members are adopted besides.
    """
    devices = hardware.devices
    held = all_held(member.fits.spec.holds for member in members)
    table = _table("member", held, "classes", "crop", "fits", "steps", "memory", *_hours_heading(members, devices))
    for member in members:
        hours = "there" if member.is_there else "" if member.hours is None else in_hours(member.hours * devices)
        table.add_row(
            member.name, f"{member.train_images:,}", str(member.fits.num_classes),
            _crop(member.fits.crop_size, member.fits.spec.holds), str(member.number_of_fits), f"{member.steps:,}",
            in_bytes(member.fits.device_bytes(devices)),
            *([hours] if _is_timed(members) else []),
        )  # fmt: skip
    console.print(table)
    waiting = [member for member in members if not member.is_there]
    more = f", and {adopted} to adopt" if adopted else ""
    console.print(f"{len(members)} members, {len(waiting)} to train{more}.", markup=False)
    if waiting:
        console.print("\n".join(_totals(waiting, devices, workers)), markup=False)


def _totals(waiting: Sequence[MemberForecast], devices: int, workers: int | None) -> list[str]:
    steps, trials = sum(member.steps for member in waiting), sum(member.number_of_fits for member in waiting)
    images = sum(member.steps * member.fits.settings.batch_size for member in waiting)
    memory = max(member.fits.device_bytes(devices) for member in waiting)
    weights = sum(member.fits.weight_bytes for member in waiting)
    at_work = sorted((member.number_of_fits * member.fits.checkpoint_bytes for member in waiting), reverse=True)
    beside = at_work[: workers or 1]
    on = "a device" if devices == 1 else f"each of {devices} devices"
    crops = "texts" if all(member.fits.spec.has_texts for member in waiting) else "crops"
    steps_told = f"Steps: {steps:,} in {trials} fits, {images:,} {crops}."
    if any(member.chooses_steps for member in waiting):
        steps_told += " Of numbers of steps to choose from the last fit counts with the largest."
    memory_told = f"Memory: up to about {in_bytes(memory)} on {on} in float32; half precision takes less."
    disk_told = (
        f"Disk: {in_bytes(weights)} of weights, and up to {in_bytes(beside[0])} of checkpoints of a member at work"
    )
    disk_told += f", of {len(beside)} side by side {in_bytes(sum(beside))}." if len(beside) > 1 else "."
    lines = [steps_told, memory_told, disk_told]
    hours = [member.hours for member in waiting if member.hours is not None]
    lines.append(_time_told(sum(hours) * devices if hours else None))
    return lines


def print_study_forecast(console: Console, targets: Sequence[TargetForecast], hardware: Hardware) -> None:
    """Show what a study will take.

    Args:
        console: Where to.
        targets: One entry for each target and number of labels.
        hardware: What one fit computes on.
    """
    devices, is_timed = hardware.devices, any(target.hours is not None for target in targets)
    hours_heading = ["device hours" if devices > 1 else "hours"] if is_timed else []
    table = _table(
        "target", "training", "test", "crop", "candidates", "fine-tuned", "fits", "steps", "ensembles", *hours_heading
    )
    for each in targets:
        hours = [in_hours((each.hours or 0) * devices)] if is_timed else []
        table.add_row(
            f"{each.target} ({each.regime})", f"{each.train_images:,}", f"{each.test_images:,}",
            _crop(each.crop_size, each.holds), str(each.candidates), str(each.fitted), f"{each.fits:,}",
            f"{each.steps:,}", f"{each.ensembles:,}", *hours,
        )  # fmt: skip
    console.print(table)
    on = "a device" if devices == 1 else f"each of {devices} devices"
    lines = [
        f"{len(targets)} targets with their numbers of labels, {sum(each.fits for each in targets):,} fits.",
        f"Steps: {sum(each.steps for each in targets):,}; {sum(each.passes for each in targets):,} forward passes.",
        *_space_told(targets, on),
        _time_told(sum((each.hours or 0) * devices for each in targets) if is_timed else None),
    ]
    console.print("\n".join(lines), markup=False)


def _crop(size: tuple[int, int], holds: str) -> str:
    """What a fit sees of an image, or of a text, which is one row of characters."""
    rows, columns = size
    return f"{columns} characters" if holds == TEXTS else f"{rows}x{columns}"


def _space_told(targets: Sequence[TargetForecast], on: str) -> list[str]:
    memory, disk = max(each.device_bytes for each in targets), sum(each.weight_bytes for each in targets)
    unknown = max(each.unknown for each in targets)
    doubt = f" Left out: adopted members, whose networks are known once they are there ({unknown})." if unknown else ""
    if not memory:
        return [f"Memory and disk: not known.{doubt}"]
    return [
        f"Memory: up to about {in_bytes(memory)} on {on} in float32.{doubt}",
        f"Disk: {in_bytes(disk)} of fine-tuned weights at most.",
    ]


def _time_told(hours: float | None) -> str:
    if hours is None:
        return "Time: nothing was timed. --timed_steps 3 times steps on this machine."
    return (
        f"Time: {in_hours(hours)} device hours, by a few steps on blank crops, timed here; reading data, evaluation "
        "on the way, and what devices tell each other are left out."
    )


def print_needed(console: Console, missing: Sequence[str], weights: Sequence[Path]) -> None:
    """Say what must be there before anything can run.

    Args:
        console: Where to.
        missing: Datasets that are not at hand.
        weights: Files to start from that are not there.
    """
    if missing:
        console.print(f"Not at hand, counted as published: {', '.join(missing)}.", markup=False)
    if weights:
        console.print(f"Weights that are not there yet: {', '.join(map(str, weights))}.", markup=False)


def in_bytes(count: int) -> str:
    """A number of bytes, to be read."""
    told = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if told < 1000:
            return f"{told:.3g} {unit}"
        told /= 1000
    return f"{told:,.1f} TB"


def in_hours(hours: float) -> str:
    """A number of hours, to be read."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _is_timed(members: Sequence[MemberForecast]) -> bool:
    return any(member.hours is not None for member in members)


def _hours_heading(members: Sequence[MemberForecast], devices: int) -> list[str]:
    return ["device hours" if devices > 1 else "hours"] if _is_timed(members) else []


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
