"""A sample of tiles meets every distinct tile shape, and shows a fault that only a corner has."""

from dataclasses import replace

import numpy as np
import pytest

from tests.small_networks import CASES, Case, window_chain
from tilewright.compiler_core.checking.sampled import emulate_sample, sample_of, sampled_tiles
from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram, Program
from tilewright.compiler_core.lowering.regions import Span
from tilewright.compiler_core.meaning.interpret import interpret


def shapes_of(program: KernelProgram, tiles: range | tuple[int, ...]) -> set[tuple[int, ...]]:
    """The widths of all intervals at each of these parallel tiles."""
    found = set()
    for tile in tiles:
        at = program.position(tile, 0)
        spans = [span for buffer in program.buffers for span in buffer.region]
        found.add(tuple(high - low for low, high in (program.at(span, at) for span in spans)))
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_distinct_tile_shape_is_among_them(name: str) -> None:
    for stage in CASES[name]().compile().stages:
        for call in stage:
            if isinstance(call, KernelCall):
                tiles = sampled_tiles(call.program, np.random.default_rng(0))
                everything = range(call.program.parallel_tiles)
                assert set(tiles) <= set(everything)
                assert shapes_of(call.program, tiles) == shapes_of(call.program, everything)


def differs(case: Case, program: Program) -> bool:
    known = interpret(case.graph, case.inputs)
    _, chosen = sample_of(program, 0)
    return any(
        not np.array_equal(box.elements, wanted) for box, wanted in emulate_sample(case.graph, known, chosen)
    )


@pytest.mark.parametrize("name", CASES)
def test_a_sound_program_stores_what_the_network_has(name: str) -> None:
    case = CASES[name]()
    assert not differs(case, case.compile())


def test_a_fault_in_the_last_tiles_alone_is_seen() -> None:
    """Only the last row of tiles of the window chain loads one row further up than it reads."""
    case = window_chain()
    call = case.compile().stages[0][0]
    assert isinstance(call, KernelCall)
    buffers = list(call.program.buffers)
    loaded = next(index for index, b in enumerate(buffers) if b.value in call.program.workload.graph.inputs)
    low, high = (bound.copy() for bound in buffers[loaded].region[2])
    low.reshape(-1)[-1] -= 1
    high.reshape(-1)[-1] -= 1
    region = buffers[loaded].region
    buffers[loaded] = replace(buffers[loaded], region=(*region[:2], Span(low, high), *region[3:]))
    wrong = replace(call, program=replace(call.program, buffers=tuple(buffers)))
    known = interpret(case.graph, case.inputs)
    tiles = sampled_tiles(wrong.program, np.random.default_rng(0))
    sound = tuple(tile for tile in tiles if wrong.program.position(tile, 0)[2] < low.size - 1)
    assert list(emulate_sample(case.graph, known, ((wrong, sound),)))
    with pytest.raises(VerifyError, match="holds"):
        list(emulate_sample(case.graph, known, ((wrong, tiles),)))
