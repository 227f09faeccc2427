"""A solved order and its proof, as plain values, from the solver to the `checker`.

A flow shows that live bytes cannot be small between two down-sets (a maximum flow is dual to the least cut).
A SetWitness shows that whichever kernel of a set runs last (first), the bound is reached; a SearchWitness,
that below the bound every way leads to a dead end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

FlowRow: TypeAlias = tuple[int, int, int, int]


def flow_rows(rows: Iterable[Iterable[int]]) -> tuple[FlowRow, ...]:
    """(tensor, from kernel, to kernel, bytes) per row.

    A tensor carries flow from its producer (-1: it is a graph input) to a reader (-1: it stays live to the
    end), at most its bytes in all. Tensor -1: along a precedence, from a reader back to its producer.
    """
    return tuple((int(t), int(tail), int(tip), int(amount)) for t, tail, tip, amount in rows)


@dataclass(frozen=True)
class Flow:
    """The flow for the moment just before `kernel`."""

    kernel: int
    rows: tuple[FlowRow, ...]


@dataclass(frozen=True)
class SetWitness:
    """One of `kernels` runs `direction` among them; one flow for each that can, in ascending order."""

    direction: Literal["last", "first"]
    kernels: tuple[int, ...]
    flows: tuple[Flow, ...]


@dataclass(frozen=True)
class SafeMove:
    """Straight on to the down-set `state`; `rows` show that none between here and there is lower."""

    state: int
    rows: tuple[FlowRow, ...]


@dataclass(frozen=True)
class DeadEnd:
    """A down-set (a bit mask of kernels) that no order passes below the bound.

    Closed: no kernel could move (run; or be taken back, searching backward) without raising live bytes.
    `move` None: every kernel that may move leads to a dead end again.
    """

    state: int
    move: SafeMove | None


@dataclass(frozen=True)
class SearchWitness:
    """Dead ends, each led to by the ones before it, the first by the empty (full) down-set."""

    way: Literal["forward", "backward"]
    dead_ends: tuple[DeadEnd, ...]


Witness: TypeAlias = SetWitness | SearchWitness
Status: TypeAlias = Literal["optimal", "open", "stopped"]


@dataclass(frozen=True)
class PeakPlan:
    """An order, its peak, and the best bound known: no order stays below `bound_bytes`, as `witness` shows.

    `status`: optimal - peak and bound meet; open - the budget was spent first; stopped - on request.
    """

    order: tuple[int, ...]
    peak_bytes: int
    bound_bytes: int
    witness: Witness
    status: Status

    @property
    def gap(self) -> float:
        """Peak / bound, 1.0 when proven."""
        return self.peak_bytes / self.bound_bytes if self.bound_bytes else 1.0
