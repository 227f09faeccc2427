"""A proxy for the area of a chip's cores and buffers: for comparing variants, not for the size of a chip.

Areas of arithmetic at 45 nm are those of M. Horowitz, "Computing's energy problem", ISSCC 2014 (multiplier
and adder of each type). An SRAM cell has 0.346 um^2 at 45 nm (K. Mistry et al., IEDM 2007); half as much
again is counted for what surrounds the cells. Wires, control, DRAM and the host are left out.
"""

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.target import Target

MAC_UM2 = {DType.F32: 7700 + 4184, DType.F16: 1640 + 1360, DType.BF16: 1640 + 1360, DType.I8: 282 + 137}
"""Of a multiplier and the adder of its sums."""
SRAM_UM2_PER_BYTE = 8 * 0.346 * 1.5
UM2_PER_MM2 = 1e6


def area_mm2(target: Target) -> float:
    """Multipliers of all matrix and vector units, L1, accumulator memory and LLB, in mm^2 at 45 nm."""
    stored = target.dtypes[0][0]
    each = MAC_UM2.get(stored) or MAC_UM2[DType.I8] * (stored.bits / 8) ** 2
    lanes = target.cores * target.vector.lanes(stored)
    units = (target.peak_macs_per_cycle(stored) + lanes) * each
    per_core = (target.l1_kib + target.accumulator_kib) * 1024
    memories = (target.cores * per_core + target.llb.kib * 1024) * SRAM_UM2_PER_BYTE
    return (units + memories) / UM2_PER_MM2
