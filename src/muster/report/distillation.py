"""The report of what an ensemble was brought down to."""

from __future__ import annotations

from pathlib import Path

from muster.report.figures import BLUE, ORANGE
from muster.report.page import Bar, write_page
from muster.report.tables import number
from muster.report.wording.finetuning import interval_text
from muster.training.distilling import BASELINE, DISTILLED, ENSEMBLE, Compared, DistillResult

_COLOURS = {ENSEMBLE: BLUE, BASELINE: ORANGE}
_OTHERS = "#66aad1"
_COLUMNS = ("times as fast as the ensemble", "MB", "parameters")


def write_distillation_report(result: DistillResult, path: Path, command: str) -> Path:
    """Write one self-contained HTML page.

    Args:
        result: The results.
        path: The file to write.
        command: What to type next.

    Returns:
        ``path``.
    """
    context = {
        "title": f"Distillation for {result.target}",
        "target": result.target,
        "headline": headline(result),
        "lead": lead(result),
        "bars": [_bar(name, model) for name, model in result.models.items()],
        "columns": ("model", result.words.result, f"ms {result.words.a_sample}", *_COLUMNS),
        "result_title": result.words.title,
        "rows": _rows(result),
        "command": command,
        "has_baseline": BASELINE in result.models,
        "settings": [(key, str(value)) for key, value in result.settings.items()],
        "test_samples": result.words.samples(result.test_images, "test"),
        "sample": result.words.sample,
        "enlarged": not result.words.is_pooled,
        "footer": f"muster {result.versions.get('muster', '')}".strip(),
    }
    return write_page("distillation.html", path, context)


def _bar(name: str, model: Compared) -> Bar:
    return Bar(
        name,
        model.result,
        number(model.result),
        _COLOURS.get(name, _OTHERS),
        name == ENSEMBLE,
        model.of,
        whisker=model.interval,
        range_text=interval_text(model.interval),
    )


def _rows(result: DistillResult) -> list[tuple[str, ...]]:
    """For each model its result and what it costs."""
    whole = result.models[ENSEMBLE]
    return [
        (
            name,
            number(model.result),
            f"{1000 * model.seconds_per_image:.1f}",
            f"{whole.seconds_per_image / model.seconds_per_image:.1f}",
            f"{model.megabytes:.1f}",
            f"{model.parameters:,}",
        )
        for name, model in result.models.items()
    ]


def headline(result: DistillResult) -> str:
    """The best single network beside the ensemble."""
    whole, best, reached = result.models[ENSEMBLE], best_network(result), result.words.result
    if best is None:
        return (
            f"The ensemble reaches {number(whole.result)} {reached}; no two of its members can be averaged. To teach "
            "one network, name its architecture: --architecture small_fpn."
        )
    model = result.models[best]
    alone = f", which took {model.of} alone" if best != DISTILLED and "," not in model.of else ""
    times = whole.seconds_per_image / model.seconds_per_image
    return (
        f"One network ({best}{alone}) reaches {number(model.result)} {reached} and the ensemble {number(whole.result)} "
        f"in 1/{times:.1f} of the time and {model.megabytes:.1f} MB in place of {whole.megabytes:.1f}."
    )


def best_network(result: DistillResult) -> str | None:
    """The one of the networks that were made which reaches most, which the headline is about.

    Args:
        result: The results.

    Returns:
        What it is called there; ``None`` if none was made.
    """
    made = {name: model.result for name, model in result.models.items() if name not in (ENSEMBLE, BASELINE)}
    return max(made, key=lambda name: made[name]) if made else None


def lead(result: DistillResult) -> str:
    """What was learned from."""
    more = f" and {result.unlabelled_images:,} without labels" if result.unlabelled_images else ""
    return (
        f"{result.words.samples(result.train_images, 'training')}{more}; {result.words.result} on "
        f"{result.words.samples(result.test_images, 'test')}."
    )
