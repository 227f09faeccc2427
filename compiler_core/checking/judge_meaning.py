"""Does the network as imported mean what its model means? Both in float64, value by value.

The ops of the Graph are evaluated in float64 from one value that the model names to the next. Each is judged
against what others compute for it (onnx_import/reference.py), and then replaced by that, so that nothing is
blamed for what came in. The tolerance is the one of the model's dtype, because weights that were folded are
rounded to it. Ops in another form (rewrites) are judged against the op whose place they take.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tilewright.compiler_core.checking.judge import Expected, Judgement
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Graph, Op, Rewrites
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.bounded import Bounded, bounded, exactly, in_float64
from tilewright.compiler_core.meaning.evaluate import Held, evaluate
from tilewright.compiler_core.meaning.tolerance import is_rounded


@dataclass(frozen=True, eq=False)
class Told:
    """What somebody else has for a value of the graph; `rounded`: in the model's dtype, not in float64."""

    value: int
    array: Array
    rounded: bool = False


@dataclass(frozen=True)
class Meant:
    """The judgement on one value as imported, or on the other form of the op that makes it."""

    value: int
    judgement: Judgement


@dataclass(frozen=True, eq=False)
class _Known:
    """A value in float64 with its slack, and as plain evaluation has it; `stepped`: behind a rounded step."""

    exact: Bounded
    plain: Array
    stepped: bool = False


def judge_meaning(
    graph: Graph,
    inputs: Mapping[int, Array],
    told: Iterable[Told],
    awaited: Collection[int],
    rewrites: Rewrites | None = None,
) -> Iterator[Meant]:
    """A judgement on every value that somebody tells, in their order, and on every op of `rewrites`.

    `told` come in an order that respects data, `awaited` are the values that they may be about. Without any,
    only rewrites are judged.
    """
    walk = _Walk(graph, inputs, awaited, rewrites or {})
    for each in told:
        if each.value in graph.producer:
            yield from walk.advance(graph.producer[each.value])
            yield walk.judge(each)
    yield from walk.advance(max(rewrites, default=-1) if rewrites else -1)


class _Walk:
    """How far the graph is evaluated, and the values that are still read or told later."""

    def __init__(
        self, graph: Graph, inputs: Mapping[int, Array], awaited: Collection[int], rewrites: Rewrites
    ) -> None:
        self._graph = graph
        self._awaited = set(awaited)
        self._rewrites = rewrites
        self._next = 0
        self._reads = Counter(a.value for op in graph.ops for a in op.operands)
        self._known: dict[int, _Known] = {}
        for value in graph.inputs:
            array = inputs[value].astype(graph.values[value].dtype.numpy, copy=False)
            self._known[value] = _Known(exactly(array), array)

    def advance(self, last: int) -> Generator[Meant, None, None]:
        """Evaluate the ops up to position `last`."""
        graph = self._graph
        while self._next <= last:
            at, op = self._next, graph.ops[self._next]
            self._next += 1
            self._known[op.result] = made = self._evaluated(op, self._known, graph.values)
            if at in self._rewrites:
                yield self._form(at, op, made)
            for access in op.operands:
                self._reads[access.value] -= 1
                self._let_go(access.value)

    def judge(self, told: Told) -> Meant:
        """A value beside what others have for it; it is theirs from then on."""
        mine, kind = self._known[told.value], self._graph.values[told.value]
        loose = told.rounded or mine.stepped or not is_rounded(kind.dtype)
        exact, reference = mine.exact, in_float64(told.array)
        allowed = Bounded(exact.value, exact.slack if loose else exact.own)
        judgement = Expected(allowed, in_float64(mine.plain), kind.dtype).judge(reference)
        judgement = replace(judgement, got=judgement.wanted, wanted=judgement.got)
        if not judgement.objection:
            with np.errstate(all="ignore"):
                self._known[told.value] = _Known(Bounded(reference), reference.astype(kind.dtype.numpy))
        self._awaited.discard(told.value)
        self._let_go(told.value)
        return Meant(told.value, judgement)

    def _let_go(self, value: int) -> None:
        if not self._reads[value] and value not in self._awaited:
            self._known.pop(value, None)

    def _operand(self, value: int, known: Mapping[int, _Known]) -> _Known:
        if value in known:
            return known[value]
        constant = self._graph.constants[value]
        return _Known(exactly(constant), constant)

    def _evaluated(self, op: Op, known: Mapping[int, _Known], values: tuple[TensorType, ...]) -> _Known:
        read = [self._operand(access.value, known) for access in op.operands]
        kinds, result = [values[access.value] for access in op.operands], values[op.result]
        with np.errstate(all="ignore"):
            exact = bounded(op, [each.exact for each in read], kinds, result)
            held = [Held(each.plain, (0,) * each.plain.ndim, each.plain.shape) for each in read]
            plain = evaluate(op, [(0, extent) for extent in op.extents], held, result)
        steps = not is_rounded(result.dtype) and any(is_rounded(kind.dtype) for kind in kinds)
        return _Known(exact, plain, steps or any(each.stepped for each in read))

    def _form(self, at: int, op: Op, made: _Known) -> Meant:
        """The other form of an op, from the same operands."""
        types, form = self._rewrites[at].form(self._graph, op, len(self._graph.values))
        values = (*self._graph.values, *types)
        known = dict(self._known)
        for each in form:
            known[each.result] = self._evaluated(each, known, values)
        got = known[op.result].exact.value
        expected = Expected(made.exact, in_float64(made.plain), values[op.result].dtype)
        return Meant(op.result, expected.judge(got))
