"""A layer is something that answers by key; layers are asked in their order.

    the user's database -> a team's server -> a read-only file -> the bank

`RecordsLayer` is one over a database, `tilewright.db.layers.server.ServerLayer` one over HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tilewright.db.layers.selectors import SelectorRow, Selectors
from tilewright.db.records import Best, Key, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective

_ANY = "0" * 64
"""A digest where only the rest of a key counts."""


@dataclass(frozen=True)
class AnswerContext:
    """The fields that records must share with a question, beside the workload."""

    target_digest: str
    toolchain: str
    objective: Objective = Objective.LATENCY

    def key_of(self, workload_digest: str) -> Key:
        """The key of a workload's records."""
        return Key(workload_digest, self.target_digest, self.toolchain, self.objective)


class Layer(Protocol):
    """Answers of one source. A source that cannot answer now gives nothing, and says so in `trouble`."""

    @property
    def name(self) -> str:
        """The name that its answers carry."""
        ...

    @property
    def trouble(self) -> str:
        """Why it gave no answers, or old ones, when it was asked last; empty when it answered."""
        ...

    @property
    def database(self) -> Database | None:
        """Its records, where they are at hand: they explain misses, and answer for ranges."""
        ...

    def bests(
        self, workloads: Sequence[str], context: AnswerContext, before_s: float | None = None
    ) -> Mapping[str, Best]:
        """The best of each workload that has one, by digest; with `before_s` that of an earlier moment."""
        ...

    def relatives(
        self, families: Sequence[str], context: AnswerContext
    ) -> Mapping[str, Sequence[tuple[WorkloadRow, Best]]]:
        """By family digest the bests of its members under any placement, the fastest first."""
        ...

    def intervals(self, digest: str, symbol: str, context: AnswerContext) -> Sequence[SelectorRow]:
        """The tuned range of a network over one of its dims, by the digest that it is kept under: which
        Config answers from where to where, in ascending order.
        """
        ...

    def symbols(self, context: AnswerContext) -> frozenset[str] | None:
        """The dims that any network was tuned over; None where that takes a question a network."""
        ...

    def close(self) -> None:
        """Give up what it holds open."""
        ...


@dataclass(frozen=True)
class RecordsLayer:
    """The records of a database."""

    name: str
    repository: Repository
    trouble: str = ""

    @property
    def database(self) -> Database:
        """Where they are."""
        return self.repository.database

    def bests(
        self, workloads: Sequence[str], context: AnswerContext, before_s: float | None = None
    ) -> Mapping[str, Best]:
        """By one query."""
        where = context.target_digest, context.toolchain, context.objective
        return self.repository.best_many(workloads, *where, before_s)

    def relatives(
        self, families: Sequence[str], context: AnswerContext
    ) -> Mapping[str, Sequence[tuple[WorkloadRow, Best]]]:
        """By one query."""
        where = context.target_digest, context.toolchain, context.objective
        return self.repository.best_of_families(families, *where)

    def intervals(self, digest: str, symbol: str, context: AnswerContext) -> Sequence[SelectorRow]:
        """By one query."""
        return Selectors(self.database).intervals(context.key_of(digest), symbol)

    def symbols(self, context: AnswerContext) -> frozenset[str] | None:
        """By one query."""
        return Selectors(self.database).symbols(context.key_of(_ANY))

    def close(self) -> None:
        """Close the database."""
        self.repository.database.close()


@dataclass(frozen=True)
class AbsentLayer:
    """A layer that could not be opened: it answers nothing, and says why."""

    name: str
    trouble: str
    database: None = None

    def bests(
        self, workloads: Sequence[str], context: AnswerContext, before_s: float | None = None
    ) -> Mapping[str, Best]:
        """None."""
        return {}

    def relatives(
        self, families: Sequence[str], context: AnswerContext
    ) -> Mapping[str, Sequence[tuple[WorkloadRow, Best]]]:
        """None."""
        return {}

    def intervals(self, digest: str, symbol: str, context: AnswerContext) -> Sequence[SelectorRow]:
        """None."""
        return ()

    def symbols(self, context: AnswerContext) -> frozenset[str] | None:
        """None."""
        return frozenset()

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Layers:
    """Layers in the order in which they are asked; the first is the user's own database, if there is one."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, repository: Repository) -> "Layers":
        """A database alone."""
        return cls((RecordsLayer("", repository),))

    @property
    def troubles(self) -> tuple[str, ...]:
        """A line for each layer that could not be asked."""
        return tuple(f"{layer.name}: {layer.trouble}" for layer in self.layers if layer.trouble)

    def best(self, key: Key) -> tuple[Best, str] | None:
        """The answer of the first layer that has one, and the name of that layer."""
        context = AnswerContext(key.target_digest, key.toolchain, key.objective)
        for layer in self.layers:
            found = layer.bests([key.workload_digest], context).get(key.workload_digest)
            if found is not None:
                return found, layer.name
        return None

    def close(self) -> None:
        """Close them all."""
        for layer in self.layers:
            layer.close()
