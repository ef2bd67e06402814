"""The whole way of a task, from two sources to a fine-tuned ensemble and its reports, with what the commands call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from muster.data import Dataset
from muster.pool import Pool
from muster.report import write_finetuning_report, write_selection_report
from muster.report.finetuned_images import finetuned_images
from muster.report.texts import finetuned_texts
from muster.selection import Selection
from muster.selection.run import select
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import build_ensemble, evaluate, fit_members, load_members, with_baseline
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining
from muster.training.results import FinetuneResult
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.source import train_member
from muster.training.summary import summarise, write_results
from muster.training.target_data import TargetData, target_data


@dataclass
class Run:
    """A fine-tuning, and where it lies."""

    folder: Path
    target: TargetData
    ensemble: Ensemble
    result: FinetuneResult


@dataclass
class Course:
    """What came of it; reports lie in ``folder``, the fine-tuning in its folder ``run``."""

    folder: Path
    pool: Pool
    selection: Selection
    target: TargetData
    ensemble: Ensemble
    result: FinetuneResult


def run_course(
    folder: Path,
    sources: dict[str, str],
    target: Dataset,
    loss: str,
    architecture: str = "small_fpn",
    settings: SourceSettings | None = None,
    training: TrainingSettings | None = None,
) -> Course:
    """Train a member on each source, select two for the target, fine-tune them, write both reports."""
    hardware = Hardware("cpu")
    settings = settings or SourceSettings(
        steps=12, batch_size=8, image_size=32, crop_size=32, learning_rate=0.02, loss=loss, validation_fraction=0.2
    )
    for name, reference in sources.items():
        train_member(MemberJob(name, folder / "pool", reference, architecture, "none", settings, hardware), _ignored)
    pool = Pool.open(folder / "pool")
    selection = select(pool, target, size=2, cache_gb=0.0)
    training = training or TrainingSettings(steps=12, batch_size=8, crop_size=32, learning_rate=0.02, loss=loss)
    run = fine_tune(folder / "run", pool, selection, target, training)
    write_selection_report(selection, pool, target, folder / "selection.html")
    images, texts = finetuned_images(run.ensemble, run.target, 2), finetuned_texts(run.ensemble, run.target)
    write_finetuning_report(run.result, folder / "finetuning.html", images, report_texts=texts)
    return Course(folder, pool, selection, run.target, run.ensemble, run.result)


def fine_tune(folder: Path, pool: Pool, selection: Selection, target: Dataset, training: TrainingSettings) -> Run:
    """Fine-tune what was selected, and write what comes of it."""
    hardware, seen = Hardware("cpu"), target_data(selection, target)
    module = EnsembleTraining(training, target.spec.num_classes)
    names = with_baseline(selection)
    module.set_members(names, load_members(pool.used_for(target.spec), names))
    assert fit_members(module, seen, folder, hardware)
    ensemble = build_ensemble(module, selection.members, seen, hardware)
    counts, scores = evaluate(module, ensemble, seen, hardware), {"e_leep": selection.score}
    result = summarise(selection, scores, module, ensemble, counts, seen, hardware, 1.0)
    write_results(folder, result, module, ensemble)
    return Run(folder, seen, ensemble, result)


def _ignored(step: int, loss: float) -> None:
    """Nobody looks at the progress."""
