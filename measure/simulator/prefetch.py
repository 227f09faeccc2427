"""Constants of later stages, fetched into the LLB while DRAM has nothing better to do.

The order is that of their use. A constant is begun only if every stage from now to its own keeps the room in
the LLB that its kernels use without prefetching, so fetching ahead never makes a stage slower; and it takes
only the time in which a stage leaves DRAM idle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Constant:
    """A constant operand: the stage and call that read it, its value in that call's Workload, its bytes."""

    stage: int
    call: int
    value: int
    size_bytes: int


@dataclass
class Prefetcher:
    """Walks the stages in order. `free_bytes[s]` of the LLB are unused in stage s."""

    constants: Sequence[Constant]
    free_bytes: list[int]
    fetched: dict[Constant, int] = field(default_factory=dict)
    _next: int = 0

    def held(self, stage: int, call: int) -> tuple[tuple[int, int], ...]:
        """(value, bytes) of the operands that are in the LLB when a call's stage starts."""
        return tuple(
            (constant.value, size)
            for constant, size in self.fetched.items()
            if constant.stage == stage and constant.call == call
        )

    def advance(self, stage: int, idle_bytes: int) -> int:
        """Use the DRAM time that `stage` leaves idle, in bytes; returns the bytes fetched."""
        self.fetched = {c: size for c, size in self.fetched.items() if c.stage > stage}
        budget = idle_bytes
        while self._next < len(self.constants) and budget > 0:
            constant = self.constants[self._next]
            if constant not in self.fetched:
                if constant.stage <= stage or constant.size_bytes > self.free_bytes[constant.stage]:
                    self._next += 1
                    continue
                if not self._reserve(constant, stage):
                    break
            more = min(budget, constant.size_bytes - self.fetched[constant])
            self.fetched[constant] += more
            budget -= more
            if self.fetched[constant] < constant.size_bytes:
                break
            self._next += 1
        return idle_bytes - budget

    def _reserve(self, constant: Constant, stage: int) -> bool:
        """Take the constant's room from now to its own stage, if it is free all along."""
        stages = range(stage, constant.stage + 1)
        if any(self.free_bytes[index] < constant.size_bytes for index in stages):
            return False
        for index in stages:
            self.free_bytes[index] -= constant.size_bytes
        self.fetched[constant] = 0
        return True
