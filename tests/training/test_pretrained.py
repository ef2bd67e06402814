"""Members and ensembles in the hub's conventions: on local folders, offline, and with a hub on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import huggingface_hub.constants as hub_constants
import pytest
import torch
from huggingface_hub import ModelCard

import muster
from muster.data import Dataset
from muster.errors import PoolError
from muster.model_page import PAGE
from muster.models import build_model
from muster.pool import CARD, SOURCE_SAMPLE, WEIGHTS, Member, Pool, verify_pool
from muster.training import Ensemble, EnsembleError
from muster.training.ensemble_card import CARD as ENSEMBLE_CARD
from muster.training.pretrained import HubError
from muster.training.summary import licences_of
from tests.helpers import make_member, shown
from tests.training.hub_stand_in import COMMIT, Hub

MEMBER_FILES = {CARD, PAGE, SOURCE_SAMPLE, WEIGHTS}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    make_member(folder, "one", 0)
    return folder


@pytest.fixture
def member(pool: Path) -> Member:
    return Pool.open(pool)["one"]


@pytest.fixture
def ensemble_folder(target: Dataset, pool: Path, tmp_path: Path) -> Path:
    """As finetune.py leaves it: the folder of the run, with the ensemble in it."""
    ensemble = Ensemble(("one",), [build_model("small_fpn", 3)], target.spec.classes, shown(target.train, 64))
    licences = licences_of(Pool.open(pool), ["one"], target)
    ensemble.save(tmp_path / "run" / "ensemble", target.spec.name, {"muster": "0"}, licences)
    return tmp_path / "run"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that works, for a user without a token; a prompt would be an error."""

    def never(*_: object) -> str:
        raise AssertionError("a prompt")

    monkeypatch.setattr("builtins.input", never)
    monkeypatch.setattr("getpass.getpass", never)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with Hub() as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr(hub_constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(hub_constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub_constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        yield server
        server.shutdown()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def same_weights(one: Member, other: Member) -> bool:
    first, second = one.load_model().state_dict(), other.load_model().state_dict()
    return all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_member_is_saved_and_opened(member: Member, tmp_path: Path) -> None:
    saved = muster.save_pretrained(member, tmp_path / "new" / "members" / "one")
    assert names(saved) == MEMBER_FILES
    opened = muster.from_pretrained(saved)
    assert isinstance(opened, Member)
    assert opened.card == member.card
    assert same_weights(opened, member)
    found = verify_pool(tmp_path / "new")
    assert (found.members, found.sound, found.problems, found.told) == (1, 1, (), "")
    muster.save_pretrained(str(member.folder), saved)  # replaces an older one


def test_an_ensemble_is_saved_and_opened(ensemble_folder: Path, tmp_path: Path) -> None:
    saved = muster.save_pretrained(ensemble_folder, tmp_path / "copy")
    assert names(saved) == names(ensemble_folder / "ensemble")
    opened = muster.from_pretrained(saved)
    assert isinstance(opened, Ensemble)
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)
    assert torch.equal(opened.predict(image), muster.load_ensemble(ensemble_folder).predict(image))


def test_the_page_of_an_ensemble_names_everybodys_terms(ensemble_folder: Path, target: Dataset) -> None:
    page = ModelCard.load(ensemble_folder / "ensemble" / PAGE)
    assert page.data.license == "other"
    assert page.data.datasets == [target.spec.name]
    for told in (f"data of {target.spec.name}", "data of elsewhere", "one (small\\_fpn)", "image size"):
        assert told in page.text


def test_folders_from_before_get_their_page_when_they_are_saved(
    member: Member, ensemble_folder: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(member.folder, old)
    for folder in (old, ensemble_folder / "ensemble"):
        (folder / PAGE).unlink()
        assert (muster.save_pretrained(folder, tmp_path / "page of" / folder.name) / PAGE).is_file()
        assert not (folder / PAGE).exists()
    card = ensemble_folder / "ensemble" / ENSEMBLE_CARD
    text = card.read_text()
    card.write_text(text[: text.index("licences:")])
    page = (muster.save_pretrained(ensemble_folder, tmp_path / "older") / PAGE).read_text()
    assert "| data and weights that it was made from | not stated |" in page


def test_what_is_damaged_or_no_model_is_refused(member: Member, ensemble_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(member.folder, broken)
    (broken / WEIGHTS).write_bytes((broken / WEIGHTS).read_bytes()[:-1] + b"x")
    for call in (muster.from_pretrained, lambda path: muster.save_pretrained(path, tmp_path / "out")):
        with pytest.raises(PoolError, match="does not match its card"):
            call(broken)
        with pytest.raises(HubError, match=r"holds no model of muster: expected card\.yaml"):
            call(tmp_path)
    with pytest.raises(HubError, match="which is read"):
        muster.save_pretrained(member, member.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(PoolError, match=r"notes\.txt"):
        muster.save_pretrained(member, tmp_path / "mine")
    with pytest.raises(EnsembleError, match=r"notes\.txt"):
        muster.save_pretrained(ensemble_folder, tmp_path / "mine")


def test_names_that_are_neither_folder_nor_repository(tmp_path: Path, member: Member) -> None:
    with pytest.raises(HubError, match=r"There is no folder .*nowhere. Give a folder, or a repository"):
        muster.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(HubError, match="There is no folder nowhere/at_all"):
        muster.push_to_hub("nowhere/at_all", "me/mine")
    with pytest.raises(HubError, match="repo_id: expected OWNER/NAME, but got 'mine'"):
        muster.push_to_hub(member, "mine")


def test_offline_everything_says_so(member: Member, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"me/mine cannot be had from the hub.*HF_HUB_OFFLINE"):
        muster.from_pretrained("me/mine", cache_dir=tmp_path)
    with pytest.raises(HubError, match=r"cannot be sent to me/mine.*hf auth login"):
        muster.push_to_hub(member, "me/mine")


def test_pushed_and_opened_again(hub: Hub, member: Member, ensemble_folder: Path, tmp_path: Path) -> None:
    address = muster.push_to_hub(member, "me/one", commit_message="first", token="mine")
    assert address.endswith(COMMIT)
    assert hub.tokens == {"Bearer mine"}
    assert set(hub.repositories["me/one"]) == MEMBER_FILES
    opened = muster.from_pretrained("me/one", cache_dir=tmp_path / "cache")
    assert isinstance(opened, Member)
    assert opened.card == member.card
    assert same_weights(opened, member)
    muster.push_to_hub(ensemble_folder, "me/ensemble", token="mine")
    assert hub.messages == ["first", "An ensemble by muster"]
    assert isinstance(muster.from_pretrained("me/ensemble", cache_dir=tmp_path / "cache"), Ensemble)
    hub.repositories.clear()  # what is in the cache needs no hub
    assert isinstance(muster.from_pretrained("me/one", cache_dir=tmp_path / "cache", local_files_only=True), Member)
    with pytest.raises(HubError, match="me/two cannot be had"):
        muster.from_pretrained("me/two", cache_dir=tmp_path / "cache")
