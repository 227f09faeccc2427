"""The same description makes aarch64 code: the module verifies, and its object becomes an image."""

import pytest

from tests.small_networks import CASES
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import ENTRY, REPEAT, emit
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import flat_image
from tilewright.compiler_core.codegen.machine.native import assembly_of, object_of
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.lowering.regions import Regions

NEOVERSE = Machine("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", vector_bits=128, registers=32)
AARCH64 = 183


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernels_have_aarch64_code(name: str) -> None:
    for stage in CASES[name]().compile().stages:
        for call in stage:
            if isinstance(call, KernelCall):
                nest = nest_of(Regions(call.program.workload), call.program, NEOVERSE)
                made = object_of(emit(nest), NEOVERSE)
                assert int.from_bytes(made[18:20], "little") == AARCH64
                assert {ENTRY, REPEAT} <= flat_image(made).entries.keys()


def test_products_are_fused_and_in_vectors() -> None:
    (call,) = (c for stage in CASES["split_matmul"]().compile().stages for c in stage)
    assert isinstance(call, KernelCall)
    text = assembly_of(emit(nest_of(Regions(call.program.workload), call.program, NEOVERSE)), NEOVERSE)
    assert "fmla\tv" in text
