"""Recipes of fine-tuning side by side."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from muster.commands.study_recipes import compare
from muster.errors import ConfigError
from muster.models import TTASettings
from muster.selection.run import select
from muster.selection.settings import SelectionSettings
from muster.study.recipes import Recipe, RecipeRow, better_recipe, compare_recipes, recipes_as_markdown
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.helpers import make_pool, make_target

REPOSITORY = Path(__file__).parents[2]

ROW = RecipeRow("here", "a22", "a b", 9, 0.4, 0.5, 0.3, 0.0, math.nan, math.nan, 4, 2, 60.0, 0.1)


def test_the_shipped_recipes_are_read_and_shortened() -> None:
    modern, a22 = (Recipe.read(REPOSITORY / "configs" / "finetune" / f"{name}.yaml") for name in ("modern", "a22"))
    assert (modern.training.optimizer, modern.tta) == ("adamw", TTASettings(flip=True))
    assert (a22.training.optimizer, a22.head.optimizer, a22.tta) == ("sgd", "sgd", TTASettings())
    short = modern.shortened(100, 4).training
    assert (short.steps, short.batch_size, short.steps_of_warmup) == (100, 4, 5)
    counted = replace(modern, training=replace(modern.training, warmup_steps=20))
    assert counted.shortened(100, None).training.warmup_steps == 5
    assert modern.shortened(None, None) == modern


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {steps: 3}\nselection: here\n", "utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: expected only training, head, tta .* got selection"):
        Recipe.read(file)
    file.write_text("training: {stepz: 3}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: training.*stepz"):
        Recipe.read(file)


def test_the_better_recipe_is_better_on_average() -> None:
    other = replace(ROW, recipe="modern", learned_head=0.6, beyond_first=0.1, low=0.05, high=0.15)
    there = [replace(ROW, target="there", learned_head=0.5), replace(other, target="there", learned_head=0.45)]
    assert better_recipe([ROW, other, *there]) == "modern"
    assert better_recipe([ROW, replace(other, learned_head=0.5)]) == "a22"
    page = recipes_as_markdown([ROW, other])
    assert "| here | modern | 0.400 | 0.600 | +0.100 (+0.050 to +0.150) | 0.300 | 2 x 4 | 1.0 |" in page
    assert page.endswith("learned head: modern.\n")


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_two_recipes_on_a_target(dataset_folder: Path, tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", 3)
    training = {"steps": 2, "batch_size": 2, "crop_size": 32, "learning_rate": 0.01}
    for name, more, tta in (("plain", {}, {}), ("new", {"optimizer": "adamw", "tried_stops": 2}, {"flip": True})):
        content = {"training": training | more, "head": {"steps": 2, "pixels_per_image": 20}, "tta": tta}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content), "utf-8")
    choice = SelectionSettings(size=2, train_images=5, image_size=32, pixels_per_image=50)
    output = tmp_path / "recipes"
    files = (tmp_path / "plain.yaml", tmp_path / "new.yaml")
    assert (
        compare(tmp_path / "pool", (str(dataset_folder),), files, output, hardware=Hardware("cpu"), choice=choice) == 0
    )
    table = pd.read_csv(output / "recipes.csv")
    assert table["recipe"].tolist() == ["plain", "new"]
    assert table["fits"].tolist() == [1, 2]
    assert table["members"].nunique() == 1
    assert table["learned_head"].between(0, 1).all()
    assert table["beyond_first"][1] == pytest.approx(table["learned_head"][1] - table["learned_head"][0], abs=1e-5)
    assert not list(output.rglob("work"))
    assert "| tiny | new |" in (output / "recipes.md").read_text("utf-8")
    with pytest.raises(ConfigError, match="recipes of different names"):
        compare(tmp_path / "pool", (str(dataset_folder),), (files[0], files[0]), output)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_members_are_adapted_to_images_of_more_channels(tmp_path: Path) -> None:
    pool, target = make_pool(tmp_path / "pool", 2), make_target(4, channels=4)
    selection = select(pool, target, size=1, image_size=32, pixels_per_image=50)
    training, head = TrainingSettings(steps=1, batch_size=2, crop_size=32), HeadSettings(steps=1, pixels_per_image=5)
    recipes = [Recipe("short", training, head)]
    (row,) = compare_recipes(selection, pool, target, recipes, Hardware("cpu"), tmp_path)
    assert 0 <= row.learned_head <= 1
