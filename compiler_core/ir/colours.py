"""Colours of values: equal for values with equal ops, equal readers and equal places.

Colour refinement on the DAG: a value's colour takes in those of its op's operands (forward) and of the ops
that read it (backward), until that tells no more values apart. It orders the operands of commutative ops
without looking at the order in which a file lists them.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from hashlib import blake2b

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import Access, IndexExpr

Colour = bytes


class Colours:
    """Colours of the values that the ops `members` (ascending) of a graph read and make.

    The forward colours are enough for most kernels; backward ones are computed only where two operands of a
    commutative op are still equal.
    """

    def __init__(
        self,
        graph: Graph,
        members: Sequence[int],
        outputs: Sequence[int],
        stored: Sequence[int],
        marks: Mapping[int, str],
    ) -> None:
        self._graph = graph
        self._members = members
        self._forms = {
            index: [access_text(access).encode() for access in graph.ops[index].operands] for index in members
        }
        self._readers: dict[int, list[tuple[int, bytes]]] = {}
        for index in members:
            for access, role in zip(graph.ops[index].operands, self._roles(index), strict=True):
                self._readers.setdefault(access.value, []).append((graph.ops[index].result, role))
        self._colour = {value: _hash(str(graph.values[value])) for value in self._readers}
        for index in members:
            op = graph.ops[index]
            step = [] if op.body is None else [(inner.kind, inner.domain) for inner in op.body.ops]
            self._colour[op.result] = _hash(repr((op.kind, op.domain, op.axis_kinds, op.attributes, step)))
        for value in self._colour:
            places = [place for place, output in enumerate(outputs) if output == value]
            if places or value in stored:
                self._colour[value] = _hash(self._colour[value], repr(places))
        self._forward(members)
        if self._has_ties():
            self._refine()
        self._unmarked = dict(self._colour)
        if marks and self._has_ties():
            for value, mark in marks.items():
                if value in self._colour:
                    self._colour[value] = _hash(self._colour[value], mark)
            self._refine()

    def visited(self, at: int, numbered: Collection[int]) -> Iterator[int]:
        """The values op `at` reads, in the order in which a canonical walk visits them.

        Ties between values not in `numbered`, which is read as the walk goes on, are broken and remembered.
        """
        op = self._graph.ops[at]
        if not op.row.commutative:
            yield from (access.value for access in op.operands)
            return
        left = list(range(len(op.operands)))
        while left:
            keys = {k: self._key(at, k) for k in left}
            first = min(left, key=lambda k: keys[k])
            alike = {op.operands[k].value for k in left if keys[k] == keys[first]}
            if len(alike) > 1 and not any(value in numbered for value in alike):
                self._single_out(op.operands[first].value)
            left.remove(first)
            yield op.operands[first].value

    def _key(self, at: int, operand: int) -> tuple[Colour, bytes, Colour]:
        value = self._graph.ops[at].operands[operand].value
        return self._unmarked[value], self._forms[at][operand], self._colour[value]

    def _roles(self, at: int) -> list[bytes]:
        """The features that distinguish the operands of an op: how they are read, and their places where
        those matter.
        """
        if self._graph.ops[at].row.commutative:
            return self._forms[at]
        return [b"%d " % place + form for place, form in enumerate(self._forms[at])]

    def _has_ties(self) -> bool:
        for index in self._members:
            op = self._graph.ops[index]
            if op.row.commutative:
                seen: dict[bytes, int] = {}
                for access, form in zip(op.operands, self._forms[index], strict=True):
                    if seen.setdefault(self._colour[access.value] + form, access.value) != access.value:
                        return True
        return False

    def _single_out(self, value: int) -> None:
        self._colour[value] = _hash(self._colour[value], "first")
        self._refine()

    def _refine(self) -> None:
        """Forward and backward in turn over the values that are still alike, until that changes nothing."""
        classes = 0
        while classes < (now := len(set(self._colour.values()))):
            classes = now
            count = Counter(self._colour.values())
            alike = {value for value, colour in self._colour.items() if count[colour] > 1}
            members = [index for index in self._members if self._graph.ops[index].result in alike]
            self._backward(alike, members)
            self._forward(members)

    def _forward(self, members: Sequence[int]) -> None:
        for index in members:
            op = self._graph.ops[index]
            parts = [
                self._colour[access.value] + role
                for access, role in zip(op.operands, self._roles(index), strict=True)
            ]
            self._colour[op.result] = _hash(self._colour[op.result], *sorted(parts))

    def _backward(self, alike: Set[int], members: Sequence[int]) -> None:
        made = [self._graph.ops[index].result for index in reversed(members)]
        for value in (*made, *sorted(alike - set(made))):
            parts = [self._colour[reader] + role for reader, role in self._readers.get(value, ())]
            self._colour[value] = _hash(self._colour[value], *sorted(parts))


def _hash(*parts: bytes | str) -> Colour:
    hashed = blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hashed.update(b"%d:" % len(data) + data)
    return hashed.digest()


def access_text(access: Access) -> str:
    """`access_form` as text, to compare and to sort by."""
    return _text_of(access.exprs, access.pad)


@lru_cache(maxsize=1 << 14)
def _text_of(exprs: tuple[IndexExpr, ...], pad: float | None) -> str:
    return repr(access_form(Access(0, exprs, pad)))


def access_form(access: Access) -> list[Json]:
    """The form of a read without the operand: its index maps, and whether its pad is zero."""
    return [[_expr_form(expr) for expr in access.exprs], _pad_form(access.pad)]


def _pad_form(pad: float | None) -> str:
    """Whether a pad is zero matters to a schedule; which zero-point it is does not."""
    if pad is None:
        return "none"
    return "zero" if pad == 0 else str(pad) if pad in (float("inf"), float("-inf")) else "nonzero"


def _expr_form(expr: IndexExpr) -> list[Json]:
    terms: list[Json] = [[axis, str(coefficient)] for axis, coefficient in expr.terms]
    return [terms, str(expr.offset), str(expr.divisor), str(expr.modulus), expr.source]
