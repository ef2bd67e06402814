"""Which of some models suits a dataset best before anything is fine-tuned: single models, in one call.

Axis names: ``members`` are the models, ``pixels`` the probe pixels, ``images`` those that they lie in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data import Dataset, open_dataset
from muster.data.pairs import dataset_of_pairs
from muster.errors import ConfigError
from muster.machine import resolve_device
from muster.metrics import MetricSpec, parse_metric
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.pool import Member, TargetContent, reason_to_bar
from muster.probe import ProbeReader
from muster.probe.timing import inference_seconds
from muster.selection.given_models import Given, GivenMember, members_from
from muster.selection.guessing import percentile_intervals, resampled_means
from muster.selection.member_scoring import Request, ScoredMembers, score_members
from muster.selection.predictors import Predictor
from muster.selection.probing import probe_reader, seen_images
from muster.selection.settings import SelectionSettings
from muster.tasks.task import seen_spec

if TYPE_CHECKING:
    import pandas

LINEAR_PROBE = "linear_probe"
"""Accuracy of a linear classifier on a model's features, on images that it was not fitted on."""

RANK_METRICS = (LINEAR_PROBE, "leep", "logme", "parc")

PROBE_OPTIONS = ("train_images", "pixels_per_image", "image_size", "seed", "device", "batch_size", "num_workers",
                 "precision", "data_root")  # fmt: skip
"""What :func:`rank` takes of the settings of a selection."""


def rank(
    models: Given | Sequence[Given] | Mapping[str, Given],
    data: Dataset | str | Sequence[tuple[Any, Any]],
    metrics: Sequence[str] = RANK_METRICS,
    *,
    classes: Sequence[str] | int | None = None,
    show: bool = True,
    **options: Any,
) -> pandas.DataFrame:
    """Rank single models for a dataset, without fine-tuning any.

    Args:
        models: Folders of members or whole pools, folders or hub names of transformers, SMP and timm models,
            modules, or entries as in a pool plan; in a list, or by the names that they are to have. See
            :func:`muster.selection.given_models.members_from`.
        data: A dataset or what :func:`muster.data.open_dataset` opens, or pairs of an image and its mask (paths, PIL
            images, arrays). Only training images are looked at.
        metrics: What to rank by, first, and what to show beside: ``linear_probe`` (accuracy of a linear classifier on
            the features, on images that it was not fitted on) or any metric of single models of docs/metrics.md.
        classes: For pairs, names of the classes or how many there are; by default the masks say it.
        show: Whether to print the table, too.
        options: ``train_images``, ``pixels_per_image``, ``image_size``, ``seed``, ``device``, ``batch_size``,
            ``num_workers``, ``precision`` and ``data_root``, as in
            :class:`muster.selection.settings.SelectionSettings`.

    Returns:
        One row a model, the best first, by its name. Columns: each metric (larger is better, costs negated; NaN where
        something that it needs is not known of the model); after ``linear_probe`` ``low`` and ``high``, the 95 %
        interval of that accuracy over bootstrap samples of the images, and ``best``, the share of the samples in which
        the model is the best; ``parameters``, ``milliseconds`` for an image; and ``note``, e.g. that a model was
        trained on this dataset. In ``.attrs["left_out"]`` the models that give no numbers, with the reason; in
        ``.attrs["normalised_as_target"]`` those whose mean and std nobody said.

    Raises:
        ConfigError: If an option or a metric is none, or a model cannot be read or understood, or none gives numbers.
        DatasetError: If the data cannot be read.
    """
    specs = _specs(metrics)
    if unknown := sorted(set(options) - set(PROBE_OPTIONS)):
        raise ConfigError(f"{', '.join(unknown)}: no option of muster.rank. It takes {', '.join(PROBE_OPTIONS)}.")
    settings = SelectionSettings().having(options)
    dataset = _dataset(data, classes, settings)
    members = [member.used_for(seen_spec(dataset.spec)) for member in members_from(models)]
    device = resolve_device(settings.device)
    split = seen_images(dataset, settings)
    reader = probe_reader(split, members, settings, device)
    if len(reader.probe.images) < 2:
        raise ConfigError(
            f"data: expected at least 2 {split.spec.holds} with labels, to fit on some and look at others, but got "
            f"{len(reader.probe.images)}. Label more."
        )
    predictor = Predictor("linear_probe", split.spec.num_classes)
    probed = replace(predictor.scored_by(parse_metric("leep")), name="leep of the linear probe")  # all models have it
    predictions: list[Tensor] = []
    request = Request((probed, *specs), probed, DEFAULT_FRACTION)
    scored = score_members(members, reader, None, request, predictor, predictions.append)
    if not scored.members:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in scored.broken.items())
        raise ConfigError(f"models: none of them can be ranked for {dataset.spec.name}. {reasons}.")
    right = [(each.argmax(dim=1).cpu() == reader.probe.labels.cpu()).numpy() for each in predictions]
    height, width = split[0].image.shape[1:]
    seconds = [_seconds(member, reader, (height, width)) for member in scored.members]
    table = _table(scored, metrics, right, seconds, dataset)
    if show:
        print_ranking(table, dataset.spec.name)
    return table


def _specs(metrics: Sequence[str]) -> tuple[MetricSpec, ...]:
    if isinstance(metrics, str) or not metrics:
        raise ConfigError(f"metrics: expected a list of at least one name, but got {metrics!r}.")
    try:
        specs = tuple(parse_metric(name) for name in metrics if name != LINEAR_PROBE)
    except ValueError as error:
        raise ConfigError(f"metrics: {error}") from error
    for spec in specs:
        if spec.kind != "member":
            raise ConfigError(f"metrics: {spec.name!r} is a metric of ensembles. muster.select ranks these.")
        if "reference" in spec.needs:
            raise ConfigError(f"metrics: {spec.name!r} needs a model trained on the target. muster.select takes one.")
    return specs


def _dataset(
    data: Dataset | str | Sequence[tuple[Any, Any]],
    classes: Sequence[str] | int | None,
    settings: SelectionSettings,
) -> Dataset:
    if isinstance(data, Dataset | str):
        if classes is not None:
            raise ConfigError("classes: a dataset says itself what its classes are. Leave it out.")
        return data if isinstance(data, Dataset) else open_dataset(data, settings.data_root)
    return dataset_of_pairs(data, classes)


def _table(
    scored: ScoredMembers,
    metrics: Sequence[str],
    right: Sequence[Bool[NumpyArray, " pixels"]],
    seconds: Sequence[float],
    dataset: Dataset,
) -> pandas.DataFrame:
    import pandas

    names = [member.name for member in scored.members]
    columns: dict[str, Any] = {}
    accuracies = {name: float(each.mean()) for name, each in zip(names, right, strict=True)}
    scores = {**scored.single_scores, LINEAR_PROBE: accuracies}
    for metric in metrics:
        columns[metric] = [scores.get(metric, {}).get(name, np.nan) for name in names]
        if metric == LINEAR_PROBE:
            columns |= _certainty(right, scored.shared["groups"].cpu().numpy())
    columns["parameters"] = [member.card.parameters for member in scored.members]
    columns["milliseconds"] = [1000 * each for each in seconds]
    content = TargetContent(dataset)
    columns["note"] = [reason_to_bar(member.card, content) or "" for member in scored.members]
    table = pandas.DataFrame(columns, index=pandas.Index(names, name="model"))
    table = table.sort_values([metrics[0], "model"], ascending=[False, True], na_position="last")
    table.attrs["left_out"] = dict(scored.broken)
    table.attrs["normalised_as_target"] = [member.name for member in scored.members if _has_no_statistics(member)]
    return table


def _has_no_statistics(member: Member) -> bool:
    """Whether nobody said how a model that came from elsewhere wants its images."""
    return isinstance(member, GivenMember) and member.model.preprocessing is None


def _seconds(member: Member, reader: ProbeReader, stored: tuple[int, int]) -> float:
    """Time for an image of that many rows and columns, as stored."""
    model = member.load_model(reader.device)
    shape = reader.preprocessing.seen_by(model.preprocessing).shape_of(*stored)
    return inference_seconds(model, shape, reader.device, repetitions=5)


def _certainty(right: Sequence[Bool[NumpyArray, " pixels"]], images: NumpyArray) -> dict[str, Float[NumpyArray, " _"]]:
    """Over bootstrap samples of the images: the interval of each accuracy, and how often each model is the best."""
    pixels = np.bincount(images)
    accuracies = np.stack([np.bincount(images, weights=each) / pixels for each in right], axis=1)
    resampled = resampled_means(accuracies, pixels, seed=0)
    low, high = percentile_intervals(resampled)
    best = np.bincount(resampled.argmax(axis=1), minlength=len(right)) / len(resampled)
    return {"low": low, "high": high, "best": best}


def print_ranking(table: pandas.DataFrame, data: str) -> None:
    """Print what :func:`rank` found.

    Args:
        table: Its result.
        data: What the dataset is called.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, title=f"Models for {data}, the best first", title_justify="left")
    shown.add_column("model", overflow="fold")
    columns = [name for name in table.columns if name != "note" or table["note"].any()]
    for name in columns:
        shown.add_column(name, justify="left" if name == "note" else "right")
    for model, row in table.iterrows():
        shown.add_row(Text(str(model)), *(_cell(column, row[column]) for column in columns))
    console = Console()
    if not console.is_terminal:  # rich would take 80 columns
        console = Console(width=160)
    console.print(shown)
    for name, reason in table.attrs["left_out"].items():
        console.print(Text(f"Left out: {name}: {reason}"))
    if names := table.attrs["normalised_as_target"]:
        console.print(
            Text(
                f"Not known of {', '.join(names)}: mean and std of the images that they were trained on. Images were "
                f"normalised by those of {data}, which can cost such a model much. To give them: "
                '{"from": "smp", "model": FOLDER, "mean": [...], "std": [...]}, or {"model": MODULE, "mean": ...}.'
            )
        )


def _cell(column: str, value: Any) -> str:
    if column == "note":
        return str(value)
    if column == "parameters":
        return f"{int(value) / 1e6:.2f} M"
    if column == "best":
        return f"{100 * value:.0f} %"
    return "\N{EN DASH}" if np.isnan(value) else f"{value:.1f}" if column == "milliseconds" else f"{value:.3f}"
