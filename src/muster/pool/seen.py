"""Which members have seen a target, told by the content of its images where it is known, and by names elsewhere.

A member is no candidate if it was trained on the target itself; a smaller overlap is told, and the user judges. One
that saw the target's images for another task, and so other labels, stays a candidate, and that is told too.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from muster.data import ContentSketch, Dataset, content_prefixes
from muster.errors import some_names
from muster.models.pooled import POOLED
from muster.pool.card import Card
from muster.pool.member import Member
from muster.tasks.task import TASKS, Task, task_of

SAME_FRACTION = 0.5
"""A member counts as trained on the target if at least this share of its training images are the target's. (Chosen: a
part of the target, or the target with other splits, comes close to 1, and sources of one origin are far below.)"""


@dataclass(frozen=True)
class TargetContent:
    """The images of a target.

    Attributes:
        dataset: The target.
    """

    dataset: Dataset

    @property
    def known(self) -> bool:
        """Whether images can be compared at all."""
        return self.dataset.train.content is not None and self.dataset.test.content is not None

    @cached_property
    def train(self) -> frozenset[str]:
        """Content prefixes of the training images."""
        return frozenset(content_prefixes(self.dataset.train))

    @cached_property
    def test(self) -> frozenset[str]:
        """Content prefixes of the test images."""
        return frozenset(content_prefixes(self.dataset.test))

    @cached_property
    def both(self) -> frozenset[str]:
        """Content prefixes of all images."""
        return self.train | self.test

    def is_called(self, name: str) -> bool:
        """Whether a dataset of that name has the target's name, but for the case of letters, blanks and hyphens."""
        return _plain(name) == _plain(self.dataset.spec.name)

    def has_classes(self, classes: Sequence[str]) -> bool:
        """Whether these are the target's classes, in any order, compared as names are."""
        return {_plain(name) for name in classes} == {_plain(name) for name in self.dataset.spec.classes}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def reason_to_bar(card: Card, target: TargetContent) -> str | None:
    """Why a model is no candidate for a target.

    Args:
        card: Says what the model was trained on.
        target: The target.

    Returns:
        ``"was trained on the target"`` in more words, or ``None`` for a candidate.
    """
    return _unfit(card, task_of(target.dataset.spec)) or reason_seen(card, target)


def _unfit(card: Card, wanted: Task) -> str | None:
    """Why a network cannot be used for a task."""
    own = TASKS[card.task]
    if own.holds != wanted.holds:
        return f"was trained for {card.task}, with {own.holds}, and {wanted.name} is about {wanted.holds}"
    if own.is_pooled and not (wanted.is_pooled or has_map(card)):
        return (
            f"was trained for {card.task}, with one prediction for a whole image, and {wanted.name} needs one a place"
        )
    return None


def reason_seen(card: Card, target: TargetContent) -> str | None:
    """That a model was trained on a target, or may have been.

    Args:
        card: Says what the model was trained on.
        target: The target.

    Returns:
        As :func:`reason_to_bar`; ``None`` if it was not.
    """
    if not card.dataset and card.classes and target.has_classes(card.classes):
        return (
            f"may have been trained on the target, {target.dataset.spec.name}: it has the same classes, and its card "
            "does not say what it was trained on (plan.adopt: dataset)"
        )
    reasons = (_reason(seen, card, target) for seen in card.seen)
    return next((reason for reason in reasons if reason is not None), None)


def has_map(card: Card) -> bool:
    """Whether a network that says one thing of a whole image has a map before its mean, as muster's own have."""
    built = card.built_by
    return built.source == POOLED and built.library == "native"


def _reason(seen: ContentSketch, card: Card, target: TargetContent) -> str | None:
    name, own_task, holds = target.dataset.spec.name, target.dataset.spec.task, target.dataset.spec.holds
    if card.task != own_task and card.classes_of(seen.dataset) != target.dataset.spec.classes:
        return None  # it knows nothing of these labels, and the same images with others are a source like any (M21 5.2)
    if not target.known or not seen.images:
        return f"was trained on the target, {name}" if target.is_called(seen.dataset) else None
    shared = seen.shared_with(target.both)
    if shared and target.is_called(seen.dataset):
        return f"was trained on the target, {name}"
    # Where few of very many source images make up a whole target, the labels decide: other ones make another task.
    same_classes = card.classes_of(seen.dataset) == target.dataset.spec.classes
    whole = same_classes and seen.shared_with(target.train) >= SAME_FRACTION * len(target.train)
    if shared and (whole or shared >= SAME_FRACTION * seen.images):
        return (
            f"was trained on the target, {name}, under the name {seen.dataset}: {_count(seen, shared)} of its "
            f"{seen.images:,} training {holds} are {holds} of {name}"
        )
    return None


def candidates(members: Sequence[Member], dataset: Dataset) -> tuple[tuple[Member, ...], dict[str, str]]:
    """Tell the members that never saw a target from the others.

    Args:
        members: All of a pool.
        dataset: The target.

    Returns:
        The candidates, and for every other member the reason why it is none.

    Raises:
        DatasetError: If an image of the target cannot be read.

    Warns:
        UserWarning: Which candidates have seen images of the target, have a source of the same name, or have a card
            that does not say which images it was trained on.
    """
    target = TargetContent(dataset)
    reasons = {member.name: reason_to_bar(member.card, target) for member in members}
    barred = {name: reason for name, reason in reasons.items() if reason is not None}
    kept = tuple(member for member in members if member.name not in barred)
    if target.known:
        _warn(kept, target)
        _warn_of_old_cards(members, target)
    return kept, barred


def _warn(members: Sequence[Member], target: TargetContent) -> None:
    """One warning for all members that the same is to be said of: a pool has several for each source."""
    names: dict[str, list[str]] = {}
    for member in members:
        for seen in member.card.seen:
            if seen.images and (told := _overlap(seen, target)):
                names.setdefault(told, []).append(member.name)
    for told, concerned in names.items():
        warnings.warn(f"{', '.join(concerned)}: {told}", stacklevel=4)


def _overlap(seen: ContentSketch, target: TargetContent) -> str:
    """What to say of a candidate that has seen something of the target; nothing of most."""
    name, holds = target.dataset.spec.name, target.dataset.spec.holds
    tested, trained = seen.shared_with(target.test), seen.shared_with(target.train)
    if tested:
        return (
            f"trained on {_count(seen, tested)} of the {len(target.test):,} test {holds} of {name} (in "
            f"{seen.dataset}). What an ensemble with them reaches on the test split will look better than it is."
        )
    if trained:
        return (
            f"trained on {_count(seen, trained)} of the {len(target.train):,} training {holds} of {name} (in "
            f"{seen.dataset}), with the labels of that dataset. Their scores may be higher than they deserve."
        )
    if target.is_called(seen.dataset):
        return (
            f"trained on another dataset that is called {seen.dataset} as well. It shares no file with the "
            "target, so they stay candidates. (Copies that were encoded anew are not found: if it is the same data, "
            "move these members out of the pool.)"
        )
    return ""


def _count(seen: ContentSketch, shared: int) -> str:
    return f"{shared:,}" if seen.is_exact else f"about {shared:,}"


def _warn_of_old_cards(members: Sequence[Member], target: TargetContent) -> None:
    without = [
        m.card for m in members if any(not seen.images for seen in m.card.seen) or (m.card.classes and not m.card.seen)
    ]
    name, holds = target.dataset.spec.name, target.dataset.spec.holds
    _warn_of_names(
        holds,
        [card.name for card in without if not card.is_adopted],
        f", as cards from before. Whether they have seen {name} is told by the name of the dataset alone. Train them "
        f"again to have the {holds} compared.",
    )
    _warn_of_names(
        holds,
        [card.name for card in without if card.is_adopted],
        f". Whether they have seen {name} is told by names alone. Adopt them with `data`, the folder of what they were "
        f"trained on, to have the {holds} compared.",
    )


def _warn_of_names(holds: str, names: Sequence[str], advice: str) -> None:
    if names:
        shown = some_names(names)
        warnings.warn(f"The card(s) of {shown} do not say which {holds} the model was trained on{advice}", stacklevel=5)
