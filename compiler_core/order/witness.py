"""What a proof of a peak-memory bound is made of, as plain values that `checker` reads.

A Flow shows that live bytes cannot be small just before one kernel (a maximum flow is dual to the least
down-set); a SetWitness, that whichever kernel of a set runs last (first), the peak is reached; a
SearchWitness, that every way from the empty down-set is a dead end below the bound.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

FlowRow: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """Rows (tensor, from kernel, to kernel, bytes), as compiler_core.order.flow.min_cut describes them."""

    kernel: int
    rows: tuple[FlowRow, ...]


@dataclass(frozen=True)
class SetWitness:
    """One of `kernels` runs `direction` among them; one flow for each that can."""

    direction: Literal["last", "first"]
    kernels: tuple[int, ...]
    flows: tuple[Flow, ...]


@dataclass(frozen=True)
class SearchWitness:
    """Down-sets (bit masks of kernels) from which no order goes on (forward), or comes (backward), below
    the bound. Each is closed: no kernel could move without raising live bytes. `leads[i]` is the mask of
    the state that state i safely moves to; None: every kernel that fits leads to another of `states`.
    """

    way: Literal["forward", "backward"]
    states: tuple[int, ...]
    leads: tuple[int | None, ...]


Witness: TypeAlias = SetWitness | SearchWitness
