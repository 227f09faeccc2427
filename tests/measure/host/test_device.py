"""The host as a device: what it measures, and what it makes of kernels that crash, hang or err."""

import platform
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.targets import simd_target
from tilewright.compiler_core.codegen.emit import emit
from tilewright.compiler_core.codegen.machine.image import Image, flat_image
from tilewright.compiler_core.codegen.machine.native import host_machine, object_of
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.host import identity
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.host import device as module
from tilewright.measure.host.device import HostDevice
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config, KnobValue
from tilewright.tuner.kernel.task import KernelTask

P, R = AxisKind.PARALLEL, AxisKind.REDUCTION


def this_core() -> Target:
    machine = host_machine()
    return replace(
        simd_target(bits=machine.vector_bits, registers=machine.registers), name="host", identity=identity()
    )


def product(side: int = 48) -> Workload:
    matrix = TensorType((side, side), DType.F32)
    reads = (Access(0, (axis_index(0), axis_index(2))), Access(1, (axis_index(2), axis_index(1))))
    op = Op("contract", (side, side, side), (P, P, R), reads, 2)
    return kernel_of(Graph((matrix,) * 3, (op,), (0, 1), (2,)), [0], {1: Level.CONSTANT}).workload


def default_of(workload: Workload, target: Target) -> Config:
    return KernelTask(Regions(workload), target).default


def test_a_kernel_is_timed_and_says_how() -> None:
    target = this_core()
    device = HostDevice(target)
    try:
        measured = device.measure(product(), [default_of(product(), target)])[0]
    finally:
        device.close()
    assert measured.status is Status.OK
    assert measured.latency_us is not None
    assert len(measured.samples_us) >= module.LEAST
    assert device.describe().protocol != "one reading"
    assert "llvmlite" in device.describe().toolchain


def test_a_config_that_is_measured_again_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[KernelNest] = []

    def counted(nest: KernelNest) -> str:
        written.append(nest)
        return emit(nest)

    monkeypatch.setattr(module, "emit", counted)
    target = this_core()
    device = HostDevice(target, budget_ns=1_000_000)
    config = default_of(product(), target)
    try:
        measured = device.measure(product(), [config, config]) + device.measure(product(), [config])
    finally:
        device.close()
    assert [each.status for each in measured] == [Status.OK] * 3
    assert len(written) == 1


def test_another_cpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="another CPU"):
        HostDevice(replace(this_core(), identity="z80"))


def broken(body: str) -> Image:
    head = "define void @repeat(ptr %o, ptr %s, i64 %f, i64 %l, i64 %t) {\nentry:\n"
    return flat_image(object_of(f"{head}{body}}}\n", host_machine()))


CRASHES = "  store volatile i32 1, ptr null, align 4\n  ret void\n"
HANGS = "  br label %a\na:\n  store volatile i32 1, ptr %s, align 4\n  br label %a\n"
DOES_NOTHING = "  ret void\n"
BEYOND = (
    "  %p = getelementptr ptr, ptr %o, i64 2\n  %q = load ptr, ptr %p, align 8\n"
    "  %e = getelementptr i8, ptr %q, i64 9216\n  store volatile i32 1, ptr %e, align 4\n  ret void\n"
)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (CRASHES, Status.FAILED),
        (HANGS, Status.TIMEOUT),
        (DOES_NOTHING, Status.WRONG),
        (BEYOND, Status.FAILED),
    ],
    ids=["crashes", "hangs", "does nothing", "writes beyond its output"],
)
def test_what_goes_wrong_is_a_value(body: str, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    target, workload = this_core(), product()
    device = HostDevice(target)
    config = default_of(workload, target)
    monkeypatch.setattr(module, "RUN_DEADLINE_S", 1.0)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(HostDevice, "_image_of", lambda self, nest: broken(body))
            spoilt = device.measure(workload, [config])[0]
        assert spoilt.status is status
        assert spoilt.reason
        monkeypatch.setattr(module, "RUN_DEADLINE_S", 20.0)
        other = product(40)
        assert device.measure(other, [default_of(other, target)])[0].status is Status.OK
    finally:
        device.close()


@pytest.mark.parametrize("vectors", [2, 3, 4])
def test_a_tail_reads_nothing_beyond_its_operands(vectors: int) -> None:
    """Folds across lanes over tiles that fill no block, right before a page that nobody may touch."""
    knobs: dict[str, KnobValue] = {"tile_0": 32, "tile_1": 12, "reduction_tile_0": 32, "loop_order": "0 1"}
    knobs |= {"vector_axis": 2, "vectors": vectors, "row_axis": 0, "rows": 6, "inner": "rows", "unroll": 1}
    device = HostDevice(this_core(), budget_ns=1_000_000)
    try:
        (measured,) = device.measure(product(), [Config((*knobs.items(), ("cores", 1)))])
    finally:
        device.close()
    assert measured.status is Status.OK, measured.reason


@pytest.mark.skipif(not (sys.platform == "linux" and platform.machine() == "x86_64"), reason="its calls")
def test_a_kernel_may_not_call_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for a process of its own; were that not refused, it would trap."""
    forks = bytes.fromhex("b839000000 0f05 83f8ff 7402 0f0b c3".replace(" ", ""))
    target, workload = this_core(), product()
    device = HostDevice(target)
    monkeypatch.setattr(HostDevice, "_image_of", lambda self, nest: Image(forks, {"repeat": 0}))
    try:
        (measured,) = device.measure(workload, [default_of(workload, target)])
    finally:
        device.close()
    assert measured.status is Status.WRONG


def test_faster_configs_are_told_from_slower_ones() -> None:
    target, workload = this_core(), product(128)
    device = HostDevice(target)
    good = default_of(workload, target)
    slow = Config(tuple((name, 1 if name in ("rows", "vectors", "tile_0") else v) for name, v in good.items))
    try:
        fast, slower = device.measure(workload, [good, slow])
    finally:
        device.close()
    assert fast.latency_us is not None
    assert slower.latency_us is not None
    assert np.log(slower.latency_us / fast.latency_us) > 0.3


def test_a_kernel_that_llvm_gives_up_on_is_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    target, workload = this_core(), product()
    device = HostDevice(target)
    config = default_of(workload, target)
    # Vectors wider than what is legal here, of an instruction that cannot be split: LLVM aborts on it.
    body = (
        'define void @repeat(ptr %o) "target-features"="+avx512f" "min-legal-vector-width"="256"'
        ' "prefer-vector-width"="256" {\n'
        "  %x = load <8 x double>, ptr %o\n"
        "  %y = call <8 x double> @llvm.x86.avx512.mask.scalef.pd.512(<8 x double> %x, <8 x double> %x,"
        " <8 x double> zeroinitializer, i8 -1, i32 4)\n  store <8 x double> %y, ptr %o\n  ret void\n}\n"
        "declare <8 x double> @llvm.x86.avx512.mask.scalef.pd.512(<8 x double>, <8 x double>,"
        " <8 x double>, i8, i32)\n"
    )
    try:
        with monkeypatch.context() as patched:
            patched.setattr(module, "emit", lambda nest: body)
            spoilt = device.measure(workload, [config])[0]
        assert spoilt.status is Status.INVALID
        assert "LLVM" in spoilt.reason or "no image" in spoilt.reason
        other = product(40)
        assert device.measure(other, [default_of(other, target)])[0].status is Status.OK
    finally:
        device.close()
