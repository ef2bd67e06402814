"""Encoders and classifiers of texts: what transformers makes of the same texts, text by text."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from muster.data.texts import cut_text, encode_text
from muster.errors import ConfigError, PretrainingError
from muster.models import SOURCES, build_model, parameter_stages, rebuild
from muster.models.adoption import Adoption
from muster.models.pooled import pooled
from muster.models.text_encoder import TEXT, TextBody
from muster.models.tokens import HashedWords
from muster.pool import card_of_adopted, write_member
from tests.models.text_makers import TEXTS, save_model, save_tokenizer


def prepared(*texts: str, length: int = 60) -> torch.Tensor:
    return torch.stack([cut_text(encode_text(text), length) for text in texts])


def adopt(folder: Path, **more: object) -> object:
    entry = Adoption.from_mapping({"name": "m", "from": "transformers", "model": str(folder), **more})
    return SOURCES["transformers"].adopt(entry)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("BertForSequenceClassification", {}),
        ("DistilBertForSequenceClassification", {}),
        ("RobertaForSequenceClassification", {"pad_token_id": 1}),
    ],
)
@torch.no_grad()
def test_a_classifier_scores_as_it_does_by_itself(kind: str, more: dict[str, int], tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    theirs = save_model(tmp_path, kind, id2label={0: "bad", 1: "good", 2: "mixed"}, label2id={}, **more)
    found = adopt(tmp_path)
    model = found.model  # type: ignore[attr-defined]
    assert found.classes == ("bad", "good", "mixed")  # type: ignore[attr-defined]
    alone = torch.stack([theirs(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS])
    assert (alone.std(dim=0) > 1e-3).all()
    images = prepared(*TEXTS)
    scores, features, stages = model.read(images, stages=True)
    torch.testing.assert_close(scores[:, :, 0, 0], alone, atol=1e-5, rtol=1e-4)
    assert features.shape == (4, 32, 1, 1)
    assert [stage.shape for stage in stages] == [(4, 32)] * 4  # embeddings, two layers, what the classifier reads
    member = write_member(tmp_path / "member", model, card_of_adopted(found, "m", "films"), {})  # type: ignore[arg-type]
    again = member.load_model()
    torch.testing.assert_close(again(images), scores)  # the tokenizer is among the weights
    assert (member.card.task, member.card.architecture, member.problem()) == ("text_classification", kind, None)
    again.replace_head(5, seed=1)
    other = rebuild(again.blueprint, 5)
    other.load_state_dict(again.state_dict())
    torch.testing.assert_close(other.eval()(images), again.eval()(images))


@torch.no_grad()
def test_tokens_are_pooled_as_one_text_at_a_time_says(tmp_path: Path) -> None:
    tokenizer, theirs = save_tokenizer(tmp_path), save_model(tmp_path, "BertModel")
    outputs = [theirs(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
    means, firsts = torch.stack([each.mean(dim=0) for each in outputs]), torch.stack([each[0] for each in outputs])
    for prefix, expected in (("transformers", means), ("transformers_first", firsts)):
        model = build_model(f"{prefix}:{tmp_path}", 3, "published").eval()
        torch.testing.assert_close(model.features(prepared(*TEXTS))[:, :, 0, 0], expected, atol=1e-5, rtol=1e-4)
        assert model.started_from["source"] == "model.safetensors"
    backbone = adopt(tmp_path, arguments={"pooling": "first"}).model  # type: ignore[attr-defined]
    torch.testing.assert_close(backbone.features(prepared(*TEXTS))[:, :, 0, 0], firsts, atol=1e-5, rtol=1e-4)
    assert backbone(prepared("good")).shape == (1, 0, 1, 1)  # no source classes
    assert not any("pooler" in name for name in backbone.state_dict())
    random = build_model(f"transformers:{tmp_path}", 3, seed=1)
    again = build_model(f"transformers:{tmp_path}", 3, seed=1)
    assert not torch.allclose(random.eval().features(prepared("good"))[0, :, 0, 0], means[0])
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in random.state_dict().items())


@torch.no_grad()
def test_no_more_tokens_than_a_model_takes(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, model_max_length=8)
    save_model(tmp_path, "BertModel")
    model = build_model(f"transformers:{tmp_path}", 2, "published").eval()
    assert model.body.known.most == 8  # type: ignore[attr-defined]
    long = prepared("good " * 200, length=1000)
    assert torch.equal(model(long), model(prepared("good " * 6, length=1000)))  # and one at each end
    save_tokenizer(tmp_path)  # knows no limit: 40 places, of which RoBERTa's own begin behind the padding
    save_model(tmp_path, "RobertaModel", pad_token_id=1)
    model = build_model(f"transformers:{tmp_path}", 2, "published").eval()
    assert model.body.known.most == 38  # type: ignore[attr-defined]
    assert model(long).isfinite().all()


def test_words_are_numbered_by_their_letters() -> None:
    words = HashedWords(2048, 5)
    one, two = words.encode("Good, good film"), words.encode("film good ,")
    assert one[:1] == [1]
    assert one[1] == one[3] == two[2]
    assert (one[2], one[4]) == (two[3], two[1])
    assert len(words.encode("a b c d e f g")) == 5
    assert words.encode("") == [1]
    assert all(2 <= number < 2048 for number in one[1:])


@torch.no_grad()
def test_a_small_encoder_is_whole_in_its_weights() -> None:
    model = pooled(build_model("text:tiny", 3, seed=4)).eval()
    assert (model.in_channels, model.holds, model.feature_channels, model.depth) == (1, "texts", 32, 9)
    other = rebuild(model.blueprint, 3)
    other.load_state_dict(model.state_dict())
    images = prepared("one", "two words", "三")
    torch.testing.assert_close(other.eval()(images), model(images))
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))  # whatever else is in the batch
    assert model(torch.zeros(1, 1, 1, 8)).isfinite().all()  # nothing at all
    assert model(model.blank_images(2, 1, 50)).shape == (2, 3, 1, 1)
    assert deepcopy(model)(images).equal(model(images))
    assert max(parameter_stages(model).values()) == 3  # embeddings, two layers, the head
    unused = [name for name, each in model.named_parameters() if not each.requires_grad]
    assert unused == []


def test_what_is_no_encoder_of_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'text:tiny'"):
        build_model("text:tinny", 2)
    with pytest.raises(PretrainingError, match="imagenet is for networks of images, and 'text:tiny' reads texts"):
        build_model("text:tiny", 2, "imagenet")
    with pytest.raises(PretrainingError, match="'small_fpn' names no weights"):
        build_model("small_fpn", 2, "published")
    with pytest.raises(ConfigError, match="needs a folder, or a name on a hub"):
        build_model("transformers:", 2)
    save_model(tmp_path / "bare", "BertModel")
    with pytest.raises(ConfigError, match=r"has no tokenizer: none of tokenizer\.json, vocab\.txt"):
        build_model(f"transformers:{tmp_path / 'bare'}", 2)
    for file in (tmp_path / "bare").glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    save_tokenizer(tmp_path / "bare")
    with pytest.raises(PretrainingError, match=r"has no weights as \.safetensors, and others can run code"):
        build_model(f"transformers:{tmp_path / 'bare'}", 2, "published")
    save_tokenizer(tmp_path / "several")
    save_model(tmp_path / "several", "BertForSequenceClassification", problem_type="multi_label_classification")
    with pytest.raises(ConfigError, match="does not give one of several classes"):
        adopt(tmp_path / "several")
    with pytest.raises(ConfigError, match=r"mean, std: .* is a model of texts, which has none"):
        adopt(tmp_path / "several", mean=[0.5] * 3, std=[0.5] * 3)
    body = build_model("text:tiny", 2).body
    assert isinstance(body, TextBody)
    with pytest.raises(ConfigError, match="Expected what builds an encoder of texts"):
        rebuild(build_model("text:tiny", 2).blueprint.__class__("native", "text:tiny", {TEXT: {"odd": 1}}), 2)
