"""Measure this CPU and describe it as a target file: registers, ports, latency, caches, bandwidths."""

import os
from dataclasses import dataclass
from statistics import median

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import Image
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.compiler_core.target_model.host import caches, identity
from tilewright.measure.host.burst import (
    CHAINS,
    HEADROOM,
    UNROLLED,
    burst_image,
    clock_image,
    stream_image,
)
from tilewright.measure.host.process import HostProcess, runner

MULTIPLY_CYCLES = 3
"""Latency of a 64-bit multiplication on every x86-64 and aarch64 core of the last decade."""
SAMPLES, SAMPLE_NS = 15, 2_000_000
LARGEST_STREAM_KIB = 64 * 1024
SAMPLE_BYTES = 1 << 24


@dataclass(frozen=True)
class MeasuredCore:
    """Measured rates of one core."""

    mhz: float
    fma_ports: int
    fma_latency_cycles: int
    bytes_per_cycle: tuple[float, ...]
    memory_gbps: float


def code_of(machine: Machine) -> str:
    """A CPU in the words of a target file: its triple, name and features in LLVM's terms."""
    features = [each for each in machine.features.split(",") if each.startswith("+")]
    return " ".join((machine.triple, machine.cpu, *features))


def host_text() -> str:
    """The target file of this CPU as text; DeviceError where it cannot be measured."""
    machine = host_machine()
    process = runner()
    try:
        text = core_text(machine, _measured(machine, process))
    finally:
        process.close()
    target, mistakes = parse_target(text)
    if target is None:
        raise DeviceError(f"this CPU could not be measured: {mistakes[0]}")
    return text


def _measured(machine: Machine, process: HostProcess) -> MeasuredCore:
    rounds = 2000
    clock_ns = _seconds(process, clock_image(machine), rounds)
    mhz = 1000.0 * UNROLLED * rounds * MULTIPLY_CYCLES / clock_ns
    wide_ns = _seconds(process, burst_image(machine), rounds)
    chain_ns = _seconds(process, burst_image(machine, 1), rounds)
    cycle_ns = 1000.0 / mhz
    per_cycle = CHAINS * UNROLLED * rounds * cycle_ns / wide_ns
    latency = chain_ns / (UNROLLED * rounds * cycle_ns)
    ports = max(1, round(per_cycle))
    mhz *= max(1.0, per_cycle / ports)  # no chain is faster than the clock, but some are slower
    sizes = [kib for _, kib in caches()] or [32, 512]
    streams = [min(kib * 5 // 8, LARGEST_STREAM_KIB) for kib in sizes] + [
        min(4 * max(sizes), 2 * LARGEST_STREAM_KIB)
    ]
    rates = [_stream(process, machine, kib) for kib in streams]
    return MeasuredCore(
        mhz,
        ports,
        max(1, round(latency)),
        tuple(rate * cycle_ns for rate in rates[:-1]),
        rates[-1],
    )


def _stream(process: HostProcess, machine: Machine, kib: int) -> float:
    """Bytes a ns when so many KiB are read again and again."""
    vectors = kib * 1024 // (machine.vector_bits // 8) // 8 * 8
    size = vectors * (machine.vector_bits // 8)
    rounds = max(1, SAMPLE_BYTES // size)
    return rounds * size / _seconds(process, stream_image(machine), rounds, vectors)


def _seconds(process: HostProcess, image: Image, rounds: int, vectors: int = 8) -> float:
    """Median thread time of one call of an image, in ns."""
    name = f"detect-{hash(image.code)}"
    process.ask({"what": "forget"})
    process.ask({"what": "image", "name": name, "entry": image.entries["repeat"]}, image.code)
    process.ask({"what": "buffer", "name": "data", "size": vectors * 64, "bytes": 0})
    process.ask({"what": "fill", "name": "data", "byte": 0})
    process.ask({"what": "buffer", "name": "scratch", "size": 4096, "bytes": 0})
    call = {"image": name, "operands": [["data", 0]], "scratch": "scratch", "tiles": [0, vectors]}
    asked = {"what": "measure", "calls": [call], "burst": call, "burst_rounds": rounds}
    limits = {"sample_ns": 1, "least": SAMPLES, "most": SAMPLES, "budget_ns": SAMPLE_NS}
    answer = process.ask(asked | limits, deadline_s=120.0)
    return float(median([burst for _, burst in answer["samples"]]))


def core_text(machine: Machine, seen: MeasuredCore) -> str:
    """The target file of a core of this CPU."""
    sizes = caches() or [(1, 32), (2, 512)]
    inner, (_, last_kib) = sizes[:-1] or sizes, sizes[-1]
    bits = machine.vector_bits
    load_ports = max(1, round(seen.bytes_per_cycle[0] / (bits / 8)))
    mhz = round(seen.mhz * HEADROOM, 1)
    last_gbps = seen.bytes_per_cycle[-1] * seen.mhz / 1000.0
    memory_kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    lines = [
        "# Measured on this CPU by `tune targets detect`: one core of it.",
        'name = "host"',
        'description = "one core of this CPU, as measured"',
        f'identity = "{identity()}"',
        f'code = "{code_of(machine)}"',
        f"frequency_mhz = {mhz}           # measured {seen.mhz:.0f}, and room for what samples scatter",
        "cores = 1",
        f"l1_kib = {sizes[0][1]}",
        'assumed = ["llb.latency_cycles", "dram.latency_cycles", "dma", "host", "overheads", "energy"]',
        "",
        "[dtypes]",
        *(f'{stored} = "{sums}"' for stored, sums in DTYPES),
        "",
        "[matrix]",
        'kind = "simd"',
        f"bits = {bits}",
        f"registers = {machine.registers}",
        f"fma_ports = {seen.fma_ports}                 # measured: independent multiply-adds",
        f"fma_latency_cycles = {seen.fma_latency_cycles}        # measured: a chain of multiply-adds",
        f"load_ports = {load_ports}",
        "",
        "[vector]",
        f"bits = {2 * bits}                    # two pipes at best",
        "takes_contractions = false      # they are the same pipes",
        "",
    ]
    for index, (_, kib) in enumerate(inner):
        lines += ["[[caches]]", f"kib = {kib}", f"bytes_per_cycle = {seen.bytes_per_cycle[index]:.1f}", ""]
    lines += [
        "[llb]",
        f"kib = {last_kib}",
        f"gbps = {last_gbps:.1f}",
        "latency_cycles = 50",
        "burst_bytes = 64",
        "",
        "[dram]",
        f"kib = {memory_kib}",
        f"gbps = {seen.memory_gbps:.1f}",
        "latency_cycles = 300",
        "burst_bytes = 64",
        "",
        *FIXED,
    ]
    return "\n".join(lines) + "\n"


DTYPES = (("f32", "f32"), ("f16", "f32"), ("bf16", "f32"), ("i8", "i32"), ("i16", "i32"), ("i32", "i32"))
FIXED = (
    "[dma]",
    "bytes_per_cycle = 64",
    "setup_cycles = 0",
    "outstanding = 16",
    "",
    "[host]",
    "gbps = 10.0",
    "latency_us = 0.0",
    "",
    "[overheads]",
    "launch_us = 0.0",
    "barrier_cycles = 0",
    "tile_dispatch_cycles = 10",
    "",
    "[energy]",
    "pj_per_lane_op = 5.0",
    "pj_per_l1_byte = 1.0",
    "pj_per_llb_byte = 5.0",
    "pj_per_dram_byte = 100.0",
    "pj_per_host_byte = 100.0",
    "static_watts = 5.0",
    "",
    "[energy.pj_per_mac]",
    "f32 = 10.0",
)
