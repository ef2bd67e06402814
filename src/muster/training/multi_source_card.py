"""One card of what would be a card for each source of a member with several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import torch

from muster.data import ChannelStatistics
from muster.pool import Card, SourceRecord

SEVERAL_DOMAINS = "several domains"
"""The visual domain of a member whose sources do not share one."""


def joined_name(datasets: Sequence[str]) -> str:
    """What several datasets are called together.

    Args:
        datasets: Their names, in the order of the heads.
    """
    return " + ".join(datasets)


def joined_card(cards: Sequence[Card]) -> Card:
    """The card of a multi-source member.

    Args:
        cards: Of the member with respect to each source, in the order of the heads.

    Returns:
        The card of all.
    """
    records, errors = tuple(map(_record, cards)), [card.test_error for card in cards]
    together = mixed_statistics([ChannelStatistics(card.mean, card.std) for card in cards])
    domains = {record.domain for record in records}
    return replace(
        cards[0],
        dataset=joined_name([card.dataset for card in cards]),
        domain=records[0].domain if len(domains) == 1 else SEVERAL_DOMAINS,
        classes=tuple(f"{card.dataset}/{name}" for card in cards for name in card.classes),
        mean=together.mean,
        std=together.std,
        train_images=sum(record.train_images for record in records),
        test_images=sum(record.test_images for record in records),
        test_result=fmean(record.test_result for record in records),
        test_error=None if None in errors else fmean(error for error in errors if error is not None),
        test_ious=tuple(iou for card in cards for iou in card.test_ious),
        majority_result=fmean(record.majority_result for record in records),
        licence="",
        citation="",
        sources=records,
    )


def _record(card: Card) -> SourceRecord:
    """What a card says of its source."""
    assert card.train_images is not None  # all of these are known of what muster trains
    assert card.test_images is not None
    assert card.test_result is not None
    assert card.majority_result is not None
    return SourceRecord(
        dataset=card.dataset,
        domain=card.domain,
        classes=len(card.classes),
        train_images=card.train_images,
        test_images=card.test_images,
        test_result=card.test_result,
        majority_result=card.majority_result,
        mean=card.mean,
        std=card.std,
        licence=card.licence,
        citation=card.citation,
    )


def mixed_statistics(statistics: Sequence[ChannelStatistics]) -> ChannelStatistics:
    """Channel means and deviations of several datasets together, each counting alike, as in training.

    Args:
        statistics: Of each.

    Returns:
        Of a pixel of a dataset that is drawn at random; those of the only one as they are.
    """
    if len(statistics) == 1:
        return statistics[0]
    mean = torch.tensor([each.mean for each in statistics], dtype=torch.float64)
    std = torch.tensor([each.std for each in statistics], dtype=torch.float64)
    variance = (std.square() + mean.square()).mean(dim=0) - mean.mean(dim=0).square()
    return ChannelStatistics(tuple(mean.mean(dim=0).tolist()), tuple(variance.sqrt().tolist()))
