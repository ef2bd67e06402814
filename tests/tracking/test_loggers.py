from __future__ import annotations

import csv
import os
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from muster.errors import ConfigError
from muster.report import finetuning_numbers, finetuning_tables, selection_numbers, selection_tables
from muster.tracking import KINDS, Chart, Content, LoggerKind, Run, TrackingSettings, close_loggers, make_loggers
from muster.tracking.kinds.mlflow_run import ADDRESS, MLflowLogger
from muster.tracking.kinds.weights_and_biases import tracking_mode
from muster.tracking.reports import send_report
from tests.report.made_up import CLASSES, make_image_of, make_pool, make_result, make_selection

CONFIG = {"rate": 0.1, "members": ("a", "b"), "out": Path("x"), "training": {"steps": 3}}
KNOWN = ("csv", "mlflow", "tensorboard", "wandb")


def run_in(folder: Path, name: str = "fit one") -> Run:
    return Run(folder, "finetune", name, "pool", "target", CONFIG)


def make_one(kind: str, folder: Path) -> Logger:
    (logger,) = make_loggers([kind], run_in(folder))
    return logger


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without a login anywhere, whom nothing may ask."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", ADDRESS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def never(*args: object) -> str:
        raise AssertionError("a prompt")

    monkeypatch.setattr("builtins.input", never)
    return tmp_path


def test_these_kinds_are_known() -> None:
    assert KINDS.names() == KNOWN
    assert len({kind.folder for kind in KINDS}) == len(KNOWN)


@pytest.mark.parametrize("kind", KNOWN)
def test_every_kind_writes_below_its_folder(kind: str, nobody: Path) -> None:
    """Curves, then the tables, numbers, images and files of a report, two runs side by side; then the run ends."""
    folder, record = nobody / "run ä", nobody / "record.yaml"
    record.write_text("members: []\n")
    for value in (1.0, 2.0):
        logger = make_one(kind, folder)
        assert [each for each in KINDS if each.made(logger)] == [KINDS[kind]]
        logger.log_metrics({"loss": value, "rate/0": 0.1}, step=0)
        logger.log_metrics({"loss": float("nan")}, step=1)
        result, image = make_result(), make_image_of(("a", "ensemble"), 4)
        numbers = {**finetuning_numbers(result), "unknown": float("nan")}
        send_report([logger], finetuning_tables(result), numbers, [image], CLASSES, [record, nobody / "missing"])
        close_loggers([logger], succeeded=value == 1.0)
    assert [path.name for path in folder.iterdir()] == [KINDS[kind].folder]
    runs = {"csv": "version_*", "tensorboard": "version_*", "wandb": "offline-run-*", "mlflow": "[0-9]*/*/meta.yaml"}
    assert len(list((folder / KINDS[kind].folder).glob(runs[kind]))) == 2


def test_csv_keeps_curves(tmp_path: Path) -> None:
    logger = make_one("csv", tmp_path)
    logger.log_metrics({"loss": 1.0}, step=0)
    close_loggers([logger])
    assert "1.0" in (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()


def test_tensorboard_holds_what_it_was_sent(tmp_path: Path) -> None:
    logger = make_one("tensorboard", tmp_path)
    logger.log_metrics({"loss": 0.5}, step=7)
    result, image = make_result(), make_image_of(("a", "ensemble"), 4)
    send_report([logger], finetuning_tables(result), finetuning_numbers(result), [image], CLASSES)
    close_loggers([logger])
    found = EventAccumulator(str(tmp_path / "tensorboard" / "version_0")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(7, 0.5)]
    assert found.Scalars("miou/ensemble")[0].value == pytest.approx(result.results["learned head"])
    (shown,) = found.Images(f"images/{image.identifier}")
    height, width = image.truth.shape
    assert (shown.height, shown.width) == (height, 5 * width + 8)  # image, truth, two predictions, confidence
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert "training:\n      steps: 3" in texts["config/text_summary"]
    assert "| learned head |" in texts["tables/miou/text_summary"]


def test_mlflow_holds_what_it_was_sent(nobody: Path) -> None:
    logger = make_one("mlflow", nobody)
    assert isinstance(logger, MLflowLogger)
    logger.log_metrics({"loss (sum)": 0.5}, step=7)
    selection, image = make_selection(), make_image_of(("a",), 4)
    record = nobody / "selection.yaml"
    record.write_text("metric: leep\n")
    tables = selection_tables(selection, make_pool())
    send_report([logger], tables, selection_numbers(selection), [image], CLASSES, [record])
    close_loggers([logger], succeeded=False)
    client, run_id = logger.client, logger.run_id
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FAILED", "fit one")
    assert (run.data.tags["muster.pool"], run.data.tags["muster.target"]) == ("pool", "target")
    assert run.data.params["training.steps"] == "3"
    assert [(each.step, each.value) for each in client.get_metric_history(run_id, "loss _sum_")] == [(7, 0.5)]
    assert run.data.metrics["selection/margin"] == selection.margin
    assert {each.path for each in client.list_artifacts(run_id)} == {
        "config.yaml",
        "images",
        "selection.yaml",
        "tables",
    }
    text = (nobody / "mlruns").rglob("members.csv")
    rows = list(csv.reader(next(text).read_text().splitlines()))
    assert rows[0][:3] == ["member", "chosen", "LEEP"]
    assert len(rows) == len(selection.member_scores) + 1
    assert len(client.list_artifacts(run_id, "images")) == 4  # image, truth, prediction, confidence


@pytest.mark.parametrize("kind", [kind for kind in KNOWN if kind != "csv"])
def test_figures_are_kept_where_they_can_be_looked_at(kind: str, nobody: Path) -> None:
    page, drawn = nobody / "tau.html", nobody / "tau.png"
    Image.new("RGB", (5, 3), "red").save(drawn)
    page.write_text("<title>tau</title>")
    logger = make_one(kind, nobody)
    send_report([logger], {}, {}, charts=[Chart("tau", drawn, page), Chart("gain", drawn)])
    close_loggers([logger])
    kept = [path for path in nobody.rglob("*") if path.is_file() and path not in (page, drawn)]
    if kind == "tensorboard":
        found = EventAccumulator(str(nobody / "tensorboard" / "version_0")).Reload()
        assert [(each.width, each.height) for each in found.Images("figures/tau")] == [(5, 3)]
    else:
        assert any(path.suffix == ".html" and path.read_text() == page.read_text() for path in kept)
        assert any(path.suffix == ".png" and Image.open(BytesIO(path.read_bytes())).size == (5, 3) for path in kept)


def test_mlflow_changes_nothing_of_the_process(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    close_loggers([make_one("mlflow", nobody / "a")])
    assert ADDRESS not in os.environ
    assert mlflow.get_tracking_uri() == before
    monkeypatch.setenv(ADDRESS, (nobody / "mine").as_uri())
    close_loggers([make_one("mlflow", nobody / "b")])
    assert (nobody / "mine").is_dir()
    assert not (nobody / "b").exists()


def test_a_store_that_fails_is_told_once_and_the_run_goes_on(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "nowhere://at.all")
    with pytest.warns(UserWarning, match=r"MLflow at nowhere://at.all .*is used instead"):
        logger = make_one("mlflow", nobody)
    assert isinstance(logger, MLflowLogger)
    logger.client.delete_run(logger.run_id)  # the store takes nothing of a run that was deleted
    with pytest.warns(UserWarning, match="takes nothing more of this run"):
        logger.log_metrics({"loss": 1.0}, step=0)
    logger.log_metrics({"loss": 1.0}, step=1)  # a second warning would be an error here
    close_loggers([logger])


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ("csv", ("csv",)),
        ("wandb", ("csv", "wandb")),
        ("tensorboard, csv,tensorboard", ("csv", "tensorboard")),
        (("mlflow", "wandb"), ("csv", "mlflow", "wandb")),
        ((), ("csv",)),
    ],
)
def test_several_at_once(given: str | tuple[str, ...], kinds: tuple[str, ...]) -> None:
    assert TrackingSettings(given).kinds == kinds


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown logger 'tensorbord'. Did you mean 'tensorboard'\?"):
        TrackingSettings("csv,tensorbord")
    with pytest.raises(ConfigError, match="'wandb'"):
        make_loggers(["wandbb"], run_in(Path()))


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr("muster.tracking.kinds.kind.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "muster\[mlflow\]"'):
        TrackingSettings("mlflow")
    TrackingSettings("csv,wandb")  # these come with muster


def test_a_kind_of_ones_own(tmp_path: Path) -> None:
    class Notes(LoggerKind):
        folder = "notes"

        def open(self, run: Run) -> CSVLogger:
            return CSVLogger(run.folder, name=self.folder)

        def made(self, logger: Logger) -> bool:
            return isinstance(logger, CSVLogger) and logger.name == self.folder

        def send(self, logger: Logger, content: Content) -> None:
            (tmp_path / "notes.txt").write_text(str(content.finite()))

    KINDS.add("notes", Notes())
    try:
        loggers = make_loggers(TrackingSettings("notes").kinds, run_in(tmp_path))
        send_report(loggers, {}, {"miou": np.float64(0.5)})
        close_loggers(loggers)
    finally:
        KINDS.remove("notes")
    assert (tmp_path / "notes.txt").read_text() == "{'miou': 0.5}"


def test_offline_without_a_login(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_mode() == "offline"
    (nobody / "netrc").write_text("machine example.org login u password p\n")
    assert tracking_mode() == "offline"
    (nobody / "netrc").write_text("machine api.wandb.ai login user password 0123456789\n")
    assert tracking_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking_mode() == "offline"
    monkeypatch.delenv("WANDB_MODE")
    (nobody / "netrc").write_text("")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert tracking_mode() == "online"


def test_broken_netrc_is_no_login(nobody: Path) -> None:
    (nobody / "netrc").write_text("machine machine machine")
    assert tracking_mode() == "offline"


def test_wandb_links_runs_by_pool_and_target(nobody: Path) -> None:
    tracker = make_one("wandb", nobody)
    assert isinstance(tracker, WandbLogger)
    run = tracker.experiment
    assert (run.project, run.group, run.name, run.job_type) == ("muster", "pool-target", "fit one", "finetune")
    assert set(run.tags) == {"pool:pool", "target:target"}
    assert (run.config["pool"], run.config["target"], run.config["members"]) == ("pool", "target", ["a", "b"])
    selection, result = make_selection(), make_result()
    tables = selection_tables(selection, make_pool()) | finetuning_tables(result)
    record = nobody / "result.yaml"
    record.write_text("seed: 0\n")
    image = make_image_of(("a", "ensemble"), 4)
    send_report([tracker], tables, finetuning_numbers(result), [image], CLASSES, [record])
    assert run.summary["miou/ensemble"] == result.results["learned head"]
    close_loggers([tracker])
    files = [path for path in (nobody / "wandb").glob("offline-run-*/**/*") if path.is_file()]
    assert any(path.suffix == ".wandb" and path.stat().st_size > 0 for path in files)
    assert sum("table" in path.name for path in files) == len(tables)
    assert sum(path.suffix == ".png" for path in files) >= 4  # image, confidence, two or more masks


def test_long_names_are_cut_for_wandb(nobody: Path) -> None:
    run = Run(nobody, "train", "m" * 100, "p" * 100, "source / ä", {})
    (tracker,) = make_loggers(["wandb"], run)
    assert isinstance(tracker, WandbLogger)
    assert max(map(len, tracker.experiment.tags)) == 64
    record = nobody / "card.yaml"
    record.write_text("name: m\n")
    send_report([tracker], {}, {"miou": 0.5}, files=[record])
    close_loggers([tracker])


def test_each_fit_has_a_run_of_its_own(nobody: Path) -> None:
    first, second = make_one("wandb", nobody), make_one("wandb", nobody)
    assert isinstance(first, WandbLogger)
    assert isinstance(second, WandbLogger)
    assert first.experiment.id != second.experiment.id
    close_loggers([first, second])


def test_other_ranks_open_no_run(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert [type(logger) for logger in make_loggers(KNOWN, run_in(nobody))] == [CSVLogger]
