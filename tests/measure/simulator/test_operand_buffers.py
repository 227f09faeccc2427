"""A systolic array behind operand buffers: a fold by hand, laws, and compiled code beside plain Python."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulator.scalesim import array, convolution, product
from tests.measure.simulator.test_scalesim import program_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.target_model.file import PRESETS, parse_target
from tilewright.compiler_core.target_model.target import SystolicUnit
from tilewright.measure.simulator.kernel import simulate_kernel
from tilewright.measure.simulator.tables import operand_buffers
from tilewright.measure.simulator.tables.operand_buffers import streams_of


def unit(flow: str, size: int, kib: int, rate: float, latency: int = 1) -> SystolicUnit:
    matrix = array(flow, size, size).matrix
    assert isinstance(matrix, SystolicUnit)
    return replace(
        matrix, operand_buffer_kib=kib, operand_bytes_per_cycle=rate, operand_latency_cycles=latency
    )


def wait(graph: Graph, matrix: SystolicUnit) -> int:
    return streams_of(graph, graph.ops[0], graph.ops[0].extents, matrix, DType.I8).wait_cycles


def test_one_fold_by_hand() -> None:
    """16 x 1024 x 16 on 16 x 16 behind 16 KiB at 4 bytes a cycle.

    The half in use holds 50 blocks of 164 elements. Diagonal 14 ends after 120 elements and later ones have
    16 each, so element 8,200 is asked for in cycle 520. Its half is there in cycle 2,048, counted from 0, and
    what is asked for is taken a cycle later.
    """
    graph = product(16, 1024, 16)
    assert wait(graph, unit("os", 16, 16, 4.0)) == 2048 - 1 - 520
    streams = streams_of(graph, graph.ops[0], (16, 16, 1024), unit("os", 16, 16, 4.0), DType.I8)
    assert streams.fetched == (2 * 8192, 2 * 8192)


def test_the_wait_is_part_of_the_kernel_and_refetches_of_its_energy() -> None:
    graph = product(64, 64, 64)
    plain = array("os", 32, 32)
    behind = replace(plain, matrix=unit("os", 32, 4, 1.0))
    free, slow = (simulate_kernel(program_of(graph, target), target) for target in (plain, behind))
    assert slow.cycles - free.cycles == wait(graph, unit("os", 32, 4, 1.0)) == 14450 + 1 - 504
    assert slow.span.work.l1_bytes - free.span.work.l1_bytes == 2 * (16384 - 4096)
    assert slow.energy_uj > free.energy_uj


LAYER = {"H": "9", "W": "9", "R": "3", "S": "3", "Cin": "20", "Cout": "24", "stride": "2"}


@given(
    st.sampled_from(["os", "ws", "is"]),
    st.sampled_from([4, 8]),
    st.integers(1, 40),
    st.integers(1, 60),
    st.integers(1, 40),
)
def test_more_bandwidth_is_never_slower(flow: str, size: int, m: int, k: int, n: int) -> None:
    for graph in (product(m, k, n), convolution(LAYER)):
        waits = [wait(graph, unit(flow, size, 1, rate)) for rate in (0.5, 1.0, 2.0, 8.0)]
        assert waits == sorted(waits, reverse=True)
        assert wait(graph, unit(flow, size, 1, inf, 0)) == 0


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_compiled_and_plain_python_agree(flow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = (product(40, 50, 60), convolution(LAYER))
    compiled = [wait(graph, unit(flow, 8, 1, 0.5)) for graph in graphs]
    for name in ("_misses", "_wait"):
        monkeypatch.setattr(operand_buffers, name, getattr(operand_buffers, name).py_func)
    streams_of.cache_clear()
    assert [wait(graph, unit(flow, 8, 1, 0.5)) for graph in graphs] == compiled
    streams_of.cache_clear()
    assert np.all(np.array(compiled) > 0)


def test_a_file_says_what_does_not_go_with_buffers() -> None:
    text = (PRESETS / "gemmini16.toml").read_text()
    text = text.replace("\n[matrix]\n", "\n[matrix]\noperand_buffer_kib = 4\nunits = 2\n")
    target, mistakes = parse_target(text)
    assert target is None
    assert [mistake.key for mistake in mistakes] == ["matrix.units", "matrix.joins_taps"]
    assert all("operand_buffer_kib" in mistake.reason for mistake in mistakes)
