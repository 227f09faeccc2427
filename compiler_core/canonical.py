"""Canonical numbering: the same network gets the same numbers whatever its file called or ordered things.

The DAG is walked depth-first from the ordered outputs through ordered operands (operands of a commutative
op sorted by what they compute), and the *numbered* DAG is hashed. A Merkle hash would not do: it cannot tell
a value that two ops share from one that is computed twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from compiler_core.digest import Json
from compiler_core.graph import Graph, Op
from compiler_core.index_map import Access, IndexExpr
from compiler_core.ops import AttributeValue


@dataclass(frozen=True)
class Numbering:
    """Values and ops of (part of) a Graph in canonical order.

    `values[i]` is the Graph's value that got number i; `ops` are op positions in canonical order; `inputs`
    are the values read from outside, in order of discovery. Operand order of commutative ops is in
    `operands`, per op.
    """

    values: tuple[int, ...]
    ops: tuple[int, ...]
    inputs: tuple[int, ...]
    operands: tuple[tuple[Access, ...], ...]


def number(graph: Graph, members: Sequence[int], outputs: Sequence[int]) -> Numbering:
    """Number the ops `members` (positions in graph.ops, closed under what `outputs` need of them)."""
    inside = {graph.ops[at].result: at for at in members}
    meaning = _sub_digests(graph, sorted(members))
    ordered = {at: _ordered_operands(graph.ops[at], meaning) for at in members}
    values: dict[int, None] = {}
    ops: list[int] = []
    inputs: list[int] = []
    for output in outputs:
        pending: list[tuple[int, Iterator[Access]]] = []
        if output not in values:
            pending.append((output, iter(ordered[inside[output]] if output in inside else ())))
        while pending:
            value, operands = pending[-1]
            following = next((a.value for a in operands if a.value not in values), None)
            if following is not None:
                pending.append((following, iter(ordered[inside[following]] if following in inside else ())))
                continue
            pending.pop()
            if value in values:
                continue
            values[value] = None
            if value in inside:
                ops.append(inside[value])
            else:
                inputs.append(value)
    return Numbering(tuple(values), tuple(ops), tuple(inputs), tuple(ordered[at] for at in ops))


def _sub_digests(graph: Graph, members: Sequence[int]) -> dict[int, bytes]:
    """What each value computes, blind to sharing: only used to order operands of commutative ops."""
    meaning: dict[int, bytes] = {}

    def of(value: int) -> bytes:
        if value not in meaning:
            meaning[value] = _hash(str(graph.values[value]).encode())
        return meaning[value]

    for at in members:
        op = graph.ops[at]
        parts = [of(access.value) + repr(_access_form(access)).encode() for access in op.operands]
        if op.row.commutative:
            parts.sort()
        own = repr((op.kind, op.domain, op.axis_kinds, op.attributes)).encode()
        meaning[op.result] = _hash(own + b"|".join(parts))
    return meaning


def _hash(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


def _ordered_operands(op: Op, meaning: dict[int, bytes]) -> tuple[Access, ...]:
    if not op.row.commutative:
        return op.operands
    return tuple(sorted(op.operands, key=lambda a: meaning[a.value] + repr(_access_form(a)).encode()))


def _pad_form(pad: float | None) -> str:
    """Whether a pad is zero matters to a schedule; which zero-point it is does not."""
    if pad is None:
        return "none"
    return "zero" if pad == 0 else str(pad) if pad in (float("inf"), float("-inf")) else "nonzero"


def _expr_form(expr: IndexExpr) -> list[Json]:
    terms: list[Json] = [[axis, str(coefficient)] for axis, coefficient in expr.terms]
    return [terms, str(expr.offset), str(expr.divisor), str(expr.modulus), expr.source]


def _access_form(access: Access) -> list[Json]:
    return [[_expr_form(expr) for expr in access.exprs], _pad_form(access.pad)]


def _attribute_form(attributes: tuple[tuple[str, AttributeValue], ...]) -> list[Json]:
    return [[name, str(value)] for name, value in sorted(attributes)]


def canonical_form(graph: Graph, numbering: Numbering, outputs: Sequence[int]) -> Json:
    """The numbered DAG as JSON: everything a schedule depends on, no names and no weight values."""
    at = {value: i for i, value in enumerate(numbering.values)}
    return {
        "values": [str(graph.values[value]) for value in numbering.values],
        "ops": [
            [
                graph.ops[position].kind,
                [str(extent) for extent in graph.ops[position].domain],
                [str(kind) for kind in graph.ops[position].axis_kinds],
                [[at[access.value], *_access_form(access)] for access in operands],
                at[graph.ops[position].result],
                _attribute_form(graph.ops[position].attributes),
            ]
            for position, operands in zip(numbering.ops, numbering.operands, strict=True)
        ],
        "outputs": [at[value] for value in outputs],
    }
