"""A strong single model of equal cost: what one member reaches if it is given all that the ensemble costs.

An ensemble of S members takes S times the training steps of a single model, and about S times its time for an image. So
the fair rival is not the best single model as it is, but that model with the same budget: the member that the metric
ranks first as an ensemble of one, fine-tuned for S times the steps on crops of the same size, which may take the
ensemble's measured time for an image, all forward passes included. It may spend that time on

- a larger input: the largest size at which a single pass takes no longer; or
- several views of the image as it is: mirrored, at other scales, or both; probabilities are averaged.

A trial of the usual number of steps on a part of the training images (one at the usual size, one at the larger) and the
mIoU on the images held out decide between them. The test split is never used for a choice.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from muster.data import SIDE_MULTIPLE, Split
from muster.files import to_builtin_types
from muster.limits import MOST_STEPS
from muster.models import SourceModel
from muster.ranks import from_rank_zero
from muster.tasks.segmentation import mean_iou
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.confirmation import round_settings
from muster.training.costs import Viewer, shortest_seconds
from muster.training.evaluation import SplitCounts, count_split
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import WORK, TargetData
from muster.training.finished import Finished, digest_of, read_finished, write_finished
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.intervals import differences_to
from muster.training.modules import EnsembleTraining, TrainingDivergedError, is_finite
from muster.training.results import EQUAL_COST, LEARNED_HEAD, Difference, EqualCost, SpentOn
from muster.training.settings import TrainingSettings
from muster.training.views import seen_probabilities, view_sizes

SCALES: tuple[tuple[float, ...], ...] = ((1.0,), (1.0, 1.25), (0.75, 1.0, 1.25), (0.75, 1.0, 1.25, 1.5))
"""Scales at which an image can be seen; each set with and without its mirror images."""

TOLERANCE = 1.05
"""Times up to this ratio count as equal: they are not measured more closely."""

_SIZES_AROUND = 2
"""Larger inputs are measured at so many multiples of 32 pixels below and above the size expected to fit."""


class _LeftOutError(Exception):
    """Why there is no model of equal cost."""


@dataclass(frozen=True, eq=False)
class Rival:
    """What a single model of equal cost is made from.

    Attributes:
        name: The member.
        load: Loads its source model anew.
        module: The fine-tuned members, for the settings and rates.
        ensemble: The ensemble to cost as much as.
        target: What to fine-tune on.
        folder: The folder of the run; checkpoints go below its folder ``work``.
        hardware: What to compute on.
        progress: Told how far its fits are, in steps.
        depends_on: What the result depends on besides, so that what another run left is not taken up.
    """

    name: str
    load: Callable[[], SourceModel]
    module: EnsembleTraining
    ensemble: Ensemble
    target: TargetData
    folder: Path
    hardware: Hardware
    progress: Progress
    depends_on: Mapping[str, Any]

    @property
    def place(self) -> Path:
        """Where its checkpoints are kept."""
        return self.folder / WORK / "equal-cost"

    @property
    def settings(self) -> TrainingSettings:
        """How it is trained, apart from the number of steps: on crops of the same size, whatever the images' size."""
        settings, module = round_settings(self.module.settings), self.module
        rate = module.rates.get(self.name, settings.learning_rate)
        return replace(settings, learning_rate=rate, crop_size=settings.crop_for(self.target.image_size))

    @property
    def steps(self) -> int:
        """Its steps of fine-tuning: as many as all members of the ensemble take together."""
        return min(len(self.ensemble.names) * self.settings.steps, MOST_STEPS)


@dataclass(frozen=True, eq=False)
class EqualCostModel:
    """A single model of equal cost, fine-tuned and evaluated.

    Attributes:
        model: The network.
        option: What it spends its time on.
        counts: Its counts on the test split.
        made: How it was made; the metric and the difference of the ensemble are not filled in.
    """

    model: SourceModel
    option: SpentOn
    counts: SplitCounts
    made: EqualCost

    def viewer(self, size: Sequence[int]) -> Viewer:
        """What to time it by.

        Args:
            size: Rows and columns of a stored image.
        """
        rows, columns = size
        return Viewer(self.model, view_sizes(self.option, rows, columns, self.model.minimum_side))

    def record(self, chosen_by: str, ensemble: SplitCounts, seed: int) -> EqualCost:
        """What a result says of it.

        Args:
            chosen_by: The metric by which its member is the best as an ensemble of one.
            ensemble: What the ensemble reached on the same images.
            seed: The seed of the bootstrap samples of these.
        """
        beyond = differences_to(EQUAL_COST, {LEARNED_HEAD: ensemble, EQUAL_COST: self.counts}, seed)[LEARNED_HEAD]
        return replace(self.made, chosen_by=chosen_by, ensemble_beyond=beyond)


def make_equal_cost(rival: Rival) -> EqualCostModel | None:
    """Fine-tune a single model that costs as much as the ensemble, and evaluate it on the test split.

    Every process of a distributed run takes part. Interrupted, it goes on from the last checkpoint of the fit at hand;
    what the time could be spent on is not measured again.

    Args:
        rival: What to make it from.

    Returns:
        The model; ``None`` for an ensemble of one, which is its own model of equal cost.

    Warns:
        UserWarning: If there can be none, with the reason.
    """
    if len(rival.ensemble.names) == 1:
        return None
    try:
        return _Maker(rival).make()
    except (_LeftOutError, TrainingDivergedError) as error:
        warnings.warn(f"The single model of equal cost ({rival.name}) is left out: {error}", stacklevel=2)
        return None


class _Maker:
    """The steps of it, with the time that they take."""

    def __init__(self, rival: Rival) -> None:
        if len(rival.target.train) < 2:
            raise _LeftOutError("of a single training image none can be held out.")
        self.rival, self.settings = rival, rival.settings
        self.kept, self.held = rival.target.train.hold_out(self.settings.held_out_fraction, self.settings.seed)
        self.description = {
            "settings": asdict(self.settings),
            "member": rival.name,
            "ensemble": rival.ensemble.names,
            "images": rival.target.train.identifiers,
            "statistics": asdict(rival.target.statistics),
            "image_size": rival.target.image_size,
            **rival.depends_on,
        }
        self.seconds = 0.0
        self.steps_before = 0

    def make(self) -> EqualCostModel:
        rival, started = self.rival, time.monotonic()
        measured = self._measured()
        self.seconds += time.monotonic() - started
        options = self._tried(measured.options)
        chosen = _best(options)
        module = self._fit(rival.target.train, options[chosen].image_size, rival.steps, "fit", trial=False)
        model = module.models[rival.name].eval()
        started = time.monotonic()
        counts = self._count(model, rival.target.dataset.test, [options[chosen]])[0]
        self.seconds += time.monotonic() - started
        made = EqualCost(
            member=rival.name,
            chosen_by="",
            steps=rival.steps,
            options=options,
            chosen=chosen,
            budget=measured.budget,
            trial_steps=self.settings.steps,
            train_images=len(self.kept),
            held_out_images=len(self.held),
            seconds=round(self.seconds, 1),
            ensemble_beyond=Difference(math.nan),
        )
        return EqualCostModel(model, options[chosen], counts, made)

    def _measured(self) -> _Measured:
        """What the time can be spent on, as it was measured first."""
        path, digest = self.rival.place / "options.yaml", digest_of(self.description)
        found = read_finished(path, _Measured, digest)
        if found is None:
            budget, options = affordable(self.rival)
            found = _Measured(digest, budget, tuple(options))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_finished(path, found)
        return found

    def _tried(self, options: Sequence[SpentOn]) -> tuple[SpentOn, ...]:
        """The options with their results on the held-out images, after one trial for each size of the images."""
        found: dict[int, float | None] = {}
        for size in dict.fromkeys(option.image_size for option in options):
            module = self._fit(self.kept, size, self.settings.steps, f"trial-{size}", trial=True)
            model, started = module.models[self.rival.name].eval(), time.monotonic()
            places = [place for place, option in enumerate(options) if option.image_size == size]
            if module.diverged or not is_finite(model):
                found |= dict.fromkeys(places)
                continue
            counts = self._count(model, self.held, [options[place] for place in places])
            if counts[0].confusion.sum() == 0:
                raise _LeftOutError("the training images held out have no labelled pixel.")
            found |= {place: mean_iou(each.confusion) for place, each in zip(places, counts, strict=True)}
            self.seconds += time.monotonic() - started
        return tuple(replace(option, miou=found[place]) for place, option in enumerate(options))

    def _fit(self, images: Split, image_size: int, steps: int, name: str, *, trial: bool) -> EnsembleTraining:
        rival, settings = self.rival, replace(self.settings, steps=steps)
        module = EnsembleTraining(settings, rival.module.num_classes, trial=trial)
        module.set_members((rival.name,), [rival.load()])
        folder, hardware, before = rival.place / name, rival.hardware, self.steps_before
        described = {**self.description, "steps": steps, "images": images.identifiers, "image_size": image_size}
        keep_checkpoint_of(folder, to_builtin_types(described))
        clock = Clock(lambda done, loss: rival.progress(before + done, loss))
        data = FitData(images, rival.target.statistics, image_size, settings, hardware.resolved_num_workers())
        fit(module, data, folder, hardware, [clock], until=steps)
        self.seconds, self.steps_before = self.seconds + clock.seconds, before + steps
        module.to(hardware.resolved_device())
        return module

    def _count(self, model: SourceModel, split: Split, options: Sequence[SpentOn]) -> list[SplitCounts]:
        """Counts for each of some options with images of one size, in one pass over the images."""

        def predict(images: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
            return {
                str(place): seen_probabilities(model, images, option, size).argmax(dim=1)
                for place, option in enumerate(options)
            }

        target, device = self.rival.target, self.rival.hardware.resolved_device()
        with self.rival.hardware.autocast():
            counts = count_split(predict, split, target.statistics, options[0].image_size, device)
        return [counts[str(place)] for place in range(len(options))]


@dataclass(frozen=True)
class _Measured(Finished):
    """What the time can be spent on.

    Attributes:
        budget: Time of the ensemble for an image, in seconds.
        options: What takes no longer.
    """

    budget: float
    options: tuple[SpentOn, ...]


def affordable(rival: Rival) -> tuple[float, list[SpentOn]]:
    """Measure what a single model can spend the ensemble's time for an image on.

    Args:
        rival: The model and the ensemble.

    Returns:
        The ensemble's time in seconds, and the options that take no longer, the usual single pass first.
    """
    model, target, device = rival.load(), rival.target, rival.hardware.resolved_device()
    stored = target.dataset.test[0].image.shape
    seen = [SpentOn(target.image_size, scales, flip, 0.0) for scales in SCALES for flip in (False, True)]
    sizes = {option: view_sizes(option, stored[1], stored[2], model.minimum_side) for option in seen}
    once = sizes[seen[0]][0]
    members = {f"member {name}": (each, once) for name, each in _members(rival.ensemble).items()}
    views = {str(size): (model, size) for size in {size for each in sizes.values() for size in each}}
    with rival.hardware.autocast():
        seconds = _of_rank_zero(shortest_seconds({**members, **views}, device), device)
        budget = sum(seconds[name] for name in members)
        timed = [replace(each, seconds_per_image=sum(seconds[str(size)] for size in sizes[each])) for each in seen]
        options = [each for each in timed if each.seconds_per_image <= TOLERANCE * budget] or timed[:1]
        expected = target.image_size * math.sqrt(budget / seconds[str(once)])
        larger = _larger_sizes(target.image_size, expected, stored[1], stored[2], model.minimum_side)
        passes = {str(size): (model, size) for size in larger.values()}
        again = _of_rank_zero(shortest_seconds(passes, device), device)
    fits = [size for size, shape in larger.items() if again[str(shape)] <= TOLERANCE * budget]
    if fits:
        options.append(SpentOn(max(fits), (1.0,), False, again[str(larger[max(fits)])]))
    return budget, options


def _members(ensemble: Ensemble) -> dict[str, SourceModel]:
    return dict(zip(ensemble.names, (cast("SourceModel", member) for member in ensemble.members), strict=True))


def _larger_sizes(usual: int, expected: float, height: int, width: int, least: int) -> dict[int, tuple[int, int]]:
    """Longer sides around the expected one that show an image larger than usual, and what the model sees then."""
    around = range(round(expected / SIDE_MULTIPLE) - _SIZES_AROUND, round(expected / SIDE_MULTIPLE) + _SIZES_AROUND + 1)
    sides = [steps * SIDE_MULTIPLE for steps in around if steps * SIDE_MULTIPLE > usual]
    shapes = {side: view_sizes(SpentOn(side, (1.0,), False, 0.0), height, width, least)[0] for side in sides}
    seen = view_sizes(SpentOn(usual, (1.0,), False, 0.0), height, width, least)[0]
    return {side: shape for side, shape in shapes.items() if shape != seen}


def _of_rank_zero(seconds: Mapping[str, float], device: str) -> dict[str, float]:
    """As the first process measured them, for all to choose alike."""
    values = from_rank_zero(torch.tensor(list(seconds.values()), dtype=torch.float64), torch.device(device))
    return dict(zip(seconds, values.tolist(), strict=True))


def _best(options: Sequence[SpentOn]) -> int:
    """The place of the best on the held-out images; of equals the first."""
    sound = {place: option.miou for place, option in enumerate(options) if option.miou is not None}
    if not sound:
        raise _LeftOutError("its training diverged. A smaller learning_rate usually helps.")
    return max(sound, key=lambda place: (sound[place], -place))
