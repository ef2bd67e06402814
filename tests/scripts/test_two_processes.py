"""Two processes on the CPU that share one fit, started by torchrun or by Lightning, and one that does it alone."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
import torch
import yaml
from safetensors.torch import load_file

from muster.commands.cli import run as run_command
from muster.commands.finetune import finetune
from muster.commands.train import train
from muster.pool import Pool
from tests.scripts.conftest import Workplace
from tests.scripts.processes import TORCHRUN, run

FEW = ["--training.steps", "4"]
BOTH = ["--hardware.device", "cpu", "--hardware.devices", "2"]


@pytest.fixture(scope="module")
def alone(workplace: Workplace, selection: Path) -> Path:
    """A short fine-tuning in this process."""
    folder = workplace.home / "alone"
    _, *words = workplace.finetuning(folder)
    assert run_command(finetune, "finetune.py", None, [*words, "--selection", str(selection), *FEW]) == 0
    return folder


def require_same_weights(one: Path, two: Path) -> None:
    """Equal but for rounding: gradients and batch statistics must be those of the whole batch."""
    files = sorted(path.name for path in one.glob("*.safetensors"))
    assert files == sorted(path.name for path in two.glob("*.safetensors"))
    # Of the head only the predictions are compared: on images this easy its best weights are infinite.
    for name in set(files) - {"head.safetensors"}:
        first, second = load_file(one / name), load_file(two / name)
        for key, values in first.items():
            torch.testing.assert_close(second[key], values, rtol=1e-3, atol=1e-4, msg=lambda m, k=key: f"{k}: {m}")


def require_same_result(one: Path, two: Path) -> None:
    require_same_weights(one / "ensemble", two / "ensemble")
    results = [yaml.safe_load((folder / "result.yaml").read_text()) for folder in (one, two)]
    assert results[0]["members"] == results[1]["members"]
    assert results[0]["results"] == pytest.approx(results[1]["results"], abs=0.01)
    assert not (two / "work").exists()


def test_finetune_starts_its_second_process_itself(workplace: Workplace, selection: Path, alone: Path) -> None:
    folder = workplace.home / "two by Lightning"
    done = run([*workplace.finetuning(folder), "--selection", selection, *FEW, *BOTH], workplace.home)
    assert done.stdout.count("Next: python finetune.py --predict") == 1
    require_same_result(alone, folder)


@pytest.mark.slow  # test_finetune_starts_its_second_process_itself is not
def test_a_worker_starts_its_second_process_itself_which_has_no_validation_image(workplace: Workplace) -> None:
    plan = ["--plan.datasets", "[alpha]", "--plan.architectures", "[small_fpn]", *FEW, "--training.validate_every", "2"]
    one, two = workplace.home / "one for one member", workplace.home / "two for one member"
    held = ["--training.validation_fraction", "0.25"]  # of four images
    assert run_command(train, "train.py", None, [*workplace.training(one)[1:], *plan, *held]) == 0
    run([*workplace.training(two), *plan, *held, *BOTH], workplace.home)
    (first,), (second,) = Pool.open(one), Pool.open(two)
    require_same_weights(first.folder, second.folder)
    assert second.problem() is None
    assert second.card.test_result == pytest.approx(first.card.test_result, abs=0.01)
    assert not (two / "work").exists()
    tables = [pandas.read_csv(member.folder / "history.csv") for member in (first, second)]
    curves = [table["miou/alpha-small_fpn"].dropna() for table in tables]
    assert len(curves[0]) == 2
    assert curves[1].tolist() == pytest.approx(curves[0].tolist(), abs=0.01)


def test_processes_of_torchrun_choose_rates_and_learn_a_head_like_one(workplace: Workplace, selection: Path) -> None:
    choose = ["--training.learning_rates", "[0.02, 0.005]", "--head.optimizer", "sgd", "--head.steps", "4"]
    one, two = workplace.home / "rates", workplace.home / "rates for two"
    words = ["--selection", str(selection), *FEW, *choose]
    assert run_command(finetune, "finetune.py", None, [*workplace.finetuning(one)[1:], *words]) == 0
    loggers = ["--logger", "wandb,tensorboard"]
    done = run([*TORCHRUN, *workplace.finetuning(two), *words, *loggers], workplace.home)
    assert done.stdout.count("Next: python finetune.py --predict") == 1
    assert len(list((two / "wandb").glob("offline-run-*"))) == 1
    writers = {path.name.split(".")[-2] for path in (two / "tensorboard").glob("**/events.*")}  # time.host.PID.count
    assert len(writers) == 1
    require_same_result(one, two)
    first, second = (yaml.safe_load((folder / "result.yaml").read_text()) for folder in (one, two))
    assert first["learning_rates"] == second["learning_rates"]
    for name, values in first["held_out"].items():
        assert second["held_out"][name] == pytest.approx(values, abs=0.01)
    heads = [load_file(folder / "ensemble" / "head.safetensors")["weights"] for folder in (one, two)]
    torch.testing.assert_close(heads[1], heads[0], rtol=1e-2, atol=1e-2)
    history = pandas.read_csv(one / "history.csv")
    assert history["loss/learned head"].dropna().tolist() == pytest.approx(
        pandas.read_csv(two / "history.csv")["loss/learned head"].dropna().tolist(), abs=0.02
    )
