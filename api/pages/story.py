"""A job as it can be told: its request, what happened, what came out, and what there is to draw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from db.job_rows import JobEvent, JobRow, JobState
from tuner.request import TuneRequest, read_request

PICTURES_VERSION = 1
"""Of what tuner.pictures writes; others are not drawn."""
WHY = {
    "budget": "the budget of trials is spent",
    "time_limit": "the time limit was reached",
    "patience": "many trials in a row brought nothing better",
    "regret": "with the confidence asked for, nothing much better is left to find",
    "bound": "the answer is as fast as the bound allows",
    "exhausted": "every config of the space was measured",
    "cancelled": "somebody cancelled it",
    "database": "the database knew the answer; nothing was measured",
}


@dataclass(frozen=True)
class Point:
    """Where a search stood after so many trials, in microseconds. `predicted_us` where a model said it."""

    trials: int
    best_us: float
    bound_us: float
    predicted_us: float | None = None


@dataclass(frozen=True)
class Story:
    """Everything a page or a drawing needs to know of a job."""

    job: JobRow
    request: TuneRequest
    events: Sequence[JobEvent]
    result: dict[str, Any] | None
    pictures: Mapping[str, Any]

    @cached_property
    def points(self) -> list[Point]:
        """The convergence so far, by trials."""
        found = []
        for event in self.events:
            if event.kind == "measured":
                body = json.loads(event.body)
                if body["network_us"] is not None and body["bound_us"] is not None:
                    found.append(
                        Point(body["trials"], body["network_us"], body["bound_us"], body.get("predicted_us"))
                    )
        return found

    @property
    def ending(self) -> str:
        """Why it stopped, for people; empty while it has not."""
        if self.job.state is JobState.FAILED:
            return self.job.error
        if self.result is not None:
            reason = str(self.result.get("stop_reason", ""))
            return WHY.get(reason, reason)
        return WHY["cancelled"] if self.job.state is JobState.CANCELLED else ""

    @property
    def drawable(self) -> list[str]:
        """Names of the drawings that there is something to draw for."""
        have = {
            "convergence": bool(self.points),
            "kernels": bool(self.result and self.result.get("kernels")),
            "roofline": bool(self.pictures),
            "timeline": bool(self.pictures),
            "memory": bool(self.pictures.get("values")),
        }
        return [name for name, there in have.items() if there]


def tell(job: JobRow, events: Sequence[JobEvent], pictures: Mapping[str, Any]) -> Story:
    """The Story of a job from its rows."""
    result = json.loads(job.result) if job.result else None
    known = pictures if pictures.get("version") == PICTURES_VERSION else {}
    return Story(job, read_request(job.spec), events, result, known)
