"""`muster.select` and the selection on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
import yaml

import muster
from muster.data import Dataset, channel_statistics
from muster.errors import ConfigError, DatasetError, PoolError, SelectionError
from muster.metrics import METRICS, eep, leep, soft_class_ious
from muster.pool import Pool
from muster.probe import ProbeReader, draw_probe_set
from muster.selection import Selection
from muster.selection.member_scoring import Progress
from muster.selection.run import select
from muster.tasks.segmentation import SEGMENTATION
from tests.helpers import at_work_elsewhere, make_member, make_pool, make_target, shown

OPTIONS = {"size": 3, "pixels_per_image": 80, "cache_gb": 0.0, "batch_size": 4, "predictor": "eep"}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("a pool, größer"), 5)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(6, void=("02",))


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, **OPTIONS)


def test_agrees_with_the_steps_done_by_hand(pool: Pool, target: Dataset, selection: Selection) -> None:
    statistics = channel_statistics(target.train)
    probe = draw_probe_set(target.train, 80, 0)
    reader = ProbeReader(target.train, probe, shown(statistics, 64))
    predictions = [reader.read(member.load_model()) for member in pool]
    eeps = [eep(probabilities, probe.labels, 3) for probabilities in predictions]
    rows = list(combinations(range(5), 3))
    assert selection.ranking.members.tolist() == [list(row) for row in rows]
    for metric in ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep"):
        expected = [METRICS[metric].function([eeps[i] for i in row], probe.labels) for row in rows]
        assert np.allclose(selection.ranking.scores[metric], expected, rtol=0, atol=1e-6)
    soft = selection.ranking.scores["soft_iou_eep"]
    best, second = np.argsort(-soft, kind="stable")[:2]
    assert selection.members == tuple("abcde"[i] for i in rows[best])
    assert selection.score == soft[best]
    assert selection.margin == pytest.approx(soft[best] - soft[second])
    assert selection.margin > 1e-6
    leeps = [leep(probabilities, probe.labels) for probabilities in predictions]
    assert list(selection.member_scores.values()) == pytest.approx(leeps, abs=1e-9)
    assert selection.single_best == "abcde"[int(np.argmax(leeps))]
    ious = soft_class_ious([eeps[i] for i in rows[best]], probe.labels)
    assert selection.class_ious == pytest.approx(ious.tolist(), abs=1e-6)
    for index, name in zip(rows[best], selection.members, strict=True):
        # The table is what turns the member's probabilities into its EEP.
        assert torch.allclose(
            predictions[index].double() @ selection.on_images[name].table.T, eeps[index].double(), atol=1e-6
        )


def test_base_comes_from_the_cards(pool: Pool, selection: Selection) -> None:
    cards = [member.card for member in pool]
    terms = [card.test_result * card.train_images * len(card.classes) for card in cards]
    expected = [sum(terms[i] for i in row) for row in selection.ranking.members]
    assert selection.ranking.scores["base"].tolist() == pytest.approx(expected)
    assert selection.choices["base"] == tuple("abcde"[i] for i in sorted(np.argsort(terms)[-3:]))


def test_says_what_it_looked_at(pool: Pool, selection: Selection) -> None:
    assert selection.train_images == ("00", "01", "02", "03", "04", "05")
    assert selection.void_images == ("02",)
    assert (selection.image_size, selection.probe.train_images) == (64, 150)
    assert selection.pool == str(pool.folder.resolve())
    assert (selection.metric, set(selection.choices)) == (
        SEGMENTATION.default_metric,
        {*SEGMENTATION.ensemble_metrics, "base"},
    )
    assert selection.device.startswith("cpu (")


def test_comes_back_from_disk(selection: Selection, tmp_path: Path) -> None:
    folder = tmp_path / "élu"
    selection.save(folder)
    loaded = Selection.load(folder)
    assert selection.date == ""
    assert datetime.now(UTC) - datetime.fromisoformat(loaded.date) < timedelta(minutes=10)
    assert loaded.to_mapping() == replace(selection, date=loaded.date).to_mapping()
    assert loaded.ranking.members.tolist() == selection.ranking.members.tolist()
    assert {n: s.tolist() for n, s in loaded.ranking.scores.items()} == {
        n: s.tolist() for n, s in selection.ranking.scores.items()
    }
    table = pandas.read_parquet(folder / "ranking.parquet")
    assert list(table.columns) == ["rank", "member_1", "member_2", "member_3", *selection.ranking.scores]
    assert tuple(table.loc[0, ["member_1", "member_2", "member_3"]]) == selection.members
    assert table["soft_iou_eep"].is_monotonic_decreasing
    selection.save(folder)  # an older selection is replaced
    assert sorted(path.name for path in folder.iterdir()) == [".muster", "ranking.parquet", "selection.yaml"]


def test_one_written_before_device_and_date_were_noted_is_read(selection: Selection, tmp_path: Path) -> None:
    path = selection.save(tmp_path / "older")
    content = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump({key: content[key] for key in content if key not in ("device", "date")}), "utf-8")
    loaded = Selection.load(path)
    assert (loaded.members, loaded.device, loaded.date) == (selection.members, "", "")


def test_a_mapping_round_trip_holds_plain_values_only(selection: Selection) -> None:
    content = json.loads(json.dumps(selection.to_mapping()))
    assert muster.Selection.from_mapping(content, "here").to_mapping() == content


def test_saving_never_deletes_what_is_no_selection(selection: Selection, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SelectionError, match="which is not part of a selection"):
        selection.save(tmp_path)
    with pytest.raises(SelectionError, match="is a file"):
        selection.save(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_saving_waits_its_turn(selection: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.outputs.PATIENCE", 0.1)
    with (
        at_work_elsewhere(tmp_path / "s"),
        pytest.raises(SelectionError, match="another process is at work on a selection"),
    ):
        selection.save(tmp_path / "s")
    selection.save(tmp_path / "s")


def test_damaged_selections_are_named(selection: Selection, tmp_path: Path) -> None:
    record = selection.save(tmp_path / "s")
    good = record.read_text()
    for bad, message in (
        (good.replace("metric:", "metrik:"), "missing key.s. metric"),
        (good.replace("format_version: 2", "format_version: 99"), "expected format_version 2, but got 99"),
        (good.replace("size: 3\n", "size: three\n"), "size"),
        (good.replace("single_best: ", "single_best: not-"), "not-. chosen, but not among member_scores"),
        ("- 1", "expected a YAML mapping"),
    ):
        assert bad != good
        record.write_text(bad)
        with pytest.raises(SelectionError, match=message):
            Selection.load(tmp_path / "s")
    record.write_text(good)
    ranking = tmp_path / "s" / "ranking.parquet"
    ranking.write_bytes(ranking.read_bytes()[:-20])
    with pytest.raises(SelectionError, match="cannot be read as Parquet"):
        Selection.load(tmp_path / "s")
    pandas.DataFrame({"rank": [1]}).to_parquet(ranking)
    with pytest.raises(SelectionError, match=r"does not go with selection\.yaml"):
        Selection.load(tmp_path / "s")
    ranking.unlink()
    with pytest.raises(SelectionError, match="does not exist"):
        Selection.load(tmp_path / "s")
    with pytest.raises(SelectionError, match=r"holds no selection\.yaml\. Give the folder that select\.py wrote"):
        Selection.load(tmp_path)
    with pytest.raises(SelectionError, match="is not a folder"):
        Selection.load(tmp_path / "nowhere")


def test_members_that_saw_the_target_are_no_candidates(tmp_path: Path, target: Dataset) -> None:
    make_pool(tmp_path, 3)
    make_member(tmp_path, "seer", 9, dataset="Tiny")
    chosen = select(tmp_path, target, **OPTIONS)
    assert chosen.member_names == ("a", "b", "c")
    assert chosen.excluded == {"seer": "was trained on the target, tiny"}
    assert chosen.margin is None
    with pytest.raises(SelectionError, match=r"only 3 of the 4 .* Excluded: seer \(was trained .* \(at most 3\)"):
        select(tmp_path, target, **{**OPTIONS, "size": 4})


def test_members_whose_network_needs_larger_images_are_shown_padded_ones(tmp_path: Path, target: Dataset) -> None:
    make_pool(tmp_path, 3)
    make_member(tmp_path, "choosy", 9, architecture="pan:resnet18")
    chosen = select(tmp_path, target, **OPTIONS)
    assert np.isfinite(chosen.member_scores["choosy"])
    assert "choosy" not in chosen.excluded


def test_members_without_finite_predictions_are_left_out(tmp_path: Path, target: Dataset) -> None:
    make_pool(tmp_path, 3)
    make_member(tmp_path, "broken", 9, broken=True)
    with pytest.warns(UserWarning, match="'broken' is left out: its predictions .* not finite"):
        chosen = select(tmp_path, target, **OPTIONS)
    assert "broken" not in chosen.member_scores
    assert "not finite" in chosen.excluded["broken"]
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(SelectionError, match=r"only 3 .* broken \(its predictions"),
    ):
        select(tmp_path, target, **{**OPTIONS, "size": 4})


def test_ties_go_to_the_first_names(tmp_path: Path, target: Dataset) -> None:
    for name in ("z", "m", "b", "k"):
        make_member(tmp_path, name, seed=1)
    make_member(tmp_path, "a", seed=2)
    chosen = select(tmp_path, target, **OPTIONS, metric="ms_leep")
    scores = chosen.member_scores
    assert scores["b"] == scores["k"] == scores["m"] == scores["z"] != scores["a"]
    expected = ("b", "k", "m") if scores["b"] > scores["a"] else ("a", "b", "k")
    assert (chosen.members, chosen.margin) == (expected, 0.0)


def test_copies_of_one_member_leave_nothing_to_choose(tmp_path: Path, target: Dataset) -> None:
    for name in ("z", "m", "b", "k"):
        make_member(tmp_path, name, seed=1)
    for metric in ("soft_iou_eep", "ms_leep", "logme"):
        with pytest.raises(SelectionError, match=r"Nothing can be chosen: all 4 candidates have the same score"):
            select(tmp_path, target, **OPTIONS, metric=metric, metrics=())


def test_another_metric_chooses_by_itself(pool: Pool, target: Dataset, selection: Selection) -> None:
    for metric in ("base", "iou_eep"):
        other = select(pool, target, **OPTIONS, metric=metric, metrics=("e_leep",))
        assert other.members == selection.choices[metric]
        assert other.score == pytest.approx(selection.ranking.scores[metric].max(), abs=1e-6)
        assert set(other.choices) == {"e_leep", metric}
    # IoU-EEP's classes average to its score.
    assert np.mean(other.class_ious) == pytest.approx(other.score)


def test_a_class_without_pixels_has_no_predicted_iou(pool: Pool) -> None:
    with pytest.warns(UserWarning, match=r"1 class\(es\) in the 4 images .*: sky"):
        chosen = select(pool, make_target(4, highest=1), **OPTIONS)
    assert chosen.class_ious[2] is None
    assert None not in chosen.class_ious[:2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "soft_iou"}, "metric: Unknown metric 'soft_iou'. Did you mean 'soft_iou_eep'"),
        ({"metrics": ("leap",)}, "metric: Unknown metric 'leap'"),
        ({"size": 0}, "size: expected a whole number, at least 1"),
        ({"image_size": 0}, "image_size: expected a whole number, from 1"),
        ({"train_images": -3}, "train_images: expected a whole number, at least 1"),
        ({"seed": -1}, "seed: expected"),
        ({"device": "abacus"}, "device: this machine has no usable 'abacus'"),
    ],
)
def test_wrong_options_stop_at_once(pool: Pool, target: Dataset, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select(pool, target, **{**OPTIONS, **changes})


def test_missing_inputs_are_errors(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="is not a pool"):
        select(tmp_path, target)
    with pytest.raises(DatasetError, match="no dataset folder"):
        select(pool, "no/such/folder")
    with pytest.raises(SelectionError, match="are void"):
        select(pool, make_target(2, void=("00", "01")), **OPTIONS)


def test_images_are_a_seeded_choice(pool: Pool, target: Dataset) -> None:
    first, again, other = (select(pool, target, **OPTIONS, train_images=3, seed=s) for s in (1, 1, 2))
    assert len(first.train_images) == 3
    assert first.to_mapping() == again.to_mapping()
    assert first.train_images != other.train_images


@pytest.mark.parametrize(("described", "count"), [({"probe_images": 1000}, 1000), ({"probe_images": 3}, 3), ({}, 150)])
def test_the_description_says_how_many_images_to_use(pool: Pool, described: dict[str, int], count: int) -> None:
    target = make_target(4, name="coco")
    spec = replace(target.spec, **described)
    target = replace(target, spec=spec, train=replace(target.train, spec=spec))
    chosen = select(pool, target, **OPTIONS)
    assert chosen.probe.train_images == count
    assert len(chosen.train_images) == min(count, 4)


def test_labels_of_one_class_leave_nothing_to_choose_by(pool: Pool) -> None:
    with pytest.raises(DatasetError, match=r"one class only, ground.*Without a labelled pixel: wall, sky"):
        select(pool, make_target(4, highest=0), **OPTIONS)


def test_image_size_is_the_median_of_the_cards(tmp_path: Path, target: Dataset) -> None:
    for place, size in enumerate((32, 64, 96)):
        make_member(tmp_path, f"m{place}", place, image_size=size)
    make_member(tmp_path, "seer", 9, dataset="tiny", image_size=4000)
    assert select(tmp_path, target, **OPTIONS).image_size == 64
    assert select(tmp_path, target, **OPTIONS, image_size=32).image_size == 32


@pytest.mark.parametrize(("predictor", "files"), [("eep", 5), ("linear_probe", 10)])
def test_the_cache_changes_nothing(tmp_path: Path, pool: Pool, target: Dataset, predictor: str, files: int) -> None:
    options = {**OPTIONS, "predictor": predictor}
    without = select(pool, target, **options).to_mapping()
    for _ in range(2):
        assert select(pool, target, **{**options, "cache_gb": 1.0, "cache_dir": tmp_path}).to_mapping() == without
    assert len(list(tmp_path.glob("*.safetensors"))) == files


def test_progress_is_told(pool: Pool, target: Dataset) -> None:
    told: list[tuple[str, int, int]] = []
    progress: Progress = lambda *what: told.append(what)  # noqa: E731
    select(pool, target, **OPTIONS, progress=progress)
    last = {what: (done, total) for what, done, total in told}
    assert list(last) == ["probing members", "scoring ensembles", "resampling images"]
    assert last["probing members"] == (5, 5)
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize(("predictor", "tolerance"), [("eep", 1e-6), ("linear_probe", 1e-4)])
def test_batches_change_scores_by_rounding_only(pool: Pool, target: Dataset, predictor: str, tolerance: float) -> None:
    whole, single = (select(pool, target, **{**OPTIONS, "predictor": predictor, "batch_size": size}) for size in (4, 1))
    assert single.members == whole.members
    for metric, scores in whole.ranking.scores.items():
        assert np.allclose(single.ranking.scores[metric], scores, rtol=tolerance, atol=tolerance)


SCRIPT = """
import json, sys
from pathlib import Path
import torch.distributed as dist
import muster
from tests.helpers import make_target

dist.init_process_group("gloo")
pool, out, cache = map(Path, sys.argv[1:])
options = dict(size=3, pixels_per_image=80, batch_size=2, cache_dir=cache)
first = muster.select(pool, make_target(6, void=("02",)), **options)
again = muster.select(pool, make_target(6, void=("02",)), **options)  # from rank zero's cache
ranking = {metric: scores.tolist() for metric, scores in first.ranking.scores.items()}
same = first.to_mapping() == again.to_mapping()
(out / f"{dist.get_rank()}.json").write_text(json.dumps([first.to_mapping(), ranking, same]))
dist.destroy_process_group()
"""


def test_two_processes_choose_like_one(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    alone = select(pool, target, **{**OPTIONS, "batch_size": 2, "predictor": "linear_probe"})
    script, root = tmp_path / "job.py", Path(__file__).parents[2]
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(script)]
    environment = os.environ | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    arguments = [str(pool.folder), str(tmp_path), str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert results[0] == results[1]
    record, ranking, cached_is_same = results[0]
    assert cached_is_same
    assert tuple(record["members"]) == alone.members
    for metric, scores in alone.ranking.scores.items():
        # Batches are made up otherwise, and rounding in features moves what trials in float32 settle on: by 1e-5 a
        # member, and MS-LEEP is the sum over two.
        assert np.allclose(ranking[metric], scores, rtol=0, atol=2e-5)


def test_importing_muster_loads_no_library() -> None:
    code = "import sys, muster; muster.__version__; print([m for m in ('torch', 'pandas', 'timm') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_are_no_attributes() -> None:
    assert muster.select is select
    assert set(muster.__all__) <= set(dir(muster))
    with pytest.raises(AttributeError, match="'selekt'"):
        _ = muster.selekt


def test_a_target_folder_is_recorded_by_its_absolute_path(
    pool: Pool, target: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert select(pool, replace(target, reference="mine"), **OPTIONS).target_reference == str(tmp_path / "mine")
    assert select(pool, replace(target, reference="worlds/x"), **OPTIONS).target_reference == "worlds/x"
