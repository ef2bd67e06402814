"""What trainings will take, before any begins: steps, memory, disk, and by a few timed steps, hours."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from time import perf_counter

import torch

from muster.data import Dataset, DatasetSpec, size_for
from muster.data.preprocessing import SIDE_MULTIPLE
from muster.models import build_model
from muster.tasks.task import task_of
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.settings import TrainingSettings
from muster.training.sharing import USED_FRACTION, bytes_of, layer_outputs, places

TIMED_ON_A_GPU = 3
"""Steps that are timed where nobody says how many; on a CPU none are, as one of a large network takes minutes there."""

_MOST_ON_A_CPU = 2
"""Crops of a timed step on a CPU, where the time of a step is that of its crops; batch norms want two."""

_MEASURED_AT = (256, 256)
"""Rows and columns for which the outputs of layers are counted; those of others are in proportion to their pixels."""

_BYTES = 4  # of a float32


@dataclass(frozen=True)
class NetworkSize:
    """What a network takes, apart from its head.

    Attributes:
        parameters: Numbers that are trained.
        buffers: Others that are saved with them.
        feature_channels: Channels of the map that the head reads.
        outputs_per_pixel: Numbers that its layers give, for each pixel of an image.
    """

    parameters: int
    buffers: int
    feature_channels: int
    outputs_per_pixel: float

    def with_head(self, num_classes: int) -> int:
        """Numbers that are trained, with a linear head."""
        return self.parameters + num_classes * (self.feature_channels + 1)

    def device_bytes(self, num_classes: int, batch_size: int, crop_size: tuple[int, int], is_pooled: bool) -> int:
        """See :func:`muster.training.sharing.training_bytes`; what is padded is counted."""
        padded = math.prod(-(-side // SIDE_MULTIPLE) * SIDE_MULTIPLE for side in crop_size)
        outputs = round(self.outputs_per_pixel * padded)
        scored = places(crop_size, is_pooled)
        return bytes_of(self.with_head(num_classes), outputs, num_classes, batch_size, scored)

    def file_bytes(self, num_classes: int) -> int:
        """Bytes of a file of all weights."""
        return (self.with_head(num_classes) + self.buffers) * _BYTES


@lru_cache
def size_of(architecture: str) -> NetworkSize:
    """Build a network once, and count.

    Args:
        architecture: A name that :func:`muster.models.build_model` takes.
    """
    model = build_model(architecture, 1)
    head = model.feature_channels + 1
    return NetworkSize(
        model.num_parameters - head,
        sum(value.numel() for value in model.buffers()),
        model.feature_channels,
        layer_outputs(model, _MEASURED_AT) / math.prod(_MEASURED_AT),
    )


@dataclass(frozen=True)
class Fits:
    """Trainings that are alike.

    Attributes:
        architecture: Of the network.
        num_classes: Of its head.
        spec: The dataset, for its task and the channels of its images.
        crop_size: Rows and columns of the crops.
        settings: How it is trained.
    """

    architecture: str
    num_classes: int
    spec: DatasetSpec
    crop_size: tuple[int, int]
    settings: TrainingSettings

    def device_bytes(self, devices: int) -> int:
        """Bytes on each of the devices that share a batch, about."""
        batch = -(-self.settings.batch_size // devices)
        is_pooled = task_of(self.spec).is_pooled
        return size_of(self.architecture).device_bytes(self.num_classes, batch, self.crop_size, is_pooled)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the file of weights."""
        return size_of(self.architecture).file_bytes(self.num_classes)

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of one checkpoint: weights, one or two moments, and the average of weights if there is one."""
        copies = 2 + (self.settings.optimizer == "adamw") + (self.settings.ema_decay is not None)
        return copies * self.weight_bytes

    @property
    def key(self) -> tuple[object, ...]:
        """What the time of a step depends on."""
        chosen = self.settings
        losses = chosen.loss, chosen.added_loss, chosen.optimizer
        return self.architecture, self.num_classes, self.spec.task, self.crop_size, chosen.batch_size, losses


@dataclass(frozen=True)
class MemberForecast:
    """What a member of a pool will take.

    Attributes:
        name: Its name.
        fits: Its trainings.
        train_images: Training images of its sources, about: those held out are counted.
        steps: Of all its fits together.
        number_of_fits: How many they are.
        chooses_steps: Whether their number of steps is chosen.
        is_there: Whether it is trained already.
        seconds_per_step: As timed; ``None`` if nothing was.
    """

    name: str
    fits: Fits
    train_images: int
    steps: int
    number_of_fits: int
    chooses_steps: bool
    is_there: bool
    seconds_per_step: float | None = None

    @property
    def hours(self) -> float | None:
        """Of all its steps."""
        return None if self.seconds_per_step is None else self.seconds_per_step * self.steps / 3600


def forecast_members(jobs: Sequence[MemberJob], sources: Mapping[str, Dataset]) -> list[MemberForecast]:
    """What the members of a pool will take; nothing is timed.

    Args:
        jobs: The members.
        sources: Their datasets, by the references that jobs have.

    Returns:
        One entry a member.
    """
    return [_forecast(job, [sources[reference] for reference in job.sources]) for job in jobs]


def _forecast(job: MemberJob, sources: Sequence[Dataset]) -> MemberForecast:
    settings, spec = job.settings, sources[0].spec
    classes = sum(source.spec.num_classes for source in sources)
    crop = settings.crop_for(size_for(spec, settings.image_size))
    images = sum(min(len(source.train), settings.train_images or len(source.train)) for source in sources)
    trials = len(settings.all_step_counts) * len(settings.tried_rates)
    fits = Fits(job.architecture, classes, spec, crop, settings)
    chooses = len(settings.step_counts) > 1
    return MemberForecast(job.name, fits, images, settings.total_steps, trials + 1, chooses, job.folder.is_dir())


def timed_steps_of(hardware: Hardware, wanted: int | None) -> int:
    """How many steps are timed.

    Args:
        hardware: What to compute on.
        wanted: As many; ``None`` for some on a GPU, and none elsewhere.
    """
    if wanted is not None:
        return wanted
    return 0 if hardware.resolved_device() == "cpu" else TIMED_ON_A_GPU


def seconds_per_step(fits: Fits, hardware: Hardware, steps: int) -> float:
    """Time steps of a training with blank crops, after one that is not timed.

    Of a batch that is too large for this machine some crops are timed, and the time goes by the number of crops.
    Reading images, and what devices tell each other, is left out.

    Args:
        fits: What is trained.
        hardware: What to compute on.
        steps: How many steps are timed.

    Returns:
        Seconds for a step on each device, the median.
    """
    # Here, since Lightning takes seconds to import, and a forecast mostly times nothing.
    from muster.training.modules import EnsembleTraining

    device = torch.device(hardware.resolved_device())
    batch = -(-fits.settings.batch_size // hardware.devices)
    crops = min(batch, _crops_at_once(fits, device))
    task = task_of(fits.spec)
    model = task.fitted(build_model(fits.architecture, fits.num_classes))
    model.adapt_channels(fits.spec.channels)
    module = EnsembleTraining(fits.settings.without_choices(), fits.num_classes, ("timed",), (model,))
    module.task = task
    module.to(device).train()
    optimizer: torch.optim.Optimizer = module.configure_optimizers()["optimizer"]
    images = model.blank_images(crops, *fits.crop_size)
    if hardware.resolved_channels_last():
        images = images.contiguous(memory_format=torch.channels_last)
    truths = torch.zeros(crops, *((1, 1) if task.is_pooled else fits.crop_size), dtype=torch.long, device=device)
    seconds = []
    for _ in range(steps + 1):
        began = perf_counter()
        optimizer.zero_grad()
        with hardware.autocast():
            loss = torch.stack(module.losses_on(images, truths)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        float(loss.detach())  # waits for the device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(perf_counter() - began)
    return statistics.median(seconds[1:]) * batch / crops


def _crops_at_once(fits: Fits, device: torch.device) -> int:
    """As many as a device of this machine has room for."""
    if device.type != "cuda":
        return _MOST_ON_A_CPU
    room = torch.cuda.get_device_properties(device).total_memory * USED_FRACTION
    size, fitting, is_pooled = size_of(fits.architecture), 1, task_of(fits.spec).is_pooled
    while size.device_bytes(fits.num_classes, 2 * fitting, fits.crop_size, is_pooled) <= room and fitting < 1 << 16:
        fitting *= 2
    return max(2, fitting)


@dataclass(frozen=True)
class StepTimer:
    """Times steps, of trainings that are alike once.

    Attributes:
        hardware: What to compute on.
        steps: How many steps are timed; 0 times nothing.
        found: Seconds for a step, by :attr:`Fits.key`.
    """

    hardware: Hardware
    steps: int
    found: dict[tuple[object, ...], float] = field(default_factory=dict)

    def __call__(self, fits: Fits) -> float | None:
        """Seconds for a step; ``None`` if nothing is timed."""
        if self.steps and fits.key not in self.found:
            self.found[fits.key] = seconds_per_step(fits, self.hardware, self.steps)
        return self.found.get(fits.key)


def timed(members: Sequence[MemberForecast], hardware: Hardware, steps: int) -> list[MemberForecast]:
    """The same members, with what a step of those takes that are not there yet; members that are alike are timed once.

    Args:
        members: What will be trained.
        hardware: What to compute on.
        steps: How many steps are timed; 0 times nothing.

    Returns:
        In the same order.
    """
    timer = StepTimer(hardware, steps)
    for member in members:
        if not member.is_there:
            timer(member.fits)
    return [replace(member, seconds_per_step=timer.found.get(member.fits.key)) for member in members]
