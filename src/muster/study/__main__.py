"""``python -m muster.study``: what the choices of each metric reached."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from muster.commands.cli import run
from muster.commands.console import make_console
from muster.data import open_dataset
from muster.files import require_writable, whole_file
from muster.pool import Pool
from muster.search.selection import Selection
from muster.study.markdown import study_as_markdown
from muster.study.reached import require_one_process, run_study
from muster.tasks.fitting import Hardware
from muster.tasks.progress import fit_progress
from muster.tasks.settings import HeadSettings, TrainingSettings


def study(
    selection: Path,
    output: Path,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    members: Literal["chosen", "all"] = "chosen",
    scratch: tuple[str, ...] = (),
    data_root: Path | None = None,
    configuration: str = "",
) -> int:
    """Fine-tune the members that metrics chose, and compare what their choices reached.

    Args:
        selection: Folder of a selection, as select.py wrote it.
        output: Folder of the study: study.yaml, study.md, ensembles.csv.
        training: How to fine-tune.
        hardware: What to compute on; in one process.
        head: How the heads of the chosen ensembles are learned.
        members: Fine-tune what any metric chose, B1 and a random ensemble; or all eligible members.
        scratch: Architectures to train on the target from random weights, for comparison.
        data_root: Folder below which the target is looked for.
        configuration: The resolved configuration, saved as config.yaml.

    Returns:
        0.
    """
    require_one_process(hardware)
    require_writable(output, "output")
    loaded = Selection.load(selection)
    dataset = open_dataset(loaded.target_reference, data_root)
    pool = Pool.open(loaded.pool)
    console = make_console()
    with fit_progress(console, training.total_steps, f"Fine-tuning for {loaded.target}.") as progress:
        result = run_study(
            loaded, pool, dataset, training, hardware, output, members, scratch, training.seed, progress, head
        )
    text = study_as_markdown(result, pool)
    for name, content in (("config.yaml", configuration), ("study.md", text)):
        with whole_file(output / name) as partial:
            partial.write_text(content, "utf-8")
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(study, "python -m muster.study"))
