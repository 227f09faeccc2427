"""Tensor data beside the model: stretches of regular files in the model's own folders, mapped when read.

A file counts as beside the model when it lies in the folder that the model was opened in, or, through links,
in the tree of the folder where the model's own file really lies. Hubs keep models so:

    snapshots/REV/model.onnx        a link to    blobs/5d1c...
    snapshots/REV/model.onnx_data   a link to    blobs/90ab...
"""

import mmap
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.node import printable

LEAST_MAPPED = 1 << 20
"""Bytes from which on a stretch is mapped instead of read."""


class ExternalData:
    """Finds stretches of files beside `model`. Absolute paths, `..`, devices and pipes are refused, and links
    that lead out of the tree of the folder in which the model's own file really lies.
    """

    def __init__(self, model: Path) -> None:
        self._folder = model.parent
        self._tree = Path(os.path.realpath(model)).parent

    def stretch(self, tensor: onnx.TensorProto, nbytes: int) -> tuple[Path, int]:
        """The checked file and offset of a tensor of `nbytes` bytes; ModelError naming file and tensor."""
        what = f"tensor {printable(tensor.name)}"
        entries: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = self.checked_path(location, what)
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

    def checked_path(self, location: str, what: str) -> Path:
        """The file that `what` of the model lies in; ModelError where it may not lie there."""
        shown = printable(location)
        if not isinstance(location, str):
            raise ModelError(f"{what}: external location {shown} is not UTF-8")
        relative = PurePosixPath(location)
        if not location or "\0" in location or "\\" in location or relative.is_absolute():
            raise ModelError(f"{what}: external location {shown} is not a relative path")
        if ".." in relative.parts:
            raise ModelError(f"{what}: external location {shown} leaves the model's folder")
        path, linked = self._folder, False
        try:
            for part in relative.parts:
                path = path / part
                linked = linked or stat.S_ISLNK(path.lstat().st_mode)
            if linked:
                path = Path(os.path.realpath(path))
                if not path.is_relative_to(self._tree):
                    raise ModelError(
                        f"{what}: external file {shown} goes through a symbolic link out of the folder that"
                        " holds the model"
                    )
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ModelError(f"{what}: external file {shown} is not a regular file")
        except OSError as error:
            raise ModelError(
                f"{what}: external file {shown} cannot be read ({error.strerror}); a model that keeps its"
                " weights beside it needs those files in its folder"
            ) from error
        return path


def read_stretch(path: Path, offset: int, nbytes: int) -> Array:
    """`nbytes` bytes of a file that was checked before, as u8; a link put there since is refused.

    Large ones are mapped: their pages come with use and go with the array.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ModelError(f"external file {printable(path.name)} is not a regular file")
            if state.st_size < offset + nbytes:
                raise ModelError(f"external file {printable(path.name)} is shorter than the model says")
            if nbytes >= LEAST_MAPPED:
                ahead = offset % mmap.ALLOCATIONGRANULARITY
                whole = mmap.mmap(
                    file.fileno(), nbytes + ahead, access=mmap.ACCESS_READ, offset=offset - ahead
                )
                return np.frombuffer(whole, np.uint8, nbytes, ahead)
            file.seek(offset)
            data = file.read(nbytes)
    except OSError as error:
        raise ModelError(f"external file {printable(path.name)} cannot be read ({error.strerror})") from error
    if len(data) != nbytes:
        raise ModelError(f"external file {printable(path.name)} is shorter than the model says")
    return np.frombuffer(data, np.uint8)


def _integer(text: str, key: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ModelError(f"{what}: external {key} {printable(text)} is not a non-negative integer")
    return int(text)
