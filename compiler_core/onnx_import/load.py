"""Read a model file: a regular file of bounded size that parses as ONNX and declares its opsets."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from tilewright.compiler_core.errors import ModelError

MAX_FILE_BYTES = (1 << 31) - 1


def load_model(path: Path) -> onnx.ModelProto:
    """The parsed file; ModelError where it is missing, not a file, too large or not ONNX."""
    shown = repr(str(path))
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ModelError(f"{shown} is not a regular file")
            if state.st_size > MAX_FILE_BYTES:
                raise ModelError(f"{shown} has {state.st_size} bytes, above the limit of 2 GiB")
            data = file.read(state.st_size)
    except OSError as error:
        raise ModelError(f"{shown} cannot be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{shown} is not an ONNX file (it does not parse as one)") from error
    if not model.HasField("graph"):
        raise ModelError(f"{shown} is not an ONNX file (it holds no graph)")
    if not model.opset_import:
        raise ModelError(f"{shown} declares no opset (opset_import is empty)")
    return model


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def opset_versions(model: onnx.ModelProto | onnx.FunctionProto) -> Mapping[str, int]:
    """Opset version by domain; the default domain is written ''."""
    versions: dict[str, int] = {}
    for opset in model.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        versions[domain] = max(opset.version, versions.get(domain, 0))
    return versions
