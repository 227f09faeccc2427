"""The story of a job: its request, its events, its result, and its drawings."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tilewright.db.service.job_rows import JobEvent, JobRow, JobState
from tilewright.measure.objectives import Objective
from tilewright.tuner.jobs.request import read_request
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.request import TuneRequest

PICTURES_VERSION = 1
"""Version of the pictures (tuner.pictures); pictures of other versions are not drawn."""


@dataclass(frozen=True)
class Point:
    """The state of a search after so many trials: the best whole network so far, and its bound, both in
    `unit`. `sum_us` adds up kernels, `predicted_us` is a model's prediction of that sum.
    """

    trials: int
    best: float
    bound: float | None
    unit: str = "us"
    sum_us: float | None = None
    predicted_us: float | None = None


@dataclass(frozen=True)
class Tale:
    """The text and drawings of a search, on a server or not. `ending` is the reason why it stopped."""

    points: Sequence[Point]
    result: dict[str, Any] | None
    pictures: Mapping[str, Any]
    ending: str

    @property
    def drawable(self) -> list[str]:
        """Names of the drawings that there is something to draw for."""
        kernels = self.result.get("kernels", ()) if self.result else ()
        have = {
            "network": bool(self.pictures.get("graph", {}).get("kernels")),
            "front": bool(self.result and self.result.get("front")),
            "convergence": bool(self.points),
            "kernels": any(kernel["latency_us"] for kernel in kernels),
            "roofline": any(stage["macs"] for stage in self.pictures.get("stages", ())),
            "timeline": bool(self.pictures),
            "memory": bool(self.pictures.get("values")),
            **_searched(self.pictures),
        }
        return [name for name, there in have.items() if there]

    @property
    def figure(self) -> tuple[str, str]:
        """The key of the number that was to be made small, and its unit."""
        objective = str((self.result or {}).get("objective", Objective.LATENCY)).partition(",")[0]
        row = Objective(objective).row
        return row.figure, row.unit

    def kernel_of(self, call: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The kernel of a call in the result; None where it has none."""
        return self._kernels.get(str(call.get("workload") or "-"))

    @cached_property
    def _kernels(self) -> dict[str, Mapping[str, Any]]:
        return {kernel["workload_digest"]: kernel for kernel in (self.result or {}).get("kernels", ())}

    @property
    def curve(self) -> list[tuple[int, float]]:
        """Trials and the best network by then: from the default down to what was published, never rising.

        A confirmation may read higher than the measurement that it confirms: what was never published is
        not shown below it.
        """
        figure, _ = self.figure
        default, published = (
            ((self.result or {}).get(name) or {}).get(figure) for name in ("default", "tuned")
        )
        least = published if published is not None else 0.0
        bests = [(point.trials, point.best) for point in self.points]
        numbers = [(0, default), *bests] if default is not None else bests
        curve: list[tuple[int, float]] = []
        for trials, number in numbers:
            best = max(least, number) if not curve else max(least, min(number, curve[-1][1]))
            curve.append((trials, best))
        if curve and published is not None:
            curve[-1] = (curve[-1][0], min(published, curve[0][1]))
        return curve


def _searched(pictures: Mapping[str, Any]) -> dict[str, bool]:
    """Which of the three there is something to draw for."""
    search = pictures.get("search", {})
    kernels = search.get("kernels", ())
    return {
        "knobs": bool(kernels and kernels[0]["knobs"]),
        "trials": bool(kernels and kernels[0]["knobs"]),
        "drafts": len(search.get("predicted", ())) > 1,
    }


@dataclass(frozen=True)
class Story(Tale):
    """The tale of a job, with its request and its events."""

    job: JobRow
    request: TuneRequest
    events: Sequence[JobEvent]


def tell(job: JobRow, events: Sequence[JobEvent], pictures: Mapping[str, Any]) -> Story:
    """The Story of a job from its rows."""
    result: dict[str, Any] | None = json.loads(job.result) if job.result else None
    known = pictures if pictures.get("version") == PICTURES_VERSION else {}
    bodies = [json.loads(event.body) for event in events if event.kind == "measured"]
    request = read_request(job.spec)
    # The sizes of a range are searched one after the other: their trials make no one curve.
    points = [] if request.ranges else _ended(points_of(bodies), result)
    return Story(points, result, known, _ending(job, result), job, request, events)


def points_of(measured: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The convergence by trials, from the events of each batch."""
    return [
        Point(
            body["trials"],
            body["best"],
            body["bound"],
            body["unit"],
            body.get("sum_us"),
            body.get("predicted_us"),
        )
        for body in measured
        if body.get("best") is not None
    ]


def _ended(points: list[Point], result: Mapping[str, Any] | None) -> list[Point]:
    """`points` with the last one at the number that was published, where it was."""
    tuned = (result or {}).get("tuned")
    if not points or not tuned:
        return points
    objective = Objective(str(result["objective"]).partition(",")[0]) if result else Objective.LATENCY
    published = tuned.get(objective.row.figure)
    return points if published is None else [*points[:-1], replace(points[-1], best=published)]


def why(stop_reason: str) -> str:
    """A stop reason, for people."""
    return StopReason(stop_reason).text if stop_reason in set(StopReason) else stop_reason


def _ending(job: JobRow, result: Mapping[str, Any] | None) -> str:
    """Why it stopped; empty while it has not."""
    if job.state is JobState.FAILED:
        return job.error
    if result is not None:
        return why(str(result.get("stop_reason", "")))
    return StopReason.CANCELLED.text if job.state is JobState.CANCELLED else ""
