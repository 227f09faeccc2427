"""A small network as a library, built once: two inputs, a residual, outputs that are given or repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import Array, model, node, reals, saved, value
from tilewright.api.cli.main import main
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.db.storage.session import open_database
from tilewright.measure.host.detect import MeasuredCore, core_text
from tilewright.measure.objectives import read_objective
from tilewright.tuner.network.assignment import assignment_of
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs import lookup
from tilewright.tuner.verbs.answers import CompiledNetwork


@dataclass(frozen=True)
class Made:
    """A model's file, and what `tune build` was told."""

    model: Path
    target: Path
    database: Path
    library: Path

    def build(self, *more: str, output: Path | None = None) -> int:
        """The exit code of `tune build`."""
        asked = ["--target", str(self.target), "--db", str(self.database), "-o", str(output or self.library)]
        return main(["build", str(self.model), *asked, *more])

    def inputs(self, seed: int = 0) -> Mapping[str, Array]:
        """Arrays for the network."""
        rng = np.random.default_rng(seed)
        return {
            "x": rng.standard_normal((1, 3, 12, 12)).astype(np.float32),
            "shift": rng.standard_normal((8, 1, 1)).astype(np.float32),
        }


def network_file(folder: Path) -> Path:
    """Its outputs: y, an inner value that is read again, y once more, and an input."""
    constants = {"w1": reals(1, 8, 3, 3, 3), "w2": reals(2, 8, 8, 3, 3), "f": reals(7, 10, 8)}
    nodes = [
        node("Conv", "x w1", "a", pads=[1, 1, 1, 1]),
        node("Add", "a shift", "n"),
        node("Relu", "n", "r"),
        node("Conv", "r w2", "c", pads=[1, 1, 1, 1]),
        node("Add", "c r", "s"),
        node("MaxPool", "s", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "p", "q"),
        node("Flatten", "q", "z"),
        node("Gemm", "z f", "g", transB=1),
        node("Softmax", "g", "y"),
        node("Identity", "y", "again"),
        node("Identity", "shift", "given"),
    ]
    inputs = [value("x", [1, 3, 12, 12]), value("shift", [8, 1, 1])]
    return saved(model(nodes, inputs, ["y", "s", "again", "given"], constants), folder)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("library")
    target, database = folder / "core.toml", folder / "answers.db"
    target.write_text(core_text(host_machine(), MeasuredCore(3000.0, 2, 4, (64.0, 32.0), 10.0)))
    open_database(str(database))
    return Made(network_file(folder), target, database, folder / "made")


@pytest.fixture(scope="session")
def built(made: Made) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "compile_known", unsearched)
        assert made.build() == 0
    return made


def unsearched(
    model: Path, target: str | Path, *, database: str | Path, dims: Any = None, inputs: Any = None, **_: Any
) -> CompiledNetwork:
    """Stands in for `compile_known`: the default Program, since guesses take their time."""
    objective = (read_objective("latency"),)
    opened = open_network(
        Subject(model, target, objective, dims or {}, inputs or {}), database, read_only=True
    )
    assignment = assignment_of(opened, opened.default_config)
    sources = dict.fromkeys(assignment.plan.counts, "default")
    return CompiledNetwork(assignment, opened.program_of(assignment.config).program, sources)


@pytest.fixture
def by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tune build` takes the default Program."""
    monkeypatch.setattr(lookup, "compile_known", unsearched)
