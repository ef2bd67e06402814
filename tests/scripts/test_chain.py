"""train.py, select.py, finetune.py, one after the other, from the root of the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from muster.pool import Pool
from muster.selection.record import Selection
from tests.scripts.conftest import Workplace
from tests.scripts.processes import ROOT, run_here

MEMBERS = ["alpha-small_fpn", "alpha-small_unet", "beta-small_fpn", "beta-small_unet"]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_train_writes_whole_members_and_nothing_else(pool: Path) -> None:
    opened = Pool.open(pool)
    assert [member.name for member in opened] == MEMBERS
    assert [member.problem() for member in opened] == [None] * 4
    assert sorted(path.name for path in pool.iterdir()) == [".muster", "config.yaml", "logs", "members", "splits"]
    assert all(member.card.test_result > member.card.majority_result for member in opened)
    for member in opened:
        found = EventAccumulator(str(pool / "logs" / member.name / "tensorboard" / "version_0")).Reload()
        assert found.Scalars("miou/source test")[0].value == pytest.approx(member.card.test_result)
        assert len([tag for tag in found.Tags()["scalars"] if "loss" in tag]) > 0


def test_select_writes_a_selection(selection: Path) -> None:
    chosen = Selection.load(selection)
    assert chosen.target == "gamma"
    assert len(chosen.members) == 2
    assert set(chosen.member_scores) == set(MEMBERS)
    assert files_below(selection) == [
        ".muster",
        "config.yaml",
        "ranking.parquet",
        "report.html",
        "selection.yaml",
        "splits.yaml",
    ]


def test_finetune_writes_an_ensemble_and_a_report(selection: Path, finetuned: Path) -> None:
    chosen = Selection.load(selection)
    result = yaml.safe_load((finetuned / "result.yaml").read_text())
    assert tuple(result["members"]) == chosen.members
    assert set(result["results"]) == {*chosen.members, chosen.single_best, "plain mean", "learned head"}
    assert result["results"]["learned head"] > 0.5  # stripes of three colours are easy
    assert result["resumed_at_steps"] == []
    assert (result["batch_size"], result["seed"]) == (4, 0)
    assert set(result["learning_rates"].values()) == {0.01}
    assert set(result["costs"]) == set(result["result_intervals"]) == set(result["results"])
    assert "<html" in (finetuned / "report.html").read_text()
    assert (finetuned / "ensemble" / "ensemble.yaml").is_file()
    assert not (finetuned / "work").exists()


def test_predict_writes_what_it_can_and_names_what_it_cannot_read(
    workplace: Workplace, finetuned: Path, tmp_path: Path
) -> None:
    images = tmp_path / "meine Bilder"
    images.mkdir()
    generator = np.random.default_rng(0)
    sizes = {"wide": (31, 97), "tall": (130, 5), "dot": (1, 1)}
    for name, (height, width) in sizes.items():
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{name}.png")
    Image.fromarray(generator.integers(0, 255, (40, 50), dtype=np.uint8)).save(images / "grey.png")
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of an image")
    output = tmp_path / "out"
    options = ["--predict", images, "--ensemble", finetuned, "--output", output]
    printed = run_here(["finetune.py", *options], workplace.home, status=1)
    assert "Predicted 4 of 5 images" in printed
    assert "broken.jpg" in printed
    expected = {**sizes, "grey": (40, 50)}
    assert files_below(output) == sorted(
        [
            ".muster",
            "classes.txt",
            "config.yaml",
            *(f"masks/{name}.png" for name in expected),
            *(f"overlays/{name}.jpg" for name in expected),
        ]
    )
    for name, (height, width) in expected.items():
        mask = Image.open(output / "masks" / f"{name}.png")
        assert mask.size == (width, height)
        assert np.asarray(mask).max() < 3


def test_another_metric_reads_no_image_and_runs_no_member_again(
    workplace: Workplace, pool: Path, selection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept is served: false numbers put in its place are what the next selection is made of."""
    from safetensors.torch import load_file, save_file

    from muster.commands.cli import run as run_command
    from muster.commands.select import select_ensemble

    cache = workplace.home / "cache"
    kept = sorted(cache.iterdir())
    assert len(kept) == 2 * len(MEMBERS)  # what each says of its own classes, and of the target's
    for path in kept:
        found = load_file(path)
        name = "probabilities" if "probabilities" in found else "predictions"
        save_file({**found, name: found[name] * 0 + 1 / found[name].shape[1]}, path)
    output = workplace.home / "again"
    arguments = ["--pool", str(pool), "--target", str(workplace.target), "--size", "2", "--pixels_per_image", "200"]
    # By MS-LEEP itself nothing could be chosen then: all candidates tie.
    arguments += ["--metric", "base", "--metrics", "[ms_leep]", "--output", str(output), "--cache_dir", str(cache)]
    assert run_command(select_ensemble, "select.py", None, arguments) == 0
    scores = Selection.load(output).member_scores
    assert len(set(scores.values())) == 1, "members that say the same everywhere must score alike"
    assert len(set(Selection.load(selection).member_scores.values())) == len(MEMBERS)
    clearing = ["--clear_cache", "--cache_dir", str(cache)]
    assert run_command(select_ensemble, "select.py", ROOT / "configs" / "select" / "default.yaml", clearing) == 0
    assert list(cache.iterdir()) == []
    assert "Emptied the cache" in capsys.readouterr().out


def test_the_saved_configurations_are_complete(pool: Path, finetuned: Path) -> None:
    training = yaml.safe_load((pool / "config.yaml").read_text())
    assert training["training"]["momentum"] == 0.9  # a default
    assert training["plan"]["datasets"] == ["alpha", "beta"]
    assert yaml.safe_load((finetuned / "config.yaml").read_text())["training"]["crop_size"] == 64


def test_nothing_was_written_into_the_repository(finetuned: Path) -> None:
    assert ROOT not in finetuned.parents
    assert not (ROOT / "runs" / "selections" / "gamma-pool").exists()
