"""Targets for tests: round numbers, small memories."""

from dataclasses import replace
from pathlib import Path

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.file import target_text
from tilewright.compiler_core.target_model.target import (
    Cache,
    CubeShape,
    CubeUnit,
    Dma,
    Energy,
    HostLink,
    Memory,
    Overheads,
    SimdUnit,
    Target,
    VectorUnit,
)


def small_target(
    *,
    cores: int = 4,
    l1_kib: int = 64,
    accumulator_kib: int = 0,
    streams_operands: bool = False,
    fixed_slots: int = 0,
    largest_n: int = 0,
) -> Target:
    """A chip of 16x16x16 cubes at 1 GHz that stores f16 and keeps sums in f32."""
    return Target(
        name="small",
        description="",
        frequency_mhz=1000.0,
        cores=cores,
        dtypes=((DType.F16, DType.F32),),
        matrix=CubeUnit((CubeShape(DType.F16, 16, 16, 16),), largest_n=largest_n),
        vector=VectorUnit(2048),
        l1_kib=l1_kib,
        accumulator_kib=accumulator_kib,
        streams_operands=streams_operands,
        fixed_slots=fixed_slots,
        llb=Memory(32 * 1024, 1000.0, 10, 64),
        dram=Memory(1 << 22, 100.0, 100, 64),
        dma=Dma(128.0, 10, 16),
        host=HostLink(10.0, 1.0),
        overheads=Overheads(1.0, 10, 1),
        energy=Energy(1.0, 1.0, 2.0, 10.0, 20.0, 1.0, ((DType.F16, 1.0),)),
    )


def simd_target(*, bits: int = 512, registers: int = 32) -> Target:
    """A CPU core of 3 GHz with one port of multiply-adds and two caches of its own."""
    return replace(
        small_target(cores=1),
        name="core",
        frequency_mhz=3000.0,
        dtypes=((DType.F32, DType.F32), (DType.I32, DType.I32)),
        matrix=SimdUnit(bits, registers, fma_ports=1, fma_latency_cycles=4, load_ports=1),
        vector=VectorUnit(2 * bits, takes_contractions=False),
        caches=(Cache(32, 64.0), Cache(1024, 32.0)),
        overheads=Overheads(0.0, 0, 10),
        energy=Energy(1.0, 1.0, 2.0, 10.0, 20.0, 1.0, ((DType.F32, 1.0),)),
    )


def target_with_llb(folder: Path, kib: int) -> Path:
    """ascend910 with an LLB of `kib` KiB, as a file."""
    lines = target_text("ascend910").splitlines()
    at = lines.index("[llb]")
    row = next(i for i in range(at, len(lines)) if lines[i].startswith("kib"))
    lines[row] = f"kib = {kib}  # assumed"
    path = folder / "chip.toml"
    path.write_text("\n".join(lines))
    return path
