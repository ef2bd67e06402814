"""The command behind ``finetune.py``: fine-tune a selected ensemble, or predict with a fine-tuned one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from rich.console import Console
from rich.table import Table

from muster.commands.console import make_console
from muster.commands.predict import predict_folder
from muster.data import cached, channel_statistics, open_dataset, require_usable, split_record
from muster.errors import ConfigError
from muster.files import as_file_name, require_writable, whole_file, write_yaml
from muster.pool import Pool
from muster.report import (
    LEARNED_HEAD,
    PLAIN_MEAN,
    FinetuneResult,
    LoggerKind,
    close_loggers,
    finetuning_tables,
    log_tables,
    make_logger,
    selection_tables,
    write_finetuning_report,
    write_selection_report,
)
from muster.search.choose import TrainImages, resolve_train_images, usual_image_size
from muster.search.selection import RECORD, Selection
from muster.tasks.clock import Clock
from muster.tasks.finetuning import (
    ENSEMBLE,
    TargetData,
    build_ensemble,
    evaluate,
    finetuned_pictures,
    fit_members,
    forget_checkpoint,
    load_members,
    require_fittable,
    summarise,
    target_data,
    with_baseline,
    write_results,
)
from muster.tasks.fitting import Hardware
from muster.tasks.progress import fit_progress
from muster.tasks.settings import HeadSettings, TrainingSettings
from muster.tasks.training import EnsembleTraining

SELECTIONS = Path("runs") / "selections"
FINETUNINGS = Path("runs") / "finetunings"
SELECTION = "selection"

ChooseMembers = Callable[..., Callback]
"""Makes the callback that chooses members at the start of a fit: ``callbacks.EnsembleSelection``."""


def finetune(
    selection: Path | None = None,
    pool: Path | None = None,
    target: str | None = None,
    output: Path | None = None,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    size: int = 3,
    metric: str = "soft_iou_eep",
    train_images: TrainImages = "auto",
    image_size: int | None = None,
    data_root: Path | None = None,
    logger: LoggerKind = "csv",
    predict: Path | None = None,
    ensemble: Path | None = None,
    choose: ChooseMembers | None = None,
    configuration: str = "",
) -> int:
    """Fine-tune a selected ensemble, learn how to combine it, and report what it reached.

    Without options it takes the newest selection below runs/selections. Given a pool and a target instead, the members
    are chosen at the start of the fit. Stopped at any moment, the same command goes on from the last checkpoint. With
    predict, a finished ensemble writes masks and overlays for a folder of images instead.

    Args:
        selection: Folder of a selection, as select.py wrote it.
        pool: With target, the pool to choose from; otherwise where the selection's pool lies now, if it was moved.
        target: The dataset to choose for: worlds/NAME, or the folder of a dataset.
        output: Folder of the run; by default below runs/finetunings, with the name of the selection's folder, or
            TARGET-POOL. An older result in it is replaced. With predict, where masks and overlays go; by default a
            folder predictions in that of the run.
        training: How to fine-tune; the images, their statistics and their size are those of the selection.
        hardware: What to compute on.
        head: How the ensemble head is learned, once the members are fine-tuned.
        size: Members of the ensemble, where they are chosen at the start.
        metric: What to choose them by.
        train_images: Number of training images of the target, where members are chosen at the start; auto means 150
            (1000 for COCO and ADE20K), null means all.
        image_size: Longer side of the images in pixels, likewise; null takes the median of the members' own.
        data_root: Folder below which the target is looked for.
        logger: Where training curves go besides history.csv: csv, or wandb as well.
        predict: Only predict the images of this folder.
        ensemble: What to predict with; by default the newest run below runs/finetunings.
        choose: Makes the callback that chooses members.
        configuration: The resolved configuration, saved as config.yaml.

    Returns:
        0, or 1 if an image could not be predicted.

    Raises:
        ConfigError: If options do not go together, or there is no selection yet.
    """
    console = make_console(quiet=int(os.environ.get("LOCAL_RANK", "0")) > 0)
    if predict is not None:
        fitted = ensemble or _newest(FINETUNINGS, f"{ENSEMBLE}/ensemble.yaml", "ensemble", "finetune.py")
        folder = output or fitted / "predictions" / predict.resolve().name
        return predict_folder(predict, fitted, folder, hardware.resolved_device(), console)
    if ensemble is not None:
        raise ConfigError("--ensemble is what --predict predicts with. Give --predict with a folder of images as well.")
    if target is not None and (pool is None or selection is not None):
        raise ConfigError("--target goes with --pool, and not with --selection: members are then chosen at the start.")
    if target is None or pool is None:
        chosen = selection or _newest(SELECTIONS, RECORD, "selection", "select.py")
        console.print(f"Selection: {chosen}", markup=False, highlight=False, soft_wrap=True)
        plan = _chosen_before(chosen, pool, training, data_root)
    else:
        plan = _chosen_at_start(Pool.open(pool), target, data_root, training, train_images, image_size, choose)
        plan.options.update(size=size, metric=metric)
    folder = output or FINETUNINGS / plan.name
    require_writable(folder, "output")
    require_usable(plan.target.dataset.test)
    require_fittable(plan.module, plan.target, hardware)
    result = _run(plan, folder, hardware, head, logger, configuration, console)
    if result is not None:
        _print(result, folder, console)
    return 0


@dataclass
class _Plan:
    """What is to be fine-tuned, whichever way its members are found.

    Attributes:
        name: What to call the run.
        pool: Where source models come from.
        target: What to fine-tune on.
        module: With its members, or to be given some by the callback.
        chosen: The selection, if it was made before.
        choose: Makes the callback otherwise.
        options: For that callback.
    """

    name: str
    pool: Pool
    target: TargetData
    module: EnsembleTraining
    chosen: Selection | None = None
    choose: ChooseMembers | None = None
    options: dict[str, Any] = field(default_factory=dict)


def _chosen_before(folder: Path, moved: Path | None, training: TrainingSettings, data_root: Path | None) -> _Plan:
    selection = Selection.load(folder)
    target = target_data(selection, open_dataset(selection.target_reference, data_root))
    pool = Pool.open(moved or selection.pool)
    names = with_baseline(selection)
    module = EnsembleTraining(training, len(selection.classes))
    module.set_members(names, load_members(pool, names))
    return _Plan(folder.resolve().name, pool, target, module, chosen=selection)


def _chosen_at_start(
    pool: Pool,
    reference: str,
    data_root: Path | None,
    training: TrainingSettings,
    train_images: TrainImages,
    image_size: int | None,
    choose: ChooseMembers | None,
) -> _Plan:
    """The data are what the selection at the start of the fit will see, and it is told so."""
    dataset = open_dataset(reference, data_root)
    count = resolve_train_images(train_images, dataset.spec.name)
    train = cached(dataset.train.subset(count, training.seed))
    size = image_size or usual_image_size(pool.eligible_for(dataset.spec.name)[0] or pool.members)
    target = TargetData(dataset, train, channel_statistics(train), size)
    options = {"train_images": count, "image_size": size, "seed": training.seed, "baseline": True}
    name = f"{as_file_name(dataset.spec.name)}-{pool.folder.resolve().name}"
    module = EnsembleTraining(training, dataset.spec.num_classes)
    return _Plan(name, pool, target, module, choose=choose, options=options)


def _run(
    plan: _Plan,
    folder: Path,
    hardware: Hardware,
    head: HeadSettings,
    logger: LoggerKind,
    configuration: str,
    console: Console,
) -> FinetuneResult | None:
    """Fit, evaluate and write; ``None`` in the processes that only help to fit."""
    target = plan.target.dataset.spec.name
    group = f"{plan.pool.folder.resolve().name}-{target}"
    loggers = make_logger(logger, folder, "muster", group, folder.name, yaml.safe_load(configuration) or {})
    headline = f"Fine-tuning for {target} on {len(plan.target.train)} images."
    result, succeeded = None, False
    try:
        with fit_progress(console, plan.module.settings.total_steps, headline) as progress:
            clock = Clock(progress)
            writes = fit_members(
                plan.module,
                plan.target,
                folder,
                hardware,
                [clock, *_selecting(plan, folder)],
                loggers,
                _depends_on(plan),
                partial(load_members, plan.pool),
            )
        if writes:
            result = _conclude(plan, folder, hardware, head, loggers, configuration, clock.seconds)
        succeeded = True
    finally:
        close_loggers(loggers, succeeded)
    return result


def _depends_on(plan: _Plan) -> dict[str, Any]:
    """What else the result depends on: the members' weights, or what they are chosen from and how."""
    candidates = plan.module.names or [member.name for member in plan.pool]
    return {"weights": {name: plan.pool[name].card.checksum for name in candidates}, "options": plan.options}


def _selecting(plan: _Plan, folder: Path) -> list[Callback]:
    """The callback that chooses members at the start of the fit, if they are not chosen yet."""
    if plan.choose is None:
        return []
    return [plan.choose(plan.pool, plan.target.dataset, folder / SELECTION, **plan.options)]


def _conclude(
    plan: _Plan,
    folder: Path,
    hardware: Hardware,
    head: HeadSettings,
    loggers: list[Logger],
    configuration: str,
    seconds: float,
) -> FinetuneResult:
    selection = plan.chosen or Selection.load(folder / SELECTION)
    best = selection.ranking.order(selection.metric)[0]
    scores = {metric: float(values[best]) for metric, values in selection.ranking.scores.items()}
    ensemble = build_ensemble(plan.module, selection.members, plan.target, hardware, head, folder, loggers)
    confusions = evaluate(plan.module, ensemble, plan.target, hardware)
    result = summarise(selection, scores, plan.module, ensemble, confusions, plan.target, seconds)
    pictures = finetuned_pictures(ensemble, plan.target, hardware)
    write_results(folder, result, plan.module, ensemble)
    if plan.chosen is None:
        write_selection_report(selection, plan.pool, plan.target.dataset, folder / SELECTION / "report.html")
        write_yaml(folder / SELECTION / "splits.yaml", split_record(plan.target.dataset))
    with whole_file(folder / "config.yaml") as partial:
        partial.write_text(configuration, "utf-8")
    write_finetuning_report(result, folder / "report.html", pictures, _predict_command(folder))
    tables = {**selection_tables(selection, plan.pool), **finetuning_tables(result)}
    log_tables(loggers, tables, pictures, result.classes)
    forget_checkpoint(folder)
    return result


def _predict_command(folder: Path) -> str:
    return f"python finetune.py --predict FOLDER_OF_IMAGES --ensemble {shlex.quote(str(folder))}"


def _print(result: FinetuneResult, folder: Path, console: Console) -> None:
    table = Table(title=f"mIoU on {result.test_images} test images of {result.target}", title_justify="left", box=None)
    table.add_column("what")
    table.add_column("mIoU", justify="right")
    for name in (LEARNED_HEAD, PLAIN_MEAN, *result.members):
        what = f"ensemble, {name}" if name in (LEARNED_HEAD, PLAIN_MEAN) else f"member {name}"
        table.add_row(what, f"{result.mious[name]:.3f}")
    table.add_row(f"B1, the best single by LEEP: {result.single_best}", f"{result.mious[result.single_best]:.3f}")
    console.print(table)
    console.print(f"Report: {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Next: {_predict_command(folder)}", markup=False, highlight=False, soft_wrap=True)


def _newest(parent: Path, marker: str, what: str, script: str) -> Path:
    """The folder below ``parent`` whose marker file was written last."""
    # A leading dot is what an interrupted write leaves behind.
    found = sorted(parent.glob(f"[!.]*/{marker}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(f"There is no {what} below {parent} yet. Run {script} first, or say which to take.")
    return parent / found[-1].relative_to(parent).parts[0]
