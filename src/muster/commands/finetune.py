"""The command behind ``finetune.py``: fine-tune a selected ensemble, or predict with a fine-tuned one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from rich.console import Console

from muster.callbacks import EnsembleSelection
from muster.commands.finetuning_summary import predict_command, print_finetuning
from muster.commands.newest import FINETUNINGS, newest_selection
from muster.commands.predict import IDLE_HARDWARE, predict_with
from muster.commands.selection_summary import finetune_command
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import cached, channel_statistics, open_dataset, require_usable, split_record
from muster.data.opening import WORLD_PREFIX
from muster.errors import ConfigError
from muster.execution.progress import fit_progress
from muster.files import as_file_name, atomic_write, write_yaml
from muster.launch import launched_on_this_machine, only_helps
from muster.outputs import FINETUNING, Inputs, claimed
from muster.pool import Pool
from muster.report import (
    FinetuneResult,
    finetuning_tables,
    image_sheet,
    selection_tables,
    write_finetuning_report,
    write_selection_report,
)
from muster.report.finetuned_images import finetuned_images
from muster.selection.idle_options import idle_options
from muster.selection.record import Selection
from muster.selection.reopening import open_pool, open_target, warn_if_from_before
from muster.selection.run import resolve_train_images, usual_image_size
from muster.selection.settings import OF_THE_MACHINE, SelectionSettings
from muster.tracking import LoggerKind, TrackingSettings, close_loggers, make_logger
from muster.tracking.tables import log_tables
from muster.training.clock import Clock
from muster.training.finetuning import (
    TargetData,
    build_ensemble,
    evaluate,
    first_checkpoint,
    fit_members,
    forget_checkpoint,
    licences_of,
    load_members,
    require_fittable,
    summarise,
    target_data,
    with_baseline,
    write_results,
)
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import HeadSettings, TrainingSettings, idle_settings

SELECTION = "selection"
IMAGE_SHEET = "images.png"

ONLY_TO_CHOOSE = tuple(field.name for field in fields(SelectionSettings) if field.name != "data_root")
"""Options of the choice at the start of a fit."""

OTHER_THAN_PREDICTION = (
    *("selection", "pool", "target", "training", "head", *ONLY_TO_CHOOSE, "data_root", "logger"),
    *IDLE_HARDWARE,
)
"""Options that have nothing to do with prediction."""

_MADE_ALREADY = "on a selection that is made already: give --pool and --target to choose"


def finetune(
    selection: Path | None = None,
    pool: Path | None = None,
    target: str | None = None,
    output: Path | None = None,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    choice: Spread[SelectionSettings] = SelectionSettings(),  # noqa: B008 (frozen)
    tracking: Spread[TrackingSettings] = TrackingSettings(),  # noqa: B008 (frozen)
    predict: Path | None = None,
    ensemble: Path | None = None,
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Fine-tune a selected ensemble, learn how to combine it, and report its mIoU.

    Without options it takes the newest selection below runs/selections. Given a pool and a target instead, the members
    are chosen at the start of the fit. Stopped at any moment, the same command goes on from the last checkpoint. With
    predict, a finished ensemble writes masks and overlays for a folder of images instead.

    Args:
        selection: Folder of a selection, as select.py wrote it.
        pool: With target, the pool to choose from; otherwise where the selection's pool lies now, if it was moved.
        target: With pool, the dataset to choose for: worlds/NAME, or the folder of a dataset. With selection, where its
            dataset lies now, if it was moved.
        output: Folder of the run; by default below runs/finetunings, with the name of the selection's folder, or
            TARGET-POOL. An older result in it is replaced. With predict, where masks and overlays go; by default below
            the folder predictions of the run, in one of its own for every folder of images.
        training: How to fine-tune; the images, their statistics and their size are those of the selection.
        hardware: What to compute on.
        head: How the ensemble head is learned, once the members are fine-tuned.
        choice: Given a pool and a target, how to choose at the start of the fit: all options of select.py. The device
            auto is that of the fit.
        tracking: Where training curves go besides history.csv.
        predict: Only predict the images of this folder.
        ensemble: What to predict with; by default the newest run below runs/finetunings.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0, or 1 if an image could not be predicted.

    Raises:
        ConfigError: If options do not go together, or there is no selection yet.
    """
    console = make_console(quiet=only_helps())
    if predict is not None:
        asked.require_effect(OTHER_THAN_PREDICTION, "with --predict, which trains nothing", files=False)
        return predict_with(predict, ensemble, output, hardware, configuration, OTHER_THAN_PREDICTION, "--predict")
    if ensemble is not None:
        raise ConfigError("--ensemble is what --predict predicts with. Give --predict with a folder of images as well.")
    if target is not None and pool is None and selection is None:
        raise ConfigError(
            "--target goes with --pool, and members are then chosen at the start; or with --selection, and then says "
            "where its data lie now."
        )
    chosen: Path | None = None
    if selection is not None or target is None or pool is None:
        asked.refuse(dict.fromkeys(ONLY_TO_CHOOSE, _MADE_ALREADY))
        chosen = selection or newest_selection()
        console.print(f"Selection: {chosen}")
        plan = _chosen_before(chosen, pool, target, training, choice.data_root)
    else:
        asked.refuse(idle_options(choice, target))
        plan = _chosen_at_start(Pool.open(pool), target, training, choice)
    folder = output or FINETUNINGS / plan.name
    reference = plan.target.dataset.reference
    idle = _idle(reference) | idle_settings(training, head)
    asked.refuse(idle)
    require_usable(plan.target.dataset.test)
    require_usable(plan.target.train)
    require_fittable(plan.module, plan.target, hardware)
    resolved: dict[str, object] = {"output": folder, "selection": chosen, **hardware.resolved_options()}
    if chosen is None:
        resolved |= {"image_size": plan.target.image_size, "train_images": len(plan.target.train)}
        idle |= idle_options(choice, reference)
    ran = record_of(configuration, [*idle, *(ONLY_TO_CHOOSE if chosen else ())], resolved)
    inputs: Inputs = {"--pool": plan.pool.folder, "the target": reference, "--data_root": choice.data_root}
    inputs = {**inputs, "--selection": chosen}
    with claimed(folder, FINETUNING, inputs):
        result = _run(plan, folder, hardware, head, tracking.logger, ran, console)
    if result is not None:
        print_finetuning(result, folder, console)
    return 0


def _idle(reference: str) -> dict[str, str]:
    """Options that change nothing here, and why."""
    idle = {}
    if reference.startswith(WORLD_PREFIX):
        idle["data_root"] = f"for {reference}, which is built in"
    if launched_on_this_machine() is not None:
        idle["hardware.devices"] = "under torchrun, which says how many processes there are"
    return idle


@dataclass
class _Plan:
    """What is to be fine-tuned, whichever way its members are found.

    Attributes:
        name: What to call the run.
        pool: Where source models come from.
        target: What to fine-tune on.
        module: With its members, or to be given some by the callback.
        chosen: The selection, if it was made before.
        choice: How to choose otherwise.
    """

    name: str
    pool: Pool
    target: TargetData
    module: EnsembleTraining
    chosen: Selection | None = None
    choice: SelectionSettings = SelectionSettings()  # noqa: RUF009 (frozen)


def _chosen_before(
    folder: Path, pool_now: Path | None, target_now: str | None, training: TrainingSettings, data_root: Path | None
) -> _Plan:
    selection = Selection.load(folder)
    warn_if_from_before(selection, folder)
    target = target_data(selection, open_target(selection, target_now, data_root))
    names = with_baseline(selection)
    pool = open_pool(selection, names, pool_now)
    module = EnsembleTraining(training, len(selection.classes))
    module.set_members(names, load_members(pool, names))
    return _Plan(folder.resolve().name, pool, target, module, chosen=selection)


def _chosen_at_start(pool: Pool, reference: str, training: TrainingSettings, choice: SelectionSettings) -> _Plan:
    """The data are what the selection at the start of the fit will see, and it is told so."""
    dataset = open_dataset(reference, choice.data_root)
    count = resolve_train_images(choice.train_images, dataset.spec.probe_images)
    train = cached(dataset.train.subset(count, choice.seed))
    size = choice.image_size or usual_image_size(pool.eligible_for(dataset)[0] or pool.members)
    target = TargetData(dataset, train, channel_statistics(train), size)
    name = f"{as_file_name(dataset.spec.name)}-{pool.folder.resolve().name}"
    module = EnsembleTraining(training, dataset.spec.num_classes)
    return _Plan(name, pool, target, module, choice=replace(choice, train_images=count, image_size=size))


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
        result = _conclude(plan, folder, hardware, head, loggers, configuration, clock, writes)
        succeeded = True
    finally:
        close_loggers(loggers, succeeded)
    return result


def _depends_on(plan: _Plan) -> dict[str, Any]:
    """What else the result depends on: the members' weights, or what they are chosen from and how."""
    candidates = plan.module.names or [member.name for member in plan.pool]
    how = {name: value for name, value in asdict(plan.choice).items() if name not in OF_THE_MACHINE}
    options = how if plan.chosen is None else {}
    return {"weights": {name: plan.pool[name].card.checksum for name in candidates}, "options": options}


def _selecting(plan: _Plan, folder: Path) -> list[Callback]:
    """The callback that chooses members at the start of the fit, if they are not chosen yet."""
    if plan.chosen is not None:
        return []
    checkpoint = first_checkpoint(folder, plan.module.settings)
    target = plan.target.dataset
    return [EnsembleSelection(plan.pool, target, folder / SELECTION, plan.choice, baseline=True, checkpoint=checkpoint)]


def _conclude(
    plan: _Plan,
    folder: Path,
    hardware: Hardware,
    head: HeadSettings,
    loggers: list[Logger],
    configuration: str,
    clock: Clock,
    writes: bool,
) -> FinetuneResult | None:
    """Learn the head and evaluate, which all processes share; one of them writes."""
    seconds = clock.seconds  # of the fit alone
    selection = plan.chosen or Selection.load(folder / SELECTION)
    best = selection.ranking.order(selection.metric)[0]
    scores = {metric: float(values[best]) for metric, values in selection.ranking.scores.items()}
    ensemble = build_ensemble(plan.module, selection.members, plan.target, hardware, head, folder, loggers)
    counts = evaluate(plan.module, ensemble, plan.target, hardware)
    if not writes:
        return None
    result = summarise(
        selection, scores, plan.module, ensemble, counts, plan.target, hardware, seconds, clock.resumed_at_steps
    )
    report_images = finetuned_images(ensemble, plan.target)
    licences = licences_of(plan.pool, ensemble.names, plan.target.dataset)
    write_results(folder, result, plan.module, ensemble, licences)
    if plan.chosen is None:
        report, command = folder / SELECTION / "report.html", finetune_command(folder / SELECTION)
        write_selection_report(selection, plan.pool, plan.target.dataset, report, command)
        write_yaml(folder / SELECTION / "splits.yaml", split_record(plan.target.dataset))
    with atomic_write(folder / "config.yaml") as partial:
        partial.write_text(configuration, "utf-8")
    write_finetuning_report(result, folder / "report.html", report_images, predict_command(folder))
    with atomic_write(folder / IMAGE_SHEET) as partial:
        partial.write_bytes(image_sheet(report_images, result.classes))
    tables = {**selection_tables(selection, plan.pool), **finetuning_tables(result)}
    log_tables(loggers, tables, report_images, result.classes)
    forget_checkpoint(folder)
    return result
