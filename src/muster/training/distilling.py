"""What an ensemble can be brought down to: one network that it taught, and soups of its members, all compared with it.

Axis names: ``b`` images, ``h`` and ``w`` rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from muster.data.spec import FIRST_TASK
from muster.errors import ConfigError
from muster.files import read_yaml
from muster.machine import device_label, now
from muster.models import SourceModel, build_model
from muster.pool import software_versions
from muster.records import with_later_names
from muster.tasks.task import TASKS, Task, task_of
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.distillation import Distillation, with_unlabelled
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import require_fittable
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.intervals import result_intervals
from muster.training.results import FinetuneResult
from muster.training.run_files import RESULT, WORK
from muster.training.settings import TrainingSettings
from muster.training.side_by_side import count_ensembles, seconds_of
from muster.training.soup import Soup, alike, greedy_soup, uniform_soup
from muster.training.target_data import TargetData

ENSEMBLE, DISTILLED, UNIFORM, GREEDY, BASELINE = "ensemble", "distilled", "uniform soup", "greedy soup", "B1"


@dataclass(frozen=True)
class Compared:
    """One model in the comparison.

    Attributes:
        result: mIoU, or what else the task's result is, on the target's test split.
        interval: Its interval over bootstrap samples of the test images, if there are enough of them.
        seconds_per_image: Time of the forward passes over one image.
        parameters: Number of weights and biases.
        megabytes: Size of its weights as they are stored.
        of: What it is made of, in words.
    """

    result: float
    interval: tuple[float, float] | None
    seconds_per_image: float
    parameters: int
    megabytes: float
    of: str = ""


@dataclass(frozen=True)
class DistillResult:
    """An ensemble beside what it was brought down to.

    Attributes:
        target: Name of the target dataset.
        classes: Its label space.
        models: By name: the ensemble, the distilled network, soups, and B1 as the run of the ensemble had it.
        train_images: Labelled images that the network was taught on.
        unlabelled_images: Others.
        test_images: Images of the test split.
        settings: How the network was taught, in plain values; empty if there is none.
        losses: The course of its training loss as (step, loss).
        device: What it was computed on.
        date: When, ISO 8601.
        versions: Software it was made with.
        task: What is predicted, see :mod:`muster.tasks.task`.
    """

    target: str
    classes: tuple[str, ...]
    models: dict[str, Compared]
    train_images: int
    unlabelled_images: int
    test_images: int
    settings: dict[str, Any]
    losses: list[tuple[int, float]] = field(default_factory=list)
    device: str = ""
    date: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    task: str = FIRST_TASK

    @property
    def words(self) -> Task:
        """What results and units are called."""
        return TASKS[self.task]


def teach(
    ensemble: Ensemble,
    target: TargetData,
    architecture: str,
    pretraining: str,
    label_weight: float,
    unlabelled: Path | None,
    settings: TrainingSettings,
    folder: Path,
    hardware: Hardware,
) -> tuple[Ensemble, Distillation, int]:
    """Teach one network; taken up again if it was interrupted.

    Args:
        ensemble: Its teacher.
        target: What the ensemble was fine-tuned on.
        architecture: What :func:`muster.models.build_model` builds.
        pretraining: What it starts from.
        label_weight: See :class:`Distillation`.
        unlabelled: Where images, or texts, without labels are; see :func:`with_unlabelled`.
        settings: How to train.
        folder: The folder of the run; checkpoints go to its folder ``work``.
        hardware: What to compute on.

    Returns:
        An ensemble of one, in evaluation mode; how it was taught; and the number of samples without labels.
    """
    student = build_model(architecture, len(ensemble.classes), pretraining, settings.seed)
    student.adapt_channels(target.dataset.spec.channels)
    fitted = task_of(target.dataset.spec).fitted(student)
    module = Distillation(settings, ensemble, DISTILLED, fitted, label_weight)
    require_fittable(module, target, hardware)
    train = target.train if unlabelled is None else with_unlabelled(target.train, unlabelled)
    description = {
        "settings": settings.described(),
        "images": train.identifiers,
        "shown": asdict(target.preprocessing),
        "student": (architecture, pretraining, label_weight),
        "teacher": float(sum(value.double().abs().sum() for value in ensemble.state_dict().values())),
    }
    keep_checkpoint_of(folder / WORK, description)
    fit(
        module, FitData(train, target.preprocessing, settings, hardware.resolved_num_workers()), folder / WORK, hardware
    )
    made = ensemble.of_one(DISTILLED, module.models[DISTILLED])
    return made, module, len(train) - len(target.train)


def soups_of(ensemble: Ensemble, target: TargetData, settings: TrainingSettings) -> dict[str, tuple[Ensemble, Soup]]:
    """Soups of the members that share an architecture.

    Args:
        ensemble: On the device to compute on.
        target: Its training images choose what goes into the greedy soup: a share of them that the settings say. The
            members have seen these images in their fine-tuning, so that their mIoU there is too good for all alike.
        settings: Their seed says which images.

    Returns:
        By name, the soup as an ensemble of one; nothing if no two members are alike.
    """
    names = alike(ensemble)
    if not names:
        return {}
    chosen = {name: ensemble.models[name] for name in names}
    _, held_out = target.train.hold_out(settings.held_out_fraction, settings.seed)

    def result_of_model(model: SourceModel) -> float:
        one = {"model": ensemble.of_one("model", model)}
        return count_ensembles(one, held_out, target.preprocessing)["model"].result

    soups = {UNIFORM: uniform_soup(chosen), GREEDY: greedy_soup(chosen, result_of_model)}
    return {name: (ensemble.of_one(name, soup.model), soup) for name, soup in soups.items()}


def compare(
    ensembles: Mapping[str, Ensemble], notes: Mapping[str, str], target: TargetData, seed: int
) -> dict[str, Compared]:
    """The result on the test split, time and size of each.

    Args:
        ensembles: By name.
        notes: What some of them are made of.
        target: Its test split is looked at.
        seed: Of the bootstrap.

    Returns:
        By name.
    """
    counts = count_ensembles(ensembles, target.dataset.test, target.preprocessing)
    intervals = result_intervals(counts, seed)
    return {
        name: Compared(
            result=counts[name].result,
            interval=intervals.get(name),
            seconds_per_image=seconds_of(each, target.test_shape),
            parameters=sum(value.numel() for value in each.parameters()),
            megabytes=sum(value.nbytes for value in each.state_dict().values()) / 1e6,
            of=notes.get(name, ""),
        )
        for name, each in ensembles.items()
    }


def baseline_of(run: Path) -> Compared | None:
    """B1 as the run of an ensemble recorded it; ``None`` if there is no record.

    Args:
        run: The folder of the run.

    Returns:
        Its mIoU and cost.
    """
    if not (run / RESULT).is_file():
        return None
    record = with_later_names(read_yaml(run / RESULT, ConfigError), FinetuneResult)
    name = record.get("single_best")
    cost = record.get("costs", {}).get(name)
    if cost is None or name not in record.get("results", {}):
        return None
    ends = record.get("result_intervals", {}).get(name)
    return Compared(
        result=record["results"][name],
        interval=None if ends is None else (ends[0], ends[1]),
        seconds_per_image=cost["seconds_per_image"],
        parameters=cost["parameters"],
        megabytes=4 * cost["parameters"] / 1e6,
        of=f"{name}, as its run measured it",
    )


def result_of(
    models: dict[str, Compared], target: TargetData, unlabelled: int, module: Distillation | None, hardware: Hardware
) -> DistillResult:
    """All of it in plain values."""
    return DistillResult(
        target=target.dataset.spec.name,
        classes=target.dataset.spec.classes,
        models=models,
        train_images=len(target.train),
        unlabelled_images=unlabelled,
        test_images=len(target.dataset.test),
        settings={} if module is None else {**asdict(module.settings), "label_weight": module.label_weight},
        losses=[] if module is None else module.losses(DISTILLED),
        device=device_label(hardware.resolved_device(), 1),
        date=now(),
        versions=software_versions(),
        task=target.dataset.spec.task,
    )
