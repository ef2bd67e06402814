"""Ensembles that metrics chose, with the head that is learned for them, and the single model of equal cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from muster.errors import ConfigError
from muster.models import SourceModel
from muster.pool import Member
from muster.records import parse_record
from muster.study.cells import Cell, CellData
from muster.study.fits import load_fitted, read_record_of
from muster.study.results import CellJob
from muster.study.tables import with_keys
from muster.training.equal_cost import Rival, make_equal_cost
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import build_ensemble, evaluate
from muster.training.finished import digest_of
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN
from muster.training.settings import HeadSettings, TrainingSettings

TASK = "muster.study.heads:head_job"
"""What a worker process is told to call."""

HEADS = ["members", "plain_mean", "learned_head", "seconds", "kept"]
EQUAL_COST = ["members", "member", "image_size", "steps", "result", "seconds"]


@dataclass(frozen=True)
class HeadJob(CellJob):
    """Choices to learn heads for.

    Attributes:
        fits: By member, the folder of its fit.
        choices: Names of the members of each ensemble.
        rival: The member that is given as much time as the first choice; empty for none.
        rival_folder: Of its source model.
        training: How members were fine-tuned, with the seed.
        head: How heads are learned.
        hardware: What to compute on.
    """

    fits: dict[str, Path]
    choices: tuple[tuple[str, ...], ...]
    rival: str
    rival_folder: Path
    training: TrainingSettings
    head: HeadSettings
    hardware: Hardware

    def description(self) -> str:
        """See :meth:`StudyJob.description`."""
        used = sorted({*(name for choice in self.choices for name in choice), *([self.rival] if self.rival else [])})
        records = {name: read_record_of(self.fits[name]) for name in used if name in self.fits}
        return digest_of(
            {
                "cell": asdict(Cell.read(self.cell)),
                "weights": {name: None if record is None else record.checksum for name, record in records.items()},
                "choices": self.choices,
                "rival": self.rival,
                "training": self.training.described(),
                "head": asdict(self.head),
                "precision": self.hardware.resolved_precision(),
            }
        )


def head_job(content: str, tell: Callable[[str], None]) -> str:
    """Learn heads in a worker process.

    Args:
        content: A :class:`HeadJob` as JSON.
        tell: Takes how much is done, and the latest loss, as JSON.

    Returns:
        Nothing: the tables lie in their folder.
    """
    job = parse_record(json.loads(content), HeadJob, "job", ConfigError)
    job.write_tables(learn_heads(job, lambda done, loss: tell(json.dumps([done, loss]))))
    return ""


def learn_heads(job: HeadJob, progress: Callable[[int, float | None], None]) -> dict[str, pd.DataFrame]:
    """Learn the head of every choice, and make the single model of equal cost.

    Args:
        job: Which.
        progress: Told how much is done, a choice counting 1 and a step of the single model too, and the latest loss
            of that.

    Returns:
        The tables ``heads`` and ``equal_cost`` of :mod:`muster.study.tables`. A choice with a member whose fit failed
        is passed over.
    """
    cell = Cell.read(job.cell).open()
    rows, first = [], None
    for done, names in enumerate(dict.fromkeys(job.choices)):
        if any(read_record_of(job.fits[name]) is None for name in names):
            continue
        module, ensemble, seconds = _with_head(job, cell, names)
        counts = evaluate(module, ensemble, cell.target, job.hardware)
        reached = (counts[PLAIN_MEAN].result, counts[LEARNED_HEAD].result)
        rows.append(
            (" ".join(names), *reached, seconds, int(ensemble.head_choice is None or ensemble.head_choice.kept))
        )
        first = first or (module, ensemble)
        progress(done + 1, None)
    heads = pd.DataFrame(rows, columns=HEADS)
    equal = list[tuple[object, ...]]()
    if job.rival and first is not None:
        equal = list(_equal_cost(job, cell, *first, lambda done, loss: progress(len(rows) + done, loss)))
    keys = {**cell.cell.keys, "finetuning_seed": job.training.seed}
    return {
        "heads": with_keys(heads, keys),
        "equal_cost": with_keys(pd.DataFrame(equal, columns=EQUAL_COST), keys),
    }


def _with_head(job: HeadJob, cell: CellData, names: tuple[str, ...]) -> tuple[EnsembleTraining, Ensemble, float]:
    begin, classes = time.perf_counter(), cell.target.dataset.spec.num_classes
    models = [load_fitted(job.fits[name], classes) for name in names]
    module = EnsembleTraining(job.training.without_choices(), classes, names, models)
    module.to(job.hardware.resolved_device()).eval()
    with job.hardware.autocast():
        ensemble = build_ensemble(module, names, cell.target, job.hardware, job.head, job.work)
    return module, ensemble, round(time.perf_counter() - begin, 2)


def _equal_cost(
    job: HeadJob,
    cell: CellData,
    module: EnsembleTraining,
    ensemble: Ensemble,
    progress: Callable[[int, float], None],
) -> Iterator[tuple[object, ...]]:
    """The row of the single model; none if there can be none."""
    record = read_record_of(job.fits[job.rival])
    if record is not None:
        module.rates = {job.rival: record.learning_rate}

    def load() -> SourceModel:
        return Member.open(job.rival_folder).used_for(cell.target.dataset.spec).load_model()

    description = {"members": ensemble.names}
    rival = Rival(job.rival, "", load, module, ensemble, cell.target, job.work, job.hardware, progress, description)
    made = make_equal_cost(rival)
    if made is not None:
        told = made.made
        names = " ".join(ensemble.names)
        size = str(told.spent_on.image_size)
        yield names, job.rival, size, told.steps, made.counts.result, told.seconds
