"""Tensor data beside the model: regular files inside the model's own folder and nothing else."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.building.node import printable


class ExternalData:
    """Reads stretches of files in `folder`. Links, absolute paths, `..`, devices and pipes are refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stretch(self, tensor: onnx.TensorProto, nbytes: int) -> tuple[Path, int]:
        """The checked file and offset of a tensor of `nbytes` bytes; ModelError naming file and tensor."""
        what = f"tensor {printable(tensor.name)}"
        entries: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = self._checked_path(location, what)
        offset = _integer(entries.get("offset") or "0", "offset", what)
        length = _integer(entries.get("length") or str(nbytes), "length", what)
        if length != nbytes:
            raise ModelError(f"{what}: external length {length} but its shape and type take {nbytes} bytes")
        size = path.lstat().st_size
        if offset + nbytes > size:
            raise ModelError(
                f"{what}: bytes {offset}..{offset + nbytes} lie outside {printable(location)} ({size} bytes)"
            )
        return path, offset

    def _checked_path(self, location: str, what: str) -> Path:
        shown = printable(location)
        relative = PurePosixPath(location)
        if not location or "\0" in location or "\\" in location or relative.is_absolute():
            raise ModelError(f"{what}: external location {shown} is not a relative path")
        if ".." in relative.parts:
            raise ModelError(f"{what}: external location {shown} leaves the model's folder")
        path = self._folder
        try:
            for part in relative.parts:
                path = path / part
                if stat.S_ISLNK(path.lstat().st_mode):
                    raise ModelError(f"{what}: external file {shown} goes through a symbolic link")
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ModelError(f"{what}: external file {shown} is not a regular file")
        except OSError as error:
            raise ModelError(f"{what}: external file {shown} cannot be read ({error.strerror})") from error
        return path


def read_stretch(path: Path, offset: int, nbytes: int) -> bytes:
    """`nbytes` bytes of a file that was checked before; a link put there since is refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelError(f"external file {printable(path.name)} is not a regular file")
            file.seek(offset)
            data = file.read(nbytes)
    except OSError as error:
        raise ModelError(f"external file {printable(path.name)} cannot be read ({error.strerror})") from error
    if len(data) != nbytes:
        raise ModelError(f"external file {printable(path.name)} became shorter than the model says")
    return data


def _integer(text: str, key: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ModelError(f"{what}: external {key} {printable(text)} is not a non-negative integer")
    return int(text)
