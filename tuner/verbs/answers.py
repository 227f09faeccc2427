"""Answers about a network without measuring: what is known of each kernel, and the Program of it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.answering.lookup import Fallback
from tilewright.db.records import Verification
from tilewright.measure.device import DeviceInfo, built_in_info
from tilewright.tuner.network.assignment import MISSING, Assignment
from tilewright.tuner.network.opened import FALLBACK, Opened
from tilewright.tuner.sizes.selection import Selected


@dataclass(frozen=True)
class KernelAnswer:
    """One distinct kernel, named after nodes of the model.

    `match` is exact (measured as it is), range (what was tuned at another size of the network, tiled for this
    one), other-placement, or guessed: a miss, which has its `reason`. What was not measured as it is has a
    simulated latency, the one that `profile` and -O1 show. `layer` names the layer that answered.
    """

    name: str
    workload_digest: str
    ops: tuple[str, ...]
    count: int
    hit: bool
    match: str
    latency_us: float
    reason: str
    config: Mapping[str, Any]
    layer: str = ""


@dataclass(frozen=True)
class NetworkAnswer:
    """All kernels of a network, and the best of the network as a whole where there is one.

    Where it was not tuned at these sizes, `selected` is the answer of a range's selector, `simulated_us` the
    network's latency with what answers or is guessed, and `reason` where the tuned ranges end, if there are
    any and none answers. `layer` is the layer that knows the network, `troubles` has a line for each layer
    that could not be asked, and `layers` names all of them in order. `imported` says what makes an answer of
    imported records of the whole, if there are such. `host_us` of either latency is for ops on the host.
    `retired` says which toolchain records that stand in were measured under, and how far off they may be.
    """

    model: str
    graph_digest: str
    target: str
    network_latency_us: float | None
    kernels: tuple[KernelAnswer, ...]
    selected: Selected | None = None
    simulated_us: float | None = None
    reason: str = ""
    layer: str = ""
    layers: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    imported: str = ""
    host_us: float = 0.0
    retired: str = ""

    @property
    def complete(self) -> bool:
        """Whether the database answers: for the whole, for every kernel exactly, or by a range of sizes."""
        return self.network_latency_us is not None or all(
            kernel.hit and kernel.match in ("exact", "range") for kernel in self.kernels
        )


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """A Program of `graph`, what it runs, and per workload digest where its Config came from.

    Sources are `network` (the whole is known, with its `verification`), `range` (a selector answers),
    `database` (measured as it is), `other-placement`, `retired`, `guessed`, `default`, and `missing` where
    nothing that the user wants stands in: it has its default then. `selected` is the selector's answer;
    `reason` says where the tuned ranges end, if there are any and none answers. `latency_us` is that of the
    network as it was measured, None where it was not. `retired`, `imported` and `troubles` are as in
    NetworkAnswer; `layers` names the layers that answered, for the whole or for kernels of it.
    """

    assignment: Assignment
    program: Program
    sources: Mapping[str, str]
    verification: Verification = Verification.NONE
    selected: Selected | None = None
    reason: str = ""
    latency_us: float | None = None
    retired: str = ""
    imported: str = ""
    layers: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def opened(self) -> Opened:
        """The network, its target and its records."""
        return self.assignment.opened

    def close(self) -> None:
        """Close the database that it came from."""
        self.opened.records.close()

    @property
    def graph(self) -> Graph:
        """The network as the Program computes it: perhaps with ops in other forms."""
        return self.assignment.plan.graph

    @property
    def calls(self) -> int:
        """Calls of kernels."""
        return sum(self.assignment.plan.counts.values())

    @property
    def guesses(self) -> Mapping[str, int]:
        """Calls of the kernels that no answer of the database stands behind, by workload digest."""
        counts = self.assignment.plan.counts
        return {digest: counts[digest] for digest, source in self.sources.items() if source not in ANSWERED}

    def lacks(self, required: "Require | None") -> str:
        """The missing part of the requirement; empty when nothing is missing, or nothing runs."""
        calls, guessed = self.calls, sum(self.guesses.values())
        if not calls:
            return ""
        counts = self.assignment.plan.counts
        missing = sum(counts[digest] for digest, source in self.sources.items() if source == MISSING)
        if missing:
            return (
                f"{missing} of {calls} kernels have no record, and --fallback ends without guess or default"
            )
        if required is None:
            return ""
        if guessed:
            told = f"{guessed} of {calls} kernels are guesses", self.imported, self.reason
            return "; ".join(filter(None, told))
        if required is not Require.ANSWERED and self.selected is not None:
            return f"this size was not measured itself; a range answers it ({self.selected})"
        if required is Require.VERIFIED and self.verification is Verification.NONE:
            return "the network as a whole was not measured and verified"
        return ""


class Require(StrEnum):
    """Requirements on a Program, each with all before it: an answer to every kernel (perhaps that of
    a range of sizes), a measurement of every kernel at this size, one of the network as a whole, verified.
    """

    ANSWERED = "answered"
    MEASURED = "measured"
    VERIFIED = "verified"


ANSWERED = ("network", "range", "database")
"""Sources of Configs that were measured where they are used, or at other sizes of a range around it."""


def device_answering(toolchain: str | None) -> Callable[[Target], DeviceInfo]:
    """Whose records answer: those of `toolchain`, without one those of the target's own device."""

    def info(target: Target) -> DeviceInfo:
        own = built_in_info(target)
        return own if toolchain is None else replace(own, toolchain=toolchain)

    return info


def read_fallback(given: str | None) -> tuple[Fallback, ...]:
    """What stands in for an exact answer: `given`, else TILEWRIGHT_FALLBACK, else the last toolchain, the
    nearest family, the draft's guess. Where it names neither guess nor default, other kernels have no answer.
    UsageError where a word is unknown.
    """
    text = given if given is not None else os.environ.get("TILEWRIGHT_FALLBACK")
    if text is None:
        return FALLBACK
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(Fallback)]
    if unknown or len(set(words)) != len(words):
        raise UsageError(
            f"--fallback {text[:60]!r} is not a list of {', '.join(Fallback)}, each once, as in"
            " toolchain,family,default"
        )
    return tuple(map(Fallback, words)) or (Fallback.GUESS,)
