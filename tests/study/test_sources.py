"""``muster study sources``: the table of what members reach on their own sources."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from muster.commands.main import start
from muster.errors import ConfigError
from muster.study.sources import BEGIN, COLUMNS, END, put_on_page, read_sources, sources_as_markdown
from tests.helpers import make_pool


def row(dataset: str, architecture: str, pretraining: str, result: float) -> dict[str, object]:
    values = [f"{dataset}-x", dataset, architecture, pretraining, 128, 10, 5, 1_500_000, 60.0, 0.25, result]
    return dict(zip(COLUMNS, values, strict=True))


def test_datasets_are_rows_and_networks_columns_with_the_best_in_bold() -> None:
    table = pd.DataFrame(
        [
            row("b", "small_fpn", "none", 0.5),
            row("a", "small_fpn", "none", 0.125),
            row("b", "fpn:resnet18", "imagenet", 0.75),
            row("a", "fpn:resnet18", "w/places.safetensors", 0.0625),
            row("a", "fpn:resnet18", "imagenet", 0.0),
        ]
    )
    lines = sources_as_markdown(table).splitlines()
    assert lines[0] == "| dataset | majority class | small_fpn | fpn:resnet18, imagenet | fpn:resnet18, places |"
    assert lines[2] == "| b | 0.250 | 0.500 | **0.750** |  |"
    assert lines[3] == "| a | 0.250 | **0.125** | 0.000 | 0.062 |"
    assert lines[5].startswith("| network | members | parameters")
    assert "| small_fpn | 2 | 1.5 M | 128 | 60 |" in lines


def test_the_mean_is_over_datasets_that_all_networks_have() -> None:
    rows = [row(name, "small_fpn", start, 0.5) for name in "abc" for start in ("none", "imagenet")]
    told = sources_as_markdown(pd.DataFrame(rows[:-1]))
    assert "| mean of the 2 that all have |  | **0.500** | **0.500** |" in told
    assert "| mean of all |  | **0.500** | **0.500** |" in sources_as_markdown(pd.DataFrame(rows))


def test_the_command_fills_a_page_and_keeps_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool, page, kept = make_pool(tmp_path / "pool", 1), tmp_path / "page.md", tmp_path / "new" / "kept.csv"
    page.write_text(f"# Above\n\n{BEGIN}\nold\n{END}\n\nBelow.\n", "utf-8")
    asked = ["--pools", f"[{pool.folder}]", "--page", str(page)]
    assert start("study sources", arguments=[*asked, "--table", str(kept)]) == 0
    text = page.read_text("utf-8")
    assert text.startswith("# Above\n")
    assert text.endswith("Below.\n")
    assert "old" not in text
    member = next(iter(pool))
    assert f"{member.card.test_result:.3f}" in text
    assert list(read_sources(kept)["member"]) == [each.name for each in pool]
    assert start("study sources", arguments=[*asked, "--beside", f"[{kept}]"]) == 2
    assert f"of the same dataset and network: {member.name}, {member.name}" in capsys.readouterr().err
    assert start("study sources", arguments=["--pools", "[]"]) == 2
    assert "--pools: expected at least one" in capsys.readouterr().err


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{END}\n{BEGIN}\n", "utf-8")
    with pytest.raises(ConfigError, match="expected one line"):
        put_on_page(page, "tables")
    (tmp_path / "t.csv").write_text("member\nx\n", "utf-8")
    with pytest.raises(ConfigError, match="lacks the column"):
        read_sources(tmp_path / "t.csv")


def test_the_table_that_is_kept_of_the_small_networks_can_be_read() -> None:
    table = read_sources(Path(__file__).parents[2] / "docs/results/small_real/sources.csv")
    assert len(table) == 16
    assert set(table["pretraining"]) == {"none"}
