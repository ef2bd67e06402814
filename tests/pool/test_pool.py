"""Members on disk and the pool that they make."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muster.errors import PoolError
from muster.files import sha256_of
from muster.model_page import PAGE
from muster.models import build_model
from muster.pool import CARD, HISTORY, SOURCE_SAMPLE, WEIGHTS, Member, Pool, write_member
from tests.helpers import make_member, make_target


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ein Pool, größer"


@pytest.fixture
def member(root: Path) -> Member:
    return make_member(root, "b", 1)


def change_card(member: Member, old: str, new: str) -> None:
    path = member.folder / CARD
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


class TestMember:
    def test_comes_back_as_it_was_written(self, root: Path) -> None:
        model = build_model("small_unet", 3, seed=5)
        card = replace(make_member(root, "x", 0).card, name="y", architecture="small_unet", classes=("a", "b", "größe"),
                       test_ious=(0.5, None, 0.25), learning_rate=1e-05, mean=(0.1, 1 / 3, 0.3))  # fmt: skip
        sample = {"labels": torch.arange(3), "features": torch.rand(3, 2, generator=torch.Generator().manual_seed(0)).T}
        written = write_member(root / "members" / "y", model, card, sample, lambda path: path.write_text("step\n"))
        opened = Member.open(root / "members" / "y")
        assert opened == written
        assert opened.card == replace(card, checksum=sha256_of(opened.folder / WEIGHTS))
        assert sorted(p.name for p in opened.folder.iterdir()) == sorted([CARD, HISTORY, PAGE, SOURCE_SAMPLE, WEIGHTS])
        loaded = opened.load_model()
        assert not loaded.training
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)
        for name, value in opened.load_source_sample().items():
            assert torch.equal(value, sample[name])
        assert opened.problem() is None

    def test_a_write_that_fails_leaves_the_member_that_was_there(self, root: Path, member: Member) -> None:
        def fail(path: Path) -> None:
            raise OSError(path)

        with pytest.raises(OSError, match=HISTORY):
            write_member(member.folder, build_model("small_fpn", 4, seed=9), member.card, {"n": torch.zeros(1)}, fail)
        assert [path.name for path in (root / "members").iterdir()] == ["b"]
        assert Member.open(member.folder) == member
        assert member.problem() is None

    def test_weights_that_are_not_those_of_the_card(self, member: Member) -> None:
        path = member.folder / WEIGHTS
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(PoolError, match=r"Member 'b': .*model\.safetensors does not match its card"):
            member.load_model()
        assert "does not match its card" in str(member.problem())

    @pytest.mark.parametrize("adjusted", [False, True])
    def test_truncated_weights(self, member: Member, adjusted: bool) -> None:
        path = member.folder / WEIGHTS
        path.write_bytes(path.read_bytes()[:1000])
        if adjusted:
            member = replace(member, card=replace(member.card, checksum=sha256_of(path)))
        said = "cannot be read as safetensors" if adjusted else "does not match its card"
        problem = str(member.problem())
        assert said in problem
        assert str(path) in problem

    @pytest.mark.parametrize(("key", "value"), [("architecture", "small_unet"), ("classes", ("one", "two"))])
    def test_weights_of_something_else(self, member: Member, key: str, value: object) -> None:
        other = replace(member, card=replace(member.card, **{key: value}))  # type: ignore[arg-type]
        assert "'b'" in str(other.problem())
        assert f"does not fit {other.card.architecture!r}" in str(other.problem())

    def test_an_architecture_that_is_not_known(self, member: Member) -> None:
        change_card(member, "small_fpn", "small_fpm")
        problem = str(Member.open(member.folder).problem())
        assert "Member 'b'" in problem
        assert "Did you mean 'small_fpn'?" in problem

    @pytest.mark.parametrize("content", [None, b"no tensors"])
    def test_a_source_sample_that_is_gone_or_damaged(self, member: Member, content: bytes | None) -> None:
        path = member.folder / SOURCE_SAMPLE
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        assert member.load_model() is not None
        assert f"{path} cannot be read as safetensors" in str(member.problem())

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("domain:", "domian:", r"missing key\(s\) domain"),
            ("depth:", "dept:", r"missing key\(s\) depth"),
            ("seed: 1\n", "seed: 1\ncolour: red\n", r"unknown key\(s\) colour"),
            ("steps: 1\n", "steps: many\n", 'key "steps"'),
            ("format_version: 1", "format_version: 99", "expected format_version 1, but got 99"),
            ("format_version: 1", "- format_version", "cannot be read as YAML"),
        ],
    )
    def test_a_card_that_is_not_valid(self, member: Member, old: str, new: str, said: str) -> None:
        change_card(member, old, new)
        with pytest.raises(PoolError, match=said) as caught:
            Pool.open(member.folder.parents[1])
        assert str(member.folder / CARD) in str(caught.value)


class TestPool:
    def test_is_sorted_by_name_and_found_by_name(self, root: Path) -> None:
        for seed, name in enumerate("cab"):
            make_member(root, name, seed)
        pool = Pool.open(str(root))
        assert [member.name for member in pool] == ["a", "b", "c"]
        assert (len(pool), pool["c"].card.seed) == (3, 0)
        with pytest.raises(PoolError, match=r"Unknown member 'd'.*Known: a, b, c"):
            pool["d"]

    def test_two_members_of_one_name(self, root: Path, member: Member) -> None:
        shutil.copytree(member.folder, root / "members" / "copy")
        with pytest.raises(PoolError, match=r"Two members are named 'b': .*members/b and .*members/copy"):
            Pool.open(root)

    def test_what_is_half_written_is_ignored(self, root: Path, member: Member) -> None:
        (root / "members" / ".partial-xyzc").mkdir()
        assert [each.name for each in Pool.open(root)] == [member.name]

    @pytest.mark.parametrize("gone", [(CARD,), (WEIGHTS,), (CARD, WEIGHTS)])
    def test_an_incomplete_member_is_named(self, root: Path, member: Member, gone: tuple[str, ...]) -> None:
        for name in gone:
            (member.folder / name).unlink()
        with pytest.raises(PoolError, match="is incomplete") as caught:
            Pool.open(root)
        told = " and ".join(f"{name} is missing" for name in gone)
        assert f"{member.folder} is incomplete: {told}" in str(caught.value)

    def test_what_may_not_be_looked_into_is_named(self, root: Path, member: Member) -> None:
        other = make_member(root, "c", 2)
        for folder, told in ((other.folder, "members/c is incomplete"), (root / "members", "cannot be looked into")):
            folder.chmod(0)
            try:
                if os.access(folder, os.R_OK):
                    pytest.skip("this user may look into everything")
                with pytest.raises(PoolError, match=f"{told}.*Permission denied"):
                    Pool.open(root)
            finally:
                folder.chmod(0o755)
        assert len(Pool.open(root)) == 2

    @pytest.mark.parametrize("made", ["file", "link", "nothing"])
    def test_what_is_no_folder_of_a_member(self, tmp_path: Path, made: str) -> None:
        path = tmp_path / "member"
        if made == "file":
            path.touch()
        elif made == "link":
            path.symlink_to("/nowhere/at all")
        told = {"file": "a file", "link": "a link to /nowhere/at all, which is not there", "nothing": "missing"}[made]
        with pytest.raises(PoolError, match=f"member is not the folder of a member: it is {told}"):
            Member.open(path)

    def test_nothing_there(self, root: Path) -> None:
        with pytest.raises(PoolError, match="There is no pool"):
            Pool.open(root)
        (root / "members").mkdir(parents=True)
        with pytest.raises(PoolError, match="has no members yet"):
            Pool.open(root)

    def test_members_that_saw_the_target_are_barred_whatever_the_case(self, root: Path) -> None:
        make_member(root, "a", 0, dataset="CamVid")
        make_member(root, "b", 1, dataset="camvid2")
        seer = make_member(root, "c", 2)
        write_member(seer.folder, seer.load_model(), replace(seer.card, seen_datasets=("elsewhere", "CAMVID")), {})
        candidates, barred = Pool.open(root).eligible_for(make_target(name="camVid"))
        assert [member.name for member in candidates] == ["b"]
        assert barred == dict.fromkeys("ac", "was trained on the target, camVid")
