"""Trained source models on disk: one folder a member, with a card that says all about it."""

from muster.pool.adopted import card_of_adopted
from muster.pool.card import FORMAT_VERSION, Card, SourceRecord, holds_of, result_of, software_versions
from muster.pool.listing import MEMBERS
from muster.pool.member import CARD, HISTORY, SOURCE_SAMPLE, WEIGHTS, Member, write_member
from muster.pool.pool import Pool, Verification, verify_pool, without_exported
from muster.pool.seen import TargetContent, reason_seen, reason_to_bar

__all__ = [
    "CARD",
    "FORMAT_VERSION",
    "HISTORY",
    "MEMBERS",
    "SOURCE_SAMPLE",
    "WEIGHTS",
    "Card",
    "Member",
    "Pool",
    "SourceRecord",
    "TargetContent",
    "Verification",
    "card_of_adopted",
    "holds_of",
    "reason_seen",
    "reason_to_bar",
    "result_of",
    "software_versions",
    "verify_pool",
    "without_exported",
    "write_member",
]
