"""The runner of benchmarks, its results file and table; and that plain metrics compute what ours do."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.apart import apart
from benchmarks.metrics import Problem, cases
from benchmarks.plain_metrics import plain_logme
from benchmarks.requirements import FOLDER_VARIABLE, MissingRequirementError, scratch_folder
from benchmarks.runner import BENCHMARKS, Benchmark, measure, merge, read, write
from benchmarks.search import measure_streamed
from benchmarks.summary import Row, rows
from benchmarks.timing import megabytes_on_top, peak_megabytes
from muster.metrics import logme

PROBLEM = Problem.made_up(120, 12, 3, 50)
COMPARED = {case.name: case for case in cases(PROBLEM, 50) if case.plain is not None}
LOOSE = {
    "logme": 1e-3,  # the plain version stops early
    "parc_one_hot": 2e-2,  # correlations that should tie differ by rounding in the plain version
}


def broken() -> dict:
    raise RuntimeError("out of order")


@pytest.mark.parametrize("name", COMPARED)
def test_plain_metrics_agree_with_ours(name: str) -> None:
    case = COMPARED[name]
    value = case.plain()
    assert abs(value) > 1e-3
    assert value != 1.0
    assert case.ours() == pytest.approx(value, rel=LOOSE.get(name, 1e-10))


def test_all_that_take_long_when_written_plainly_are_compared() -> None:
    assert {"n_leep", "logme", "gbc", "gbc_spherical", "parc", "rsa", "dds", "knn_accuracy"} <= set(COMPARED)


def test_plain_logme_run_to_the_end() -> None:
    plain = plain_logme(PROBLEM.features, PROBLEM.labels, steps=1000, tolerance=1e-13)
    assert logme(PROBLEM.features, PROBLEM.labels) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_small_sizes_are_sizes(name: str) -> None:
    signature = inspect.signature(BENCHMARKS[name].function)
    signature.bind(**BENCHMARKS[name].small)
    assert all(parameter.default is not inspect.Parameter.empty for parameter in signature.parameters.values())
    assert BENCHMARKS[name].about


def test_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == list(BENCHMARKS)


def test_unknown_name_runs_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--only", "worlds", "trainingstep", "--output", str(tmp_path / "a.json")])
    assert caught.value.code == 2
    assert "Unknown benchmark 'trainingstep'. Did you mean 'training_step'?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="Unknown benchmark 'none'"):
        measure("none")


def test_results_come_together_in_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "a.json"
    for name in ("reading_probe_pixels", "training_step"):
        assert main(["--small", "--only", name, "--output", str(output)]) == 0
        printed = capsys.readouterr().out
        assert f"{name} (small)" in printed
    content = json.loads(output.read_text())
    assert list(content["results"]) == ["reading_probe_pixels", "training_step"]
    assert len(content["machines"]) == 1
    for entry in content["results"].values():
        assert entry["machine"] == 0
        assert entry["small"]
        assert set(entry) == {
            "machine", "date", "load_average_at_start", "seconds_in_all", "small", "result"
        }  # fmt: skip
    assert {"processor", "usable_cores", "memory_gigabytes", "torch", "numba", "python", "gpu"} <= set(
        content["machines"][0]
    )


def test_results_are_printed_where_no_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--small", "--only", "training_step"]) == 0
    assert set(json.loads(capsys.readouterr().out)["results"]["training_step"]["result"]) == {
        "small_fpn", "small_unet", "small_dilated"
    }  # fmt: skip


def test_one_that_fails_does_not_keep_others_from_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS, "worlds", Benchmark(broken))
    monkeypatch.setitem(BENCHMARKS, "metrics", Benchmark(lambda: {"seconds": 1.0}))
    output = tmp_path / "a.json"
    assert main(["--only", "worlds", "metrics", "--output", str(output)]) == 1
    assert "out of order" in capsys.readouterr().err
    assert list(read(output)["results"]) == ["metrics"]


def test_what_was_measured_before_an_interruption_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> dict:
        raise KeyboardInterrupt

    monkeypatch.setitem(BENCHMARKS, "worlds", Benchmark(lambda: {"seconds": 1.0}))
    monkeypatch.setitem(BENCHMARKS, "metrics", Benchmark(interrupted))
    output = tmp_path / "a.json"
    assert main(["--only", "worlds", "metrics", "misses", "--output", str(output)]) == 130
    assert list(read(output)["results"]) == ["worlds"]
    assert "worlds" in capsys.readouterr().out


def entry(seconds: float, machine: int = 0, **more: object) -> dict:
    return {"machine": machine, "result": {"seconds": seconds}, **more}


def test_merge_replaces_by_name() -> None:
    old = {
        "machines": [{"processor": "slow"}, {"processor": "fast"}],
        "results": {"worlds": entry(1.0), "metrics": entry(2.0, 1), "misses": entry(3.0, 1)},
    }
    new = {"machines": [{"processor": "new"}], "results": {"misses": entry(5.0), "worlds": entry(4.0)}}
    both = merge(old, new)
    assert both == {
        "machines": [{"processor": "new"}, {"processor": "fast"}],
        "results": {"worlds": entry(4.0), "metrics": entry(2.0, 1), "misses": entry(5.0)},
    }
    assert list(both["results"]) == ["worlds", "metrics", "misses"]
    assert merge(both, {"machines": [{"processor": "fast"}], "results": {"worlds": entry(6.0)}}) == {
        "machines": [{"processor": "fast"}, {"processor": "new"}],
        "results": {"worlds": entry(6.0), "metrics": entry(2.0), "misses": entry(5.0, 1)},
    }


def test_merge_keeps_what_is_worth_more() -> None:
    kinds = [{"machine": 0, "skipped": "no disk"}, entry(1.0, small=True), entry(2.0)]
    for worth, old in enumerate(kinds):
        for other, new in enumerate(kinds):
            both = merge(
                {"machines": ["a"], "results": {"worlds": old}}, {"machines": ["a"], "results": {"worlds": new}}
            )
            assert both["results"]["worlds"] == (new if other >= worth else old)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"machines": []}', '{"machines": [], "results": {"worlds": {"machine": 0}}}']
)
def test_a_file_of_something_else_is_not_overwritten(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(SystemExit):
        main(["--small", "--only", "worlds", "--output", str(path)])
    assert f"Expected {path} to hold results of benchmarks" in capsys.readouterr().err
    assert path.read_text() == text


def test_a_folder_or_a_device_is_no_file_of_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, Path("/dev/full")):
        with pytest.raises(SystemExit):
            main(["--only", "worlds", "--output", str(path)])
        assert f"Expected {path} to be a file of results" in capsys.readouterr().err


def test_options_without_effect_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--list", "--small"])
    assert "no effect with --list" in capsys.readouterr().err


def test_results_of_a_benchmark_that_is_no_more_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"machines": [{}], "results": {"gone": entry(1.0), "worlds": entry(2.0)}})
    assert read(tmp_path / "a.json")["results"] == {"worlds": entry(2.0)}


def test_too_little_disk_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with scratch_folder(1e-3) as folder:
        assert folder.parent == tmp_path
        (folder / "a").touch()
    assert not list(tmp_path.iterdir())

    def large() -> dict:
        with scratch_folder(1e9):
            raise AssertionError

    monkeypatch.setitem(BENCHMARKS, "streamed", Benchmark(large))
    assert f"{tmp_path} has" in measure("streamed")["skipped"]
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(MissingRequirementError, match="is no folder"), scratch_folder(0.0):
        pass


def test_peak_of_a_process_of_its_own() -> None:
    ballast = np.ones(40_000_000)
    assert apart(peak_megabytes) < 200 < ballast.nbytes / 1e6 < peak_megabytes()


def test_memory_on_top() -> None:
    found = megabytes_on_top(lambda: np.ones(20_000_000))
    assert found is None or found == pytest.approx(160, abs=16)


def test_streaming_stops_after_the_chunks_that_were_written(tmp_path: Path) -> None:
    result = measure_streamed(str(tmp_path), members=8, pixels=30_000, classes=3, chunks=2)
    assert result["share_of_the_pixels_scored"] == pytest.approx(0.5, abs=0.05)
    assert result["candidates"] == 56


def test_table() -> None:
    results = {
        "on_gpu": {"skipped": "there is no GPU"},
        "exhaustive": {
            "result": {
                "seconds": 30.04,
                "plain_seconds_extrapolated": 900,
                "times_faster": 29.9,
                "least_times_faster": 30,
                "peak_megabytes": 1234,
                "most_peak_megabytes": 2000,
                "part": {"milliseconds": 1.25, "megabytes_on_top": 7},
            }
        },
        "whole_path_training": {"small": True, "result": {"ratio": 0.9, "least_ratio": 0.95}},
        "misses": {
            "result": {
                "a": {"missed": 0, "count": 4, "worst_rank": 0},
                "b": {"missed": 1, "count": 4, "worst_rank": 3},
            }
        },
    }
    assert list(rows(results)) == [
        Row("on_gpu", remarks="skipped: there is no GPU"),
        Row(
            "exhaustive",
            "30 s",
            "~900 s",
            "29.9 x faster",
            "1 234 MB",
            "times faster >= 30: MISSED; peak megabytes <= 2000: met",
        ),
        Row("exhaustive: part", "1.25 ms", memory="+7 MB"),
        Row("whole_path_training (small)", ratio="0.9"),
        Row("misses", remarks="1 of 2 found the best candidate of every problem"),
        Row("misses: b", remarks="missed in 1 of 4, 3 better ones at most"),
    ]
