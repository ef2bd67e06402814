"""The whole way of a user beside the networks alone: a selection, and the training of a member.

Both sides of each comparison take turns, so that what else the machine does hits them alike. Networks have random
weights; images are made up, and in memory.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.requirements import MissingRequirementError
from benchmarks.timing import Cost, Stopwatch, now
from muster import select
from muster.data import (
    VOID,
    Dataset,
    DatasetSpec,
    ImageSize,
    Preprocessing,
    Sample,
    Split,
    TrainingStream,
    TrainingTransform,
    channel_statistics,
    make_loader,
    prepare_image,
)
from muster.models import SourceModel, build_model
from muster.pool import MEMBERS, Card, Pool, software_versions, write_member
from muster.precision import forward_precision, resolve_precision
from muster.selection import member_scoring, predictors, run
from muster.tracking import ALWAYS, Run, close_loggers, make_loggers
from muster.training.clock import Clock
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.optimizers import with_schedule
from muster.training.settings import TrainingSettings

TARGET_CLASSES = 20
SOURCE_CLASSES = (19, 21, 37, 60, 150)
BATCH = 16

_PARTS: dict[str, tuple[tuple[ModuleType | type, str], ...]] = {
    "probe": ((member_scoring, "member_reading"), (member_scoring, "member_probabilities")),
    "predictor": (
        (predictors.Predictor, "predict"),
        (member_scoring, "leep_of"),
        (member_scoring, "honest_scores"),
        (member_scoring, "class_given_source"),
    ),
    "scoring": ((run, "find"),),
    "bootstrap": ((run, "resample_choice"),),
}
"""Functions that the time of a selection is spent in."""


def whole_path_selection(
    images: int = 100,
    architecture: str = "hrnet_w18",
    side: int = 256,
    device: str = "cpu",
    channels_last: bool = True,
    members: int = len(SOURCE_CLASSES),
    most_ratio: float = 1.15,
) -> dict[str, Any]:
    """Selecting three of five members with all defaults, beside the same networks run over the same batches.

    Of three out of five there are ten candidates, as many as are resampled; a larger pool has more forward passes for
    the same resampling.

    Args:
        images: Of the target. Fewer than the usual 150: what a selection costs once weighs more than it would.
        architecture: Of the members.
        side: Of the images.
        device: Where both sides run, in the precision that a selection takes there by default.
        channels_last: Whether the networks that run alone are laid out as a selection lays them out.
        members: How many of the five there are; three at least.
        most_ratio: The aim.

    Returns:
        For each predictor: seconds and processor seconds, their ratios to those of the bare forward passes, and which
        share of the selection's time each part has.
    """
    target = _target(images, side)
    with tempfile.TemporaryDirectory() as folder:
        pool = _pool(Path(folder) / "pool", architecture, side, members)
        bare = _Bare(
            [member.load_model(device) for member in pool], _batches(target.train, side), device, channels_last
        )
        bare(0)
        once = Stopwatch()
        with once.running():  # loads compiled loops, or compiles them where that has never been done
            select(_pool(Path(folder) / "small", "small_fpn", 32, members), _target(4, 32), cache_gb=0, device=device)
        run = partial(_select_beside_bare, pool, target, bare, device=device)
        return {
            "members": len(pool),
            "images": images,
            "threads": torch.get_num_threads(),
            "precision": bare.precision,
            "seconds_of_a_tiny_selection_before": round(once.total.seconds, 2),
            **{
                name: run(predictor=name, cache_dir=Path(folder) / name) | {"most_ratio": most_ratio}
                for name in get_args(predictors.PredictorName)
            },
        }


def whole_path_selection_on_gpu(
    cases: Sequence[tuple[str, int, int]] = (("hrnet_w18", 100, 256), ("hrnet_w28", 150, 512)),
) -> dict[str, Any]:
    """The same on a GPU, in well under two minutes.

    Args:
        cases: Architecture, number of images and side of them.

    Returns:
        For each case what :func:`whole_path_selection` returns, to be at most 1.5 times the bare forward passes.

    Raises:
        MissingRequirementError: If there is no GPU.
    """
    if not torch.cuda.is_available():
        raise MissingRequirementError("needs a GPU")
    return {
        f"{architecture}, {images} images of {side} px": whole_path_selection(
            images, architecture, side, device="cuda", most_ratio=1.5
        )
        for architecture, images, side in cases
    }


class _Bare:
    """Networks run over prepared batches, by place of the network: what one would write without any selection."""

    def __init__(self, models: list[SourceModel], batches: list[Tensor], device: str, channels_last: bool) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.models = [model.to(memory_format=layout) for model in models]
        self.device = torch.device(device)
        self.batches = [batch.to(self.device).contiguous(memory_format=layout) for batch in batches]
        self.precision = resolve_precision("auto", self.device)

    @torch.no_grad()
    def __call__(self, place: int) -> None:
        with forward_precision(self.precision, self.device):
            for batch in self.batches:
                self.models[place](batch)
        self.wait()

    def wait(self) -> None:
        """For what a GPU still has to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _select_beside_bare(pool: Pool, target: Dataset, bare: _Bare, **options: Any) -> dict[str, Any]:
    """A selection that stops before each member for that member's bare forward passes."""
    alone = Stopwatch()

    def progress(what: str, done: int, total: int) -> None:
        if what != "probing members" or done == total:
            return
        bare.wait()  # ours ends where its work ends
        with alone.running():
            bare(done)

    start = now()
    with _parts_timed() as parts:
        select(pool, target, progress=progress, **options)
    ours = now() - start - alone.total
    return {
        "seconds": round(ours.seconds, 2),
        "plain_seconds": round(alone.total.seconds, 2),
        "ratio": round(ours.seconds / alone.total.seconds, 3),
        "processor_seconds": round(ours.processor_seconds, 2),
        "plain_processor_seconds": round(alone.total.processor_seconds, 2),
        "processor_ratio": round(ours.processor_seconds / alone.total.processor_seconds, 3),
        "shares": _shares({name: watch.total for name, watch in parts.items()}, ours),
    }


def _shares(parts: dict[str, Cost], whole: Cost) -> dict[str, float]:
    shares = {name: part.processor_seconds / whole.processor_seconds for name, part in parts.items()}
    return {name: round(share, 4) for name, share in (shares | {"rest": 1 - sum(shares.values())}).items()}


@contextmanager
def _parts_timed() -> Iterator[dict[str, Stopwatch]]:
    watches = {name: Stopwatch() for name in _PARTS}
    with ExitStack() as stack:
        for name, functions in _PARTS.items():
            for owner, function in functions:
                stack.enter_context(patch.object(owner, function, _timed(getattr(owner, function), watches[name])))
        yield watches


def _timed(function: Callable[..., Any], watch: Stopwatch) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with watch.running():
            return function(*args, **kwargs)

    return timed


def whole_path_training(
    steps: int = 12, warm_up: int = 2, batch_size: int = 8, architecture: str = "hrnet_w18", side: int = 256
) -> dict[str, Any]:
    """Training one member as ``train.py`` does, beside a bare loop over an equal model and an equal loader.

    After each step of ours comes one of the bare loop. Writing a checkpoint is timed apart, and spread over the steps
    from one to the next.

    Args:
        steps: Of each side.
        warm_up: The first ones, which do not count.
        batch_size: Crops of each step.
        architecture: Of the member.
        side: Of the images.

    Returns:
        Images per second of both, from median times of a step, and their ratio, of which more is better; the same in
        processor time.
    """
    settings = TrainingSettings(steps=steps, batch_size=batch_size, learning_rate=0.01)
    target = _target(24, side)
    ours, beside = (build_model(architecture, TARGET_CLASSES) for _ in range(2))
    module = EnsembleTraining(settings, TARGET_CLASSES, ("member",), (ours,))
    shown = Preprocessing(channel_statistics(target.train), ImageSize(side))
    data = FitData(target.train, shown, settings)
    stream = TrainingStream(
        target.train,
        TrainingTransform(shown, settings.crop_for(ImageSize(side)), settings.scale_range),
        steps,
        batch_size,
        settings.seed,
    )
    turns = _Turns(_bare_steps(beside, stream, settings))
    with tempfile.TemporaryDirectory() as folder:
        loggers = make_loggers([ALWAYS], Run(Path(folder) / "logs", "train", "member", "benchmark"))
        trainer = fit(module, data, Path(folder), Hardware(), [Clock(lambda *_: None), turns], loggers)
        close_loggers(loggers, succeeded=True)
        checkpoint = Stopwatch()
        with checkpoint.running():
            trainer.save_checkpoint(Path(folder) / "again.ckpt")
    equal = all(torch.equal(one, other) for one, other in zip(ours.parameters(), beside.parameters(), strict=True))
    return {
        "steps": steps - warm_up,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "same_weights_after_training": equal,
        **_throughput(turns.ours.laps[warm_up:], turns.bare.laps[warm_up:], checkpoint.total, settings),
    }


def _throughput(ours: list[Cost], bare: list[Cost], checkpoint: Cost, settings: TrainingSettings) -> dict[str, float]:
    def rates(of: Callable[[Cost], float]) -> tuple[float, float]:
        step = statistics.median(map(of, ours)) + of(checkpoint) / settings.checkpoint_every
        return settings.batch_size / step, settings.batch_size / statistics.median(map(of, bare))

    rate, bare_rate = rates(lambda cost: cost.seconds)
    busy_rate, bare_busy_rate = rates(lambda cost: cost.processor_seconds)
    return {
        "seconds_of_a_checkpoint": round(checkpoint.seconds, 2),
        "images_per_second": round(rate, 3),
        "images_per_second_bare": round(bare_rate, 3),
        "ratio": round(rate / bare_rate, 3),
        "least_ratio": 0.95,
        "images_per_processor_second": round(busy_rate, 3),
        "images_per_processor_second_bare": round(bare_busy_rate, 3),
        "processor_ratio": round(busy_rate / bare_busy_rate, 3),
    }


class _Turns(pl.Callback):
    """After each training step takes one of the bare loop, and times both."""

    def __init__(self, bare_steps: Iterator[None]) -> None:
        self.bare_steps = bare_steps
        self.ours, self.bare = Stopwatch(), Stopwatch()
        self.since = Cost()

    def on_train_start(self, *_: Any) -> None:
        self.since = now()

    def on_train_batch_end(self, *_: Any) -> None:
        self.ours.laps.append(now() - self.since)
        with self.bare.running():
            next(self.bare_steps)
        self.since = now()


def _bare_steps(model: nn.Module, stream: TrainingStream, settings: TrainingSettings) -> Iterator[None]:
    """What one would write without any framework."""
    loader = iter(make_loader(stream))
    optimizer = torch.optim.SGD(
        model.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )
    schedule = with_schedule(optimizer, settings.schedule, settings.steps)["lr_scheduler"]["scheduler"]
    model.train()
    for images, masks in loader:
        scores = functional.interpolate(model(images), size=masks.shape[-2:], mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(scores, masks, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield


def _target(images: int, side: int) -> Dataset:
    """Made-up images of blocks that have a colour each, in memory."""
    generator = np.random.default_rng(0)
    samples = {}
    for number in range(images):
        mask = np.kron(generator.integers(0, TARGET_CLASSES, (8, 8)), np.ones((side // 8, side // 8)))
        image = np.stack([mask * 12, 255 - mask * 12, np.full_like(mask, 100)])
        image = image + generator.integers(-10, 10, image.shape)
        tensors = (torch.from_numpy(values.clip(0, 255).astype(np.uint8)) for values in (image, mask))
        samples[str(number)] = Sample(str(number), *tensors)
    spec = DatasetSpec("made-up", "made up", tuple(f"class {index}" for index in range(TARGET_CLASSES)))
    train = Split(spec, "train", tuple(samples), samples.__getitem__)
    return Dataset(spec, train, Split(spec, "test", (), samples.__getitem__), "made-up")


def _batches(split: Split, side: int) -> list[Tensor]:
    """What the networks see of the images."""
    shown = Preprocessing(channel_statistics(split), ImageSize(side))
    images = torch.stack([prepare_image(split[i].image, shown) for i in range(len(split))])
    return list(torch.split(images, BATCH))


def _pool(folder: Path, architecture: str, side: int, members: int) -> Pool:
    """Members with random weights."""
    for number, classes in enumerate(SOURCE_CLASSES[:members]):
        model = build_model(architecture, classes, seed=number).eval()
        with torch.no_grad():
            # The scores of an untrained network are far too large, or far too small, for a softmax.
            model.head.weight *= 2 / model(torch.randn(1, 3, 64, 64)).std()
        name = f"member {number}"
        write_member(folder / MEMBERS / name, model, made_up_card(name, model, side), {})
    return Pool.open(folder)


def made_up_card(name: str, model: SourceModel, side: int) -> Card:
    """A card whose values say nothing.

    Args:
        name: Of the member, and of its dataset.
        model: Its network.
        side: Of its images, in pixels.
    """
    classes = tuple(f"class {index}" for index in range(model.num_classes))
    return Card(
        name=name,
        dataset=name,
        domain="made up",
        classes=classes,
        seen_datasets=(name,),
        architecture=model.architecture,
        pretraining="none",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        image_size=side,
        crop_size=side,
        parameters=model.num_parameters,
        depth=model.depth,
        train_images=100,
        test_images=10,
        test_result=0.5,
        test_ious=(0.5,) * len(classes),
        majority_result=0.1,
        steps=1,
        batch_size=1,
        learning_rate=0.1,
        schedule="step",
        seed=0,
        training_seconds=1.0,
        precision="32-true",
        licence="",
        citation="",
        versions=software_versions(),
        checksum="",
    )
