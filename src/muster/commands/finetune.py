"""The command behind ``finetune.py``: fine-tune a selected ensemble, or predict with a fine-tuned one."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import yaml
from pytorch_lightning.loggers import Logger
from rich.console import Console

from muster.commands.finetuning_plan import (
    SELECTION,
    FinetuningPlan,
    fit_plan,
    make_single,
    plan_of_selection,
    plan_with_choice,
)
from muster.commands.finetuning_summary import predict_command, print_finetuning
from muster.commands.newest import FINETUNINGS, newest_selection
from muster.commands.predict import IDLE_HARDWARE, predict_with
from muster.commands.selection_summary import finetune_command
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import require_usable, split_record
from muster.data.opening import is_built_in
from muster.errors import ConfigError
from muster.execution.progress import fit_progress
from muster.files import write_bytes, write_text, write_yaml
from muster.launch import launched_on_this_machine, only_helps
from muster.models import TTASettings
from muster.output_kinds import FINETUNING
from muster.outputs import Inputs, claimed
from muster.pool import Pool, software_versions
from muster.report import (
    FinetuneResult,
    finetuning_numbers,
    finetuning_tables,
    image_sheet,
    selection_tables,
    write_finetuning_report,
    write_selection_report,
)
from muster.report.finetuned_images import finetuned_images
from muster.report.texts import finetuned_texts
from muster.selection.candidates import scores_of
from muster.selection.idle_options import idle_options
from muster.selection.settings import SelectionSettings
from muster.tasks.task import in_classes, task_of
from muster.tracking import Run, TrackingSettings, tracked
from muster.tracking.reports import send_report
from muster.training.clock import Clock
from muster.training.finetuning import build_ensemble, evaluate, forget_checkpoint, require_fittable
from muster.training.hardware import Hardware
from muster.training.idle_settings import idle_for, idle_settings
from muster.training.results import EQUAL_COST, LEARNED_HEAD
from muster.training.run_files import CONFUSION, RESULT
from muster.training.settings import ComparisonSettings, HeadSettings, TrainingSettings
from muster.training.summary import licences_of, summarise, write_results

IMAGE_SHEET = "images.png"
EQUAL_COST_FOLDER = "equal_cost"

ONLY_TO_CHOOSE = tuple(field.name for field in fields(SelectionSettings) if field.name != "data_root")
"""Options of the choice at the start of a fit."""

COMPARISONS = tuple(field.name for field in fields(ComparisonSettings))
"""Options of what is compared with the chosen members."""

OTHER_THAN_PREDICTION = (
    *("selection", "pool", "target", "training", "head", "tta", *ONLY_TO_CHOOSE, *COMPARISONS, "data_root", "logger"),
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
    tta: TTASettings = TTASettings(),  # noqa: B008 (frozen)
    choice: Spread[SelectionSettings] = SelectionSettings(),  # noqa: B008 (frozen)
    comparison: Spread[ComparisonSettings] = ComparisonSettings(),  # noqa: B008 (frozen)
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
        tta: In which ways the ensemble predicts an image, here and later; each costs a pass.
        choice: Given a pool and a target, how to choose at the start of the fit: all options of select.py. The device
            auto is that of the fit.
        comparison: What is compared with the chosen members, before and after they are fine-tuned.
        tracking: Where training curves, tables and images go besides the run's own files.
        predict: Only predict what is here: images, or texts, as muster predict takes them.
        ensemble: What to predict with; by default the newest run below runs/finetunings.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0, or 1 if an image or text could not be predicted.

    Raises:
        ConfigError: If options do not go together, or there is no selection yet.
    """
    console = make_console(quiet=only_helps())
    if predict is not None:
        asked.require_effect(OTHER_THAN_PREDICTION, "with --predict, which trains nothing", files=False)
        return predict_with(predict, ensemble, output, hardware, configuration, OTHER_THAN_PREDICTION, "--predict")
    if ensemble is not None:
        raise ConfigError(
            "--ensemble is what --predict predicts with. Give --predict with what is to be predicted as well."
        )
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
        plan = plan_of_selection(chosen, pool, target, training, choice.data_root, comparison)
    else:
        asked.refuse(idle_options(choice, target))
        plan = plan_with_choice(Pool.open(pool), target, training, choice, comparison)
    folder = output or FINETUNINGS / plan.name
    reference = plan.target.dataset.reference
    holds = plan.target.dataset.spec.holds
    idle = _idle(reference) | idle_settings(training, head, comparison) | idle_for(holds)
    asked.refuse(idle)
    tta = TTASettings() if idle.keys() >= {"tta.flip"} else tta
    _require_sound(plan, tta, hardware)
    resolved: dict[str, object] = {"output": folder, "selection": chosen, **hardware.resolved_options()}
    if chosen is None:
        resolved |= {"image_size": plan.target.preprocessing.known_size.setting, "train_images": len(plan.target.train)}
        resolved |= {"metric": plan.choice.metric, "metrics": plan.choice.metrics}
        idle |= idle_options(choice, reference)
    ran = record_of(configuration, [*idle, *(ONLY_TO_CHOOSE if chosen else ())], resolved)
    inputs: Inputs = {"--pool": plan.pool.folder, "the target": reference, "--data_root": choice.data_root}
    inputs = {**inputs, "--selection": chosen}
    with claimed(folder, FINETUNING, inputs):
        result = _run(plan, folder, hardware, head, tta, tracking.kinds, ran, console)
    if result is not None:
        print_finetuning(result, folder, console)
    return 0


def _require_sound(plan: FinetuningPlan, tta: TTASettings, hardware: Hardware) -> None:
    """Refuse a target that cannot be read or learned from, and what does not go with it, before hours go into it."""
    require_usable(in_classes(plan.target.dataset.test))
    require_usable(in_classes(plan.target.train))
    require_fittable(plan.module, plan.target, hardware)
    task = task_of(plan.target.dataset.spec)
    if task.finds_objects and len(tta.variants) > 1:
        raise ConfigError(
            f"tta: expected one scale and no mirror images for {task.name}, whose lists of objects cannot be averaged, "
            f"but got {len(tta.variants)} views of an image. Leave tta out."
        )


def _idle(reference: str) -> dict[str, str]:
    """Options that change nothing here, and why."""
    idle = {}
    if is_built_in(reference):
        idle["data_root"] = f"for {reference}, which is built in"
    if launched_on_this_machine() is not None:
        idle["hardware.devices"] = "under torchrun or srun, which says how many processes there are"
    return idle


def _run(
    plan: FinetuningPlan,
    folder: Path,
    hardware: Hardware,
    head: HeadSettings,
    tta: TTASettings,
    logger: tuple[str, ...],
    configuration: str,
    console: Console,
) -> FinetuneResult | None:
    """Fit, evaluate and write; ``None`` in the processes that only help to fit."""
    target = plan.target.dataset.spec.name
    options = yaml.safe_load(configuration) or {}
    run = Run(folder, "finetune", folder.name, plan.pool.folder.resolve().name, target, options)
    headline = f"Fine-tuning for {target} on {task_of(plan.target.train.spec).samples(len(plan.target.train))}."
    with tracked(logger, run) as loggers:
        with fit_progress(console, plan.total_steps, headline) as progress:
            clock, writes = fit_plan(plan, folder, hardware, progress, loggers)
        return _conclude(plan, folder, hardware, head, tta, loggers, configuration, clock, writes, console)


def _conclude(
    plan: FinetuningPlan,
    folder: Path,
    hardware: Hardware,
    head: HeadSettings,
    tta: TTASettings,
    loggers: list[Logger],
    configuration: str,
    clock: Clock,
    writes: bool,
    console: Console,
) -> FinetuneResult | None:
    """Learn the head and evaluate, which all processes share; one of them writes."""
    seconds = clock.seconds  # of the fit alone
    recorded, selection = plan.selection(folder), plan.choice_made(folder)
    scores = scores_of(selection, selection.members)
    ensemble = build_ensemble(plan.module, selection.members, plan.target, hardware, head, folder, loggers, tta)
    counts = evaluate(plan.module, ensemble, plan.target, hardware)
    single = make_single(plan, ensemble, folder, hardware, console)
    if not writes:
        return None
    others = {}
    if single is not None:
        counts[EQUAL_COST] = single.counts
        others[EQUAL_COST] = single.several_passes(plan.target)
        terms = licences_of(plan.pool, single.ensemble.names, plan.target.dataset)
        single.ensemble.save(folder / EQUAL_COST_FOLDER, selection.target, software_versions(), terms)
    what = selection, scores, plan.module, ensemble, counts, plan.target, hardware
    result = summarise(*what, seconds, clock.resumed_at_steps, others)
    told = None if single is None else single.record(counts[LEARNED_HEAD], plan.module.settings.seed)
    result = replace(result, confirmation=plan.confirmation, equal_cost=told)
    report_images, report_texts = finetuned_images(ensemble, plan.target), finetuned_texts(ensemble, plan.target)
    licences = licences_of(plan.pool, ensemble.names, plan.target.dataset)
    write_results(folder, result, plan.module, ensemble, licences)
    if plan.chosen is None:
        report, command = folder / SELECTION / "report.html", finetune_command(folder / SELECTION, recorded)
        write_selection_report(recorded, plan.pool, plan.target.dataset, report, command)
        write_yaml(folder / SELECTION / "splits.yaml", split_record(plan.target.dataset))
    write_text(folder / "config.yaml", configuration)
    command = predict_command(folder, result.words.holds)
    write_finetuning_report(result, folder / "report.html", report_images, command, report_texts)
    if report_images:  # there are none where predictions cannot be shown by colours
        write_bytes(folder / IMAGE_SHEET, image_sheet(report_images, result.classes))
    tables = {**selection_tables(recorded, plan.pool), **finetuning_tables(result)}
    files = [folder / name for name in ("report.html", RESULT, CONFUSION, IMAGE_SHEET)]
    send_report(loggers, tables, finetuning_numbers(result), report_images, result.classes, files)
    forget_checkpoint(folder)
    return result
