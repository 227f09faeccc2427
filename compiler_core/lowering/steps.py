"""Steps, and the outline of a kernel: its steps over its buffers before any size is known.

A `Step` is an instruction template. An `Outline` has the steps, the buffers that they fill and read, and
which buffers take turns; `outline.py` draws it, `lower.py` gives it sizes.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

FROM_MEMORY = -1
"""A read that goes past L1: rows by an indexed DMA."""


class Action(StrEnum):
    """The kind of an instruction."""

    LOAD = "load"
    COMPUTE = "compute"
    STORE = "store"
    FREE = "free"


@dataclass(frozen=True, eq=False)
class Step:
    """An instruction template. LOAD fills `buffer`; COMPUTE runs `op`, reads a buffer per operand
    (or FROM_MEMORY) and fills `buffer`; STORE empties it. `moves` are dims of the interval tables. With
    `lag` 1 it works on the position before the one the core has come to.
    """

    action: Action
    buffer: int
    moves: tuple[int, ...]
    late: bool
    op: int = -1
    reads: tuple[int, ...] = ()
    lag: int = 0


class SlotKnob(StrEnum):
    """Which knob of a Tiling says how many copies of a buffer there are."""

    ONE = "one"
    LOAD = "load"
    ACCUMULATOR = "accumulator"
    STORE = "store"


@dataclass(frozen=True)
class BufferOutline:
    """Room for the tiles of a value. `read_early`: which readers a loaded region is for (None: computed).

    Operands that stream past L1 take none: its elements count 0 bytes. `outlived`: it is filled for the next
    tile before a step one tile behind reads it, so it has a slot more.
    """

    value: int
    read_early: bool | None
    element_bytes: int
    slots: SlotKnob
    accumulator: bool
    outlived: bool = False
    storage: int = -1


@dataclass(frozen=True)
class Outline:
    """Steps in execution order over buffers; `storages[s]` are the buffers that take turns in storage s."""

    steps: tuple[Step, ...]
    buffers: tuple[BufferOutline, ...]
    storages: tuple[tuple[int, ...], ...]


class OutlineKey(NamedTuple):
    """The key of an outline: the loops cut."""

    cut: frozenset[int]
    target: str
    tiles_in_flight: int


class SkeletonKey(NamedTuple):
    """The key of a skeleton among those of its kernel."""

    target: str
    tiles_in_flight: int


@dataclass(frozen=True)
class BufferFacts:
    """A buffer, whatever the cut: computed by `op`, or loaded (-1). Steps `born` to `dies` use it.

    `shareable`: not stored, not the anchor's, not read a tile behind, so that it takes turns where every tile
    fills it anew. Only buffers of one `turn` do: others belong to the other tile in flight. `outline` has the
    knob of its slots where tiles are cut; `outlived` holds where its step moves.
    """

    outline: BufferOutline
    op: int = -1
    late: bool = False
    turn: int = 0
    shareable: bool = False
    in_place_of: int = -1
    born: int = -1
    dies: int = -1
    outlived: bool = False


class CutFacts(NamedTuple):
    """The facts of a buffer that the cut decides: its slots, whether it takes turns, or has a slot more."""

    slots: SlotKnob
    shareable: bool
    outlived: bool


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A kernel's steps in execution order and its buffers; `outlines` are those met, by their facts."""

    steps: tuple[Step, ...]
    buffers: tuple[BufferFacts, ...]
    outlines: dict[tuple[CutFacts, ...], Outline] = field(default_factory=dict)
