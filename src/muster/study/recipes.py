"""Recipes of fine-tuning side by side: the same members, the same images, the same test split."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from muster.data import Dataset, require_usable
from muster.errors import ConfigError
from muster.files import read_yaml
from muster.markdown import markdown_table
from muster.models import TTASettings
from muster.pool import Pool
from muster.records import parse_record
from muster.selection.record import Selection
from muster.tasks.task import in_classes
from muster.training.clock import Clock, Progress
from muster.training.costs import measure_costs
from muster.training.evaluation import SplitCounts
from muster.training.finetuning import (
    build_ensemble,
    evaluate,
    fit_members,
    forget_checkpoint,
    load_members,
    require_fittable,
    with_baseline,
)
from muster.training.hardware import Hardware
from muster.training.intervals import differences_to
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN
from muster.training.settings import HeadSettings, TrainingSettings
from muster.training.target_data import TargetData, target_data

Part = TypeVar("Part")


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune, how to combine, how to predict.

    Attributes:
        name: The name of its file, without the ending.
        training: How members are fine-tuned.
        head: How their head is learned.
        tta: In which ways the ensemble predicts an image.
    """

    name: str
    training: TrainingSettings = TrainingSettings()  # noqa: RUF009 (frozen)
    head: HeadSettings = HeadSettings()  # noqa: RUF009 (frozen)
    tta: TTASettings = TTASettings()  # noqa: RUF009 (frozen)

    @staticmethod
    def read(path: Path) -> Recipe:
        """Read a file that ``finetune.py --config`` takes; it may only say how to fine-tune, not what.

        Args:
            path: The YAML file.

        Raises:
            ConfigError: If it cannot be read, or says something else.
        """
        content, known = read_yaml(path, ConfigError), ("training", "head", "tta")
        if others := sorted(set(content) - set(known)):
            raise ConfigError(f"{path}: expected only {', '.join(known)} in a recipe, but got {', '.join(others)}.")

        def part(key: str, kind: type[Part]) -> Part:
            return parse_record(content.get(key) or {}, kind, f"{path}: {key}", ConfigError)

        return Recipe(
            path.stem, part("training", TrainingSettings), part("head", HeadSettings), part("tta", TTASettings)
        )

    def shortened(self, steps: int | None, batch_size: int | None) -> Recipe:
        """The same with other steps and batches; the warm-up keeps its share of the steps.

        Args:
            steps: Steps of each fit; ``None`` for its own.
            batch_size: Images per step; likewise.
        """
        own = self.training
        wanted = steps or own.steps
        warm = math.ceil(own.warmup_steps * wanted / own.steps) if own.warmup_steps >= 1 else own.warmup_steps
        training = replace(own, steps=wanted, batch_size=batch_size or own.batch_size, warmup_steps=warm)
        return replace(self, training=training)


@dataclass(frozen=True)
class RecipeRow:
    """What a recipe reached on a target.

    Attributes:
        target: Name of the target.
        recipe: Name of the recipe.
        members: The members of the ensemble, between spaces.
        train_images: Target training images.
        plain_mean: Test mIoU of the mean of its members' probabilities.
        learned_head: Test mIoU with the learned head.
        single_best: Test mIoU of B1, fine-tuned likewise.
        beyond_first: mIoU with the learned head beyond that of the first recipe; 0 for it.
        low: Lower end of the paired 95 % interval of that over the test images; NaN where there is none.
        high: Upper end.
        steps: Optimizer steps of the longest of its fits.
        fits: How many fits it took, those included that choose rates and steps.
        seconds: Time of all fits.
        seconds_per_image: Time of the ensemble's forward passes for an image, test-time augmentation included.
    """

    target: str
    recipe: str
    members: str
    train_images: int
    plain_mean: float
    learned_head: float
    single_best: float
    beyond_first: float
    low: float
    high: float
    steps: int
    fits: int
    seconds: float
    seconds_per_image: float


def compare_recipes(
    selection: Selection,
    pool: Pool,
    dataset: Dataset,
    recipes: Sequence[Recipe],
    hardware: Hardware,
    folder: Path,
    progress: Progress | None = None,
) -> Iterator[RecipeRow]:
    """Fine-tune one selection with each recipe; interrupted, the same call goes on within the fit at hand.

    Args:
        selection: What was chosen for the target, the same for all recipes.
        pool: What it was chosen from.
        dataset: The target.
        recipes: At least one; the first is what the others are compared with.
        hardware: What to compute on.
        folder: Checkpoints go below it.
        progress: Told how far the fits are.

    Yields:
        A row for each recipe, in their order.
    """
    target = target_data(selection, dataset)
    require_usable(in_classes(target.train))
    require_usable(in_classes(dataset.test))
    pool = pool.used_for(dataset.spec)
    first: SplitCounts | None = None
    for recipe in recipes:
        place = folder / dataset.spec.name / recipe.name
        row, counts = _one_row(selection, pool, target, recipe, hardware, place, progress)
        first = first or counts
        if first is not counts:
            there = differences_to("first", {"first": first, "this": counts}, recipe.training.seed)["this"]
            low, high = (math.nan if end is None else end for end in (there.low, there.high))
            row = replace(row, beyond_first=there.result, low=low, high=high)
        yield row


def _one_row(
    selection: Selection,
    pool: Pool,
    target: TargetData,
    recipe: Recipe,
    hardware: Hardware,
    folder: Path,
    progress: Progress | None,
) -> tuple[RecipeRow, SplitCounts]:
    names = with_baseline(selection)
    module = EnsembleTraining(recipe.training, len(selection.classes))
    module.set_members(names, load_members(pool, names))
    require_fittable(module, target, hardware)
    clock, begin = Clock(progress or _nothing), time.monotonic()
    weights = {"weights": {name: pool[name].card.checksum for name in names}}
    fit_members(module, target, folder, hardware, [clock], depends_on=weights, reload=partial(load_members, pool))
    seconds = max(clock.seconds, time.monotonic() - begin)
    ensemble = build_ensemble(module, selection.members, target, hardware, recipe.head, folder, tta=recipe.tta)
    counts = evaluate(module, ensemble, target, hardware)
    costs, _ = measure_costs(module, ensemble, target.test_shape, hardware)
    forget_checkpoint(folder)
    reached = {name: each.result for name, each in counts.items()}
    row = RecipeRow(
        target=target.dataset.spec.name,
        recipe=recipe.name,
        members=" ".join(ensemble.names),
        train_images=len(target.train),
        plain_mean=reached[PLAIN_MEAN],
        learned_head=reached[LEARNED_HEAD],
        single_best=reached[selection.single_best],
        beyond_first=0.0,
        low=math.nan,
        high=math.nan,
        steps=recipe.training.steps,
        fits=len(recipe.training.tried_rates) + 1,
        seconds=round(seconds, 1),
        seconds_per_image=costs[LEARNED_HEAD].seconds_per_image,
    )
    return row, counts[LEARNED_HEAD]


def _nothing(done: int, loss: float) -> None:
    """Tell nobody how far a fit is."""


def better_recipe(rows: Sequence[RecipeRow]) -> str:
    """The recipe whose mean mIoU over the targets, with the learned head, is largest; of equal ones the first."""
    means: dict[str, float] = {}
    for name in dict.fromkeys(row.recipe for row in rows):
        reached = [row.learned_head for row in rows if row.recipe == name]
        means[name] = sum(reached) / len(reached)
    return max(means, key=lambda name: means[name])


def recipes_as_markdown(rows: Sequence[RecipeRow]) -> str:
    """The rows as a table, and which recipe did better.

    Args:
        rows: At least one.
    """
    headings = [
        *("target", "recipe", "plain mean", "learned head", "beyond the first, 95 % interval", "B1", "fits x steps"),
        "minutes",
    ]
    cells = [
        [
            row.target,
            row.recipe,
            f"{row.plain_mean:.3f}",
            f"{row.learned_head:.3f}",
            "" if math.isnan(row.low) else f"{row.beyond_first:+.3f} ({row.low:+.3f} to {row.high:+.3f})",
            f"{row.single_best:.3f}",
            f"{row.fits} x {row.steps}",
            f"{row.seconds / 60:.1f}",
        ]
        for row in rows
    ]
    targets = len({row.target for row in rows})
    told = f"Larger mean over {targets} target{'s' if targets > 1 else ''}, learned head: {better_recipe(rows)}."
    return "\n".join([*markdown_table(headings, cells), "", told, ""])
