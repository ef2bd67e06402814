"""Rows that the library ``datasets`` wrote: Arrow tables that it saved, or Parquet files as hubs have them."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from muster.data.json_files import read_json
from muster.errors import DatasetError
from muster.user_files import open_regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

STATE, INFO = "state.json", "dataset_info.json"

_PART = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?")

MOST_KEPT_BYTES = 1 << 29
"""Of decoded row groups of Parquet files, which can only be read whole: as much is kept in memory by each process."""


class Rows(ABC):
    """A set of rows. Must survive pickling (data loader workers)."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What messages call it."""

    @property
    @abstractmethod
    def info(self) -> Mapping[str, Any]:
        """What the library says of it: ``features`` by the names of the columns, maybe ``license`` and ``citation``.

        Raises:
            DatasetError: If it says nothing.
        """

    @abstractmethod
    def column(self, name: str) -> list[Any]:
        """All cells of a column; for columns of small values.

        Raises:
            DatasetError: If there is no such column, or a file is damaged.
        """

    @abstractmethod
    def cell(self, column: str, row: int) -> Any:
        """One cell.

        Raises:
            DatasetError: As :meth:`column`.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where paths in cells start from."""

    def content(self, column: str, identifier: str) -> bytes:
        """The file that a cell holds.

        Args:
            column: Which column.
            identifier: Number of the row.

        Returns:
            Its bytes.

        Raises:
            DatasetError: If it is empty, or names a file that is not there.
        """
        cell = self.cell(column, int(identifier)) or {}
        if cell.get("bytes"):
            found: bytes = cell["bytes"]
            return found
        if not cell.get("path"):
            raise DatasetError(f"{self.called(column, identifier)} is empty.")
        try:
            with open_regular(self.folder / cell["path"]) as file:
                return file.read()
        except OSError as error:
            raise DatasetError(
                f"{self.called(column, identifier)} is in {cell['path']}, which cannot be read: {error.strerror}."
            ) from error

    def called(self, column: str, identifier: str) -> str:
        """What messages call a cell."""
        return f"column {column!r} of row {int(identifier)} in {self.place}"


@dataclass
class SavedRows(Rows):
    """A set that ``save_to_disk`` wrote; each process maps its files into memory when it first reads from them.

    Attributes:
        saved: Its folder.
    """

    saved: Path

    @property
    def place(self) -> str:
        """See :attr:`Rows.place`."""
        return str(self.saved)

    @property
    def folder(self) -> Path:
        """See :attr:`Rows.folder`."""
        return self.saved

    @property
    def info(self) -> Mapping[str, Any]:
        """See :attr:`Rows.info`."""
        return read_json(self.saved / INFO)

    @cached_property
    def table(self) -> pa.Table:
        """The rows.

        Raises:
            DatasetError: If a file is missing or damaged.
        """
        import pyarrow as pa  # here, as every folder that is opened is shown to every layout

        files = read_json(self.saved / STATE).get("_data_files") or []
        try:
            parts = [pa.ipc.open_stream(pa.memory_map(str(self.saved / each["filename"]))).read_all() for each in files]
            return pa.concat_tables(parts)
        except (OSError, pa.ArrowInvalid, KeyError, TypeError) as error:
            raise DatasetError(f"The set in {self.saved} cannot be read: {error}. Save it again.") from error

    def column(self, name: str) -> list[Any]:
        """See :meth:`Rows.column`."""
        found: list[Any] = self._column(name).to_pylist()
        return found

    def cell(self, column: str, row: int) -> Any:
        """See :meth:`Rows.cell`."""
        return self._column(column)[row].as_py()

    def _column(self, name: str) -> Any:
        try:
            return self.table.column(name)
        except KeyError as error:
            raise DatasetError(f"The set in {self.saved} has no column {name!r}. Save it again.") from error

    def __len__(self) -> int:
        """See :class:`Rows`."""
        return int(self.table.num_rows)

    def __getstate__(self) -> dict[str, Any]:
        """Files are mapped anew by whoever is handed this."""
        return {key: value for key, value in self.__dict__.items() if key != "table"}


@dataclass
class ParquetRows(Rows):
    """Parquet files, one after the other. A row is read with all others of its row group.

    Attributes:
        files: In order; at least one.
    """

    files: tuple[Path, ...]

    @property
    def place(self) -> str:
        """See :attr:`Rows.place`."""
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0].name} and others in {self.folder}"

    @property
    def folder(self) -> Path:
        """See :attr:`Rows.folder`."""
        return self.files[0].parent

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """See :attr:`Rows.info`: the library writes it into the files; others are known by plain columns."""
        schema = self._opened[0].schema_arrow
        metadata = schema.metadata or {}
        if b"huggingface" not in metadata and all(_is_plain(each) for each in schema.types):
            kinds = zip(schema.names, schema.types, strict=True)
            return {"features": {name: {"_type": "Value", "dtype": str(kind)} for name, kind in kinds}}
        try:
            found: Mapping[str, Any] = json.loads(metadata[b"huggingface"])["info"]
        except (KeyError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{self.files[0]} does not say what its columns are: expected a file that the library datasets wrote "
                "(Dataset.to_parquet, push_to_hub), with features in it."
            ) from error
        return found

    @cached_property
    def _opened(self) -> Sequence[pq.ParquetFile]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        found = []
        for file in self.files:
            try:
                with open_regular(file):  # pyarrow would open anything
                    found.append(pq.ParquetFile(file))
            except OSError as error:
                raise DatasetError(f"{file} cannot be read: {error.strerror or error}.") from error
            except pa.ArrowInvalid as error:
                raise DatasetError(f"{file} is no Parquet file: {error}. Download it again.") from error
        return found

    @cached_property
    def _groups(self) -> tuple[list[tuple[int, int]], list[int]]:
        """File and row group of each, and the number of its first row."""
        places, begins, row = list[tuple[int, int]](), list[int](), 0
        for number, file in enumerate(self._opened):
            for group in range(file.num_row_groups):
                places.append((number, group))
                begins.append(row)
                row += file.metadata.row_group(group).num_rows
        return places, begins

    @cached_property
    def _lock(self) -> Lock:
        return Lock()

    @cached_property
    def _kept(self) -> dict[tuple[int, str], Any]:
        return {}

    def column(self, name: str) -> list[Any]:
        """See :meth:`Rows.column`."""
        return [value for number in range(len(self._groups[0])) for value in self._read(number, name).to_pylist()]

    def cell(self, column: str, row: int) -> Any:
        """See :meth:`Rows.cell`."""
        with self._lock:  # images are read in threads
            _, begins = self._groups
            number = bisect_right(begins, row) - 1
            values = self._kept.get((number, column))
            if values is None:
                values = self._read(number, column)
                self._keep((number, column), values)
        return values[row - begins[number]].as_py()

    def _keep(self, key: tuple[int, str], values: Any) -> None:
        """Keep a column of a row group; the oldest make room for it."""
        kept = self._kept
        while kept and sum(each.nbytes for each in kept.values()) + values.nbytes > MOST_KEPT_BYTES:
            kept.pop(next(iter(kept)))
        kept[key] = values

    def _read(self, number: int, column: str) -> Any:
        import pyarrow as pa

        file, group = self._groups[0][number]
        try:
            return self._opened[file].read_row_group(group, columns=[column]).column(column)
        except (OSError, pa.ArrowInvalid, KeyError) as error:
            raise DatasetError(f"{self.files[file]}: column {column!r} cannot be read: {error}.") from error

    def __len__(self) -> int:
        """See :class:`Rows`."""
        return sum(int(each.metadata.num_rows) for each in self._opened)

    def __getstate__(self) -> dict[str, Any]:
        """Files are opened anew by whoever is handed this."""
        return {"files": self.files}


def _is_plain(kind: Any) -> bool:
    """Whether cells of a column of this type are numbers or strings."""
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind) or types.is_floating(kind)
    )


def parquet_sets(folder: Path) -> dict[str, ParquetRows]:
    """The sets of a folder of Parquet files, by their names.

    Args:
        folder: With files ``SET-00000-of-00002.parquet``, ``SET-00001-of-00002.parquet``, maybe with a hash behind.

    Raises:
        DatasetError: If some files of a set are missing.
    """
    parts: dict[str, dict[int, Path]] = {}
    counts: dict[str, int] = {}
    for path in sorted(folder.glob("*.parquet")):
        if found := _PART.fullmatch(path.stem):
            parts.setdefault(found["name"], {})[int(found["number"])] = path
            counts[found["name"]] = int(found["count"])
    for name, files in parts.items():
        if missing := sorted(set(range(counts[name])) - set(files)):
            raise DatasetError(
                f"{folder}: {len(missing)} of the {counts[name]} files of the set {name!r} are missing, e.g. number "
                f"{missing[0]}. Download them too."
            )
    return {name: ParquetRows(tuple(files[number] for number in sorted(files))) for name, files in parts.items()}


def folder_of_parquet(folder: Path) -> Path | None:
    """Where the Parquet files of a folder lie: in ``data`` below it, or in itself; ``None`` if there are none."""
    places = (folder / "data", folder)
    return next(
        (place for place in places if any(_PART.fullmatch(each.stem) for each in place.glob("*.parquet"))), None
    )
