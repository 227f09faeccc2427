"""The report of a run: its figures, and the gap to the bound by cause."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilewright.db.records import Best
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.network.book import Dropped
from tilewright.tuner.network.events import standing


@dataclass(frozen=True)
class Figures:
    """A schedule's cost. Energy and peak are absent where the device does not report them."""

    latency_us: float
    latency_cycles: float
    energy_uj: float | None = None
    peak_bytes: int | None = None

    @staticmethod
    def of(measured: Measurement) -> "Figures":
        """The figures of a successful measurement."""
        assert measured.latency_us is not None, "only a successful measurement has figures"
        return Figures(
            measured.latency_us, measured.latency_cycles or 0.0, measured.energy_uj, measured.peak_bytes
        )

    def number_of(self, objective: Objective) -> float | None:
        """The objective's number, in its unit; None where it is absent."""
        if self.latency_us == 0.0:  # nothing runs
            return 0.0
        return objective.of(
            Measurement(Status.OK, self.latency_us, energy_uj=self.energy_uj, peak_bytes=self.peak_bytes)
        )

    @staticmethod
    def of_best(best: Best) -> "Figures":
        """The figures of a record."""
        return Figures(best.latency_us, best.latency_cycles or 0.0, best.energy_uj, best.peak_bytes)


@dataclass(frozen=True)
class Gap:
    """Measured over bound, and the causes of the difference in microseconds. `ratio` is that of the
    objective, None where it has no bound. The parts are of the latency, none is negative, and they add up to
    the latency less its bound. `launch`: kernels beyond the first. `padding`: arithmetic on units that are
    not full, recompute included. `bandwidth`: data that moves slower than kernels compute, beyond what is
    inside the bound. `host`: ops on the host, beyond what is inside it. `rest`: fill, drain, imbalance, what
    is left.
    """

    ratio: float | None
    launch_us: float
    padding_us: float
    bandwidth_us: float
    host_us: float
    rest_us: float


@dataclass(frozen=True)
class KernelReport:
    """One distinct kernel of the answer. `source` is measured, database, guessed or default.

    It is named after the first group that runs it; `nodes` are the nodes of the model in that group.
    """

    name: str
    nodes: tuple[str, ...]
    workload_digest: str
    ops: tuple[str, ...]
    count: int
    latency_us: float
    bound_us: float
    trials: int
    source: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class GroupReport:
    """One kernel of the schedule, in stage order: its name, the nodes of the model that it is made of, its
    ops, and why each neighbour that reads it is not in it.

    `apart` names the reader by its position and name and says why: illegal, capacity, or what both take
    together. Kernels of one `stage` run side by side, this one on `cores` at most. `stores` says where each
    value that it stores lives, and its layout where that is not the model's order ("llb:0.2.3.1").
    """

    name: str
    nodes: tuple[str, ...]
    workload_digest: str | None
    ops: tuple[str, ...]
    stage: int
    cores: int
    stores: tuple[str, ...]
    apart: tuple[str, ...]


@dataclass(frozen=True)
class RewriteReport:
    """An op that the answer computes in another form: the value it makes, and the times by drafts.

    `why` is empty where this run did not weigh the form.
    """

    value: str
    op: str
    form: str
    why: str = ""


@dataclass(frozen=True)
class FrontPoint:
    """One Program of a front: its figures, how many kernels it has, and the network's Config."""

    figures: Figures
    kernels: int
    config: Config

    def to_json(self) -> dict[str, Any]:
        """The figures, the number of kernels, and the Config with its digest."""
        return {
            **vars(self.figures),
            "kernels": self.kernels,
            "config_digest": self.config.digest,
            "config": dict(self.config.items),
        }


@dataclass(frozen=True)
class Report:
    """The answer of `tune run`; `to_json` is its contract.

    `front` is there where several objectives were asked for: `objective` names them, `tuned` is the best in
    the first. Without `measured`, `tuned` is a guess, and is called so wherever it is shown. `dropped` are
    candidates that were measured and not taken because they compute wrong numbers.
    """

    model: str
    graph_digest: str
    target: str
    target_digest: str
    objective: str
    default: Figures
    tuned: Figures
    bound: Figures
    gap: Gap
    sum_of_kernels_us: float
    host_us: float
    trials: int
    cache_hits: int
    kernels: tuple[KernelReport, ...]
    groups: tuple[GroupReport, ...]
    rewrites: tuple[RewriteReport, ...]
    host_ops: tuple[Mapping[str, Any], ...]
    stop_reason: str
    regret_estimate: float | None
    verification: str
    measured: bool
    expected_error: float | None
    timed_as: str
    wall_s: float
    front: tuple[FrontPoint, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the request; the answer is published for the first."""
        return tuple(map(Objective, self.objective.split(",")))

    @property
    def speedup(self) -> float:
        """Default over tuned latency; 1 where nothing runs."""
        return self.default.latency_us / self.tuned.latency_us if self.tuned.latency_us else 1.0

    @property
    def standing(self) -> str:
        """The last line of a search: its trials, its stop reason, and the published answer."""
        objective = self.objectives[0]
        best, bound = self.tuned.number_of(objective), self.bound.number_of(objective)
        spent = f"{self.trials} trials, {StopReason(self.stop_reason).text}"
        return f"{spent}; {standing(best, bound, objective.row.unit)}"

    def to_json(self) -> dict[str, Any]:
        """One JSON object, as docs/cli.md describes it."""
        return {
            "model": self.model,
            "graph_digest": self.graph_digest,
            "target": self.target,
            "target_digest": self.target_digest,
            "objective": self.objective,
            "default": vars(self.default),
            "tuned": vars(self.tuned) if self.measured else None,
            "guess": None if self.measured else vars(self.tuned),
            "expected_error": self.expected_error,
            "bound": vars(self.bound),
            "speedup": self.speedup,
            "gap": vars(self.gap),
            "sum_of_kernels_us": self.sum_of_kernels_us,
            "host_us": self.host_us,
            "trials": self.trials,
            "cache_hits": self.cache_hits,
            "kernels": [_plain(kernel) for kernel in self.kernels],
            "groups": [_plain(group) for group in self.groups],
            "rewrites": [vars(rewrite) for rewrite in self.rewrites],
            "host_ops": list(self.host_ops),
            "stop_reason": self.stop_reason,
            "regret_estimate": self.regret_estimate,
            "verification": self.verification,
            "timed_as": self.timed_as,
            "wall_s": self.wall_s,
            "front": [point.to_json() for point in self.front],
            "dropped": [vars(each) for each in self.dropped],
        }


def _plain(row: KernelReport | GroupReport) -> dict[str, Any]:
    """The fields, with lists where tuples are."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(row).items()}
