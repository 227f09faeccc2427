"""A model and the files that hold its tensors as one stream of bytes.

    tilewright bundle 1
    {"model": 1574, "beside": [["model.onnx_data", 4096]]}      names, and sizes in bytes
    the bytes of the model, then those of each file

A model with nothing beside it is its own bundle.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tilewright.compiler_core.errors import ModelError

MAGIC = b"tilewright bundle 1\n"
MOST_FILES, LONGEST_NAME, LONGEST_HEAD = 64, 200, 1 << 16
AT_ONCE = 1 << 20


def pack(model: BinaryIO, beside: Sequence[tuple[str, BinaryIO]], into: BinaryIO) -> None:
    """Write the bundle of seekable files; ModelError where a name is none of a file in one folder."""
    names = [name for name, _ in beside]
    _check(names)
    sizes = [file.seek(0, 2) for file in (model, *(file for _, file in beside))]
    head = {"model": sizes[0], "beside": list(zip(names, sizes[1:], strict=True))}
    into.write(MAGIC + json.dumps(head).encode() + b"\n")
    for file in (model, *(file for _, file in beside)):
        file.seek(0)
        shutil.copyfileobj(file, into, AT_ONCE)


def unpack(bundle: BinaryIO, model: Path) -> None:
    """Write the model of a seekable bundle to `model`, and what lies beside it into the same folder.

    ModelError where it is damaged, or a name would leave the folder or replace the model.
    """
    bundle.seek(0)
    if bundle.read(len(MAGIC)) != MAGIC:
        bundle.seek(0)
        with model.open("wb") as copy:
            shutil.copyfileobj(bundle, copy, AT_ONCE)
        return
    sizes = _head(bundle)
    if model.name in sizes:
        raise ModelError(f"a file beside the model has the model's own name, {model.name!r}")
    for name, size in (("", sizes.pop("")), *sizes.items()):
        path = model.parent / name if name else model
        with path.open("xb") as copy:
            _copy(bundle, copy, size)


def _head(bundle: BinaryIO) -> dict[str, int]:
    """Sizes by name, that of the model under no name, in their order."""
    try:
        head: Any = json.loads(bundle.readline(LONGEST_HEAD))
    except ValueError:
        head = None
    match head:
        case {"model": int(size), "beside": list(beside), **rest} if not rest:
            sizes = {"": size}
        case _:
            raise ModelError("the bundle of the model is damaged")
    for pair in beside:
        match pair:
            case [str(name), int(size)]:
                sizes[name] = size
            case _:
                raise ModelError("the bundle of the model is damaged")
    _check([name for name, _ in beside])
    return sizes


def _copy(bundle: BinaryIO, copy: BinaryIO, size: int) -> None:
    left = size
    while left > 0:
        part = bundle.read(min(left, AT_ONCE))
        if not part:
            raise ModelError("the bundle of the model ends early")
        copy.write(part)
        left -= len(part)


def _check(names: Sequence[str]) -> None:
    if len(names) > MOST_FILES:
        raise ModelError(f"{len(names)} files lie beside the model; at most {MOST_FILES} may")
    if len(set(names)) != len(names):
        raise ModelError("two files beside the model have the same name")
    for name in names:
        plain = name.isprintable() and 0 < len(name.encode()) <= LONGEST_NAME
        if not plain or name in (".", "..") or "/" in name or "\\" in name:
            raise ModelError(f"{name[:60]!r} is no name of a file beside the model")
