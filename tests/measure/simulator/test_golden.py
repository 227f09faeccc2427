"""A timeline that changes needs a new TOOLCHAIN: the golden file carries its number."""

from collections.abc import Callable

from tests.measure.simulator.test_scalesim import convolution, product
from tests.targets import small_target
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.measure.simulator.kernel import simulate_kernel

LAYER = {"H": "18", "W": "18", "R": "3", "S": "3", "Cin": "16", "Cout": "24", "stride": "1"}
CASES = (
    ("product, one tile", product(64, 96, 80), Tiling((64, 80), (96,), (0, 1)), 1),
    ("product, ragged", product(100, 70, 50), Tiling((32, 24), (70,), (1, 0)), 3),
    ("product, split", product(128, 256, 64), Tiling((32, 32), (64,), (0, 1), 3, 2, 2), 4),
    ("convolution", convolution(LAYER), Tiling((1, 24, 5, 16), (16, 3, 3), (0, 1, 2, 3)), 2),
    ("convolution, split", convolution(LAYER), Tiling((1, 8, 16, 7), (4, 3, 1), (0, 3, 2, 1)), 4),
)


def test_timelines_are_those_of_this_toolchain(golden: Callable[[str, str], None]) -> None:
    target = small_target()
    lines = []
    for name, graph, tiling, cores in CASES:
        regions = Regions(kernel_of(graph, [0], {}).workload)
        timing = simulate_kernel(lower_kernel(regions, tiling, cores, target), target)
        busy = " ".join(f"{engine} {cycles}" for engine, cycles in timing.busy_by_engine.items())
        lines.append(f"{name}: {timing.cycles} cycles, busy {busy}, {timing.energy_uj:.6f} uJ\n")
    golden(f"timelines_{TOOLCHAIN}.txt", "".join(lines))
