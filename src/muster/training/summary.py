"""What a fine-tuning came to: the result in plain values, and everything that is written of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from muster.data import Dataset
from muster.files import atomic_write, to_builtin_types, write_yaml
from muster.machine import device_label, now
from muster.model_page import NOT_STATED
from muster.pool import Pool, software_versions
from muster.pool.page import inherited_licences
from muster.selection.record import SelectionRecord
from muster.training.costs import measure_costs
from muster.training.evaluation import SplitCounts
from muster.training.finetuned_ensemble import Ensemble
from muster.training.hardware import Hardware
from muster.training.intervals import DRAWS, LEVEL, differences_to, result_intervals
from muster.training.modules import EnsembleTraining
from muster.training.passes import SeveralPasses
from muster.training.results import LEARNED_HEAD, FinetuneResult, confusion_table
from muster.training.run_files import CONFUSION, ENSEMBLE, HISTORY, RESULT
from muster.training.target_data import TargetData


def summarise(
    selection: SelectionRecord,
    scores: Mapping[str, float],
    module: EnsembleTraining,
    ensemble: Ensemble,
    counts: Mapping[str, SplitCounts],
    target: TargetData,
    hardware: Hardware,
    seconds: float,
    resumed_at_steps: Sequence[int] = (),
    others: Mapping[str, SeveralPasses] | None = None,
) -> FinetuneResult:
    """The results of a run, in plain values.

    Args:
        selection: What was fine-tuned, and why.
        scores: The scores of the chosen ensemble under each metric.
        module: The fine-tuned members.
        ensemble: The chosen ones with their head.
        counts: What :func:`evaluate` gave.
        target: What was fine-tuned on.
        hardware: What it was computed on; the time for an image is measured there, now.
        seconds: Time spent fine-tuning.
        resumed_at_steps: Where the fit went on after an interruption.
        others: Other models in ``counts``, to be timed likewise.

    Returns:
        The result.
    """
    settings, some = module.settings, next(iter(counts.values()))
    weights, biases = ensemble.head.weights.tolist(), ensemble.head.biases.tolist()
    intervals = result_intervals(counts, settings.seed)
    costs, cost_measured = measure_costs(module, ensemble, target.test_shape, hardware, others)
    return FinetuneResult(
        target=selection.target,
        classes=target.dataset.spec.classes,
        task=target.dataset.spec.task,
        members=ensemble.names,
        single_best=selection.single_best,
        train_images=len(target.train),
        test_images=len(target.dataset.test),
        steps=settings.steps,
        seconds=round(seconds, 1),
        results={name: each.result for name, each in counts.items()},
        class_ious={name: each.class_results for name, each in counts.items()},
        class_pixels=some.task.units_of_outputs(some.tally),
        predicted=dict(scores),
        predicted_class_ious=_known(selection.class_ious) if some.task.has_classes else None,
        losses={name: curve for name in (*module.names, LEARNED_HEAD) if (curve := module.losses(name))},
        learning_rates={name: module.rate_of(name) for name in module.names},
        held_out=module.held_out,
        stops=module.stops,
        tta=ensemble.tta.in_words,
        held_out_curves=module.curves if module.stops else {},
        head_weights=dict(zip(ensemble.names, weights, strict=True)),
        head_biases=dict(zip(ensemble.names, biases, strict=True)),
        pool=selection.pool,
        metric=selection.metric,
        predictor=selection.predictor,
        seed=settings.seed,
        batch_size=settings.batch_size,
        schedule=settings.schedule,
        image_size=target.preprocessing.known_size.setting,
        precision=hardware.resolved_precision(),
        device=device_label(hardware.resolved_device(), hardware.resolved_devices()),
        date=now(),
        versions=software_versions(),
        resumed_at_steps=tuple(resumed_at_steps),
        costs=costs,
        cost_measured=cost_measured,
        result_intervals=intervals,
        differences_to_single_best=differences_to(selection.single_best, counts, settings.seed),
        interval_level=LEVEL,
        resamples=DRAWS if intervals else 0,
        confusion=counts[LEARNED_HEAD].confusion_rows,
        head_choice=ensemble.head_choice,
        errors={name: error for name, each in counts.items() if (error := each.error) is not None},
    )


def _known(values: tuple[float | None, ...]) -> tuple[float | None, ...] | None:
    """Predictions of the classes, if there is one."""
    return None if all(value is None for value in values) else values


def licences_of(pool: Pool, names: Sequence[str], target: Dataset) -> dict[str, str]:
    """Terms of what an ensemble is made from; "not stated" where a card or a dataset says nothing.

    Args:
        pool: Holds the members.
        names: The members of the ensemble.
        target: What they were fine-tuned on.

    Returns:
        Terms by what they are of: data of the target and of every source, weights that others trained.
    """
    terms = {f"data of {target.spec.name}": target.spec.licence.strip() or NOT_STATED}
    for name in names:
        for what, said in inherited_licences(pool[name].card).items():
            if terms.get(what, NOT_STATED) == NOT_STATED:
                terms[what] = said
    return terms


def write_results(
    folder: Path,
    result: FinetuneResult,
    module: EnsembleTraining,
    ensemble: Ensemble,
    licences: Mapping[str, str] | None = None,
) -> None:
    """Put the ensemble and its results on disk."""
    ensemble.save(folder / ENSEMBLE, result.target, software_versions(), licences)
    tables = {HISTORY: pd.DataFrame(module.history)}
    if result.confusion:
        tables[CONFUSION] = confusion_table(result)
    for file, table in tables.items():
        with atomic_write(folder / file) as partial:
            table.to_csv(partial, index=False)
    content = asdict(result)
    content.pop("losses")  # in history.csv
    content.pop("confusion")  # in confusion.csv
    write_yaml(folder / RESULT, to_builtin_types(content))
