"""Pools, data and results in an object store: a server of S3's protocol on this machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest
import s3fs
import yaml
from moto.server import ThreadedMotoServer

from muster import remote
from muster.commands.main import start
from muster.data import open_dataset
from muster.errors import ConfigError, OutputError, PoolError
from muster.output_kinds import FINETUNING
from muster.outputs import claimed
from muster.pool import Pool
from muster.remote import address_of, copies, copy_of, fetched, is_remote, send, with_copies
from muster.training.finetuned_ensemble import load_ensemble
from tests.execution.this_process import without_workers
from tests.helpers import make_member
from tests.odd_inputs.bench import Bench, write_dataset

BUCKET = "shelf"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    yield f"http://{host}:{port}"
    made.stop()


@pytest.fixture
def store(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> s3fs.S3FileSystem:
    """An empty bucket, and an empty folder for copies."""
    for name, value in {
        "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", "MUSTER_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_looked_up", set())
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)
    return files


def moved_on(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Another process, maybe on another machine."""
    monkeypatch.setenv("MUSTER_CACHE", str(cache))
    monkeypatch.setattr(remote, "_looked_up", set())


def there(store: s3fs.S3FileSystem, folder: str) -> set[str]:
    store.invalidate_cache()
    return {path.removeprefix(f"{BUCKET}/{folder}/") for path in store.find(f"{BUCKET}/{folder}")}


def test_addresses_are_told_from_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path))
    assert is_remote("s3://bucket/a")
    assert is_remote(Path("s3://bucket/a"))
    for other in ("worlds/attic", "a:b", "https://host/a", "data:/home/my.yaml", "nothing://x", "/s3/bucket", "s3:"):
        assert not is_remote(other), other
    assert copy_of("s3://bucket/a/b/") == tmp_path / "muster-remote/s3/bucket/a/b"
    assert copy_of("file:///home/me") == Path("/home/me")
    assert address_of(copy_of("gs://bucket/a")) == "gs://bucket/a"
    assert address_of(Path("/of/another/muster-remote/s3/bucket/a")) == "s3://bucket/a"
    assert address_of(tmp_path / "runs") is None
    assert with_copies([Path("s3://b/c"), "s3://b/c", 3]) == [tmp_path / "muster-remote/s3/b/c", "s3://b/c", 3]
    with pytest.raises(ConfigError, match=r"^s3x://b/c: Unknown protocol of folders 's3x'\. Did you mean 's3"):
        with_copies({"output": Path("s3x://b/c")})
    with pytest.raises(ConfigError, match="without empty parts"):
        copy_of("s3://bucket/../other")


def test_a_copy_follows_its_original(store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in {"a.txt": "one", "b/c.txt": "two"}.items():
        store.pipe(f"{BUCKET}/x/{name}", text.encode())
    here = fetched(f"s3://{BUCKET}/x")
    assert (here / "a.txt").read_text() == "one"
    assert (here / "b/c.txt").read_text() == "two"
    store.pipe(f"{BUCKET}/x/b/c.txt", b"new")
    store.rm(f"{BUCKET}/x/a.txt")
    store.pipe(f"{BUCKET}/x/d.txt", b"three")
    assert fetched(here) == here
    assert (here / "b/c.txt").read_text() == "two", "a process sees one state of it"
    moved_on(monkeypatch, tmp_path / "cache")
    fetched(here)
    assert sorted(path.name for path in here.rglob("*.txt")) == ["c.txt", "d.txt"]
    assert (here / "b/c.txt").read_text() == "new"


def test_what_is_unchanged_is_not_read_again(
    store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.pipe(f"{BUCKET}/x/a.txt", b"one")
    path = fetched(f"s3://{BUCKET}/x") / "a.txt"
    before = path.stat().st_ino
    moved_on(monkeypatch, tmp_path / "cache")
    fetched(path.parent)
    assert path.stat().st_ino == before
    path.write_text("spoilt")
    moved_on(monkeypatch, tmp_path / "cache")
    fetched(path.parent)
    assert path.read_text() == "one"


def test_results_are_sent_with_records_last_and_what_went_is_removed(
    store: s3fs.S3FileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "werkzeug")

    def sent() -> list[str]:
        """As the server saw it."""
        names = re.findall(rf"PUT /{BUCKET}/run/(\S+) ", caplog.text)
        caplog.clear()
        return names

    folder = copy_of(f"s3://{BUCKET}/run")
    with claimed(folder, FINETUNING):
        for name in ("card.yaml", "result.yaml", "zz.safetensors"):
            (folder / name).write_text("x: 1")
        (folder / "work").mkdir()
        (folder / "work" / "last.ckpt").write_text("big")
    assert sent() == [".muster", "zz.safetensors", "result.yaml", "card.yaml"]
    with claimed(folder, FINETUNING):
        (folder / "zz.safetensors").unlink()
        (folder / "result.yaml").write_text("x: 22")
    assert sent() == ["result.yaml"]
    assert there(store, "run") == {"card.yaml", "result.yaml", ".muster"}


def test_a_member_without_its_card_is_not_there_yet(store: s3fs.S3FileSystem, tmp_path: Path) -> None:
    make_member(tmp_path / "pool", "a", 0)
    make_member(tmp_path / "pool", "b", 1)
    for path in (tmp_path / "pool").rglob("*"):
        if path.is_file() and path.relative_to(tmp_path / "pool").parts[1:] != ("b", "card.yaml"):
            store.put_file(str(path), f"{BUCKET}/pool/{path.relative_to(tmp_path / 'pool')}")
    assert [member.name for member in Pool.open(f"s3://{BUCKET}/pool")] == ["a"]


def test_errors_name_the_address(store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoolError, match=r"There is no pool .*/s3/shelf/none"):
        Pool.open(f"s3://{BUCKET}/none")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    folder = copy_of(f"s3://{BUCKET}/run")
    folder.mkdir(parents=True)
    (folder / "result").write_text("of a night")
    with pytest.raises(OutputError, match=r"s3://shelf/run cannot be written: .* All of it is in .*run; the same"):
        send(folder)
    assert (folder / "result").read_text() == "of a night"


def test_from_data_in_a_store_to_an_ensemble_in_it(
    store: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command on a machine of its own: it has nothing but what is in the store."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data" / "tiny")
    for name, seed in (("a", 0), ("b", 1)):
        make_member(tmp_path / "pool", name, seed, classes=3)
    for folder in ("data", "pool"):
        store.put(str(tmp_path / folder), f"{BUCKET}/{folder}", recursive=True)
        shutil.rmtree(tmp_path / folder)
    root, bench = f"s3://{BUCKET}", Bench(tmp_path, tmp_path)
    moved_on(monkeypatch, tmp_path / "machine 1")
    _, *words = bench.selecting("--data_root", f"{root}/data", "--output", f"{root}/chosen", pool=f"{root}/pool")
    assert start("select", arguments=words) == 0, capsys.readouterr().err
    moved_on(monkeypatch, tmp_path / "machine 2")
    _, *words = bench.finetuning("--output", f"{root}/tuned", selection=f"{root}/chosen")
    assert start("finetune", arguments=words) == 0, capsys.readouterr().err
    assert {"result.yaml", "ensemble/ensemble.yaml", "report.html"} <= there(store, "tuned")
    assert yaml.safe_load(store.cat(f"{BUCKET}/tuned/config.yaml"))["output"] == f"{root}/tuned"
    moved_on(monkeypatch, tmp_path / "machine 3")
    image = open_dataset(f"{root}/data/tiny").test.read("0").image
    assert load_ensemble(f"{root}/tuned").predict(image).shape == (64, 64)
    assert not (copies() / "s3" / BUCKET / "pool").exists(), "a fine-tuned ensemble needs no pool"


def test_models_in_a_store_are_ranked(store: s3fs.S3FileSystem, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make_member(tmp_path / "pool", name, seed)
    store.put(str(tmp_path / "pool"), f"{BUCKET}/pool", recursive=True)
    data = write_dataset(tmp_path / "tiny", images=3, tests=1, size=32)
    words = ["--target", str(data), "--pixels_per_image", "20", "--image_size", "32", "--by", "linear_probe"]
    words += ["--table", f"s3://{BUCKET}/tables/ranked.csv"]
    assert start("rank", arguments=[*words, "--models", f"s3://{BUCKET}/pool/members/b"]) == 0
    assert set(pandas.read_csv(store.open(f"{BUCKET}/tables/ranked.csv"), index_col=0).index) == {"b"}
    assert not (copies() / "s3" / BUCKET / "pool" / "members" / "a").exists()
    assert start("rank", arguments=[*words, "--models", f"s3://{BUCKET}/pool"]) == 0
    assert set(pandas.read_csv(store.open(f"{BUCKET}/tables/ranked.csv"), index_col=0).index) == {"a", "b"}
    assert start("rank", arguments=[*words, "--models", "s4://shelf/pool"]) == 2


def test_a_pool_is_trained_into_a_store(
    store: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "tiny")
    _, *words = Bench(tmp_path, tmp_path).training(output=f"s3://{BUCKET}/pool")
    with without_workers():
        assert start("train", arguments=words) == 0
    assert {"members/tiny-small_fpn/card.yaml", "members/tiny-small_fpn/model.safetensors"} <= there(store, "pool")
    moved_on(monkeypatch, tmp_path / "another machine")
    (member,) = Pool.open(f"s3://{BUCKET}/pool")
    assert member.problem() is None
