"""The same description makes aarch64 code: its object becomes an image, which computes what tiles compute."""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.compiler_core.codegen.aarch64_process import run_under
from tests.small_networks import CASES, Case
from tilewright.compiler_core.checking.emulate import poison, run_call
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import ENTRY, REPEAT, emit
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import flat_image
from tilewright.compiler_core.codegen.machine.native import assembly_of, object_of
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.lowering.regions import Regions

NEOVERSE = Machine("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", vector_bits=128, registers=32)
AARCH64 = 183


@cache
def compiled(name: str) -> tuple[Case, list[tuple[KernelCall, KernelNest, bytes]]]:
    """A network's kernels with their object files."""
    case = CASES[name]()
    made = []
    for call in (call for stage in case.compile().stages for call in stage):
        assert isinstance(call, KernelCall), "no case has ops of the host"
        nest = nest_of(Regions(call.program.workload), call.program, NEOVERSE)
        made.append((call, nest, object_of(emit(nest), NEOVERSE)))
    return case, made


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernels_have_aarch64_code(name: str) -> None:
    for _, _, made in compiled(name)[1]:
        assert int.from_bytes(made[18:20], "little") == AARCH64
        assert {ENTRY, REPEAT} <= flat_image(made).entries.keys()


def test_products_are_fused_and_in_vectors() -> None:
    (call,) = (c for stage in CASES["split_matmul"]().compile().stages for c in stage)
    assert isinstance(call, KernelCall)
    text = assembly_of(emit(nest_of(Regions(call.program.workload), call.program, NEOVERSE)), NEOVERSE)
    assert "fmla\tv" in text


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernels_compute_under_qemu_what_their_tiles_compute(name: str, tmp_path: Path) -> None:
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("qemu-aarch64 is missing: package qemu-user-static")
    case, kernels = compiled(name)
    memory = dict(case.inputs)
    for call, nest, code in kernels:
        known, kernel = {**case.graph.constants, **memory}, call.kernel
        made = run_call(case.graph, call, memory)
        buffers = []
        for value, place in nest.outer.items():
            shape = nest.graph.shape(value)
            inner = value not in nest.graph.inputs
            array = (
                poison(shape, place.dtype.numpy) if inner else kernel.part(value, known[kernel.values[value]])
            )
            buffers.append(place.arranged(array).tobytes())
        buffers.append(bytes(max(64, nest.scratch[2])))
        ran = run_under(qemu, tmp_path, flat_image(code), ENTRY, buffers, range(nest.program.parallel_tiles))
        for (value, place), data in zip(nest.outer.items(), ran[:-1], strict=True):
            if value in nest.graph.outputs:
                got = place.collected(np.frombuffer(data, place.dtype.numpy), nest.graph.shape(value))
                np.testing.assert_array_equal(got, made[kernel.values[value]])
        memory |= made
