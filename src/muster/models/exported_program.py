"""Programs that ``torch.export.save`` wrote, opened without running anything that they bring along.

``torch.export.load`` alone is not safe for a file from elsewhere: it unpickles sample inputs, and weights and constants
that are marked as pickled; it evaluates expressions of sizes as Python (through sympy), runs guards, and calls any
function of torch that a graph names. Files need little of that, so the rest is refused before they are opened.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import torch
from torch.export import ExportedProgram

from muster.errors import ConfigError

_FILES = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|[^/]+_weights_config\.json)|data/constants/(tensor_\d+|[^/]+_constants_config\.json)"
    r"|data/sample_inputs/[^/]+\.pt|models/[^/]+\.json|archive_format|archive_version|byteorder|\.data/\w+|extra/[^/]*)"
)
_CALLS = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.sym_\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|ge|gt|le|lt|and_|or_|getitem)"
    r"|math\.(ceil|floor|trunc)"
)
_NODES = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp,
    ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z]\w*")
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|Equality|Unequality|Eq|Ne"
    r"|GreaterThan|LessThan|StrictGreaterThan|StrictLessThan|Ge|Gt|Le|Lt|And|Or|Not|Where|Identity|IntTrueDiv|FloatTrueDiv"
    r"|FloorToInt|CeilToInt|TruncToInt|ToFloat|ModularIndexing|true|false|[su]\d+"
)


def open_program(content: bytes, what: str) -> ExportedProgram:
    """Open a program after everything in it was looked at.

    Args:
        content: The archive.
        what: What to call it in messages.

    Returns:
        The program.

    Raises:
        ConfigError: If it is no such archive, or holds what could run code.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            _require_safe(archive, what)
    except (zipfile.BadZipFile, KeyError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} is no program of torch.export: {error}. Write it with torch.export.save.") from error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # some releases of torch, of itself
            return torch.export.load(BytesIO(content))
    except Exception as error:
        raise ConfigError(
            f"{what} cannot be opened by torch {torch.__version__} ({type(error).__name__}: {error}). Export it anew."
        ) from error


def _require_safe(archive: zipfile.ZipFile, what: str) -> None:
    names = archive.namelist()
    strange = [name for name in names if not _FILES.fullmatch(name)]
    if strange:
        raise ConfigError(
            f"{what} holds {strange[0]!r}, which could run code when it is opened. It is not read. "
            "Files that torch 2.9 or newer writes hold data alone."
        )
    models = [name for name in names if "/models/" in name]
    if len(models) != 1:
        raise ConfigError(f"{what} holds {len(models)} programs, but one is expected.")
    for name in names:
        if name.endswith("_config.json"):
            entries = json.loads(archive.read(name))["config"].values()
            if any(entry["use_pickle"] for entry in entries):
                raise ConfigError(f"{what} holds pickled tensors ({name}), which could run code. It is not read.")
        elif "/sample_inputs/" in name and (inputs := archive.read(name)):
            try:
                torch.load(BytesIO(inputs), weights_only=True)
            except Exception as error:
                raise ConfigError(
                    f"{what}: {name} holds more than tensors, and could run code. It is not read."
                ) from error
    for problem in _problems(json.loads(archive.read(models[0]))):
        raise ConfigError(f"{what}: {problem}, which could run code. It is not read.")


def _problems(content: Mapping[str, Any]) -> Iterator[str]:
    """What in a graph is more than sizes and operations on tensors."""
    for guard in content.get("guards_code") or []:
        if not _is_guard(guard):
            yield f"it has the guard {guard[:80]!r}"
    for expression in content.get("range_constraints") or {}:
        if not _is_size(expression):
            yield f"it has the size {expression[:80]!r}"
    for part in _mappings(content):
        target = part.get("target")
        if "inputs" in part and "outputs" in part and isinstance(target, str) and not _CALLS.fullmatch(target):
            yield f"it calls {target[:80]!r}"
        expression = part.get("expr_str")
        if isinstance(expression, str) and not _is_size(expression):
            yield f"it has the size {expression[:80]!r}"


def _mappings(content: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _is_size(text: str) -> bool:
    """Whether an expression is arithmetic on sizes, in the spelling that programs are saved with."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            return False
        if isinstance(node, ast.Name) and not _FUNCTIONS.fullmatch(node.id):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not _NAME.fullmatch(node.value):
            return False
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            return False
    return True


def _is_guard(text: str) -> bool:
    """Whether a condition compares sizes of inputs, such as ``(L['x'].size()[2] % 32) == 0``."""
    plain = re.sub(r"L\['\w+'\](\[\d+\])*\.(size|stride)\(\)\[\d+\]", "s0", text)
    return _is_size(plain)
