"""The command ``muster study``: the fine-tuned mIoU of the choices of each metric."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data.opening import WORLD_PREFIX, DataSettings
from muster.execution.progress import fit_progress
from muster.files import write_text
from muster.launch import only_helps
from muster.output_kinds import STUDY
from muster.outputs import Inputs, claimed
from muster.selection.record import Selection
from muster.selection.reopening import open_pool, open_target, warn_if_from_before
from muster.study.finetuned_candidates import run_study
from muster.study.markdown import study_as_markdown
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings, idle_settings


def study(
    selection: Path,
    output: Path,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    members: Literal["chosen", "all"] = "chosen",
    scratch: tuple[str, ...] = (),
    pool: Path | None = None,
    target: str | None = None,
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Fine-tune the members that metrics chose, and compare the mIoU of their choices.

    Args:
        selection: Folder of a selection, as select.py wrote it.
        output: Folder of the study: study.yaml, study.md, ensembles.csv.
        training: How to fine-tune.
        hardware: What to compute on.
        head: How the heads of the chosen ensembles are learned.
        members: Fine-tune what any metric chose, B1 and a random ensemble; or all eligible members.
        scratch: Architectures to train on the target from random weights, for comparison.
        pool: Where the selection's pool lies now, if it was moved.
        target: Where its dataset lies now, if it was moved.
        data: Where the dataset lies.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0.
    """
    loaded = Selection.load(selection)
    warn_if_from_before(loaded, selection)
    dataset = open_target(loaded, target, data.data_root)
    opened = open_pool(loaded, loaded.member_names, pool)
    idle = idle_settings(training, head)
    if dataset.reference.startswith(WORLD_PREFIX):
        idle["data_root"] = f"for {dataset.reference}, which is built in"
    asked.refuse(idle)
    console = make_console(quiet=only_helps())
    inputs: Inputs = {
        "--selection": selection,
        "the pool": opened.folder,
        "the target": dataset.reference,
        "--data_root": data.data_root,
    }
    with claimed(output, STUDY, inputs):
        with fit_progress(console, training.total_steps, f"Fine-tuning for {loaded.target}.") as progress:
            result = run_study(
                loaded, opened, dataset, training, hardware, output, members, scratch, training.seed, progress, head
            )
        if only_helps():
            return 0
        text = study_as_markdown(result, opened)
        write_text(output / "config.yaml", record_of(configuration, idle, hardware.resolved_options()))
        write_text(output / "study.md", text)
    console.print(text)
    return 0
