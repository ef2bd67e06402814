"""The command ``muster study recipes``: recipes of fine-tuning side by side on several targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.data import open_dataset
from muster.errors import ConfigError
from muster.execution.progress import fit_progress
from muster.files import write_table, write_text
from muster.limits import require_whole
from muster.output_kinds import RECIPES
from muster.outputs import Inputs, claimed
from muster.pool import Pool
from muster.selection.run import select
from muster.selection.settings import SelectionSettings
from muster.study.recipes import Recipe, RecipeRow, compare_recipes, recipes_as_markdown
from muster.training.hardware import Hardware

TABLE, PAGE = "recipes.csv", "recipes.md"


def compare(
    pool: Path,
    targets: tuple[str, ...],
    recipes: tuple[Path, ...],
    output: Path,
    steps: int | None = None,
    images_per_step: int | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    choice: Spread[SelectionSettings] = SelectionSettings(),  # noqa: B008 (frozen)
    configuration: str = "",
) -> int:
    """Compare recipes of fine-tuning: for each target one selection, fine-tuned with each of them.

    After each recipe the tables of all so far are written.

    Args:
        pool: What members are chosen from.
        targets: Datasets to choose for: worlds/NAME, or folders of datasets.
        recipes: Files that finetune.py --config takes; the others are compared with the first.
        output: Folder of the comparison: recipes.csv, recipes.md.
        steps: Steps of each fit in place of the recipes' own; a warm-up keeps its share of them.
        images_per_step: Images per step in place of the recipes' own.
        hardware: What to compute on.
        choice: How to choose: all options of select.py.
        configuration: The resolved configuration, saved as config.yaml.

    Returns:
        0.

    Raises:
        ConfigError: If there is nothing to compare, or a recipe cannot be read.
    """
    for name, value in (("steps", steps), ("images_per_step", images_per_step)):
        if value is not None:
            require_whole(name, value)
    read = [Recipe.read(path).shortened(steps, images_per_step) for path in recipes]
    names = [recipe.name for recipe in read]
    if not targets or not read or len(set(names)) < len(names):
        came = f"targets {', '.join(targets) or 'none'} and recipes {', '.join(names) or 'none'}"
        raise ConfigError(f"Expected at least one target, and recipes of different names, but got {came}.")
    opened, datasets = Pool.open(pool), [open_dataset(target, choice.data_root) for target in targets]
    inputs: Inputs = {"--pool": pool, "--data_root": choice.data_root}
    inputs = {**inputs, **{f"target {dataset.spec.name}": dataset.reference for dataset in datasets}}
    console, rows = make_console(), list[RecipeRow]()
    with claimed(output, RECIPES, inputs):
        for dataset in datasets:
            selection = select(opened, dataset, choice)
            total = sum(recipe.training.total_steps for recipe in read)
            with fit_progress(console, total, f"Fine-tuning for {dataset.spec.name}.") as progress:
                for row in compare_recipes(selection, opened, dataset, read, hardware, output, progress):
                    rows.append(row)
                    _write(output, rows, configuration)
        console.print(recipes_as_markdown(rows))
    return 0


def _write(output: Path, rows: Sequence[RecipeRow], configuration: str) -> None:
    write_table(output / TABLE, pd.DataFrame([asdict(row) for row in rows]))
    write_text(output / "config.yaml", configuration)
    write_text(output / PAGE, recipes_as_markdown(rows))
