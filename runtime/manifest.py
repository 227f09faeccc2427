"""The manifest of a library, read and checked before anything of it is run."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.runtime.errors import LibraryError

FORMAT, HOST_FORMAT = "tilewright library 2", "tilewright library 3"
"""Of a library that is all code, and of one with steps that numpy runs."""
SEAL_BYTES = 32
MOST_BYTES, MOST_NUMBER = 1 << 24, 1 << 48
DTYPES = ["float64", "float32", "float16", "bfloat16", "bool"]
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Operand:
    """An input or output: its `shape`, and a numpy `dtype`. Of bfloat16 it is the uint16 of its bits."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_bfloat16: bool = False

    def __str__(self) -> str:
        kind = "bfloat16" if self.is_bfloat16 else str(self.dtype)
        return f"{self.name}: {kind}{list(self.shape)}"


@dataclass(frozen=True)
class Part:
    """A file of the library: its size and SHA-256 digest."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of the manifest; `facts` is all of it."""

    architecture: str
    features: tuple[str, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    values_bytes: int
    scratch_bytes: int
    code: Part
    weights: Part
    facts: dict[str, Any]


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`; LibraryError where it is none, or not what was written."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        facts = json.loads(data) if len(data) <= MOST_BYTES else None
    except OSError as error:
        raise LibraryError(f"{path}: {error.strerror}; `tune build` makes such a folder") from None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise LibraryError(f"{path} is no manifest of a library")
    if facts.get("format") != (HOST_FORMAT if "host" in facts else FORMAT):
        raise LibraryError(f"{path} is not of format {FORMAT!r}; build the library anew")
    rest = {key: value for key, value in facts.items() if key != "digest"}
    if _digest(rest).hex() != facts.get("digest"):
        raise LibraryError(f"{path} was changed after it was written: its digest does not fit")
    try:
        return _manifest(facts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise LibraryError(f"{path} lacks a field, or has a wrong one: {error}") from None


def require_seal(folder: Path, manifest: Manifest, code: int) -> None:
    """LibraryError where the code was not made for the inputs, outputs, memory, machine, host ops and weights
    of the manifest; `code` is a descriptor of its file, whose last bytes are their digest.
    """
    facts = manifest.facts
    told: dict[str, Any] = {
        key: facts[key] for key in ("inputs", "outputs", "memory", "machine", "host") if key in facts
    }
    told["weights"] = facts["files"]["weights.bin"]
    sealed = os.pread(code, SEAL_BYTES, max(0, manifest.code.bytes - SEAL_BYTES))
    if sealed != _digest(told):
        raise LibraryError(
            f"{folder / manifest.code.name} was not made for what its manifest says; copy both again"
        )


def _digest(facts: dict[str, Any]) -> bytes:
    """SHA-256 of compact JSON; of nothing where there is none."""
    try:
        compact = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        compact = ""
    return hashlib.sha256(compact.encode(errors="surrogatepass")).digest()


def _manifest(facts: dict[str, Any]) -> Manifest:
    machine, memory, files = facts["machine"], facts["memory"], facts["files"]
    return Manifest(
        str(machine["architecture"]),
        tuple(str(each) for each in machine["features"]),
        tuple(_operand(each) for each in facts["inputs"]),
        tuple(_operand(each) for each in facts["outputs"]),
        number(memory["values_bytes"]),
        number(memory["scratch_bytes"]),
        _part("network.so", files["network.so"]),
        _part("weights.bin", files["weights.bin"]),
        facts,
    )


def _operand(told: dict[str, Any]) -> Operand:
    kind, shape = told["dtype"], tuple(number(extent) for extent in told["shape"])
    if kind not in DTYPES or not isinstance(told["name"], str):
        raise ValueError(f"dtype {kind!r}")
    number(8 * prod(shape))
    is_bfloat16 = kind == "bfloat16"
    return Operand(told["name"], np.dtype("uint16" if is_bfloat16 else kind), shape, is_bfloat16)


def _part(name: str, told: dict[str, Any]) -> Part:
    if not DIGEST.fullmatch(told["sha256"]):
        raise ValueError(f"digest of {name}")
    return Part(name, number(told["bytes"]), told["sha256"])


def number(told: Any) -> int:
    """A whole number that may be a size; ValueError for all else."""
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told < MOST_NUMBER:
        raise ValueError(f"number {told!r}")
    return told


def opened(folder: Path, part: Part) -> int:
    """A descriptor of a file of the library whose size and digest are right; LibraryError where not."""
    path = folder / part.name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO is not waited for
    except OSError as error:
        raise LibraryError(f"{path}: {error.strerror}") from None
    try:
        size = os.fstat(descriptor).st_size
        if size != part.bytes:
            raise LibraryError(f"{path} has {size} bytes, and {part.bytes} by its manifest: copy it again")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != part.sha256:
            raise LibraryError(f"{path} is not the file of its manifest: its digest does not fit")
    except (LibraryError, OSError) as error:
        os.close(descriptor)
        raise LibraryError(str(error)) from None
    return descriptor
