"""Members of pools and fine-tuned ensembles in the conventions of the Hugging Face hub: save, push, and open again.

All of it works on local folders. Only a name that is no folder reaches for the hub, and nothing ever asks for a token:
log in before (``hf auth login``), or set ``HF_TOKEN``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from muster.errors import MusterError, PoolError
from muster.files import atomic_folder
from muster.model_page import PAGE
from muster.output_kinds import ENSEMBLE, MEMBER, OutputKind
from muster.outputs import replaced, require_apart, require_ours
from muster.pool import CARD as MEMBER_CARD
from muster.pool import Member
from muster.pool.page import member_page
from muster.training.ensemble_card import CARD as ENSEMBLE_CARD
from muster.training.ensemble_card import EnsembleError, page_of
from muster.training.finetuned_ensemble import Ensemble, load_ensemble

_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


class HubError(MusterError):
    """A model cannot be had from a hub, or cannot be sent there."""


@dataclass(frozen=True)
class _Model:
    """A folder with a model in it.

    Attributes:
        folder: Where.
        kind: A member or an ensemble.
    """

    folder: Path
    kind: OutputKind

    @classmethod
    def find(cls, path: Path) -> _Model:
        """The model in a folder; of a fine-tuning, its ensemble."""
        for folder in (path, path / "ensemble"):
            for card, kind in ((MEMBER_CARD, MEMBER), (ENSEMBLE_CARD, ENSEMBLE)):
                if (folder / card).is_file():
                    return cls(folder, kind)
        raise HubError(
            f"{path} holds no model of muster: expected {MEMBER_CARD} of a member or {ENSEMBLE_CARD} of an ensemble. "
            "Give the folder of a member (members/NAME in a pool) or what finetune.py wrote."
        )

    def open(self, device: torch.device | str = "cpu") -> Member | Ensemble:
        """Open it, after its files were compared with its card."""
        if self.kind is ENSEMBLE:
            return load_ensemble(self.folder, device)
        member = Member.open(self.folder)
        member.verified_checksum()
        return member

    def files(self) -> list[Path]:
        """What belongs to it."""
        return sorted({path for pattern in self.kind.files for path in self.folder.glob(pattern) if path.is_file()})

    def copy_to(self, folder: Path) -> None:
        """Copy its files, and write its page if it has none: folders from before have not."""
        for path in self.files():
            shutil.copyfile(path, folder / path.name)
        if not (folder / PAGE).is_file():
            member = self.kind is MEMBER
            text = member_page(Member.open(self.folder).card) if member else page_of(self.folder)
            (folder / PAGE).write_text(text, "utf-8")


def from_pretrained(
    path: Path | str,
    *,
    device: torch.device | str = "cpu",
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: Path | str | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Member | Ensemble:
    """Open a member or an ensemble, from a folder or from the hub.

    Args:
        path: A folder, or a repository as ``OWNER/NAME``. A folder of that name goes first.
        device: Where an ensemble is put; a member's ``load_model`` takes its own.
        revision: Branch, tag or commit of the repository.
        token: For the hub; what ``hf auth login`` kept, by default.
        cache_dir: Where downloads are kept; the hub's own cache by default.
        force_download: Fetch anew what is in the cache.
        local_files_only: Take what the cache has, without asking the hub.

    Returns:
        The member, whose weights match its card, or the ensemble in evaluation mode.

    Raises:
        HubError: If there is no such folder and no such repository, or neither holds a model of muster.
        PoolError: If the member is damaged.
        EnsembleError: If the ensemble is damaged.

    Example:
        ``muster.from_pretrained("runs/finetunings/camvid-small_real").predict(image)``
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        name = str(path)
        if not _REPOSITORY.fullmatch(name):
            raise HubError(f"There is no folder {path}. Give a folder, or a repository of the hub as OWNER/NAME.")
        from huggingface_hub import snapshot_download

        with _hub(f"{name} cannot be had from the hub, and there is no such folder"):
            fetched = snapshot_download(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                allow_patterns=[*MEMBER.files, *ENSEMBLE.files],
            )
        folder = Path(fetched)
    return _Model.find(folder).open(device)


def save_pretrained(model: Path | str | Member, folder: Path | str) -> Path:
    """Copy a member or an ensemble to a folder of its own, as it goes to the hub: its files and its page.

    Args:
        model: A member, or the folder of a member, an ensemble or a fine-tuning.
        folder: New, empty, or with an older model of the same kind, which is replaced.

    Returns:
        ``folder``.

    Raises:
        HubError: If there is no model, or the folder overlaps it.
        PoolError: If a member is damaged, or the folder holds something else.
        EnsembleError: Likewise for an ensemble.
        OutputError: If it cannot be written.
    """
    found, output = _find(model), Path(folder)
    require_apart(output, {"the model": found.folder}, "folder", HubError)
    found.open()
    if found.kind is ENSEMBLE:
        with replaced(output, ENSEMBLE, EnsembleError) as partial:
            found.copy_to(partial)
        return output
    require_ours(output, MEMBER, PoolError)
    with atomic_folder(output) as partial:
        found.copy_to(partial)
    return output


def push_to_hub(
    model: Path | str | Member,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "",
    create_pr: bool = False,
) -> str:
    """Send a member or an ensemble to a repository of the hub, which is created if it is not there.

    Look at the licences on its page (``README.md``) first: weights inherit the terms of the data and weights that they
    are made from. A member's ``source_sample.safetensors`` holds features and labels of pixels of its source.

    Args:
        model: A member, or the folder of a member, an ensemble or a fine-tuning. Its files must match its card.
        repo_id: The repository, as ``OWNER/NAME``.
        private: Whether a new repository is private; the owner's default if not said.
        token: For the hub; what ``hf auth login`` kept, by default.
        revision: Branch to send to.
        commit_message: What the commit says.
        create_pr: Propose the change instead of making it.

    Returns:
        The address of the commit.

    Raises:
        HubError: If there is no model, or the hub cannot be reached or refuses.
        PoolError: If a member is damaged.
        EnsembleError: If an ensemble is damaged.
    """
    found = _find(model)
    if not _REPOSITORY.fullmatch(repo_id):
        raise HubError(f"repo_id: expected OWNER/NAME, but got {repo_id!r}.")
    found.open()
    from huggingface_hub import HfApi

    with TemporaryDirectory(prefix="muster-") as temporary:
        found.copy_to(Path(temporary))
        with _hub(f"{found.folder} cannot be sent to {repo_id}"):
            api = HfApi(token=token, library_name="muster")
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=temporary,
                revision=revision,
                create_pr=create_pr,
                commit_message=commit_message or f"{found.kind.title.capitalize()} by muster",
            )
    return str(commit.commit_url)


def _find(model: Path | str | Member) -> _Model:
    path = model.folder if isinstance(model, Member) else Path(model).expanduser()
    if not path.is_dir():
        raise HubError(f"There is no folder {path}. Give the folder of a member or of an ensemble.")
    return _Model.find(path)


@contextmanager
def _hub(failure: str) -> Iterator[None]:
    """Explain what the hub's library raises: it is offline, nobody is logged in, or the hub refuses."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # Its HTTP library was changed twice: the class below its own error is that library's, for what never got through.
    unreachable = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    expected: tuple[type[Exception], ...] = (OSError, HFValidationError, *unreachable)
    try:
        yield
    except expected as error:
        first = str(error).strip().partition("\n")[0]
        raise HubError(
            f"{failure} ({type(error).__name__}: {first}). Is there a connection, is HF_HUB_OFFLINE unset, and are you "
            "logged in (hf auth login, or HF_TOKEN)?"
        ) from error
