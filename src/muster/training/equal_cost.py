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
from typing import Any

from torch import Tensor

from muster.data import Split, Views
from muster.limits import MOST_STEPS
from muster.models import SourceModel
from muster.tasks.task import task_of
from muster.training.adaptation import merge_adapters
from muster.training.affordable import affordable, shown_at, tta_of
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import SplitCounts, count_split
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finished import Finished, digest_of, read_finished, write_finished
from muster.training.fitting import fit
from muster.training.frozen import make_fit_data
from muster.training.hardware import Hardware
from muster.training.intervals import differences_to
from muster.training.modules import EnsembleTraining, TrainingDivergedError, is_finite
from muster.training.passes import SeveralPasses
from muster.training.results import EQUAL_COST, LEARNED_HEAD, Difference, EqualCost, SpentOn
from muster.training.run_files import WORK
from muster.training.settings import TrainingSettings
from muster.training.target_data import TargetData


class _LeftOutError(Exception):
    """Why there is no model of equal cost."""


@dataclass(frozen=True, eq=False)
class Rival:
    """What a single model of equal cost is made from.

    Attributes:
        name: The member.
        chosen_by: The metric by which it is the best as an ensemble of one.
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
    chosen_by: str
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
        settings, module = self.module.settings.without_choices(), self.module
        rate, size = module.rates.get(self.name, settings.initial_rate), self.target.preprocessing.known_size
        crop = None if size.characters is not None else settings.crop_for(size)
        return replace(settings, learning_rate=rate, crop_size=crop)

    @property
    def steps(self) -> int:
        """Its steps of fine-tuning: as many as all members of the ensemble take together."""
        return min(len(self.ensemble.names) * self.settings.steps, MOST_STEPS)


@dataclass(frozen=True, eq=False)
class EqualCostModel:
    """A single model of equal cost, fine-tuned and evaluated.

    Attributes:
        ensemble: The network as an ensemble of one, which looks at images as it was decided.
        counts: Its counts on the test split.
        made: How it was made; the difference of the ensemble is not filled in.
    """

    ensemble: Ensemble
    counts: SplitCounts
    made: EqualCost

    def several_passes(self, target: TargetData) -> SeveralPasses:
        """What to time it by: what it sees of the first test image."""
        shown, variants = self.ensemble.preprocessing, self.ensemble.tta.variants
        (model,) = self.ensemble.models.values()
        return SeveralPasses.of(model, shown, variants, target.test_shape)

    def record(self, ensemble: SplitCounts, seed: int) -> EqualCost:
        """What a result says of it.

        Args:
            ensemble: What the ensemble reached on the same images.
            seed: The seed of the bootstrap samples of these.
        """
        beyond = differences_to(EQUAL_COST, {LEARNED_HEAD: ensemble, EQUAL_COST: self.counts}, seed)[LEARNED_HEAD]
        return replace(self.made, ensemble_beyond=beyond)


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
            raise _LeftOutError(f"of a single training {task_of(rival.target.train.spec).sample} none can be held out.")
        self.rival, self.settings = rival, rival.settings
        self.kept, self.held = rival.target.train.hold_out(self.settings.held_out_fraction, self.settings.seed)
        self.description = {
            "settings": self.settings.described(),
            "member": rival.name,
            "ensemble": rival.ensemble.names,
            "images": rival.target.train.identifiers,
            "preprocessing": asdict(rival.target.preprocessing),
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
        module = self._fit(rival.target.train, options[chosen], rival.steps, "fit", trial=False)
        ensemble, started = self._ensemble_of_one(module, options[chosen]), time.monotonic()
        counts = self._count(ensemble, rival.target.dataset.test, [options[chosen]])[0]
        self.seconds += time.monotonic() - started
        made = EqualCost(
            member=rival.name,
            chosen_by=rival.chosen_by,
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
        return EqualCostModel(ensemble, counts, made)

    def _measured(self) -> _Measured:
        """What the time can be spent on, as it was measured first."""
        rival = self.rival
        path, digest = rival.place / "options.yaml", digest_of(self.description)
        found = read_finished(path, _Measured, digest)
        if found is None:
            budget, options = affordable(rival.load(), rival.ensemble, rival.target, rival.hardware)
            found = _Measured(digest, budget, tuple(options))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_finished(path, found)
        return found

    def _tried(self, options: Sequence[SpentOn]) -> tuple[SpentOn, ...]:
        """The options with their results on the held-out images, after one trial for each size of the images."""
        found: dict[int, float | None] = {}
        for number, size in enumerate(dict.fromkeys(option.image_size for option in options)):
            places = [place for place, option in enumerate(options) if option.image_size == size]
            module = self._fit(self.kept, options[places[0]], self.settings.steps, f"trial-{number}", trial=True)
            ensemble, started = self._ensemble_of_one(module, options[places[0]]), time.monotonic()
            if module.diverged or not is_finite(ensemble):
                found |= dict.fromkeys(places)
                continue
            counts = self._count(ensemble, self.held, [options[place] for place in places])
            if counts[0].is_empty:
                task = task_of(self.held.spec)
                raise _LeftOutError(f"the training {task.holds} held out have no labelled {task.unit}.")
            found |= {place: each.result for place, each in zip(places, counts, strict=True)}
            self.seconds += time.monotonic() - started
        return tuple(replace(option, result=found[place]) for place, option in enumerate(options))

    def _fit(self, images: Split, option: SpentOn, steps: int, name: str, *, trial: bool) -> EnsembleTraining:
        """Train the member on images of the size of an option."""
        rival, settings = self.rival, replace(self.settings, steps=steps)
        module = EnsembleTraining(settings, rival.module.num_classes, trial=trial)
        model = rival.load()
        shown = shown_at(model, rival.target, option)
        module.set_members((rival.name,), [model])
        folder, hardware, before = rival.place / name, rival.hardware, self.steps_before
        described = {**self.description, "steps": steps, "images": images.identifiers, "size": option.image_size}
        keep_checkpoint_of(folder, described)
        clock = Clock(lambda done, loss: rival.progress(before + done, loss))
        data = make_fit_data(images, shown, settings, hardware.resolved_num_workers())
        fit(module, data, folder, hardware, [clock], until=steps)
        self.seconds, self.steps_before = self.seconds + clock.seconds, before + steps
        merge_adapters(module.models[rival.name])
        module.to(hardware.resolved_device())
        return module

    def _ensemble_of_one(self, module: EnsembleTraining, option: SpentOn) -> Ensemble:
        """The fitted member as an ensemble, in evaluation mode."""
        rival, model = self.rival, module.models[self.rival.name]
        ensemble = rival.ensemble.of_one(rival.name, model, shown_at(model, rival.target, option))
        ensemble.tta = tta_of(option)
        return ensemble

    def _count(self, ensemble: Ensemble, split: Split, options: Sequence[SpentOn]) -> list[SplitCounts]:
        """Counts for each of some options with images of one size, in one pass over the images."""

        def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
            labels = {}
            for place, option in enumerate(options):
                ensemble.tta = tta_of(option)
                labels[str(place)] = ensemble.task.decide(ensemble(images, size))
            return labels

        device = self.rival.hardware.resolved_device()
        counts = count_split(predict, split, ensemble.preprocessing, device, owns=ensemble.owns)
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


def _best(options: Sequence[SpentOn]) -> int:
    """The place of the best on the held-out images; of equals the first."""
    sound = {place: option.result for place, option in enumerate(options) if option.result is not None}
    if not sound:
        raise _LeftOutError("its training diverged. A smaller learning_rate usually helps.")
    return max(sound, key=lambda place: (sound[place], -place))
