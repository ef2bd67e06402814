"""The page of a member, and whose terms it inherits."""

from __future__ import annotations

from muster.data import ImageSize
from muster.data.spec import TEXTS
from muster.model_page import NOT_STATED, ModelPage
from muster.pool.card import Card
from muster.tasks.task import TASKS

NO_PRETRAINING = "none"


def inherited_licences(card: Card) -> dict[str, str]:
    """Terms of what a member is made from.

    Args:
        card: Of the member.

    Returns:
        By what they are of: the data of its source and of every dataset seen before, and the weights that it is or
        started from. Where nobody said them, that is what stands there.
    """
    terms = {f"data of {name}": "" for name in card.trained_on}
    if card.sources:
        terms |= {f"data of {source.dataset}": source.licence for source in card.sources}
    elif card.dataset:
        terms[f"data of {card.dataset}"] = card.licence
    if card.is_adopted or card.weights_licence:
        terms[f"weights of {card.name}, which others trained"] = card.weights_licence
    if card.started_from or card.pretraining not in ("", NO_PRETRAINING):
        source = card.started_from.get("source", card.pretraining)
        terms[f"weights that {card.name} started from ({source})"] = card.started_from.get("licence", "")
    return {what: said.strip() or NOT_STATED for what, said in terms.items()}


def member_page(card: Card) -> str:
    """The page of a member.

    Args:
        card: Of the member.

    Returns:
        The content of its README.md.
    """
    on = f" on {card.dataset} ({card.domain})" if card.dataset else ""
    if card.sources:
        on = f" on {len(card.sources)} datasets, with a head for each: {card.dataset} ({card.domain})"
    about = (
        f"A {card.task} model, {card.architecture}, trained{on}. It is a member of a pool of muster, which predicts "
        "which few models, fine-tuned together, will do best on a new dataset."
    )
    usage = (
        "import muster\n\n"
        'member = muster.from_pretrained("PATH_OR_REPOSITORY")\n'
        f"model = member.load_model()  # probabilities of its own classes: model.predict({TASKS[card.task].holds})"
    )
    page = ModelPage(
        title=card.name,
        about=about,
        usage=usage,
        facts=_facts(card),
        classes=card.classes,
        licences=inherited_licences(card),
        datasets=card.trained_on,
        citations=[source.citation for source in card.sources] or [card.citation],
        tags=["muster-member"],
        task=TASKS[card.task],
        reached=_reached(card),
    )
    return page.text()


def _reached(card: Card) -> dict[str, float]:
    """Results by what they are on."""
    if card.sources:
        return {source.dataset: source.test_result for source in card.sources}
    return {} if card.test_result is None else {card.dataset: card.test_result}


def _results(card: Card) -> dict[str, str]:
    reached, holds = TASKS[card.task].result, TASKS[card.task].holds
    if not card.sources:
        return {
            f"{reached} on its test split": "" if card.test_result is None else f"{card.test_result:.3f}",
            f"{reached} of the most frequent class": ""
            if card.majority_result is None
            else f"{card.majority_result:.3f}",
        }
    return {
        f"{source.dataset}: training {holds}, {reached} on its test split, of the most frequent class": (
            f"{source.train_images}, {source.test_result:.3f}, {source.majority_result:.3f}"
        )
        for source in card.sources
    }


def _facts(card: Card) -> dict[str, str]:
    task = TASKS[card.task]
    said = {
        "architecture": card.architecture,
        "parameters": f"{card.parameters:,}",
        "pre-training": card.started_from.get("source", card.pretraining),
        **({} if task.holds == TEXTS else _channels(card)),
        f"{task.sample} size in training": "" if card.image_size is None else str(ImageSize.of(card.image_size)),
        f"training {task.holds}": _known(card.train_images),
        "training": f"{card.steps} steps of {card.batch_size} {task.holds}, seed {card.seed}" if card.steps else "",
        **_results(card),
        "SHA-256 of the weights": card.checksum,
        "made with": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
    }
    return {label: value for label, value in said.items() if value}


def _channels(card: Card) -> dict[str, str]:
    """What images are normalised with."""
    return {
        "channel means, of 0 to 1": ", ".join(f"{value:.4f}" for value in card.mean),
        "channel standard deviations": ", ".join(f"{value:.4f}" for value in card.std),
    }


def _known(value: object) -> str:
    return "" if value is None else str(value)
