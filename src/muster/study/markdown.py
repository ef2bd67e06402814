"""A study as a page to read."""

from __future__ import annotations

from collections.abc import Sequence

from muster.markdown import markdown_table
from muster.pool import Pool
from muster.report.tables import count_label, number
from muster.study.finetuned_candidates import RANDOM, SCRATCH, StudyResult


def study_as_markdown(result: StudyResult, pool: Pool) -> str:
    """Tables of the fine-tuned mIoU of each choice, of the members, and of how well the metrics agree with the results.

    Args:
        result: The study.
        pool: Its members' cards are shown.

    Returns:
        Markdown.
    """
    least, mean, most = result.miou_range
    heading = (
        f"mIoU on {result.test_images} test images of {result.target}, after fine-tuning on "
        f"{result.train_images} training images."
    )
    over_all = (
        f"Over all {result.ensembles} ensembles of the members fine-tuned here, the plain mean reached "
        f"{least:.3f} to {most:.3f}, {mean:.3f} on average."
    )
    return "\n".join(
        [
            heading,
            "",
            *_choices(result),
            "",
            over_all,
            "",
            *_correlations(result),
            "",
            *_members(result, pool),
            "",
        ]
    )


def _choices(result: StudyResult) -> list[str]:
    rows = [
        [
            "a random ensemble" if metric == RANDOM else metric,
            ", ".join(chosen),
            _parameters(result, chosen),
            f"{result.plain_means[metric]:.3f}",
            f"{result.learned_heads[metric]:.3f}",
        ]
        for metric, chosen in result.choices.items()
    ]
    best = result.single_best
    rows.append(["B1 (best single by LEEP)", best, _parameters(result, [best]), f"{result.members[best]:.3f}", ""])
    rows += [
        ["from scratch", name.removeprefix(SCRATCH), _parameters(result, [name]), f"{miou:.3f}", ""]
        for name, miou in result.members.items()
        if name.startswith(SCRATCH)
    ]
    return markdown_table(["chosen by", "members", "parameters", "plain mean", "learned head"], rows)


def _parameters(result: StudyResult, names: Sequence[str]) -> str:
    """What some models have together, so that one is not compared with three unnoticed."""
    known = [result.parameters[name] for name in names if name in result.parameters]
    return count_label(sum(known)) if len(known) == len(names) else ""


def _correlations(result: StudyResult) -> list[str]:
    names = {"weighted_kendall": "weighted Kendall", "kendall": "Kendall", "pearson": "Pearson"}
    rows = [[metric, *(f"{values[name]:.2f}" for name in names)] for metric, values in result.correlations.items()]
    return markdown_table(["metric, against fine-tuned mIoU", *names.values()], rows)


def _members(result: StudyResult, pool: Pool) -> list[str]:
    rows = []
    for member in pool:
        card, leep, miou = member.card, result.leeps.get(member.name), result.members.get(member.name)
        rows.append(
            [
                member.name,
                number(card.test_miou),
                number(card.majority_miou),
                "saw the target" if leep is None else f"{leep:.3f}",
                number(miou),
            ]
        )
    headings = ["member", "source test mIoU", "majority class", "LEEP on target", "fine-tuned mIoU"]
    return markdown_table(headings, rows)
