"""Members' predictions at probe pixels, kept on disk by content: what was computed once is not computed again.

Nothing is ever invalid in it: a key stands for everything the numbers depend on, so other weights, other images or
another probe set simply have another key. What was not used for longest goes first when the cache is full.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from muster.data import Preprocessing
from muster.errors import OutputError
from muster.files import PARTIAL, atomic_write, is_partial, remove_partial
from muster.probe.pixels import ProbeSet

FORMAT_VERSION = 3
"""Part of every key: raise it when the same inputs are to give other numbers."""

_TENSOR = "probabilities"
_SUFFIX = ".safetensors"
_KEY = re.compile("[0-9a-f]{64}")
_ABANDONED_SECONDS = 3600.0
"""What is still unfinished after this long was left by a process that died."""


def default_cache_folder() -> Path:
    """``$MUSTER_CACHE``, or else ``~/.cache/muster/probe``."""
    return Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster" / "probe").expanduser()


def prediction_key(
    weights: str,
    architecture: str,
    probe: ProbeSet,
    preprocessing: Preprocessing,
    device: str,
    precision: str = "32-true",
) -> str:
    """A name for the predictions of one member on one probe set.

    Args:
        weights: SHA-256 of the member's weights file.
        architecture: What they are weights of.
        probe: Which pixels of which images; their labels do not matter.
        preprocessing: How the member sees the images.
        device: Kind of device; kinds round differently.
        precision: The precision of the forward pass, see :data:`muster.precision.Precision`.

    Returns:
        64 hexadecimal digits.
    """
    facts = {
        "format_version": FORMAT_VERSION,
        "weights": weights,
        "architecture": architecture,
        "images": probe.content,
        "sizes": probe.sizes,
        "starts": probe.starts,
        "preprocessing": asdict(preprocessing),
        "precision": precision,
        "device": device,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for places in (probe.rows, probe.columns):
        key.update(places.contiguous().numpy().tobytes())
    return key.hexdigest()


@dataclass(frozen=True)
class ProbeCache:
    """A folder of predictions with a size limit.

    A folder that cannot be used, or a damaged file in it, costs a warning or a repeated computation, never the run.

    Attributes:
        folder: Where; made when first written to.
        limit_gb: Most that it may hold, in units of 10^9 bytes. The least recently used predictions go first.
    """

    folder: Path
    limit_gb: float = 5.0
    _writing: _Writing = field(default_factory=lambda: _Writing(), init=False, repr=False, compare=False)

    def get(self, key: str, num_pixels: int, num_classes: int) -> Float32[Tensor, "pixels source_classes"] | None:
        """Look a prediction up, and mark it as used.

        Args:
            key: See :func:`prediction_key`.
            num_pixels: Rows that it must have.
            num_classes: Columns that it must have.

        Returns:
            The probabilities, or ``None`` if they are not there or damaged; then they are to be computed and put again.
        """
        found = (self.get_tensors(key) or {}).get(_TENSOR)
        fits = found is not None and found.shape == (num_pixels, num_classes) and found.dtype == torch.float32
        return found if fits else None

    def get_tensors(self, key: str) -> dict[str, Tensor] | None:
        """Look up what :meth:`put_tensors` kept, and mark it as used.

        Args:
            key: 64 hexadecimal digits.

        Returns:
            By name, on the CPU; ``None`` if it is not there or damaged.
        """
        self.finish()
        path = self._path(key)
        try:
            found = load_file(path)
            os.utime(path)
        except (OSError, SafetensorError):
            return None
        return found

    def holds(self, key: str) -> bool:
        """Whether a file of that key is there and whole, as far as its beginning and its length tell.

        Args:
            key: 64 hexadecimal digits.
        """
        try:
            with safe_open(self._path(key), "pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def put_tensors(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors by name, such as the weights of a network; likewise.

        Args:
            key: 64 hexadecimal digits that stand for everything they depend on.
            tensors: On any device. More than the limit is not kept at all.

        Warns:
            UserWarning: If they cannot be written.
        """
        self.put_tensors_later(key, tensors)
        self.finish()

    def put_tensors_later(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """The same while the caller goes on; :meth:`finish` says if it went wrong.

        Args:
            key: As for :meth:`put_tensors`.
            tensors: Likewise; not to be changed any more.
        """
        if sum(value.nbytes for value in tensors.values()) <= self.limit_gb * 1e9:
            self._writing.start(lambda: self._write(key, tensors))

    def put(self, key: str, probabilities: Float32[Tensor, "pixels source_classes"]) -> None:
        """Keep a prediction, and let others go until the folder is within its limit.

        Args:
            key: See :func:`prediction_key`.
            probabilities: What to keep. More than the limit is not kept at all.

        Warns:
            UserWarning: If it cannot be written.
        """
        self.put_later(key, probabilities)
        self.finish()

    def put_later(self, key: str, probabilities: Float32[Tensor, "pixels source_classes"]) -> None:
        """The same while the caller goes on; :meth:`finish` says if it went wrong.

        Args:
            key: See :func:`prediction_key`.
            probabilities: On any device; not to be changed any more.
        """
        self.put_tensors_later(key, {_TENSOR: probabilities})

    def take_over(self, path: Path) -> None:
        """Put a file of another cache into this one; :meth:`finish` says if it went wrong.

        Args:
            path: Named by its key. More than the limit is not kept at all.
        """
        if path.stat().st_size <= self.limit_gb * 1e9 and not self.holds(path.stem):
            self._writing.start(lambda: self._copy(path))

    def finish(self) -> None:
        """Wait until all is written.

        Warns:
            UserWarning: If something could not be.
        """
        for cause in self._writing.faults():
            warnings.warn(
                f"Predictions are not kept for the next time: cannot write to the cache {self.folder} ({cause}). "
                "Name another folder with cache_dir, or switch the cache off with cache_gb 0.",
                stacklevel=3,
            )

    def _write(self, key: str, tensors: Mapping[str, Tensor]) -> str | None:
        """Write one file; what kept it from being written, if anything."""

        def write(partial: Path) -> None:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial)

        return self._fill(key, write)

    def _copy(self, path: Path) -> str | None:
        return self._fill(path.stem, lambda partial: shutil.copyfile(path, partial))

    def _fill(self, key: str, write: Callable[[Path], object]) -> str | None:
        try:
            with atomic_write(self._path(key)) as partial:
                write(partial)
            self._shrink()
        except OSError as problem:
            return str(problem.cause if isinstance(problem, OutputError) else problem.strerror)
        return None

    def clear(self) -> int:
        """Delete all that is in it.

        Returns:
            Number of bytes freed.

        Raises:
            OutputError: If something cannot be deleted.
        """
        self.finish()
        freed = 0
        try:
            for path, size, _ in self._entries():
                path.unlink(missing_ok=True)
                freed += size
            remove_partial(self.folder)
        except OSError as problem:
            raise OutputError(f"The cache {self.folder} cannot be emptied: {problem.strerror}.") from problem
        return freed

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _entries(self) -> list[tuple[Path, int, float]]:
        """Path, bytes and time of last use of each prediction, the least recently used first."""
        entries = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if not _KEY.fullmatch(path.stem):  # not ours: somebody may name a folder with files of his own
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process let it go just now
                continue
            entries.append((path, stat.st_size, stat.st_mtime))
        return sorted(entries, key=lambda entry: (entry[2], entry[0].name))

    def _shrink(self) -> None:
        for left in self.folder.glob(f"{PARTIAL}*"):
            try:
                if is_partial(left.name) and time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                    left.unlink()
            except FileNotFoundError:
                continue
        entries = self._entries()
        surplus = sum(size for _, size, _ in entries) - self.limit_gb * 1e9
        for path, size, _ in entries:
            if surplus <= 0:
                break
            path.unlink(missing_ok=True)
            surplus -= size


class _Writing:
    """Writes files one after the other in a thread, which ends when the process does, not before it is done."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._started: list[Future[str | None]] = []

    def start(self, write: Callable[[], str | None]) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "probe-cache")
        self._started.append(self._thread.submit(write))

    def faults(self) -> list[str]:
        """Wait; what went wrong since the last time."""
        started, self._started = self._started, []
        return [fault for each in started if (fault := each.result()) is not None]
