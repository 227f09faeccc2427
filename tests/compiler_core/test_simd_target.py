"""A simd target: what its file says, what decides its digest, and that the rest of the house takes it."""

from dataclasses import replace

from tests.targets import simd_target
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.rules import broken_rules
from tilewright.compiler_core.target_model.target import Cache
from tilewright.compiler_core.target_model.units import matrix_cycles, matrix_table


def test_a_peak_is_lanes_times_ports() -> None:
    target = simd_target()
    assert target.peak_macs_per_cycle(DType.F32) == 16
    table = matrix_table(target, DType.F32)
    assert matrix_cycles(1, 1, 6, 16, 1, 10, table) == 60


def test_the_digest_of_a_measured_cpu_leaves_rates_out() -> None:
    target = replace(simd_target(), identity="a core")
    assert replace(target, frequency_mhz=2000.0).digest == target.digest
    assert replace(target, caches=(Cache(32, 1.0), Cache(1024, 1.0))).digest == target.digest
    assert replace(target, identity="another").digest != target.digest
    assert replace(target, caches=(Cache(48, 64.0), Cache(1024, 32.0))).digest != target.digest
    assert replace(simd_target(), frequency_mhz=2000.0).digest != simd_target().digest


def test_caches_must_be_there_and_in_order() -> None:
    assert not list(broken_rules(simd_target()))
    (key, reason), *_ = broken_rules(replace(simd_target(), caches=()))
    assert key == "caches"
    assert "simd" in reason
    assert list(broken_rules(replace(simd_target(), caches=(Cache(64, 1.0), Cache(32, 1.0)))))
