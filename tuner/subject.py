"""What a question is about: a network, a target, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.measure.objectives import Objective


@dataclass(frozen=True)
class Subject:
    """Which network is asked about, on which target, for what.

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
