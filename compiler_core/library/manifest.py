"""The manifest of a library: what a loader must know before it runs anything (docs/library.md)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.library.features import needed_features
from tilewright.compiler_core.library.room import Room

FORMAT, HOST_FORMAT = "tilewright library 2", "tilewright library 3"
"""Of a library that is all code, and of one with steps that numpy runs."""
LIBRARY, WEIGHTS, MANIFEST = "network.so", "weights.bin", "manifest.json"


def operands_of(graph: Graph, named: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Name, dtype and shape of inputs or outputs, in the order of the arguments."""
    return [
        {"name": name, "dtype": dtype_name(graph.values[value].dtype), "shape": list(graph.shape(value))}
        for name, value in named
    ]


def dtype_name(dtype: DType) -> str:
    """Numpy's name of a dtype: bfloat16 is none of numpy's own, and travels as the bits of a uint16."""
    return dtype.numpy.name


def machine_facts(machine: Machine) -> dict[str, Any]:
    """The CPU that code was made for."""
    return {
        "architecture": machine.triple.partition("-")[0],
        "cpu": machine.cpu,
        "features": needed_features(machine),
    }


def room_facts(room: Room) -> dict[str, int]:
    """Sizes of the arena: it takes values_bytes + threads * scratch_bytes."""
    return {"values_bytes": room.values_bytes, "scratch_bytes": room.scratch_bytes}


def seal_of(facts: Mapping[str, Any], weights: Mapping[str, Any]) -> bytes:
    """What ends network.so: the SHA-256 of all by which a caller hands memory to its code. A manifest that
    tells another size than the code was made for does not fit it, whoever wrote its digest.
    """
    told = {key: facts[key] for key in ("inputs", "outputs", "memory", "machine", "host") if key in facts}
    return hashlib.sha256(_compact({**told, "weights": dict(weights)}).encode()).digest()


def _compact(facts: Mapping[str, Any]) -> str:
    return json.dumps(dict(facts), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digests_of(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Sizes and SHA-256 digests of files in a folder."""
    found = {}
    for name in names:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = {"bytes": (folder / name).stat().st_size, "sha256": digest}
    return found


def manifest_text(facts: Mapping[str, Any]) -> str:
    """The manifest with its own digest: SHA-256 of the other fields as compact JSON, keys sorted."""
    whole = {**facts, "digest": hashlib.sha256(_compact(facts).encode()).hexdigest()}
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"
