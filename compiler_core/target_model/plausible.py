"""Numbers of a Target that are legal but unlikely: `tune targets check` questions them."""

from collections.abc import Iterator
from itertools import pairwise

from tilewright.compiler_core.target_model.target import CubeUnit, Memory, SystolicUnit, Target

MOST_MHZ = 20_000.0
"""Above this a clock was likely given in kHz or Hz."""
MOST_LAUNCH_US = 10_000.0
WORD_BITS = 8


def doubts_about(target: Target) -> Iterator[tuple[str, str]]:
    """Pairs of a dotted key and why its number is hardly meant; such a target is legal all the same."""
    if target.frequency_mhz > MOST_MHZ:
        yield "frequency_mhz", f"is {target.frequency_mhz:g} MHz; is that in kHz or Hz?"
    yield from _units(target)
    if not target.caches:
        yield from _memories(target)
    if target.overheads.launch_us > MOST_LAUNCH_US:
        yield "overheads.launch_us", f"is {target.overheads.launch_us / 1e3:g} ms; is that in ns?"
    energy = target.energy
    prices = [
        ("energy.pj_per_l1_byte", energy.pj_per_l1_byte),
        ("energy.pj_per_llb_byte", energy.pj_per_llb_byte),
        ("energy.pj_per_dram_byte", energy.pj_per_dram_byte),
    ]
    for (_, inner), (key, outer) in pairwise(prices):
        if 0.0 < outer < inner:
            yield key, f"is {outer:g}, cheaper than the {inner:g} of the level inside it"


def _units(target: Target) -> Iterator[tuple[str, str]]:
    widest = max(stored.bits for stored, _ in target.dtypes)
    if target.vector.bits % max(WORD_BITS, widest):
        yield "vector.bits", f"is {target.vector.bits}, no whole number of elements of {widest} bits"
    sums = max(accumulator.bits for _, accumulator in target.dtypes) // 8
    matrix = target.matrix
    if isinstance(matrix, CubeUnit):
        tiles = [shape.m_outer * shape.m * shape.n for shape in matrix.shapes]
    elif isinstance(matrix, SystolicUnit):
        tiles = [matrix.cols]
    else:
        tiles = []
    room = target.accumulator_kib * 1024
    if room and tiles and room < min(tiles) * sums:
        yield "accumulator_kib", f"holds {room} bytes, less than the {min(tiles) * sums} of one tile of sums"


def _memories(target: Target) -> Iterator[tuple[str, str]]:
    llb, dram = target.llb, target.dram
    if llb.kib and llb.gbps < dram.gbps:
        yield "llb.gbps", f"is {llb.gbps:g} GB/s, slower than the {dram.gbps:g} of the DRAM behind it"
    if llb.kib and llb.latency_cycles > dram.latency_cycles:
        yield "llb.latency_cycles", f"is {llb.latency_cycles}, more than the {dram.latency_cycles} of DRAM"
    if llb.kib and llb.kib < target.l1_kib:
        yield "llb.kib", f"is {llb.kib} KiB, less than the {target.l1_kib} of one core's L1"
    if dram.kib < llb.kib:
        yield "dram.kib", f"is {dram.kib} KiB, less than the {llb.kib} of the LLB"
    if target.host.gbps > dram.gbps:
        yield "host.gbps", f"is {target.host.gbps:g} GB/s, faster than the {dram.gbps:g} of DRAM"
    for key, memory in (("llb", llb), ("dram", dram)):
        yield from _burst(key, memory)


def _burst(key: str, memory: Memory) -> Iterator[tuple[str, str]]:
    if memory.burst_bytes & (memory.burst_bytes - 1):
        yield f"{key}.burst_bytes", f"is {memory.burst_bytes}, no power of two"
