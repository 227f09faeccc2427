"""A tool that others wrote as a Device: a process in an environment of its own, asked in lines of JSON.

A Config is a mapping of one layer in the tool's own knobs, its latency what the tool's cost model says.
Nothing about the tool is known here but its knobs and the layers it is asked about.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from benchmarks.simulator.vela import ConvolutionLayer
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config

FOLDER = Path(__file__).parent
_ORDERS = tuple("".join(order) for order in permutations("KCX"))


@dataclass(frozen=True)
class ToolLayer:
    """A layer and the accelerator of the tool that runs it."""

    accelerator: str
    layer: ConvolutionLayer

    @property
    def name(self) -> str:
        """As ethos-u55-256_conv3x3_56_64_64, `_s2` at the end for a stride of 2."""
        one = self.layer
        kind = {"Conv2D": "conv", "DepthwiseConv2D": "dw", "FullyConnected": "fc"}[one.op]
        stride = f"_s{one.stride}" if one.stride > 1 else ""
        shape = f"{one.window}x{one.window}_{one.size}_{one.channels}_{one.filters}"
        return f"{self.accelerator}_{kind}{shape}{stride}"


@dataclass(frozen=True)
class Tool:
    """A tool: its package, the knobs of its Configs with their values, and the layers of the bench.

    `cycles_per_us` turns its cycles into the time that tables hold.
    """

    name: str
    package: str
    cycles_per_us: float
    knobs: Mapping[str, Sequence[int | str]]
    layers: Sequence[ToolLayer]

    @property
    def variable(self) -> str:
        """The environment variable that names the Python which has the package."""
        return f"TILEWRIGHT_{self.name.upper()}"

    @property
    def python(self) -> Path:
        """That Python; UsageError where nobody built one."""
        python = Path(
            os.environ.get(self.variable, FOLDER.parents[2] / "build" / self.name / "bin" / "python")
        )
        if not python.exists():
            raise UsageError(
                f"{self.package} is not installed in an environment of its own: `make strangers` does it, or "
                f"{self.variable} names a Python that has it"
            )
        return python


def _layers(accelerator: str, *shapes: tuple[int, int, int, int, int], op: str = "Conv2D") -> list[ToolLayer]:
    """Of (size, channels, filters, window, stride) each."""
    return [ToolLayer(accelerator, ConvolutionLayer(op, *shape)) for shape in shapes]


VELA = Tool(
    "vela",
    "ethos-u-vela==5.2.0",
    500.0,
    {
        "block_height": (2, 4, 6, 8, 12, 16, 24, 32),
        "block_width": (2, 4, 6, 8, 12, 16, 24, 32, 48, 64),
        "block_depth": (8, 16, 24, 32, 48, 64, 96, 128),
        "traversal": ("depth", "part kernel"),
        "weight_slice": (0, 16, 64),
    },
    (
        *_layers(
            "ethos-u55-256",
            (224, 3, 64, 7, 2),
            (224, 3, 32, 3, 2),
            (56, 64, 256, 1, 1),
            (56, 64, 64, 3, 1),
            (28, 96, 208, 3, 1),
            (28, 32, 96, 5, 1),
            (14, 256, 256, 3, 1),
            (14, 160, 960, 1, 1),
            (7, 512, 2048, 1, 1),
            (7, 512, 512, 3, 1),
        ),
        *_layers("ethos-u55-256", (56, 128, 128, 3, 1), (28, 240, 240, 5, 1), op="DepthwiseConv2D"),
    ),
)
ZIGZAG = Tool(
    "zigzag",
    "zigzag-dse==3.9.1",
    1000.0,
    {
        "inner_filters": (1, 2, 4),
        "inner_channels": (1, 2, 4),
        "inner_pixels": (1, 2, 7, 14),
        "inner_order": _ORDERS,
        "outer_order": _ORDERS,
        "taps": ("first", "last"),
    },
    (
        *_layers(
            "edge_tpu_like",
            (14, 1024, 256, 1, 1),
            (14, 256, 256, 3, 1),
            (56, 128, 128, 3, 2),
            (28, 512, 1024, 1, 2),
            (112, 32, 64, 3, 1),
            (28, 256, 512, 3, 1),
        ),
        *_layers(
            "tesla_npu_like",
            (56, 64, 256, 1, 1),
            (14, 1024, 256, 1, 1),
            (14, 256, 256, 3, 1),
            (56, 128, 128, 3, 2),
            (28, 512, 1024, 1, 2),
            (112, 32, 64, 3, 1),
        ),
    ),
)
TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in (VELA, ZIGZAG)}


class ToolProcess:
    """The tool's process: it starts with the first question and ends with `close`."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self._process: subprocess.Popen[str] | None = None

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one line; DeviceError when the process is gone."""
        if self._process is None:
            host = FOLDER / f"{self.tool.name}_host.py"
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                [self.tool.python, host], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then no answer comes, which is said below
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise DeviceError(f"{self.tool.package} ended without an answer; is its environment whole?")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError), self._process:  # waits, and closes both pipes
                pass
            self._process = None


@dataclass(frozen=True, eq=False)
class ToolDevice:
    """One layer on a tool, as a Device."""

    process: ToolProcess
    layer: ToolLayer

    def describe(self) -> DeviceInfo:
        """Known by package and layer."""
        tool = self.process.tool
        digest = digest_of([tool.package, self.layer.name])
        return DeviceInfo(f"{tool.name}:{self.layer.name}", digest, tool.package, deterministic=True)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """What the tool says of each; DeviceError when its process is gone."""
        asked = {
            "on": self.layer.accelerator,
            "layer": asdict(self.layer.layer),
            "configs": [[value for _, value in config] for config in configs],
        }
        return [self._measurement(cycles) for cycles in self.process.ask(asked)["cycles"]]

    def _measurement(self, cycles: float | None) -> Measurement:
        tool = self.process.tool
        if cycles is None:
            return failure(Status.INVALID, f"{tool.package} has no such mapping of {self.layer.name}")
        us = cycles / tool.cycles_per_us
        return Measurement(Status.OK, latency_us=us, samples_us=(us,), latency_cycles=cycles)
