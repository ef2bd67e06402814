"""Texts in place of images, and every layout in which they lie."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from muster.data import ImageSize, content_prefixes, open_dataset, require_usable, usual_preprocessing
from muster.data.layout import name_layout
from muster.data.sentences import CORPORA
from muster.data.texts import cut_text, decode_text, decode_texts, encode_text
from muster.data.transforms import prepare_image
from muster.errors import ConfigError, DatasetError

PARTIAL = "ignore:.*is not the whole of"


def test_a_text_comes_back_as_it_was() -> None:
    text = "Grüße, 你好 🙂\nzwei"
    kept = encode_text(text)
    assert (kept.dtype, kept.shape) == (torch.int32, (1, 1, len(text)))
    assert kept.flatten().tolist() == [ord(letter) for letter in text]
    assert torch.equal(encode_text("u\u0308"), encode_text("ü"))  # composed
    seen = cut_text(kept, 20)
    assert (seen.dtype, seen.shape) == (torch.float32, (1, 1, 20))
    assert decode_texts(torch.stack([seen, cut_text(kept, 5)[..., [0, 1, 2, 3, 4] + [4] * 15]])) == [
        text,
        "Grüße" + "e" * 15,
    ]
    assert decode_texts(torch.tensor([[[[72.0, 0.0, 105.0, -3.0, 2e6, 0xD800]]]])) == ["Hi\ufffd"]
    with pytest.raises(DatasetError, match="Text 3 is empty: expected at least one word"):
        encode_text(" \n", "Text 3")


def test_sizes_of_texts_are_numbers_of_characters() -> None:
    size = ImageSize.of("characters:40")
    assert (size.setting, size.fixed, size.fit(1, 7), str(size)) == (
        "characters:40", (1, 40), (1, 40), "40 characters from the beginning",
    )  # fmt: skip
    texts, images = open_dataset("texts/news").train, open_dataset("scenes/land").train
    shown = usual_preprocessing(texts, 40)
    assert (shown.known_size, shown.of_text) == (size, 40)
    assert torch.equal(prepare_image(texts[0].image, shown), texts[0].image[..., :40].float())
    with pytest.raises(
        ConfigError, match=r"expected a number of characters \(512\) for 'texts_news', which holds texts"
    ):
        usual_preprocessing(texts, "shorter:40")
    with pytest.raises(ConfigError, match="expected a size in pixels for 'scenes_land', which holds images"):
        usual_preprocessing(images, "characters:40")
    with pytest.raises(ConfigError, match="a crop needs"):
        ImageSize(characters=4, crop=(1, 2))


@pytest.mark.parametrize("name", CORPORA)
def test_built_in_texts_are_the_same_everywhere(name: str) -> None:
    dataset = open_dataset(f"texts/{name}")
    assert (dataset.spec.task, dataset.spec.holds, dataset.spec.name) == (
        "text_classification", "texts", f"texts_{name}",
    )  # fmt: skip
    again = pickle.loads(pickle.dumps(dataset.test))
    words = {label: set(said.split()) for label, said in CORPORA[name].classes.items()}
    for sample in again[:12]:
        text = decode_text(sample.image)
        counts = {label: sum(word.strip(".,!?;") in each for word in text.split()) for label, each in words.items()}
        assert sum(counts.values()) >= 4, text
    own = [max_of(decode_text(s.image), words) == dataset.spec.classes[int(s.mask)] for s in dataset.train[:60]]
    assert sum(own) > 0.8 * len(own)  # most are told by their words alone
    assert not set(content_prefixes(dataset.train)) & set(content_prefixes(dataset.test))
    require_usable(dataset.test)


def max_of(text: str, words: dict[str, set[str]]) -> str:
    """The class that most words of a text are of."""
    return max(words, key=lambda label: sum(word.strip(".,!?;") in words[label] for word in text.split()))


def test_some_classes_of_texts() -> None:
    some = open_dataset("texts/moods#1")
    assert 2 <= some.spec.num_classes <= 4
    assert (some.spec.holds, some.spec.channels) == ("texts", 1)
    assert {int(sample.mask) for sample in some.train} == set(range(some.spec.num_classes))
    with pytest.raises(DatasetError, match="Did you mean 'news'"):
        open_dataset("texts/newz")


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")


def write_imdb(root: Path) -> None:
    """With texts that have no class."""
    for split, stars in (("train", 9), ("test", 10)):
        put(root / split / "pos" / f"0_{stars}.txt", f"A film of {split}.<br /><br />Great!")
        put(root / split / "neg" / "0_1.txt", f"Dull, {split}.")
    put(root / "train" / "unsup" / "0_0.txt", "Who knows.")
    put(root / "imdb.vocab", "the\n")
    put(root / "imdbEr.txt", "0.0\n")


def write_ag_news(root: Path) -> None:
    put(root / "classes.txt", "World\nSports\n")
    put(root / "train.csv", '"2","Cup","A ""final"" in two\\nhalves"\n"1","Vote","Talks, and more"\n')
    put(root / "test.csv", '"1","Summit","No deal"\n')


def write_carer(root: Path) -> None:
    put(root / "train.txt", "i feel low; really;sadness\ni am glad;joy\n")
    put(root / "test.txt", "what a day;joy\n")
    put(root / "val.txt", "not used;joy\n")


def write_tweet_eval(root: Path) -> None:
    """A tweet may have a character in it at which lines end elsewhere."""
    put(root / "mapping.txt", "0\tnegative\n1\tneutral\n2\tpositive\n")
    for split, texts, labels in (("train", ["so\u2028bad", "ok", "yes!"], "0\n1\n2\n"), ("test", ["@user no"], "0\n")):
        put(root / f"{split}_text.txt", "".join(f"{text}\n" for text in texts))
        put(root / f"{split}_labels.txt", labels)


def write_parquet(root: Path) -> None:
    """As hubs have CARER: the library datasets writes into the files what their columns are."""
    label = {"names": ["sadness", "joy"], "_type": "ClassLabel"}
    info = {"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": label}}}
    for split, texts, labels in (("train", ["glad", "low"], [1, 0]), ("test", ["what a day"], [1])):
        root.mkdir(exist_ok=True)
        table = pa.table({"text": texts, "label": labels}).replace_schema_metadata({"huggingface": json.dumps(info)})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")


WRITERS: dict[str, tuple[Callable[[Path], None], str, str, tuple[str, ...], list[tuple[str, int]]]] = {
    "IMDB": (
        write_imdb, "", "text_folders", ("neg", "pos"),
        [("Dull, train.", 0), ("A film of train.<br /><br />Great!", 1)],
    ),
    "AG News": (
        write_ag_news, ":ag_news", "numbered_csv", ("World", "Sports"),
        [('Cup A "final" in two\nhalves', 1), ("Vote Talks, and more", 0)],
    ),
    "CARER": (
        write_carer, ":carer", "semicolon_lists", ("joy", "sadness"), [("i feel low; really", 1), ("i am glad", 0)],
    ),
    "CARER as Parquet": (
        write_parquet, ":carer", "huggingface", ("sadness", "joy"), [("glad", 1), ("low", 0)],
    ),
    "TweetEval sentiment": (
        write_tweet_eval, ":tweeteval_sentiment", "tweet_eval", ("negative", "neutral", "positive"),
        [("so\u2028bad", 0), ("ok", 1), ("yes!", 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", WRITERS)
def test_a_copy_in_the_true_layout_is_read(title: str, tmp_path: Path) -> None:
    write, named, reader, classes, expected = WRITERS[title]
    write(tmp_path / "copy")
    assert name_layout(tmp_path / "copy") == reader
    name = title.partition(" as ")[0]
    with pytest.warns(UserWarning, match=rf"is not the whole of {name}: it has .* of \d+ \(train\).* is to be had at"):
        dataset = open_dataset(f"{tmp_path / 'copy'}{named}")
    assert (dataset.spec.name, dataset.spec.task, dataset.spec.holds) == (name, "text_classification", "texts")
    assert dataset.spec.classes == classes
    train = pickle.loads(pickle.dumps(dataset.train))
    assert [(decode_text(sample.image), int(sample.mask)) for sample in train] == expected
    assert len(dataset.test) == (2 if title == "IMDB" else 1)
    assert len(set(content_prefixes(train))) == len(train)
    assert list(map(int, map(train.mask, range(len(train))))) == [label for _, label in expected]


def write_lists(root: Path) -> None:
    put(root / "train.csv", 'id,label,text\n1,cat,"says\nmiau"\n2,dog,"wau, wau"\n3,cat,purrs\n')
    put(root / "test.csv", "id,label,text\n4,dog,barks\n")


def test_lists_of_texts(tmp_path: Path) -> None:
    write_lists(tmp_path / "pets")
    dataset = open_dataset(str(tmp_path / "pets"))
    assert (name_layout(tmp_path / "pets"), dataset.spec.classes) == ("text_list", ("cat", "dog"))
    read = [(decode_text(sample.image), int(sample.mask)) for sample in dataset.train]
    assert read == [("says\nmiau", 0), ("wau, wau", 1), ("purrs", 0)]
    put(tmp_path / "tabs" / "train.tsv", 'label\ttext\na\tone "and" two\nb\tthree\na\tfour\nb\tfive\nb\tsix\n')
    with pytest.warns(UserWarning, match="A list of texts in .* has no test split with labels: 1 of the 5"):
        tabs = open_dataset(str(tmp_path / "tabs"))
    assert (len(tabs.train), len(tabs.test)) == (4, 1)
    texts = {decode_text(sample.image) for split in (tabs.train, tabs.test) for sample in split}
    assert texts == {'one "and" two', "three", "four", "five", "six"}
    put(tmp_path / "pets" / "dataset.yaml", "columns: {text: id}\nclasses: [dog, cat]\nreader: text_list\n")
    other = open_dataset(str(tmp_path / "pets"))
    assert [(decode_text(sample.image), int(sample.mask)) for sample in other.test] == [("4", 0)]


@pytest.mark.filterwarnings(PARTIAL)
@pytest.mark.parametrize(
    ("write", "file", "content", "message"),
    [
        (write_lists, "test.csv", "text,label\nx,bird\n", r"test\.csv, line 2: Unknown class 'bird'"),
        (write_lists, "test.csv", "text,label\n,cat\n", r"test\.csv, line 2: expected a text and its label, but text"),
        (write_lists, "test.csv", "text,class\nx,cat\n", r"test\.csv: expected the columns text and label .* label is"),
        (write_lists, "test.csv", 'text,label\n"x,cat\n', r"test\.csv, line \d: .*Expected a text and its label"),
        (write_lists, "test.csv", "text,label\n", r"has an empty split: .*test\.csv has no texts"),
        (write_imdb, "test/odd/1.txt", "x", r"test: Unknown class 'odd'"),
        (write_ag_news, "test.csv", '"3","a","b"\n', r"test\.csv, line 1: expected a class from 1 to 2 \(classes\.txt"),
        (write_ag_news, "test.csv", "a,b\n", r"test\.csv, line 1: expected the number of a class and a text"),
        (write_carer, "test.txt", "no class\n", r"test\.txt, line 1: expected a text, a semicolon and its class"),
        (write_tweet_eval, "test_labels.txt", "0\n1\n", r"as many lines in test_text\.txt as in test_labels\.txt"),
        (write_tweet_eval, "test_labels.txt", "3\n", r"test_labels\.txt, line 1: expected a class from 0 to 2"),
        (write_tweet_eval, "mapping.txt", "1\ta\n", r"mapping\.txt, line 1: expected class 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    write: Callable[[Path], None], file: str, content: str, message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    put(tmp_path / file, content)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(tmp_path))


def test_an_empty_text_is_told_by_its_name(tmp_path: Path) -> None:
    write_imdb(tmp_path)
    put(tmp_path / "test" / "pos" / "7_7.txt", "  ")
    with pytest.warns(UserWarning, match="is not the whole of IMDB"):
        test = open_dataset(str(tmp_path)).test
    with pytest.raises(DatasetError, match=r"7_7\.txt is empty: expected at least one word"):
        require_usable(test)


def test_plain_parquet_files_and_saved_sets(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    table = pa.table({"text": ["a", "b", "c"], "label": ["x", "y", "x"]})
    for split in ("train", "test"):
        pq.write_table(table, tmp_path / "plain" / f"{split}-00000-of-00001.parquet")
    plain = open_dataset(str(tmp_path / "plain"))
    assert (plain.spec.classes, [int(sample.mask) for sample in plain.train]) == (("x", "y"), [0, 1, 0])
    rows = pa.table({"sentence": ["a", "b"], "labels": [2, 0]})
    kinds = {name: {"dtype": kind, "_type": "Value"} for name, kind in (("sentence", "string"), ("labels", "int64"))}
    for split in ("train", "validation"):
        put(tmp_path / "saved" / split / "state.json", json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        put(tmp_path / "saved" / split / "dataset_info.json", json.dumps({"features": kinds}))
        with pa.ipc.new_stream(str(tmp_path / "saved" / split / "data.arrow"), rows.schema) as stream:
            stream.write_table(rows)
    put(tmp_path / "saved" / "dataset_dict.json", json.dumps({"splits": ["train", "validation"]}))
    put(tmp_path / "saved" / "dataset.yaml", "columns: {text: sentence}\nclasses: [low, middle, high]\n")
    saved = open_dataset(str(tmp_path / "saved"))
    assert [(decode_text(s.image), int(s.mask)) for s in saved.test] == [("a", 2), ("b", 0)]
    put(tmp_path / "saved" / "dataset.yaml", "columns: {text: sentence}\nclasses: [low, middle]\n")
    with pytest.raises(DatasetError, match=r"column 'labels' of row 0 in .*saved.* is 2, but expected a class: low"):
        open_dataset(str(tmp_path / "saved"))
