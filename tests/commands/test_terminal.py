"""What reaches the terminal: no control characters, whole numbers, warnings in our words."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.table import Table

from muster.commands.selection_summary import print_selection
from muster.commands.terminal import make_console, one_line, our_warnings, print_error, visible
from muster.commands.train import print_pool
from muster.pool import Pool
from muster.probe import ProbeCache
from tests.report.made_up import make_pool, make_selection

LONG = "abcdefghij" * 8
NASTY = "a\x1b[31mb\x07c\rd\x9be\u202ef\u2028g\udcffh"


@pytest.mark.parametrize("character", [chr(code) for code in (*range(9), *range(11, 32), 127, 0x9B, 0x202E, 0x2066)])
def test_no_control_character_is_left(character: str) -> None:
    assert character not in visible(f"a{character}b")
    assert visible(f"a{character}b").isprintable()


def test_letters_of_all_scripts_stay() -> None:
    text = "Straße 木 שלום 🚗 \tx\n"
    assert visible(text) == text


def test_a_message_is_one_line() -> None:
    assert one_line(" a\n  b\r\nc ") == "a b c"
    assert "\n" not in one_line(NASTY)


def test_whatever_is_printed_is_visible(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("names")
    table.add_row(NASTY)
    make_console().print(NASTY)
    make_console().print(table)
    make_console(stderr=True).print(NASTY, style="red")
    print_error(f"error: {NASTY}")
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "\\x1b[31m" in text
        assert not set(text) & set("\x1b\x07\r\x9b\u202e\u2028\udcff")


def test_names_are_no_markup_and_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("names")
    table.add_row("[red]fpn:car:x[/red]")
    make_console().print(table)
    make_console().print("[red]fpn:car:x[/red]")
    assert capsys.readouterr().out.count("[red]fpn:car:x[/red]") == 2


def _with_long_names(pool: Pool) -> Pool:
    members = (replace(each, card=replace(each.card, name=f"{each.card.name}-{LONG}")) for each in pool)
    return Pool(pool.folder, tuple(members))


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_list_of_a_pool_keeps_headings_and_numbers_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("muster.commands.terminal.WIDTH_OF_FILES", width)
    pool = _with_long_names(make_pool())
    print_pool(pool, make_console())
    printed = capsys.readouterr().out
    assert "…" not in printed
    for heading in ("member", "domain", "classes", "images", "parameters", "test mIoU", "majority"):
        assert heading in printed, heading
    for member in pool:
        card = member.card
        for number in (f"{card.test_result:.3f}", f"{card.majority_result:.3f}", f"{card.parameters / 1e6:.2f} M"):
            assert number in printed, number
        assert card.name[:12] in printed
    assert max(len(line) for line in printed.splitlines()[1:]) <= max(width, len(LONG) + 30 if width == 40 else 0)


@pytest.mark.parametrize("width", [40, 80, 140])
def test_a_selection_keeps_headings_and_numbers_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("muster.commands.terminal.WIDTH_OF_FILES", width)
    selection = make_selection()
    print_selection(selection, make_pool(), Path("folder"), make_console(), chosen_size=False)
    printed = capsys.readouterr().out
    assert "…" not in printed
    for heading in ("source mIoU", "LEEP on target", "rank", "members", "SoftIoU-EEP", "metric"):
        assert heading in printed, heading
    for score in selection.ranking.scores["soft_iou_eep"][selection.ranking.order("soft_iou_eep")[:3]]:
        assert f"{score:.4f}" in printed


def _put_two(folder: Path) -> None:
    for digit in "ab":
        ProbeCache(folder).put(digit * 64, torch.ones(2, 2))


def test_our_warnings_are_told_once_and_in_our_style(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with our_warnings():
            _put_two(tmp_path / "file")
    printed = capsys.readouterr().err
    assert printed.count("warning: Predictions are not kept for the next time") == 1
    assert ".py" not in printed
    assert "Warning" not in printed


def test_warnings_of_others_are_shown_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match="of somebody else"), our_warnings():
        warnings.warn("of somebody else", stacklevel=1)
    assert capsys.readouterr().err == ""


def test_helping_processes_do_not_warn_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with our_warnings():
            _put_two(tmp_path / "file")
    assert capsys.readouterr().err == ""


def test_a_terminal_that_lacks_letters_shows_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from muster.commands.cli import run

    bytes_written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(bytes_written, "ascii"))

    def say(configuration: str = "") -> int:
        """Say something."""
        make_console().print("Straße")
        return 0

    assert run(say, "say", None, []) == 0
    assert b"Stra\\xdfe" in bytes_written.getvalue()
