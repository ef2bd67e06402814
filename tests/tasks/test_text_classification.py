"""Texts, from training to reports: the way of images, and no other code."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import muster
from muster.commands.check import check_opened
from muster.commands.main import CONFIGS, start
from muster.commands.predict import predict_folder
from muster.commands.predictions.of_images import require_rgb
from muster.commands.terminal import make_console
from muster.data import ImageSize, decode_text, encode_text, open_dataset
from muster.data.foreseen import as_it_was_published
from muster.data.plain_texts import listed_texts
from muster.data.texts import cut_text
from muster.errors import ConfigError, DatasetError, SelectionError, UnfitMemberError
from muster.models import build_model, put_source_heads, rebuild
from muster.pool import Pool
from muster.report import write_finetuning_report
from muster.report.distillation import write_distillation_report
from muster.report.texts import ReportText, text_rows
from muster.selection.run import select
from muster.tasks.task import TASKS, task_of
from muster.tasks.text_classification import TEXT_CLASSIFICATION
from muster.training.adoption import AdoptionJob, adopt_member
from muster.training.distillation import with_unlabelled
from muster.training.distilling import compare, result_of, teach
from muster.training.ensemble_card import read_card
from muster.training.finetuned_ensemble import load_ensemble
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.multi_source_plan import MultiSource
from muster.training.planned_source import PlannedSource
from muster.training.results import LEARNED_HEAD
from muster.training.settings import SourceSettings, TrainingSettings
from tests.helpers import make_member
from tests.models.text_makers import save_model, save_tokenizer
from tests.tasks.course import Course, fine_tune, run_course

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

SOURCE = SourceSettings(
    steps=25, batch_size=16, image_size=200, learning_rate=5e-3, optimizer="adamw", weight_decay=0.0,
    schedule="constant", validation_fraction=0.2, validate_every=25,
)  # fmt: skip
TRAINING = TrainingSettings(
    steps=10, batch_size=8, learning_rate=2e-3, optimizer="adamw", weight_decay=0.0, schedule="constant"
)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Members that were trained on posts and on news, for reviews, whose words posts have too."""
    root = tmp_path_factory.mktemp("texts")
    sources = {name: f"texts/{name}" for name in ("posts", "news")}
    return run_course(root, sources, open_dataset("texts/reviews"), "scores", "text:tiny", SOURCE, TRAINING)


def test_members_learn_from_texts(course: Course) -> None:
    card = course.pool["posts"].card
    assert (card.task, card.classes) == ("text_classification", ("negative", "neutral", "positive"))
    assert card.test_result is not None
    assert card.test_result > 0.6
    assert card.majority_result == pytest.approx(1 / 3)
    assert (card.image_size, card.mean, card.std) == ("characters:200", (0.0,), (1.0,))
    assert not card.is_adopted
    assert MemberJob("posts", course.folder / "pool", "texts/posts", "text:tiny", "none", SOURCE, Hardware("cpu")
                     ).other_way(card) == ""  # fmt: skip


def test_who_knows_the_words_is_chosen(course: Course) -> None:
    selection = course.selection
    assert (selection.task, selection.words.unit, selection.single_best) == ("text_classification", "text", "posts")
    assert selection.image_size == "characters:200"
    assert (len(selection.train_images), selection.classes) == (120, ("negative", "positive"))
    assert selection.metric == "e_leep"


def test_metrics_of_h22_on_all_texts_and_on_hard_ones(course: Course) -> None:
    names = ["leep", "nce", "gbc_spherical", "logme"]
    metrics = (*names, *(f"{name}+{hard}" for name in names[:3] for hard in ("haste_ca", "haste_cs")), "e_leep")
    found = select(
        course.pool, "texts/reviews", size=2, predictor="eep", metrics=metrics, train_images=60, cache_gb=0.0
    )
    scores = found.single_scores
    assert set(names) <= set(scores)
    assert scores["leep"]["posts"] > scores["leep"]["news"]
    assert scores["nce"]["posts"] > scores["nce"]["news"]


def test_the_result_is_the_share_of_texts_that_are_right(course: Course) -> None:
    loaded = muster.load_ensemble(course.folder / "run" / "ensemble")
    test = course.target.dataset.test
    hits = [int(loaded.classify(sample.image).argmax()) == int(sample.mask) for sample in test]
    assert course.result.results[LEARNED_HEAD] == pytest.approx(sum(hits) / len(hits))
    assert sum(hits) / len(hits) > 0.6
    assert loaded.preprocessing.known_size == ImageSize(characters=200)
    assert loaded.classify("a wonderful, charming plot").argmax() == 1
    assert torch.equal(loaded.classify("dreadful"), loaded.classify(encode_text("dreadful")))
    with pytest.raises(ValueError, match=r"Expected a text, as a string .*, but got \(3, 8, 8\)"):
        loaded.classify(torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_networks_of_images_are_no_candidates_for_texts(course: Course, tmp_path: Path) -> None:
    make_member(tmp_path, "segmenter", 0)
    both = Pool.union([course.pool, Pool.open(tmp_path)])
    with pytest.raises(SelectionError, match=r"segmenter \(was trained for segmentation, with images, and text_cl"):
        select(both, "texts/reviews", size=3, cache_gb=0.0)
    with pytest.raises(SelectionError, match=r"posts \(was trained for text_classification, with texts, and class"):
        select(both, "scenes/land", size=2, train_images=6, cache_gb=0.0)
    texts, images = build_model("text:tiny", 2), build_model("small_fpn", 2)
    with pytest.raises(UnfitMemberError, match="takes images, and text_classification is about texts"):
        TEXT_CLASSIFICATION.fitted(images)
    with pytest.raises(UnfitMemberError, match="takes texts, and classification is about images"):
        TASKS["classification"].fitted(texts)
    assert task_of(open_dataset("texts/news").spec) is TEXT_CLASSIFICATION


def test_others_models_are_members_beside(course: Course, tmp_path: Path) -> None:
    """A classifier and an encoder without one; their words are other ones than the target's."""
    from muster.models.adoption import Adoption

    for name, kind in (("theirs", "DistilBertForSequenceClassification"), ("encoder", "BertModel")):
        save_tokenizer(tmp_path / name)
        save_model(tmp_path / name, kind, **({"num_labels": 2} if name == "theirs" else {}))
        more = {"classes": ["no", "yes"], "dataset": "films"} if name == "theirs" else {}
        entry = Adoption.from_mapping({"name": name, "from": "transformers", "model": str(tmp_path / name), **more})
        adopt_member(AdoptionJob(tmp_path / "pool", entry))
    pool = Pool.union([course.pool, Pool.open(tmp_path / "pool")])
    with pytest.warns(UserWarning, match="theirs do not say which texts"):
        found = select(pool, "texts/reviews", size=2, train_images=40, metrics=("e_leep",), cache_gb=0.0)
    assert set(found.member_names) == {"posts", "news", "theirs", "encoder"}
    assert torch.tensor(list(found.member_scores.values())).isfinite().all()
    assert pool["encoder"].card.classes == ()
    said = {"name": "m", "from": "transformers", "model": str(tmp_path / "encoder"), "task": "segmentation"}
    with pytest.raises(ConfigError, match="takes texts, and segmentation is for images"):
        adopt_member(AdoptionJob(tmp_path / "pool", Adoption.from_mapping(said)))


def test_one_encoder_has_a_head_for_each_of_two_sources() -> None:
    network = build_model("text:tiny", 1)
    put_source_heads(network, [3, 4], seed=0)
    model = TEXT_CLASSIFICATION.fitted(network).eval()
    again = rebuild(model.blueprint, 7)
    again.load_state_dict(model.state_dict())
    texts = cut_text(encode_text("some words"), 20)[None]
    torch.testing.assert_close(again.eval()(texts), model(texts))
    for shares in model.predict(texts)[0, :, 0, 0].split([3, 4]):
        assert shares.sum() == pytest.approx(0.5)  # each source has the same share


def test_reports_show_texts(course: Course) -> None:
    page = (course.folder / "finetuning.html").read_text("utf-8")
    assert "on the 60 test texts" in page
    assert "Right, the surest first" in page
    chosen = (course.folder / "selection.html").read_text("utf-8")
    for shown in (page, chosen):
        words = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", "", shown, flags=re.DOTALL)
        assert re.findall(r".{0,30}\b(?:images?|pixels?)\b.{0,30}", words) == []
    assert "Training texts, each member" in chosen
    texts = [decode_text(sample.image) for sample in course.target.dataset.train]
    assert sum(text in html.unescape(chosen) for text in texts) >= 8  # of each kind up to four
    odd = ReportText("1", "<script>alert(1)</script> &", "a", {"m": "b", "ensemble": "b"}, 0.25)
    sure = [ReportText(str(place), "x", "a", {"m": "a", "ensemble": "a"}, 0.5 + place / 20) for place in range(9)]
    tables = text_rows([*sure, odd], each=3)
    assert [table.title.split(",")[0] for table in tables] == ["Taken for another class", "Right", "Right"]
    assert [[row[0] for row in table.rows] for table in tables] == [["1"], ["0", "1", "2"], ["8", "7", "6"]]
    write_finetuning_report(course.result, course.folder / "odd.html", report_texts=[odd])
    shown = (course.folder / "odd.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in shown
    assert "<script>alert" not in shown


def test_texts_are_classified_in_one_table(course: Course, tmp_path: Path) -> None:
    ensemble, console = course.folder / "run" / "ensemble", make_console()
    (tmp_path / "lines.txt").write_text("a wonderful plot\n\nawful, boring acting\n")
    assert predict_folder(tmp_path / "lines.txt", ensemble, tmp_path / "out", "cpu", console) == 0
    table = pd.read_csv(tmp_path / "out" / "classes.csv")
    assert list(table.columns) == ["text", "place", "class", "probability", "p(negative)", "p(positive)"]
    assert list(table["class"]) == ["positive", "negative"]
    assert list(table["place"].str[-6:]) == ["line 1", "line 3"]
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.txt").write_text("lovely and\ncharming")
    (tmp_path / "table.tsv").write_text("id\ttext\n1\tlovely and charming\n")
    assert list(listed_texts(tmp_path / "some", "--images").values()) == ["lovely and\ncharming"]
    assert list(listed_texts(tmp_path / "table.tsv", "--images").values()) == ["lovely and charming"]
    (tmp_path / "empty.csv").write_text("id\n1\n")
    for name, message in (("none.txt", "holds no texts"), ("empty.csv", "has no column text")):
        with pytest.raises(DatasetError, match=message):
            listed_texts(tmp_path / name, "--images")
    with pytest.raises(ConfigError, match="An exported file takes images, and the ensemble for texts_reviews classif"):
        require_rgb(read_card(ensemble), "An exported file")


def test_one_encoder_is_taught_by_two(course: Course, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a dull plot\n\na lovely cast\n")
    ensemble = load_ensemble(course.folder / "run" / "ensemble")
    settings = TrainingSettings(steps=3, batch_size=8, optimizer="adamw", learning_rate=0.002, schedule="constant")
    given = (ensemble, course.target), (0.5, tmp_path / "more.txt", settings, tmp_path, Hardware("cpu"))
    made, module, unlabelled = teach(*given[0], "text:tiny", "none", *given[1])
    assert unlabelled == 2
    assert made.classify("a lovely cast").shape == (2,)
    with_both = with_unlabelled(course.target.train, tmp_path / "more.txt")
    assert decode_text(with_both[-1].image) == "a lovely cast"
    assert not made.task.is_known(with_both[-1].mask).any()
    models = compare({"ensemble": ensemble, "distilled": made}, {}, course.target, seed=0)
    result = result_of(models, course.target, unlabelled, module, Hardware("cpu"))
    page = write_distillation_report(result, tmp_path / "report.html", "next").read_text("utf-8")
    assert "120 training texts and 2 without labels; top-1 accuracy on 60 test texts." in page
    assert "ms a text" in page
    assert "one text." in page
    with pytest.raises(UnfitMemberError, match="small_fpn takes images, and text_classification is about texts"):
        teach(*given[0], "small_fpn", "none", *given[1])


def test_one_encoder_does_not_learn_from_texts_and_images() -> None:
    sources = [PlannedSource(name, open_dataset(name), name) for name in ("texts/posts", "scenes/rooms")]
    with pytest.raises(ConfigError, match=r"'both': expected datasets for one task.*texts_posts for text_classific"):
        MultiSource("text:tiny", datasets=["texts/posts", "scenes/rooms"], name="both").members(sources)


def test_a_check_counts_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_opened(open_dataset("texts/posts"), tmp_path, make_console())
    told = capsys.readouterr().out
    assert re.search(r"train +180 +0 +none +\d+ characters", told)
    assert "60" in told
    assert "neutral)\n" in (tmp_path / "examples.txt").read_text("utf-8")
    assert not (tmp_path / "contact_sheet.png").exists()


def test_a_dry_run_of_h22s_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a tiny encoder in a folder in place of BERT; neither data nor weights are at hand."""
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tmp_path / "bert")
    save_model(tmp_path / "bert", "BertModel")
    config = yaml.safe_load((CONFIGS / "train" / "h22-language.yaml").read_text("utf-8"))
    assert (config["training"]["learning_rate"], config["training"]["batch_size"]) == (5e-5, 8)
    (network,) = config["plan"]["networks"]
    network["architecture"] = "transformers_first:bert"
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    assert start("train", arguments=["--config", "train.yaml", "--dry_run", "--hardware.device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "2 members, 2 to train." in told
    some = as_it_was_published("emotion:carer#1")  # a target of its study
    assert some is not None
    share = some.spec.num_classes / 6
    assert (some.spec.holds, some.spec.name, len(some.train)) == ("texts", "CARER_classes1", round(16000 * share))
    assert {"CARER", "AG_News"} <= set(re.findall(r"^(\w+)-transformers_first_bert", told, re.MULTILINE))


def test_a_dry_run_of_a_study_of_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--config", str(CONFIGS / "study" / "h22-texts.yaml"), "--targets", "[texts/moods#0,texts/reviews]"]
    assert start("study", arguments=[*options, "--dry_run", "--hardware.device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^texts_moods_classes0 \(few\) +60 +60 +256 characters +3 +3 +3 +60", told, re.MULTILINE)


def test_frozen_encoders_and_their_heads(course: Course, tmp_path: Path) -> None:
    settings = replace(TRAINING, adapt="frozen", steps=20, learning_rate=0.02)
    run = fine_tune(tmp_path, course.pool, course.selection, course.target.dataset, settings)
    assert run.result.results[LEARNED_HEAD] > 0.6
