"""Messages of the dispatcher: frozen events in, frozen commands out, and the rules in between."""

from dataclasses import dataclass
from typing import TypeAlias

from tilewright.compiler_core.errors import UsageError
from tilewright.measure.device import Task
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config


@dataclass(frozen=True)
class Canary:
    """A kernel whose latency is known; a worker that times it otherwise is sick.

    `tolerance` is the relative deviation that still passes, 0.15 for 15 %.
    """

    task: Task
    config: Config
    latency_us: float
    tolerance: float = 0.15

    def passes(self, measured: Measurement) -> bool:
        """Whether `measured` is what a healthy worker would have answered."""
        if measured.status is not Status.OK or measured.latency_us is None:
            return False
        return abs(measured.latency_us / self.latency_us - 1.0) <= self.tolerance


@dataclass(frozen=True)
class Rules:
    """The rules of a farm. Times are in seconds; the defaults suit a simulated device on one machine."""

    toolchain: str = ""  # workers of another version get no work; "" takes the first worker's
    deadline_s: float = 30.0  # one candidate's allowance beyond the usual time of its kind
    start_deadline_s: float = 120.0  # from opening a slot, or killing its worker, to the worker's greeting
    await_hosts_s: float = 0.0  # from the last host's orderly leave to the end of the farm, if no other joins
    chunk_s: float = 0.05  # a call should keep its worker busy about this long
    chunk_max: int = 64  # candidates in one call, at most
    prefetch_below_s: float = 0.5  # a second call waits at the worker while one takes less than this
    attempts: int = 3  # a candidate that took its worker down this often is stopped
    failed_starts: int = 5  # a worker that dies this often before greeting is retired
    deaths_in_row: int = 5  # a worker that dies this often without one answer is quarantined
    canaries: tuple[Canary, ...] = ()
    canary_every: int = 8  # candidates between two canaries on one worker
    strikes: int = 2  # bad canaries until quarantine
    forgive_after: int = 8  # good canaries in a row that wipe out a strike
    backlog_max: int = 100_000  # candidates accepted and not yet finished, over all workers

    def __post_init__(self) -> None:
        positive = [
            "deadline_s",
            "start_deadline_s",
            "chunk_s",
            "chunk_max",
            "attempts",
            "failed_starts",
            "deaths_in_row",
            "canary_every",
            "strikes",
            "forgive_after",
            "backlog_max",
        ]
        for name in positive:
            if not getattr(self, name) > 0:
                raise UsageError(f"farm rule {name} is {getattr(self, name)}; it must be positive")
        if not self.await_hosts_s >= 0:
            raise UsageError(f"farm rule await_hosts_s is {self.await_hosts_s}; it must be 0 or more")


@dataclass(frozen=True)
class Item:
    """One candidate on its way: `number` is unique, `task` a digest.

    Items of one `apart` set go to different workers where the farm has them (confirmations of a winner).
    A latency under `floor_us` is physically impossible and makes the outcome WRONG. `burned` names the
    workers that went down with it.
    """

    number: int
    task: str
    apart: int | None = None
    floor_us: float = 0.0
    burned: tuple[str, ...] = ()


# Events, from the shell.


@dataclass(frozen=True)
class WorkerOpened:
    """A slot for a worker exists; its greeting is expected."""

    worker: str


@dataclass(frozen=True)
class Joined:
    """A worker greeted: it is up, with this toolchain version."""

    worker: str
    toolchain: str


@dataclass(frozen=True)
class Submitted:
    """Candidates to measure."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Replied:
    """A worker answered a lease: one Measurement an item, the canary's apart, and the time it took."""

    worker: str
    lease: int
    measurements: tuple[Measurement, ...]
    elapsed_s: float
    canary: Measurement | None = None


@dataclass(frozen=True)
class Died:
    """A worker's process is gone, or reported its device as unusable (`own`: no candidate is to blame).
    `lease` is the call that failed, None for a greeting; a lease that was taken back before has no effect.
    """

    worker: str
    reason: str
    lease: int | None = None
    own: bool = False


@dataclass(frozen=True)
class Scattered:
    """Every worker's process is gone at once (the cluster's head died): no candidate is to blame."""

    reason: str


@dataclass(frozen=True)
class Ticked:
    """Nothing but time has passed."""


@dataclass(frozen=True)
class DrainAsked:
    """This worker (or all, with None) shall finish what it has and take nothing new."""

    worker: str | None = None


@dataclass(frozen=True)
class ToolchainChanged:
    """From now on only workers of this version measure."""

    toolchain: str


# Commands, for the shell.


@dataclass(frozen=True)
class Assign:
    """Send these items, then the canary of this index (if any), to the worker as one call."""

    worker: str
    lease: int
    items: tuple[int, ...]
    canary: int | None = None


@dataclass(frozen=True)
class Kill:
    """End the worker by force and bring a fresh one up in its slot."""

    worker: str
    reason: str


@dataclass(frozen=True)
class Revive:
    """The worker is already gone: bring a fresh one up in its slot."""

    worker: str
    reason: str


@dataclass(frozen=True)
class Quarantine:
    """End the worker and leave its slot empty: its answers are not to be trusted."""

    worker: str
    reason: str


@dataclass(frozen=True)
class Release:
    """End the worker and leave its slot empty: it is drained, outdated, or never came up."""

    worker: str
    reason: str


@dataclass(frozen=True)
class Retry:
    """For the log: this item goes back into the queue."""

    number: int
    reason: str


@dataclass(frozen=True)
class Finish:
    """This item is done, once and for all."""

    number: int
    measurement: Measurement


@dataclass(frozen=True)
class AwaitHosts:
    """The last host has left in order: the farm stands empty, and ends after `seconds` without another."""

    seconds: float


@dataclass(frozen=True)
class Halt:
    """No worker is left, and none will come: measuring has ended."""

    reason: str


Event: TypeAlias = (
    WorkerOpened | Joined | Submitted | Replied | Died | Scattered | Ticked | DrainAsked | ToolchainChanged
)
Command: TypeAlias = Assign | Kill | Revive | Quarantine | Release | Retry | Finish | AwaitHosts | Halt
