"""Confirm the choice of a metric by brief fine-tuning: successive halving among its leading candidates.

The members of the leading candidates are fine-tuned for a tenth of the steps on a part of the target's training images.
A candidate's result is the mIoU of the plain mean of its members on the images held out. The better half stays and goes
on to twice the steps, until one candidate is left. Members share no parameter, so a member of several candidates is
trained once. Rates fall as in the fine-tuning that follows: each round is the beginning of it, broken off. The test
split is never looked at.

Source: Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization (AISTATS 2016),
Figure 3 (successive halving; budgets that double while candidates halve).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from muster.data import Views
from muster.errors import DatasetError
from muster.selection.candidates import Candidate, members_of
from muster.tasks.task import task_of
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import count_split, maps_of
from muster.training.finished import Finished, digest_of, read_finished, write_finished
from muster.training.fitting import fit
from muster.training.frozen import make_fit_data
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining, TrainingDivergedError, is_finite
from muster.training.results import Confirmation, ConfirmationRound
from muster.training.run_files import WORK
from muster.training.target_data import TargetData

FIRST_SHARE = 10
"""The first round has one of so many parts of the steps."""

ROUNDS = "rounds.yaml"


def confirmation_folder(folder: Path) -> Path:
    """Where the fits of a confirmation keep their checkpoint, below the folder of a run."""
    return folder / WORK / "confirmation"


def total_round_steps(steps: int, candidates: int) -> int:
    """Steps of the last round, those of earlier rounds included: what a member takes that stays to the end.

    Args:
        steps: Of the fine-tuning.
        candidates: How many there are at first.

    Returns:
        At most ``steps``.

    Example:
        >>> [total_round_steps(200, candidates) for candidates in (2, 4, 8, 1000)]
        [20, 40, 80, 200]
    """
    number, left = 0, candidates
    while left // 2 > 1:
        number, left = number + 1, left // 2
    return _steps_of_round(steps, number)


def _steps_of_round(steps: int, number: int) -> int:
    return min(max(1, steps // FIRST_SHARE) << number, steps)


@dataclass(frozen=True)
class Trial:
    """What is to be confirmed.

    Attributes:
        module: In which members are trained: with the members of the candidates, or without any if a callback is to
            choose them. Made with ``trial=True``, and with settings that leave nothing to choose.
        candidates: Tells the candidates, the metric's best first; asked once the first fit is done.
        target: What to fine-tune on.
        folder: The folder of the run; checkpoints go below its folder ``work``.
        hardware: What to compute on.
        callbacks: For the fits.
        progress: Told how far the rounds are.
        depends_on: What the result depends on besides, so that what another run left is not taken up.
    """

    module: EnsembleTraining
    candidates: Callable[[], Sequence[Candidate]]
    target: TargetData
    folder: Path
    hardware: Hardware
    callbacks: Sequence[Callback]
    progress: Progress
    depends_on: Mapping[str, Any]

    @property
    def place(self) -> Path:
        """Where its checkpoint and its finished rounds are kept."""
        return confirmation_folder(self.folder)


def confirm(trial: Trial) -> Confirmation:
    """Compare candidates by brief fine-tuning. Every process of a distributed run takes part, and finds the same.

    Interrupted, it goes on: finished rounds are read again, and the one at hand is taken up from its last checkpoint.

    Args:
        trial: What to confirm.

    Returns:
        The rounds, and the candidate that they left. Of candidates that reach the same, the metric's better one stays.

    Raises:
        TrainingDivergedError: If every candidate has a member that diverged.
        DatasetError: If too few images are there to hold some out, or the held-out ones have no labelled pixel.
    """
    rounds = _Rounds(trial)
    left: tuple[Candidate, ...] = ()
    while len(left) != 1:
        left = _better_half(rounds.next_one(left), trial.module.settings.steps)
    first = rounds.done[0].candidates[0]
    counts = len(rounds.kept), len(rounds.held)
    return Confirmation(first, left[0], tuple(rounds.done), *counts, round(rounds.seconds, 1))


def _better_half(done: ConfirmationRound, steps: int) -> tuple[Candidate, ...]:
    """Those that go on, in the order of the metric; a single one where no steps are left to train."""
    sound = {place: result for place, result in enumerate(done.results) if result is not None}
    if not sound:
        raise TrainingDivergedError(
            f"Each of the {len(done.candidates)} candidates to confirm has a member that diverged within "
            f"{done.steps} steps. Give a smaller learning_rate."
        )
    count = 1 if done.steps == steps else max(1, len(done.candidates) // 2)
    best = sorted(sound, key=lambda place: (-sound[place], place))[:count]
    return tuple(done.candidates[place] for place in sorted(best))


class _Rounds:
    """The rounds one by one: read again if they were finished before, or carried out."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        settings, target = trial.module.settings, trial.target
        self.kept, self.held = target.train.hold_out(settings.held_out_fraction, settings.seed)
        description = {
            "settings": settings.described(),
            "kept": self.kept.identifiers,
            "held_out": self.held.identifiers,
            "preprocessing": asdict(target.preprocessing),
            "members": trial.module.names,
            **trial.depends_on,
        }
        keep_checkpoint_of(trial.place, description)
        digest = digest_of(description)
        self._before = read_finished(trial.place / ROUNDS, _Finished, digest) or _Finished(digest)
        self._evaluating = self._before.evaluating
        self.seconds = self._before.seconds
        self.done: list[ConfirmationRound] = []

    def next_one(self, left: tuple[Candidate, ...]) -> ConfirmationRound:
        """The next round; it begins with the candidates that are left, or with all if it is the first."""
        number = len(self.done)
        if number < len(self._before.rounds):
            self.done.append(self._before.rounds[number])
        else:
            self.done.append(self._carry_out(number, left))
            finished = replace(self._before, rounds=tuple(self.done), seconds=self.seconds, evaluating=self._evaluating)
            write_finished(self.trial.place / ROUNDS, finished)
        return self.done[-1]

    def _carry_out(self, number: int, left: tuple[Candidate, ...]) -> ConfirmationRound:
        trial, module = self.trial, self.trial.module
        everyone = members_of(self.done[0].candidates) if self.done else ()
        module.idle = set(everyone) - set(members_of(left))
        steps = _steps_of_round(module.settings.steps, number)
        target, hardware, clock = trial.target, trial.hardware, Clock(trial.progress)
        workers = hardware.resolved_num_workers()
        data = make_fit_data(self.kept, target.preprocessing, module.settings, workers)
        fit(module, data, trial.place, hardware, [clock, *trial.callbacks], until=steps)
        fitting, started = clock.seconds, time.monotonic()
        candidates = left or tuple(trial.candidates())
        results = self._compare(candidates)
        self._evaluating += time.monotonic() - started
        self.seconds = fitting + self._evaluating
        return ConfirmationRound(steps, candidates, results)

    @torch.no_grad()
    def _compare(self, candidates: Sequence[Candidate]) -> tuple[float | None, ...]:
        """MIoU of each candidate on the held-out images."""
        trial, module = self.trial, self.trial.module
        device = trial.hardware.resolved_device()
        module.to(device).eval()
        wanted = members_of(candidates)
        models = {
            name: model
            for name, model in module.models.items()
            if name in wanted and name not in module.diverged and is_finite(model)
        }
        sound = {str(place): names for place, names in enumerate(candidates) if set(names) <= models.keys()}

        task = task_of(self.held.spec)

        def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
            maps = dict(maps_of(models, task, images, size))
            sums = {key: torch.stack([maps[name] for name in names]).sum(dim=0) for key, names in sound.items()}
            return {key: task.decide(total) for key, total in sums.items()}

        with trial.hardware.autocast():
            owns = [model.preprocessing for model in models.values()]
            counts = count_split(predict, self.held, trial.target.preprocessing, device, owns=owns)
        module.train()
        if any(each.is_empty for each in counts.values()):
            raise DatasetError(
                f"The {len(self.held)} training {task.holds} of dataset {self.held.spec.name!r} held out to compare "
                f"candidates on have no labelled {task.unit}. Give a larger held_out_fraction, or another seed."
            )
        results = {key: each.result for key, each in counts.items()}
        return tuple(results.get(str(place)) for place in range(len(candidates)))


@dataclass(frozen=True)
class _Finished(Finished):
    """What is kept of finished rounds.

    Attributes:
        rounds: The rounds.
        seconds: What they took.
        evaluating: The part of that which the evaluation on held-out images took.
    """

    rounds: tuple[ConfirmationRound, ...] = ()
    seconds: float = 0.0
    evaluating: float = 0.0
