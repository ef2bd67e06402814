"""The command ``muster distil``: one network, taught by a fine-tuned ensemble or averaged from its members."""

from __future__ import annotations

import shlex
from dataclasses import asdict, fields
from pathlib import Path

from muster.commands.finetuning_summary import predict_command
from muster.commands.newest import FINETUNINGS, newest_ensemble
from muster.commands.predict import run_folder
from muster.commands.program import to_type
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import DataSettings
from muster.data.spec import TEXTS
from muster.errors import ConfigError
from muster.files import as_file_name, read_yaml, to_builtin_types, write_text, write_yaml
from muster.launch import only_helps
from muster.limits import require_real
from muster.models import check_architecture
from muster.output_kinds import DISTILLATION
from muster.outputs import claimed
from muster.pool import software_versions
from muster.remote import named
from muster.report.distillation import best_network, headline, write_distillation_report
from muster.selection.record import RECORD, Selection
from muster.selection.reopening import open_target
from muster.training.distillation import Distillation
from muster.training.distilling import (
    BASELINE,
    DISTILLED,
    ENSEMBLE,
    DistillResult,
    baseline_of,
    compare,
    result_of,
    soups_of,
    teach,
)
from muster.training.ensemble_card import read_card
from muster.training.finetuned_ensemble import Ensemble, load_ensemble
from muster.training.finetuning import forget_checkpoint
from muster.training.hardware import Hardware
from muster.training.idle_settings import idle_for, idle_settings
from muster.training.run_files import ENSEMBLE as FOLDER
from muster.training.settings import TrainingSettings
from muster.training.target_data import TargetData, target_data

RECORD_FILE = "distillation.yaml"


def distil(
    ensemble: Path | None = None,
    architecture: str | None = None,
    pretraining: str = "none",
    unlabelled: Path | None = None,
    label_weight: float = 0.5,
    selection: Path | None = None,
    target: str | None = None,
    output: Path | None = None,
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Bring a fine-tuned ensemble down to one network.

    Given an architecture, a network of it learns the ensemble's probabilities on the target's training split, beside
    its labels. The weights of members that share an architecture are averaged too, all of them (uniform soup) and
    those that help on what is held out of it (greedy soup). A report compares all with the ensemble and with B1. What
    is written can be predicted with and exported as any ensemble: the network in the folder ensemble, soups beside it.

    Args:
        ensemble: What to bring down, as finetune.py wrote it; by default the newest run below runs/finetunings.
        architecture: Of the network to teach; without one only weights are averaged.
        pretraining: What that network starts from: none, imagenet, or a .safetensors file.
        unlabelled: Folder of further images of the target's kind, without labels, to teach the network on; of texts
            a folder of .txt files, a .txt file with a text in each line, or a table (.csv, .tsv) with a column text.
        label_weight: Weight of the labels in its loss, from 0 to 1; the rest is that of the ensemble's probabilities.
        selection: The selection that the ensemble was made from; by default what its run says.
        target: Where the target dataset lies now, if it was moved.
        output: Folder of the run; by default below runs/finetunings.
        data: Where datasets lie.
        training: How to teach the network.
        hardware: What to compute on.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0.

    Raises:
        ConfigError: If options do not go together.
    """
    require_real("label_weight", label_weight, 0.0, 1.0)
    _require_teachable(architecture, pretraining, unlabelled, training)
    idle = _idle(architecture, training)
    asked.refuse(idle)
    if only_helps():
        return 0
    fitted = ensemble or newest_ensemble()
    run, console = run_folder(fitted), make_console()
    chosen = Selection.load(selection or selection_of(run))
    seen = target_data(chosen, open_target(chosen, target, data.data_root))
    whole = load_ensemble(fitted, hardware.resolved_device(), hardware.precision)
    if whole.classes != seen.dataset.spec.classes:
        raise ConfigError(f"{fitted} is for other classes than {seen.dataset.spec.name}. Give its own --selection.")
    if whole.task.finds_objects:
        raise ConfigError(
            f"{fitted} is for {whole.task.name}, whose predictions are lists of objects; only ensembles that predict "
            "something for each image or pixel can be distilled."
        )
    if architecture is not None:
        asked.refuse(idle_for(whole.task.holds))
    name = as_file_name(f"{run.resolve().name}-{architecture or 'soup'}")
    folder = output or FINETUNINGS / name
    inputs = {"--ensemble": run, "--unlabelled": unlabelled, "the target": seen.dataset.reference}
    with claimed(folder, DISTILLATION, inputs):
        taught = None
        if architecture is not None:
            taught = teach(whole, seen, architecture, pretraining, label_weight, unlabelled, training, folder, hardware)
        result = _conclude(whole, taught, seen, fitted, folder, training, hardware)
        resolved = {"ensemble": fitted, "output": folder, **hardware.resolved_options()}
        write_text(folder / "config.yaml", record_of(configuration, idle, resolved))
        command = _next_command(result, folder)
        write_distillation_report(result, folder / "report.html", command)
        forget_checkpoint(folder)
    reached = whole.task.result
    console.print(headline(result))
    for part, model in result.models.items():
        cost = f"{1000 * model.seconds_per_image:8.1f} ms  {model.megabytes:7.1f} MB"
        console.print(f"  {part:<13} {model.result:.3f} {reached}  {cost}")
    console.print(f"Report: {folder / 'report.html'}")
    return 0


def _require_teachable(
    architecture: str | None, pretraining: str, unlabelled: Path | None, training: TrainingSettings
) -> None:
    """Refuse options of a network that is to be taught which do not go together."""
    if architecture is not None:
        check_architecture(architecture)
    elif unlabelled is not None or pretraining != "none":
        raise ConfigError("--unlabelled and --pretraining are for a network that is taught. Give its --architecture.")
    if training.schedule == "plateau":
        raise ConfigError(
            "--training.schedule: expected step, poly, cosine or constant, as a taught network learns from all of "
            "the training split and has none to look at, but got plateau."
        )
    if training.adapt != "full":
        raise ConfigError(
            f"--training.adapt: expected full, as the taught network learns everything, but got {training.adapt}."
        )


def _idle(architecture: str | None, training: TrainingSettings) -> dict[str, str]:
    """Options that change nothing, and why. The seed and the share that is held out serve soups too."""
    if architecture is None:
        taught = [
            f"training.{each.name}" for each in fields(training) if each.name not in ("seed", "held_out_fraction")
        ]
        return dict.fromkeys(["label_weight", *taught], "without --architecture, which names a network to teach")
    once = "on a network that is taught: it learns at one rate, to the last step"
    idle = dict.fromkeys(("training.learning_rates", "training.tried_stops"), once) | idle_settings(training)
    idle.pop("training.held_out_fraction", None)
    return idle


def _conclude(
    whole: Ensemble,
    taught: tuple[Ensemble, Distillation, int] | None,
    seen: TargetData,
    fitted: Path,
    folder: Path,
    training: TrainingSettings,
    hardware: Hardware,
) -> DistillResult:
    """Average, compare and write."""
    made, notes = {ENSEMBLE: whole}, {ENSEMBLE: ", ".join(whole.names)}
    if taught is not None:
        made[DISTILLED] = taught[0]
        notes[DISTILLED] = ", ".join(str(member.architecture) for member in taught[0].members)
    for soup, (each, mixed) in soups_of(whole, seen, training).items():
        made[soup], notes[soup] = each, ", ".join(mixed.names)
    models = compare(made, notes, seen, training.seed)
    if (baseline := baseline_of(run_folder(fitted))) is not None:
        models[BASELINE] = baseline
    result = result_of(models, seen, taught[2] if taught else 0, taught[1] if taught else None, hardware)
    for part, each in made.items():
        if part != ENSEMBLE:
            each.save(_place(folder, part), result.target, software_versions(), read_card(fitted).licences)
    write_yaml(folder / RECORD_FILE, to_builtin_types(asdict(result)))
    return result


def selection_of(run: Path) -> Path:
    """The selection that a run was made from.

    Args:
        run: Its folder.

    Returns:
        The folder of the selection.

    Raises:
        ConfigError: If the run does not say.
    """
    if (run / "selection" / RECORD).is_file():
        return run / "selection"
    said = read_yaml(run / "config.yaml", ConfigError).get("selection") if (run / "config.yaml").is_file() else None
    if not said or not (Path(said) / RECORD).is_file():
        raise ConfigError(f"{run} does not say from which selection it was made, or that has gone. Give --selection.")
    return Path(said)


def _next_command(result: DistillResult, folder: Path) -> str:
    """How to write the network that the headline is about as one file, or to use it where no file can be made.

    Args:
        result: The results.
        folder: Of the run.

    Returns:
        Nothing if no network was made.
    """
    best = best_network(result)
    if best is None:
        return ""
    place = folder if best == DISTILLED else _place(folder, best)
    if result.words.holds == TEXTS:  # which no exported file takes
        return predict_command(place, TEXTS)
    return f"{to_type('export')} --ensemble {shlex.quote(str(named(place)))}"


def _place(folder: Path, part: str) -> Path:
    return folder / (FOLDER if part == DISTILLED else as_file_name(part.replace(" ", "_")))
