"""Target: digests follow what decides time, and nothing else; storage dtypes; peaks."""

from dataclasses import replace
from math import inf

import pytest

from tilewright.compiler_core.errors import TargetError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.file import PRESETS, list_targets, load_target, parse_target
from tilewright.compiler_core.target_model.target import Dataflow, SystolicUnit, Target, numbers_of

ASCEND = load_target("ascend910")


def test_digest_ignores_prose_and_provenance() -> None:
    assert replace(ASCEND, name="other", description="x", assumed=()).digest == ASCEND.digest


@pytest.mark.parametrize(
    "change",
    [
        {"cores": 31},
        {"frequency_mhz": 1001.0},
        {"weights_bypass_llb": True},
        {"dram": replace(ASCEND.dram, gbps=inf)},
        {"energy": replace(ASCEND.energy, static_watts=61.0)},
        {"vector": replace(ASCEND.vector, lane_ops=(("exp", 4),))},
        {"dtypes": tuple(reversed(ASCEND.dtypes))},
        {"matrix": SystolicUnit(16, 16, Dataflow.WS, ((DType.F16, 1), (DType.I8, 1)))},
    ],
)
def test_digest_follows_every_number(change: dict[str, object]) -> None:
    assert replace(ASCEND, **change).digest != ASCEND.digest  # type: ignore[arg-type]


def test_digest_takes_4000_and_4000_point_0_for_the_same_number() -> None:
    text = (PRESETS / "ascend910.toml").read_text()
    target, _ = parse_target(text.replace("gbps = 4000 ", "gbps = 4000.0 "))
    assert target is not None
    assert target.digest == ASCEND.digest


def test_presets_differ() -> None:
    assert len({load_target(name).digest for name in list_targets()}) == len(list_targets()) == 9


def test_numbers_are_named_by_their_place() -> None:
    numbers = dict(numbers_of(ASCEND))
    assert numbers["matrix.kind"] == "cube"
    assert numbers["matrix.shapes.1.k"] == 32
    assert numbers["energy.pj_per_mac.f16"] == 0.72
    assert dict(numbers_of(load_target("eyeriss")))["llb.gbps"] == "inf"


@pytest.mark.parametrize(
    ("name", "model", "stored"),
    [
        ("ascend910", "f32", "f16"),
        ("ascend910", "bf16", "f16"),
        ("ascend910", "f16", "f16"),
        ("ascend910", "u8", "u8"),
        ("ascend910", "i64", "i64"),
        ("ascend910", "bool", "bool"),
        ("tpu_v4i", "f64", "bf16"),
        ("ethos_u55_128", "f32", "i8"),
        ("eyeriss", "f32", "i16"),
        ("eyeriss", "u8", "i16"),
    ],
)
def test_storage_dtype(name: str, model: str, stored: str) -> None:
    assert load_target(name).storage_dtype(DType(model)) == stored


def test_integer_only_targets_say_so() -> None:
    with_floats = {name for name in list_targets() if load_target(name).stores_floats}
    assert with_floats == {"ascend910", "ascend310", "tpu_v4i"}


def test_accumulators() -> None:
    assert ASCEND.accumulator_dtype(DType.F16) is DType.F32
    assert ASCEND.accumulator_dtype(DType.U8) is DType.I32
    assert load_target("eyeriss").accumulator_dtype(DType.I16) is DType.I16


@pytest.mark.parametrize(
    ("name", "stored", "tera_ops", "tolerance"),
    [
        ("ascend910", "f16", 256, 0.03),  # Hot Chips 31: 256 TFLOPS
        ("ascend910", "i8", 512, 0.03),  # Hot Chips 31: 512 TOPS
        ("ascend310", "i8", 22, 0.03),  # Atlas 200 data sheet: 22 TOPS
        ("tpu_v4i", "bf16", 138, 0.01),  # ISCA 2021: 138 TFLOPS
        ("ethos_u55_256", "i8", 0.256, 0.001),  # 256 MACs at 500 MHz
        ("ethos_u65_512", "i8", 1.024, 0.001),  # Arm: 1 TOPS at 1 GHz
        ("eyeriss", "i16", 0.0672, 0.001),  # JSSC 2017: 33.6 GMAC/s at 200 MHz
    ],
)
def test_peaks_agree_with_the_data_sheet(name: str, stored: str, tera_ops: float, tolerance: float) -> None:
    target = load_target(name)
    peak = 2 * target.peak_macs_per_cycle(DType(stored)) * target.frequency_mhz / 1e6
    assert peak == pytest.approx(tera_ops, rel=tolerance)


def test_no_peak_for_a_dtype_the_matrix_unit_does_not_take() -> None:
    with pytest.raises(TargetError, match=r"ascend910: matrix has no shape for i32"):
        ASCEND.peak_macs_per_cycle(DType.I32)


def test_units_of_bandwidth_and_time() -> None:
    target = load_target("ethos_u65_256")
    assert target.llb_bytes_per_cycle == 16.0
    assert target.dram_bytes_per_cycle == 3.75
    assert replace(target, frequency_mhz=500.0).llb_bytes_per_cycle == 32.0
    assert ASCEND.launch_cycles == 1000
    assert (ASCEND.l1_bytes, ASCEND.accumulator_bytes) == (1 << 20, 1 << 18)


def test_lanes_are_no_narrower_than_the_unit_has() -> None:
    tpu = load_target("tpu_v4i")
    assert tpu.vector.lanes(DType.BF16) == tpu.vector.lanes(DType.F32) == 2048
    assert ASCEND.vector.lanes(DType.I8) == 2 * ASCEND.vector.lanes(DType.F16) == 256


def test_a_target_is_hashable_and_equal_by_value() -> None:
    again: Target = load_target("ascend910")
    assert hash(again) == hash(ASCEND)
    assert again == ASCEND
