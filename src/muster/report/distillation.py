"""The report of what an ensemble was brought down to."""

from __future__ import annotations

from pathlib import Path

from muster.report.figures import BLUE, ORANGE
from muster.report.page import Bar, write_page
from muster.report.tables import number
from muster.report.wording.finetuning import interval_text
from muster.training.distilling import BASELINE, ENSEMBLE, DistillResult

_COLOURS = {ENSEMBLE: BLUE, BASELINE: ORANGE}
_OTHERS = "#66aad1"
_COLUMNS = ("model", "mIoU", "ms an image", "times as fast as the ensemble", "MB", "parameters")


def write_distillation_report(result: DistillResult, path: Path, command: str) -> Path:
    """Write one self-contained HTML page.

    Args:
        result: The results.
        path: The file to write.
        command: What to type next.

    Returns:
        ``path``.
    """
    whole = result.models[ENSEMBLE]
    bars, rows = [], []
    for name, model in result.models.items():
        ends, text = model.interval, interval_text(model.interval)
        colour = _COLOURS.get(name, _OTHERS)
        bars.append(
            Bar(name, model.miou, number(model.miou), colour, name == ENSEMBLE, model.of, whisker=ends, range_text=text)
        )
        times = whole.seconds_per_image / model.seconds_per_image
        rows.append(
            (
                name,
                number(model.miou),
                f"{1000 * model.seconds_per_image:.1f}",
                f"{times:.1f}",
                f"{model.megabytes:.1f}",
                f"{model.parameters:,}",
            )
        )
    context = {
        "title": f"Distillation for {result.target}",
        "target": result.target,
        "headline": headline(result),
        "lead": lead(result),
        "bars": bars,
        "columns": _COLUMNS,
        "rows": rows,
        "command": command,
        "settings": [(key, str(value)) for key, value in result.settings.items()],
        "test_images": f"{result.test_images:,}",
        "footer": f"muster {result.versions.get('muster', '')}".strip(),
    }
    return write_page("distillation.html", path, context)


def headline(result: DistillResult) -> str:
    """The best single network beside the ensemble."""
    whole = result.models[ENSEMBLE]
    single = {name: model for name, model in result.models.items() if name not in (ENSEMBLE, BASELINE)}
    if not single:
        return (
            f"The ensemble reaches {number(whole.miou)} mIoU; no two of its members can be averaged. To teach one "
            "network, name its architecture: --architecture small_fpn."
        )
    best = max(single, key=lambda name: single[name].miou)
    model = single[best]
    times = whole.seconds_per_image / model.seconds_per_image
    return (
        f"One network ({best}) reaches {number(model.miou)} mIoU and the ensemble {number(whole.miou)}, "
        f"in 1/{times:.1f} of the time and {model.megabytes:.1f} MB in place of {whole.megabytes:.1f}."
    )


def lead(result: DistillResult) -> str:
    """What was learned from."""
    more = f" and {result.unlabelled_images:,} without labels" if result.unlabelled_images else ""
    return f"{result.train_images:,} training images{more}; mIoU on {result.test_images:,} test images."
