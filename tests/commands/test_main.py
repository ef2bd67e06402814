"""The console command ``muster``: it starts what the scripts start, with the same options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import muster
from muster.commands.cli import build_parser
from muster.commands.main import COMMANDS, main
from tests.odd_inputs.bench import Bench

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))


def test_the_list_of_commands_has_each_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed and command.summary in printed for name, command in COMMANDS.items())
    assert main(["--version"]) == 0
    assert muster.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a command: train, select"),
        (["selct"], "'selct' is no command. Did you mean select?"),
        (["--size"], "The commands are train"),
        (["study", "--sise", "3"], "muster study: error: --sise is no option"),
        (["study", "recipes", "--size", "3", "--sise", "3"], "muster study recipes: error: --sise is no option"),
    ],
)
def test_mistakes_are_one_clear_message(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_options_and_help(name: str) -> None:
    command = COMMANDS[name]
    shown = build_parser(command.function(), name, command.default_config()).format_help()
    assert "--config" in shown
    assert (command.function().__doc__ or "").splitlines()[0] in " ".join(shown.split())


def test_the_list_of_commands_needs_no_library_of_models() -> None:
    code = "import sys\nfrom muster.commands.main import main\nmain(['--help'])\nprint('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_from_a_pool_to_predictions(stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what to type next, and that is what it would be typed as."""
    bench = Bench(tmp_path, stock)
    capsys.readouterr()
    _, *words = bench.selecting("--output", "chosen", target=str(stock / "tiny"))
    assert main(["select", *words]) == 0
    assert "Next: muster finetune --selection chosen" in capsys.readouterr().out
    assert "muster finetune --selection" in Path("chosen/report.html").read_text("utf-8")
    _, *words = bench.finetuning(selection="chosen")
    assert main(["finetune", *words]) == 0
    assert "Next: muster predict --images FOLDER_OF_IMAGES --ensemble tuned" in capsys.readouterr().out
    images, device = str(stock / "tiny" / "test" / "images"), ["--hardware.device", "cpu"]
    assert main(["predict", "--images", images, "--ensemble", "tuned", *device, "--output", "here"]) == 0
    assert [path.name for path in sorted(Path("here/masks").iterdir())] == ["0.png", "1.png"]
    with Image.open("here/masks/0.png") as mask:
        assert mask.size == (64, 64)
    saved = yaml.safe_load(Path("here/config.yaml").read_text())
    assert saved == {
        "images": images, "ensemble": "tuned", "output": "here", "hardware": {"device": "cpu", "precision": "32-true"},
        "tile": "auto", "overlays": True, "probabilities": False, "confidence": False, "uncertainty": False,
        "least_score": 0.3, "nms": None,
    }  # fmt: skip
    assert main(["predict", "--images", images, "--hardware.devices", "2"]) == 2
    assert "--hardware.devices has no effect on prediction" in capsys.readouterr().err


def test_predict_without_an_ensemble_names_the_command_that_makes_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--images", "."]) == 2
    assert "There is no ensemble below runs/finetunings yet. Run muster finetune first" in capsys.readouterr().err
