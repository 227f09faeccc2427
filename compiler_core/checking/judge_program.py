"""Does a Program compute what its network means? One walk down the Program, every op judged alone.

Calls are run one after the other, and every value that their tiles compute is judged (judge.py) on its actual
operands. Beside it the network may be followed in float64 from end to end (`exact`), which tells how far the
Program's values have moved by then. Values without further readers are dropped on the way.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tilewright.compiler_core.checking.emulate import (
    Seen,
    StoredBox,
    laid_out,
    made_again,
    run_call,
    run_tiles,
    stored_by,
)
from tilewright.compiler_core.checking.judge import Judgement, is_right_at_a_glance, judge_op
from tilewright.compiler_core.checking.sampled import sampled_tiles
from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Kernel
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.meaning.bounded import Bounded, boxes, in_float64, plainly

Evaluator = Callable[[KernelCall, Mapping[int, Array]], Mapping[int, Array] | None]
"""All values that a kernel computes, from its operands, by value of its Workload; None: it cannot."""


@dataclass(frozen=True)
class Moved:
    """The distance of a value from the network in float64, computed from end to end.

    `max_rel` is of its largest magnitude. Only what is finite on both sides counts; `finite` says whether all
    is that is finite in float64.
    """

    max_abs: float
    max_rel: float
    cosine: float
    finite: bool


@dataclass(frozen=True)
class Judged:
    """A value of the graph that a call computes, and the judgement on it. `whole`: on all of its elements."""

    value: int
    judgement: Judgement
    whole: bool = True
    moved: Moved | None = None


def judge_program(
    graph: Graph,
    program: Program,
    inputs: Mapping[int, Array],
    *,
    sample_seed: int | None = None,
    exact: bool = False,
    native: Evaluator | None = None,
) -> Iterator[Judged]:
    """A judgement on every value that `program` computes, as calls are run; `graph` is the Program's own.

    With a `sample_seed` of every kernel only tiles of all distinct shapes are run, and a few more
    (sampled.py). With `exact` every whole value says how far it has `moved`. `native` is asked first, and
    always for all tiles; what it does not take, or gets wrong, is run in numpy. Without `exact`, values that
    it has right at a glance (judge.py) are told without figures. Raises VerifyError when the Program reads
    what is not there.
    """
    rng = None if sample_seed is None else np.random.default_rng(sample_seed)
    kinds = {value: graph.values[value].dtype.numpy for value in graph.inputs}
    given = {value: inputs[value].astype(kind, copy=False) for value, kind in kinds.items()}
    memory = _Memory(graph, program, given, exact=exact)
    for index, call in enumerate(memory.calls):
        with np.errstate(all="ignore"):
            if isinstance(call, HostCall):
                made, judged = _judge_host(graph, call, memory)
            else:
                by_machine = None if native is None else _natively(call, memory, native)
                made, judged = by_machine or _judge_kernel(graph, call, memory, rng)
            yield from memory.step(index, made, judged)


class _Memory:
    """The operands of later calls: in the model's order (`known`), in their layouts between kernels
    (`lying`), and the network's values in float64 (`exact`).
    """

    def __init__(self, graph: Graph, program: Program, given: Mapping[int, Array], *, exact: bool) -> None:
        self._graph = graph
        self.calls = [call for stage in program.stages for call in stage]
        self._last_reader = {
            value: index for index, call in enumerate(self.calls) for value in _read(graph, call)
        }
        self.known = dict(given)
        self.lying = dict(given)
        self.exact = {value: in_float64(array) for value, array in given.items()} if exact else None

    def operand(self, value: int) -> Array:
        """A value in the model's order, or a constant."""
        if value in self.known:
            return self.known[value]
        if value not in self._graph.constants:
            raise VerifyError(f"{self._graph.name_of(value)} is read before any kernel stored it")
        return self._graph.constants[value]

    def step(self, at: int, made: Mapping[int, Array], judged: Sequence[Judged]) -> Iterator[Judged]:
        """After call `at`: add the values that it stores, drop those without further readers."""
        call = self.calls[at]
        exact = self._exactly(call)
        for each in judged:
            far = each.whole and each.value in exact
            yield replace(each, moved=moved_from(made[each.value], exact[each.value])) if far else each
        for value in stored_by(self._graph, call):
            if self._last_reader.get(value, -1) > at:
                self.known[value] = made[value]
                self.lying[value] = laid_out(call, value, made[value])
                if self.exact is not None:
                    self.exact[value] = exact[value]
        for value in _read(self._graph, call):
            if self._last_reader[value] == at:
                for there in (self.known, self.lying, self.exact or {}):
                    there.pop(value, None)

    def _exactly(self, call: KernelCall | HostCall) -> dict[int, Array]:
        """A call's results in float64 from the network's float64 values, inner ones too."""
        if self.exact is None:
            return {}
        if isinstance(call, HostCall):
            op = self._graph.ops[call.op]
            read = [self._wide(access.value) for access in op.operands]
            return {op.result: plainly(op, read, self._graph.values[op.result])}
        kernel, local = call.kernel, call.kernel.workload.graph
        arrays = {value: kernel.part(value, self._wide(kernel.values[value])) for value in local.inputs}
        for op in local.ops:
            read = [arrays[access.value] for access in op.operands]
            arrays[op.result] = plainly(op, read, local.values[op.result])
        return {kernel.values[op.result]: arrays[op.result] for op in local.ops}

    def _wide(self, value: int) -> Array:
        assert self.exact is not None, "the network is followed in float64"
        return self.exact[value] if value in self.exact else in_float64(self._graph.constants[value])


def moved_from(got: Array, exact: Array) -> Moved:
    """The distance of a value from its float64 one."""
    most = largest = dot = mine = theirs = 0.0
    all_there = True
    for box in boxes(exact.shape):
        place = tuple(slice(low, high) for low, high in box)
        own, other = (each[place].astype(np.float64).ravel() for each in (got, exact))
        mine_finite, finite = np.isfinite(own), np.isfinite(other)
        all_there &= bool((mine_finite | ~finite).all())
        finite &= mine_finite
        if not finite.all():  # choosing among elements takes longer than all else here
            own, other = own[finite], other[finite]
        most = max(most, float(np.abs(own - other).max(initial=0.0)))
        largest = max(largest, float(np.abs(other).max(initial=0.0)))
        dot, mine, theirs = dot + float(own @ other), mine + float(own @ own), theirs + float(other @ other)
    norms = math.sqrt(mine) * math.sqrt(theirs)
    cosine = dot / norms if 0.0 < norms < math.inf else 1.0
    return Moved(most, most / largest if largest else most, cosine, all_there)


def _read(graph: Graph, call: KernelCall | HostCall) -> set[int]:
    if isinstance(call, HostCall):
        return {access.value for access in graph.ops[call.op].operands}
    return {call.kernel.values[value] for value in call.kernel.workload.graph.inputs}


def _judge_host(graph: Graph, call: HostCall, memory: _Memory) -> tuple[dict[int, Array], list[Judged]]:
    op = graph.ops[call.op]
    read = [access.value for access in op.operands]
    operands = [Bounded(memory.operand(value)) for value in read]
    got = run_call(graph, call, memory.lying)[op.result]
    kinds, result = [graph.values[value] for value in read], graph.values[op.result]
    judged = judge_op(op, operands, kinds, result, [(got, None)])
    return {op.result: got}, [Judged(op.result, judged.judgements[0])]


def _natively(
    call: KernelCall, memory: _Memory, native: Evaluator
) -> tuple[dict[int, Array], list[Judged]] | None:
    return judge_natively(call, memory.operand, native, figures=memory.exact is not None)


def judge_natively(
    call: KernelCall, operand: Callable[[int], Array], native: Evaluator, *, figures: bool = False
) -> tuple[dict[int, Array], list[Judged]] | None:
    """The results of one kernel, all tiles run by machine code, by value of the graph, and a judgement on
    each value; None where machine code has no answer, or a wrong one. `operand` gives what the kernel reads.
    Without `figures`, values that are right at a glance are told without any.
    """
    kernel, local = call.kernel, call.kernel.workload.graph
    known = {value: kernel.part(value, operand(kernel.values[value])) for value in local.inputs}
    made = native(call, known)
    if made is None:
        return None
    if not figures and _is_right_at_a_glance(kernel, known, made):
        named = {kernel.values[op.result]: made[op.result] for op in local.ops}
        kinds = {kernel.values[op.result]: local.values[op.result].dtype for op in local.ops}
        return named, [Judged(value, Judgement(dtype)) for value, dtype in kinds.items()]
    shown = {value: Seen.all_of(made[value]) for value in made}
    for index, op in enumerate(local.ops):
        shown[op.result].unsteady = made_again(call.program, index, op)
    outputs = {kernel.values[value]: shown[value] for value in local.outputs}
    inner = {kernel.values[value]: seen for value, seen in shown.items() if value not in local.outputs}
    found = judge_ops(kernel, operand, inner, outputs, strict=True)
    return found if all(each.judgement.ok for each in found[1]) else None


def _is_right_at_a_glance(kernel: Kernel, known: Mapping[int, Array], made: Mapping[int, Array]) -> bool:
    local, arrays = kernel.workload.graph, {**known, **made}
    return all(
        is_right_at_a_glance(
            op,
            [arrays[access.value] for access in op.operands],
            local.values[op.result],
            made[op.result],
        )
        for op in local.ops
    )


def _judge_kernel(
    graph: Graph, call: KernelCall, memory: _Memory, rng: np.random.Generator | None
) -> tuple[dict[int, Array], list[Judged]]:
    """The results of one kernel, by value of the graph, and a judgement on each value that it computes."""
    watched: dict[int, Seen] = {}
    if rng is None:
        made = run_call(graph, call, memory.lying, watched=watched)
        stored = {value: Seen.all_of(array) for value, array in made.items()}
    else:
        boxes = run_tiles(graph, call, memory.known, sampled_tiles(call.program, rng), watched)
        stored = _put_together(graph, boxes)
    return judge_ops(call.kernel, memory.operand, watched, stored)


def judge_ops(
    kernel: Kernel,
    operand: Callable[[int], Array],
    watched: Mapping[int, Seen],
    stored: Mapping[int, Seen],
    *,
    strict: bool = False,
) -> tuple[dict[int, Array], list[Judged]]:
    """A judgement on the values that tiles computed (`watched`) and stored, op by op of one kernel.

    All by value of the graph; `operand` gives those that the kernel reads. An inner operand is what the tiles
    made of it. Where they made nothing, float64 stands in; where two of them do not agree, their difference
    counts as slack. With the judgements come the values that later kernels are to read.
    """
    local = kernel.workload.graph
    arrays = {value: kernel.part(value, operand(kernel.values[value])) for value in local.inputs}
    slacks: dict[int, Array] = {}
    judged: list[Judged] = []
    made: dict[int, Array] = {}
    for op in local.ops:
        read = [access.value for access in op.operands]
        outer = kernel.values[op.result]
        seen = [each for each in (watched.get(outer), stored.get(outer)) if each is not None]
        loose = any(each.unsteady is not None for each in seen)
        found = judge_op(
            op,
            [Bounded(arrays[value], slacks.get(value)) for value in read],
            [local.values[value] for value in read],
            local.values[op.result],
            [(each.array, None if each.whole else each.there) for each in seen],
            slack=loose,
            strict=strict,
        )
        judged += [Judged(outer, of, each.whole) for of, each in zip(found.judgements, seen, strict=True)]
        arrays[op.result] = _filled(watched.get(outer), found.reference)
        made[outer] = _filled(stored[outer], found.reference) if outer in stored else arrays[op.result]
        inner = watched.get(outer)
        if inner is not None and inner.unsteady is not None and found.slack is not None:
            slacks[op.result] = np.where(inner.unsteady, found.slack, 0.0)
    return made, judged


def _filled(seen: Seen | None, reference: Array) -> Array:
    """The computed elements, and rounded float64 ones where none were computed."""
    if seen is None:
        return reference
    return seen.array if seen.whole else np.where(seen.there, seen.array, reference)


def _put_together(graph: Graph, boxes: Sequence[StoredBox]) -> dict[int, Seen]:
    found: dict[int, Seen] = {}
    for box in boxes:
        if box.value not in found:
            found[box.value] = Seen.nothing(graph.shape(box.value), box.elements.dtype)
        found[box.value].show(box.place, box.elements)
    return found
