"""The report of a fine-tuning: what the ensemble finetuned, against what, and how well that was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muster.data import ImageSize
from muster.report.confusions import confusion_context
from muster.report.figures import BLUE, ORANGE, loss_figure, scatter_figure
from muster.report.page import Bar, Cell, Swatch, distinct_colours, drawn_legend, heat, strips, svg_address, write_page
from muster.report.palette import hex_colour
from muster.report.records import AnyImage
from muster.report.tables import (
    NOTHING,
    class_table,
    confirmation_table,
    date_text,
    metric_label,
    number,
    result_names,
    shown_name,
)
from muster.report.texts import ReportText, text_rows
from muster.report.wording import predictor_label
from muster.report.wording.confirmation import confirmation_sentence
from muster.report.wording.equal_cost import equal_cost_sentence, single_wins, spent_on_text, trials_sentence
from muster.report.wording.finetuning import (
    cost_sentence,
    cost_text,
    difference_sentence,
    error_text,
    head_sentence,
    interval_sentence,
    interval_text,
    measured_text,
    resumed_text,
    subject,
)
from muster.training.results import EQUAL_COST, LEARNED_HEAD, PLAIN_MEAN, EqualCost, FinetuneResult

MEMBER_COLOUR = "#8a94a3"
EQUAL_COST_COLOUR = "#3c9d72"


@dataclass(frozen=True)
class _Dot:
    label: str
    value: float
    shape: str
    colour: str


@dataclass(frozen=True)
class _DotRow:
    label: str
    note: str
    dots: list[_Dot]
    predicted: float | None

    @property
    def low(self) -> float:
        return min(dot.value for dot in self.dots)

    @property
    def high(self) -> float:
        return max(dot.value for dot in self.dots)


def write_finetuning_report(
    result: FinetuneResult,
    path: Path,
    report_images: Sequence[AnyImage] = (),
    command: str | None = None,
    report_texts: Sequence[ReportText] = (),
) -> Path:
    """Write one self-contained HTML page about a fine-tuned ensemble.

    Args:
        result: The results.
        path: The file to write.
        report_images: A few test images, see :func:`muster.report.make_report_image`.
        command: How to predict with the ensemble, if it is to be shown.
        report_texts: Test texts, see :func:`muster.report.texts.finetuned_texts`; some of them are shown.

    Returns:
        ``path``.
    """
    context = {
        "title": f"Fine-tuning for {result.target}",
        "target": result.target,
        "headline": _headline(result),
        "lead": _comparison(result),
        "equal_cost": equal_cost_sentence(result),
        "cost": cost_sentence(result),
        "resumed": resumed_text(result),
        "figures": _figures(result),
        "command": command,
        "test_images": f"{result.test_images:,}",
        "result": result.words.result,
        "result_title": result.words.title,
        "class_result": result.words.class_result,
        "unit": result.words.unit,
        "has_void": result.words.has_class_maps,
        "miou_bars": _result_bars(result),
        "miou_notes": [
            trials_sentence(result.equal_cost, result.words) if result.equal_cost else "",
            head_sentence(result),
            interval_sentence(result),
            measured_text(result),
        ],
        "strips": strips(report_images, result.classes if result.words.is_pooled else ()),
        "texts": text_rows(report_texts),
        "samples": result.words.holds,
        "swatches": drawn_legend(result.classes, result.words),
        **_class_context(result),
        **confusion_context(result.confusion, result.classes),
        **_scatter_context(result),
        **_confirmation_context(result),
        "head_members": list(result.head_weights),
        "head_rows": _head_rows(result) if result.head_kept else [],
        "head_label": shown_name(result, LEARNED_HEAD),
        **_loss_context(result),
        "settings": _settings(result),
        "footer": f"muster {result.versions.get('muster', '')}".strip(),
    }
    return write_page("finetuning.html", path, context)


def _headline(result: FinetuneResult) -> str:
    images = result.words.samples(result.test_images, "test")
    if single_wins(result):
        return (
            f"A single model of equal cost reaches {number(result.results[EQUAL_COST])} {result.words.result} on "
            f"{images} of {result.target}, the ensemble {number(result.results[LEARNED_HEAD])}."
        )
    reached = f"{number(result.results[LEARNED_HEAD])} {result.words.result}"
    return f"{subject(result)} reaches {reached} on {images} of {result.target}."


def _comparison(result: FinetuneResult) -> str:
    """How that compares with the single best member, and who the members are."""
    who = f"{len(result.members)} member{'s' if len(result.members) != 1 else ''}: {', '.join(result.members)}."
    told = difference_sentence(result)
    if told and single_wins(result):  # the headline speaks of another model
        return f"{subject(result)} reaches {told} {who}"
    if told and len(result.members) == 1 and result.head_kept:
        return f"With the learned head it reaches {told}"
    return f"{told[0].upper()}{told[1:]} {who}" if told else who


def _figures(result: FinetuneResult) -> list[tuple[str, str, list[str]]]:
    """The few numbers to be read from afar, each with its interval and what it costs."""
    labels = {
        LEARNED_HEAD: shown_name(result, LEARNED_HEAD),
        PLAIN_MEAN: "plain mean",
        EQUAL_COST: "one model of equal cost",
        result.single_best: "best alone (B1)",
    }
    return [
        (label, number(result.results[name]), _beside(result, name))
        for name, label in labels.items()
        if name in result_names(result)
    ]


def _beside(result: FinetuneResult, name: str) -> list[str]:
    """The lines below an mIoU."""
    interval, cost = interval_text(result.result_intervals.get(name)), result.costs.get(name)
    error = error_text(result, name)
    return [line for line in (interval, error, cost_text(cost, result.words) if cost else "") if line]


def _colour(result: FinetuneResult, name: str) -> str:
    if name in (LEARNED_HEAD, PLAIN_MEAN):
        return BLUE
    if name == EQUAL_COST:
        return EQUAL_COST_COLOUR
    return ORANGE if name == result.single_best else MEMBER_COLOUR


def _result_bars(result: FinetuneResult) -> list[Bar]:
    bars = []
    for name in result_names(result):
        notes = [] if name in (LEARNED_HEAD, PLAIN_MEAN, EQUAL_COST, *result.members) else ["not in the ensemble"]
        notes += [_spent(result.equal_cost)] if name == EQUAL_COST and result.equal_cost else []
        notes += [error_text(result, name)] if name in result.errors else []
        notes += [cost_text(result.costs[name], result.words)] if name in result.costs else []
        interval = result.result_intervals.get(name)
        bars.append(
            Bar(
                "one model of equal cost" if name == EQUAL_COST else shown_name(result, name),
                result.results[name],
                number(result.results[name]),
                "#66aad1" if name == PLAIN_MEAN else _colour(result, name),
                strong=name == LEARNED_HEAD,
                note="; ".join(notes),
                tag="B1" if name == result.single_best else "",
                whisker=interval,
                range_text=interval_text(interval),
            )
        )
    return bars


def _spent(single: EqualCost) -> str:
    return f"{single.member}, {single.steps:,} steps, {spent_on_text(single.spent_on)}"


def _class_context(result: FinetuneResult) -> dict[str, object]:
    table = class_table(result)
    rows = []
    for label, share, *ious in table.rows:
        pixels = f"{100 * share:.1f} %" if isinstance(share, float) else ""
        rows.append(
            (
                label,
                [
                    Cell(pixels, "transparent"),
                    *(heat(iou if isinstance(iou, float) else None, digits=3) for iou in ious),
                ],
            )
        )
    return {
        "class_columns": table.columns[1:],
        "class_rows": rows,
        "dot_keys": _dot_keys(result),
        "dot_rows": [_dot_row(result, index) for index in range(len(result.scored_classes))],
    }


def _shape(result: FinetuneResult, name: str) -> str:
    if name == LEARNED_HEAD:
        return "full"
    if name == PLAIN_MEAN:
        return "ring"
    return "diamond" if name in (result.single_best, EQUAL_COST) else "ring small"


def _dot_keys(result: FinetuneResult) -> list[_Dot]:
    keys = []
    if LEARNED_HEAD in result_names(result):
        keys.append(_Dot(shown_name(result, LEARNED_HEAD), 0.0, "full", BLUE))
    if PLAIN_MEAN in result_names(result):
        keys.append(_Dot("plain mean", 0.0, "ring", BLUE))
    if result.single_best in result.results:
        keys.append(_Dot(f"{result.single_best} (B1)", 0.0, "diamond", ORANGE))
    if EQUAL_COST in result.results:
        keys.append(_Dot("one model of equal cost", 0.0, "diamond", EQUAL_COST_COLOUR))
    if any(_shape(result, name) == "ring small" for name in result_names(result)):
        keys.append(_Dot("the other members", 0.0, "ring", MEMBER_COLOUR))
    if result.predicted_class_ious is not None:
        keys.append(_Dot("predicted before fine-tuning", 0.0, "tick", "#1b2430"))
    return keys


def _dot_row(result: FinetuneResult, index: int) -> _DotRow:
    dots = []
    for name in reversed(result_names(result)):  # the learned head is drawn last, on top
        iou = result.class_ious[name][index]
        if iou is not None:
            dots.append(_Dot(shown_name(result, name), iou, _shape(result, name), _colour(result, name)))
    share = result.class_pixels[index] / max(sum(result.class_pixels), 1)
    note = f"{100 * share:.1f} % of the {result.words.unit}s" if dots else "not in the test split"
    predicted = result.predicted_class_ious[index] if result.predicted_class_ious else None
    return _DotRow(result.scored_classes[index], note, dots, predicted)


def _scatter_context(result: FinetuneResult) -> dict[str, object]:
    nothing: dict[str, object] = {"scatter": None, "scatter_note": ""}
    if result.predicted_class_ious is None:
        return nothing
    pairs = [
        (index, predicted, finetuned)
        for index, (predicted, finetuned) in enumerate(
            zip(result.predicted_class_ious, result.class_ious[LEARNED_HEAD], strict=True)
        )
        if predicted is not None and finetuned is not None
    ]
    if not pairs:
        return nothing
    svg = scatter_figure(
        [predicted for _, predicted, _ in pairs],
        [finetuned for _, _, finetuned in pairs],
        [result.classes[index] for index, _, _ in pairs],
        [hex_colour(index) for index, _, _ in pairs],
        result.words.class_result,
    )
    above = sum(finetuned > predicted for _, predicted, finetuned in pairs)
    combined = shown_name(result, LEARNED_HEAD)
    note = (
        f"{result.words.class_result} of each class: before fine-tuning, and with the {combined}. {above} of "
        f"{len(pairs)} came out better."
    )
    return {"scatter": svg_address(svg), "scatter_note": note}


def _confirmation_context(result: FinetuneResult) -> dict[str, object]:
    if result.confirmation is None:
        return {"confirmation": ""}
    table = confirmation_table(result.confirmation, result.words.result)
    rows = [
        [number(value) if isinstance(value, float) else NOTHING if value is None else str(value) for value in row]
        for row in table.rows
    ]
    chosen = [place for place, row in enumerate(table.rows) if row[1] == " + ".join(result.confirmation.chosen)]
    return {
        "confirmation": confirmation_sentence(result),
        "confirmation_columns": table.columns,
        "confirmation_rows": rows,
        "confirmation_chosen": chosen,
    }


def _head_rows(result: FinetuneResult) -> list[tuple[str, list[tuple[Cell, str]]]]:
    """Weights around 1, each with its bias; one row per class."""
    if not result.head_weights:
        return []
    offsets = [abs(weight - 1) for weights in result.head_weights.values() for weight in weights]
    scale = max(*offsets, 0.1)  # a head that learned nothing must not glow
    rows = []
    for index, label in enumerate(result.classes):
        cells = []
        for member, weights in result.head_weights.items():
            biases = result.head_biases.get(member)
            colour = heat(weights[index] - 1, scale).background
            cells.append((Cell(number(weights[index], 2), colour), _signed(biases[index]) if biases else ""))
        rows.append((label, cells))
    return rows


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "") + number(value, 2)


def _loss_context(result: FinetuneResult) -> dict[str, object]:
    courses = {name: course for name, course in result.losses.items() if course}
    if not courses:
        return {"loss_plot": None, "loss_keys": []}
    colours = distinct_colours(list(courses))
    return {
        "loss_plot": svg_address(loss_figure(courses, colours)),
        "loss_keys": [Swatch(name, colour) for name, colour in colours.items()],
    }


def _settings(result: FinetuneResult) -> list[tuple[str, str]]:
    """How the result came about; what an older record does not say is left out."""
    minutes, seconds = divmod(round(result.seconds), 60)
    predicted = ", ".join(f"{metric_label(metric)} {number(score)}" for metric, score in result.predicted.items())
    batch, size = result.batch_size, result.image_size
    entries = [
        (f"training {result.words.holds}", f"{result.train_images:,}"),
        (f"test {result.words.holds}", f"{result.test_images:,}"),
        ("steps", f"{result.steps:,}"),
        ("resumed", resumed_text(result)),
        ("learning rate", _rates(result)),
        ("batch size", "" if batch is None else f"{batch:,} {result.words.holds}"),
        (f"{result.words.sample} size", "" if size is None else str(ImageSize.of(size))),
        (f"each test {result.words.sample} is predicted", result.tta),
        ("seed", str(result.seed)),
        ("time", f"{minutes} min {seconds} s"),
        ("device", result.device + (f", precision {result.precision}" if result.precision else "")),
        ("date", date_text(result.date)),
        ("pool", result.pool),
        ("chosen by", metric_label(result.metric) if result.metric else ""),
        (
            "predictor",
            f"{predictor_label(result.predictor).removeprefix('the ')}; B1 is the best single member by its LEEP"
            if result.predictor
            else "",
        ),
        ("scores before fine-tuning", predicted or NOTHING),
        ("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
    ]
    return [(key, value) for key, value in entries if value]


def _rates(result: FinetuneResult) -> str:
    """One rate if all members have the same, otherwise each with its own; and by what they were chosen."""
    rates = result.learning_rates
    if not rates:
        return ""
    same = len(set(rates.values())) == 1
    used = f"{next(iter(rates.values())):g}" if same else ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
    if result.schedule:
        used += f", schedule {result.schedule}"
    if not result.held_out:
        return used
    tried = ", ".join(f"{rate:g}" for rate in next(iter(result.held_out.values())))
    by = f"each member's best by {result.words.result} on held-out training {result.words.holds}"
    if not result.stops:
        return f"{used} (of {tried}, {by})"
    ends = ", ".join(f"{name} {steps}" for name, steps in result.stops.items())
    return f"{used} (of {tried}); trained for these steps: {ends} ({by})"
