"""What finetune.py is to fine-tune, whichever way its members are found: before, at the start of the fit, confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from rich.console import Console

from muster.callbacks import EnsembleSelection
from muster.data import cached, open_dataset, usual_preprocessing
from muster.execution.progress import fit_progress
from muster.files import as_file_name
from muster.pool import Pool
from muster.selection.candidates import Candidate, best_alone, choosing, leading_candidates, members_of
from muster.selection.probing import resolve_train_images, usual_image_size
from muster.selection.record import Selection
from muster.selection.reopening import open_pool, open_target, warn_if_from_before
from muster.selection.settings import OF_THE_MACHINE, SelectionSettings
from muster.tasks.task import choose_images, task_of
from muster.training.checkpoints import CHECKPOINT
from muster.training.clock import Clock, Progress
from muster.training.confirmation import Trial, confirm, confirmation_folder, total_round_steps
from muster.training.equal_cost import EqualCostModel, Rival, make_equal_cost
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import first_checkpoint, fit_members, load_members, with_baseline
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import Confirmation
from muster.training.settings import ComparisonSettings, TrainingSettings
from muster.training.target_data import TargetData, target_data

SELECTION = "selection"


@dataclass
class FinetuningPlan:
    """What is to be fine-tuned, whichever way its members are found.

    Attributes:
        name: What to call the run.
        pool: Where source models come from.
        target: What to fine-tune on.
        module: With its members, or to be given some by the callback.
        chosen: The selection, if it was made before.
        choice: How to choose otherwise.
        comparison: What is compared with the chosen members.
        confirmation: What brief fine-tuning made of the choice, once it is done.
    """

    name: str
    pool: Pool
    target: TargetData
    module: EnsembleTraining
    chosen: Selection | None = None
    choice: SelectionSettings = SelectionSettings()  # noqa: RUF009 (frozen)
    comparison: ComparisonSettings = ComparisonSettings()  # noqa: RUF009 (frozen)
    confirmation: Confirmation | None = None

    @property
    def steps_to_confirm(self) -> int:
        """Steps of the rounds that confirm the choice."""
        count = self.comparison.confirm
        return total_round_steps(self.module.settings.steps, count) if count else 0

    @property
    def total_steps(self) -> int:
        """Steps of all fits."""
        return self.steps_to_confirm + self.module.settings.total_steps

    def selection(self, folder: Path) -> Selection:
        """The selection as it was made, in the folder of the run if that was at the start."""
        return self.chosen or Selection.load(folder / SELECTION)

    def choice_made(self, folder: Path) -> Selection:
        """The selection with the candidate that is fine-tuned: the metric's, or the one that was confirmed."""
        selection = self.selection(folder)
        return selection if self.confirmation is None else choosing(selection, self.confirmation.chosen)


def plan_of_selection(
    folder: Path,
    pool_now: Path | None,
    target_now: str | None,
    training: TrainingSettings,
    data_root: Path | None,
    comparison: ComparisonSettings,
) -> FinetuningPlan:
    """Fine-tune what was selected before.

    Args:
        folder: The selection.
        pool_now: Where its pool lies now, if it was moved.
        target_now: What opens its target now, likewise.
        training: How to fine-tune.
        data_root: Where dataset folders are.
        comparison: What else is compared.

    Returns:
        The plan, with members.

    Raises:
        SelectionError: If pool or target are not those of the selection.
    """
    selection = Selection.load(folder)
    warn_if_from_before(selection, folder)
    target = target_data(selection, open_target(selection, target_now, data_root))
    names = with_baseline(selection)
    compared = members_of(leading_candidates(selection, comparison.confirm))
    pool = open_pool(selection, sorted({*names, *compared}), pool_now).used_for(target.dataset.spec)
    module = EnsembleTraining(training, target.dataset.spec.num_classes)
    module.set_members(names, load_members(pool, names))
    return FinetuningPlan(folder.resolve().name, pool, target, module, chosen=selection, comparison=comparison)


def plan_with_choice(
    pool: Pool, reference: str, training: TrainingSettings, choice: SelectionSettings, comparison: ComparisonSettings
) -> FinetuningPlan:
    """Choose members at the start. The data are what the selection will see then, and it is told so.

    Args:
        pool: What to choose from.
        reference: What opens the target.
        training: How to fine-tune.
        choice: How to choose.
        comparison: What else is compared.

    Returns:
        The plan, without members.
    """
    dataset = open_dataset(reference, choice.data_root)
    count = resolve_train_images(choice.train_images, dataset.spec.probe_images)
    train = cached(choose_images(dataset.train, count, choice.seed))
    size = choice.image_size or usual_image_size(pool.eligible_for(dataset)[0] or pool.members)
    target = TargetData(dataset, train, usual_preprocessing(train, size))
    name = f"{as_file_name(dataset.spec.name)}-{pool.folder.resolve().name}"
    module = EnsembleTraining(training, dataset.spec.num_classes)
    seen = target.preprocessing.known_size.setting
    choice = replace(choice.of_task(task_of(dataset.spec)), train_images=count, image_size=seen)
    pool = pool.used_for(dataset.spec)
    return FinetuningPlan(name, pool, target, module, choice=choice, comparison=comparison)


def fit_plan(
    plan: FinetuningPlan, folder: Path, hardware: Hardware, progress: Progress, loggers: Sequence[Logger]
) -> tuple[Clock, bool]:
    """Confirm the choice, if that is wanted, and fine-tune.

    Args:
        plan: What to fine-tune; its module is trained, and it is told what was confirmed.
        folder: The folder of the run.
        hardware: What to compute on.
        progress: Told how far the fits are.
        loggers: For the last of the fits.

    Returns:
        The clock of the fine-tuning, and whether this process is the one that writes.
    """
    if plan.comparison.confirm:
        plan.confirmation = _confirm(plan, folder, hardware, progress)
        names = with_baseline(plan.choice_made(folder))
        plan.module.set_members(names, load_members(plan.pool, names))
    clock = Clock(lambda done, loss: progress(plan.steps_to_confirm + done, loss))
    callbacks: list[Callback] = [clock]
    if not plan.module.members_chosen:
        checkpoint = first_checkpoint(folder, plan.module.settings)
        callbacks.append(_choosing_callback(plan, folder, checkpoint, baseline=True))
    writes = fit_members(
        plan.module,
        plan.target,
        folder,
        hardware,
        callbacks,
        loggers,
        _depends_on(plan, plan.module.names),
        partial(load_members, plan.pool),
    )
    return clock, writes


def _confirm(plan: FinetuningPlan, folder: Path, hardware: Hardware, progress: Progress) -> Confirmation:
    """Let brief fine-tuning choose between the leading candidates."""
    count, settings = plan.comparison.confirm, plan.module.settings.without_choices()
    module = EnsembleTraining(settings, plan.module.num_classes, trial=True)
    callbacks: list[Callback] = []
    if plan.chosen is None:
        checkpoint = confirmation_folder(folder) / CHECKPOINT
        callbacks.append(_choosing_callback(plan, folder, checkpoint, candidates=count))
    else:
        names = members_of(leading_candidates(plan.chosen, count))
        module.set_members(names, load_members(plan.pool, names))

    def candidates() -> list[Candidate]:
        return leading_candidates(plan.selection(folder), count)

    depends_on = {**_depends_on(plan, module.names), "confirm": count}
    return confirm(Trial(module, candidates, plan.target, folder, hardware, callbacks, progress, depends_on))


def _choosing_callback(
    plan: FinetuningPlan, folder: Path, checkpoint: Path, baseline: bool = False, candidates: int = 1
) -> EnsembleSelection:
    """The callback that chooses members at the start of a fit."""
    return EnsembleSelection(
        plan.pool,
        plan.target.dataset,
        folder / SELECTION,
        plan.choice,
        baseline=baseline,
        candidates=candidates,
        checkpoint=checkpoint,
    )


def _depends_on(plan: FinetuningPlan, names: Sequence[str]) -> dict[str, Any]:
    """What else the result depends on: the members' weights, or what they are chosen from and how."""
    candidates = names or [member.name for member in plan.pool]
    how = {name: value for name, value in asdict(plan.choice).items() if name not in OF_THE_MACHINE}
    options = how if plan.chosen is None else {}
    return {"weights": {name: plan.pool[name].card.checksum for name in candidates}, "options": options}


def make_single(
    plan: FinetuningPlan, ensemble: Ensemble, folder: Path, hardware: Hardware, console: Console
) -> EqualCostModel | None:
    """Fine-tune the single model of equal cost, if it is wanted.

    Args:
        plan: What was fine-tuned.
        ensemble: The ensemble to cost as much as.
        folder: The folder of the run.
        hardware: What to compute on.
        console: Where to show how far it is.

    Returns:
        The model, if there is one.
    """
    if not plan.comparison.equal_cost or len(ensemble.names) == 1:
        return None
    name, chosen_by = best_alone(plan.selection(folder))
    headline = f"A single model of equal cost, {name}: two trials and {len(ensemble.names)} times the steps."
    steps = plan.module.settings.steps * (2 + len(ensemble.names))
    with fit_progress(console, steps, headline) as progress:
        rival = Rival(
            name,
            chosen_by,
            plan.pool[name].load_model,
            plan.module,
            ensemble,
            plan.target,
            folder,
            hardware,
            progress,
            {"weights": plan.pool[name].card.checksum},
        )
        return make_equal_cost(rival)
