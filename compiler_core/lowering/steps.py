"""Steps, and the outline of a kernel: its steps over its buffers before any size is known.

A `Step` is an instruction template. An `Outline` has the steps, the buffers that they fill and read, and
which buffers take turns; `outline.py` draws it, `lower.py` gives it sizes.
"""

from dataclasses import dataclass
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
    """The key of an outline: the loops cut or, for buffers alone, their pattern."""

    cut: "frozenset[int] | Pattern"
    target: str
    tiles_in_flight: int


@dataclass(frozen=True)
class Pattern:
    """The features of a cut that buffers depend on: whether tiles and the reduction are cut, and by op
    whether its steps move, and with every loop of the cut; by outer operand and time of reading, whether its
    loads move.
    """

    cuts_tiles: bool
    splits: bool
    ops: tuple[tuple[bool, bool], ...]
    loads: tuple[bool, ...]
