"""The subject of a request: a network, a target, and objectives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.measure.objectives import Objective


@dataclass(frozen=True)
class Subject:
    """A network on a target, with objectives.

    `model` is an ONNX file, `target` a preset's name or the path of a TOML file. Several `objectives` ask for
    a front; records answer for the first. `dims` are sizes of symbolic dims, `inputs` values of inputs that
    the network depends on.
    """

    model: str | Path
    target: str | Path
    objectives: tuple[Objective, ...] = (Objective.LATENCY,)
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, Given] = field(default_factory=dict)
    seed: int = 0
