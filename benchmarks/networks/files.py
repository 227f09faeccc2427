"""The networks of the models bench: files, the shapes to run them at, arrays to feed them.

A `manifest.csv` beside the files may say, per file, `run_shapes` ("x:[1,3,48,192];h:[1,1,128]") and
`ort_self_noise_rel`; without it every symbolic dim gets the first small size that the model accepts.
"""

import csv
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model

SIZES = (1, 8, 64, 224)
"""What a symbolic dim is tried with, where nobody says."""
SMALLEST_INDEX_RANGE = 8


@dataclass(frozen=True)
class Network:
    """A file to bench. `weights`: whether they are real enough for a comparison of numbers."""

    path: Path
    weights: bool
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    noise_rel: float = 0.0


def networks_of(folder: Path) -> list[Network]:
    """The ONNX files of a folder, by name."""
    manifest: dict[str, dict[str, str]] = {}
    if (folder / "manifest.csv").exists():
        with (folder / "manifest.csv").open(encoding="utf-8") as file:
            manifest = {row["file"]: row for row in csv.DictReader(file)}
    return [_network(path, manifest.get(path.name, {})) for path in sorted(folder.glob("*.onnx"))]


def _network(path: Path, row: Mapping[str, str]) -> Network:
    found = re.findall(r"([^:;]+):(\[[^\]]*\])", row.get("run_shapes", ""))
    shapes = {name: json.loads(shape) for name, shape in found}
    return Network(path, True, shapes, float(row.get("ort_self_noise_rel") or 0.0))


def light_networks() -> list[Network]:
    """The architectures inside the onnx package. All their weights are equal: no check of numbers."""
    package = importlib.util.find_spec("onnx")
    places = package.submodule_search_locations if package is not None else None
    folder = Path(next(iter(places or ["onnx"]))) / "backend" / "test" / "data" / "light"
    return [Network(path, False) for path in sorted(folder.glob("*.onnx"))]


def load_bound(network: Network) -> ImportedModel:
    """The network with all dims bound; ModelError when it does not import or accepts none of the SIZES."""
    return _bound(network)[0]


def dims_of(network: Network) -> Mapping[str, int]:
    """Sizes that bind all its dims; errors as `load_bound`."""
    return _bound(network)[1]


def _bound(network: Network) -> tuple[ImportedModel, Mapping[str, int]]:
    free = import_model(network.path)
    if not free.graph.symbols:
        return free, {}
    error: ModelError | None = None
    for dims in _bindings(free, network):
        try:
            bound = import_model(network.path, dims)
            if not bound.graph.symbols:
                return bound, dims
        except ModelError as refused:
            error = refused
    raise error or ModelError(f"{network.path.name} has dims {sorted(free.graph.symbols)} that nothing binds")


def _bindings(free: ImportedModel, network: Network) -> Iterator[dict[str, int]]:
    symbols = free.graph.symbols
    given: dict[str, int] = {}
    for name, value in free.inputs:
        dims = free.graph.values[value].shape
        for dim, extent in zip(dims, network.shapes.get(name, ()), strict=False):
            if str(dim) in symbols:
                given[str(dim)] = extent
    for size in SIZES:
        yield {**dict.fromkeys(sorted(symbols), size), **given}


def feeds_of(model: ImportedModel, seed: int) -> dict[str, Array]:
    """Seeded arrays for the model's inputs: normal floats, masks of ones, small indices."""
    rng = np.random.default_rng(seed)
    return {name: _feed(model.graph, name, value, rng) for name, value in model.inputs}


def _feed(graph: Graph, name: str, value: int, rng: np.random.Generator) -> Array:
    kind, shape = graph.values[value].dtype, graph.shape(value)
    if kind.is_float:
        return rng.standard_normal(shape).astype(kind.numpy)
    if "mask" in name:
        return np.ones(shape, dtype=kind.numpy)
    return rng.integers(0, SMALLEST_INDEX_RANGE, shape).astype(kind.numpy)
