"""Does the network as imported mean what its model means? Both in float64, value by value.

The ops of the Graph are evaluated in float64 from one value that the model names to the next. Each is judged
against the value of the reference (onnx_import/reference.py), and then replaced by it, so that nothing is
blamed for what came in. The tolerance is the one of the model's dtype, because weights that were folded are
rounded to it. Ops in another form (rewrites) are judged against the op whose place they take.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilewright.compiler_core.checking.judge import Judgement, Tally, mismatch
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op, Rewrites
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.bounded import (
    Bounded,
    blocks,
    bounded,
    boxes,
    in_float64,
    part_of,
    place_of,
)
from tilewright.compiler_core.meaning.evaluate import evaluate
from tilewright.compiler_core.meaning.left_open import left_open
from tilewright.compiler_core.meaning.tolerance import is_rounded


@dataclass(frozen=True, eq=False)
class Reported:
    """The reference's value for a value of the graph; `rounded`: in the model's dtype, not in float64;
    `other`: another value that is as right.
    """

    value: int
    array: Array
    rounded: bool = False
    other: Array | None = None


@dataclass(frozen=True)
class Meant:
    """The judgement on one value as imported, or (`of_form`) on the other form of the op that makes it.

    `left_open` counts the elements that are not judged (meaning/left_open.py).
    """

    value: int
    judgement: Judgement
    of_form: bool = False
    left_open: int = 0


@dataclass(frozen=True, eq=False)
class _Known:
    """A value in float64 with its slack, and as plain evaluation has it; `stepped`: behind a rounded step;
    `left_open`: where the standard leaves it open, if anywhere.
    """

    exact: Bounded
    plain: Array
    stepped: bool = False
    left_open: Array | None = None


@dataclass(frozen=True, eq=False)
class Meaning:
    """A value of a graph in float64 with its tolerance, and by plain evaluation."""

    exact: Bounded
    plain: Array
    dtype: DType

    def judge(self, got: Array) -> Judgement:
        """The judgement on a computed array."""
        return mismatch(self.dtype, got, self.plain) or _tallied(self.exact, self.plain, got, self.dtype)


def meaning_of(graph: Graph, inputs: Mapping[int, Array], values: Collection[int]) -> Mapping[int, Meaning]:
    """The results of ops for `values`, from arrays for the graph's inputs alone."""
    walk = _Walk(graph, inputs, values, {})
    for _ in walk.advance(len(graph.ops) - 1):
        pass
    known = {value: walk.known[value] for value in values}
    return {v: Meaning(each.exact, each.plain, graph.values[v].dtype) for v, each in known.items()}


def judge_meaning(
    graph: Graph,
    inputs: Mapping[int, Array],
    reported: Iterable[Reported],
    awaited: Collection[int],
    rewrites: Rewrites | None = None,
) -> Iterator[Meant]:
    """A judgement on every reported value, in their order, and on every op of `rewrites`.

    `reported` values come in data order; `awaited` are the values that may be among them, as often as
    they are. Without any, only rewrites are judged.
    """
    walk = _Walk(graph, inputs, awaited, rewrites or {})
    for each in reported:
        if each.value in graph.producer:
            yield from walk.advance(graph.producer[each.value])
            yield walk.judge(each)
    yield from walk.advance(max(rewrites, default=-1) if rewrites else -1)


class _Walk:
    """How far the graph is evaluated; `known` are the values that are still read or told later."""

    def __init__(
        self, graph: Graph, inputs: Mapping[int, Array], awaited: Collection[int], rewrites: Rewrites
    ) -> None:
        self._graph = graph
        self._awaited = Counter(awaited)
        self._rewrites = rewrites
        self._next = 0
        self._reads = Counter(a.value for op in graph.ops for a in op.operands)
        self.known: dict[int, _Known] = {}
        for value in graph.inputs:
            array = inputs[value].astype(graph.values[value].dtype.numpy, copy=False)
            self.known[value] = _Known(Bounded(in_float64(array)), array)

    def advance(self, last: int) -> Generator[Meant, None, None]:
        """Evaluate the ops up to position `last`."""
        graph = self._graph
        while self._next <= last:
            at, op = self._next, graph.ops[self._next]
            self._next += 1
            self.known[op.result] = made = self._evaluated(op, self.known, graph.values)
            if at in self._rewrites:
                yield self._form(at, op, made)
            for access in op.operands:
                self._reads[access.value] -= 1
                self._let_go(access.value)

    def judge(self, reported: Reported) -> Meant:
        """A value beside what others have for it; it is theirs from then on."""
        mine, kind = self.known[reported.value], self._graph.values[reported.value]
        as_rounded = reported.rounded or kind.dtype is DType.F64  # theirs as ours
        loose = as_rounded or mine.stepped or not is_rounded(kind.dtype)
        slack = mine.exact.slack if loose else mine.exact.own
        reference = in_float64(reported.array)
        exact = Bounded(in_float64(mine.exact.value), slack)
        judgement = _judged(exact, mine.plain, reference, kind.dtype, mine.left_open)
        if reported.other is not None and not judgement.ok:
            other = _judged(exact, mine.plain, in_float64(reported.other), kind.dtype, mine.left_open)
            judgement = other if other.ok else judgement
        if not judgement.objection:
            with np.errstate(all="ignore"):
                theirs = reference.astype(kind.dtype.numpy)
            self.known[reported.value] = _Known(Bounded(reference), theirs)
        self._awaited[reported.value] -= 1
        self._let_go(reported.value)
        unjudged = 0 if mine.left_open is None else int(mine.left_open.sum())
        return Meant(reported.value, judgement, left_open=unjudged)

    def _let_go(self, value: int) -> None:
        if not self._reads[value] and self._awaited[value] <= 0:
            self.known.pop(value, None)

    def _operand(self, value: int, known: Mapping[int, _Known]) -> _Known:
        if value in known:
            return known[value]
        constant = self._graph.constants[value]
        return _Known(Bounded(in_float64(constant)), constant)

    def _evaluated(self, op: Op, known: Mapping[int, _Known], values: tuple[TensorType, ...]) -> _Known:
        read = [self._operand(access.value, known) for access in op.operands]
        kinds, result = [values[access.value] for access in op.operands], values[op.result]
        steps = not is_rounded(result.dtype) and any(is_rounded(kind.dtype) for kind in kinds)
        made = _evaluated(op, read, kinds, result)
        return replace(made, stepped=steps or any(each.stepped for each in read))

    def _form(self, at: int, op: Op, made: _Known) -> Meant:
        """The other form of an op, from the same operands."""
        types, form = self._rewrites[at].form(self._graph, op, len(self._graph.values))
        values = (*self._graph.values, *types)
        known = dict(self.known)
        for each in form:
            known[each.result] = self._evaluated(each, known, values)
        got = known[op.result].exact.value
        judgement = _judged(made.exact, made.plain, got, values[op.result].dtype, made.left_open)
        return Meant(op.result, judgement, of_form=True)


def _judged(exact: Bounded, plain: Array, other: Array, dtype: DType, left_open: Array | None) -> Judgement:
    """The ops of the Graph, `exact` and `plain`, beside the reference's values."""
    mistake = mismatch(dtype, exact.value, other)
    if mistake is not None:
        return mistake
    found = _tallied(exact, plain, other, dtype, left_open)
    return replace(found, got=found.wanted, wanted=found.got)


def _tallied(
    exact: Bounded, plain: Array, other: Array, dtype: DType, left_open: Array | None = None
) -> Judgement:
    tally = Tally(dtype)
    for box in boxes(other.shape):
        place = tuple(slice(low, high) for low, high in box)
        slack = None if exact.slack is None else exact.slack[place]
        start = tuple(low for low, _ in box)
        there = None if left_open is None else ~left_open[place]
        tally.add(Bounded(exact.value[place], slack), plain[place], other[place], there, start)
    return tally.judgement()


def _evaluated(op: Op, read: Sequence[_Known], kinds: Sequence[TensorType], result: TensorType) -> _Known:
    """The whole result of an op behind others; an op that moves elements keeps their slack."""
    shape = op.extents[: op.rank]
    made = [np.zeros(shape, kind) for kind in (_wide(result), np.float64, np.float64, result.dtype.numpy)]
    value, slack, own, plain = made
    unknown: Array | None = None
    exact = [each.exact for each in read]
    inherited = [Bounded(each.value, each.own) for each in exact]
    for box in blocks(op):
        place = place_of(op, box)
        found = bounded(op, exact, kinds, result, box)
        value[place] = found.value
        slack[place] = 0.0 if found.slack is None else found.slack
        if found.own is None and is_rounded(result.dtype):
            found = bounded(op, inherited, kinds, result, box)
            own[place] = 0.0 if found.slack is None else found.slack
        else:
            own[place] = 0.0 if found.own is None else found.own
        held = [part_of(a, each.plain, box) for a, each in zip(op.operands, read, strict=True)]
        plain[place] = evaluate(op, box, held, result)
        found_open = left_open(
            op, [each.plain for each in read], [each.left_open for each in read], result, box
        )
        if found_open is not None:
            unknown = np.zeros(shape, np.bool_) if unknown is None else unknown
            unknown[place] = found_open
    bounds = Bounded(value, slack if slack.any() else None, own if own.any() else None)
    return _Known(bounds, plain, left_open=unknown)


def _wide(kind: TensorType) -> np.dtype[Any]:
    return np.dtype(np.float64) if is_rounded(kind.dtype) else kind.dtype.numpy
