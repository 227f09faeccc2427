"""Read a model file: a regular file of bounded size that parses as ONNX and declares its opsets."""

import os
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.compiler_core.onnx_import.model_files.texts import require_utf8

MAX_FILE_BYTES = (1 << 31) - 1
NEWEST_OPSETS = {"": onnx.defs.onnx_opset_version(), "com.microsoft": 1}
"""By domain that builders are known for: a newer operator may mean something else than its namesake."""


def load_model(path: Path) -> onnx.ModelProto:
    """The parsed file; ModelError where it is missing, not a file, too large or not ONNX."""
    shown = repr(str(path))
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ModelError(f"{shown} has {size} bytes, above the limit of 2 GiB")
            data = file.read(size)
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
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{shown} is of ONNX IR version {model.ir_version}; the newest known here is {onnx.IR_VERSION};"
            " export the model for that one, or update Tilewright"
        )
    require_utf8(model)
    return model


def opset_versions(model: onnx.ModelProto | onnx.FunctionProto) -> Mapping[str, int]:
    """Opset version by domain; the default domain is written ''. ModelError for one that is not known yet."""
    versions: dict[str, int] = {}
    for opset in model.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        versions[domain] = max(opset.version, versions.get(domain, 0))
        newest = NEWEST_OPSETS.get(domain, opset.version)
        if opset.version > newest:
            raise ModelError(
                f"opset {opset.version} of domain {opset.domain or 'ai.onnx'} is not known; the newest known"
                f" here is {newest}; export the model for that one, or update Tilewright"
            )
    return versions
