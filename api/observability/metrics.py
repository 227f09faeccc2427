"""Metrics for Prometheus: counters and histograms of this process, gauges read from the database.

Under `tune serve` the runner is another process; both then keep their counters in files below
PROMETHEUS_MULTIPROC_DIR, where prometheus_client finds them together.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from tilewright.db.browse import Browse
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.workers import Workers
from tilewright.db.storage.session import Database
from tilewright.tuner.network.events import Event, Measured

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LONG_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

REQUESTS = Histogram(
    "tilewright_request_seconds",
    "Time until a response was complete",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
LOOKUPS = Counter("tilewright_lookups", "Lookups by outcome", ["outcome"])
JOBS_ENDED = Counter("tilewright_runner_jobs", "Jobs that left this runner, by outcome", ["outcome"])
LEASES_LOST = Counter("tilewright_lease_losses", "Leases that ran out under this runner")
TRIALS = Counter("tilewright_runner_trials", "Trials measured and committed by this runner")
PROPOSALS = Histogram("tilewright_proposal_seconds", "Time to propose a batch", buckets=LONG_S)
MEASUREMENTS = Histogram("tilewright_measurement_seconds", "Time to measure a batch", buckets=LONG_S)


@dataclass(frozen=True)
class Gauges:
    """Counts in the database: jobs by state, trials by status, workers by state."""

    jobs: Mapping[str, int]
    trials: Mapping[str, int]
    workers: Mapping[str, int]


def gauges_of(database: Database) -> Gauges:
    """Counts them, on a database thread."""
    workers: dict[str, int] = {"healthy": 0, "quarantined": 0}
    for row in Workers(database).list():
        workers[row.state] += 1
    jobs = {str(state): count for state, count in Jobs(database).counts().items()}
    return Gauges(jobs, Browse(database).trial_counts(), workers)


def exposition(gauges: Gauges) -> bytes:
    """Everything in Prometheus' text form."""
    counted: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        counted.register(_Ours())
    return generate_latest(_Read(gauges)) + generate_latest(counted)


def listen(port: int, address: str = "127.0.0.1") -> None:
    """Answers /metrics on a port of its own, for a runner without an API beside it."""
    start_http_server(port, address)


@dataclass(frozen=True)
class _Read(Collector):
    """The gauges from the database, in Prometheus' terms."""

    gauges: Gauges

    def collect(self) -> Iterator[Metric]:
        """By name."""
        for name, what, label, values in (
            (
                "tilewright_jobs",
                "Jobs by state; queued is the depth of the queue",
                "state",
                self.gauges.jobs,
            ),
            ("tilewright_trials", "Recorded trials by status", "status", self.gauges.trials),
            ("tilewright_workers", "Workers by state", "state", self.gauges.workers),
        ):
            family = GaugeMetricFamily(name, what, labels=[label])
            for key, value in sorted(values.items()):
                family.add_metric([key], value)
            yield family


class _Ours(Collector):
    """The counters of all processes, without those that a local Ray leaves in the same directory."""

    def collect(self) -> Iterator[Metric]:
        """By name."""
        everything = MultiProcessCollector(None)  # type: ignore[no-untyped-call]  # the library leaves it bare
        found: Iterable[Metric] = everything.collect()  # type: ignore[no-untyped-call]
        return (metric for metric in found if metric.name.startswith("tilewright_"))


class RunnerMetrics:
    """The Observer of a runner."""

    def __init__(self) -> None:
        self._trials = 0

    def event(self, event: Event) -> None:
        """Counts the trials of a batch."""
        if isinstance(event, Measured):
            TRIALS.inc(max(0, event.trials - self._trials))
            self._trials = event.trials
            PROPOSALS.observe(event.proposed_s)
            MEASUREMENTS.observe(event.measured_s)

    def ended(self, outcome: str) -> None:
        """Counts how jobs leave."""
        self._trials = 0
        JOBS_ENDED.labels(outcome).inc()
        if outcome == "lost":
            LEASES_LOST.inc()
