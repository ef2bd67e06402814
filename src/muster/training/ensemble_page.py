"""The page of a fine-tuned ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.data import ImageSize
from muster.data.spec import TEXTS
from muster.model_page import NOT_STATED, ModelPage
from muster.tasks.task import TASKS


def ensemble_page(
    target: str,
    classes: Sequence[str],
    members: Mapping[str, str],
    image_size: int | str,
    licences: Mapping[str, str],
    versions: Mapping[str, str],
    task: str,
    head_kept: bool,
) -> str:
    """The page of a fine-tuned ensemble.

    Args:
        target: Name of the dataset that it was fine-tuned for.
        classes: Its label space.
        members: Architecture of each member, by name.
        image_size: Size at which members see an image.
        licences: Terms of the data and weights that it is made from, by what they are of; empty if they are not known.
        versions: Software it was made with.
        task: What it predicts.
        head_kept: Whether it has a learned head.

    Returns:
        The content of its README.md.
    """
    is_pooled, finds_objects = TASKS[task].is_pooled, TASKS[task].finds_objects
    many = f"{len(members)} {task} models" if len(members) > 1 else f"A {task} model"
    output = "class" if TASKS[task].has_classes else "output"
    learned = f"with a learned weight and bias for each member and {output}"
    combined = learned if head_kept else "combined by the plain mean of their probabilities"
    if finds_objects:
        combined = "used by itself"
    about = (
        f"{many}, chosen by muster and fine-tuned on {target}, {combined}. "
        f"{TASKS[task].holds.capitalize()} of any size go in, predictions come out."
    )
    usage = 'import muster\nimport muster.data\n\nensemble = muster.from_pretrained("PATH_OR_REPOSITORY")\n' + (
        'probabilities = ensemble.classify("A text.")  # one a class'
        if TASKS[task].holds == TEXTS
        else 'probabilities = ensemble.classify(muster.data.read_image("photo.jpg"))  # one a class'
        if is_pooled
        else 'found = ensemble.find(muster.data.read_image("photo.jpg"))  # box, score, class of each'
        if finds_objects
        else 'mask = ensemble.predict(muster.data.read_image("photo.jpg"))  # class indices [h, w]'
    )
    facts = {
        **{f"member {number}": f"{name} ({kind})" for number, (name, kind) in enumerate(members.items(), start=1)},
        f"{TASKS[task].sample} size": str(ImageSize.of(image_size)),
        "made with": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    page = ModelPage(
        title=f"Ensemble for {target}",
        about=about,
        usage=usage,
        facts=facts,
        classes=classes,
        licences=licences or {"data and weights that it was made from": NOT_STATED},
        datasets=[target],
        tags=["muster-ensemble", "ensemble"],
        task=TASKS[task],
    )
    return page.text()
