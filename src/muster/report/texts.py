"""A few texts for reports, in place of images: the easiest and the hardest ones, and those that are taken for others.

Axis names: ``texts`` are those of a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muster.data import Dataset, Sample, Split, decode_text
from muster.data.transforms import prepare_image
from muster.pool import Pool
from muster.report.images import surveyed
from muster.report.tables import number
from muster.selection.hard_views import HardView
from muster.selection.record import Selection
from muster.training.finetuned_ensemble import Ensemble
from muster.training.target_data import TargetData

SURVEYED_TEXTS = 100
"""Texts are chosen from so many."""

LONGEST = 400
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class ReportText:
    """One text with what was predicted for it.

    Attributes:
        identifier: Its name in its split.
        text: Its first characters.
        truth: Name of its class.
        predictions: Names of classes by the name of the model, the ensemble's last.
        confidence: The probability that the ensemble gives to the true class.
    """

    identifier: str
    text: str
    truth: str
    predictions: Mapping[str, str]
    confidence: float

    @property
    def is_wrong(self) -> bool:
        """Whether the ensemble takes it for another class."""
        return list(self.predictions.values())[-1] != self.truth


@dataclass(frozen=True)
class TextRows:
    """Some texts as the templates draw them: one a row.

    Attributes:
        title: What they have in common.
        models: Headings of the columns of predictions.
        rows: Name, text, true class, predictions with whether each is right, and the probability of the truth.
    """

    title: str
    models: tuple[str, ...]
    rows: tuple[tuple[str, str, str, tuple[tuple[str, bool], ...], str], ...]


def finetuned_texts(ensemble: Ensemble, target: TargetData) -> list[ReportText]:
    """Test texts with the predictions of each fine-tuned member and of the ensemble.

    Args:
        ensemble: Fine-tuned, in evaluation mode.
        target: What it was fine-tuned on.

    Returns:
        A seeded choice; none if the target holds no texts.
    """
    if not target.dataset.spec.has_texts:
        return []
    some, found = target.dataset.test.subset(SURVEYED_TEXTS, seed=0), []
    for sample in some:
        texts = ensemble.prepare(sample.image[None])
        maps = ensemble.member_maps(texts)
        alone = {
            name: ensemble.task.activate(each.values)[0, :, 0, 0]
            for name, each in zip(ensemble.names, maps, strict=True)
        }
        found.append(_report_text(some, sample, {**alone, "ensemble": ensemble(texts, (1, 1))[0, :, 0, 0]}))
    return found


@torch.no_grad()
def selection_texts(selection: Selection, pool: Pool, target: Dataset) -> list[ReportText]:
    """What the chosen members say about target training texts, before any fine-tuning.

    Args:
        selection: With the predictors of its chosen members.
        pool: Holds them.
        target: The target dataset.

    Returns:
        Those of :func:`muster.report.images.surveyed`; none if the target holds no texts, or the selection was read
        from disk.
    """
    if not target.spec.has_texts or not selection.on_images:
        return []
    split = surveyed(selection, target).subset(SURVEYED_TEXTS, selection.probe.seed)
    used = pool.used_for(split.spec)
    models, found = {name: used[name].load_model() for name in selection.members}, []
    places = {name: place for place, name in enumerate(selection.train_images)}
    for sample in split:
        shares = {}
        for name, model in models.items():
            text = prepare_image(sample.image, selection.preprocessing.seen_by(model.preprocessing))[None]
            told = selection.on_images[name].predict(model, text, places[sample.identifier], (1, 1))
            shares[name] = told[:, 0, 0]
        shares["ensemble"] = torch.stack(list(shares.values())).mean(dim=0)
        found.append(_report_text(split, sample, shares))
    return found


def _report_text(split: Split, sample: Sample, shares: Mapping[str, Tensor]) -> ReportText:
    classes, truth = split.spec.classes, int(sample.mask)
    told = {name: classes[int(each.argmax())] for name, each in shares.items()}
    confidence = float(list(shares.values())[-1][truth])
    return ReportText(sample.identifier, shortened(decode_text(sample.image)), classes[truth], told, confidence)


def shortened(text: str) -> str:
    """The beginning of a text, if it is long."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def text_rows(texts: Sequence[ReportText], each: int = 4) -> list[TextRows]:
    """What the templates draw: the surest mistakes, the hardest of the others, and the easiest ones.

    Args:
        texts: To choose from.
        each: Most of a kind.

    Returns:
        A table of each kind that there is.
    """
    order = sorted(texts, key=lambda text: text.confidence)
    wrong, right = [text for text in order if text.is_wrong], [text for text in order if not text.is_wrong]
    kinds = {
        "Taken for another class, the surest mistakes first": wrong[:each],
        "Right, the least sure first": right[:each],
        "Right, the surest first": right[each:][::-1][:each],
    }
    return [_rows(title, some) for title, some in kinds.items() if some]


def _rows(title: str, texts: Sequence[ReportText]) -> TextRows:
    rows = tuple(
        (
            text.identifier,
            text.text,
            text.truth,
            tuple((told, told == text.truth) for told in text.predictions.values()),
            number(text.confidence, 2),
        )
        for text in texts
    )
    return TextRows(title, tuple(texts[0].predictions), rows)


def hard_texts(selection: Selection, target: Dataset, words: Mapping[str, str], each: int = 5) -> list[TextRows]:
    """The hardest and the easiest training texts of a selection that looked at hard subsets.

    Args:
        selection: Just made.
        target: Its target.
        words: By wrapper of a metric, what samples are hard for.
        each: How many of both.
    """
    if not target.spec.has_texts:
        return []
    found = []
    for wrapper, meaning in words.items():
        views = [view for view in selection.hard_views if view.wrapper == wrapper]
        for view in views[:1]:
            order = np.argsort(-view.hardness, kind="stable").tolist()
            count = min(each, len(order) // 2)
            for kind, places in (("hardest", order[:count]), ("easiest", order[::-1][:count])):
                title = f"The {kind} for {meaning}, as {view.model} sees it, from the most extreme on"
                found.append(TextRows(title, (), tuple(_hard_row(selection, target, view, place) for place in places)))
    return found


def _hard_row(
    selection: Selection, target: Dataset, view: HardView, place: int
) -> tuple[str, str, str, tuple[tuple[str, bool], ...], str]:
    sample = target.train.read(selection.train_images[view.images[place]])
    truth = target.spec.classes[int(sample.mask)]
    return sample.identifier, shortened(decode_text(sample.image)), truth, (), number(float(view.hardness[place]), 3)
