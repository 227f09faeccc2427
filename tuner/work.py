"""The work of a runner: `tune run` on the files of a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.report import Report
from tuner.runner import Answer, Assignment, finite


@dataclass(frozen=True)
class Tuning:
    """Tunes on `workers` local workers, or on the Ray cluster at `ray`; records in the database at `url`."""

    url: str
    workers: int = 2
    ray: str = "local"

    def run(self, assignment: Assignment) -> Report:
        """The report of the run. Ray and the learners are loaded with the first job."""
        from tuner.run import run

        request = assignment.request
        return run(
            assignment.model,
            assignment.target,
            level=request.level,
            trials=request.trials,
            time_limit_s=request.time_limit_s,
            objective=request.objective,
            dims=request.dims,
            seed=request.seed,
            database=self.url,
            workers=self.workers,
            ray=self.ray,
            on_event=assignment.on_event,
            guard=assignment.guard,
            job=assignment.job,
            cancelled=assignment.cancelled,
        )

    def files(self, assignment: Assignment, answer: Answer) -> Mapping[str, bytes]:
        """What the service draws of the answer."""
        from tuner.pictures import pictures_of

        if not isinstance(answer, Report):
            return {}
        request = assignment.request
        pictures = pictures_of(assignment.model, assignment.target, request.dims, answer)
        return {"pictures.json": json.dumps(finite(pictures)).encode()}
