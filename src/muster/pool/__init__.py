"""Trained source models on disk: one folder a member, with a card that says all about it."""

from muster.pool.card import FORMAT_VERSION, Card, software_versions
from muster.pool.member import CARD, HISTORY, SOURCE_SAMPLE, WEIGHTS, Member, write_member
from muster.pool.pool import MEMBERS, Pool, member_folders
from muster.pool.seen import TargetContent, reason_to_bar

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
    "TargetContent",
    "member_folders",
    "reason_to_bar",
    "software_versions",
    "write_member",
]
