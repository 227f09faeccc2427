"""The values of demand: a question with what it was served, its sum, and what is known of its subject."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Served(StrEnum):
    """The result of a lookup: a measured answer, a guess, or nothing, so that a default runs."""

    MEASURED = "measured"
    GUESSED = "guessed"
    DEFAULT = "default"


class Asked(NamedTuple):
    """A question and what it was served."""

    workload_digest: str
    target_digest: str
    toolchain: str
    objective: str
    served: str


Question: TypeAlias = tuple[str, str, str, str, str]
"""The fields of Asked as a plain tuple, which takes a fifth of the time to make."""


@dataclass(frozen=True)
class Demanded:
    """All lookups alike: how many, the sum of what they were served in us (0 where unknown), and the last of
    them in seconds since 1970.
    """

    asked: Asked
    count: int
    cost_us: float
    last_s: int

    @property
    def mean_us(self) -> float:
        """The cost of one, in us; 0 where unknown."""
        return self.cost_us / self.count


@dataclass(frozen=True)
class Demandable:
    """The facts that tuning needs of a workload that was asked for. Of a kernel its canonical `body`, of a
    network the path of its `model`, its `dims`, and `bound_us` below which no schedule of it is.

    `target` is a preset's name or the path of its file, empty where only the digest is known.
    """

    name: str
    target: str
    body: str = ""
    model: str = ""
    dims: tuple[tuple[str, int], ...] = ()
    bound_us: float | None = None
