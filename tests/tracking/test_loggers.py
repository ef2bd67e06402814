from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from muster.errors import ConfigError
from muster.report import finetuning_tables, selection_tables
from muster.tracking import close_loggers, make_logger, tracking_mode
from muster.tracking.tables import log_tables
from tests.report.made_up import CLASSES, make_image_of, make_pool, make_result, make_selection

CONFIG = {"rate": 0.1, "members": ("a", "b"), "out": Path("x")}


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without a login, on a machine whose only reachable host is itself."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        if (
            self.family != socket.AF_UNIX
            and isinstance(address, tuple)
            and address[0] not in ("127.0.0.1", "::1", "localhost")
        ):
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    def never(*args: object) -> str:
        raise AssertionError("a prompt")

    monkeypatch.setattr(socket.socket, "connect", local_only)
    monkeypatch.setattr("builtins.input", never)
    return tmp_path


def test_csv_alone(tmp_path: Path) -> None:
    loggers = make_logger("csv", tmp_path, "muster", "pool/target", "fit", CONFIG)
    assert [type(logger) for logger in loggers] == [CSVLogger]
    loggers[0].log_metrics({"loss": 1.0}, step=0)
    close_loggers(loggers)
    assert "1.0" in (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()


def test_a_second_fit_keeps_the_record_of_the_first(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        loggers = make_logger("csv", tmp_path, "muster", "g", "fit", {})
        loggers[0].log_metrics({"loss": value}, step=0)
        close_loggers(loggers)
    assert sorted(path.parent.name for path in tmp_path.rglob("metrics.csv")) == ["version_0", "version_1"]


def test_unknown_logger_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'wandb'"):
        make_logger("wandbb", Path(), "p", "g", "n", {})


def test_tables_without_a_tracker_go_nowhere(tmp_path: Path) -> None:
    loggers = make_logger("csv", tmp_path, "muster", "g", "fit", {})
    log_tables(loggers, finetuning_tables(make_result()))
    assert not list(tmp_path.rglob("*.json"))


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


def test_wandb_offline_run(nobody: Path) -> None:
    folder = nobody / "run ä"
    loggers = make_logger("wandb", folder, "muster", "pool/target", "fit one", CONFIG)
    assert [type(logger) for logger in loggers] == [CSVLogger, WandbLogger]
    tracker = loggers[1]
    assert isinstance(tracker, WandbLogger)
    run = tracker.experiment
    assert (run.project, run.group, run.name) == ("muster", "pool/target", "fit one")
    assert run.config["members"] == ["a", "b"]
    for logger in loggers:
        logger.log_metrics({"loss": 1.0}, step=0)
    selection, result = make_selection(), make_result()
    tables = selection_tables(selection, make_pool()) | finetuning_tables(result)
    log_tables(loggers, tables, [make_image_of(("a", "ensemble"), 4)], CLASSES)
    close_loggers(loggers)
    files = [path for path in (folder / "wandb").glob("offline-run-*/**/*") if path.is_file()]
    assert any(path.suffix == ".wandb" and path.stat().st_size > 0 for path in files)
    assert sum("table" in path.name for path in files) == len(tables)
    assert sum(path.suffix == ".png" for path in files) >= 4  # image, confidence, two or more masks


def test_each_fit_has_a_run_of_its_own(nobody: Path) -> None:
    first = make_logger("wandb", nobody, "muster", "g", "one", {})
    second = make_logger("wandb", nobody, "muster", "g", "two", {})
    assert isinstance(first[1], WandbLogger)
    assert isinstance(second[1], WandbLogger)
    assert first[1].experiment.id != second[1].experiment.id
    close_loggers(first)
    close_loggers(second)


def test_other_ranks_open_no_run(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert [type(logger) for logger in make_logger("wandb", nobody, "muster", "g", "fit", {})] == [CSVLogger]
