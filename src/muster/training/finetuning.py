"""Fine-tune a selection: all members and the baseline in one fit, then the head, then the results."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from torch import Tensor

from muster.data import Split, Views, view_for
from muster.models import SourceModel, TTASettings, Variant
from muster.pool import Pool
from muster.selection.record import SelectionRecord
from muster.tasks.task import task_of
from muster.training.adaptation import merge_adapters
from muster.training.checkpoints import CHECKPOINT, keep_checkpoint_of
from muster.training.checks import require_shared_batches, require_trainable
from muster.training.evaluation import SplitCounts, count_split
from muster.training.finetuned_ensemble import Ensemble
from muster.training.fitting import fit
from muster.training.frozen import FrozenFeatures, make_fit_data
from muster.training.hardware import Hardware
from muster.training.head import learn_head
from muster.training.head_kept import fit_kept_head
from muster.training.modules import EnsembleTraining
from muster.training.rates import Trials, choose_rates, trial_folder
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN
from muster.training.run_files import WORK
from muster.training.settings import HeadSettings, TrainingSettings
from muster.training.target_data import TargetData


def require_fittable(
    module: EnsembleTraining,
    target: TargetData,
    hardware: Hardware,
) -> None:
    """Check before anything is fitted that devices, batches and crops go together.

    Args:
        module: With its members, if they are chosen already.
        target: What to fine-tune on.
        hardware: What to compute on.

    Raises:
        ConfigError: If they do not.
    """
    hardware.require_devices(hardware.resolved_devices())
    require_shared_batches(module.settings, hardware.processes())
    models = module.models
    require_trainable(models, module.settings, target.preprocessing.known_size)


def fit_members(
    module: EnsembleTraining,
    target: TargetData,
    folder: Path,
    hardware: Hardware,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    depends_on: Mapping[str, object] | None = None,
    reload: Callable[[Sequence[str]], Sequence[SourceModel]] | None = None,
) -> bool:
    """Fine-tune all members of a module in one fit; taken up again if it was interrupted.

    Where the settings name rates or numbers of steps to choose from, a fit for each rate comes before, on some of the
    images (see :func:`muster.training.rates.choose_rates`); the last fit takes all images,
    and for each member the best.

    Args:
        module: With members, or with a callback that gives it some.
        target: What to fine-tune on.
        folder: The folder of the run; checkpoints go to its folder ``work``.
        hardware: What to compute on.
        callbacks: For the Trainer.
        loggers: For the Trainer.
        depends_on: What else the result depends on, so that a checkpoint of another run is not taken up.
        reload: Gives source models by name, for the fits that only choose.

    Returns:
        Whether this process is the one that writes. The others must take part in :func:`build_ensemble` and
        :func:`evaluate`.
    """
    description = {
        "settings": module.settings.described(),
        "images": target.train.identifiers,
        "preprocessing": asdict(target.preprocessing),
        "members": module.names,
        **(depends_on or {}),
    }
    features = FrozenFeatures()
    if module.settings.tried_rates:
        assert reload is not None  # whoever lets a user give rates passes it
        _choose_rates(module, target, folder, hardware, callbacks, description, reload, features)
        description |= {"rates": module.rates, "stops": module.stops}
    keep_checkpoint_of(folder / WORK, description)
    workers = hardware.resolved_num_workers()
    data = make_fit_data(target.train, target.preprocessing, module.settings, workers, features)
    trainer = fit(module, data, folder / WORK, hardware, callbacks, loggers)
    for member in module.members:
        merge_adapters(member)
    module.to(hardware.resolved_device()).eval()
    return trainer.is_global_zero


def first_checkpoint(folder: Path, settings: TrainingSettings) -> Path:
    """Where the first of the fits of :func:`fit_members` keeps its checkpoint: the one in which members are chosen.

    Args:
        folder: The folder of the run.
        settings: They say whether rates are tried first.

    Returns:
        The file; it may not be there yet.
    """
    rates = settings.tried_rates
    return (trial_folder(folder / WORK, rates[0]) if rates else folder / WORK) / CHECKPOINT


def _choose_rates(
    module: EnsembleTraining,
    target: TargetData,
    folder: Path,
    hardware: Hardware,
    callbacks: Sequence[Callback],
    description: Mapping[str, Any],
    reload: Callable[[Sequence[str]], Sequence[SourceModel]],
    features: FrozenFeatures,
) -> None:
    """Give a module the best rate and number of steps of each member, and members if it has none yet."""

    def trial(settings: TrainingSettings, names: Sequence[str]) -> EnsembleTraining:
        made = EnsembleTraining(settings, module.num_classes, trial=True)
        if names := tuple(names) or module.names:
            made.set_members(names, reload(names))
        return made

    trials = Trials(
        module.settings,
        target.train,
        target.preprocessing,
        hardware.resolved_num_workers(),
        folder / WORK,
        description,
        features,
    )
    choice, names = choose_rates(trials, trial, hardware, callbacks)
    if not module.members_chosen:
        module.set_members(names, reload(names))
    module.rates, module.stops = choice.chosen, choice.stops
    module.held_out, module.curves = choice.held_out, choice.curves


def load_members(pool: Pool, names: Sequence[str]) -> list[SourceModel]:
    """Source models by name, weights checked against their cards."""
    return [pool[name].load_model() for name in names]


def with_baseline(selection: SelectionRecord) -> tuple[str, ...]:
    """The chosen members and, if it is not among them, the single best by LEEP (B1), to be fine-tuned likewise."""
    return tuple(sorted({*selection.members, selection.single_best}))


def build_ensemble(
    module: EnsembleTraining,
    names: Sequence[str],
    target: TargetData,
    hardware: Hardware,
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    folder: Path | None = None,
    loggers: Sequence[Logger] = (),
    tta: TTASettings = TTASettings(),  # noqa: B008 (frozen)
) -> Ensemble:
    """Put fine-tuned members together, and learn their head; the settings say whether it is kept in any case.

    Args:
        module: Fitted.
        names: The members of the ensemble.
        target: What they were fine-tuned on.
        hardware: What to compute on.
        head: How the head is learned.
        folder: The folder of the run; the checkpoints of ``sgd`` go to its folder ``work``.
        loggers: For the curve of ``sgd``, which the module's history is given too.
        tta: In which ways the ensemble predicts an image; the head is learned on plain images.

    Returns:
        The ensemble, in evaluation mode.
    """
    members = [module.models[name] for name in names]
    ensemble = Ensemble(names, members, target.dataset.spec.classes, target.preprocessing, task_of(target.dataset.spec))
    device, seed = hardware.resolved_device(), module.settings.seed
    ensemble.to(device).eval()
    ensemble.precision, ensemble.tta = hardware.resolved_precision(), tta
    ensemble.stored_size = usual_stored_size(target.train)
    if ensemble.task.finds_objects:  # there is nothing to combine
        return ensemble
    if head.optimizer == "lbfgs":
        learn_head(ensemble, target.train, seed, device, settings=head)
        return ensemble
    assert folder is not None  # whoever lets a user ask for sgd passes it
    word = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    place = folder / WORK / f"head-{word}"
    module.history += fit_kept_head(
        ensemble, target.train, head, seed, place, hardware, loggers, steps_before=module.settings.steps
    )
    return ensemble


def evaluate(
    module: EnsembleTraining, ensemble: Ensemble, target: TargetData, hardware: Hardware
) -> dict[str, SplitCounts]:
    """Count on the test split, in one pass over it.

    Returns:
        By name: every fine-tuned member, the plain mean of the ensemble's members, and its learned head.
    """
    variants = ensemble.tta.variants

    @torch.no_grad()
    def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        for variant in variants:
            for name, probabilities in _probabilities(module, ensemble, variant, images, size).items():
                totals[name] = probabilities + totals[name] if name in totals else probabilities
        return {name: ensemble.task.decide(total / len(variants)) for name, total in totals.items()}

    shown, device = target.preprocessing, hardware.resolved_device()
    with hardware.autocast():
        return count_split(predict, target.dataset.test, shown, device, owns=module.owns)


def _probabilities(
    module: EnsembleTraining, ensemble: Ensemble, variant: Variant, images: Views, size: tuple[int, int]
) -> dict[str, Tensor]:
    """What every member alone, their plain mean and the learned head make of images shown in one way."""
    scores = {
        name: variant.map_of(model, view_for(images, model.preprocessing)) for name, model in module.models.items()
    }
    alone = {name: ensemble.task.predictions(maps, size, part) for name, (maps, part) in scores.items()}
    mean = torch.stack([alone[name] for name in ensemble.names]).sum(dim=0) / len(ensemble.names)
    learned = ensemble.combine([scores[name] for name in ensemble.names], size)
    return {**alone, PLAIN_MEAN: mean, LEARNED_HEAD: learned}


SIZED_IMAGES = 20
"""The usual size is that of so many training images."""


def usual_stored_size(train: Split) -> tuple[int, int]:
    """Median rows and columns of the first training images, as stored.

    Args:
        train: At least one image.

    Returns:
        In pixels.
    """
    sizes = [train[index].image.shape[-2:] for index in range(min(SIZED_IMAGES, len(train)))]
    rows, columns = (sorted(sides)[len(sides) // 2] for sides in zip(*sizes, strict=True))
    return rows, columns


def forget_checkpoint(folder: Path) -> None:
    """Delete what was kept for going on, once everything else is written."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
