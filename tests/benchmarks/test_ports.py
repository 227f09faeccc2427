"""The report of port models: which loop they are shown, what of their reports is read."""

import math

from benchmarks.host.hot_loop import hot_loop
from benchmarks.host.ports import correlations, mca_cycles, osaca_cycles

ASSEMBLY = """
repeat:
	.cfi_startproc
	movq	%rdi, %rax
.LBB0_1:
	vmovups	(%rax), %zmm0           # 64 bytes
	.p2align	4
.LBB0_2:
	vfmadd231ps	%zmm0, %zmm1, %zmm2
	vfnmadd213ps	(%rax), %zmm1, %zmm3
	addq	$4, %rcx
	jb	.LBB0_2
	vfmadd231ps	%zmm0, %zmm1, %zmm2
	jne	.LBB0_1
.LBB0_3:
	vfmadd231ps	%zmm0, %zmm1, %zmm2
	jne	.LBB0_3
	retq
"""
OSACA = """
   6 | 0.50        | 0.00  0.50 |      ||      |      |   vfmadd231ps	%zmm19, %zmm18, %zmm0
 107 | 0.00        | 0.34  0.33 |      ||      |      |   cmpq $124, %r15

       32.0          1.00  20.0   20.0          32.0   1.00      21   16.0

  10 | 16.0 | vfmadd231ps	%zmm18, %zmm20, %zmm3   | [10, 34, 60, 86]
  12 | 40.0 | vfmadd231ps	%zmm18, %zmm20, %zmm5   | [12, 36, 62, 88]
"""


def test_the_loop_inside_with_most_products_is_the_hot_one() -> None:
    loop = hot_loop(ASSEMBLY)
    assert loop is not None
    assert loop.products == 2
    assert [line.split()[0] for line in loop.lines] == ["vfmadd231ps", "vfnmadd213ps", "addq", "jb"]
    assert hot_loop("repeat:\n\tretq\n") is None


def test_a_report_is_the_busiest_port_or_the_longest_chain() -> None:
    assert osaca_cycles(OSACA) == 40.0
    assert osaca_cycles(OSACA.replace("40.0 |", "4.0 |")) == 32.0
    assert math.isnan(osaca_cycles("unknown architecture"))
    assert mca_cycles("Iterations:        100\nTotal Cycles:      3611\n") == 36.11
    assert math.isnan(mca_cycles("error: unknown CPU"))


def test_correlations_are_of_kernels() -> None:
    """Kernels differ in size: over all rows even a tool that is wrong in each of them would look right."""
    rows = [
        {"kernel": name, "measured_us": size + at, "draft_us": size + at, "osaca_us": size - at}
        for name, size in (("a", 10.0), ("b", 1000.0))
        for at in range(3)
    ]
    found = {name: figure["value"] for name, figure in correlations(rows).items()}
    assert found == {"draft, rank correlation": 1.0, "osaca, rank correlation": -1.0}
