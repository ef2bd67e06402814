"""Choose each member's learning rate and number of steps on images held out from training (A22 B: the best of three).

Members share no parameter, so one fit tries a rate for all of them, and each takes the rate that was best for itself.
One fit tries several numbers of steps as well: the last fit follows the same schedule, and where its trial was best, it
stops. So nothing is compared that the last fit would do otherwise, but for the images that were held out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pytorch_lightning.callbacks import Callback

from muster.data import Preprocessing, Split
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock
from muster.training.fitting import fit
from muster.training.frozen import FrozenFeatures, make_fit_data
from muster.training.hardware import Hardware
from muster.training.held_out import HeldOutCurve, HeldOutResults, held_out_results, stops_of
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.settings import TrainingSettings

Curves: TypeAlias = dict[float, dict[int, float | None]]
"""mIoU on held-out images by rate and number of steps; ``None`` where a member diverged."""


@dataclass(frozen=True)
class RateChoice:
    """Which rate each member is trained with, for how many steps, and why.

    Attributes:
        chosen: The rate, by member.
        stops: The number of steps, by member; empty if there was one to choose from.
        held_out: By member, the largest mIoU of each rate on the held-out images, ``None`` where the member diverged.
        curves: By member, the mIoU of each rate after each number of steps.
        images: Number of held-out images.
    """

    chosen: dict[str, float]
    stops: dict[str, int]
    held_out: dict[str, dict[float, float | None]]
    curves: dict[str, Curves]
    images: int

    def best_of(self, name: str) -> float:
        """The largest result of a member on the held-out images; it did not diverge at every rate."""
        return max(value for value in self.held_out[name].values() if value is not None)


@dataclass(frozen=True)
class Trials:
    """What the fits of a search have in common.

    Attributes:
        settings: With the rates and the numbers of steps to choose from.
        train: Training images, of which some are held out.
        preprocessing: How images are shown.
        num_workers: Processes that read and augment.
        folder: The fit of each rate keeps its checkpoint in a folder of its own below.
        depends_on: What the results depend on besides, in plain values, so that a checkpoint of another run is not
            taken up.
        features: Of members whose bodies are frozen, shared with the fit that comes after.
        rates: The rates to try; ``None`` for those of the settings.
        steps_before: Steps of fits that came before these.
    """

    settings: TrainingSettings
    train: Split
    preprocessing: Preprocessing
    num_workers: int
    folder: Path
    depends_on: Mapping[str, Any]
    features: FrozenFeatures | None = None
    rates: tuple[float, ...] | None = None
    steps_before: int = 0

    @property
    def all_rates(self) -> tuple[float, ...]:
        """The rates to try."""
        return self.settings.tried_rates if self.rates is None else self.rates


def choose_rates(
    trials: Trials,
    make_module: Callable[[TrainingSettings, Sequence[str]], EnsembleTraining],
    hardware: Hardware,
    callbacks: Sequence[Callback] = (),
) -> tuple[RateChoice, tuple[str, ...]]:
    """Fit once with each rate on the images that are kept, and compare on those held out.

    Every process of a distributed run takes part, and chooses the same. Interrupted, it goes on from the last
    checkpoint of the rate at hand; the fits before it are looked at again, not done again.

    Args:
        trials: What to fit, and on what.
        make_module: Makes a module with fresh members for a trial, given its settings and the members' names; without
            names, one without members is wanted if a callback is to choose them.
        hardware: What to compute on.
        callbacks: For each fit.

    Returns:
        The choice, and the members' names. Of rates that reach the same the smallest is taken, and then of numbers of
        steps.

    Raises:
        TrainingDivergedError: If a member diverged at every rate.
        DatasetError: If too few images are there to hold some out, or the held-out ones have no labelled pixel.
    """
    settings = trials.settings
    kept, held = trials.train.hold_out(settings.held_out_fraction, settings.seed)
    stops = stops_of(settings.steps, settings.tried_stops)
    names: tuple[str, ...] = ()
    curves: dict[str, Curves] = {}

    def evaluate(module: EnsembleTraining) -> HeldOutResults:
        with hardware.autocast():
            return held_out_results(module, held, trials.preprocessing, hardware.resolved_device())

    for number, rate in enumerate(trials.all_rates):
        with_rate = settings.at_rate(rate)
        module = make_module(with_rate, names)
        folder = trial_folder(trials.folder, rate)
        described = {**trials.depends_on, "rate": rate, "kept": kept.identifiers, "held_out": held.identifiers}
        keep_checkpoint_of(folder, described)
        data = make_fit_data(kept, trials.preprocessing, with_rate, trials.num_workers, trials.features)
        begin_fit(callbacks, trials.steps_before + number * settings.steps)
        curve = HeldOutCurve(stops, evaluate)
        fit(module, data, folder, hardware, callbacks, after=(curve,))
        names = module.names
        for name in names:  # a fit ends early if every member diverged
            curves.setdefault(name, {})[rate] = {stop: curve.found.get(stop, {}).get(name) for stop in stops}
    begin_fit(callbacks, trials.steps_before + len(trials.all_rates) * settings.steps)
    best = {name: _best(name, tried) for name, tried in curves.items()}
    chosen = {name: rate for name, (rate, _) in best.items()}
    ends = {name: stop for name, (_, stop) in best.items()}
    results = {name: {rate: _largest(curve) for rate, curve in tried.items()} for name, tried in curves.items()}
    return RateChoice(chosen, ends if len(stops) > 1 else {}, results, curves, len(held)), names


def trial_folder(parent: Path, rate: float) -> Path:
    """Where the fit that tries a rate keeps its checkpoint."""
    return parent / f"rate-{rate!r}"


def begin_fit(callbacks: Sequence[Callback], steps_before: int) -> None:
    """Tell the clocks among the callbacks that the next of several fits begins.

    Args:
        callbacks: The callbacks of all these fits.
        steps_before: Steps of the fits before.
    """
    for callback in callbacks:
        if isinstance(callback, Clock):
            callback.begin_fit(steps_before)


def _best(name: str, curves: Curves) -> tuple[float, int]:
    """The rate and the number of steps with the largest mIoU."""
    sound = {
        (rate, stop): value for rate, curve in curves.items() for stop, value in curve.items() if value is not None
    }
    if not sound:
        tried = ", ".join(f"{rate:g}" for rate in curves)
        raise TrainingDivergedError(f"{name!r} diverged at every rate ({tried}). Give smaller learning_rates.")
    return max(sound, key=lambda tried: (sound[tried], -tried[0], -tried[1]))


def _largest(curve: Mapping[int, float | None]) -> float | None:
    return max((value for value in curve.values() if value is not None), default=None)
