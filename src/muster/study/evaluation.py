"""Results of all ensembles of the fine-tuned members of a cell, from one look at each test image.

Axis names: ``pixels`` labelled pixels of some rows of an image, of which a whole image has one if it is predicted as a
whole; ``classes`` the target's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data import Preprocessing, Split, prepared_images, view_for
from muster.errors import ConfigError
from muster.models import ImageMap, SourceModel
from muster.models.prediction import interpolated_rows
from muster.records import parse_record
from muster.scoring.outcome_counts import OutcomeCounts
from muster.scoring.score import score_ensembles
from muster.study.cells import Cell, CellData
from muster.study.fits import FitRecord, load_fitted, read_record_of
from muster.study.map_tallies import MapTallies
from muster.study.results import CellJob
from muster.study.tables import joined_names, with_keys
from muster.study.whole_images import WholeImages
from muster.tasks.task import Task, task_of
from muster.tasks.units import draw_units
from muster.training.evaluation import count_split, models_predictor
from muster.training.finished import digest_of
from muster.training.hardware import Hardware

TASK = "muster.study.evaluation:evaluation_job"
"""What a worker process is told to call."""

NUMBERS_AT_ONCE = 1 << 26
"""Interpolated probabilities of all members together: 256 MB."""

VALIDATION_PIXELS = 1000
"""Labelled pixels of each validation image, drawn uniformly, that losses are means over."""

_BATCH_SIZE = 16

AnyResults: TypeAlias = OutcomeCounts | WholeImages | MapTallies
"""What the results of ensembles are computed with."""


@dataclass(frozen=True)
class EvaluationJob(CellJob):
    """Fine-tuned members to evaluate together.

    Attributes:
        fits: By member, the folder of its fit; those that failed are passed over.
        alone: Members that are evaluated by themselves only: no candidates.
        sizes: Members of the ensembles; 1 is among them.
        seed: Of the fine-tuning.
        hardware: What to compute on.
    """

    fits: dict[str, Path]
    alone: tuple[str, ...]
    sizes: tuple[int, ...]
    seed: int
    hardware: Hardware

    def records(self) -> dict[str, FitRecord]:
        """The fits that are there, by member, in the order of the names."""
        found = {name: read_record_of(folder) for name, folder in sorted(self.fits.items())}
        return {name: record for name, record in found.items() if record is not None}

    def description(self) -> str:
        """See :meth:`StudyJob.description`."""
        return digest_of(
            {
                "cell": asdict(Cell.read(self.cell)),
                "weights": {name: record.checksum for name, record in self.records().items()},
                "alone": self.alone,
                "sizes": self.sizes,
                "seed": self.seed,
                "precision": self.hardware.resolved_precision(),
            }
        )


def evaluation_job(content: str, tell: Callable[[str], None]) -> str:
    """Evaluate in a worker process.

    Args:
        content: An :class:`EvaluationJob` as JSON.
        tell: Takes how many images were looked at, as JSON.

    Returns:
        Nothing: the tables lie in their folder.
    """
    job = parse_record(json.loads(content), EvaluationJob, "job", ConfigError)
    job.write_tables(evaluate_cell(job, lambda done: tell(json.dumps([done, None]))))
    return ""


def evaluate_cell(job: EvaluationJob, progress: Callable[[int], None]) -> dict[str, pd.DataFrame]:
    """Evaluate all ensembles of the fine-tuned members of a cell.

    Args:
        job: Which.
        progress: Told how many images were looked at.

    Returns:
        The tables ``ensembles`` and ``finetuned`` of :mod:`muster.study.tables`.

    Raises:
        ConfigError: If no fit is there.
    """
    cell, records = Cell.read(job.cell).open(), job.records()
    if not records:
        raise ConfigError(f"{job.folder}: none of the {len(job.fits)} members was fine-tuned.")
    spec, device = cell.target.dataset.spec, job.hardware.resolved_device()
    models = {name: load_fitted(job.fits[name], spec.num_classes).to(device) for name in records}
    keys = {**cell.cell.keys, "finetuning_seed": job.seed}
    with job.hardware.autocast():
        if task_of(spec).finds_objects:
            ensembles = _one_by_one(models, cell, device)
            progress(len(cell.target.dataset.test))
            return {
                "ensembles": with_keys(ensembles, keys),
                "finetuned": with_keys(_finetuned(records, ensembles), keys),
            }
        losses = _validation_losses(job, cell, models)
        found = _Counted(job, models, task_of(spec), spec.num_classes)
        test = cell.target.dataset.test
        for done, (maps, mask) in enumerate(_maps(models, test, cell.cell.preprocessing, device)):
            found.add(maps, mask)
            progress(done + 1)
    ensembles = pd.concat(found.tables()).merge(losses, on=["size", "members"], how="left")
    return {"ensembles": with_keys(ensembles, keys), "finetuned": with_keys(_finetuned(records, ensembles), keys)}


def _one_by_one(models: Mapping[str, SourceModel], cell: CellData, device: torch.device | str) -> pd.DataFrame:
    """Results of models that cannot be combined; a loss on images set aside decides nothing between them."""
    test = cell.target.dataset.test
    owns = [model.preprocessing for model in models.values()]
    counts = count_split(models_predictor(models, task_of(test.spec)), test, cell.cell.preprocessing, device, owns=owns)
    rows = [(1, name, each.result, float("nan"), float("nan")) for name, each in counts.items()]
    return pd.DataFrame(rows, columns=["size", "members", "result", "validation_loss", "validation_result"])


def _finetuned(records: Mapping[str, FitRecord], ensembles: pd.DataFrame) -> pd.DataFrame:
    """One row a member: what it reached, and how it was fine-tuned."""
    singles = ensembles[ensembles["size"] == 1].rename(columns={"members": "member"}).drop(columns="size")
    facts = [(name, r.learning_rate, r.stop or r.steps, r.seconds, r.device) for name, r in records.items()]
    return singles.merge(pd.DataFrame(facts, columns=["member", "learning_rate", "steps", "seconds", "device"]))


def _maps(
    models: Mapping[str, SourceModel], split: Split, shown: Preprocessing, device: torch.device | str
) -> Iterator[tuple[dict[str, ImageMap], Tensor]]:
    """Image by image, what each model predicts at its own resolution, or its scores (:func:`_is_linear`); the mask."""
    task, owns = task_of(split.spec), tuple(model.preprocessing for model in models.values())
    for batch in prepared_images(split, shown, _BATCH_SIZE, owns=owns):
        found = {}
        for name, model in models.items():
            images = view_for(batch.images, model.preprocessing).to(device)
            with torch.no_grad():
                scores = model(images)
                found[name] = ImageMap(task.activate(scores) if _is_linear(task) else scores, model.part_of(images))
        for place, mask in enumerate(batch.masks):
            yield {name: ImageMap(each.values[place : place + 1], each.part) for name, each in found.items()}, mask


def _is_linear(task: Task) -> bool:
    """Whether predictions are made at a model's own resolution and interpolated; else the task makes them of scores."""
    return task.has_classes or task.is_pooled


def _predictions_of(maps: Sequence[ImageMap], task: Task, truth: Tensor) -> list[Tensor]:
    """What each model says at the places of a truth."""
    return [task.predictions(scores, task.places_of(truth), part) for scores, part in maps]


class _Counted:
    """Counts of the ensembles of every size, and of those that are evaluated alone."""

    def __init__(self, job: EvaluationJob, models: Mapping[str, SourceModel], task: Task, classes: int) -> None:
        self.together = [name for name in models if name not in job.alone]
        self.alone = [name for name in models if name in job.alone]
        self.sizes = [size for size in job.sizes if size <= len(self.together)]
        self.task, self.classes = task, classes
        self.counts = results_for(task, len(self.together), classes, self.sizes) if self.together else None
        self.of_alone = results_for(task, len(self.alone), classes, (1,)) if self.alone else None

    def add(self, maps: Mapping[str, ImageMap], mask: Tensor) -> None:
        """Take in one image; where classes are counted, some rows at a time."""
        if not self.task.has_classes:
            for names, counts in ((self.together, self.counts), (self.alone, self.of_alone)):
                if isinstance(counts, WholeImages):
                    counts.add([_rows_of(maps[name], range(1), 1, 1) for name in names], mask)
                elif isinstance(counts, MapTallies):
                    counts.add(_predictions_of([maps[name] for name in names], self.task, mask), mask)
            return
        height, width = mask.shape
        strip = max(1, NUMBERS_AT_ONCE // (width * self.classes * len(maps)))
        for start in range(0, height, strip):
            rows = range(start, min(start + strip, height))
            labels = mask[rows.start : rows.stop].flatten()
            places = self.task.is_known(labels).nonzero()[:, 0]
            for names, counts in ((self.together, self.counts), (self.alone, self.of_alone)):
                if isinstance(counts, OutcomeCounts):
                    predictions = [_shares_of(maps[name], rows, height, width)[places] for name in names]
                    counts.add(predictions, labels[places].long().to(predictions[0].device))

    def tables(self) -> Iterator[pd.DataFrame]:
        """Results of the ensembles, size by size."""
        for names, counts in ((self.together, self.counts), (self.alone, self.of_alone)):
            if counts is None:
                continue
            for size, rows in sorted(counts.candidates.items()):
                results, errors = results_of(counts, size, self.task), errors_of(counts, size)
                named = {"size": size, "members": joined_names(names, rows)}
                yield pd.DataFrame({**named, "result": results, "error": errors})


def results_for(task: Task, members: int, classes: int, sizes: Sequence[int]) -> AnyResults:
    """What the results of ensembles are computed with, nothing known yet.

    Args:
        task: Says whether predicted classes are counted.
        members: How many there are.
        classes: Those of the target.
        sizes: Members of the ensembles.
    """
    if task.has_classes:
        return OutcomeCounts(members, classes, sizes)
    if task.is_pooled:
        return WholeImages(task, members, classes, sizes)
    return MapTallies(task, members, classes, sizes)


def results_of(counts: AnyResults, size: int, task: Task) -> Float64[NumpyArray, " candidates"]:
    """The results of all ensembles of one size.

    Args:
        counts: What they predict.
        size: Members of each.
        task: Says what its result is.
    """
    if not isinstance(counts, OutcomeCounts):
        return counts.results(size)
    found: NumpyArray = task.results(torch.from_numpy(counts.digests(size))).numpy()
    return found


def errors_of(counts: AnyResults, size: int) -> Float64[NumpyArray, " candidates"]:
    """The errors beside them, see :attr:`muster.tasks.task.Task.error`; NaN where the task has none.

    Args:
        counts: What they predict.
        size: Members of each.
    """
    if isinstance(counts, OutcomeCounts):
        return np.full(len(counts.candidates[size]), np.nan)
    return counts.errors(size)


def _rows_of(image_map: ImageMap, rows: range, height: int, width: int) -> Float[Tensor, "pixels classes"]:
    probabilities = interpolated_rows(image_map, rows, height, width)
    return probabilities.flatten(1).T.contiguous()


def _shares_of(image_map: ImageMap, rows: range, height: int, width: int) -> Float[Tensor, "pixels classes"]:
    return _rows_of(image_map, rows, height, width).clamp(0, 1)  # interpolation can round beyond 1


def _validation_losses(job: EvaluationJob, cell: CellData, models: Mapping[str, SourceModel]) -> pd.DataFrame:
    """On the images set aside, by ensemble: what a learned head makes small, and the result.

    Where the truth is a class, that is the mean negative log probability of the true class.
    """
    columns = ["size", "members", "validation_loss", "validation_result"]
    names = [name for name in models if name not in job.alone]
    task = task_of(cell.target.dataset.spec)
    if names and not task.has_classes:
        return _losses_by_task(job, cell, {name: models[name] for name in names}, task)
    predictions, labels = _at_validation_pixels(cell, {name: models[name] for name in names}, job)
    if len(labels) == 0 or not names:
        return pd.DataFrame({name: pd.Series(dtype=object if name == "members" else float) for name in columns})
    spec, sizes = cell.target.dataset.spec, [size for size in job.sizes if size <= len(names)]
    counts = OutcomeCounts(len(names), spec.num_classes, sizes)
    counts.add(predictions, labels)
    parts = []
    for size in sizes:
        ranking = score_ensembles(predictions, labels, size, ("e_leep",))
        results = results_of(counts, size, task)
        values = (size, joined_names(names, ranking.members), -ranking.scores["e_leep"], results)
        parts.append(pd.DataFrame(dict(zip(columns, values, strict=True))))
    return pd.concat(parts)


def _losses_by_task(job: EvaluationJob, cell: CellData, models: Mapping[str, SourceModel], task: Task) -> pd.DataFrame:
    sizes = [size for size in job.sizes if size <= len(models)]
    found = results_for(task, len(models), cell.target.dataset.spec.num_classes, sizes)
    assert not isinstance(found, OutcomeCounts)  # classes are counted otherwise
    device = job.hardware.resolved_device()
    for maps, truth in _maps(models, cell.validation, cell.cell.preprocessing, device) if len(cell.validation) else ():
        if isinstance(found, WholeImages):
            found.add([_rows_of(each, range(1), 1, 1) for each in maps.values()], truth)
        else:
            found.add(_predictions_of(list(maps.values()), task, truth), truth)
    parts = [
        pd.DataFrame(
            {
                "size": size,
                "members": joined_names(list(models), rows),
                "validation_loss": found.losses(size),
                "validation_result": found.results(size),
            }
        )
        for size, rows in sorted(found.candidates.items())
    ]
    return pd.concat(parts)


def _at_validation_pixels(
    cell: CellData, models: Mapping[str, SourceModel], job: EvaluationJob
) -> tuple[Sequence[Float[Tensor, "pixels classes"]], Int64[Tensor, " pixels"]]:
    read: dict[str, list[Tensor]] = {name: [] for name in models}
    labels = [torch.zeros(0, dtype=torch.int64)]
    device, task = job.hardware.resolved_device(), task_of(cell.target.dataset.spec)
    images = _maps(models, cell.validation, cell.cell.preprocessing, device) if len(cell.validation) else iter(())
    for index, (maps, mask) in enumerate(images):
        drawn, classes = draw_units(task, mask, VALIDATION_PIXELS, 0, index)
        if len(drawn) == 0:
            continue
        labels.append(classes)
        (height, width), places = mask.shape, drawn.to(device)
        for name, each in maps.items():
            read[name].append(_shares_of(each, range(height), height, width)[places])
    together = torch.cat(labels)
    return [torch.cat(parts) for parts in read.values() if parts], together.to(device)
