"""`EnsembleSelection` in real fits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from muster.callbacks import EnsembleSelection
from muster.errors import SelectionError
from muster.models import Segmenter
from muster.pool import Pool
from muster.selection import Selection
from muster.selection.run import select
from tests.helpers import at_work_elsewhere, make_member, make_pool, make_target

OPTIONS: dict[str, Any] = {"size": 2, "pixels_per_image": 40, "cache_gb": 0.0}


class TinyEnsemble(pl.LightningModule):
    """The least that the callback needs; its losses are separate, like those of the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        self.models = nn.ModuleList()

    @property
    def members_chosen(self) -> bool:
        return bool(self.names)

    def set_members(self, names: Sequence[str], models: Sequence[Segmenter]) -> None:
        self.names = tuple(names)
        for model in models:
            model.replace_head(3, seed=0)
            self.models.append(model.train())

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        return torch.stack([model(batch).square().mean() for model in self.models]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.members_chosen
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def fit(root: Path, callback: EnsembleSelection, steps: int, resume: Path | None = None) -> TinyEnsemble:
    module = TinyEnsemble()
    checkpoints = pl.callbacks.ModelCheckpoint(root / "checkpoints", save_last=True, every_n_train_steps=1)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback, checkpoints],
    )
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        trainer.fit(module, DataLoader(images, batch_size=4), ckpt_path=resume)
    return module


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool", 4)


def test_a_fit_starts_with_what_select_chooses(pool: Pool, tmp_path: Path) -> None:
    expected = select(pool, make_target(), **OPTIONS)
    callback = EnsembleSelection(pool.folder, make_target(), tmp_path / "selection", **OPTIONS)
    module = fit(tmp_path, callback, steps=2)
    assert module.names == expected.members
    assert Selection.load(tmp_path / "selection").members == expected.members
    started = pool[expected.members[0]].load_model().body.state_dict()
    moved = module.models[0].body.state_dict()
    assert any(not torch.equal(started[name], moved[name]) for name in started)  # the optimizer saw the members


def test_nothing_is_chosen_for_a_folder_where_another_process_is_at_work(pool: Pool, tmp_path: Path) -> None:
    seen: list[str] = []
    callback = EnsembleSelection(
        pool, make_target(), tmp_path / "s", progress=lambda what, done, total: seen.append(what), **OPTIONS
    )
    with at_work_elsewhere(tmp_path / "s"), pytest.raises(SelectionError, match="at work on a selection"):
        fit(tmp_path, callback, steps=1)
    assert not seen
    assert fit(tmp_path, callback, steps=1).names
    assert seen


def test_a_resumed_fit_takes_its_own_members_although_the_pool_would_give_others(pool: Pool, tmp_path: Path) -> None:
    first = fit(tmp_path, EnsembleSelection(pool.folder, make_target(), tmp_path / "s", **OPTIONS), steps=2)
    rest = sorted({member.name for member in pool} - set(first.names))
    # Twins under names that come first would win every tie, and the losers are gone.
    for place, name in enumerate(first.names):
        member = pool[name]
        make_member(pool.folder, f"Twin {name}", member.card.seed, classes=len(member.card.classes))
        shutil.rmtree(pool[rest[place]].folder)
    changed = Pool.open(pool.folder)
    assert select(changed, make_target(), **OPTIONS).members != first.names
    last = tmp_path / "checkpoints" / "last.ckpt"
    callback = EnsembleSelection(pool.folder, make_target(), tmp_path / "other", checkpoint=last, **OPTIONS)
    resumed = fit(tmp_path, callback, steps=2, resume=last)  # no step left: what was loaded is what remains
    assert resumed.names == first.names
    assert callback.record is not None
    assert callback.record.members == first.names
    for name, value in first.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    again = EnsembleSelection(pool.folder, make_target(), tmp_path / "other", checkpoint=last, **OPTIONS)
    further = fit(tmp_path, again, 4, last)
    assert further.names == first.names
    assert not (tmp_path / "other").exists()  # nothing was chosen, so nothing is recorded again
    content = torch.load(last, weights_only=True)["callbacks"]["EnsembleSelection"]
    assert json.loads(json.dumps(content)) == content


def make_trainer(callback: EnsembleSelection) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip


def test_a_checkpoint_set_on_the_trainer_or_left_over_from_a_fit_before_is_asked_about(
    pool: Pool, tmp_path: Path
) -> None:
    first = fit(tmp_path, EnsembleSelection(pool, make_target(), tmp_path / "s", **OPTIONS), steps=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    told = EnsembleSelection(pool, make_target(), tmp_path / "other", checkpoint=last, **OPTIONS)
    untold = EnsembleSelection(pool, make_target(), tmp_path / "other", **OPTIONS)
    images = DataLoader(torch.ones(4, 3, 32, 32), batch_size=4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        trainer = make_trainer(told)
        trainer.ckpt_path = last
        trainer.fit(resumed := TinyEnsemble(), images)
        assert resumed.names == first.names
        trainer = make_trainer(untold)
        trainer.ckpt_path = last
        with pytest.raises(SelectionError, match=r"trainer\.ckpt_path is .*last\.ckpt, and whether"):
            trainer.fit(TinyEnsemble(), images)
        assert not (tmp_path / "other").exists()
        trainer.ckpt_path = None
        trainer.fit(begun := TinyEnsemble(), images)
    assert begun.members_chosen
    assert (tmp_path / "other").exists()


def test_a_checkpoint_that_only_the_trainer_has_is_refused_before_a_step(pool: Pool, tmp_path: Path) -> None:
    fit(tmp_path, EnsembleSelection(pool, make_target(), tmp_path / "s", **OPTIONS), steps=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    module = TinyEnsemble()
    trainer = make_trainer(callback := EnsembleSelection(pool, make_target(), tmp_path / "other", **OPTIONS))
    images = DataLoader(torch.ones(4, 3, 32, 32), batch_size=4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        with pytest.raises(SelectionError, match="a checkpoint that EnsembleSelection was not given"):
            trainer.fit(module, images, ckpt_path=last)
    assert trainer.global_step == 0
    callback.teardown(trainer, module, "fit")
    module.load_state_dict(module.state_dict())  # nothing of the refusal is left


def test_a_checkpoint_that_only_the_callback_has_is_refused_before_a_step(pool: Pool, tmp_path: Path) -> None:
    fit(tmp_path, EnsembleSelection(pool, make_target(), tmp_path / "s", **OPTIONS), steps=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    told = EnsembleSelection(pool, make_target(), tmp_path / "other", checkpoint=last, **OPTIONS)
    with pytest.raises(SelectionError, match="the fit does not resume from it"):
        fit(tmp_path, told, steps=2)


def test_a_checkpoint_that_is_not_there_yet_lets_the_callback_choose(pool: Pool, tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    callback = EnsembleSelection(pool, make_target(), tmp_path / "s", checkpoint=last, **OPTIONS)
    module = fit(tmp_path, callback, steps=1)
    assert module.names
    module.load_state_dict(module.state_dict())  # the fit is over: the module loads what it is given
    assert last.is_file()
    resumed = EnsembleSelection(pool, make_target(), tmp_path / "other", checkpoint=last, **OPTIONS)
    assert fit(tmp_path, resumed, steps=2, resume=last).names == module.names


def test_the_short_name_is_the_same_callback() -> None:
    import callbacks

    assert callbacks.EnsembleSelection is EnsembleSelection


def test_a_checkpoint_of_other_members_is_refused(pool: Pool, tmp_path: Path) -> None:
    callback = EnsembleSelection(pool, make_target(), tmp_path / "s", **OPTIONS)
    fit(tmp_path, callback, steps=1)
    state = callback.state_dict()
    callback.load_state_dict(state)
    names = list(state["member_scores"])
    other = next(name for name in names if name not in state["members"])
    with pytest.raises(SelectionError, match="belongs to the ensemble of"):
        callback.load_state_dict(state | {"members": [other, state["members"][0]]})


def test_members_that_are_there_already_stay(pool: Pool, tmp_path: Path) -> None:
    callback = EnsembleSelection(pool, make_target(), tmp_path / "s", **OPTIONS)
    module = TinyEnsemble()
    module.set_members(["a"], [pool["a"].load_model()])
    callback.setup(pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), module, "fit")
    assert module.names == ("a",)
    assert callback.state_dict() == {}


def test_other_stages_choose_nothing(pool: Pool, tmp_path: Path) -> None:
    callback, module = EnsembleSelection(pool, make_target(), tmp_path / "s", **OPTIONS), TinyEnsemble()
    callback.setup(pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), module, "test")
    assert not module.members_chosen


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("was-run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"callbacks": {}}, "does not say which members were chosen"),
        ({"callbacks": {"EnsembleSelection": {"members": ["a"]}}}, "missing key"),
        ({"callbacks": {"EnsembleSelection": Malicious()}}, "Cannot resume"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(
    pool: Pool, tmp_path: Path, content: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "bad.ckpt")
    callback = EnsembleSelection(pool, make_target(), tmp_path / "s", checkpoint=tmp_path / "bad.ckpt", **OPTIONS)
    with pytest.raises(SelectionError, match=message):
        fit(tmp_path, callback, 1, tmp_path / "bad.ckpt")
    assert not (tmp_path / "was-run").exists()


def test_a_folder_of_other_things_is_refused_before_anything_runs(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="which is not part of a selection"):
        EnsembleSelection(pool, make_target(), tmp_path)


SCRIPT = """
import json, sys
from pathlib import Path
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from muster.callbacks import EnsembleSelection
from tests.callbacks.test_ensemble_selection import OPTIONS, TinyEnsemble
from tests.helpers import make_target

if __name__ == "__main__":
    pool, out = map(Path, sys.argv[1:])
    callback = EnsembleSelection(pool, make_target(), out / "selection", **OPTIONS)
    module = TinyEnsemble()
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[callback],
    )
    trainer.fit(module, DataLoader(torch.ones(8, 3, 32, 32), batch_size=4))
    record = callback.record.to_mapping()
    (out / f"{trainer.global_rank}.json").write_text(json.dumps([module.names, record["score"]]))
"""


@pytest.mark.slow  # tests/selection/test_record.py has two processes that choose
@pytest.mark.slow  # two processes that choose, and two that fine-tune, are tested elsewhere in seconds
def test_two_processes_train_the_members_that_one_would(pool: Pool, tmp_path: Path) -> None:
    alone = select(pool, make_target(), **OPTIONS)
    root = Path(__file__).parents[2]
    (tmp_path / "job.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "job.py"), str(pool.folder), str(tmp_path)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        names, score = json.loads((tmp_path / f"{rank}.json").read_text())
        assert tuple(names) == alone.members
        assert score == pytest.approx(alone.score, abs=1e-6)
    assert Selection.load(tmp_path / "selection").members == alone.members
